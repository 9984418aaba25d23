"""Salvage: what can be read of a damaged store, row by row, into the new one that took its place.

First what the board is made of, then facts and blocks, the newest first, so that a disk without room for all keeps
what matters most. A row that cannot be read, or whose checksum is another, stays behind in the old file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from trader_monitor.core.facts import Labels
from trader_monitor.runtime.rows import last_seq
from trader_monitor.runtime.store import Store, open_read_only

__all__ = ["Salvaged", "salvage"]

log = structlog.get_logger(__name__)

_PIECE = 64
_ROOM = 100_000
_LABELS = msgspec.msgpack.Decoder(Labels)


class _Table(NamedTuple):
    name: str
    columns: int
    newest_first: bool = False
    where: str = ""
    """What must hold for a row (?1 is its first column) to be of any use."""


_BESIDE = "(SELECT seq + facts FROM batch WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1) > ?1"
"""The batch that it stands beside is there: the numbers of one that is lost are given anew."""


_TABLES = (
    _Table("boot", 2),
    _Table("series", 2),
    _Table("ids", 3),
    _Table("snapshot", 6),
    _Table("prediction_schema", 5),
    _Table("baseline", 8),
    _Table("detector", 9),
    _Table("performance_memory", 6),
    _Table("batch", 9, newest_first=True),
    _Table("prediction_batch", 8, newest_first=True, where=f"{_BESIDE} AND ?2 IN (SELECT id FROM prediction_schema)"),
    _Table("outcome_batch", 8, newest_first=True, where=_BESIDE),
    _Table("prediction_audit", 6, newest_first=True, where=_BESIDE),
    _Table("drift_run", 7, newest_first=True),
    _Table("block", 11, newest_first=True),
)


class Salvaged(NamedTuple):
    """Rows that were copied, and rows that are known to be lost; whole tables may be lost unseen."""

    kept: int
    lost: int


async def salvage(aside: Path, store: Store) -> Salvaged:
    """Copies what is readable; a disk that takes no more ends it early."""
    kept = lost = 0
    try:
        old = await asyncio.to_thread(open_read_only, aside)
    except sqlite3.Error:
        return Salvaged(0, 0)
    with closing(old):
        for table in _TABLES:
            keys = await asyncio.to_thread(_keys, old, table)
            for start in range(0, len(keys), _PIECE):
                piece = keys[start : start + _PIECE]
                rows = await asyncio.to_thread(_read, old, table, piece)
                lost += len(piece) - len(rows)
                try:
                    written = await store.write(partial(_write, table=table, rows=rows))
                except (sqlite3.Error, OSError) as error:
                    log.error("salvage ends early", table=table.name, reason=str(error))
                    return Salvaged(kept, lost)
                kept += written
                lost += len(rows) - written
        await store.write(_leave_room)
    return Salvaged(kept, lost)


def _keys(old: sqlite3.Connection, table: _Table) -> list[int]:
    """The table's row ids; from both ends, where the middle cannot be read."""
    found: dict[int, None] = {}
    for order in ("", "DESC"):
        try:
            for (key,) in old.execute(f"SELECT rowid FROM {table.name} ORDER BY rowid {order}"):
                found[key] = None
        except sqlite3.Error:
            continue
        break
    return sorted(found, reverse=table.newest_first)


def _read(old: sqlite3.Connection, table: _Table, keys: Sequence[int]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for key in keys:
        try:
            row = old.execute(f"SELECT * FROM {table.name} WHERE rowid = ?", (key,)).fetchone()
        except sqlite3.Error:
            continue
        if row is not None and _is_whole(table, row):
            rows.append(row)
    return rows


def _is_whole(table: _Table, row: tuple[Any, ...]) -> bool:
    """Whether it is what was written; the last column is the body, the one before it the checksum."""
    try:
        if table.name == "series":
            return bool(_LABELS.decode(row[1]))
        return table.columns == 2 or zlib.crc32(row[-1]) == row[-2]
    except (msgspec.MsgspecError, TypeError):
        return False


def _write(db: sqlite3.Connection, table: _Table, rows: Sequence[tuple[Any, ...]]) -> int:
    """How many rows were copied, or were there already: all, but for those that belong to what is lost."""
    marks = ",".join(f"?{number}" for number in range(1, table.columns + 1))
    if not table.where:
        db.executemany(f"INSERT OR IGNORE INTO {table.name} VALUES ({marks})", rows)
        return len(rows)
    sql = f"INSERT OR IGNORE INTO {table.name} SELECT {marks} WHERE {table.where}"
    return sum(db.execute(sql, row).rowcount for row in rows)


def _leave_room(db: sqlite3.Connection) -> None:
    """New series get ids beyond any that was lost, which blocks may still bear; and who has read predictions up to one
    that was lost goes on with the next that comes."""
    newest = db.execute("SELECT max(id) FROM series").fetchone()[0] or 0
    labels = msgspec.msgpack.encode((("__name__", "salvaged"), ("until", str(newest))))
    db.execute("INSERT OR IGNORE INTO series VALUES (?, ?)", (newest + _ROOM, labels))
    for table in ("detector", "drift_run"):
        db.execute(f"UPDATE {table} SET cursor = min(cursor, ?)", (last_seq(db),))
