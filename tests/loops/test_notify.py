"""The loop of a channel: at least once, in order, whatever the far end does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import anyio
import pytest

from tests.loops.telling import House, Line, open_house
from tests.parts import until
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried, NoticeSent
from trader_monitor.loops import notify as module
from trader_monitor.loops.notify import AT_ONCE, BREAKER, DRAIN_WITHIN, notify
from trader_monitor.runtime import delivery
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.registry import DeliveryError

RULE = Rule(name="r", expr="a > 5", summary="{value}")


def failing(times: int, error: DeliveryError) -> Line:
    left = times

    async def answer(notice: Notice) -> str:
        nonlocal left
        if left > 0:
            left -= 1
            raise error
        return "ok"

    return Line(answer)


def breaker(house: House) -> Breaker:
    tried = house.board.channels.get("desk")
    return tried.breaker if tried else Breaker()


async def end(task: asyncio.Task[None]) -> None:
    """Ends a loop as a reload or its death would."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_firing_and_its_end_are_told_within_milliseconds(tmp_path: Path) -> None:
    line = Line()
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 1})
        began = time.monotonic()
        await house.send({"a": 6})
        await until(lambda: line.heard)
        assert time.monotonic() - began < 0.25
        await house.send({"a": 1})
        await until(lambda: len(line.heard) == 2)
        assert line.told() == [("firing", 1), ("resolved", 2)]
        sent = house.board.notices["desk", line.heard[0].alert.fingerprint]
        assert (sent.state, sent.outcome, sent.attempts, sent.receipt) == ("resolved", "delivered", 1, "taken")
        assert house.meter("monitor_notices_total", channel="desk", state="firing", outcome="delivered") == 1


async def test_what_was_due_before_the_loop_began_is_told(tmp_path: Path) -> None:
    line = Line()
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        await house.send({"a": 6})
        house.run(notify(house.env, "desk"))
        await until(lambda: line.told() == [("firing", 1)])


async def test_a_restart_in_mid_incident_tells_only_what_is_still_owed(tmp_path: Path) -> None:
    desk, mail = Line(), failing(10_000, DeliveryError("down"))
    tables = [desk.table("desk"), mail.table("mail")]
    async with open_house(tmp_path, [RULE], tables) as house:
        for name in ("desk", "mail"):
            house.run(notify(house.env, name))
        await house.send({"a": 6})
        await until(lambda: ("desk", desk.heard[0].alert.fingerprint) in house.board.notices if desk.heard else False)
    desk, mail = Line(), Line()
    tables = [desk.table("desk"), mail.table("mail")]
    async with open_house(tmp_path, [RULE], tables) as house:
        for name in ("desk", "mail"):
            house.run(notify(house.env, name))
        await until(lambda: mail.told() == [("firing", 1)])
        await house.send({"a": 1})
        await until(lambda: mail.told() == [("firing", 1), ("resolved", 2)])
        await until(lambda: [notice.state for notice in desk.heard] == ["resolved"])


async def test_what_fired_and_ended_while_nobody_listened_is_told_late(tmp_path: Path) -> None:
    line = Line()
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        await house.send({"a": 6})
        await house.send({"a": 1})
        house.run(notify(house.env, "desk"))
        await until(lambda: line.told() == [("firing", 1), ("resolved", 2)])
        assert [notice.late for notice in line.heard] == [True, False]


async def test_a_failure_is_retried_with_the_same_key(tmp_path: Path) -> None:
    line = failing(1, DeliveryError("status 500"))
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.heard)
        assert len({notice.key for notice in line.attempts}) == 1
        await until(lambda: house.board.notices)
        (sent,) = house.board.notices.values()
        assert sent.attempts == 2
        assert house.meter("monitor_notices_total", channel="desk", state="firing", outcome="failed") == 1


async def test_an_exception_of_the_plugin_is_a_failure_like_any_other(tmp_path: Path) -> None:
    async def answer(notice: Notice) -> str:
        if len(line.attempts) == 1:
            raise KeyError("boom")
        return "ok"

    line = Line(answer)
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.heard)


