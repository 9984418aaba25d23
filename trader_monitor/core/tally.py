"""Tallies: the counters, gauges and histograms that facts add up to, kept by label set and written to series.

A *standing* value (a counter, a state, a position) is true until the next fact changes it, so `refresh` writes
it again, as a scrape would; a *reported* one (a bot's equity) is not repeated: after five minutes of silence it
is unknown. Standing values are persisted with the board. One that nothing has changed for a month falls asleep:
its series ends, so that a bot long gone does not take up room, and goes on from where it was when it is wanted.

Counters and states change in memory as each fact is folded and are written once per step, at the newest `at`;
their times never go back, because a counter that did would look like a restart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeAlias

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import STALE, SeriesStore

__all__ = [
    "ASLEEP_AFTER_MS",
    "BOUNDS",
    "PAUSE_AFTER",
    "Cell",
    "Family",
    "Histogram",
    "Kept",
    "Key",
    "Pending",
    "Tally",
    "labels_for",
]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets, in seconds; +Inf comes after."""

REFRESH_MS = 15_000
"""A standing value is written again when its newest sample is this old."""

ASLEEP_AFTER_MS = 30 * 86_400_000
"""A standing value that nothing has changed for so long is no longer refreshed."""

SLICE = 2_000
PAUSE_AFTER = 250
"""Facts or changes between two pauses: 2 ms where each opens a series."""
"""The most cells that one step refreshes, so that no step takes long."""

_MAX_NUDGE_MS = 1_000
_LE = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")

Key: TypeAlias = tuple[str | None, ...]


class Kept(NamedTuple):
    """A standing value as it is persisted."""

    labels: Labels
    value: float
    t_ms: int
    changed_ms: int


class Pending(Protocol):
    """Something that changed in this step and writes itself at its end."""

    def settle(self) -> None: ...


def labels_for(name: str, names: tuple[str, ...], key: Key) -> Labels:
    """The sorted label set; parts of the key that are None or empty are left out."""
    pairs = [("__name__", name)]
    pairs += [(label, value) for label, value in zip(names, key, strict=True) if value]
    pairs.sort()
    return tuple(pairs)


class Cell:
    """One series' present value; `t_ms` is the newest time written."""

    __slots__ = (
        "_dirty",
        "_meant",
        "_raw",
        "asleep",
        "changed_ms",
        "labels",
        "sid",
        "standing",
        "t_ms",
        "tally",
        "value",
    )

    def __init__(self, tally: Tally, labels: Labels, sid: int, standing: bool) -> None:
        self.tally = tally
        self.labels = labels
        self.sid = sid
        self.standing = standing
        self.value = 0.0
        self.t_ms = 0
        self.changed_ms = 0
        self.asleep = False
        self._meant = 0
        self._raw = 0
        self._dirty = False

    def add(self, t_ms: int, by: float = 1.0) -> None:
        """Counts; written when the step settles."""
        self.value += by
        if t_ms > self._meant:
            self._meant = t_ms
        if not self._dirty:
            self._dirty = True
            self.tally.pending.append(self)

    def settle(self) -> None:
        self._dirty = False
        self.write(self._meant, self.value)

    def write(self, t_ms: int, value: float) -> None:
        """Writes at once, never at an earlier time than before."""
        self.changed_ms = t_ms
        self.asleep = False
        self._append(t_ms, value)

    def stand(self, t_ms: int, value: float) -> None:
        """Writes a state if it is another than before; one that is the same is refreshed in its time."""
        if value != self.value or self.asleep or not self.t_ms:
            self.write(t_ms, value)
        elif t_ms > self.changed_ms:
            self.changed_ms = t_ms

    def refresh(self, now_ms: int) -> None:
        """Writes again what still stands, or puts it to sleep."""
        if now_ms - self.changed_ms < ASLEEP_AFTER_MS:
            self._append(now_ms, self.value)
        elif not self.asleep:
            self.asleep = True
            self.tally.series.append(self.sid, now_ms, STALE)

    def _append(self, t_ms: int, value: float) -> None:
        self.value = value
        if t_ms < self.t_ms:
            t_ms = self.t_ms
        self.t_ms = t_ms
        if not self.tally.series.append(self.sid, t_ms, value):
            self._again(t_ms, value)

    def place(self, t_ms: int, value: float) -> None:
        """Writes a report at its own time. Two in one millisecond stay two, a millisecond apart, in order.

        Otherwise the dip that a batch passes through would be overwritten before a rule could see it.
        """
        if t_ms >= self._raw:
            self._raw = t_ms
            self.value = value
            if self.t_ms >= t_ms:
                t_ms = min(self.t_ms + 1, t_ms + _MAX_NUDGE_MS)
            self.t_ms = t_ms
        if not self.tally.series.append(self.sid, t_ms, value):
            self._again(t_ms, value)

    def _again(self, t_ms: int, value: float) -> None:
        """Retention took the series away in the meantime; a sample that is merely too old stays out."""
        series = self.tally.series
        if self.sid >= 0 and not series.labels_of(self.sid):
            self.sid = self.tally.intern(self.labels, self.standing)
            series.append(self.sid, t_ms, value)

    def end(self, t_ms: int) -> None:
        """The series ends here: a staleness marker, and no more refreshing."""
        self.standing = False
        self.tally.cells.pop(self.labels, None)
        self.tally.series.append(self.sid, max(t_ms, self.t_ms), STALE)


