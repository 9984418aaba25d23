"""GET /v1/checks: what is configured, how it stands, and what was done about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct

from tests.plugins.house import house
from trader_monitor.config.values import Duration
from trader_monitor.core.facts import ActionStep, Breaker, CheckResult
from trader_monitor.runtime.registry import Plugin
from trader_monitor.web.api import checks


class Nothing(Struct, frozen=True):
    pass


async def test_checks_with_their_state_their_ladder_and_the_steps_of_their_incident() -> None:
    def table(name: str, recover: tuple[str, ...] = ()) -> Any:
        return SimpleNamespace(
            name=name,
            plugin=Plugin("check", "http", Nothing, print),
            every=Duration(10.0),
            timeout=Duration(5.0),
            trip_after=2,
            cooldown=Duration(60.0),
            recover=recover,
            options=Nothing(),
        )

    config = SimpleNamespace(
        collectors={},
        checks={"bot": table("bot", ("restart",)), "young": table("young")},
        actions={"restart": SimpleNamespace(armed=True)},
    )
    async with house(config) as env:
        now = env.clock.now()
        breaker = Breaker(state="open", failures=2, since=now.mono, retry_at=now.mono + 60, opened=1, generation=1)
        step = ActionStep(
            at=now.wall,
            incident="bot-1",
            check="bot",
            action="restart",
            rung=0,
            phase="started",
            who="recovery",
            why="it failed",
            mono=now.mono,
        )
        await env.journal.record(
            [CheckResult(at=now.wall, check="bot", ok=False, breaker=breaker, seconds=0.1, message="ill"), step]
        )
        app = web.Application()
        app.add_routes(checks.routes(env))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/checks"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            said = await answer.json()
        await runner.cleanup()
    bot, young = said["checks"]
    assert (bot["name"], bot["state"]["ok"], bot["state"]["breaker"]) == ("bot", False, "open")
    assert bot["state"]["message"] == "ill"
    assert bot["recover"] == [{"action": "restart", "armed": True}]
    assert [one["phase"] for one in bot["incident"]] == ["started"]
    assert (bot["every"], bot["timeout"], bot["cooldown"]) == (10, 5, 60)
    assert young["state"] is None
    assert [one["incident"] for one in said["steps"]] == ["bot-1"]