async def test_a_permanent_refusal_is_recorded_and_not_tried_again(tmp_path: Path) -> None:
    line = failing(1, DeliveryError("status 404", permanent=True))
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: house.board.notices)
        (sent,) = house.board.notices.values()
        assert (sent.outcome, sent.receipt) == ("refused", "status 404")
        await house.send({"a": 1})
        await until(lambda: line.told() == [("resolved", 2)])
        assert len(line.attempts) == 2
        assert house.meter("monitor_notices_total", channel="desk", state="firing", outcome="refused") == 1


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    clock = ManualClock()
    line = failing(1, DeliveryError("status 429", retry_after=40.0))
    async with open_house(tmp_path, [RULE], [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: len(line.attempts) == 1)
        await clock.advance(39.5)
        assert len(line.attempts) == 1
        await clock.advance(1.0)
        await until(lambda: line.heard)


async def test_nobody_silences_us_for_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 4000.0)
    clock = ManualClock()
    line = failing(1, DeliveryError("status 429", retry_after=31_536_000.0))
    async with open_house(tmp_path, [RULE], [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: len(line.attempts) == 1)
        await clock.advance(3601.0)
        await until(lambda: line.heard)


async def test_a_dead_channel_opens_its_breaker_and_one_trial_closes_it(tmp_path: Path) -> None:
    clock = ManualClock()
    alive = False

    async def answer(notice: Notice) -> str:
        if not alive:
            raise DeliveryError("connection refused")
        return "ok"

    line = Line(answer)
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(30)]
    async with open_house(tmp_path, rules, [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({f"a{n}": 6 for n in range(30)})
        await until(lambda: breaker(house).state == "open")
        assert house.meter("monitor_channel_due", channel="desk") == 30
        tried = len(line.attempts)
        assert tried <= BREAKER.trip_after + AT_ONCE
        assert house.env.board.channels["desk"].reason == "connection refused"
        await clock.advance(BREAKER.cooldown - 1)
        assert len(line.attempts) == tried, "an open breaker leaves the receiver alone"
        await clock.advance(1.1)
        await until(lambda: len(line.attempts) == tried + 1)
        await until(lambda: breaker(house).state == "open")
        assert house.env.board.channels["desk"].reason == "connection refused"
        alive = True
        await clock.advance(BREAKER.cooldown + 0.1)
        await until(lambda: breaker(house).state == "closed")
        assert house.env.board.channels["desk"].reason == ""
        await clock.advance(60.0)
        await until(lambda: len(line.heard) == 30)
        await until(lambda: house.meter("monitor_channel_due", channel="desk") == 0)


class Mute(Line):
    """A far end that refuses until it is alive."""

    def __init__(self) -> None:
        super().__init__(self.refuse)
        self.alive = False

    async def refuse(self, notice: Notice) -> str:
        if not self.alive:
            raise DeliveryError("connection refused")
        return "ok"


@pytest.mark.parametrize("store", ["the same", "opened anew"])
async def test_an_open_breaker_outlives_the_loop_and_the_daemon(tmp_path: Path, store: str) -> None:
    clock, mute = ManualClock(), Mute()
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(6)]

    async def trip(house: House) -> asyncio.Task[None]:
        task = asyncio.ensure_future(notify(house.env, "desk"))
        await house.send({f"a{n}": 6 for n in range(6)})
        await until(lambda: breaker(house).state == "open" and not mute.under_way)
        return task

    async def goes_on(house: House) -> None:
        tried = len(mute.attempts)
        await clock.advance(1.0)
        house.run(notify(house.env, "desk"))
        await clock.advance(BREAKER.cooldown - 1.5)
        assert (breaker(house).state, len(mute.attempts)) == ("open", tried), "it is left alone"
        await clock.advance(1.0)
        await until(lambda: len(mute.attempts) == tried + 1)
        await until(lambda: breaker(house).state == "open")
        mute.alive = True
        await clock.advance(BREAKER.cooldown + 0.1)
        await until(lambda: breaker(house).state == "closed")
        await clock.advance(60.0)
        await until(lambda: len(mute.heard) == 6)
        assert house.board.tries == {}

    async with open_house(tmp_path, rules, [mute.table("desk")], clock) as house:
        await end(await trip(house))
        if store == "the same":
            await goes_on(house)
    if store == "opened anew":
        async with open_house(tmp_path, rules, [mute.table("desk")], clock) as house:
            await goes_on(house)


async def test_a_trial_that_a_crash_cut_short_is_not_made_again_at_once(tmp_path: Path) -> None:
    clock, mute = ManualClock(), Mute()
    hangs = False

    async def answer(notice: Notice) -> str:
        if hangs:
            await anyio.sleep_forever()
        raise DeliveryError("connection refused")

    mute.answer = answer
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(6)]
    async with open_house(tmp_path, rules, [mute.table("desk")], clock) as house:
        task = asyncio.ensure_future(notify(house.env, "desk"))
        await house.send({f"a{n}": 6 for n in range(6)})
        await until(lambda: breaker(house).state == "open" and not mute.under_way)
        hangs, tried = True, len(mute.attempts)
        await clock.advance(BREAKER.cooldown + 0.1)
        await until(lambda: len(mute.attempts) == tried + 1)
        assert breaker(house).state == "half_open"
        task.cancel()
        await clock.advance(DRAIN_WITHIN)
        await asyncio.gather(task, return_exceptions=True)
        house.run(notify(house.env, "desk"))
        await clock.advance(BREAKER.cooldown - DRAIN_WITHIN - 1.0)
        assert len(mute.attempts) == tried + 1
        await clock.advance(1.1)
        await until(lambda: len(mute.attempts) == tried + 2)


