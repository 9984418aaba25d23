"""Retain: what is on disk stays small and quick to start from.

Snapshots (with which samples go to the history), merging of blocks, retention, and SQLite's own housekeeping. The
heavy work is in threads, and what is written comes in pieces, so that no commit waits long behind it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from trader_monitor.core.series import NEVER, stale_mask
from trader_monitor.runtime.gauges import measure
from trader_monitor.runtime.model_store import abandon
from trader_monitor.runtime.rows import Damaged, unused
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import is_corruption
from trader_monitor.runtime.tiers import (
    MINUTE,
    QUARTER,
    RAW,
    Merge,
    NewBlock,
    merge,
    merges_due,
    put_damaged_aside,
    replace_blocks,
)

if TYPE_CHECKING:
    from trader_monitor.config.tables import Store as StoreTable
    from trader_monitor.core.facts import Labels, Now
    from trader_monitor.runtime.env import Env
    from trader_monitor.runtime.journal import Journal

__all__ = ["expire", "forget_silent", "forget_unused", "house_keeping", "merge_all", "retain"]

log = structlog.get_logger(__name__)

EVERY = 1.0
SNAPSHOT_EVERY = 300.0
SNAPSHOT_FACTS = 50_000
HOUSE_EVERY = 60.0
STAGED_FOR = 3600.0
"""Seconds after which baselines that never became a whole set are taken out."""
ENDED_MS, SILENT_MS = 3_600_000, 86_400_000
_PIECE = 200
_SILENT, _SLICE = 2_000, 500
_CATALOG_PIECE = 2_000


async def retain(env: Env) -> None:
    """Runs for ever. A disk that fails now is tried again the next time; the journal says so meanwhile."""
    journal = env.journal
    start = env.clock.now().mono
    snapshot_at, house_at = start + SNAPSHOT_EVERY, start + HOUSE_EVERY
    while True:
        await env.clock.sleep(EVERY)
        measure(journal)
        now = env.clock.now()
        try:
            if journal.wants_snapshot(SNAPSHOT_FACTS) or now.mono >= snapshot_at:
                snapshot_at = now.mono + SNAPSHOT_EVERY
                await snapshot(journal)
            if now.mono >= house_at and journal.sound:
                house_at = now.mono + HOUSE_EVERY
                await merge_all(journal, now)
                await expire(journal, env.config().store, now)
                await forget_silent(journal, now)
                await forget_unused(journal)
                await house_keeping(journal)
        except (sqlite3.Error, OSError, Damaged) as error:
            env.meters.count("monitor_retain_failures_total")
            if is_corruption(error) and journal.sound:
                journal.fail(error)
            log.warning("the store could not be kept in order", reason=f"{type(error).__name__}: {error}")
        env.progress.beat("retain")


async def merge_all(journal: Journal, now: Now) -> int:
    """Merges all blocks that are due; returns how many merges there were."""
    done = 0
    while due := await asyncio.to_thread(_due, journal, now):
        for each in due:
            try:
                gone, come = await asyncio.to_thread(_merged, journal, each)
            except Damaged as error:
                aside = await journal.store.write(put_damaged_aside)
                log.error("blocks of the history are damaged and put aside", blocks=aside, reason=str(error))
                if not aside:
                    raise
                journal.history_revision += 1
                break
            await journal.store.write(partial(replace_blocks, gone=gone, come=come))
            journal.history_revision += 1
            done += 1
    return done


def _due(journal: Journal, now: Now) -> list[Merge]:
    with closing(journal.store.reader()) as db:
        return merges_due(db, int(now.wall * 1000))


def _merged(journal: Journal, due: Merge) -> tuple[list[int], list[NewBlock]]:
    with closing(journal.store.reader()) as db:
        return merge(db, due)


async def expire(journal: Journal, store: StoreTable, now: Now) -> int:
    """Deletes what is beyond its retention, piece by piece; returns how many rows went.

    Batches go only when a snapshot stands for them, those of samples alone as soon as one does; raw blocks only
    when the coarser tiers hold their day.
    """
    ms = now.wall * 1000
    gone = 0
    for tier, keep in ((RAW, store.raw), (MINUTE, store.minute), (QUARTER, store.quarter)):
        gone += await _delete(journal, "block", "tier = ? AND rolled = 1 AND t1 < ?", (tier, ms - keep * 1000))
    stands = "seq <= (SELECT min(seq) FROM snapshot)"
    gone += await _delete(journal, "batch", f"samples_only = 1 AND {stands}", ())
    went = await _delete(journal, "batch", f"wall < ? AND {stands}", (now.wall - store.retention,))
    if went:  # and with them, by a trigger, their predictions
        await journal.store.write(journal.pen.schemas.forget)
    gone += await journal.store.write(partial(abandon, before=now.wall - STAGED_FOR))
    return gone + went


async def _delete(journal: Journal, table: str, where: str, values: tuple[float, ...]) -> int:
    """Rows that satisfy `where`, a few in each transaction."""
    sql = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {where} LIMIT {_PIECE})"
    gone = 0
    while True:
        piece = await journal.store.write(lambda db: db.execute(sql, values).rowcount)
        gone += piece
        if table == "block" and piece:
            journal.history_revision += 1
        if piece < _PIECE:
            return gone


async def forget_silent(journal: Journal, now: Now) -> int:
    """Takes series out of memory that ended an hour ago or are silent for a day; the history keeps them.

    Returns how many. A few at a time: room for new ones is needed sometime, not at once.
    """
    series = journal.board.series
    wall = int(now.wall * 1000)
    sids = np.array(series.sids(), np.int64)
    newest = series.last_t[sids]
    ended = stale_mask(series.last_v[sids]) & (newest < wall - ENDED_MS)
    gone = sids[(newest > NEVER) & (ended | (newest < wall - SILENT_MS))].tolist()
    forgotten = 0
    for start in range(0, min(len(gone), _SILENT), _SLICE):
        flushed = [sid for sid in gone[start : start + _SLICE] if not len(series.unflushed(sid)[0])]
        series.forget(flushed)
        forgotten += len(flushed)
        await asyncio.sleep(0)
    return forgotten


async def forget_unused(journal: Journal) -> int:
    """Takes label sets out of the store of which neither memory nor a block holds anything; returns how many.

    Whatever was folded before the look at the board is written before they go, and what comes after is entered anew.
    """
    candidates = await asyncio.to_thread(_unused, journal)
    series = journal.board.series
    gone = [each for each in candidates if series.find(each[1]) < 0]
    return await journal.store.write(lambda db: journal.pen.catalog.forget(db, gone)) if gone else 0


def _unused(journal: Journal) -> list[tuple[int, Labels]]:
    with closing(journal.store.reader()) as db:
        return unused(db, _CATALOG_PIECE)


async def house_keeping(journal: Journal) -> None:
    """Gives pages that are free back to the disk, and empties the log into the file."""

    def vacuum(db: sqlite3.Connection) -> None:
        free = db.execute("PRAGMA freelist_count").fetchone()[0]
        for _ in range(min(free, _PIECE)):  # the module steps such a statement once: a page each
            db.execute("PRAGMA incremental_vacuum(1)")

    await journal.store.write(vacuum)
    await journal.store.checkpoint()
