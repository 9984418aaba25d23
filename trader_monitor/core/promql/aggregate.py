"""Aggregations: many series into one per group, or the k most extreme of each group."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.order import elements
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.frame import Bools, Frame, Ints, LabelSets, Remembered, without
from trader_monitor.core.promql.kahan import grouped_mean, grouped_sum
from trader_monitor.core.promql.numbers import shown
from trader_monitor.core.promql.windows import quantiles_of_rows, sort_rows
from trader_monitor.core.samples import Floats

__all__ = ["REDUCTIONS", "CountValues", "Extremes", "Grouping", "Quantile", "Reduction"]


class Grouping(NamedTuple):
    """`by (…)`, or `without (…)`."""

    names: frozenset[str]
    without: bool

    def of(self, labels: Labels) -> Labels:
        if self.without:
            return without(labels, self.names | {"__name__"})
        if not self.names:
            return ()
        return tuple(pair for pair in labels if pair[0] in self.names)


class _Groups(NamedTuple):
    labels: LabelSets
    rows: list[Ints]
    of_row: Ints


def _grouped(grouping: Grouping) -> Remembered[LabelSets, _Groups]:
    def group(labels: LabelSets) -> _Groups:
        index: dict[Labels, list[int]] = {}
        for row, one in enumerate(labels):
            index.setdefault(grouping.of(one), []).append(row)
        of_row = np.empty(len(labels), np.int64)
        for number, rows in enumerate(index.values()):
            of_row[rows] = number
        return _Groups(tuple(index), [np.array(rows, np.int64) for rows in index.values()], of_row)

    return Remembered(group)


def _present(present: Bools, groups: _Groups) -> Bools:
    return np.array([present[rows].any(axis=0) for rows in groups.rows]).reshape(-1, present.shape[1])


def _sum(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
    return grouped_sum(values, present, rows)


def _counts(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
    return np.array([present[one].sum(axis=0) for one in rows], np.float64)


def _extreme(function: np.ufunc) -> Callable[[Floats, Bools, list[Ints]], Floats]:
    def call(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
        known = np.where(present, values, np.nan)
        return np.array([function.reduce(known[one], axis=0) for one in rows])

    return call


def _group(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
    return np.ones((len(rows), values.shape[1]))


def _stdvar(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
    # From the least of each group, so that equal values have no deviation at all.
    least = _extreme(np.fmin)(values, present, rows)
    deviations = np.zeros(values.shape)
    for reference, one in zip(least, rows, strict=True):
        deviations[one] = values[one] - reference
    for mean, one in zip(grouped_mean(deviations, present, rows), rows, strict=True):
        deviations[one] -= mean
    return grouped_mean(np.square(deviations), present, rows)


def _stddev(values: Floats, present: Bools, rows: list[Ints]) -> Floats:
    return np.sqrt(_stdvar(values, present, rows))


REDUCTIONS: dict[str, Callable[[Floats, Bools, list[Ints]], Floats]] = {
    "sum": _sum,
    "avg": grouped_mean,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "count": _counts,
    "group": _group,
    "stddev": _stddev,
    "stdvar": _stdvar,
}


class Reduction:
    """sum, avg, min, max, count, group, stddev and stdvar."""

    def __init__(self, name: str, grouping: Grouping) -> None:
        self._reduce = REDUCTIONS[name]
        self._groups = _grouped(grouping)

    def __call__(self, frame: Frame) -> Frame:
        groups = self._groups(frame.labels)
        if not groups.rows:
            return Frame((), np.zeros((0, frame.steps)), np.zeros((0, frame.steps), np.bool_))
        values = self._reduce(frame.values, frame.present, groups.rows)
        return Frame(groups.labels, values, _present(frame.present, groups))


class Quantile:
    """quantile(q, …) over each group."""

    def __init__(self, grouping: Grouping) -> None:
        self._groups = _grouped(grouping)

    def __call__(self, frame: Frame, q: Floats) -> Frame:
        groups = self._groups(frame.labels)
        wanted = np.broadcast_to(q, (frame.steps,))
        values = np.zeros((len(groups.rows), frame.steps))
        for number, rows in enumerate(groups.rows):
            part = sort_rows(np.where(frame.present[rows], frame.values[rows], np.inf).T.copy())
            values[number] = quantiles_of_rows(part, frame.present[rows].sum(axis=0), wanted)
        present = _present(frame.present, groups) if groups.rows else np.zeros(values.shape, np.bool_)
        return Frame(groups.labels, values, present)


class Extremes:
    """topk and bottomk: the series themselves, the most extreme first."""

    def __init__(self, grouping: Grouping, *, largest: bool) -> None:
        self._groups = _grouped(grouping)
        self._largest = largest

    def __call__(self, frame: Frame, k: Floats) -> Frame:
        if np.isnan(k).any():
            raise PromQLError("Parameter value is NaN")
        if (np.abs(k) > 2**63).any():
            raise PromQLError("Scalar value overflows int64")
        wanted = np.broadcast_to(np.trunc(k), (frame.steps,))
        kept = np.zeros(frame.present.shape, np.bool_)
        order: list[Ints] = []
        for rows in self._groups(frame.labels).rows:
            values, present = frame.values[rows], frame.present[rows]
            key = -values if self._largest else values
            # Absent last, NaN before them, and else by value; equal values keep the order of the series.
            ranks = np.lexsort((key, np.isnan(values), ~present), axis=0)
            place = np.empty_like(ranks)
            np.put_along_axis(place, ranks, np.arange(len(rows))[:, None], axis=0)
            kept[rows] = present & (place < wanted)
            order.append(rows[ranks[:, -1]] if frame.steps else rows)
        return Frame(frame.labels, frame.values, kept, np.concatenate(order) if order else None)


class CountValues:
    """count_values("label", …): how many elements of a group have each value."""

    def __init__(self, label: str, grouping: Grouping) -> None:
        self._label = label
        if not grouping.without:
            grouping = grouping._replace(names=grouping.names - {label})
        else:
            grouping = grouping._replace(names=grouping.names | {label})
        self._groups = _grouped(grouping)

    def __call__(self, frame: Frame) -> Frame:
        groups = self._groups(frame.labels)
        index: dict[Labels, int] = {}
        counts: list[Floats] = []
        for labels, rows in zip(groups.labels, groups.rows, strict=True):
            values, present = frame.values[rows], frame.present[rows]
            distinct = {shown(value): value for value in elements(np.unique(values[present]))}
            for text, value in distinct.items():
                same = np.isnan(values) if value != value else values == value
                named = tuple(sorted((*labels, (self._label, text))))
                place = index.setdefault(named, len(counts))
                count = (same & present).sum(axis=0).astype(np.float64)
                if place == len(counts):
                    counts.append(count)
                else:
                    counts[place] = counts[place] + count
        values = np.array(counts).reshape(len(counts), frame.steps)
        return Frame(tuple(index), values, values > 0)
