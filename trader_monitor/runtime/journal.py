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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from trader_monitor.core.board import Board
from trader_monitor.core.facts import AlertChanged, Event, Fact, Now
from trader_monitor.core.series import SeriesStore, Touched
from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.owed import Owed, without_samples
from trader_monitor.runtime.publication import Publication, Wake
from trader_monitor.runtime.replay import Replayed, replay_file
from trader_monitor.runtime.rows import Damaged, Pen, Row, encode, size_of
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import Store, StoreBroken, is_corruption

__all__ = ["Journal", "Judge", "Recorded", "StoreUnavailable", "Unjudged", "Wake", "open_journal"]

QUEUE_BYTES = 32 << 20
STALL_SECONDS = 2.0
_RETRY_FIRST, _RETRY_LAST = 0.1, 1.0
_ROUNDS = 4
_PROBE_BYTES = 64 << 10

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


class Judge(Protocol):
    """The rules, pure: what changes for the alerts, given the board."""

    def touched(self, board: Board, touched: Touched, now: Now) -> list[AlertChanged]: ...

    def due(self, board: Board, now: Now) -> list[AlertChanged]: ...

    def next_due(self, board: Board, now: Now) -> float: ...


class Unjudged:
    """No rules."""

    def touched(self, board: Board, touched: Touched, now: Now) -> list[AlertChanged]:
        return []

    def due(self, board: Board, now: Now) -> list[AlertChanged]:
        return []

    def next_due(self, board: Board, now: Now) -> float:
        return float("inf")


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
        self.degraded: str | None = None
        self.since_snapshot = replayed.facts
        self.sealed = replayed.sealed
        """The newest segment of ids that is known to be on disk."""
        self.history_revision = 0
        """Grows when the blocks on disk change."""
        self._max_series = replayed.board.series.max_series
        self._ahead: deque[_Batch] = deque()
        self._ahead_bytes = 0
        self._owed = Owed()
        self._failing = False
        self._stalled = False
        self._tainted = False
        self._mending: asyncio.Task[None] | None = None
        self._publication = Publication()
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
        if self._failing or self._stalled:
            raise StoreUnavailable(self.degraded or "the store is failing", _RETRY_LAST)
        if self._ahead_bytes > QUEUE_BYTES:
            self.meters.count("monitor_events_refused_total", len(facts), reason="queue")
            raise StoreUnavailable("the journal's queue is full", 1.0)
        raws: list[bytes] = list(map(encode, facts))
        screening = self.board.ids.screen(facts, raws)
        if len(screening.fresh) < len(facts):
            facts = [facts[index] for index in screening.fresh]
            raws = [raws[index] for index in screening.fresh]
        # A duplicate's first may still be on its way: its acknowledgement waits behind it, with an empty row.
        batch = self._send(self._fold(facts, raws, self.clock.now()), has_events=True)
        await batch.done
        meters = self.meters
        meters.count("monitor_events_accepted_total", len(facts))
        if screening.duplicates:
            meters.count("monitor_events_duplicate_total", screening.duplicates)
        if screening.conflicts:
            meters.count("monitor_events_conflict_total", len(screening.conflicts))
        return Recorded(len(facts), screening.duplicates, screening.conflicts)

    async def tick(self) -> None:
        """Judges the rules that time alone can change, and records the transitions."""
        verdicts = self.judge.due(self.board, self.clock.now())
        if verdicts:
            await self._record_own(verdicts)

    async def _record_own(self, facts: Sequence[Fact]) -> None:
        if not facts:
            return
        row = self._fold(facts, None, self.clock.now())
        if self._failing:
            self._owe(row)
            self._publish(row.facts)
            return
        batch = self._send(row, has_events=False)
        finished, _ = await asyncio.wait({batch.done}, timeout=STALL_SECONDS)
        if not finished and not batch.settled:
            self._stall()
            batch.published = True
            self._publish(row.facts)

    def _fold(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """Facts into the board, and the verdicts that follow from them behind them."""
        try:
            self.board.fold_many(facts, now)
        except Exception as error:
            self._taint(f"a fact could not be folded: {error!r}")
            raise
        steps = [facts, *self._judged(now)]
        if len(steps) == 1:
            return Row(facts, raws, now)
        return Row([fact for step in steps for fact in step], raws, now, tuple(map(len, steps)))

    def _judged(self, now: Now) -> list[list[AlertChanged]]:
        """Verdicts on what was touched, folded; an alert's own series may touch further rules."""
        verdicts: list[list[AlertChanged]] = []
        for _ in range(_ROUNDS):
            touched = self.board.series.take_touched()
            if not touched.sids:
                break
            try:
                fresh = self.judge.touched(self.board, touched, now)
            except Exception:  # a rule that fails must not cost the facts; `tick` raises it to the supervisor
                self.meters.count("monitor_judge_failures_total")
                log.exception("rules could not be judged")
                break
            if not fresh:
                break
            self.board.fold_many(fresh, now)
            verdicts.append(fresh)
        return verdicts

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
            self._say(None)
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
        self._taint(_reason(error))

    def _taint(self, reason: str) -> None:
        """The board holds what the store does not: it has to be rebuilt."""
        self._failing = self._tainted = True
        self._stalled = False
        self._say(reason)
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend(), name="journal mend")

    def _stall(self) -> None:
        if not self._stalled and not self._failing:
            self._stalled = True
            self._say(f"a commit has been under way for more than {STALL_SECONDS:g} s")

    def _say(self, reason: str | None) -> None:
        if reason is None:
            log.info("the store takes writes again")
        elif self.degraded is None:
            log.error("the store fails; events are refused, alerts still leave", reason=reason)
        self.degraded = reason
        self.meters.set("monitor_store_degraded", 0.0 if reason is None else 1.0)

    def _owe(self, row: Row) -> None:
        self._count_dropped(self._owed.add(row))

    def _count_dropped(self, facts: int) -> None:
        if facts:
            self.meters.count("monitor_facts_dropped_total", facts)

    async def _mend(self) -> None:
        """Rebuilds the board, then tries to write what is owed, until both have worked."""
        delay = 0.0
        while self._failing:
            try:
                if self._tainted:
                    await self._rebuild()
                await self._pay()
            except (sqlite3.Error, OSError, StoreBroken, Damaged) as error:
                self._say(_reason(error))
                delay = min(max(2 * delay, _RETRY_FIRST), _RETRY_LAST)
                await self.clock.sleep(delay)

    async def _rebuild(self) -> None:
        await self.store.write(lambda db: None)  # the schema is there, and the writer has nothing in hand
        while self._ahead:
            await asyncio.wait({self._ahead[-1].done})
        replayed = await asyncio.to_thread(
            replay_file, self.store.path, self.clock.now(), self.boot, max_series=self._max_series
        )
        board = replayed.board
        board.series.generation += self.board.series.generation + 1  # what was cached of the old one is void
        for row in self._owed:
            board.fold_many(row.facts, row.now)
        self.board, self.seq, self.sealed, self._tainted = board, replayed.seq, replayed.sealed, False

    async def _pay(self) -> None:
        """Writes what is owed; a disk that takes nothing but that would fail at the next event, so a little more."""
        while True:
            rows = self._owed.take()
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def write(db: sqlite3.Connection, rows: list[Row] = rows) -> None:
                db.execute("INSERT OR REPLACE INTO probe VALUES (1, randomblob(?))", (_PROBE_BYTES,))
                for row in rows:
                    self.pen.write(db, row)

            def settle(error: Exception | None, done: asyncio.Future[None] = done) -> None:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

            self.store.append(write, settle, mend=True)
            try:
                await done
            except BaseException:
                self._owed.put_back(rows)
                self.losses = self.store.failures
                raise
            paid = sum(len(row.facts) for row in rows)
            self.seq += paid
            self.since_snapshot += paid
            if not self._owed:
                self._failing = False
                self._say(None)
                return

    # --- the rest -----------------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        return self._ahead_bytes

    @property
    def ahead(self) -> int:
        """Facts on the board that are not yet known to be durable."""
        return sum(len(batch.row.facts) for batch in self._ahead)

    @property
    def sound(self) -> bool:
        """Whether board and store agree, but for what is on its way."""
        return not self._failing and not self._tainted

    def wants_snapshot(self, facts: int) -> bool:
        """Whether replay would take long by now, or heads grow beyond their bound."""
        return self.since_snapshot >= facts or len(self.board.series.crowded) > 0

    def measure(self) -> None:
        """Sets the gauges; every second or so."""
        meters, store = self.meters, self.store
        meters.values[(("__name__", "monitor_commits_total"),)] = float(store.commits)
        meters.set("monitor_store_bytes", float(store.size()))
        meters.set("monitor_journal_queue_bytes", float(self._ahead_bytes))
        meters.set("monitor_journal_seq", float(self.seq))
        meters.set("monitor_store_owed", float(len(self._owed)))
        seconds = sorted(store.commit_seconds)
        if seconds:
            for quantile in ("0.5", "0.99"):
                at = min(int(float(quantile) * len(seconds)), len(seconds) - 1)
                meters.set("monitor_commit_seconds", seconds[at], quantile=quantile)

    async def close(self) -> None:
        """Finishes what is under way, pays what is owed, takes a snapshot and closes the store."""
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        if self._owed and not self._tainted:
            try:
                await self._pay()
            except (sqlite3.Error, OSError, StoreBroken) as error:
                log.error("facts were lost: the store failed to the end", rows=len(self._owed), reason=str(error))
        elif self.since_snapshot:
            try:
                await snapshot(self)
            except (sqlite3.Error, OSError) as error:
                log.warning("no snapshot at the end: the next start replays", reason=str(error))
        await self.store.close()