class Family:
    """One metric's cells by the values of its labels.

    Cells of refused label sets are not kept, so that a flood of label sets cannot fill the memory.
    """

    __slots__ = ("cells", "name", "names", "standing", "tally")

    def __init__(self, tally: Tally, name: str, kind: str, help: str, names: tuple[str, ...], standing: bool) -> None:
        self.tally = tally
        self.name = name
        self.names = names
        self.standing = standing
        self.cells: dict[Key, Cell] = {}
        tally.names.add(name)
        tally.series.describe(name, kind, help)

    def cell(self, key: Key) -> Cell:
        cell = self.cells.get(key)
        if cell is None:
            cell = self.tally.cell(labels_for(self.name, self.names, key), standing=self.standing)
            if cell.sid >= 0:
                if len(self.cells) > self.tally.series.max_series:
                    self.cells.clear()
                self.cells[key] = cell
        return cell

    def add(self, key: Key, t_ms: int, by: float = 1.0) -> None:
        """Counts."""
        self.cell(key).add(t_ms, by)

    def place(self, key: Key, t_ms: int, value: float | None) -> None:
        """Writes a report, if there is one."""
        if value is not None:
            self.cell(key).place(t_ms, value)

    def write(self, key: Key, t_ms: int, value: float | None) -> None:
        """Writes a state, if there is one."""
        if value is not None:
            self.cell(key).write(t_ms, value)

    def end(self, key: Key, t_ms: int) -> None:
        """What the series said is no longer known."""
        cell = self.cells.pop(key, None) or self.tally.cells.get(labels_for(self.name, self.names, key))
        if cell is not None:
            cell.end(t_ms)


