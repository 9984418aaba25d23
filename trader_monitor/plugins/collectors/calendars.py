"""Market time of the calendars that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from msgspec import Struct

from trader_monitor.core.calendar.calendar import Calendar, OutsideTable
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

OPEN = gauge("market_open", "1 while the market is open, 0 while it is not; nothing where its calendar does not know.")
TIME = gauge("market_time_seconds", "Seconds that the market has been open since 2026, or since its calendar begins.")
KNOWN = gauge("market_calendar_known_seconds", "How far ahead the calendar knows the market's days.")

EPOCH = 1_767_225_600.0
"""2026-01-01: market time is counted from a fixed moment, so that it goes on where it was after a restart."""
FAR = 10 * 366 * 86_400.0
"""What is known for longer than ten years is known for good: a weekly pattern has no end."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("calendars", Options)
async def calendars(options: Options, env: Env) -> list[Reading]:
    """Whether each market that the configuration names is open, and for how long it has been."""
    now, closures = env.clock.now().wall, env.board.closures
    return [reading for one in env.config().calendars.values() for reading in _read(closures.of(one), now)]


def _read(calendar: Calendar, now: float) -> Iterator[Reading]:
    schedule = calendar.schedule
    ahead = calendar.bounds(schedule.known_until)[1] - now
    if ahead < FAR:
        yield KNOWN(max(0.0, ahead), calendar=calendar.name)
    try:
        is_open = calendar.open_at(now)
        begin = max(EPOCH, calendar.bounds(schedule.known_from)[0])
        yield OPEN(float(is_open), calendar=calendar.name)
        yield TIME(calendar.seconds_open(begin, now), calendar=calendar.name)
    except OutsideTable:
        return  # there is a rule for it: market_calendar_known_seconds
