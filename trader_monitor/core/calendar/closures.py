"""Closures: the days that were closed by command ("typhoon"), and the calendars as they leave them.

A closure that comes before the session takes the whole day; one in its midst takes what is left, so that market time
that has passed stays counted, and reopening gives back what is still to come. Only `all_day` rewrites the past.
"""

from __future__ import annotations

from datetime import date
from itertools import islice
from typing import Any

from msgspec import Struct

from trader_monitor.core.calendar.calendar import Calendar, Span
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.snapshot import pack, unpack

__all__ = ["MAX_CLOSURES", "Closures", "close", "reopen"]

MAX_CLOSURES = 1000
"""Days kept over all calendars, some 200 bytes each; the earliest declared go first."""


class ClosuresKept(Struct):
    """What a snapshot keeps."""

    days: list[CalendarChanged] = []


class Closures:
    """The newest word on each day of each calendar: a room of the board."""

    def __init__(self) -> None:
        self.days: dict[tuple[str, date], CalendarChanged] = {}
        self._closed: dict[str, tuple[Calendar, Calendar]] = {}

    def fold(self, fact: CalendarChanged, t_ms: int) -> None:
        key = fact.calendar, fact.day
        self.days.pop(key, None)
        if fact.closed:
            self.days[key] = fact
            for oldest in tuple(islice(self.days, max(0, len(self.days) - MAX_CLOSURES))):
                del self.days[oldest]
        self._closed.clear()

    def of(self, calendar: Calendar) -> Calendar:
        """The calendar with its closures. The same object until one is declared, so that it may be compared by it."""
        known = self._closed.get(calendar.name)
        if known is None or known[0] is not calendar:
            days = {day: fact.closed for (name, day), fact in self.days.items() if name == calendar.name}
            known = self._closed[calendar.name] = calendar, calendar.closing(days) if days else calendar
        return known[1]

    def why(self, calendar: Calendar, t: float) -> str:
        """Why a market that is not open at t is closed, in words."""
        fact = self.days.get((calendar.name, calendar.day_of(t)))
        if fact is not None and any(since <= t < until for since, until in fact.closed):
            return f"{calendar.name} was closed by command" + (f": {fact.why}" if fact.why else "")
        return f"outside {calendar.name} hours"

    def dump(self) -> bytes:
        return pack(ClosuresKept(list(self.days.values())))

    def load(self, raw: bytes) -> None:
        kept: Any = unpack(raw, ClosuresKept)
        self.days = {(fact.calendar, fact.day): fact for fact in kept.days}
        self._closed.clear()


def close(calendar: Calendar, day: date, now: float, *, all_day: bool = False) -> tuple[Span, ...]:
    """The spans with which a day is closed from now on. `calendar` has the closures so far. Raises OutsideTable."""
    begin, end = calendar.bounds(day)
    hours = calendar.hours(day)
    if not all_day and hours and now > hours[0][0]:
        begin = min(now, end)
    return _joined((*calendar.closed_spans(day), (begin, end)))


def reopen(calendar: Calendar, day: date, now: float, *, all_day: bool = False) -> tuple[Span, ...]:
    """The spans that stay closed when a day is reopened. `calendar` has the closures so far. Raises OutsideTable.

    A session that would not have begun yet is whole again; of one in its midst what was missed stays missed.
    """
    spans = calendar.closed_spans(day)
    hours = calendar.closing({}).hours(day)
    if all_day or not hours or now <= hours[0][0]:
        return ()
    return _joined(tuple((since, min(until, now)) for since, until in spans if since < now))


def _joined(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for since, until in sorted(spans):
        if since >= until:
            continue
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(until, joined[-1][1])
        else:
            joined.append((since, until))
    return tuple(joined)
