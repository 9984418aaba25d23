"""The one injected protocol: time. Production reads the system; tests advance it by hand."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import Protocol

import anyio

from trader_monitor.core.facts import Now

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Wall time for facts, monotonic time for durations, and sleeping by the latter."""

    def now(self) -> Now: ...

    async def sleep(self, seconds: float) -> None:
        """A time that is past already is no sleep, but still gives way to others."""


class SystemClock:
    """`CLOCK_REALTIME` and `CLOCK_MONOTONIC`; the latter is comparable across restarts within one boot."""

    def now(self) -> Now:
        return Now(time.time(), time.monotonic())

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that moves only by `advance`, waking the sleepers that are due, in order.

    `step` moves the wall clock alone, as an administrator or NTP would.
    """

    def __init__(self, wall: float = 1_700_000_000.0, mono: float = 1_000.0) -> None:
        self._wall = wall
        self._mono = mono
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def now(self) -> Now:
        return Now(self._wall, self._mono)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        heapq.heappush(self._sleepers, (self._mono + seconds, next(self._order), event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Moves both clocks; each sleeper due on the way runs until everything is idle again."""
        end = self._mono + seconds
        await _idle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, event = heapq.heappop(self._sleepers)
            self._wall += due - self._mono
            self._mono = due
            event.set()
            await _idle()
        self._wall += end - self._mono
        self._mono = end
        await _idle()

    def step(self, seconds: float) -> None:
        self._wall += seconds


async def _idle() -> None:
    """Until no task moves; asked thrice, since a callback on its way between two tasks shows in neither."""
    for _ in range(3):
        await anyio.wait_all_tasks_blocked()
