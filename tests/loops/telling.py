"""A house for alerts: the real journal on a real store, real rules, and channels that a test can steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.core.alerts.stage import series
from tests.parts import env_in, running
from trader_monitor.config.tables import ChannelTable, Config
from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import Samples
from trader_monitor.runtime.clock import Clock, SystemClock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.registry import Plugin

Answer = Callable[[Notice], Awaitable[str]]


class NoOptions(msgspec.Struct, frozen=True):
    pass


class Line:
    """A channel whose far end is the test: what it heard, and how it answers."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.attempts: list[Notice] = []
        self.heard: list[Notice] = []
        self.answer = answer
        self.under_way = 0
        self.most_under_way = 0

    async def take(self, options: NoOptions, env: Env, notice: Notice) -> str:
        self.attempts.append(notice)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            receipt = await self.answer(notice) if self.answer else "taken"
        finally:
            self.under_way -= 1
        self.heard.append(notice)
        return receipt

    def told(self) -> list[tuple[str, int]]:
        """What was heard, the transitions numbered from the first attempted one."""
        first = min((notice.transition for notice in self.attempts), default=1)
        return [(notice.state, notice.transition - first + 1) for notice in self.heard]

    def table(self, name: str, **options: Any) -> ChannelTable:
        return ChannelTable(
            name=name, plugin=Plugin("channel", "line", NoOptions, self.take), options=NoOptions(), **options
        )


class House:
    """The journal, its env, and the loops that a test runs on it."""

    def __init__(self, env: Env, loops: list[asyncio.Task[None]]) -> None:
        self.env = env
        self._loops = loops

    @property
    def board(self) -> Any:
        return self.env.board

    async def send(self, samples: Mapping[str, float], wall: float | None = None) -> None:
        now = self.env.clock.now()
        names, values = [series(name) for name in samples], list(samples.values())
        await self.env.journal.record(
            [Samples(at=wall or now.wall, origin="test", labels=tuple(names), values=tuple(values))]
        )

    def run(self, loop: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(loop)
        self._loops.append(task)
        return task

    def meter(self, name: str, **labels: str) -> float:
        return self.env.meters.get(name, **labels)


@asynccontextmanager
async def open_house(
    folder: Path, rules: Sequence[Rule] = (), channels: Sequence[ChannelTable] = (), clock: Clock | None = None
) -> AsyncIterator[House]:
    """Everything ends with the block, loops first; the store stays, for the next house on the same folder."""
    config = Config(channels={table.name: table for table in channels}, rules={rule.name: rule for rule in rules})
    async with (
        env_in(folder, config, clock or SystemClock(), judge=compile_rules(rules)) as env,
        running() as loops,
    ):
        yield House(env, loops)
