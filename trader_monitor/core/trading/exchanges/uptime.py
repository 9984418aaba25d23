"""Uptime of a connection: for which share of time it was connected, degraded or down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.figure import Figure, Pairs, exact, missing, told
from trader_monitor.core.statistics.rolling import (
    DAY,
    HOUR,
    HOUR_MS,
    HOURS_OF_A_WEEK,
    STEP_MS,
    WEEK,
    Cell,
    Rolling,
    RollingKept,
)

__all__ = ["CONNECTED", "DEGRADED", "DISCONNECTED", "STATES", "ConnectionKey", "Link", "LinkKept", "uptime_figures"]

ConnectionKey: TypeAlias = tuple[str, str | None, str | None]
"""Exchange, channel, source."""

CONNECTED, DEGRADED, DISCONNECTED, DISCONNECTS = range(4)
STATES = {"connected": CONNECTED, "degraded": DEGRADED, "disconnected": DISCONNECTED}

_SHARE = "share of the time in which the state is known: {}, in cells of {}; a state stands until another is reported"
_CELLS = {"1h": "5 min", "24h": "1 h", "7d": "1 h"}
_TOTAL = "share of the time since the first report; a state stands until another is reported"
_TIMES = "changes from another state to disconnected"
_DOWN = "time since the state became disconnected; 0 in any other state"


class LinkKept(Struct, array_like=True):
    """What a snapshot keeps of a connection's uptime."""

    first_ms: int
    since_ms: int
    state: int
    reports: int
    disconnects: int
    milliseconds: list[float]
    rolling: RollingKept


class Link:
    """One connection; time is added to its cells when the state changes, and the present state's when it is asked for.

    Memory: some 40 KB where the state changes every hour, 1 KB where it does not.
    """

    __slots__ = ("_rolling", "disconnects", "first_ms", "milliseconds", "reports", "since_ms", "state")

    def __init__(self, t_ms: int, state: int) -> None:
        self.first_ms = t_ms
        self.since_ms = t_ms
        self.state = state
        self.reports = 1
        self.disconnects = 0
        self.milliseconds = [0.0, 0.0, 0.0]
        """In each state until the present one began."""
        self._rolling = Rolling(HOURS_OF_A_WEEK)

    def report(self, t_ms: int, state: int) -> None:
        """Takes a report; one of a time before the present state began is of that time."""
        self.reports += 1
        if state == self.state:
            return
        end_ms = max(t_ms, self.since_ms)
        self.milliseconds[self.state] += end_ms - self.since_ms
        self._spread(end_ms)
        if state == DISCONNECTED:
            self.disconnects += 1
            cell = self._rolling.cell(end_ms)
            cell[DISCONNECTS] = cell.get(DISCONNECTS, 0.0) + 1.0
        self.state = state
        self.since_ms = end_ms

    def _spread(self, end_ms: int) -> None:
        """Adds the present state's time to the cells that it covers: hours where they are long ago, else minutes."""
        begin_ms = max(self.since_ms, WEEK.begin_ms(end_ms))
        recent_ms = HOUR.begin_ms(end_ms) // HOUR_MS * HOUR_MS
        while begin_ms < end_ms:
            step = STEP_MS if begin_ms >= recent_ms else HOUR_MS
            until_ms = min(end_ms, (begin_ms // step + 1) * step)
            cell = self._rolling.cell(begin_ms)
            cell[self.state] = cell.get(self.state, 0.0) + (until_ms - begin_ms)
            begin_ms = until_ms

    def figures(self, labels: Pairs, now_ms: int) -> Iterator[Figure]:
        now_ms = max(now_ms, self.since_ms)
        for window in (HOUR, DAY, WEEK):
            begin_ms = window.begin_ms(now_ms)
            spent = self._rolling.total(window, now_ms)
            spent[self.state] = spent.get(self.state, 0.0) + (now_ms - max(self.since_ms, begin_ms))
            named = (*labels, ("window", window.name))
            yield from self._shares(named, spent, _SHARE.format(window.name, _CELLS[window.name]))
            yield exact("exchange_disconnects", named, spent.get(DISCONNECTS, 0.0), self.reports, _TIMES)
        spent = dict(enumerate(self.milliseconds))
        spent[self.state] += now_ms - self.since_ms
        named = (*labels, ("window", "total"))
        yield from self._shares(named, spent, _TOTAL)
        yield exact("exchange_disconnects", named, float(self.disconnects), self.reports, _TIMES)
        down_ms = now_ms - self.since_ms if self.state == DISCONNECTED else 0
        yield exact("exchange_disconnected_seconds", labels, down_ms / 1000.0, self.reports, _DOWN)

    def _shares(self, labels: Pairs, spent: Cell, convention: str) -> Iterator[Figure]:
        known = sum(spent.get(state, 0.0) for state in STATES.values())
        for name, state in (("exchange_connected_ratio", CONNECTED), ("exchange_degraded_ratio", DEGRADED)):
            if known:
                yield exact(name, labels, spent.get(state, 0.0) / known, self.reports, convention)
            else:
                yield missing(name, labels, self.reports, convention, "no time has passed since the first report")

    def dump(self) -> LinkKept:
        return LinkKept(
            self.first_ms,
            self.since_ms,
            self.state,
            self.reports,
            self.disconnects,
            self.milliseconds.copy(),
            self._rolling.dump(),
        )

    @classmethod
    def load(cls, kept: LinkKept) -> Link:
        link = cls(kept.first_ms, kept.state)
        link.since_ms = kept.since_ms
        link.reports = kept.reports
        link.disconnects = kept.disconnects
        link.milliseconds = kept.milliseconds
        link._rolling = Rolling.load(kept.rolling, HOURS_OF_A_WEEK)
        return link


def uptime_figures(links: Mapping[ConnectionKey, Link], now_ms: int) -> Iterator[Figure]:
    for (exchange, channel, source), link in links.items():
        yield from link.figures(told(exchange=exchange, channel=channel, source=source), now_ms)
