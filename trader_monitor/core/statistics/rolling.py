"""Rolling sums: what was counted in the last hour, day or week, in a bounded number of cells of time.

A cell holds numbers by key. An observation is added once, to its cell of five minutes; cells that leave the hour are
added to cells of an hour, and what is older than the longest window is dropped. A window is the sum of its cells:
so it can be merged with others', depends on the events' times alone, and an event that comes late goes to the cell
where it belongs. A window of one hour covers the present cell of five minutes and the eleven before (55 to 60
minutes), one of a day the present hour and the 23 before.

Memory: a closed cell takes 12 bytes per key that it holds and some 150 of its own; there are at most 12 cells of five
minutes and 24 of an hour (168 for a week, 720 for thirty days), and one sum of closed cells for each window that was
asked for.
"""

from __future__ import annotations

from array import array
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from trader_monitor.core.tally import ASLEEP_AFTER_MS

__all__ = [
    "DAY",
    "HOUR",
    "HOURS_OF_A_MONTH",
    "HOURS_OF_A_WEEK",
    "HOUR_MS",
    "MONTH",
    "STEP_MS",
    "WEEK",
    "Cell",
    "Rolling",
    "RollingKept",
    "Window",
    "add",
]

Cell: TypeAlias = dict[int, float]
"""Sums by key."""

_EACH = array("i").itemsize + array("d").itemsize

STEP_MS = 300_000
HOUR_MS = 3_600_000
FIVES = 12
HOURS_OF_A_DAY = 24
HOURS_OF_A_WEEK = 168
HOURS_OF_A_MONTH = 720
"""Of thirty days."""


