"""Binary operators: arithmetic, comparison and sets, between scalars and vectors matched by their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.frame import (
    Bools,
    Frame,
    Ints,
    LabelSets,
    Remembered,
    display,
    drop_name,
    merged,
    unique,
    without,
)
from trader_monitor.core.samples import Floats

__all__ = ["ARITHMETIC", "COMPARISON", "SETS", "Matching", "SetMatcher", "VectorMatcher"]


def _atan2(a: Floats, b: Floats) -> Floats:
    return np.arctan2(a, b)


ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": _atan2,
}
COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS = frozenset({"and", "or", "unless"})

Cardinality: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]


class Matching(NamedTuple):
    """Which labels make two elements belong together, and what the one side lends to the many."""

    cardinality: Cardinality
    on: bool
    names: tuple[str, ...]
    include: tuple[str, ...]

    def signature(self, labels: Labels) -> Labels:
        if self.on:
            return tuple(pair for pair in labels if pair[0] in self.names)
        return without(labels, frozenset((*self.names, "__name__")))


class _Pairs(NamedTuple):
    """Which rows meet, by label alone. `many` and `one` are row numbers, `keys` the pair's match group."""

    many: Ints
    one: Ints
    keys: Ints
    groups: int
    one_keys: Ints
    one_repeats: bool
    many_repeats: bool
    labels: LabelSets
    places: Ints | None


