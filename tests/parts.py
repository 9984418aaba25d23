"""The parts that the houses of the tests are built of: an Env around a journal, and loops that run beside a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.judging import Judge
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.outgoing import open_session
from trader_monitor.runtime.progress import Progress
from trader_monitor.runtime.threads import Threads


@asynccontextmanager
async def env_around(journal: Any, config: Any, clock: Clock, **others: Any) -> AsyncIterator[Env]:
    """An Env with an HTTP session of its own, closed at the end; `others` take the places of the parts they name."""
    threads = Threads()
    async with open_session(threads) as session:
        parts: dict[str, Any] = {
            "clock": clock,
            "journal": journal,
            "history": None,
            "meters": Meters(),
            "progress": Progress(clock),
            "began": clock.now(),
            "config": lambda: config,
            "config_path": Path("config.toml"),
            "http": lambda: session,
            "threads": threads,
            "children": tuple,
            "ready": tuple,
            "reload": None,
            **others,
        }
        yield Env(**parts)


@asynccontextmanager
async def env_in(
    folder: Path, config: Any, clock: Clock, *, judge: Judge | None = None, max_series: int = 1_000, **others: Any
) -> AsyncIterator[Env]:
    """An Env around a real journal; its store stays in the folder, for the next one."""
    meters = Meters()
    journal = await open_journal(folder / "store.db", clock=clock, meters=meters, judge=judge, max_series=max_series)
    try:
        file = folder / "config.toml"
        async with env_around(journal, config, clock, meters=meters, config_path=file, **others) as env:
            yield env
    finally:
        await journal.close()


@asynccontextmanager
async def running(*loops: Awaitable[None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The loops as tasks, cancelled at the end, with those that the block adds. One that ended by itself is a
    failure: loops go on for ever."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield tasks
        for task in tasks:
            died = task.done() and not task.cancelled() and task.exception()  # raised below
            assert died or not task.done(), f"a loop ended by itself: {task}"
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def until(wanted: Callable[[], object], within: float = 10.0) -> None:
    """Waits until the condition holds; AssertionError when it does not in time."""
    try:
        async with asyncio.timeout(within):
            while not wanted():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"the condition does not hold within {within} s") from None
