"""Worker threads: one that hangs is one, and takes nobody's place."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.parts import until
from trader_monitor.runtime.threads import StillRunning, Threads


@asynccontextmanager
async def leaving() -> AsyncIterator[threading.Event]:
    """What hung calls wait for; set at the end, so that no thread outlives its test."""
    free = threading.Event()
    try:
        yield free
    finally:
        free.set()


async def left_behind(threads: Threads, question: object, free: threading.Event, *, most: int = 1) -> None:
    with anyio.move_on_after(0.05) as scope:
        await threads.run(question, free.wait, mono=time.monotonic, most=most)
    assert scope.cancelled_caught


async def test_while_one_is_left_behind_the_same_question_is_not_put_again() -> None:
    threads = Threads()
    async with leaving() as free:
        await left_behind(threads, ("check", "it"), free)
        before = threading.active_count()
        with pytest.raises(StillRunning) as caught:
            await threads.run(("check", "it"), time.monotonic, mono=time.monotonic)
        assert 0.05 <= caught.value.seconds < 5
        assert threading.active_count() == before
        assert threads.left == 1
        assert await threads.run(("check", "other"), lambda: "well", mono=time.monotonic) == "well"
    await until(lambda: threads.left == 0)
    assert await threads.run(("check", "it"), lambda: "well", mono=time.monotonic) == "well"


async def test_a_question_that_allows_more_is_put_so_often_and_no_more() -> None:
    threads = Threads()
    async with leaving() as free:
        for _ in range(3):
            await left_behind(threads, "channel", free, most=3)
        with pytest.raises(StillRunning):
            await threads.run("channel", time.monotonic, mono=time.monotonic, most=3)
    await until(lambda: threads.left == 0)


async def test_two_at_a_time_are_none_left_behind() -> None:
    threads = Threads()
    both = threading.Barrier(2, timeout=10)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: threads.run("channel", both.wait, mono=time.monotonic))
    assert threads.left == 0


async def test_a_call_that_was_cancelled_before_it_began_is_not_left_behind() -> None:
    threads = Threads()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await threads.run("it", time.monotonic, mono=time.monotonic)
    assert threads.left == 0
    assert await threads.run("it", lambda: "well", mono=time.monotonic) == "well"


async def test_more_than_forty_that_hang_at_once_leave_room_for_the_others() -> None:
    threads = Threads()
    async with leaving() as free, anyio.create_task_group() as group:
        for n in range(60):
            group.start_soon(lambda n=n: threads.run(n, free.wait, mono=time.monotonic))  # type: ignore[misc]
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            assert await threads.run("it", lambda: "well", mono=time.monotonic) == "well"
        free.set()


async def test_what_the_function_raises_is_raised() -> None:
    threads = Threads()

    def fails() -> None:
        raise OSError("no such device")

    for _ in range(2):
        with pytest.raises(OSError, match="no such device"):
            await threads.run("it", fails, mono=time.monotonic)
