"""Replay: the board as the journal tells it, from the newest sound snapshot and the batches after it.

The fold is the one that ran live. Verdicts are in the journal, so nothing is judged again. Where a batch was
written in a later boot than the one before, the board is rebased first, as it was then.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Event, Fact, Labels, Now
from trader_monitor.core.ids import Ids, raw_of
from trader_monitor.core.series import SeriesStore, Windows
from trader_monitor.core.snapshot import SnapshotError
from trader_monitor.runtime.prediction_rows import Parts
from trader_monitor.runtime.rows import Damaged, labels_by_id, last_seq, unpack
from trader_monitor.runtime.store import open_read_only
from trader_monitor.runtime.tiers import load_heads

log = structlog.get_logger(__name__)

__all__ = ["Replayed", "Snapshot", "batches", "replay", "replay_file"]


_BOOT = "coalesce(name, 'lost ' || boot)"
"""A boot whose row was damaged is another than the present one: what waits, waits its full time again."""


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """A board without its samples, which the history has."""

    board: bytes
    ids: bytes
    metadata: dict[str, tuple[str, str, str]]


class Replayed(NamedTuple):
    """`seq` numbers the last fact, `facts` counts those folded after the snapshot."""

    board: Board
    seq: int
    facts: int
    sealed: int = 0
    """The newest segment of ids that came from disk."""
    rebased: bool = False
    """The store was written in an earlier boot."""


class _Start(NamedTuple):
    board: Board
    seq: int
    boot: str | None
    sealed: int = 0


def replay(db: sqlite3.Connection, now: Now, boot: str, *, max_series: int = 50_000, windows: Windows = ()) -> Replayed:
    """Rebuilds the board, with as much of its series in memory as `windows` ask for.

    Raises `sqlite3.Error` or `Damaged`.
    """
    db.execute("BEGIN")
    try:
        labels = labels_by_id(db)
        start = _begin(db, labels, partial(SeriesStore, max_series=max_series, windows=windows))
        replayed = _tail(db, start, labels, now, boot)
        if start.seq == 0:
            load_heads(db, replayed.board.series, labels, now.wall)
        return replayed
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def replay_file(path: Path, now: Now, boot: str, *, max_series: int = 50_000, windows: Windows = ()) -> Replayed:
    """The same from a file."""
    with closing(open_read_only(path)) as db:
        return replay(db, now, boot, max_series=max_series, windows=windows)


def batches(
    db: sqlite3.Connection, labels: dict[int, Labels], after: int
) -> Iterator[tuple[int, Now, str, list[list[Fact]]]]:
    """The batches behind the fact `after`: number of the last fact, when, in which boot, and what, step by step.

    Raises `Damaged`.
    """
    rows = db.execute(
        f"SELECT seq, facts, wall, mono, {_BOOT}, packed, batch.crc, body FROM batch LEFT JOIN boot ON boot.id = boot"
        " WHERE seq > ? ORDER BY seq",
        (after,),
    )
    parts = Parts(db)
    for seq, facts, wall, mono, name, packed, crc, body in rows:
        if zlib.crc32(body) != crc:
            raise Damaged(f"the batch that begins at {seq} has another checksum than when it was written")
        steps = unpack(zlib.decompress(body) if packed else body, labels, partial(parts.read, seq))
        yield seq + facts - 1, Now(wall, mono), name, steps


def _begin(db: sqlite3.Connection, labels: dict[int, Labels], empty: Callable[[], SeriesStore]) -> _Start:
    """The newest snapshot that is whole, with the samples before it in the heads; else nothing."""
    damage: Exception | None = None
    rows = db.execute(
        f"SELECT seq, wall, {_BOOT}, crc, body FROM snapshot LEFT JOIN boot ON boot.id = boot ORDER BY seq DESC"
    ).fetchall()
    for seq, wall, name, crc, body in rows:
        try:
            if zlib.crc32(body) != crc:
                raise Damaged(f"the snapshot at {seq} has another checksum than when it was written")
            snapshot = msgspec.msgpack.decode(zlib.decompress(body), type=Snapshot)
        except (Damaged, zlib.error, msgspec.MsgspecError) as error:
            damage = error
            continue
        series = empty()
        for metric, metadata in snapshot.metadata.items():
            series.describe(metric, *metadata)
        segments = _segments(db)
        try:
            board = Board.load(snapshot.board, series, Ids.load(snapshot.ids, segments))
        except SnapshotError as error:  # of another version: the batches tell it all again
            log.warning("a snapshot is of another version", seq=seq, reason=str(error))
            continue
        load_heads(db, series, labels, wall)
        return _Start(board, seq, name, max(segments, default=0))
    if damage is not None and not _complete(db):
        raise Damaged(str(damage))
    return _Start(Board(empty()), 0, None)


def _complete(db: sqlite3.Connection) -> bool:
    """Whether the batches go back to the first fact, so that no snapshot is needed."""
    first = db.execute("SELECT min(seq) FROM batch").fetchone()[0]
    return first == 1 or last_seq(db) == 0


def _segments(db: sqlite3.Connection) -> dict[int, bytes]:
    """Segments of ids; one that is damaged is forgotten, which can only let a duplicate through."""
    rows = db.execute("SELECT serial, crc, body FROM ids")
    return {serial: body for serial, crc, body in rows if zlib.crc32(body) == crc}


def _tail(db: sqlite3.Connection, start: _Start, labels: dict[int, Labels], now: Now, boot: str) -> Replayed:
    board, seq, life, sealed = start
    folded = 0
    for last, then, name, steps in batches(db, labels, seq):
        seq = last
        if name != life and life is not None:
            board.rebase(then)
        life = name
        for step in steps:
            events = [fact for fact in step if isinstance(fact, Event) and fact.id is not None]
            if events:
                board.ids.screen(events, [raw_of(event) for event in events])
            board.fold_many(step, then)
            folded += len(step)
    rebased = life is not None and life != boot
    if rebased:
        board.rebase(now)
    return Replayed(board, seq, folded, sealed, rebased)