class Window(Struct, frozen=True):
    """`name` is its label; it covers `cells` cells of `step_ms`, the present one included."""

    name: str
    step_ms: int
    cells: int

    def begin_ms(self, now_ms: int) -> int:
        """The start of its oldest cell."""
        return (now_ms // self.step_ms - self.cells + 1) * self.step_ms


HOUR = Window("1h", STEP_MS, FIVES)
DAY = Window("24h", HOUR_MS, HOURS_OF_A_DAY)
WEEK = Window("7d", HOUR_MS, HOURS_OF_A_WEEK)
MONTH = Window("30d", HOUR_MS, HOURS_OF_A_MONTH)


class RollingKept(Struct, array_like=True):
    """What a snapshot keeps of rolling sums."""

    index: int
    current: dict[int, float]
    fives: dict[int, bytes]
    hours: dict[int, bytes]


class Rolling:
    """Sums by key over the last `hours` hours; times are milliseconds."""

    __slots__ = ("_fives", "_hours", "_most", "_sums", "_thawed", "_version", "begin_ms", "current", "end_ms")

    def __init__(self, hours: int = HOURS_OF_A_DAY) -> None:
        self.begin_ms = 0
        self.end_ms = 0
        self.current: Cell = {}
        self._most = hours
        self._fives: dict[int, bytes] = {}
        self._hours: dict[int, bytes] = {}
        self._thawed: dict[tuple[int, int], Cell] = {}
        self._sums: dict[Window, tuple[int, int, Cell]] = {}
        self._version = 0

    def cell(self, t_ms: int) -> Cell:
        """Where an observation of that time is added, at once. One that is older than all windows goes nowhere."""
        if self.begin_ms <= t_ms < self.end_ms:
            return self.current
        self._version += 1
        if t_ms >= self.end_ms:
            self._turn(t_ms // STEP_MS)
            return self.current
        newest = self.begin_ms
        if t_ms // STEP_MS > newest // STEP_MS - FIVES:
            return self._thaw(self._fives, STEP_MS, t_ms // STEP_MS)
        if t_ms // HOUR_MS > newest // HOUR_MS - self._most:
            return self._thaw(self._hours, HOUR_MS, t_ms // HOUR_MS)
        return {}

    def asleep(self, now_ms: int) -> bool:
        """Whether nothing was added for so long that its series have ended; it has no figures until it speaks again."""
        return self.begin_ms < now_ms - ASLEEP_AFTER_MS

    def total(self, window: Window, now_ms: int) -> Cell:
        """The sum over a window that ends now; the caller's own to change."""
        now_ms = max(now_ms, self.begin_ms)
        begin_ms = window.begin_ms(now_ms)
        known = self._sums.get(window)
        if known is None or known[0] != begin_ms or known[1] != self._version:
            self._freeze()
            closed = [raw for index, raw in self._fives.items() if index * STEP_MS >= begin_ms]
            if window.step_ms == HOUR_MS:
                closed += [raw for index, raw in self._hours.items() if index * HOUR_MS >= begin_ms]
            known = self._sums[window] = (begin_ms, self._version, _sum(closed))
        found = known[2].copy()
        if self.begin_ms >= begin_ms:
            add(found, self.current)
        return found

    def dump(self) -> RollingKept:
        self._freeze()
        return RollingKept(self.begin_ms // STEP_MS, self.current.copy(), self._fives.copy(), self._hours.copy())

    @classmethod
    def load(cls, kept: RollingKept, hours: int = HOURS_OF_A_DAY) -> Rolling:
        rolling = cls(hours)
        rolling._to(kept.index)
        rolling.current = kept.current
        rolling._fives = kept.fives
        rolling._hours = kept.hours
        return rolling

    def _to(self, index: int) -> None:
        self.begin_ms = index * STEP_MS
        self.end_ms = self.begin_ms + STEP_MS if index else 0

    def _turn(self, index: int) -> None:
        """A newer cell begins: the present one is closed, and what left the hour or the day moves on."""
        self._freeze()
        if self.current:
            self._fives[self.begin_ms // STEP_MS] = _frozen(self.current)
            self.current = {}
        self._to(index)
        for five in [five for five in self._fives if five <= index - FIVES]:
            hour = five * STEP_MS // HOUR_MS
            sums = _cell(self._hours.get(hour, b""))
            add(sums, _cell(self._fives.pop(five)))
            self._hours[hour] = _frozen(sums)
        oldest = index * STEP_MS // HOUR_MS - self._most
        for hour in [hour for hour in self._hours if hour <= oldest]:
            del self._hours[hour]

    def _thaw(self, cells: dict[int, bytes], step_ms: int, index: int) -> Cell:
        found = self._thawed.get((step_ms, index))
        if found is None:
            found = self._thawed[step_ms, index] = _cell(cells.get(index, b""))
        return found

    def _freeze(self) -> None:
        """Closes the cells that late observations had opened again."""
        for (step_ms, index), cell in self._thawed.items():
            if cell:
                (self._fives if step_ms == STEP_MS else self._hours)[index] = _frozen(cell)
        self._thawed.clear()


def _sum(cells: list[bytes]) -> Cell:
    """What many closed cells hold together."""
    if not cells:
        return {}
    sizes = [len(raw) // _EACH for raw in cells]
    keys = np.concatenate([np.frombuffer(raw, np.intc, n) for raw, n in zip(cells, sizes, strict=True)])
    split = array("i").itemsize
    values = np.concatenate([np.frombuffer(raw, np.float64, n, n * split) for raw, n in zip(cells, sizes, strict=True)])
    held = np.flatnonzero(np.bincount(keys))
    return dict(zip(held.tolist(), np.bincount(keys, values)[held].tolist(), strict=True))


def add(sums: Cell, more: Cell) -> None:
    """Adds `more` to `sums`, in place."""
    for key, value in more.items():
        sums[key] = sums.get(key, 0.0) + value


def _frozen(cell: Cell) -> bytes:
    return array("i", cell.keys()).tobytes() + array("d", cell.values()).tobytes()


def _cell(raw: bytes) -> Cell:
    keys, values = array("i"), array("d")
    split = len(raw) // _EACH * keys.itemsize
    keys.frombytes(raw[:split])
    values.frombytes(raw[split:])
    return dict(zip(keys, values, strict=True))
