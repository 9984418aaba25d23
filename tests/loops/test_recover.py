"""The recovery's loop, with the check's own: acts, verifies, climbs, and never twice blindly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
from msgspec import Struct

from tests.parts import running, until
from tests.plugins.house import QuickClock, TinyJournal, house
from trader_monitor.core.facts import ActionStep, Breaker, CheckResult
from trader_monitor.loops.check import check
from trader_monitor.loops.recover import recover
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import Plugin


class Nothing(Struct, frozen=True):
    pass


class Ward:
    """Bots that are well or not, and actions that are counted and may heal them."""

    def __init__(self, **cures: Any) -> None:
        self.well = {"bot": False, "other": True}
        self.runs: list[tuple[str, str]] = []
        self.cures = cures
        """By action: what it does, given the check's name."""
        self.checks = {name: self._check(name, tuple(cures)) for name in self.well}
        self.actions = {name: self._action(name) for name in cures}

    @property
    def config(self) -> Any:
        return SimpleNamespace(collectors={}, checks=self.checks, actions=self.actions)

    def _check(self, name: str, ladder: tuple[str, ...]) -> Any:
        async def probe(options: Any, env: Any) -> Probe:
            return Probe(self.well[name], "well" if self.well[name] else "ill")

        return SimpleNamespace(
            name=name, plugin=Plugin("check", "it", Nothing, probe), every=10.0, timeout=5.0, trip_after=2,
            cooldown=60.0, recover=ladder, options=Nothing(),
        )  # fmt: skip

    def _action(self, name: str) -> Any:
        async def act(options: Any, env: Any, incident: Any) -> str:
            self.runs.append((name, incident.check))
            return str(await self.cures[name](incident.check) or "done")

        return SimpleNamespace(
            name=name, plugin=Plugin("action", "it", Nothing, act), armed=True, per_hour=3, timeout=30.0,
            options=Nothing(),
        )  # fmt: skip


async def leap(clock: QuickClock, seconds: float) -> None:
    """Much time at one go: who slept meanwhile wakes up late."""
    clock._mono += seconds
    clock._wall += seconds
    await clock.advance(70)


async def nothing(check: str) -> None:
    """An action that does not help."""


def steps(env: Any, check: str = "bot") -> list[str]:
    return [f"{s.action} {s.phase}" for s in env.journal.facts if isinstance(s, ActionStep) and s.check == check]


async def test_an_action_that_helps_is_verified_by_the_next_probe() -> None:
    clock = QuickClock()

    async def heal(check: str) -> None:
        ward.well[check] = True

    ward = Ward(restart=heal, reboot=nothing)
    async with house(ward.config, clock) as env, running(check(env, "bot"), recover(env)):
        await clock.advance(40)
        assert steps(env) == ["restart started", "restart succeeded", "restart verified"]
        assert ward.runs == [("restart", "bot")]
        first, second, third = env.board.incidents["bot"]
        assert first.why == "the check failed 2 times in a row: ill"
        assert (first.who, second.outcome, third.outcome) == ("recovery", "done", "well")


async def test_the_next_rung_is_tried_where_the_first_does_not_help_and_then_a_human_is_called() -> None:
    clock = QuickClock()

    async def breaks(check: str) -> None:
        raise RuntimeError("unit not found")

    ward = Ward(restart=nothing, reboot=breaks)
    async with house(ward.config, clock) as env, running(check(env, "bot"), recover(env)):
        await clock.advance(300)
        assert steps(env) == [
            "restart started", "restart succeeded", "restart not_verified",
            "reboot started", "reboot failed", "reboot not_verified", "reboot exhausted",
        ]  # fmt: skip
        assert env.board.incidents["bot"][4].outcome == "unit not found"
        await leap(clock, 3600)
        assert len(ward.runs) == 2, "an exhausted ladder is not climbed again"
        ward.well["bot"] = True
        await clock.advance(61)
        assert steps(env)[-1] == "reboot verified"


async def test_what_is_not_armed_is_rehearsed_only() -> None:
    clock = QuickClock()
    ward = Ward(restart=nothing, reboot=nothing)
    ward.actions["restart"].armed = ward.actions["reboot"].armed = False
    async with house(ward.config, clock) as env, running(check(env, "bot"), recover(env)):
        await clock.advance(400)
        assert steps(env) == ["restart dry_run", "reboot dry_run"]
        assert ward.runs == []


