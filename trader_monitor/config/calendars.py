"""Market calendars out of `[calendars.NAME]`, their files and the tables that are shipped; only those that are named.

A table stands on another (`like`), on a file, on the shipped one of its own name, or by itself: then it names zone,
open and close. What it says is laid over what it stands on: values replace, days are added. A day in `extra_sessions`
trades again, one in `closed` or `holidays` does not, whatever was below.

A calendar is known in the years that it lists days for, unless `known_from` and `known_until` say otherwise; one that
lists none is a weekly pattern and known for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

import tomli

from trader_monitor.config.calendar_layer import CalendarFile, CalendarTable, Layer
from trader_monitor.config.convert import Converter
from trader_monitor.config.errors import Place, Report, among
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.schedule import ALWAYS, Schedule

__all__ = ["SHIPPED", "Calendars", "NoZone", "open_zone", "shipped"]

SHIPPED: Final = Path(__file__).parent.parent / "calendars"
"""The folder of the tables that come with the program, one TOML file each."""
SIZE_LIMIT: Final = 1 << 20


class NoZone(ValueError):
    """There is no such time zone on this host."""


def open_zone(name: str) -> tzinfo:
    """The IANA time zone, from the host's database, without which there is still UTC. Raises NoZone."""
    if name == "UTC":
        return UTC
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

    def read(self, wanted: Iterable[tuple[str | None, Place]]) -> dict[str, Calendar]:
        """The configuration's own calendars and those that are wanted, by name; `Place` is where a name was written, or
        might have been."""
        names = dict.fromkeys(self._tables)
        for name, place in wanted:
            if name in self._known:
                names[name] = None
            elif name is not None:
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
        return Layer(name, table, self._report, place).over(below)

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
            schedule = Layer(name, file, report, ()).over(None)
        for _, wrong in report.found:
            what = f"{wrong.path} = {wrong.value}" if wrong.value is not None else wrong.path
            self._report.wrong(place, f"{path}: {what}: {wrong.expected}", hint=wrong.hint)
        return None if report.found else schedule
