"""The supervisor: OTP's meaning, one for one, on asyncio.

A child is data, a death is a fact, and the decision about it is `core.restart.decide`. Siblings never notice.
A child out of budget is parked, an essential one escalates to the root, whose `run` then drains the tree and
raises `Escalated`; restarts are never multiplied from level to level.

Cancelling `run` drains the tree: children in reverse order, each with its own grace, all within `drain_within`
seconds. Whoever ignores that is abandoned and reported by name, so nobody can hold up a restart or the end. The
process should then leave by `signals.leave`, because an event loop's own teardown waits for abandoned tasks.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import structlog
from anyio import CancelScope

from trader_monitor.core.facts import ChildDied
from trader_monitor.runtime.child import Child, ChildStatus, Escalated, Life, first
from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.keep import Keep
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.progress import Progress

__all__ = ["Child", "ChildStatus", "Escalated", "Supervisor"]

log = structlog.get_logger(__name__)

HANG_GRACE = 0.05
"""Seconds that a hung child gets to end before its successor starts without waiting for it."""

REPORT_WITHIN = 1.0
MOST_REPORTS = 200


class Supervisor:
    """Keeps its children alive while `run` runs; `run` may be run again after it ended."""

    def __init__(
        self,
        children: Iterable[Child],
        clock: Clock,
        on_death: Callable[[ChildDied], Awaitable[object] | None] | None = None,
        *,
        name: str = "root",
        meters: Meters | None = None,
        progress: Progress | None = None,
        on_change: Callable[[ChildStatus], None] | None = None,
        drain_within: float = 8.0,
        hang_grace: float = HANG_GRACE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`on_death` gets each death, in order, beside the restart, which does not wait for it. `on_change` is
        called with a child's status whenever its state changes. Raises ValueError where two share a name."""
        self.name = name
        self.clock = clock
        self.meters = meters if meters is not None else Meters()
        self.progress = progress if progress is not None else Progress(clock)
        self._on_change = on_change
        self.hang_grace = hang_grace
        self.jitter = jitter
        self._on_death = on_death
        self._drain_within = drain_within
        self._hurry: float | None = None
        self._reports: deque[ChildDied] = deque(maxlen=MOST_REPORTS)
        self._reporter: asyncio.Task[None] | None = None
        self._running = False
        self._changing = asyncio.Lock()
        self._escalation: Escalated | None = None
        self._above: Callable[[Escalated], None] | None = None
        self._ending = asyncio.Event()
        self._left: set[Life] = set()
        self._keeps: dict[str, Keep] = {}
        for child in children:
            self.add(child)

    def as_child(self, *, essential: bool = False) -> Child:
        """This supervisor as a child of another. Its escalations pass to the root at once."""
        return Child(self.name, self.run, essential=essential, grace=self._drain_within + 0.5, tree=self)

    async def run(self) -> None:
        """Runs the children until cancelled. Raises Escalated at the root, after the drain."""
        if self._running:
            raise RuntimeError(f"supervisor {self.name} runs already")
        self._running = True
        self._escalation = None
        self._hurry = None
        self._ending.clear()
        try:
            for keep in self._keeps.values():
                keep.begin()
            await self._ending.wait()
        finally:
            self._running = False
            with CancelScope(shield=True):
                await self._drain()
        if self._escalation is not None:
            raise self._escalation

    def status(self) -> tuple[ChildStatus, ...]:
        """Every child in order of start, the children of trees under it after their own."""
        found: list[ChildStatus] = []
        for keep in self._keeps.values():
            found.append(keep.status())
            if keep.child.tree is not None:
                found += keep.child.tree.status()
        return tuple(found)

    @property
    def abandoned(self) -> tuple[str, ...]:
        """The names of those who were asked to end, ignored it, and still run."""
        names = [life.child.name for life in self._left if not life.ended]
        for keep in self._keeps.values():
            if keep.child.tree is not None:
                names += keep.child.tree.abandoned
        return tuple(sorted(names))

    def hurry(self, within: float) -> None:
        """The drain that comes has to be over within so many seconds."""
        self._hurry = within

    # --- changing the tree -----------------------------------------------------------------------------------

    def add(self, child: Child) -> None:
        """One more child, started at once while the supervisor runs. Raises ValueError where its name is taken."""
        if child.name in self._keeps:
            raise ValueError(f"two children of {self.name} are named {child.name!r}")
        self._place(child)

    async def remove(self, name: str) -> bool:
        """Ends a child on purpose, which is no death. False where it had to be abandoned. Raises KeyError."""
        async with self._changing:
            return await self._remove(name)

    async def replace(self, child: Child) -> bool:
        """Ends the child of that name and starts this one in its stead, with a clean record."""
        async with self._changing:
            return await self._replace(child)

    async def adjust(self, children: Iterable[Child]) -> tuple[str, ...]:
        """Makes the children these: equal ones are not touched. Returns the names of those that were.

        Must not be awaited by a child that it ends: a reload belongs outside the tree.
        """
        wanted = {child.name: child for child in children}
        async with self._changing:
            gone = [name for name in self._keeps if name not in wanted]
            changed = [c for n, c in wanted.items() if n in self._keeps and self._keeps[n].child != c]
            new = [child for name, child in wanted.items() if name not in self._keeps]
            await asyncio.gather(*map(self._remove, gone), *map(self._replace, changed))
            for child in new:
                self.add(child)
        return (*gone, *(child.name for child in changed), *(child.name for child in new))

    async def _remove(self, name: str) -> bool:
        keep = self._keeps[name]
        ended = await keep.end(keep.child.grace)
        keep.bury()
        self._keeps.pop(name, None)
        return ended

    async def _replace(self, child: Child) -> bool:
        old = self._keeps[child.name]
        ended = await old.end(old.child.grace)
        old.bury()
        self._place(child)
        return ended

    def _place(self, child: Child) -> None:
        keep = self._keeps[child.name] = Keep(self, child)
        if child.tree is not None:
            child.tree._above = self.escalate
        if self._running:
            keep.begin()

    # --- deaths ----------------------------------------------------------------------------------------------

    def report(self, fact: ChildDied) -> None:
        """Hands a death over to `on_death`, which runs beside."""
        if self._on_death is None:
            return
        self._reports.append(fact)
        if self._reporter is None or self._reporter.done():
            self._reporter = asyncio.create_task(self._tell(self._on_death), name=f"{self.name} reports")

    async def _tell(self, on_death: Callable[[ChildDied], Awaitable[object] | None]) -> None:
        while self._reports:
            fact = self._reports.popleft()
            try:
                told = on_death(fact)
                if inspect.isawaitable(told):
                    await told
            except Exception:
                log.exception("a death could not be recorded", child=fact.child, cause=fact.cause)

    def leave_behind(self, life: Life) -> None:
        """Abandons a life that ignores its cancellation. It is named until it ends after all."""
        if life.ended or life in self._left:
            return
        self._left.add(life)
        life.task.add_done_callback(lambda _: self._left.discard(life))
        self.meters.count("monitor_child_abandoned_total", child=life.child.name)

    def escalate(self, escalation: Escalated) -> None:
        """Passes an escalation up to the root, which ends."""
        if self._above is not None:
            self._above(escalation)
            return
        self._escalation = self._escalation or escalation
        self._ending.set()

    def changed(self, status: ChildStatus) -> None:
        """A child entered another state."""
        if self._on_change is None:
            return
        try:
            self._on_change(status)
        except Exception:
            log.exception("a child's change could not be told", child=status.name, state=status.state)

    async def _drain(self) -> None:
        """Ends every child, the last started first; each gets its grace, or its share of what time is left."""
        within = self._drain_within if self._hurry is None else min(self._hurry, self._drain_within)
        deadline = self.clock.now().mono + within
        if self._reporter is not None and not self._reporter.done():
            await first(self.clock, min(REPORT_WITHIN, within / 4), self._reporter)
        keeps = list(reversed(self._keeps.values()))
        for ahead, keep in enumerate(keeps):
            share = max(0.0, deadline - self.clock.now().mono) / (len(keeps) - ahead)
            await keep.end(min(share, keep.child.grace))
        for keep in keeps:
            keep.bury()
        if self._reporter is not None:
            self._reporter.cancel()
        if self.abandoned:
            log.error("children ignored their end and were abandoned", children=list(self.abandoned))
