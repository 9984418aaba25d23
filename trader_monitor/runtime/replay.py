"""Replay: the board as the journal tells it, from the newest sound snapshot and the batches after it.

The fold is the one that ran live. Verdicts are in the journal, so nothing is judged again. Where a batch was
written in a later boot than the one before, the board is rebased first, as it was then.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import structlog

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Event, Fact, Labels, Now
from trader_monitor.core.ids import Ids
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.snapshot import SnapshotError
from trader_monitor.runtime.rows import Damaged, encode, labels_by_id, last_seq, unpack
from trader_monitor.runtime.store import open_read_only
from trader_monitor.runtime.tiers import load_heads

T = TypeVar("T")

log = structlog.get_logger(__name__)

__all__ = ["Replayed", "Snapshot", "batches", "replay", "replay_file"]


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """A board without its samples, which the history has."""

    board: bytes
    ids: bytes
    metadata: dict[str, tuple[str, str, str]]


class Replayed(NamedTuple):
    """`seq` numbers the last fact, `facts` counts those folded after the snapshot, `damaged` the batches skipped."""

    board: Board
    seq: int
    facts: int
    damaged: int
    sealed: int = 0
    """The newest segment of ids that came from disk."""
    rebased: bool = False
    """The store was written in an earlier boot."""


class _Start(NamedTuple):
    board: Board
    seq: int
    boot: str | None
    sealed: int = 0


def replay(db: sqlite3.Connection, now: Now, boot: str, *, max_series: int = 50_000, salvage: bool = False) -> Replayed:
    """Rebuilds the board; raises `sqlite3.Error` or `Damaged`.

    With `salvage` what cannot be read is skipped and counted instead: for a file that was put aside.
    """
    db.execute("BEGIN")
    try:
        labels: dict[int, Labels] = _readable(lambda: labels_by_id(db), {}, salvage)
        start = _begin(db, labels, max_series, salvage)
        replayed = _tail(db, start, labels, now, boot, salvage)
        if start.seq == 0:
            _readable(lambda: load_heads(db, replayed.board.series, labels, now.wall), None, salvage)
        return replayed
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def replay_file(path: Path, now: Now, boot: str, *, max_series: int = 50_000, salvage: bool = False) -> Replayed:
    """The same from a file; with `salvage` an empty board where nothing can be read."""
    try:
        db = open_read_only(path)
        try:
            return replay(db, now, boot, max_series=max_series, salvage=salvage)
        finally:
            db.close()
    except sqlite3.Error:
        if not salvage:
            raise
        return Replayed(Board(SeriesStore(max_series=max_series)), 0, 0, 0)


def batches(
    db: sqlite3.Connection, labels: dict[int, Labels], after: int
) -> Iterator[tuple[int, Now, str, list[list[Fact]] | Damaged]]:
    """The batches behind the fact `after`: number of the last fact, when, in which boot, and what."""
    rows = db.execute(
        "SELECT seq + facts - 1, wall, mono, name, packed, batch.crc, body FROM batch JOIN boot ON boot.id = boot"
        " WHERE seq > ? ORDER BY seq",
        (after,),
    )
    for seq, wall, mono, name, packed, crc, body in rows:
        facts: list[list[Fact]] | Damaged
        try:
            if zlib.crc32(body) != crc:
                raise Damaged(f"the batch that ends at {seq} has another checksum than when it was written")
            facts = unpack(zlib.decompress(body) if packed else body, labels)
        except (Damaged, zlib.error) as error:
            facts = error if isinstance(error, Damaged) else Damaged(str(error))
        yield seq, Now(wall, mono), name, facts


def _begin(db: sqlite3.Connection, labels: dict[int, Labels], max_series: int, salvage: bool) -> _Start:
    """The newest snapshot that is whole, with the samples before it in the heads; else nothing."""
    damage: Exception | None = None
    rows: list[tuple[int, float, str, int, bytes]] = _readable(
        lambda: db.execute(
            "SELECT seq, wall, name, crc, body FROM snapshot JOIN boot ON boot.id = boot ORDER BY seq DESC"
        ).fetchall(),
        [],
        salvage,
    )
    for seq, wall, name, crc, body in rows:
        try:
            if zlib.crc32(body) != crc:
                raise Damaged(f"the snapshot at {seq} has another checksum than when it was written")
            snapshot = msgspec.msgpack.decode(zlib.decompress(body), type=Snapshot)
        except (Damaged, zlib.error, msgspec.MsgspecError) as error:
            damage = error
            continue
        series = SeriesStore(max_series=max_series)
        for metric, metadata in snapshot.metadata.items():
            series.describe(metric, *metadata)
        segments: dict[int, bytes] = _readable(lambda: _segments(db), {}, salvage)
        try:
            board = Board.load(snapshot.board, series, Ids.load(snapshot.ids, segments))
        except SnapshotError as error:  # of another version: the batches tell it all again
            log.warning("a snapshot is of another version", seq=seq, reason=str(error))
            continue
        _readable(lambda w=wall, s=series: load_heads(db, s, labels, w), None, salvage)  # type: ignore[misc]
        return _Start(board, seq, name, max(segments, default=0))
    if damage is not None and not salvage and not _complete(db):
        raise Damaged(str(damage))
    return _Start(Board(SeriesStore(max_series=max_series)), 0, None)


def _complete(db: sqlite3.Connection) -> bool:
    """Whether the batches go back to the first fact, so that no snapshot is needed."""
    first = db.execute("SELECT min(seq) FROM batch").fetchone()[0]
    return first == 1 or last_seq(db) == 0


def _segments(db: sqlite3.Connection) -> dict[int, bytes]:
    """Segments of ids; one that is damaged is forgotten, which can only let a duplicate through."""
    rows = db.execute("SELECT serial, crc, body FROM ids")
    return {serial: body for serial, crc, body in rows if zlib.crc32(body) == crc}


def _tail(
    db: sqlite3.Connection, start: _Start, labels: dict[int, Labels], now: Now, boot: str, salvage: bool
) -> Replayed:
    board, seq, life, sealed = start
    folded = damaged = 0
    try:
        for last, then, name, facts in batches(db, labels, seq):
            seq = last
            if isinstance(facts, Damaged):
                if not salvage:
                    raise facts
                damaged += 1
                continue
            if name != life and life is not None:
                board.rebase(then)
            life = name
            for step in facts:
                events = [fact for fact in step if isinstance(fact, Event) and fact.id is not None]
                if events:
                    board.ids.screen(events, [encode(event) for event in events])
                board.fold_many(step, then)
                folded += len(step)
    except sqlite3.Error:
        if not salvage:
            raise
        damaged += 1
    rebased = life is not None and life != boot
    if rebased:
        board.rebase(now)
    return Replayed(board, seq, folded, damaged, sealed, rebased)


def _readable(read: Callable[[], T], otherwise: T, salvage: bool) -> T:
    """What `read` gives, or `otherwise` where a file put aside does not."""
    try:
        return read()
    except (sqlite3.Error, Damaged, msgspec.MsgspecError):
        if not salvage:
            raise
        return otherwise
