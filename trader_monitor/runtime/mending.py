"""Mending: how board and store come together again after a commit failed.

The board is rebuilt by the same replay as at the start, so that it forgets what was not accepted; what the daemon
itself found out meanwhile is owed, folded again and written as soon as the disk takes it. A file that turns out
to be damaged is put aside and begun anew from what can be read of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import structlog

from trader_monitor.runtime.owed import Owed
from trader_monitor.runtime.replay import replay_file
from trader_monitor.runtime.rows import Damaged, Row
from trader_monitor.runtime.salvage import salvage
from trader_monitor.runtime.store import StoreBroken, is_corruption

if TYPE_CHECKING:
    from trader_monitor.runtime.journal import Journal

__all__ = ["RETRY_LAST", "Mender"]

RETRY_FIRST, RETRY_LAST = 0.1, 1.0
PROBE_BYTES = 64 << 10
MAX_RENEWALS = 3

log = structlog.get_logger(__name__)


class Mender:
    """Works only while the journal fails."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.owed = Owed()
        self._tainted = False
        self._corrupt = False
        self.salvaged: str | None = None
        """What to say once all is well again."""
        self._renewals = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self, *, corrupt: bool) -> None:
        """The board holds what the store does not."""
        self._tainted = True
        self._corrupt |= corrupt
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._mend(), name="journal mend")

    async def close(self) -> None:
        """Ends the attempts with one last try to write what is owed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.owed and not self._tainted:
            try:
                await self._pay()
            except (sqlite3.Error, OSError, StoreBroken) as error:
                log.error("facts were lost: the store failed to the end", rows=len(self.owed), reason=str(error))

    async def _mend(self) -> None:
        journal = self._journal
        delay = 0.0
        while journal.failing:
            try:
                if self._corrupt:
                    await self._renew()
                elif self._tainted:
                    await self._rebuild()
                await self._pay()
            except (sqlite3.Error, OSError, StoreBroken, Damaged) as error:
                self._corrupt |= is_corruption(error) or isinstance(error, Damaged)
                journal.say(f"{type(error).__name__}: {error}")
                delay = min(max(2 * delay, RETRY_FIRST), RETRY_LAST)
                await journal.clock.sleep(delay)

    async def _rebuild(self) -> None:
        """The board as the store has it, and on it what is owed."""
        journal = self._journal
        await journal.store.write(lambda db: None)  # the schema is there, and the writer has nothing in hand
        await journal.settled()
        replayed = await asyncio.to_thread(
            replay_file,
            journal.store.path,
            journal.clock.now(),
            journal.boot,
            max_series=journal.max_series,
            windows=journal.judge.windows,
        )
        for row in self.owed:
            replayed.board.fold_many(row.facts, row.now)
        journal.replaced(replayed)
        self._tainted = False

    async def _renew(self) -> None:
        """A new file in the place of the damaged one, with what can be read of that, and the board from it.

        A file that is damaged again at once is not salvaged again: the board at hand is what there is.
        """
        journal = self._journal
        self._renewals += 1
        if self._renewals > MAX_RENEWALS:
            raise OSError("the store was damaged again and again in this life: replace the disk, then restart")
        aside = await journal.store.renew()
        await journal.settled()
        journal.history_revision += 1
        journal.since_snapshot = 1 << 40  # the new file knows too little of it yet
        if self._renewals == 1:
            salvaged = await salvage(aside, journal.store)
            self.salvaged = f"the store was damaged and put aside as {aside}; {salvaged.lost} rows of it are lost"
            self._corrupt = False
            await self._rebuild()
        else:
            self.salvaged = f"the store was damaged and put aside as {aside}"
        self._corrupt = self._tainted = False

    async def _pay(self) -> None:
        """Writes what is owed; a disk that takes nothing but that would fail at the next event, so a little more."""
        journal = self._journal
        while True:
            rows = self.owed.take()
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def write(db: sqlite3.Connection, rows: list[Row] = rows) -> None:
                db.execute("INSERT OR REPLACE INTO probe VALUES (1, randomblob(?))", (PROBE_BYTES,))
                for row in rows:
                    journal.pen.write(db, row)

            def settle(error: Exception | None, done: asyncio.Future[None] = done) -> None:
                if done.done():
                    return
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

            journal.store.append(write, settle, mend=True)
            try:
                await done
            except BaseException:
                self.owed.put_back(rows)
                journal.losses = journal.store.failures
                raise
            journal.paid(sum(len(row.facts) for row in rows))
            if not self.owed:
                journal.failing = False
                journal.say(self.salvaged)
                return
