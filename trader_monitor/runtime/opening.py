"""Opening: how a journal begins, whatever state its store is in."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import structlog

from trader_monitor.core.board import Board
from trader_monitor.core.series import SeriesStore
from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.judging import Judge, Unjudged
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.replay import Replayed, replay_file
from trader_monitor.runtime.rows import Damaged, Pen
from trader_monitor.runtime.salvage import Salvaged, salvage
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import Store, is_corruption

__all__ = ["open_journal"]

log = structlog.get_logger(__name__)


async def open_journal(
    path: Path, *, clock: Clock, meters: Meters, judge: Judge | None = None, max_series: int = 50_000
) -> Journal:
    """Opens the store and replays it. Raises `StoreLocked` or `SchemaNewer`; any other trouble is survived.

    A corrupt file is put aside, what can be read of it is kept, and `degraded` says so. A disk that fails
    leaves the journal degraded, with an empty board until it works.
    """
    boot = _boot_id()
    now = clock.now()
    judge = judge or Unjudged()
    store = await asyncio.to_thread(Store, path)
    pen = Pen(boot)
    store.ended, store.renewed = pen.ended, pen.renewed
    trouble: Exception | None = store.failure
    salvaged: Salvaged | None = None
    replayed = Replayed(Board(SeriesStore(max_series=max_series, windows=judge.windows)), 0, 0)
    try:
        if trouble is None and store.quarantined is None:
            replayed = await asyncio.to_thread(
                replay_file, path, now, boot, max_series=max_series, windows=judge.windows
            )
    except (sqlite3.Error, OSError, Damaged) as error:
        if is_corruption(error) or isinstance(error, Damaged):
            await store.renew()
        else:
            trouble = error
    if store.quarantined is not None and trouble is None:
        salvaged = await salvage(store.quarantined, store)
        try:
            replayed = await asyncio.to_thread(
                replay_file, path, now, boot, max_series=max_series, windows=judge.windows
            )
        except (sqlite3.Error, OSError, Damaged) as error:
            log.error("what was salvaged cannot be replayed", reason=_reason(error))
    journal = Journal(store, pen, replayed, clock, meters, boot)
    journal.judge = judge
    if trouble is not None:
        journal.fail(trouble)
    elif salvaged is not None:
        journal.say(
            f"the store was damaged and put aside as {store.quarantined}; "
            f"{salvaged.kept} rows were kept, {salvaged.lost} lost"
        )
    if trouble is None and (replayed.rebased or salvaged is not None):
        journal.since_snapshot = 1 << 40  # what was rebased or salvaged has to be there at the next start
        try:
            await snapshot(journal)
        except (sqlite3.Error, OSError) as error:
            log.warning("no snapshot at the start: it is tried again", reason=_reason(error))
    return journal


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
