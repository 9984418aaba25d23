"""What the tests of supervision share: nine ways to die, and a tree that runs for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio

from trader_monitor.core.facts import ChildDied
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.supervisor import Supervisor

Run = Callable[[], Awaitable[None]]


class Stubborn:
    """Waits for `release`, and ignores every cancellation until then; `running` releases all at its end, because
    an event loop's own teardown would wait for them for ever."""

    everyone: ClassVar[list[Stubborn]] = []

    def __init__(self) -> None:
        self.everyone.append(self)
        self.release = asyncio.Event()
        self.cancelled = 0

    async def __call__(self) -> None:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1


async def raises() -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError("broken\nin two lines")


async def raises_a_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(raises)
        group.start_soon(anyio.sleep_forever)


async def is_cancelled_from_inside() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.sleep_forever()


async def raises_system_exit() -> None:
    await anyio.lowlevel.checkpoint()
    raise SystemExit(3)


async def raises_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


async def runs_out_of_memory() -> None:
    bytearray(1 << 62)


async def returns() -> None:
    await anyio.lowlevel.checkpoint()


def fails_at_start() -> Awaitable[None]:
    raise ConnectionRefusedError("no such port")


async def dies_without_awaiting() -> None:
    raise RuntimeError("hot")


DEATHS: dict[str, tuple[Run, str]] = {
    "an exception": (raises, "ValueError: broken in two lines"),
    "an exception group": (raises_a_group, "ExceptionGroup of 1: ValueError: broken in two lines"),
    "cancelled from inside": (is_cancelled_from_inside, "cancelled from inside"),
    "SystemExit": (raises_system_exit, "SystemExit: 3"),
    "KeyboardInterrupt": (raises_keyboard_interrupt, "KeyboardInterrupt"),
    "out of memory": (runs_out_of_memory, "MemoryError"),
    "returns": (returns, "returned"),
    "fails at start": (fails_at_start, "ConnectionRefusedError: no such port"),
    "dies without awaiting": (dies_without_awaiting, "RuntimeError: hot"),
}
"""All but hanging, which needs a deadline: see `Stubborn`."""


class Deaths(list[ChildDied]):
    """Records the facts, asynchronously as the journal does."""

    async def __call__(self, fact: ChildDied) -> None:
        await anyio.lowlevel.checkpoint()
        self.append(fact)


@asynccontextmanager
async def running(tree: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    """The tree runs in a task of its own, and is cancelled at the end unless it ended by itself."""
    task = asyncio.create_task(tree.run())
    await anyio.wait_all_tasks_blocked()
    try:
        yield task
    finally:
        task.cancel()
        while isinstance(tree.clock, ManualClock) and not task.done():
            await tree.clock.advance(1.0)
        await asyncio.wait((task,))
        for stubborn in Stubborn.everyone:
            stubborn.release.set()
        Stubborn.everyone.clear()
