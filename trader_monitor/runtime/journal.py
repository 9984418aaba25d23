"""The journal: the one write path.

`record` folds facts into the board, has the rules judged that they touch, commits facts and verdicts in one
group commit, and publishes them. Returning means: durable.

When the store fails, nothing is promised that is not kept. Events that were not committed are refused
(`StoreUnavailable`) and the board is rebuilt by replay, so that it forgets them. The daemon's own facts are
true whether or not a disk takes them: they are folded, published and *owed*, and written when it does again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import structlog

from trader_monitor.core.facts import Event, Fact
from trader_monitor.core.ids import Screening, raw_of
from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.folding import LARGE, Folding, Overtaken
from trader_monitor.runtime.judging import Judge, Unjudged, traced
from trader_monitor.runtime.mending import RETRY_LAST, Mender
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.owed import without_samples
from trader_monitor.runtime.publication import Publication, Wake
from trader_monitor.runtime.replay import Replayed
from trader_monitor.runtime.rows import Pen, Row, size_of
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import Store, is_corruption

__all__ = ["Journal", "Judge", "Recorded", "StoreUnavailable", "Unjudged", "Wake"]

QUEUE_BYTES = 32 << 20
STALL_SECONDS = 2.0

log = structlog.get_logger(__name__)


class StoreUnavailable(Exception):
    """The store cannot keep a promise now; nothing of the request was accepted. Retry after so many seconds."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Recorded(NamedTuple):
    """What became of the facts; `conflicts` are the indexes of events whose id was used with another body."""

    accepted: int
    duplicates: int = 0
    conflicts: tuple[int, ...] = ()


class _Batch:
    """A row on its way to the disk, and who waits for it."""

    __slots__ = ("done", "has_events", "published", "row", "settled", "size")

    def __init__(self, row: Row, *, has_events: bool, size: int) -> None:
        self.row = row
        self.has_events = has_events
        self.size = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.published = False
        self.settled = False


