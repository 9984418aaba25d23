"""Supervision: nine ways to die, and what everybody else notices of it (nothing)."""

from __future__ import annotations

import asyncio
import heapq
import subprocess
import sys
import time
from collections.abc import Awaitable

import anyio
import pytest
from structlog.testing import capture_logs

from tests.parts import until
from tests.runtime.supervising import DEATHS, Deaths, Run, Stubborn, running
from trader_monitor.core.backoff import Backoff
from trader_monitor.core.facts import ChildDied
from trader_monitor.runtime.child import ChildStatus
from trader_monitor.runtime.clock import ManualClock, SystemClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.progress import Progress
from trader_monitor.runtime.supervisor import Child, Escalated, Supervisor
from trader_monitor.runtime.trace import current_trace

BACKOFF = Backoff(first=1.0, longest=8.0, spread=0.5)


class Mortal:
    """Dies the given way in its first lives, then lives on. Remembers when each life began."""

    def __init__(self, way: Run, lives: int = 1) -> None:
        self.way = way
        self.lives = lives
        self.births: list[float] = []
        self.deaths: list[float] = []
        self.traces: list[str] = []

    def __call__(self) -> Awaitable[None]:
        self.births.append(time.perf_counter())
        self.traces.append(current_trace())
        if len(self.births) > self.lives:
            return anyio.sleep_forever()
        self.deaths.append(time.perf_counter())
        return self.way()


