"""The loop sleeps until the market opens or closes, over a weekend on which the clocks change, and wakes when somebody
closes it by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.loops.telling import House, open_house
from tests.parts import until
from trader_monitor.core.alerts.judge import RuleSet, compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.closures import close
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.calendar.schedule import Schedule
from trader_monitor.loops import evaluate as module
from trader_monitor.loops.evaluate import evaluate
from trader_monitor.runtime.clock import ManualClock

NEW_YORK = ZoneInfo("America/New_York")
SCHEDULE = Schedule(
    name="XNYS", zone="America/New_York", hours=((34_200, 57_600),), closed=frozenset({date(2026, 1, 1)})
)
CALENDAR = Calendar(SCHEDULE, NEW_YORK)
RULE = Rule(name="r", expr="last_over_time(a[5d]) > 5", during="XNYS")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


@asynccontextmanager
async def trading(folder: Path, now: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, ManualClock]]:
    """A house whose loop has no other reason to wake than the calendar."""
    monkeypatch.setattr(module, "LONGEST", 1e9)
    clock = ManualClock(wall=at(now))
    async with open_house(folder, clock=clock) as house:
        judge: Any = RuleSet(compile_rules([RULE], {"XNYS": CALENDAR}).rules, tick=1e9)
        house.env.journal.judge = judge
        await house.send({"a": 9})
        house.run(evaluate(house.env))
        yield house, clock


def states(house: House) -> list[tuple[str, str]]:
    return [
        (f"{datetime.fromtimestamp(alert.at, NEW_YORK):%a %H:%M}", alert.state) for alert in house.board.alert_history
    ]


@pytest.mark.parametrize(
    ("friday", "monday"), [("2026-03-06", "2026-03-09"), ("2026-10-30", "2026-11-02")], ids=["to summer", "to winter"]
)
async def test_it_wakes_at_the_close_and_at_the_opening(
    friday: str, monday: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(tmp_path, f"{friday} 12:00", monkeypatch) as (house, clock):
        await until(lambda: states(house) == [("Fri 12:00", "firing")])
        await clock.advance(at(f"{friday} 16:00") - at(f"{friday} 12:00") + 0.1)
        await until(lambda: states(house)[1:] == [("Fri 16:00", "resolved")])
        await clock.advance(at(f"{monday} 09:29") - at(f"{friday} 16:00"))
        assert len(states(house)) == 2
        await clock.advance(61.0)
        await until(lambda: states(house)[2:] == [("Mon 09:30", "firing")])


async def test_it_wakes_when_a_day_is_closed_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading(tmp_path, "2026-11-20 12:00", monkeypatch) as (house, clock):
        await until(lambda: states(house) == [("Fri 12:00", "firing")])
        day, now = date(2026, 11, 20), clock.now().wall
        fact = CalendarChanged(at=now, calendar="XNYS", day=day, closed=close(CALENDAR, day, now), why="a halt")
        await house.env.journal.record([fact])
        await until(lambda: states(house)[1:] == [("Fri 12:00", "resolved")])
        assert house.board.alert_history[-1].reason == "XNYS was closed by command: a halt"