class Journal:
    """The board and the way to change it. `board` is another object after a failed commit: read it here."""

    def __init__(self, store: Store, pen: Pen, replayed: Replayed, clock: Clock, meters: Meters, boot: str) -> None:
        self.store = store
        self.pen = pen
        self.clock = clock
        self.meters = meters
        self.boot = boot
        self.judge: Judge = Unjudged()
        self.board = replayed.board
        self.seq = replayed.seq
        self.losses = 0
        """Failed commits that the board has heard of; `Store.failures` is what the writer knows."""
        self.readers: list[Callable[[], None]] = []
        """What to call before the store is closed, for those who hold its file open."""
        self.degraded: str | None = None
        self.since_snapshot = replayed.facts
        self.sealed = replayed.sealed
        """The newest segment of ids that is known to be on disk."""
        self.history_revision = 0
        """Grows when the blocks on disk change."""
        self.max_series = replayed.board.series.max_series
        self._ahead: deque[_Batch] = deque()
        self._ahead_bytes = 0
        self.failing = False
        self._stalled = False
        self._mender = Mender(self)
        self._publication = Publication()
        self.folding = Folding(self)
        meters.set("monitor_store_degraded", 0.0)

    # --- recording ----------------------------------------------------------------------------------------

    async def record(self, facts: Sequence[Fact]) -> Recorded:
        """Records facts; returns when they are durable.

        With events among them: raises `StoreUnavailable` where that cannot be, and then none is accepted.
        The daemon's own facts never raise: while the store fails, they are published and owed.
        """
        if not any(isinstance(fact, Event) for fact in facts):
            await self._record_own(facts)
            return Recorded(len(facts))
        taking: Awaitable[tuple[Sequence[Fact], Screening, _Batch]] = self._take(facts)
        if len(facts) > LARGE:  # what is folded has to be written, even if whoever sent it goes away meanwhile
            taking = asyncio.shield(taking)
        facts, screening, batch = await taking
        await batch.done
        meters = self.meters
        meters.count("monitor_events_accepted_total", len(facts))
        if screening.duplicates:
            meters.count("monitor_events_duplicate_total", screening.duplicates)
        if screening.conflicts:
            meters.count("monitor_events_conflict_total", len(screening.conflicts))
        return Recorded(len(facts), screening.duplicates, screening.conflicts)

    async def _take(self, facts: Sequence[Fact]) -> tuple[Sequence[Fact], Screening, _Batch]:
        """Those of a batch with events that are new, on the board and on their way to the disk."""
        async with self.folding.turn:
            if self.failing or self._stalled:
                raise self._unavailable(len(facts), self.degraded or "the store is failing")
            if self._ahead_bytes > QUEUE_BYTES:
                raise self._unavailable(len(facts), "the journal's queue is full", "queue")
            raws: list[bytes] = list(map(raw_of, facts))
            screening = self.board.ids.screen(facts, raws)
            if len(screening.fresh) < len(facts):
                facts = [facts[index] for index in screening.fresh]
                raws = [raws[index] for index in screening.fresh]
            now = self.clock.now()
            if len(facts) <= LARGE:
                row = self.folding.at_once(facts, raws, now)
            else:
                try:
                    row = await self.folding.with_pauses(facts, raws, now)
                except Overtaken:
                    raise self._unavailable(len(facts), self.degraded or "the store failed") from None
            # A duplicate's first may still be on its way: its acknowledgement waits behind it, with an empty row.
            return facts, screening, self._send(row, has_events=True)

    def _unavailable(self, facts: int, why: str, reason: str = "store") -> StoreUnavailable:
        self.meters.count("monitor_events_refused_total", facts, reason=reason)
        return StoreUnavailable(why, RETRY_LAST)

    async def tick(self) -> None:
        """Judges the rules that time alone can change, and records the transitions."""
        async with self.folding.turn:
            verdicts = traced(self.judge.due(self.board, self.clock.now()))
            batch = self._put_own(verdicts) if verdicts else None
        await self._written(batch)

    async def _record_own(self, facts: Sequence[Fact]) -> None:
        if not facts:
            return
        async with self.folding.turn:
            batch = self._put_own(facts)
        await self._written(batch)

    def _put_own(self, facts: Sequence[Fact]) -> _Batch | None:
        """Own facts on the board, and on their way to the disk; published and owed while it fails."""
        row = self.folding.at_once(facts, None, self.clock.now())
        if not self.failing:
            return self._send(row, has_events=False)
        self._owe(row)
        self._publish(row.facts)
        return None

    async def _written(self, batch: _Batch | None) -> None:
        """Waits until own facts are durable, but not for a commit that hangs."""
        if batch is None:
            return
        finished, _ = await asyncio.wait({batch.done}, timeout=STALL_SECONDS)
        if not finished and not batch.settled:
            self._stall()
            batch.published = True
            self._publish(batch.row.facts)

    def _send(self, row: Row, *, has_events: bool) -> _Batch:
        size = size_of(row)
        if not has_events and self._ahead_bytes > QUEUE_BYTES:  # only while commits hang
            rest = without_samples(row)
            self._count_dropped(len(row.facts) - len(rest.facts))
            row, size = rest, size_of(rest)
        batch = _Batch(row, has_events=has_events, size=size)
        self._ahead.append(batch)
        self._ahead_bytes += size

        def write(db: sqlite3.Connection) -> None:
            if row.facts:
                self.pen.write(db, row)

        def settle(error: Exception | None) -> None:
            self._settle(batch, error)

        self.store.append(write, settle)
        return batch

    def _settle(self, batch: _Batch, error: Exception | None) -> None:
        if batch.settled:
            return
        if error is not None:
            self._lose(error)
            return
        self._ahead.popleft()
        self._ahead_bytes -= batch.size
        batch.settled = True
        self.seq += len(batch.row.facts)
        self.since_snapshot += len(batch.row.facts)
        if self._stalled:
            self._stalled = False
            self.say(None)
        if not batch.published:
            self._publish(batch.row.facts)
        if not batch.done.done():
            batch.done.set_result(None)

    # --- publishing ---------------------------------------------------------------------------------------

    def watch(self, listener: Callable[[Sequence[Fact]], None]) -> Callable[[], None]:
        """Has `listener` called on the loop after each commit with its facts and verdicts; returns the un-watch."""
        return self._publication.watch(listener)

    def wake_on(self, *types: type[Fact]) -> Wake:
        """A wake for facts of these types; it goes when nobody holds it any more."""
        return self._publication.wake_on(*types)

    def _publish(self, facts: Sequence[Fact]) -> None:
        deaf = self._publication.publish(facts)
        if deaf:
            self.meters.count("monitor_listener_failures_total", deaf)

    # --- failing and mending ------------------------------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        """A commit failed, and with it all that was folded after it."""
        lost = list(self._ahead)
        self._ahead.clear()
        self._ahead_bytes = 0
        self.losses += 1
        for batch in lost:
            batch.settled = True
            own = [fact for fact in batch.row.facts if not isinstance(fact, Event)]
            if own:
                self._owe(Row(own, None, batch.row.now))
                if not batch.published:
                    self._publish(own)
            if batch.done.done():
                continue
            if batch.has_events:
                self.meters.count("monitor_events_refused_total", len(batch.row.facts) - len(own), reason="store")
                batch.done.set_exception(StoreUnavailable(_reason(error), 1.0))
            else:
                batch.done.set_result(None)
        self.fail(error)

    def fail(self, error: Exception) -> None:
        """Board and store disagree, or the store's file is damaged: both are put in order in the background."""
        self.failing = True
        self._stalled = False
        self.say(_reason(error))
        self._mender.begin(corrupt=is_corruption(error))

    def _stall(self) -> None:
        if not self._stalled and not self.failing:
            self._stalled = True
            self.say(f"a commit has been under way for more than {STALL_SECONDS:g} s")

    def say(self, reason: str | None) -> None:
        """Tells the log and the meters how the store is."""
        if reason is None:
            log.info("the store takes writes again")
        elif self.degraded is None:
            log.error("the store fails; events are refused, alerts still leave", reason=reason)
        self.degraded = reason
        self.meters.set("monitor_store_degraded", 0.0 if reason is None else 1.0)

    def _owe(self, row: Row) -> None:
        self._count_dropped(self._mender.owed.add(row))

    def _count_dropped(self, facts: int) -> None:
        if facts:
            self.meters.count("monitor_facts_dropped_total", facts)

    async def settled(self) -> None:
        """Waits until nothing is on its way."""
        while self._ahead:
            await asyncio.wait({self._ahead[-1].done})

    def replaced(self, replayed: Replayed) -> None:
        """The board is another from now on: that which the store has."""
        # What was cached of the old series is void.
        replayed.board.series.generation += self.board.series.generation + 1
        self.board, self.seq, self.sealed = replayed.board, replayed.seq, replayed.sealed

    def paid(self, facts: int) -> None:
        """Facts that were owed are durable."""
        self.seq += facts
        self.since_snapshot += facts

    # --- the rest -----------------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Of facts that are on their way to the disk."""
        return self._ahead_bytes

    @property
    def owed(self) -> int:
        """Rows that the store has yet to take."""
        return len(self._mender.owed)

    @property
    def ahead(self) -> int:
        """Facts on the board that are not yet known to be durable."""
        return sum(len(batch.row.facts) for batch in self._ahead)

    @property
    def sound(self) -> bool:
        """Whether board and store agree, but for what is on its way."""
        return not self.failing

    def wants_snapshot(self, facts: int) -> bool:
        """Whether replay would take long by now, or heads grow beyond their bound."""
        return self.since_snapshot >= facts or len(self.board.series.crowded) > 0

    async def close(self) -> None:
        """Finishes what is under way, pays what is owed, takes a snapshot and closes the store."""
        await self._mender.close()
        if not self.failing and self.since_snapshot:
            try:
                await snapshot(self)
            except (sqlite3.Error, OSError) as error:
                log.warning("no snapshot at the end: the next start replays", reason=str(error))
        for close in self.readers:
            close()
        await self.store.close()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