class VectorMatcher:
    """Arithmetic and comparison between two vectors."""

    def __init__(self, operator: str, matching: Matching, *, returns_bool: bool) -> None:
        self.matching = matching
        self._arithmetic = ARITHMETIC.get(operator)
        self._comparison = COMPARISON.get(operator)
        self._bool = returns_bool
        self._drops_name = self._comparison is None or returns_bool
        self._swapped = matching.cardinality == "one-to-many"
        self._last: tuple[LabelSets, LabelSets, _Pairs] | None = None

    def __call__(self, left: Frame, right: Frame) -> Frame:
        many, one = (right, left) if self._swapped else (left, right)
        pairs = self._paired(many.labels, one.labels)
        if pairs.one_repeats:
            self._refuse_repeats(pairs, many, one)
        both = many.present[pairs.many] & one.present[pairs.one]
        if self.matching.cardinality == "one-to-one" and pairs.many_repeats:
            count = np.zeros((pairs.groups, both.shape[1]), np.int64)
            np.add.at(count, pairs.keys, both)
            if (count > 1).any():
                raise PromQLError(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                )
        many_values, one_values = many.values[pairs.many], one.values[pairs.one]
        a, b = (one_values, many_values) if self._swapped else (many_values, one_values)
        values, kept = self._apply(a, b)
        if pairs.places is not None:
            complaint = "multiple matches for labels: grouping labels must ensure unique matches"
            merged(pairs.labels, pairs.places, values, both, complaint)
            return merged(pairs.labels, pairs.places, values, both if kept is None else both & kept)
        return Frame(pairs.labels, values, both if kept is None else both & kept)

    def _apply(self, a: Floats, b: Floats) -> tuple[Floats, Bools | None]:
        if self._arithmetic is not None:
            return self._arithmetic(a, b), None
        assert self._comparison is not None
        kept = self._comparison(a, b)
        return (kept.astype(np.float64), None) if self._bool else (a, kept)

    def _paired(self, many: LabelSets, one: LabelSets) -> _Pairs:
        last = self._last
        if last is not None and last[0] is many and last[1] is one:
            return last[2]
        pairs = self._pair(many, one)
        self._last = (many, one, pairs)
        return pairs

    def _pair(self, many: LabelSets, one: LabelSets) -> _Pairs:
        signature = self.matching.signature
        keys: dict[Labels, int] = {}
        one_keys = [keys.setdefault(signature(labels), len(keys)) for labels in one]
        rows: dict[int, list[int]] = {}
        for row, key in enumerate(one_keys):
            rows.setdefault(key, []).append(row)
        found = [
            (row, other, key)
            for row, labels in enumerate(many)
            for key in (keys.get(signature(labels), -1),)
            for other in rows.get(key, ())
        ]
        labels, places = unique(tuple(self._result(many[row], one[other]) for row, other, _ in found))
        pair_keys = [key for _, _, key in found]
        return _Pairs(
            np.array([row for row, _, _ in found], np.int64),
            np.array([other for _, other, _ in found], np.int64),
            np.array(pair_keys, np.int64),
            len(keys),
            np.array(one_keys, np.int64),
            len(keys) < len(one_keys),
            len(set(pair_keys)) < len(pair_keys),
            labels,
            places,
        )

    def _result(self, many: Labels, one: Labels) -> Labels:
        matching = self.matching
        labels = drop_name(many) if self._drops_name else many
        if matching.cardinality == "one-to-one":
            if matching.on:
                return tuple(pair for pair in labels if pair[0] in matching.names)
            return without(labels, frozenset(matching.names))
        if not matching.include:
            return labels
        lent = dict(one)
        kept = without(labels, frozenset(matching.include))
        return tuple(sorted((*kept, *((name, lent[name]) for name in matching.include if lent.get(name)))))

    def _refuse_repeats(self, pairs: _Pairs, many: Frame, one: Frame) -> None:
        count = np.zeros((pairs.groups, one.steps), np.int64)
        np.add.at(count, pairs.one_keys, one.present)
        repeated = (count > 1) & many.present.any(axis=0)
        if not repeated.any():
            return
        key, step = (int(at[0]) for at in np.nonzero(repeated))
        rows = np.flatnonzero((pairs.one_keys == key) & one.present[:, step])
        first, second = sorted(display(one.labels[row]) for row in rows[:2].tolist())
        group = display(self.matching.signature(one.labels[int(rows[0])]))
        side = "left" if self._swapped else "right"
        raise PromQLError(
            f"found duplicate series for the match group {group} on the {side} hand-side of the operation: "
            f"[{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        )


class SetMatcher:
    """`and`, `or` and `unless`: each element against all of the other side's with its match labels."""

    def __init__(self, operator: str, matching: Matching) -> None:
        self._operator = operator
        signatures = lambda sets: tuple(map(matching.signature, sets))  # noqa: E731
        self._left: Remembered[LabelSets, LabelSets] = Remembered(signatures)
        self._right: Remembered[LabelSets, LabelSets] = Remembered(signatures)
        self._last: tuple[LabelSets, LabelSets, tuple[Ints, Ints, int]] | None = None
        self._union: tuple[LabelSets, LabelSets, tuple[LabelSets, Ints | None]] | None = None

    def __call__(self, left: Frame, right: Frame) -> Frame:
        left_keys, right_keys, groups = self._keys(left.labels, right.labels)
        if self._operator == "or":
            return self._either(left, right, left_keys, right_keys, groups)
        there = _any(right.present, right_keys, groups)[left_keys]
        return left.by_value(left.values, left.present & (there if self._operator == "and" else ~there))

    def _keys(self, left: LabelSets, right: LabelSets) -> tuple[Ints, Ints, int]:
        last = self._last
        if last is not None and last[0] is left and last[1] is right:
            return last[2]
        index: dict[Labels, int] = {}
        left_keys = np.array([index.setdefault(key, len(index)) for key in self._left(left)], np.int64)
        right_keys = np.array([index.setdefault(key, len(index)) for key in self._right(right)], np.int64)
        answer = (left_keys, right_keys, len(index))
        self._last = (left, right, answer)
        return answer

    def _either(self, left: Frame, right: Frame, left_keys: Ints, right_keys: Ints, groups: int) -> Frame:
        fresh = right.present & ~_any(left.present, left_keys, groups)[right_keys]
        union = self._union
        if union is None or union[0] is not left.labels or union[1] is not right.labels:
            union = (left.labels, right.labels, unique(left.labels + right.labels))
            self._union = union
        labels, places = union[2]
        values = np.concatenate([left.values, right.values])
        present = np.concatenate([left.present, fresh])
        if places is None:
            return Frame(labels, values, present)
        return merged(labels, places, values, present)


def _any(present: Bools, keys: Ints, groups: int) -> Bools:
    out = np.zeros((groups, present.shape[1]), np.bool_)
    np.logical_or.at(out, keys, present)
    return out
