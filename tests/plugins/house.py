"""A house of tiny parts for plugins and loops: the real clock, meters, series and HTTP session, a journal in memory."""

from __future__ import annotations

import asyncio
import heapq
import importlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from tests.parts import env_around
from trader_monitor.config.tables import Trading
from trader_monitor.core.board import Board
from trader_monitor.core.calendar.closures import Closures
from trader_monitor.core.facts import ActionStep, CheckResult, Fact, Heartbeat, Samples
from trader_monitor.core.series import SeriesStore
from trader_monitor.runtime.clock import Clock, ManualClock, SystemClock
from trader_monitor.runtime.registry import Plugin


class TinyBoard:
    """The parts of the board that collecting, checking and recovering read, folded in the obvious way."""

    def __init__(self) -> None:
        self.series = SeriesStore()
        self.checks: dict[str, CheckResult] = {}
        self.incidents: dict[str, tuple[ActionStep, ...]] = {}
        self.steps: deque[ActionStep] = deque(maxlen=1000)
        self.heartbeats: dict[str, Heartbeat] = {}
        self.closures = Closures()
        whole = Board(self.series)
        self.accounts, self.exchanges, self.agents = whole.accounts, whole.exchanges, whole.agents
        self.trading, self.counts = whole.trading, whole.counts

    def fold(self, fact: Fact) -> None:
        match fact:
            case Samples():
                sids = [self.series.intern(labels) for labels in fact.labels]
                self.series.append_many(sids, round(fact.at * 1000), fact.values)
                for name, (kind, help) in fact.kinds.items():
                    self.series.describe(name, kind, help)
            case CheckResult():
                self.checks[fact.check] = fact
            case ActionStep():
                self.steps.append(fact)
                before = self.incidents.get(fact.check, ())
                same = before and before[0].incident == fact.incident
                self.incidents[fact.check] = (*before, fact) if same else (fact,)
            case Heartbeat():
                self.heartbeats[fact.source] = fact


class QuickClock(ManualClock):
    """A manual clock that looks again at once, not after 100 ms, whether every task waits for something."""

    async def advance(self, seconds: float) -> None:
        end = self._mono + seconds
        await _all_waiting()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, event = heapq.heappop(self._sleepers)
            self._wall += max(due - self._mono, 0.0)
            self._mono = max(due, self._mono)
            event.set()
            await _all_waiting()
        self._wall += max(end - self._mono, 0.0)
        self._mono = max(end, self._mono)
        await _all_waiting()


async def _all_waiting() -> None:
    """Yields until every other task waits; ten turns long, for a callback on its way shows in no task."""
    this = asyncio.current_task()
    quiet = 0
    while quiet < 10:
        restless = any(_restless(task) for task in asyncio.all_tasks() if task is not this)
        quiet = 0 if restless else quiet + 1
        await asyncio.sleep(0)


def _restless(task: asyncio.Task[Any]) -> bool:
    waiter = task._fut_waiter  # type: ignore[attr-defined]
    return waiter is None or waiter.done()


class Wake:
    """As the journal's: set by facts of its types; a wait takes it back."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> None:
        await self.event.wait()
        self.event.clear()

    def set(self) -> None:
        self.event.set()


class TinyJournal:
    """Records into memory, and lets a test wait for the fact that it wants."""

    degraded: str | None = None
    seq = 0

    def __init__(self) -> None:
        self.board = TinyBoard()
        self.facts: list[Any] = []
        self._wakes: list[tuple[tuple[type, ...], Wake]] = []
        self._news = asyncio.Event()
        self.folding = SimpleNamespace(turn=asyncio.Lock())

    async def record(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self.board.fold(fact)
            self.facts.append(fact)
            for types, wake in self._wakes:
                if isinstance(fact, types):
                    wake.event.set()
        self._news.set()

    def wake_on(self, *types: type) -> Wake:
        wake = Wake()
        self._wakes.append((types, wake))
        return wake

    async def want(self, wanted: Callable[[Any], object], *, within: float = 10.0) -> Any:
        """The first recorded fact that is wanted; AssertionError with what came instead."""
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    for fact in self.facts:
                        if wanted(fact):
                            return fact
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within} s; came {self.facts[-5:]}") from None


def plugin(kind: str, name: str) -> Plugin:
    """One of our own plugins, without loading the others."""
    module = importlib.import_module(f"trader_monitor.plugins.{kind}s.{name}")
    marks = (getattr(each, "__trader_monitor_plugin__", None) for each in vars(module).values())
    return next(mark for mark in marks if isinstance(mark, Plugin))


@asynccontextmanager
async def house(config: Any = None, clock: Clock | None = None, **parts: Any) -> AsyncIterator[Any]:
    """An Env over the tiny parts; its HTTP session is closed at the end."""
    tables: dict[str, Any] = {
        name: {} for name in ("collectors", "checks", "actions", "channels", "calendars", "exchanges")
    }
    config = config or SimpleNamespace(**tables, trading=Trading())
    journal = parts.pop("journal", None) or TinyJournal()
    async with env_around(journal, config, clock or SystemClock(), **parts) as env:
        yield env


@asynccontextmanager
async def server(handle: Callable[[web.Request], Awaitable[web.StreamResponse]], **how: Any) -> AsyncIterator[str]:
    """An HTTP server on a free port of the loopback; every path goes to `handle`. Gives its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, **how)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
