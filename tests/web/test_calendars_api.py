"""/v1/calendars: how each market stands, and a day that is closed and reopened by command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import aiohttp
from aiohttp import web

from tests.parts import env_in
from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.schedule import ALWAYS, Schedule
from trader_monitor.core.facts import Samples
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.env import Env
from trader_monitor.web.api.calendars import routes

H = 3600
TAIPEI = ZoneInfo("Asia/Taipei")
SCHEDULE = Schedule(
    name="XTAI",
    zone="Asia/Taipei",
    hours=((9 * H, 13 * H + 1800),),
    settlement_only=frozenset({date(2026, 2, 12), date(2026, 2, 13)}),
    known_from=date(2026, 1, 1),
    known_until=date(2026, 12, 31),
    announced_until=date(2026, 12, 31),
)
CALENDARS = {"XTAI": Calendar(SCHEDULE, TAIPEI), "24/7": Calendar(ALWAYS, ZoneInfo("UTC"))}
RULES = [Rule(name="low", expr="equity < 100", during="XTAI")]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=TAIPEI).timestamp()


class House(NamedTuple):
    env: Env
    url: str
    clock: ManualClock

    async def get(self, query: str = "") -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/v1/calendars{query}") as answer:
            return answer.status, await answer.json()

    async def post(self, what: str, body: Any) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.url}/v1/calendars/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, data=content) as answer:
            return answer.status, await answer.json()

    async def equity(self, value: float) -> None:
        labels = (("__name__", "equity"),)
        await self.env.journal.record(
            [Samples(at=self.clock.now().wall, origin="t", labels=(labels,), values=(value,))]
        )

    def alerts(self) -> list[tuple[str, str]]:
        return [(alert.state, alert.reason) for alert in self.env.board.alert_history]


@asynccontextmanager
async def house(folder: Path, now: str) -> AsyncIterator[House]:
    """The API over a real journal whose clock stands still; its store stays in the folder."""
    clock = ManualClock(wall=at(now))
    config = SimpleNamespace(calendars=CALENDARS, channels={})
    async with env_in(folder, config, clock, judge=compile_rules(RULES, CALENDARS)) as env:
        app = web.Application()
        app.add_routes(routes(env))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield House(env, f"http://127.0.0.1:{runner.addresses[0][1]}", clock)
        finally:
            await runner.cleanup()


async def test_how_each_calendar_stands(tmp_path: Path) -> None:
    async with house(tmp_path, "2026-02-10 10:00") as it:
        status, answer = await it.get()
        xtai, always = answer["calendars"]
        assert status == 200
        assert (xtai["name"], xtai["open"], xtai["session"], xtai["day"]) == ("XTAI", True, True, "2026-02-10")
        assert xtai["hours"] == [[at("2026-02-10 09:00"), at("2026-02-10 13:30")]]
        assert (xtai["next_close"], xtai["next_open"]) == (at("2026-02-10 13:30"), at("2026-02-11 09:00"))
        assert (xtai["settlement"], xtai["settlement_days"]) == ("2026-02-12", 2)
        assert (always["open"], always["next_open"], always["next_close"]) == (True, None, None)
        _, answer = await it.get("?day=2026-02-12")
        asked = answer["calendars"][0]
        assert (asked["session"], asked["settles"], asked["hours"], asked["open"]) == (False, True, [], True)
        assert (await it.get("?day=tomorrow"))[0] == 400


async def test_what_it_does_not_know_is_none_and_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, "2027-02-10 10:00") as it:
        xtai = (await it.get())[1]["calendars"][0]
        assert [xtai[key] for key in ("open", "session", "settles", "settlement", "next_open")] == [None] * 5
        assert xtai["unknown"] == "the calendar XTAI knows the days from 2026-01-01 to 2026-12-31, not 2027-02-10"
        status, said = await it.post("close", {"calendar": "XTAI"})
        assert (status, said["error"]) == (422, xtai["unknown"])


async def test_a_day_closed_by_command_ends_its_alerts_at_once_and_outlives_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path, "2026-10-01 11:00") as it:
        await it.equity(90.0)
        assert it.alerts() == [("firing", "the condition holds")]
        status, told = await it.post("close", {"calendar": "XTAI", "why": "typhoon", "who": "amelie"})
        assert (status, told["changed"]) == (200, True)
        xtai = told["calendar"]
        assert (xtai["open"], xtai["why"]) == (False, "XTAI was closed by command: typhoon")
        assert xtai["hours"] == [[at("2026-10-01 09:00"), at("2026-10-01 11:00")]]
        (closure,) = xtai["closures"]
        assert (closure["day"], closure["why"], closure["who"]) == ("2026-10-01", "typhoon", "amelie")
        assert it.alerts()[-1] == ("resolved", "XTAI was closed by command: typhoon")
        status, told = await it.post("close", {"calendar": "XTAI", "day": "2026-10-02"})
        assert told["calendar"]["hours"] == []
    async with house(tmp_path, "2026-10-01 12:00") as it:
        await it.equity(90.0)
        assert it.alerts()[-1][0] == "resolved", "it is still closed"
        status, told = await it.post("reopen", {"calendar": "XTAI"})
        assert (status, told["changed"], told["calendar"]["open"]) == (200, True, True)
        assert it.alerts()[-1] == ("firing", "the condition holds")
        assert (await it.post("reopen", {"calendar": "XTAI", "day": "2026-10-02"}))[1]["changed"]
        assert not (await it.post("reopen", {"calendar": "XTAI", "day": "2026-10-02"}))[1]["changed"]
        status, told = await it.post("close", {"calendar": "XTAI", "day": "2026-09-30"})
        assert (status, told["changed"]) == (200, False), "a day that is over is not rewritten"
        status, told = await it.post("close", {"calendar": "XTAI", "day": "2026-09-30", "all_day": True})
        assert (told["changed"], told["calendar"]["session"]) == (True, False)


async def test_what_is_not_the_question_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, "2026-10-01 11:00") as it:
        for body in (
            b"",
            b"{}",
            b"[" * 200_000,
            b"\xff",
            {"calendar": 1},
            {"calendar": "XTAI", "day": "tomorrow"},
            {"calendar": "XTAI", "why": "x" * 201},
            {"calendar": "XTAI", "why": "\x1b[31m"},
            {"calendar": "XTAI", "until": "noon"},
        ):
            assert (await it.post("close", body))[0] == 400, body
        status, said = await it.post("close", {"calendar": "XTAJ"})
        assert status == 404
        assert said == {"error": "the configuration names no calendar 'XTAJ'", "hint": "it names: 24/7, XTAI"}
        assert not it.env.board.closures.days
