"""An account's growth index over time: closes by minute, quarter of an hour, hour and UTC day, and returns from them.

A rolling return looks back to a close of its own grid, a calendar one to the last day's close before the period.
Memory per account, once full: 77 + 122 + 212 cells of 16 bytes and 2,200 days of 12, a quarter more before the
oldest go: 41 kB and 2 kB for the rest. Older days are forgotten; the index itself is not.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from datetime import date
from functools import lru_cache
from math import ceil

import numpy as np
from msgspec import Struct

from trader_monitor.core.samples import Floats, Times
from trader_monitor.core.snapshot import SnapshotError
from trader_monitor.core.trading.accounts.equity import Equity

__all__ = ["DAY", "DAYS_KEPT", "ROLLING", "WINDOWS", "Curve", "CurveKept", "date_of"]

DAY = 86_400
DAYS_KEPT = 2_200
"""Six years."""

ROLLING = {"1h": (3_600, 60), "24h": (86_400, 900), "7d": (604_800, 3_600)}
"""A rolling window's length and the length of its grid's cells, in seconds."""

WINDOWS = (*ROLLING, "day", "week", "month", "total")

_PATIENCE = 0.25
"""By this share of a window its first report may be older than the window."""

_NOTHING = 1e-100
_EPOCH = date(1970, 1, 1).toordinal()


class Grid:
    """The last value in each cell of time; a cell holds its end but not its beginning. The newest `keep` stay."""

    __slots__ = ("cells", "closes", "keep", "seconds")

    def __init__(self, seconds: int, keep: int) -> None:
        self.seconds = seconds
        self.keep = keep
        self.cells = array("q")
        self.closes = array("d")

    def put(self, at: float, value: float) -> None:
        cell = ceil(at / self.seconds)
        if self.cells and self.cells[-1] == cell:
            self.closes[-1] = value
            return
        self.cells.append(cell)
        self.closes.append(value)
        if len(self.cells) > self.keep + self.keep // 4:
            del self.cells[: -self.keep], self.closes[: -self.keep]

    def close(self, at: float, oldest: float) -> float | None:
        """The newest value in the cell of `at` or before, unless its cell ends before `oldest`."""
        place = bisect_right(self.cells, ceil(at / self.seconds)) - 1
        if place < 0 or self.cells[place] * self.seconds < oldest:
            return None
        return self.closes[place]


class CurveKept(Struct):
    """What a snapshot keeps of a curve; little-endian numbers."""

    equity: Equity
    cells: list[bytes] = []
    closes: list[bytes] = []
    days: bytes = b""
    day_closes: bytes = b""
    open: float = 1.0
    opened: int | None = None
    margin_use: float | None = None


class Curve:
    """One account in one currency. `days` are counted from 1970-01-01, `closes` are the index at the end of each.

    A day without a report has none. `open` is the index before the first of them, of the day `opened` (None where that
    is not known). The first report of an index is its starting balance and no close, so that an account that reports
    once a day has one return less than reports.
    `margin_use` is the newest that was reported, `remembered` what others have computed from the curve.
    """

    __slots__ = ("closes", "days", "equity", "grids", "margin_use", "open", "opened", "remembered")

    def __init__(self, equity: Equity | None = None) -> None:
        self.equity = Equity() if equity is None else equity
        self.open = self.equity.origin
        self.opened: int | None = None
        self.days = array("i")
        self.closes = array("d")
        self.grids = _grids()
        self.margin_use: float | None = None
        self.remembered: object = None
        if self.equity.began is not None:
            self._sow()

    def report(self, at: float, equity: float, flow: float | None) -> bool:
        """Takes a report; False where it came too late (`Equity.report`)."""
        state = self.equity
        began = state.began
        if not state.report(at, equity, flow):
            return False
        if state.began is None:
            return True
        if state.began is not began:
            self.open = state.origin
            self.opened = int(at // DAY)
            self.days, self.closes, self.grids = array("i"), array("d"), _grids()
            self._sow()
            return True
        growth = state.growth
        for grid in self.grids:
            grid.put(at, growth)
        day = int(at // DAY)
        if self.days and self.days[-1] == day:
            self.closes[-1] = growth
            return True
        self.days.append(day)
        self.closes.append(growth)
        if len(self.days) > DAYS_KEPT + DAYS_KEPT // 4:
            self.open, self.opened = self.closes[-DAYS_KEPT - 1], self.days[-DAYS_KEPT - 1]
            del self.days[:-DAYS_KEPT], self.closes[:-DAYS_KEPT]
        return True

    def _sow(self) -> None:
        for grid in self.grids:
            grid.put(self.equity.at, self.equity.growth)

    def returns(self) -> list[float | None]:
        """The simple returns over `WINDOWS` up to the newest report; None where `why` says why.

        Rolling ones: to the precision of a cell. Of the calendar's periods (UTC; weeks begin on Monday) the part that
        has passed, since the last close before or, for an account younger than that, since its starting balance.
        """
        state = self.equity
        if state.began is None:
            return [None] * len(WINDOWS)
        at, growth = state.at, state.growth
        today = int(at // DAY)
        bases = [
            grid.close(at - length, at - length * (1.0 + _PATIENCE))
            for (length, _), grid in zip(ROLLING.values(), self.grids, strict=True)
        ]
        bases += [self._close_before(first) for first in (today, *_week_and_month(today))]
        bases.append(state.origin)
        return [None if base is None or base < _NOTHING else growth / base - 1.0 for base in bases]

    def why(self, window: str) -> str:
        """Why the return over `window` is not known, in words."""
        state = self.equity
        if state.began is None:
            return "equity has not been above zero yet"
        if window in ROLLING:
            length, cell = ROLLING[window]
            grid = self.grids[list(ROLLING).index(window)]
            if state.at - state.began < length - cell:
                return f"the curve reaches back {_span(state.at - state.began)}, {window} are needed"
            if grid.close(state.at - length, state.at - length * (1.0 + _PATIENCE)) is None:
                return f"nothing was reported between {window} and {_span(length * (1.0 + _PATIENCE))} ago"
        return "equity was zero or below when the window began"

    def _close_before(self, day: int) -> float:
        place = bisect_left(self.days, day)
        return self.closes[place - 1] if place else self.open

    def daily(self) -> tuple[Times, Floats]:
        """The days that had a report, and the index at the end of each; copies."""
        return np.array(self.days, np.int64), np.array(self.closes, np.float64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Curve) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]

    def dump(self) -> CurveKept:
        return CurveKept(
            self.equity,
            [np.array(grid.cells, "<i8").tobytes() for grid in self.grids],
            [np.array(grid.closes, "<f8").tobytes() for grid in self.grids],
            np.array(self.days, "<i4").tobytes(),
            np.array(self.closes, "<f8").tobytes(),
            self.open,
            self.opened,
            self.margin_use,
        )

    @classmethod
    def load(cls, kept: CurveKept) -> Curve:
        """Raises SnapshotError where the numbers do not fit together."""
        curve = cls(kept.equity)
        curve.open, curve.opened = kept.open, kept.opened
        curve.margin_use = kept.margin_use
        try:
            curve.days.extend(np.frombuffer(kept.days, "<i4").tolist())
            curve.closes.extend(np.frombuffer(kept.day_closes, "<f8").tolist())
            curve.grids = _grids()
            for grid, cells, closes in zip(curve.grids, kept.cells, kept.closes, strict=True):
                grid.cells.extend(np.frombuffer(cells, "<i8").tolist())
                grid.closes.extend(np.frombuffer(closes, "<f8").tolist())
        except ValueError as error:
            raise SnapshotError(f"the snapshot's curve of an account is damaged: {error}") from None
        pairs = [(curve.days, curve.closes), *((grid.cells, grid.closes) for grid in curve.grids)]
        if any(len(times) != len(values) for times, values in pairs):
            raise SnapshotError("the snapshot's curve of an account is damaged: times and values differ in number")
        return curve


def _grids() -> tuple[Grid, ...]:
    return tuple(Grid(cell, ceil(length * (1 + _PATIENCE) / cell) + 2) for length, cell in ROLLING.values())


def date_of(day: int) -> date:
    """Of a day counted from 1970-01-01."""
    return date.fromordinal(_EPOCH + day)


@lru_cache(maxsize=64)
def _week_and_month(day: int) -> tuple[int, int]:
    """The first days of the week and of the month that `day` is in."""
    when = date_of(day)
    return day - when.weekday(), day - when.day + 1


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.3g} d"
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min"