class Ticker:
    """A sibling: what it counts shows whether it missed a tick."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ticks: list[float] = []

    async def __call__(self) -> None:
        while True:
            self.ticks.append(self.clock.now().mono)
            await self.clock.sleep(0.25)


def state(tree: Supervisor, name: str) -> ChildStatus:
    return next(status for status in tree.status() if status.name == name)


# --- nine ways to die ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "cause"), DEATHS.values(), ids=DEATHS)
async def test_each_death_is_one_record_one_metric_one_fact_and_a_restart(way: Run, cause: str) -> None:
    clock, meters, deaths = ManualClock(), Meters(), Deaths()
    mortal, ticker = Mortal(way), Ticker(clock)
    tree = Supervisor([Child("mortal", mortal), Child("sibling", ticker)], clock, deaths, meters=meters)
    with capture_logs() as logs:
        async with running(tree):
            await clock.advance(3.0)
            assert len(mortal.births) == 2
            assert state(tree, "mortal").state == "running"
            assert state(tree, "mortal").last_cause == cause
            assert ticker.ticks == [1000.0 + tick / 4 for tick in range(13)], "the sibling misses no tick"
    expected = ChildDied(
        at=1_700_000_000.0,
        child="mortal",
        cause=cause,
        decision="restart",
        delay=0.0,
        restarts=1,
        trace_id=mortal.traces[0],
    )
    assert deaths == [expected]
    assert [(entry["log_level"], entry["child"], entry["cause"]) for entry in logs] == [("error", "mortal", cause)]
    assert meters.get("monitor_child_deaths_total", child="mortal", decision="restart") == 1
    assert meters.get("monitor_child_parked", child="mortal") == 0
    assert len({*mortal.traces, ""}) == 3, "each life has a trace id of its own"


async def test_a_child_that_hangs_and_ignores_cancellation_is_abandoned_and_replaced() -> None:
    clock, meters, deaths, stubborn = ManualClock(), Meters(), Deaths(), Stubborn()
    mortal, ticker = Mortal(stubborn), Ticker(clock)
    children = [Child("mortal", mortal, deadline=10.0), Child("sibling", ticker)]
    tree = Supervisor(children, clock, deaths, meters=meters)
    with capture_logs() as logs:
        async with running(tree):
            await clock.advance(10.2)
            assert (stubborn.cancelled, len(mortal.births)) == (1, 2)
            assert tree.abandoned == ("mortal",)
            assert len(ticker.ticks) == 41
            stubborn.release.set()
            await clock.advance(0)
            assert not tree.abandoned, "once it ends after all, it is named no more"
    assert len(deaths) == len(logs) == 1
    assert deaths[0].cause.startswith("hung: no progress for 10 s, at ")
    assert "in wait" in deaths[0].cause, "the cause names the line where it hangs"
    assert deaths[0].cause.endswith("it ignores cancellation and was abandoned")
    assert meters.get("monitor_child_abandoned_total", child="mortal") == 1


async def test_a_child_that_hangs_but_obeys_is_simply_restarted() -> None:
    clock, deaths = ManualClock(), Deaths()
    tree = Supervisor([Child("sleepy", anyio.sleep_forever, deadline=10.0)], clock, deaths)
    async with running(tree):
        await clock.advance(9.9)
        assert not deaths
        await clock.advance(0.2)
        assert [death.cause.split(",")[0] for death in deaths] == ["hung: no progress for 10 s"]
        assert tree.abandoned == ()


async def test_a_child_that_beats_within_its_deadline_is_left_alone() -> None:
    clock, deaths = ManualClock(), Deaths()
    progress = Progress(clock)

    async def busy() -> None:
        while True:
            progress.beat("busy")
            await clock.sleep(9.0)

    async with running(Supervisor([Child("busy", busy, deadline=10.0)], clock, deaths, progress=progress)):
        await clock.advance(60.0)
    assert not deaths


async def test_silence_while_the_whole_process_stood_still_is_no_childs_fault() -> None:
    """A suspended process (SIGSTOP, a laptop's lid) wakes up with every timer late at once."""

    class Lid(ManualClock):
        async def jump(self, seconds: float) -> None:
            self._mono += seconds
            while self._sleepers:
                heapq.heappop(self._sleepers)[2].set()
            await anyio.wait_all_tasks_blocked()

    clock, deaths = Lid(), Deaths()
    with capture_logs():
        async with running(Supervisor([Child("calm", anyio.sleep_forever, deadline=10.0)], clock, deaths)):
            await clock.jump(90.0)
            assert not deaths
            await clock.advance(10.1)
            assert len(deaths) == 1, "but silence after that is"


@pytest.mark.parametrize("name", [*DEATHS, "hangs"])
async def test_the_first_restart_comes_within_250_ms_at_the_99th_percentile(name: str) -> None:
    stubborn = Stubborn()
    deadline = 0.02
    mortals = [Mortal(DEATHS[name][0] if name in DEATHS else stubborn) for _ in range(100)]
    children = [
        Child(f"m{i}", mortal, deadline=None if name in DEATHS else deadline) for i, mortal in enumerate(mortals)
    ]
    tree = Supervisor(children, SystemClock())
    with capture_logs():
        async with running(tree):
            await until(lambda: all(len(mortal.births) >= 2 for mortal in mortals))
            stubborn.release.set()
    lags = [mortal.births[1] - mortal.deaths[0] - (0 if name in DEATHS else deadline) for mortal in mortals]
    assert sorted(lags)[98] <= 0.25


# --- backoff, parking, escalation --------------------------------------------------------------------------------


async def test_deaths_in_a_row_back_off_then_the_child_is_parked_then_tried_again() -> None:
    clock, meters, deaths = ManualClock(), Meters(), Deaths()
    mortal = Mortal(DEATHS["dies without awaiting"][0], lives=4)
    changes: list[tuple[float, str]] = []
    tree = Supervisor(
        [Child("hot", mortal, limit=3, within=60.0, backoff=BACKOFF, park_for=300.0)],
        clock,
        deaths,
        meters=meters,
        on_change=lambda status: changes.append((clock.now().mono - 1000.0, status.state)),
        jitter=lambda: 0.0,
    )
    with capture_logs() as logs:
        async with running(tree):
            await clock.advance(4.0)
            parked = state(tree, "hot")
            assert (parked.state, parked.parked_until) == ("parked", 1_700_000_303.0)
            assert meters.get("monitor_child_parked", child="hot") == 1
            await clock.advance(300.0)
            assert (state(tree, "hot").state, state(tree, "hot").parked_until) == ("running", None)
            assert meters.get("monitor_child_parked", child="hot") == 0
    assert [(death.decision, death.delay) for death in deaths] == [
        ("restart", 0.0),
        ("restart", 1.0),
        ("restart", 2.0),
        ("park", 300.0),
    ]
    assert changes[:6] == [
        (0.0, "running"),
        (0.0, "backoff"),
        (1.0, "running"),
        (1.0, "backoff"),
        (3.0, "running"),
        (3.0, "parked"),
    ]
    assert changes[6:] == [(303.0, "running"), (304.0, "stopped")]
    assert [entry["event"] for entry in logs] == ["child died"] * 4 + ["child un-parked: it is tried again"]


async def test_a_child_that_dies_on_probation_is_parked_again_at_once() -> None:
    clock, deaths = ManualClock(), Deaths()
    mortal = Mortal(DEATHS["returns"][0], lives=5)
    children = [Child("hot", mortal, limit=3, backoff=BACKOFF, park_for=300.0)]
    with capture_logs():
        async with running(Supervisor(children, clock, deaths, jitter=lambda: 0.0)):
            await clock.advance(304.0)
            assert [death.decision for death in deaths[3:]] == ["park", "park"]


async def test_the_backoff_has_jitter() -> None:
    delays: set[float] = set()
    for _ in range(5):
        clock, deaths = ManualClock(), Deaths()
        with capture_logs():
            async with running(Supervisor([Child("hot", Mortal(DEATHS["returns"][0], lives=2))], clock, deaths)):
                await clock.advance(1.0)
        delays.add(deaths[1].delay)
    assert len(delays) > 1
    assert all(0.25 <= delay <= 0.5 for delay in delays)


async def test_an_essential_child_out_of_budget_ends_the_tree_and_its_siblings_are_drained() -> None:
    clock, deaths = ManualClock(), Deaths()
    ended: list[str] = []

    async def sibling() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("sibling")

    hot = Child("store", Mortal(DEATHS["an exception"][0], lives=99), essential=True, limit=2, backoff=BACKOFF)
    with capture_logs() as logs:
        async with running(Supervisor([Child("sibling", sibling), hot], clock, deaths)) as task:
            await clock.advance(2.0)
            with pytest.raises(Escalated, match="store is essential and out of restart budget: ValueError: broken"):
                await task
    assert ended == ["sibling"]
    assert [death.decision for death in deaths] == ["restart", "restart", "escalate"], "the last death is told, too"
    assert logs[-1]["log_level"] == "critical"


async def test_an_escalation_deep_in_the_tree_reaches_the_root_without_restarts_on_the_way() -> None:
    clock, deaths = ManualClock(), Deaths()
    hot = Child("evaluate", Mortal(DEATHS["returns"][0], lives=99), essential=True, limit=1)
    inner = Supervisor([hot], clock, deaths, name="alerting")
    middle = Supervisor([inner.as_child(essential=True)], clock, deaths, name="middle")
    with capture_logs() as logs:
        async with running(Supervisor([middle.as_child()], clock, deaths)) as task:
            await clock.advance(1.0)
            with pytest.raises(Escalated) as escalated:
                await task
    assert (escalated.value.child, escalated.value.code) == ("evaluate", 70)
    assert len(deaths) == len(logs) == 2, "no level adds a death of its own"


async def test_a_group_parks_its_own_child_and_the_other_groups_go_on() -> None:
    clock = ManualClock()
    ticker = Ticker(clock)
    hot = Child("hot", Mortal(DEATHS["returns"][0], lives=99), limit=1)
    health = Supervisor([hot], clock, name="health")
    measure = Supervisor([Child("tick", ticker)], clock, name="measure")
    tree = Supervisor([health.as_child(), measure.as_child()], clock)
    with capture_logs():
        async with running(tree):
            await clock.advance(1.0)
            rows = [(row.group, row.name, row.state) for row in tree.status()]
    assert rows == [
        ("root", "health", "running"),
        ("health", "hot", "parked"),
        ("root", "measure", "running"),
        ("measure", "tick", "running"),
    ]
    assert len(ticker.ticks) == 5


async def test_a_group_whose_run_fails_is_restarted_with_its_children() -> None:
    clock = ManualClock()
    ticker = Ticker(clock)
    inner = Supervisor([Child("tick", ticker)], clock, name="inner")
    tree = Supervisor([inner.as_child()], clock)
    with capture_logs():
        async with running(tree):
            inner._ending.set()
            await clock.advance(1.0)
            assert state(tree, "inner").restarts == 1
            assert len(ticker.ticks) == 6


# --- those who watch ---------------------------------------------------------------------------------------------


async def test_an_on_death_that_hangs_delays_no_restart() -> None:
    clock, mortal = ManualClock(), Mortal(DEATHS["returns"][0])

    async def hang(fact: ChildDied) -> None:
        await anyio.sleep_forever()

    with capture_logs():
        async with running(Supervisor([Child("mortal", mortal)], clock, hang)) as task:
            await clock.advance(0.0)
            assert len(mortal.births) == 2
            task.cancel()
            await clock.advance(1.0)
            assert task.done(), "nor the end for more than a second"


async def test_an_on_death_or_on_change_that_raises_costs_a_log_record_and_no_more() -> None:
    clock, mortal = ManualClock(), Mortal(DEATHS["returns"][0], lives=2)

    def wrong(_: object) -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        async with running(Supervisor([Child("mortal", mortal)], clock, wrong, on_change=wrong)):
            await clock.advance(1.0)
            assert len(mortal.births) == 3
    assert {entry["event"] for entry in logs} == {
        "child died",
        "a death could not be recorded",
        "a child's change could not be told",
    }


async def test_a_fault_of_the_supervisors_own_escalates_instead_of_leaving_a_child_untended() -> None:
    def jitter() -> float:
        raise ZeroDivisionError

    clock = ManualClock()
    with capture_logs():
        tree = Supervisor([Child("mortal", Mortal(DEATHS["returns"][0]))], clock, jitter=jitter)
        async with running(tree) as task:
            await clock.advance(0.0)
            with pytest.raises(Escalated, match="its place failed: ZeroDivisionError"):
                await task


# --- the end -----------------------------------------------------------------------------------------------------


async def test_children_end_in_reverse_order_each_after_the_other() -> None:
    order: list[str] = []

    def child(name: str) -> Child:
        async def run() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    order.append(f"{name} asked")
                    await anyio.lowlevel.checkpoint()
                    order.append(f"{name} ended")

        return Child(name, run)

    async with running(Supervisor([child("store"), child("notify"), child("doors")], ManualClock())):
        pass
    assert order == [f"{name} {what}" for name in ("doors", "notify", "store") for what in ("asked", "ended")]


async def test_the_drain_ends_in_time_with_every_child_hung_in_every_group() -> None:
    clock = ManualClock()
    stubborn = [Stubborn() for _ in range(12)]
    groups = [
        Supervisor([Child(f"c{g}{i}", stubborn[g * 3 + i]) for i in range(3)], clock, name=f"g{g}") for g in range(4)
    ]
    tree = Supervisor([group.as_child() for group in groups], clock, drain_within=8.0)
    with capture_logs() as logs:
        async with running(tree) as task:
            task.cancel()
            await clock.advance(7.0)
            assert not task.done()
            await clock.advance(1.0)
            assert task.done()
            assert tree.abandoned == tuple(f"c{g}{i}" for g in range(4) for i in range(3))
            for each in stubborn:
                each.release.set()
    assert logs[-1]["children"] == list(tree.abandoned) or logs[-1]["event"].startswith("children ignored")
    assert all(each.cancelled == 1 for each in stubborn), "asked once, not in every turn of the loop"


async def test_one_hung_child_does_not_keep_the_others_from_ending_well() -> None:
    clock, stubborn, ended = ManualClock(), Stubborn(), []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await clock.sleep(1.5)
                ended.append("slow")

    with capture_logs():
        async with running(Supervisor([Child("slow", slow), Child("stubborn", stubborn)], clock)) as task:
            task.cancel()
            await clock.advance(4.0)
            assert task.done()
            assert ended == ["slow"]
            stubborn.release.set()


async def test_a_cancelled_anyio_scope_around_it_drains_as_well() -> None:
    clock, order = ManualClock(), []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append("ended")

    async with anyio.create_task_group() as group:
        group.start_soon(Supervisor([Child("child", child)], clock).run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert order == ["ended"]


async def test_what_fails_while_it_ends_is_said_and_is_no_death() -> None:
    async def clumsy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("cannot close")

    deaths = Deaths()
    with capture_logs() as logs:
        async with running(Supervisor([Child("clumsy", clumsy)], ManualClock(), deaths)):
            pass
    assert [(entry["event"], entry["cause"]) for entry in logs] == [
        ("child failed while it ended", "OSError: cannot close")
    ]
    assert not deaths


async def test_a_tree_may_run_again_after_it_ended_but_not_twice_at_once() -> None:
    clock = ManualClock()
    ticker = Ticker(clock)
    tree = Supervisor([Child("tick", ticker)], clock)
    async with running(tree):
        with pytest.raises(RuntimeError, match="runs already"):
            await tree.run()
    async with running(tree):
        await clock.advance(1.0)
    assert len(ticker.ticks) == 1 + 5


# --- a reload ----------------------------------------------------------------------------------------------------


async def test_a_reload_touches_only_what_changed_and_counts_no_death() -> None:
    clock, deaths = ManualClock(), Deaths()
    lives: list[str] = []

    def child(name: str, made_of: object) -> Child:
        async def run() -> None:
            lives.append(f"{name} {made_of}")
            await anyio.sleep_forever()

        return Child(name, run, made_of=made_of)

    tree = Supervisor([child("a", 1), child("b", 1), child("c", 1)], clock, deaths)
    async with running(tree):
        touched = await tree.adjust([child("a", 1), child("b", 2), child("d", 1)])
        await clock.advance(0.0)
        assert touched == ("c", "b", "d")
        assert lives == ["a 1", "b 1", "c 1", "b 2", "d 1"]
        assert [status.name for status in tree.status()] == ["a", "b", "d"]
        assert await tree.remove("d")
        assert await tree.replace(child("a", 3))
        await clock.advance(0.0)
        assert lives[5:] == ["a 3"]
        with pytest.raises(ValueError, match="two children of root are named 'a'"):
            tree.add(child("a", 1))
        with pytest.raises(KeyError):
            await tree.remove("nobody")
    assert not deaths


async def test_a_reload_does_not_wait_for_ever_for_a_child_that_hangs() -> None:
    clock, stubborn = ManualClock(), Stubborn()
    tree = Supervisor([Child("old", stubborn, made_of=1, grace=2.0)], clock)
    async with running(tree):
        replacing = asyncio.create_task(tree.replace(Child("old", anyio.sleep_forever, made_of=2)))
        await clock.advance(2.0)
        assert await replacing is False
        assert (state(tree, "old").state, tree.abandoned) == ("running", ("old",))
        stubborn.release.set()


async def test_a_parked_child_is_freed_by_its_replacement() -> None:
    clock, meters = ManualClock(), Meters()
    tree = Supervisor([Child("x", DEATHS["returns"][0], limit=0)], clock, meters=meters)
    with capture_logs():
        async with running(tree):
            assert state(tree, "x").state == "parked"
            await tree.replace(Child("x", anyio.sleep_forever))
            assert (state(tree, "x").state, meters.get("monitor_child_parked", child="x")) == ("running", 0)


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two children"):
        Supervisor([Child("x", anyio.sleep_forever), Child("x", anyio.sleep_forever)], ManualClock())


# --- the process -------------------------------------------------------------------------------------------------

ESCALATING = """
import anyio
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.log import open_log
from trader_monitor.runtime.signals import leave
from trader_monitor.runtime.supervisor import Child, Escalated, Supervisor

async def fails():
    raise OSError("disk")

async def hangs():
    while True:
        try:
            await anyio.sleep_forever()
        except BaseException:
            pass

async def main():
    open_log(format="json")
    tree = Supervisor([Child("hangs", hangs, grace=0.1), Child("store", fails, essential=True, limit=1)], SystemClock())
    try:
        await tree.run()
    except Escalated as escalated:
        leave(escalated.code)

anyio.run(main)
"""


def test_an_escalation_ends_the_process_with_its_status_even_with_a_hung_child_left_behind() -> None:
    done = subprocess.run([sys.executable, "-c", ESCALATING], capture_output=True, text=True, timeout=30)
    assert done.returncode == 70, done.stderr
    assert [line.count('"decision":"escalate"') for line in done.stdout.splitlines()] == [0, 1, 0]
    assert '"children":["hangs"]' in done.stdout
