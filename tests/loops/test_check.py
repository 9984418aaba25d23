"""The check's loop: trip, wait, try again; what survives a restart; whose fault a silence is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
from msgspec import Struct

from tests.parts import running
from tests.plugins.house import QuickClock, house
from trader_monitor.core.facts import ActionStep, CheckResult
from trader_monitor.loops.check import check
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import Plugin
from trader_monitor.runtime.threads import StillRunning


class Nothing(Struct, frozen=True):
    pass


def tables(function: Callable[..., Any], **fields: Any) -> Any:
    table = SimpleNamespace(
        **{
            "name": "bot",
            "plugin": Plugin("check", "it", Nothing, function),
            "every": 10.0,
            "timeout": 5.0,
            "trip_after": 3,
            "cooldown": 60.0,
            "recover": (),
            "options": Nothing(),
            **fields,
        }
    )
    return SimpleNamespace(collectors={}, checks={"bot": table}, actions={})


class Patient:
    """Answers as it is told, and remembers when it was asked."""

    def __init__(self, clock: QuickClock, ok: bool | None = True) -> None:
        self.clock = clock
        self.ok = ok
        self.asked: list[float] = []

    def __call__(self) -> Callable[..., Any]:
        async def probe(options: Any, env: Any) -> Probe:
            self.asked.append(self.clock.now().mono)
            if self.ok is None:
                raise RuntimeError("no route to the question")
            return Probe(self.ok, "status 200" if self.ok else "status 503", 0.25)

        return probe


def states(env: Any) -> list[str]:
    return [fact.breaker.state for fact in env.journal.facts if isinstance(fact, CheckResult)]


async def test_a_breaker_opens_after_failures_in_a_row_waits_and_closes_at_the_first_good_answer() -> None:
    clock = QuickClock(mono=0.0)
    patient = Patient(clock, ok=False)
    async with house(tables(patient()), clock) as env, running(check(env, "bot")):
        await clock.advance(22)
        assert states(env) == ["closed", "closed", "open"]
        tripped = patient.asked[-1]
        await clock.advance(58)
        assert len(patient.asked) == 3, "while it is open nobody is asked"
        await clock.advance(3)
        assert patient.asked[3:] == [tripped + 60]
        assert states(env)[3:] == ["open"], "a failed trial opens it again"
        patient.ok = True
        await clock.advance(60)
        assert set(states(env)[4:]) == {"closed"}
        closed = len(states(env))
        await clock.advance(30)
        assert len(states(env)) == closed + 3, "and the interval goes on"


async def test_the_state_survives_a_restart_of_the_loop() -> None:
    clock = QuickClock(mono=0.0)
    patient = Patient(clock, ok=False)
    async with house(tables(patient()), clock) as env:
        async with running(check(env, "bot")):
            await clock.advance(12)
        assert states(env) == ["closed", "closed"]
        async with running(check(env, "bot")):
            await clock.advance(2)
            assert states(env)[2:] == ["open"], "two failures before and one after are three in a row"
            asked = len(patient.asked)
        async with running(check(env, "bot")):
            await clock.advance(30)
            assert len(patient.asked) == asked, "an open breaker waits after a restart too"


async def test_a_question_that_could_not_be_asked_is_no_data_and_moves_nothing() -> None:
    clock = QuickClock(mono=0.0)
    patient = Patient(clock, ok=False)
    async with house(tables(patient()), clock) as env, running(check(env, "bot")):
        await clock.advance(12)
        patient.ok = None
        await clock.advance(30)
        last = env.board.checks["bot"]
        assert last.ok is None
        assert last.message == "could not ask: no route to the question"
        assert (last.breaker.state, last.breaker.failures) == ("closed", 2)
        assert env.meters.get("monitor_check_unasked", check="bot") == 1
        patient.ok = True
        await clock.advance(10)
        assert env.board.checks["bot"].breaker.failures == 0
        assert env.meters.get("monitor_check_unasked", check="bot") == 0


async def test_an_open_breaker_is_not_closed_by_a_question_that_could_not_be_asked() -> None:
    clock = QuickClock(mono=0.0)
    patient = Patient(clock, ok=False)
    async with house(tables(patient()), clock) as env, running(check(env, "bot")):
        await clock.advance(25)
        patient.ok = None
        await clock.advance(60)
        assert states(env)[-1] == "half_open"
        patient.ok = False
        await clock.advance(61)
        assert states(env)[-1] == "open"


async def test_no_answer_within_the_deadline_is_a_bad_answer() -> None:
    async def hang(options: Any, env: Any) -> Probe:
        await anyio.sleep_forever()
        raise AssertionError

    async with house(tables(hang, timeout=0.05, every=1.0)) as env, running(check(env, "bot")):
        result = await env.journal.want(lambda fact: isinstance(fact, CheckResult), within=3)
    assert result.ok is False
    assert result.message == "no answer within 0.05 s"


async def test_no_answer_because_the_monitor_itself_stood_still_is_no_data() -> None:
    clock = QuickClock(mono=0.0)

    async def hang(options: Any, env: Any) -> Probe:
        clock._mono += 90  # SIGSTOP, a suspended machine: the deadline passed while nobody could have answered
        await anyio.sleep_forever()
        raise AssertionError

    async with house(tables(hang, timeout=0.05), clock) as env, running(check(env, "bot")):
        await clock.advance(1.1)
        result = await env.journal.want(lambda fact: isinstance(fact, CheckResult), within=3)
    assert result.ok is None
    assert "stood still" in result.message


async def test_a_value_that_is_no_number_is_left_out() -> None:
    async def odd(options: Any, env: Any) -> Probe:
        return Probe(True, "so so", float("nan"))

    async with house(tables(odd)) as env, running(check(env, "bot")):
        result = await env.journal.want(lambda fact: isinstance(fact, CheckResult))
    assert result.ok is True
    assert result.value is None


async def test_after_an_action_the_next_question_comes_one_interval_later() -> None:
    clock = QuickClock(mono=0.0)
    patient = Patient(clock, ok=False)
    async with house(tables(patient(), recover=("restart",)), clock) as env, running(check(env, "bot")):
        await clock.advance(25)
        assert states(env) == ["closed", "closed", "open"]
        now = clock.now()
        step = ActionStep(at=now.wall, incident="i", check="bot", action="restart", rung=0, phase="started",
                          who="recovery", why="", mono=now.mono)  # fmt: skip
        await env.journal.record([step])
        await clock.advance(4)
        now = clock.now()
        patient.ok = True
        done = ActionStep(at=now.wall, incident="i", check="bot", action="restart", rung=0, phase="succeeded",
                          who="recovery", why="", mono=now.mono)  # fmt: skip
        await env.journal.record([done])
        await clock.advance(9.5)
        assert len(patient.asked) == 3
        await clock.advance(1)
        assert patient.asked[-1] == now.mono + 10
        assert states(env)[-1] == "closed"


async def test_a_question_that_hangs_in_its_thread_is_put_once_and_proves_nothing_that_came_later() -> None:
    free, asked = threading.Event(), []

    def hangs(options: Any, env: Any) -> Probe:
        asked.append(env.clock.now().mono)
        free.wait()
        return Probe(True, "well")

    config = tables(hangs, every=0.1, timeout=0.05, trip_after=2, cooldown=0.1)
    async with house(config) as env, running(check(env, "bot")):
        try:
            results = [await env.journal.want(lambda fact, n=n: fact.breaker.failures == n) for n in (1, 2, 3)]
            assert [result.ok for result in results] == [False, False, False]
            assert [result.message for result in results[1:]] == ["no answer: " + str(StillRunning(0))] * 2
            assert len(asked) == 1
            assert results[1].breaker.state == results[2].breaker.state == "open"
            # What the ladder takes for the time of the question that opened the breaker.
            assert all(abs(result.breaker.since - result.seconds - asked[0]) < 0.05 for result in results[1:])
            assert env.meters.get("monitor_calls_held_total", kind="check", plugin="it") >= 2
            assert env.meters.get("monitor_threads_left_behind") == 1
        finally:
            free.set()
        await env.journal.want(lambda fact: fact.ok)
        assert env.meters.get("monitor_threads_left_behind") == 0
