"""Market calendars out of `[calendars.NAME]`, their files and the tables that are shipped; only those that are named.

A table stands on another (`like`), on a file, on the shipped one of its own name, or by itself: then it names zone,
open and close. What it says is laid over what it stands on: values replace, days are added. A day in `extra_sessions`
trades again, one in `closed` or `holidays` does not, whatever was below.

A calendar is known in the years that it lists days for, unless `known_from` and `known_until` say otherwise; one that
lists none is a weekly pattern and known for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from trader_monitor.config.convert import Converter
from trader_monitor.config.errors import Place, Report, among
from trader_monitor.config.values import ClockTime
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.schedule import ALWAYS, FIRST_DAY, LAST_DAY, Hours, Schedule

__all__ = ["SHIPPED", "CalendarFile", "CalendarTable", "Calendars", "NoZone", "open_zone", "shipped"]

SHIPPED: Final = Path(__file__).parent.parent / "calendars"
"""The folder of the tables that come with the program, one TOML file each."""
SIZE_LIMIT: Final = 1 << 20

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


class NoZone(ValueError):
    """There is no such time zone on this host."""


def open_zone(name: str) -> tzinfo:
    """The IANA time zone, from the host's database. Raises NoZone."""
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        known = available_timezones()
        hint = among(name, known, "zones") if known else "the host has no time zones: install tzdata"
        raise NoZone(hint if len(hint) < 200 else "expected an IANA name such as Asia/Taipei") from None


def shipped() -> list[str]:
    """The names of the calendars that come with the program."""
    return sorted([*(path.stem for path in SHIPPED.glob("*.toml")), ALWAYS.name])


class Calendars:
    """One reading of all the calendars of one configuration."""

    def __init__(self, tables: Mapping[str, dict[str, Any]], convert: Converter) -> None:
        self._tables = tables
        self._convert = convert
        self._report = convert.report
        self._found: dict[str, Schedule | None] = {}
        self._known = {*tables, *shipped()}

    def read(self, wanted: Iterable[tuple[str, Place]]) -> dict[str, Calendar]:
        """The configuration's own calendars and those that are wanted, by name; `Place` is where a name was written."""
        names = dict.fromkeys(self._tables)
        for name, place in wanted:
            if name in self._known:
                names[name] = None
            else:
                self._report.wrong(place, "no such calendar", value=name, hint=among(name, self._known, "calendars"))
        calendars = {}
        for name in names:
            schedule = self._schedule(name, ())
            if schedule is None:
                continue
            try:
                calendars[name] = Calendar(schedule, open_zone(schedule.zone))
            except NoZone as unknown:
                own = self._tables.get(name, {})
                key = next((key for key in ("zone", "file", "like") if key in own), "zone")
                self._report.wrong(
                    ("calendars", name, key), "no such time zone", value=schedule.zone, hint=str(unknown)
                )
        return calendars

    def _schedule(self, name: str, trail: tuple[str, ...]) -> Schedule | None:
        """None after the report says why."""
        if name not in self._found:
            self._found[name] = None  # whoever stands on it while it is read goes round in a circle
            written = self._tables.get(name)
            self._found[name] = self._shipped(name) if written is None else self._own(name, written, (*trail, name))
        return self._found[name]

    def _shipped(self, name: str) -> Schedule | None:
        if name == ALWAYS.name:
            return ALWAYS
        return self._of_file(name, SHIPPED / f"{name}.toml", ("calendars", name))

    def _own(self, name: str, written: dict[str, Any], trail: tuple[str, ...]) -> Schedule | None:
        place: Place = ("calendars", name)
        table = self._convert.struct(CalendarTable, written, place)
        below: Schedule | None = None
        like, file = written.get("like"), written.get("file")
        if like is not None and file is not None:
            self._report.wrong((*place, "file"), "expected either `like` or `file`, not both")
            return None
        if isinstance(like, str):
            below = self._alike(like, (*place, "like"), trail)
            if below is None:
                return None
        elif not isinstance(table, CalendarTable):
            return None
        elif table.file is not None:
            below = self._of_file(name, table.file, (*place, "file"))
            if below is None:
                return None
        elif name in shipped():
            below = self._shipped(name)
        if not isinstance(table, CalendarTable):
            return None
        return _Layer(name, table, self._report, place).over(below)

    def _alike(self, like: str, place: Place, trail: tuple[str, ...]) -> Schedule | None:
        if like == trail[-1] and like in shipped():
            return self._shipped(like)
        if like in trail:
            circle = " → ".join((*trail[trail.index(like) :], like))
            self._report.wrong(place, f"goes round in a circle: {circle}")
            return None
        if like not in self._known:
            self._report.wrong(place, "no such calendar", value=like, hint=among(like, self._known, "calendars"))
            return None
        return self._schedule(like, trail)

    def _of_file(self, name: str, path: Path, place: Place) -> Schedule | None:
        """A calendar that is written out in a file; what is wrong there is told with its place there."""
        report = Report()
        schedule: Schedule | None = None
        try:
            with path.open("rb") as opened:
                content = opened.read(SIZE_LIMIT + 1)
            if len(content) > SIZE_LIMIT:
                raise ValueError("is larger than 1 MiB")
            raw = tomli.loads(content.decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._report.wrong(place, f"cannot be read: {reason}", value=str(path))
            return None
        file = Converter(report, path.parent).struct(CalendarFile, raw, ())
        if isinstance(file, CalendarFile):
            schedule = _Layer(name, file, report, ()).over(None)
        for _, wrong in report.found:
            what = f"{wrong.path} = {wrong.value}" if wrong.value is not None else wrong.path
            self._report.wrong(place, f"{path}: {what}: {wrong.expected}", hint=wrong.hint)
        return None if report.found else schedule


class _Layer:
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
