"""The value that an expression has on its way: series by steps, with what is present and what is not.

Everything is two-dimensional, one row per series and one column per step, so that each operation is a few numpy
calls however many steps there are. Rows keep their place whether or not anything is present in them: the tuple
of label sets then stays the same object from one evaluation to the next, and whatever was derived from it (the
names dropped, the groups, the matches) is derived once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.samples import Bools, Floats, Source, Times

__all__ = [
    "Bools",
    "Context",
    "Frame",
    "Ints",
    "LabelSets",
    "Relabelling",
    "Remembered",
    "display",
    "drop_name",
    "merged",
    "unique",
    "without",
]

Ints: TypeAlias = NDArray[np.int64]
LabelSets: TypeAlias = tuple[Labels, ...]


class Context(NamedTuple):
    """What an evaluation is given: where the samples are, for which steps, and the bounds that `@` may name."""

    source: Source
    times: Times
    start_ms: int
    end_ms: int
    lookback_ms: int
    default_step_ms: int
    max_cells: int
    checkpoint: Callable[[], None]

    def admit(self, cells: int) -> None:
        """Refuses what would not fit into memory, and asks whether there is time left."""
        self.checkpoint()
        if cells > self.max_cells:
            raise PromQLError(
                f"the query would take {cells:,} values at once, more than the {self.max_cells:,} allowed"
            )


class Frame:
    """An instant vector at every step. `order` is the row order that sort() or topk() asked for, if any."""

    __slots__ = ("labels", "order", "present", "values")

    def __init__(self, labels: LabelSets, values: Floats, present: Bools, order: Ints | None = None) -> None:
        self.labels = labels
        self.values = values
        self.present = present
        self.order = order

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    def by_value(self, values: Floats, present: Bools | None = None) -> Frame:
        """The same series with other values."""
        return Frame(self.labels, values, self.present if present is None else present)


_METADATA = frozenset({"__name__", "__type__", "__unit__"})

K = TypeVar("K")
T = TypeVar("T")


class Remembered(Generic[K, T]):
    """A function of an object that remembers its last answer, by the object's identity."""

    __slots__ = ("_function", "_last")

    def __init__(self, function: Callable[[K], T]) -> None:
        self._function = function
        self._last: tuple[K, T] | None = None

    def __call__(self, key: K) -> T:
        last = self._last
        if last is not None and last[0] is key:
            return last[1]
        answer = self._function(key)
        self._last = (key, answer)
        return answer


class Relabelling:
    """Other label sets for the rows of a frame; rows that come to the same label set become one."""

    __slots__ = ("_apply",)

    def __init__(self, change: Callable[[Labels], Labels]) -> None:
        self._apply: Remembered[LabelSets, tuple[LabelSets, Ints | None]] = Remembered(
            lambda labels: unique(tuple(map(change, labels)))
        )

    def __call__(self, frame: Frame) -> Frame:
        labels, places = self._apply(frame.labels)
        if places is None:
            return Frame(labels, frame.values, frame.present, frame.order)
        return merged(labels, places, frame.values, frame.present)


def unique(labels: LabelSets) -> tuple[LabelSets, Ints | None]:
    """The distinct label sets and each row's place among them, None where all are distinct."""
    index: dict[Labels, int] = {}
    places = [index.setdefault(one, len(index)) for one in labels]
    if len(index) == len(labels):
        return labels, None
    return tuple(index), np.array(places, np.int64)


def merged(
    labels: LabelSets,
    places: Ints,
    values: Floats,
    present: Bools,
    complaint: str = "vector cannot contain metrics with the same labelset",
) -> Frame:
    """Rows that have the same place become one. Raises PromQLError where two of them are present at one step."""
    shape = (len(labels), values.shape[1])
    count = np.zeros(shape, np.int64)
    np.add.at(count, places, present)
    if (count > 1).any():
        raise PromQLError(complaint)
    out = np.zeros(shape)
    rows, steps = np.nonzero(present)
    out[places[rows], steps] = values[rows, steps]
    return Frame(labels, out, count > 0)


def drop_name(labels: Labels) -> Labels:
    """The label set without the metric's name, type and unit."""
    return tuple(pair for pair in labels if pair[0] not in _METADATA)


def without(labels: Labels, names: frozenset[str]) -> Labels:
    return tuple(pair for pair in labels if pair[0] not in names)


def display(labels: Labels) -> str:
    """The label set as Prometheus writes it, for messages."""
    name = "".join(value for key, value in labels if key == "__name__")
    rest = ", ".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
    return f"{name}{{{rest}}}" if rest or not name else name
