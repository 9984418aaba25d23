"""The loop for what time alone can change."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.loops.telling import Line, open_house
from tests.parts import until
from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import Breaker, ChannelTried
from trader_monitor.loops import evaluate as module
from trader_monitor.loops import notify as notify_module
from trader_monitor.loops.evaluate import evaluate
from trader_monitor.loops.notify import notify
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.waiting import first_of


async def test_for_fires_at_its_deadline_and_not_before(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, [Rule(name="r", expr="a > 5", for_=60)], clock=clock) as house:
        house.run(evaluate(house.env))
        await house.send({"a": 6})
        (alert,) = house.board.alerts.values()
        assert alert.state == "pending"
        await clock.advance(59.9)
        assert house.board.alerts[alert.fingerprint].state == "pending"
        await clock.advance(0.11)
        await until(lambda: house.board.alerts[alert.fingerprint].state == "firing")


async def test_for_goes_on_over_a_restart(tmp_path: Path) -> None:
    rules = [Rule(name="r", expr="a > 5", for_=60)]
    async with open_house(tmp_path, rules, clock=ManualClock()) as house:
        await house.send({"a": 6})
    clock = ManualClock(wall=1_700_000_050.0, mono=1050.0)
    async with open_house(tmp_path, rules, clock=clock) as house:
        house.run(evaluate(house.env))
        await house.send({"a": 6})
        await clock.advance(9.0)
        (alert,) = house.board.alerts.values()
        assert alert.state == "pending"
        await clock.advance(1.1)
        await until(lambda: next(iter(house.board.alerts.values())).state == "firing")


async def test_silence_is_noticed_by_absent(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, [Rule(name="gone", expr="absent(a)")], clock=clock) as house:
        await house.send({"a": 1}, wall=clock.now().wall - 290)
        house.run(evaluate(house.env))
        await clock.advance(9.0)
        assert not house.board.alerts
        await clock.advance(6.0)
        await until(lambda: house.board.alerts)


async def test_rules_that_a_reload_brought_are_judged_within_seconds(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, [Rule(name="r", expr="a > 5")], clock=clock) as house:
        house.run(evaluate(house.env))
        await house.send({"a": 6})
        house.env.journal.judge = compile_rules([Rule(name="r", expr="a > 7")])
        await clock.advance(module.LONGEST + 0.1)
        await until(lambda: [alert.state for alert in house.board.alerts.values()] == ["resolved"])


async def test_the_loop_beats_though_nothing_happens(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, [Rule(name="r", expr="a > 5")], clock=clock) as house:
        house.run(evaluate(house.env))
        for _ in range(3):
            await clock.advance(module.LONGEST)
            await until(lambda: clock.now().mono - (house.env.progress.last("evaluate") or 0) < module.LONGEST)


async def test_a_rule_that_fails_is_counted_and_named(tmp_path: Path) -> None:
    rule = Rule(name="r", expr="a + on(x) b > 5")
    async with open_house(tmp_path, [rule]) as house:
        house.run(evaluate(house.env))
        await house.send({"a{x=1,y=1}": 6, "a{x=1,y=2}": 6, "b{x=1,z=1}": 1, "b{x=1,z=2}": 1})
        house.env.journal.judge.due(house.board, house.env.clock.now())
        await until(
            lambda: house.meter("monitor_rule_failures_total", rule="r", cause="error") >= 1, within=module.LONGEST + 2
        )
        assert (house.meter("monitor_rules"), house.meter("monitor_rules_failing")) == (1, 1)


async def test_what_is_over_and_told_leaves_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for loop in (module, notify_module):
        monkeypatch.setattr(loop, "LONGEST", 450.0)
    clock = ManualClock()
    line = Line()
    async with open_house(tmp_path, [Rule(name="r", expr="a > 5")], [line.table("desk")], clock) as house:
        house.run(evaluate(house.env))
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await house.send({"a": 1})
        await until(lambda: len(house.board.notices) == 1 and len(line.heard) == 2)
        await clock.advance(890.0)
        assert house.board.alerts
        await clock.advance(480.0)
        await until(lambda: not house.board.alerts and not house.board.notices)


async def test_a_channel_that_was_taken_away_is_not_failing_for_ever(tmp_path: Path) -> None:
    rule = Rule(name="failing", expr="monitor_channel_breaker_open > 0", clear="monitor_channel_breaker_open == 0")
    clock = ManualClock()
    async with open_house(tmp_path, [rule], [Line().table("desk")], clock) as house:
        open_now = Breaker(state="open", failures=5, since=1000.0, retry_at=1015.0, opened=1, generation=1)
        at = clock.now()
        await house.env.journal.record(
            [
                ChannelTried(at=at.wall, channel=name, outcome="failed", breaker=open_now, mono=at.mono)
                for name in ("desk", "fax")
            ]
        )
        states = {"desk": "firing", "fax": "firing"}
        assert {alert.labels["channel"]: alert.state for alert in house.board.alerts.values()} == states
        house.run(evaluate(house.env))
        await clock.advance(module.LONGEST)
        await until(lambda: list(house.board.channels) == ["desk"])
        states["fax"] = "resolved"
        assert {alert.labels["channel"]: alert.state for alert in house.board.alerts.values()} == states


async def test_whichever_comes_first_ends_the_wait() -> None:
    event = anyio.Event()
    event.set()
    with anyio.fail_after(1):
        await first_of(anyio.sleep_forever, event.wait)


async def test_what_goes_wrong_while_waiting_is_raised() -> None:
    async def boom() -> None:
        raise ValueError("boom")

    with pytest.raises(ExceptionGroup) as caught:
        await first_of(anyio.sleep_forever, boom)
    assert caught.group_contains(ValueError, match="boom")