async def open_journal(
    path: Path, *, clock: Clock, meters: Meters, judge: Judge | None = None, max_series: int = 50_000
) -> Journal:
    """Opens the store and replays it. Raises `StoreLocked` or `SchemaNewer`; any other trouble is survived.

    A corrupt file is put aside, what can be read of it is kept, and `degraded` says so. A disk that fails
    leaves the journal degraded, with an empty board until it works.
    """
    boot = _boot_id()
    now = clock.now()
    store = await asyncio.to_thread(Store, path)
    pen = Pen(boot)
    store.ended = pen.ended
    trouble: str | None = None
    replayed: Replayed | None = None
    try:
        if store.failure is not None:
            raise store.failure
        if store.quarantined is None:
            replayed = await asyncio.to_thread(replay_file, path, now, boot, max_series=max_series)
    except (sqlite3.Error, OSError, Damaged) as error:
        if is_corruption(error) or isinstance(error, Damaged):
            await asyncio.to_thread(store.quarantine)
        else:
            trouble = _reason(error)
    salvaged = store.quarantined is not None
    if store.quarantined is not None:
        replayed = await asyncio.to_thread(
            replay_file, store.quarantined, now, boot, max_series=max_series, salvage=True
        )
    empty = Replayed(Board(SeriesStore(max_series=max_series)), 0, 0, 0)
    journal = Journal(store, pen, replayed or empty, clock, meters, boot)
    if judge is not None:
        journal.judge = judge
    if trouble is not None:
        journal._taint(trouble)
    elif salvaged:
        journal.seq = 0
        journal._say(f"the store was corrupt and was put aside as {store.quarantined}")
    return journal


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
