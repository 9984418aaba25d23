"""Market time as series: open or not, how long so far, how far ahead; and that a rule can count by it."""

from __future__ import annotations

from datetime import date, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import tomli

from tests.core.alerts.stage import Stage, states
from tests.plugins.house import house, plugin
from trader_monitor.config.load import BUILTIN_RULES
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.calendar.schedule import ALWAYS, Schedule
from trader_monitor.core.promql import compile
from trader_monitor.core.series import SeriesStore
from trader_monitor.plugins.collectors.calendars import EPOCH
from trader_monitor.runtime.clock import ManualClock

H = 3600
TAIPEI = ZoneInfo("Asia/Taipei")
CALENDAR = Calendar(
    Schedule(
        name="TP",
        zone="Asia/Taipei",
        hours=((9 * H, 13 * H + 1800),),
        known_from=date(2025, 1, 1),
        known_until=date(2026, 12, 31),
    ),
    TAIPEI,
)
FOREVER = Calendar(ALWAYS, ZoneInfo("UTC"))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=TAIPEI).timestamp()


async def read(now: float, *calendars: Calendar, closed: CalendarChanged | None = None) -> dict[tuple[str, str], float]:
    it = plugin("collector", "calendars")
    config = SimpleNamespace(calendars={one.name: one for one in calendars})
    async with house(config, ManualClock(wall=now)) as env:
        if closed is not None:
            env.board.closures.fold(closed, 0)
        found = await it.call(it.options(), env)
    return {(reading.name, reading.labels["calendar"]): reading.value for reading in found}


async def test_nothing_is_said_of_calendars_that_nobody_names() -> None:
    assert await read(at("2026-11-20 10:00")) == {}


async def test_open_or_not_and_the_market_time_since_2026() -> None:
    first = await read(at("2026-01-05 10:00"), CALENDAR, FOREVER)
    assert first["market_open", "TP"] == 1
    assert first["market_time_seconds", "TP"] == 2 * 4.5 * H + H, "Thursday and Friday, and an hour of Monday"
    assert first["market_calendar_known_seconds", "TP"] == at("2027-01-01 00:00") - at("2026-01-05 10:00")
    assert first["market_time_seconds", "24/7"] == at("2026-01-05 10:00") - EPOCH
    assert ("market_calendar_known_seconds", "24/7") not in first
    evening = await read(at("2026-01-05 20:00"), CALENDAR)
    assert (evening["market_open", "TP"], evening["market_time_seconds", "TP"]) == (0, 3 * 4.5 * H)


async def test_a_day_closed_by_command_is_closed() -> None:
    day = date(2026, 1, 5)
    closed = CalendarChanged(at=1.0, calendar="TP", day=day, closed=((at("2026-01-05 09:30"), at("2026-01-06 00:00")),))
    found = await read(at("2026-01-05 10:00"), CALENDAR, closed=closed)
    assert (found["market_open", "TP"], found["market_time_seconds", "TP"]) == (0, 2 * 4.5 * H + 0.5 * H)


async def test_what_the_calendar_does_not_know_is_not_said() -> None:
    found = await read(at("2027-01-05 10:00"), CALENDAR)
    assert found == {("market_calendar_known_seconds", "TP"): 0.0}


STALE = (
    "time() - market_data_frame_timestamp_seconds > 300"
    ' and on () market_time_seconds{calendar="TP"} - market_time_seconds{calendar="TP"} offset 5m >= 300'
)
"""As in the README: no frame for five minutes in all of which the market was open."""


async def test_a_rule_counts_staleness_by_market_time() -> None:
    """The last frame is of yesterday: at the opening that is no news, five minutes of market time later it is."""
    store = SeriesStore()
    frame = store.intern((("__name__", "market_data_frame_timestamp_seconds"), ("symbol", "2330")))
    time = store.intern((("__name__", "market_time_seconds"), ("calendar", "TP")))
    begin, yesterday = at("2026-11-20 08:50"), at("2026-11-19 13:29")
    for n in range(80):
        t = begin + 15 * n
        store.append(frame, int(t * 1000), yesterday)
        store.append(time, int(t * 1000), CALENDAR.seconds_open(EPOCH, t))
    plan = compile(STALE)
    stale = {
        clock: bool(plan.evaluate(store, np.array([int(at(f"2026-11-20 {clock}") * 1000)])).present.any())
        for clock in ("08:56", "09:00", "09:04:45", "09:05", "09:09")
    }
    assert stale == {"08:56": False, "09:00": False, "09:04:45": False, "09:05": True, "09:09": True}


def builtin(name: str) -> Rule:
    table = tomli.loads(BUILTIN_RULES.read_text())["rules"][name]
    return Rule(
        name=name, **{key: table[key] for key in ("expr", "clear", "severity", "summary") if table.get(key) is not None}
    )


def test_a_calendar_that_ends_within_a_month_is_told_in_time() -> None:
    stage = Stage(builtin("monitor_calendar_ends"))
    day = 86_400.0
    assert stage.send({"market_calendar_known_seconds{calendar=TP}": 31 * day}) == []
    (fired,) = stage.send({"market_calendar_known_seconds{calendar=TP}": 29.5 * day})
    assert fired.summary == (
        "The calendar TP knows the market's days for 29d 12h more. Run: trader-monitor calendar update"
    )
    assert states(stage.send({"market_calendar_known_seconds{calendar=TP}": 400 * day})) == ["resolved"]


def test_a_rule_judged_at_all_hours_is_told_as_that_and_not_as_blind() -> None:
    stage = Stage(builtin("monitor_rule_failing"), builtin("monitor_calendar_unknown"))
    name = "monitor_rule_failures_total{rule=r,cause=calendar}"
    stage.send({name: 1})
    stage.seconds += 15
    (fired,) = stage.send({name: 2})
    assert fired.rule == "monitor_calendar_unknown"
    assert "is judged at all hours" in fired.summary
