"""One child's place in the tree: it bears life after life, and has `core.restart.decide` judge each death."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from trader_monitor.core.facts import ChildDied
from trader_monitor.core.restart import Record, decide
from trader_monitor.runtime.child import Child, ChildState, ChildStatus, Escalated, Life, describe, first

if TYPE_CHECKING:
    from trader_monitor.runtime.supervisor import Supervisor

__all__ = ["Keep"]

log = structlog.get_logger(__name__)

LATE = 0.5
"""Seconds: a timer later than this tells of a process that was suspended or blocked, which is no child's fault:
its silence counts anew."""

TOLERANCE = 1e-6
"""Seconds: a timer due so soon is due, whatever the rounding of its sleep was."""


class Keep:
    """One child's place: it bears life after life until the supervisor ends it."""

    def __init__(self, house: Supervisor, child: Child) -> None:
        self.child = child
        self._house = house
        self._record = Record()
        self._state: ChildState = "stopped"
        self._since = house.clock.now().wall
        self._last_cause = ""
        self._parked_until: float | None = None
        self._life: Life | None = None
        self._tending: asyncio.Task[None] | None = None

    def status(self) -> ChildStatus:
        return ChildStatus(
            self.child.name,
            self._state,
            self.child.essential,
            self._record.restarts,
            self._since,
            self._last_cause,
            self._parked_until,
            self._house.name,
        )

    def begin(self) -> None:
        """Starts the child, with a clean record."""
        self._record = Record()
        self._house.meters.set("monitor_child_parked", 0.0, child=self.child.name)
        self._enter("running")
        self._tending = asyncio.create_task(self._tend(), name=f"keep {self.child.name}")
        self._tending.add_done_callback(self._fell)

    def _fell(self, tending: asyncio.Task[None]) -> None:
        """A place that fails (a bug of ours) would leave its child untended in silence: rather escalate."""
        if not tending.cancelled() and (error := tending.exception()) is not None:
            log.critical("a child's place failed", child=self.child.name, exc_info=error)
            self._house.escalate(Escalated(self.child.name, f"its place failed: {describe(error)}"))

    async def end(self, within: float) -> bool:
        """Ends the child on purpose; False where it still runs after `within` seconds."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait((self._tending,))
            self._tending = None
        return self._life is None or await self._life.dismiss(self._house.clock, within)

    def bury(self) -> None:
        """The place is closed: a life that did not end is left behind."""
        if self._life is not None:
            self._house.leave_behind(self._life)
            if self._life.asked and self._life.ended and isinstance(self._life.error, Exception):
                log.warning("child failed while it ended", child=self.child.name, cause=describe(self._life.error))
            self._life = None
        self._house.progress.forget(self.child.name)
        self._house.meters.set("monitor_child_parked", 0.0, child=self.child.name)
        self._enter("stopped")

    async def _tend(self) -> None:
        clock = self._house.clock
        while True:
            self._enter("running")
            if self.child.deadline is not None:
                self._house.progress.watch(self.child.name, self.child.deadline)
            life = self._life = Life(self.child, clock.now())
            cause = await self._until_death(life)
            self._life = None
            delay = self._judge(life, cause)
            if delay is None:
                return
            if delay:
                await clock.sleep(delay)
            if self._state == "parked":
                self._house.meters.set("monitor_child_parked", 0.0, child=self.child.name)
                log.info("child un-parked: it is tried again", child=self.child.name)

    async def _until_death(self, life: Life) -> str:
        """Waits for the life's end, or for its silence; returns the cause."""
        clock = self._house.clock
        since = life.born.mono
        while True:
            now = clock.now()
            silence = self._silence_left(since, now.mono)
            if silence is not None and silence <= TOLERANCE:
                return await self._give_up(life)
            await first(clock, silence, life.task)
            if life.ended:
                return describe(life.error)
            woken = clock.now().mono
            if silence is not None and woken - now.mono - silence > LATE:
                since = woken

    def _silence_left(self, since: float, mono: float) -> float | None:
        if self.child.deadline is None:
            return None
        return max(self._house.progress.last(self.child.name) or since, since) + self.child.deadline - mono

    async def _give_up(self, life: Life) -> str:
        cause = f"hung: no progress for {self.child.deadline:g} s, at {life.place()}"
        if await life.dismiss(self._house.clock, self._house.hang_grace):
            return cause
        self._house.leave_behind(life)
        return cause + "; it ignores cancellation and was abandoned"

    def _judge(self, life: Life, cause: str) -> float | None:
        """Decides, and says so: one log record, one metric, one fact. None where it escalates."""
        house, child, now = self._house, self.child, self._house.clock.now()
        lived = now.mono - life.born.mono
        decision, delay, self._record = decide(self._record, lived, now, child.terms, house.jitter())
        self._last_cause = cause
        house.meters.count("monitor_child_deaths_total", child=child.name, decision=decision)
        house.meters.set("monitor_child_parked", float(decision == "park"), child=child.name)
        report = log.error if decision != "escalate" else log.critical
        report(
            "child died",
            child=child.name,
            cause=cause,
            decision=decision,
            delay=round(delay, 3),
            restarts=self._record.restarts,
            trace_id=life.trace_id,
            exc_info=life.error if not isinstance(life.error, asyncio.CancelledError) else None,
        )
        house.report(
            ChildDied(
                at=now.wall,
                child=child.name,
                cause=cause,
                decision=decision,
                delay=delay,
                restarts=self._record.restarts,
                trace_id=life.trace_id,
            )
        )
        if decision == "escalate":
            self._enter("stopped")
            house.escalate(Escalated(child.name, cause))
            return None
        if decision == "park":
            self._enter("parked", until=now.wall + delay)
        elif delay:
            self._enter("backoff")
        return delay

    def _enter(self, state: ChildState, until: float | None = None) -> None:
        changed = state != self._state
        self._state = state
        self._parked_until = until
        if not changed:
            return
        self._since = self._house.clock.now().wall
        self._house.changed(self.status())