class _Distribution:
    """One label set's buckets, sum and count."""

    __slots__ = ("_counts", "_dirty", "_le", "_meant", "_sum", "_tally", "_total")

    def __init__(self, tally: Tally, le: list[Cell], total_seconds: Cell, total: Cell) -> None:
        self._tally = tally
        self._le = le
        self._sum = total_seconds
        self._total = total
        cumulated = [0, *(int(cell.value) for cell in le)]
        self._counts = [after - before for before, after in pairwise(cumulated)]
        self._meant = 0
        self._dirty = False

    def observe(self, t_ms: int, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum.value += seconds
        if t_ms > self._meant:
            self._meant = t_ms
        if not self._dirty:
            self._dirty = True
            self._tally.pending.append(self)

    def settle(self) -> None:
        self._dirty = False
        total = 0
        for cell, count in zip(self._le, self._counts, strict=True):
            total += count
            cell.write(self._meant, float(total))
        self._sum.write(self._meant, self._sum.value)
        self._total.write(self._meant, float(total))


class Histogram:
    """One metric's latency distributions by the values of its labels, as `_bucket`, `_sum` and `_count`."""

    __slots__ = ("_distributions", "_name", "_names", "_tally")

    def __init__(self, tally: Tally, name: str, help: str, names: tuple[str, ...]) -> None:
        self._tally = tally
        self._name = name
        self._names = names
        self._distributions: dict[Key, _Distribution] = {}
        tally.names.update((name, f"{name}_bucket", f"{name}_sum", f"{name}_count"))
        tally.series.describe(name, "histogram", help)

    def observe(self, key: Key, t_ms: int, seconds: float | None) -> None:
        """Counts one duration, if there is one."""
        if seconds is None:
            return
        distribution = self._distributions.get(key)
        if distribution is None:
            distribution = self._open(key)
            if distribution is None:
                return
        distribution.observe(t_ms, seconds)

    def _open(self, key: Key) -> _Distribution | None:
        cell = self._tally.cell
        total = cell(labels_for(f"{self._name}_count", self._names, key), standing=True)
        if total.sid < 0:
            return None
        bucket = f"{self._name}_bucket"
        le = [cell(labels_for(bucket, (*self._names, "le"), (*key, bound)), standing=True) for bound in _LE]
        seconds = cell(labels_for(f"{self._name}_sum", self._names, key), standing=True)
        distribution = self._distributions[key] = _Distribution(self._tally, le, seconds, total)
        return distribution


class Tally:
    """All cells of one board, what changed in this step, and the refreshing of what stands."""

    def __init__(self, series: SeriesStore) -> None:
        self.series = series
        self.names: set[str] = set()
        """The metrics that are tallied here: nobody else may write them."""
        self.own: set[str] = set()
        """Those of them that are about the daemon itself."""
        self.cells: dict[Labels, Cell] = {}
        self.pending: list[Pending] = []
        self._round: list[Cell] = []
        self._round_began = 0

    def counter(self, name: str, help: str, *names: str, own: bool = False) -> Family:
        return self._standing(name, "counter", help, names, own)

    def state(self, name: str, help: str, *names: str, own: bool = False) -> Family:
        """A gauge that stands until a fact changes it."""
        return self._standing(name, "gauge", help, names, own)

    def _standing(self, name: str, kind: str, help: str, names: tuple[str, ...], own: bool) -> Family:
        if own:
            self.own.add(name)
        return Family(self, name, kind, help, names, standing=True)

    def report(self, name: str, help: str, *names: str) -> Family:
        """A gauge that is known only while it is reported."""
        return Family(self, name, "gauge", help, names, standing=False)

    def histogram(self, name: str, help: str, *names: str) -> Histogram:
        return Histogram(self, name, help, names)

    def cell(self, labels: Labels, *, standing: bool) -> Cell:
        """The cell of a label set, new if need be; one with a negative `sid` where the series was refused."""
        cell = self.cells.get(labels)
        if cell is None:
            cell = Cell(self, labels, self.intern(labels, standing), standing)
            if standing and cell.sid >= 0:
                self.cells[labels] = cell
        return cell

    def intern(self, labels: Labels, standing: bool) -> int:
        """The series' id, or -1. A report has the name that its sender gave it, and so is never the daemon's own."""
        own = standing and any(label == "__name__" and value in self.own for label, value in labels)
        return self.series.intern(labels, own=own)

    def settle(self) -> None:
        """Writes what changed in this step, and what that changes."""
        for _ in self.settling():
            pass

    def settling(self) -> Iterator[None]:
        """The same with pauses."""
        while self.pending:
            pending, self.pending = self.pending, []
            for number, thing in enumerate(pending, 1):
                thing.settle()
                if number % PAUSE_AFTER == 0:
                    yield

    def refresh(self, now_ms: int) -> None:
        """Writes standing values again that have not changed for a while; a slice of them at a time."""
        if not self._round:
            if now_ms - self._round_began < REFRESH_MS and now_ms >= self._round_began:
                return
            self._round_began = now_ms
            self._round = list(self.cells.values())
        due = now_ms - REFRESH_MS
        for cell in self._round[-SLICE:]:
            if cell.standing and cell.t_ms <= due:
                cell.refresh(now_ms)
        del self._round[-SLICE:]

    def kept(self) -> list[Kept]:
        return [Kept(cell.labels, cell.value, cell.t_ms, cell.changed_ms) for cell in self.cells.values()]

    def restore(self, kept: Iterable[Kept]) -> None:
        for labels, value, t_ms, changed_ms in kept:
            cell = self.cell(labels, standing=True)
            cell.value = value
            cell.t_ms = t_ms
            cell.changed_ms = changed_ms