async def test_the_budget_outlives_incidents_and_frees_by_the_hour() -> None:
    clock = QuickClock()

    async def heal(check: str) -> None:
        ward.well[check] = True

    ward = Ward(restart=heal)
    async with house(ward.config, clock) as env, running(check(env, "bot"), recover(env)):
        for _ in range(4):
            await clock.advance(60)
            ward.well["bot"] = False
        await clock.advance(60)
        assert len(ward.runs) == 3
        assert steps(env)[-1] == "restart over_budget"
        await leap(clock, 3600)
        assert len(ward.runs) == 4
        assert steps(env).count("restart over_budget") == 1


async def test_a_hanging_action_meets_its_deadline_and_holds_up_no_other_check() -> None:
    async def hang(check: str) -> None:
        if check == "bot":
            await anyio.sleep_forever()

    ward = Ward(restart=hang, reboot=nothing)
    ward.checks["other"].recover = ("reboot",)
    ward.actions["restart"].timeout = 0.3
    async with house(ward.config) as env, running(recover(env)):
        await env.journal.record([failed(env, "bot")])
        await until(lambda: ward.runs == [("restart", "bot")])
        await env.journal.record([failed(env, "other")])
        await env.journal.want(lambda f: isinstance(f, ActionStep) and f.check == "other" and f.phase == "succeeded")
        assert steps(env, "bot") == ["restart started"], "the other was done while this one hangs"
        ended = await env.journal.want(lambda f: isinstance(f, ActionStep) and f.phase == "failed", within=3)
    assert ended.outcome == "no end within 0.3 s"


def failed(env: Any, name: str) -> CheckResult:
    now = env.clock.now()
    breaker = Breaker(state="open", failures=2, since=now.mono, retry_at=now.mono + 60, opened=1, generation=1)
    return CheckResult(at=now.wall, check=name, ok=False, breaker=breaker, seconds=0.0, message="ill")


async def test_one_run_of_an_action_at_a_time_however_many_checks_want_it() -> None:
    gate = anyio.Event()

    async def slow(check: str) -> None:
        await gate.wait()

    ward = Ward(restart=slow)
    async with house(ward.config) as env, running(recover(env)):
        await env.journal.record([failed(env, "bot"), failed(env, "other")])
        await until(lambda: len(ward.runs) == 1)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert len(ward.runs) == 1
        gate.set()
        await until(lambda: len(ward.runs) == 2)
        await until(lambda: steps(env, "other") == ["restart started", "restart succeeded"])


async def test_a_step_cut_off_by_a_restart_is_taken_as_failed_and_a_probe_comes_before_anything_else() -> None:
    clock = QuickClock()

    async def hang(check: str) -> None:
        await anyio.sleep_forever()

    ward = Ward(restart=hang, reboot=nothing)
    async with house(ward.config, clock) as env:
        async with running(check(env, "bot"), recover(env)):
            await clock.advance(15)
            assert steps(env) == ["restart started"]
        async with running(recover(env)):
            await clock.advance(5)
            assert steps(env) == ["restart started", "restart failed"]
            assert env.board.incidents["bot"][-1].outcome.startswith("unknown")
            await clock.advance(100)
            assert ward.runs == [("restart", "bot")], "without a probe nothing is done"
        async with running(check(env, "bot"), recover(env)):
            await clock.advance(30)
            assert ward.runs == [("restart", "bot"), ("reboot", "bot")], "and never the same again"


async def test_a_check_that_is_well_after_the_restart_needs_no_second_action() -> None:
    clock = QuickClock()

    async def hang(check: str) -> None:
        await anyio.sleep_forever()

    ward = Ward(restart=hang)
    async with house(ward.config, clock) as env:
        async with running(check(env, "bot"), recover(env)):
            await clock.advance(15)
        ward.well["bot"] = True
        async with running(check(env, "bot"), recover(env)):
            await clock.advance(90)
            assert steps(env) == ["restart started", "restart failed", "restart verified"]
            assert len(ward.runs) == 1


async def test_while_the_store_cannot_keep_a_step_no_action_is_begun() -> None:
    ward = Ward(restart=nothing)
    journal = TinyJournal()
    journal.degraded = "disk full"
    async with house(ward.config, journal=journal) as env, running(recover(env)):
        await env.journal.record([failed(env, "bot")])
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert ward.runs == []
        journal.degraded = None
        await env.journal.record([failed(env, "bot")])
        await until(lambda: ward.runs == [("restart", "bot")])


async def test_a_reload_that_takes_the_ladder_away_still_lets_the_incident_end() -> None:
    clock = QuickClock()
    ward = Ward(restart=nothing)
    async with house(ward.config, clock) as env, running(check(env, "bot"), recover(env)):
        await clock.advance(15)
        assert steps(env) == ["restart started", "restart succeeded"]
        ward.checks["bot"].recover = ()
        ward.well["bot"] = True
        await clock.advance(60)
        assert steps(env)[-1] == "restart verified"
