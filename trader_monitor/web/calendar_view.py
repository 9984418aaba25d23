"""A market calendar as it is shown: one day of it, the next opening and close, and what was closed by command."""

from __future__ import annotations

from datetime import date

from msgspec import Struct

from trader_monitor.core.calendar.calendar import Calendar, OutsideTable, Span
from trader_monitor.core.calendar.closures import Closures

__all__ = ["CalendarView", "ClosureView", "calendar_view"]


class ClosureView(Struct, frozen=True):
    """A day that was closed by command; `closed` are spans in Unix seconds."""

    day: date
    closed: tuple[Span, ...]
    why: str
    who: str
    at: float


class CalendarView(Struct, frozen=True, kw_only=True):
    """`day` is local; times are Unix seconds. What the calendar does not know is None, and `unknown` says why."""

    name: str
    zone: str
    day: date
    open: bool | None = None
    session: bool | None = None
    hours: tuple[Span, ...] = ()
    why: str = ""
    next_open: float | None = None
    next_close: float | None = None
    settles: bool | None = None
    settlement: date | None = None
    settlement_days: int = 0
    known_from: date
    known_until: date
    announced_until: date
    unknown: str = ""
    closures: tuple[ClosureView, ...] = ()


def calendar_view(calendar: Calendar, closures: Closures, now: float, day: date | None = None) -> CalendarView:
    """The calendar's `day`, by default the local one of `now`, and its state at `now`."""
    schedule, live = calendar.schedule, closures.of(calendar)
    day = day or live.day_of(now)
    unknown: list[str] = []
    is_open, next_open, next_close, why = None, None, None, ""
    try:
        is_open, next_open, next_close = live.open_at(now), live.next_open(now), live.next_close(now)
        why = "" if is_open else closures.why(calendar, now)
    except OutsideTable as outside:
        unknown.append(str(outside))
    hours: tuple[Span, ...] = ()
    session, settles, settlement = None, None, None
    try:
        hours = live.hours(day)
        session, settles = bool(hours), live.settles(day)
        settlement = live.settlement(day)
    except OutsideTable as outside:
        unknown.append(str(outside))
    return CalendarView(
        name=calendar.name,
        zone=schedule.zone,
        day=day,
        open=is_open,
        session=session,
        hours=hours,
        why=why,
        next_open=next_open,
        next_close=next_close,
        settles=settles,
        settlement=settlement,
        settlement_days=schedule.settlement_days,
        known_from=schedule.known_from,
        known_until=schedule.known_until,
        announced_until=schedule.announced_until,
        unknown="; ".join(dict.fromkeys(unknown)),
        closures=tuple(
            ClosureView(fact.day, fact.closed, fact.why, fact.who, fact.at)
            for fact in closures.days.values()
            if fact.calendar == calendar.name
        ),
    )
