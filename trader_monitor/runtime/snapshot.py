"""Snapshot: the board to disk, with the samples that are only in memory, so that replay begins there.

The board is dumped at one moment on the loop. Samples are gathered after it, in slices that let others run: what
came in between is in the tail too, and of equal times replay and history keep the last. Encoding is done in a
thread, the rest in one transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import Floats, SeriesStore, Times
from trader_monitor.runtime.replay import Snapshot
from trader_monitor.runtime.tiers import Fresh, flushed, insert

if TYPE_CHECKING:
    from trader_monitor.runtime.journal import Journal

__all__ = ["snapshot"]

KEPT = 2
_SLICE = 500


class _Outdated(Exception):
    """A commit failed since the dump: what was dumped may never have been accepted."""


async def snapshot(journal: Journal) -> bool:
    """Writes a snapshot; False where journal and store disagree just now. Raises the disk's errors."""
    async with journal.folding.turn:  # no batch is on the board by half
        if not journal.sound:
            return False
        board, losses, now = journal.board, journal.losses, journal.clock.now()
        series = board.series
        seq = journal.seq + journal.ahead
        metadata = {name: (known.kind, known.help, known.unit) for name, known in series.metadata.items()}
        body = msgspec.msgpack.encode(Snapshot(board.dump(), board.ids.dump(), metadata))
        segments, oldest = board.ids.sealed(journal.sealed), board.ids.oldest()
    gathered = await _gather(series)
    body = await asyncio.to_thread(zlib.compress, body, 1)
    keys = await journal.store.write(lambda db: journal.pen.catalog.ids(db, [each[1] for each in gathered]))
    blocks = await asyncio.to_thread(
        lambda: flushed(Fresh(key, t, v) for key, (_, _, t, v) in zip(keys, gathered, strict=True))
    )

    def write(db: sqlite3.Connection) -> None:
        if journal.store.failures != losses or journal.pen.seq(db) < seq:
            raise _Outdated
        insert(db, blocks)
        db.execute(
            "INSERT OR REPLACE INTO snapshot (seq, wall, mono, boot, crc, body) VALUES (?,?,?,?,?,?)",
            (seq, *now, journal.pen.boot(db), zlib.crc32(body), body),
        )
        db.executemany(
            "INSERT OR REPLACE INTO ids (serial, crc, body) VALUES (?,?,?)",
            ((serial, zlib.crc32(segment), segment) for serial, segment in segments.items()),
        )
        db.execute("DELETE FROM ids WHERE serial < ?", (oldest,))
        newest = "SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?"
        db.execute(f"DELETE FROM snapshot WHERE seq NOT IN ({newest})", (KEPT,))

    try:
        await journal.store.write(write)
    except _Outdated:
        return False
    journal.history_revision += 1
    journal.sealed = max(segments, default=journal.sealed)
    journal.since_snapshot = max(journal.seq - seq, 0)
    journal.meters.count("monitor_snapshots_total")
    if journal.board is board:
        await _mark(series, gathered)
    return True


_Gathered = tuple[int, Labels, Times, Floats]


async def _gather(series: SeriesStore) -> list[_Gathered]:
    """Copies of what is in memory alone."""
    gathered: list[_Gathered] = []
    for place, sid in enumerate(series.sids()):
        t, v = series.unflushed(sid)
        if len(t):
            gathered.append((sid, series.labels_of(sid), t.copy(), v.copy()))
        if place % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    return gathered


async def _mark(series: SeriesStore, gathered: list[_Gathered]) -> None:
    """Says what is on disk; not what was put in or replaced meanwhile."""
    for place, (sid, _, t, v) in enumerate(gathered):
        now_t, now_v = series.window(sid, int(t[0]) - 1, int(t[-1]))
        length = min(len(t), len(now_t))
        same = (now_t[:length] == t[:length]) & (now_v[:length].view(np.int64) == v[:length].view(np.int64))
        agreed = length if same.all() else int(np.argmin(same))
        if agreed:
            series.mark_flushed(sid, int(t[agreed - 1]))
        if place % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
