"""The hand-driven clock: it wakes who is due, in order, and a step of the wall clock wakes nobody."""

from __future__ import annotations

import anyio

from trader_monitor.runtime.clock import ManualClock


async def test_sleepers_wake_in_order_of_their_deadlines() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now().mono))

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper, "late", 5.0)
        group.start_soon(sleeper, "early", 2.0)
        await clock.advance(10)
    assert woken == [("early", 1002.0), ("late", 1005.0)]


async def test_one_who_sleeps_again_on_waking_is_served_within_the_same_advance() -> None:
    clock = ManualClock()
    ticks = 0

    async def ticker() -> None:
        nonlocal ticks
        for _ in range(3):
            await clock.sleep(1)
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(ticker)
        await clock.advance(3)
        assert ticks == 3


async def test_a_step_of_the_wall_clock_wakes_nobody() -> None:
    clock = ManualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(clock.sleep, 60)
        clock.step(3600)
        await clock.advance(1)
        assert clock.now().wall == 1_700_003_601.0
        await clock.advance(59)
