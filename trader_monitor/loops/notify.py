"""The loop of one channel: compares the alerts with the notices sent, and sends what is due.

It holds no queue that a crash could lose: what is due is derived from the board each time (`core.alerts.notice`),
so retrying means "still due, and permitted". Two things hold an attempt back: the notice's own backoff, so that
one that the receiver chokes on does not starve the others, and the channel's breaker, so that a dead receiver is
left alone until a single trial succeeds. Both are on the board too, as facts of what failed (`ChannelTried`), so
that neither a crash nor a reload lets a receiver be hammered; and they bound how many such facts there are.
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from typing import Literal

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec.structs import replace

from trader_monitor.core import breaker
from trader_monitor.core.alerts.notice import Notice, Route, next_notice, notices_due
from trader_monitor.core.backoff import Backoff
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried, Fact, NoticeSent, Now
from trader_monitor.core.recovery.deeds import deeds
from trader_monitor.runtime.delivery import deliver
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.registry import DeliveryError
from trader_monitor.runtime.waiting import first_of

__all__ = ["BREAKER", "DRAIN_WITHIN", "notify"]

BREAKER = breaker.Policy(trip_after=5, cooldown=15.0)
BACKOFF = Backoff(first=0.5, longest=60.0)
AT_ONCE = 16
"""Notices under way at a time, so that a storm drains fast and still opens a bounded number of connections."""
LONGEST = 5.0
DRAIN_WITHIN = 1.5
"""Seconds that a shutdown leaves for what is under way; the rest is due after the next start."""

log = structlog.get_logger(__name__)


async def notify(env: Env, channel: str) -> None:
    """Tells one channel, for ever."""
    await _Line(env, channel).run()


class _Line:
    """The line to one channel."""

    def __init__(self, env: Env, channel: str) -> None:
        self.env = env
        self.table = env.config().channels[channel]
        self.route = Route(channel, self.table.min_severity, self.table.repeat)
        self.policy = replace(BREAKER, cooldown=self.table.cooldown)
        self._queue: deque[Notice] = deque()
        self._busy: set[str] = set()
        self._workers = 0
        self._freed = anyio.Event()

    async def run(self) -> None:
        for state in ("firing", "resolved"):
            for outcome in ("delivered", "failed", "refused"):
                self._count(state, outcome, 0.0)  # so that a rule sees the first one as an increase
        wake = self.env.journal.wake_on(AlertChanged)
        async with anyio.create_task_group() as group:
            try:
                while True:
                    wait = self._dispatch(group)
                    self.env.progress.beat(f"notify:{self.route.channel}")
                    self._freed = anyio.Event()
                    await first_of(wake.wait, self._freed.wait, partial(self.env.clock.sleep, wait))
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True), anyio.move_on_after(DRAIN_WITHIN):
                    await self._drain(group)
                self._show(0)  # a channel that is gone has nothing to tell
                raise

    async def _drain(self, group: TaskGroup) -> None:
        """Sends what is due and may be sent at once, and waits for what is under way."""
        self._dispatch(group)
        while self._workers:
            self._freed = anyio.Event()
            await self._freed.wait()

    def _dispatch(self, group: TaskGroup) -> float:
        """Puts workers to what is due; returns the seconds until something held back may be tried."""
        env = self.env
        now = env.clock.now()
        due = notices_due(env.board, self.route, now, self._busy)
        self._show(len(due) + len(self._busy))
        ready = [notice for notice in due if self._retry_at(notice) <= now.mono]
        held = min((self._retry_at(notice) for notice in due if notice not in ready), default=now.mono + LONGEST)
        line = self.breaker
        if not breaker.permits(line, now):
            self._queue.clear()
            return min(LONGEST, max(0.01, breaker.wait(line, now)))
        self._queue = deque(ready if line.state == "closed" else ready[:1])
        while self._workers < min(AT_ONCE, len(self._queue) + len(self._busy)):
            self._workers += 1
            group.start_soon(self._work)
        return min(LONGEST, max(0.01, held - now.mono))

    @property
    def breaker(self) -> Breaker:
        """The channel's, as the board has it."""
        tried = self.env.board.channels.get(self.route.channel)
        return Breaker() if tried is None else tried.breaker

    def _failure(self, notice: Notice) -> ChannelTried | None:
        """The newest failed attempt at this very notice."""
        tried = self.env.board.tries.get((self.route.channel, notice.alert.fingerprint))
        return tried if tried is not None and tried.transition == notice.transition else None

    def _retry_at(self, notice: Notice) -> float:
        tried = self._failure(notice)
        return 0.0 if tried is None else tried.retry_at

    async def _work(self) -> None:
        """Takes notices off the queue until it is empty, each alert's in order."""
        try:
            while self._queue:
                notice: Notice | None = self._queue.popleft()
                fingerprint = notice.alert.fingerprint  # type: ignore[union-attr]
                if fingerprint in self._busy:
                    continue
                self._busy.add(fingerprint)
                try:
                    while notice is not None and await self._attempt(notice):
                        notice = next_notice(self.env.board, self.route, fingerprint, self.env.clock.now())
                finally:
                    self._busy.discard(fingerprint)
        finally:
            self._workers -= 1
            self._freed.set()

    async def _attempt(self, notice: Notice) -> bool:
        """Whether the notice needs telling no more: it was delivered, or refused for good."""
        env = self.env
        began = env.clock.now()
        line = self.breaker
        if not breaker.permits(line, began):
            return False
        trial = breaker.attempt(line, began, self.policy)
        generation = trial.generation
        fingerprint = notice.alert.fingerprint
        before = self._failure(notice)
        attempts = before.attempts + 1 if before else 1
        if trial is not line:
            reason = env.board.channels[self.route.channel].reason
            await env.journal.record([self._tried("trial", trial, notice, attempts, began, reason=reason)])
        receipt, failure = "", None
        try:
            steps = env.board.incidents.get(notice.alert.labels.get("check", ""), ())
            told = replace(notice, done=deeds(steps, notice.alert.active_at)) if steps else notice
            receipt = await deliver(env, self.table, told)
        except DeliveryError as error:
            failure = error
        ended = env.clock.now()
        if failure is not None and not failure.permanent:
            await self._failed(notice, failure, attempts, generation)
            return False
        line = self.breaker
        after = breaker.succeed(line, ended, self.policy, generation)
        outcome = "refused" if failure else "delivered"
        self._count(notice.state, outcome)
        if failure is not None:
            log.error(
                "a notice was refused for good: nobody was told through this channel",
                channel=self.route.channel,
                alert=notice.alert.rule,
                state=notice.state,
                fingerprint=fingerprint,
                reason=str(failure),
            )
        env.meters.set("monitor_notice_seconds", ended.mono - began.mono, channel=self.route.channel)
        facts: list[Fact] = [
            NoticeSent(
                at=ended.wall,
                channel=self.route.channel,
                fingerprint=fingerprint,
                transition=notice.transition,
                state=notice.state,
                outcome="refused" if failure else "delivered",
                attempts=attempts,
                seconds=ended.mono - began.mono,
                receipt=str(failure) if failure else receipt,
            )
        ]
        if after is not line:
            facts.append(self._tried("answered", after, notice, attempts, ended))
        await env.journal.record(facts)
        return True

    def _tried(
        self,
        outcome: Literal["trial", "failed", "answered"],
        after: Breaker,
        notice: Notice,
        attempts: int,
        now: Now,
        retry_at: float = 0.0,
        reason: str = "",
    ) -> ChannelTried:
        return ChannelTried(
            at=now.wall,
            channel=self.route.channel,
            outcome=outcome,
            breaker=after,
            mono=now.mono,
            fingerprint=notice.alert.fingerprint,
            transition=notice.transition,
            attempts=attempts,
            retry_at=retry_at,
            reason=reason,
        )

    async def _failed(self, notice: Notice, failure: DeliveryError, attempts: int, generation: int) -> None:
        now = self.env.clock.now()
        delay = BACKOFF.delay(attempts, random.random())
        before = self.breaker
        after = breaker.fail(before, now, self.policy, failure.retry_after, generation)
        held = max(delay, min(failure.retry_after or 0.0, self.policy.longest))
        self._count(notice.state, "failed")
        say = log.error if after.state == "open" and before.state != "open" else log.warning
        say(
            "a notice could not be delivered and stays due",
            channel=self.route.channel,
            alert=notice.alert.rule,
            state=notice.state,
            attempts=attempts,
            retry_in=round(max(held, breaker.wait(after, now)), 1),
            breaker=after.state,
            reason=str(failure),
        )
        fact = self._tried("failed", after, notice, attempts, now, now.mono + held, str(failure))
        await self.env.journal.record([fact])

    def _count(self, state: str, outcome: str, by: float = 1.0) -> None:
        self.env.meters.count("monitor_notices_total", by, channel=self.route.channel, state=state, outcome=outcome)

    def _show(self, due: int) -> None:
        self.env.meters.set("monitor_channel_due", float(due), channel=self.route.channel)