async def test_retry_after_and_backoff_hold_over_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    line = failing(1, DeliveryError("status 429", retry_after=60.0))
    async with open_house(tmp_path, [RULE], [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: house.board.tries)
    async with open_house(tmp_path, [RULE], [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        clock.step(3600.0)
        await clock.advance(59.5)
        assert len(line.attempts) == 1, "a clock that was put forward makes nobody earlier"
        await clock.advance(1.0)
        await until(lambda: line.heard)
        await until(lambda: house.board.notices)
        (sent,) = house.board.notices.values()
        assert sent.attempts == 2
        assert breaker(house) == Breaker()


async def test_what_a_receiver_wished_holds_for_all_though_another_notice_is_taken_meanwhile(tmp_path: Path) -> None:
    clock = ManualClock()
    both, gate = asyncio.Event(), asyncio.Event()

    async def answer(notice: Notice) -> str:
        if len(line.attempts) == 2:
            both.set()
        if notice.alert.rule == "r0" and not both.is_set():
            await both.wait()
            raise DeliveryError("status 429", retry_after=40.0)
        await gate.wait()
        return "ok"

    line = Line(answer)
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(3)]
    async with open_house(tmp_path, rules, [line.table("desk")], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a0": 6, "a1": 6})
        await until(lambda: len(line.attempts) == 2 and house.board.tries)
        gate.set()
        await until(lambda: len(line.heard) == 1)
        await house.send({"a2": 6})
        await clock.advance(39.0)
        assert len(line.attempts) == 2
        await clock.advance(2.0)
        await until(lambda: len(line.heard) == 3)


async def test_what_fails_on_and_on_is_written_twice_a_cooldown_and_what_goes_well_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 50.0)
    clock, mute = ManualClock(), Mute()
    facts: list[ChannelTried | NoticeSent] = []
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(40)]
    async with open_house(tmp_path, rules, [mute.table("desk")], clock) as house:
        house.env.journal.watch(lambda news: facts.extend(f for f in news if isinstance(f, ChannelTried | NoticeSent)))
        house.run(notify(house.env, "desk"))
        mute.alive = True
        await house.send({f"a{n}": 6 for n in range(40)})
        await until(lambda: len(mute.heard) == 40)
        await until(lambda: len(facts) == 40)
        assert {type(fact) for fact in facts} == {NoticeSent}
        mute.alive = False
        await house.send({f"a{n}": 1 for n in range(40)})
        await until(lambda: breaker(house).state == "open")
        await until(lambda: len(facts) == len(mute.attempts))
        before = len(facts)
        assert before - 40 <= BREAKER.trip_after + AT_ONCE
        await clock.advance(10 * BREAKER.cooldown + 0.5)
        outcomes = [fact.outcome for fact in facts[before:]]
        assert outcomes == ["trial", "failed"] * 10


async def test_one_notice_that_the_receiver_chokes_on_does_not_starve_the_others(tmp_path: Path) -> None:
    async def answer(notice: Notice) -> str:
        if notice.alert.rule == "r0":
            raise DeliveryError("status 500")
        return "ok"

    line = Line(answer)
    rules = [Rule(name=f"r{n}", expr=f"a{n} > 5") for n in range(40)]
    async with open_house(tmp_path, rules, [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({f"a{n}": 6 for n in range(40)})
        await until(lambda: len(line.heard) == 39)
        assert breaker(house).state == "closed"


async def test_a_channel_that_hangs_delays_no_other_and_is_given_up_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DEADLINE", 0.3)

    async def never(notice: Notice) -> str:
        await anyio.sleep_forever()
        return ""

    slow, fast = Line(never), Line()
    async with open_house(tmp_path, [RULE], [slow.table("slow"), fast.table("fast")]) as house:
        for name in ("slow", "fast"):
            house.run(notify(house.env, name))
        await house.send({"a": 6})
        began = time.monotonic()
        await until(lambda: fast.heard)
        assert time.monotonic() - began < 0.25
        await until(lambda: house.meter("monitor_notices_total", channel="slow", state="firing", outcome="failed") == 1)
        await until(lambda: len(slow.attempts) == 2)


async def test_a_storm_of_a_thousand_drains_fast_bounded_and_in_order(tmp_path: Path) -> None:
    async def answer(notice: Notice) -> str:
        await asyncio.sleep(0.002)
        return "ok"

    line = Line(answer)
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        began = time.monotonic()
        await house.send({f"a{{n={n}}}": 6 for n in range(1000)})
        await house.send({f"a{{n={n}}}": 1 for n in range(1000)})
        await until(lambda: len(line.heard) == 2000, within=20)
        assert time.monotonic() - began < 10
        assert line.most_under_way <= AT_ONCE
        order: dict[str, list[int]] = {}
        for notice in line.heard:
            order.setdefault(notice.alert.fingerprint, []).append(notice.transition)
        assert all(len(numbers) == 2 and numbers[1] == numbers[0] + 1 for numbers in order.values())


async def test_an_alert_that_ends_while_its_firing_is_under_way_is_told_in_order(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def answer(notice: Notice) -> str:
        await gate.wait()
        return "ok"

    line = Line(answer)
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.attempts)
        for value in (1, 6, 1):
            await house.send({"a": value})
        gate.set()
        await until(lambda: len(line.heard) == 4)
        assert line.told() == [("firing", 1), ("resolved", 2), ("firing", 3), ("resolved", 4)]


async def test_a_channel_with_a_minimum_severity_hears_only_the_worse(tmp_path: Path) -> None:
    line = Line()
    rules = [RULE, Rule(name="bad", expr="a > 5", severity="critical")]
    async with open_house(tmp_path, rules, [line.table("desk", min_severity="critical")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.heard)
        await house.send({"a": 1})
        await until(lambda: len(line.heard) == 2)
        assert {notice.alert.rule for notice in line.heard} == {"bad"}


async def test_a_firing_alert_is_told_again_where_the_channel_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 50.0)
    clock = ManualClock()
    line = Line()
    async with open_house(tmp_path, [RULE], [line.table("desk", repeat=300.0)], clock) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: house.board.notices)
        await clock.advance(290.0)
        assert len(line.heard) == 1
        await clock.advance(70.0)
        await until(lambda: len(line.heard) == 2)
        assert line.told() == [("firing", 1), ("firing", 1)]


async def test_a_shutdown_finishes_what_is_under_way(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def answer(notice: Notice) -> str:
        await gate.wait()
        return "ok"

    line = Line(answer)
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        task = asyncio.ensure_future(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.attempts)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert line.told() == [("firing", 1)]
        assert len(house.board.notices) == 1


async def test_a_shutdown_does_not_wait_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    async def never(notice: Notice) -> str:
        await anyio.sleep_forever()
        return ""

    line = Line(never)
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        task = asyncio.ensure_future(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: line.attempts)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < DRAIN_WITHIN + 0.5
        assert not house.board.notices, "it is still due"


async def test_an_alert_never_reaches_a_channel_twice_without_need(tmp_path: Path) -> None:
    line = Line()
    async with open_house(tmp_path, [RULE], [line.table("desk")]) as house:
        house.run(notify(house.env, "desk"))
        await house.send({"a": 6})
        await until(lambda: house.board.notices)
        for n in range(20):
            await house.send({f"a{{n={n}}}": 6, "a": 7})
        await until(lambda: len(house.board.notices) == 21)
        assert len(line.heard) == 21
        firing = [c for c in house.board.alerts.values() if isinstance(c, AlertChanged) and c.state == "firing"]
        assert len(firing) == 21
