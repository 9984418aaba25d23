"""One table of a calendar, and the schedule that it makes of what stands below it."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from trader_monitor.config.errors import Place, Report
from trader_monitor.config.values import ClockTime
from trader_monitor.core.calendar.schedule import FIRST_DAY, LAST_DAY, Hours, Schedule

__all__ = ["CalendarFile", "CalendarTable", "Layer"]

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Days = tuple[date, ...]
_BREAK = re.compile(r"([\d:]+)-([\d:]+)")


class CalendarFile(Struct, frozen=True, kw_only=True):
    """A calendar as a file says it. Times are local; `early_closes` holds days by the time at which they close."""

    zone: str | None = None
    open: ClockTime | None = None
    close: ClockTime | None = None
    breaks: tuple[str, ...] | None = None
    weekdays: Annotated[tuple[Weekday, ...], Meta(min_length=1)] | None = None
    holidays: Days = ()
    closed: Days = ()
    settlement_only: Days = ()
    no_settlement: Days = ()
    extra_sessions: Days = ()
    early_closes: dict[str, Days] = field(default_factory=dict)
    settlement_days: Annotated[int, Meta(ge=0, le=30)] | None = None
    known_from: date | None = None
    known_until: date | None = None
    announced_until: date | None = None


class CalendarTable(CalendarFile, frozen=True, kw_only=True):
    """`[calendars.NAME]`: what a file may say, and what it stands on."""

    like: str | None = None
    file: Path | None = None


class Layer:
    """One table, and what stands below it."""

    def __init__(self, name: str, table: CalendarFile, report: Report, place: Place) -> None:
        self.name = name
        self.table = table
        self.report = report
        self.place = place

    def over(self, below: Schedule | None) -> Schedule | None:
        before = len(self.report.found)
        table = self.table
        if below is None:
            for key in ("zone", "open", "close"):
                if getattr(table, key) is None:
                    self.wrong((key,), "is missing")
            if len(self.report.found) > before:
                return None
            below = Schedule(name=self.name, zone=table.zone or "", hours=((0, 1),))
            fresh = True
        else:
            fresh = False
        hours = self.hours(None if fresh else below.hours)
        self.contradictions()
        first, last = self.known(below, fresh)
        early = self.early_closes(hours or below.hours, first, last)
        if hours is None or len(self.report.found) > before:
            return None
        shut = frozenset((*table.holidays, *table.closed))
        again = frozenset(table.extra_sessions)
        settle = frozenset(table.settlement_only)
        return replace(
            below,
            name=self.name,
            zone=table.zone or below.zone,
            hours=hours,
            weekdays=below.weekdays if table.weekdays is None else tuple(map(WEEKDAYS.index, table.weekdays)),
            closed=(below.closed - again - settle) | shut,
            settlement_only=(below.settlement_only - again - shut) | settle,
            no_settlement=below.no_settlement | frozenset(table.no_settlement),
            extra_sessions=(below.extra_sessions - shut - settle) | again,
            early_closes={**below.early_closes, **early},
            settlement_days=below.settlement_days if table.settlement_days is None else table.settlement_days,
            known_from=first,
            known_until=last,
            announced_until=min(last, table.announced_until or (last if fresh else below.announced_until)),
        )

    def wrong(self, key: Place, expected: str, value: object = None) -> None:
        self.report.wrong((*self.place, *key), expected, value=value)

    def hours(self, below: Hours | None) -> Hours | None:
        """Opening to close, less the breaks; those below go on where no others are named."""
        table = self.table
        begin = table.open if table.open is not None else below[0][0] if below else 0
        end = table.close if table.close is not None else below[-1][1] if below else 0
        if begin >= end:
            key = "close" if table.close is not None else "open"
            self.wrong((key,), f"closes at {ClockTime(end)}, which is not after the opening at {ClockTime(begin)}")
            return None
        breaks: list[tuple[int, int]] = []
        if table.breaks is None and below:
            breaks = [(this[1], following[0]) for this, following in pairwise(below)]
        for index, text in enumerate(table.breaks or ()):
            match = _BREAK.fullmatch(text)
            try:
                if match is None:
                    raise ValueError
                since, until = (ClockTime.parse(part) for part in match.groups())
            except ValueError:
                self.wrong(("breaks", index), 'expected a break such as "12:00-13:00"', text)
                return None
            if not begin < since < until < end:
                self.wrong(("breaks", index), "does not lie within the session", text)
                return None
            if breaks and since <= breaks[-1][1]:
                self.wrong(("breaks", index), "begins before the one before has ended", text)
                return None
            breaks.append((since, until))
        edges = [begin, *(edge for pause in breaks for edge in pause), end]
        return tuple(zip(edges[::2], edges[1::2], strict=True))

    def contradictions(self) -> None:
        """A day that trades and rests in one table. What is below is corrected, not contradicted."""
        table = self.table
        shut = {day: key for key in ("holidays", "closed", "settlement_only") for day in getattr(table, key)}
        for key in ("extra_sessions", "no_settlement"):
            for index, day in enumerate(getattr(table, key)):
                if day in shut:
                    self.wrong((key, index), f"is in {shut[day]} too", day)
        for at, days in table.early_closes.items():
            for index, day in enumerate(days):
                if day in shut:
                    self.wrong(("early_closes", at, index), f"is in {shut[day]} too", day)
        for index, day in enumerate(table.settlement_only):
            if day in table.holidays or day in table.closed:
                self.wrong(("settlement_only", index), "is closed as well", day)

    def known(self, below: Schedule, fresh: bool) -> tuple[date, date]:
        """The first and the last day that are known."""
        table = self.table
        lists: dict[Place, Days] = {
            (key,): getattr(table, key)
            for key in ("holidays", "closed", "settlement_only", "no_settlement", "extra_sessions")
        }
        lists.update((("early_closes", at), days) for at, days in table.early_closes.items())
        years = [day.year for days in lists.values() for day in days]
        first, last = below.known_from, below.known_until
        if fresh and years:
            first, last = date(min(years), 1, 1), date(max(years), 12, 31)
        first, last = table.known_from or first, table.known_until or last
        if first > last:
            self.wrong(("known_until",), f"lies before the first day that is known, {first}", table.known_until)
        if not FIRST_DAY <= first <= LAST_DAY or not FIRST_DAY <= last <= LAST_DAY:
            self.wrong(("known_until",), f"expected days from {FIRST_DAY} to {LAST_DAY}")
        for key, days in lists.items():
            for index, day in enumerate(days):
                if not first <= day <= last:
                    self.wrong((*key, index), f"is outside the days that are known, {first} to {last}", day)
        return first, last

    def early_closes(self, hours: Hours, first: date, last: date) -> dict[date, int]:
        early: dict[date, int] = {}
        for text, days in self.table.early_closes.items():
            try:
                at = ClockTime.parse(text)
            except ValueError as error:
                self.wrong(("early_closes", text), str(error))
                continue
            if not hours[0][0] < at < hours[-1][1]:
                within = f"{ClockTime(hours[0][0])} to {ClockTime(hours[-1][1])}"
                self.wrong(("early_closes", text), f"does not lie within the session, {within}")
            early.update(dict.fromkeys(days, int(at)))
        return early
