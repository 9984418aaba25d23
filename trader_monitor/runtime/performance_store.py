"""What the store knows of models' performance: what is kept of each version, and the runs. Rows in, rows out.

Functions that take `db` are for the writer's transactions (`Store.write`).
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.store import open_read_only

__all__ = ["RUNS", "keep_performance", "latest_performance", "memories", "performance_runs"]

RUNS = 1_000
"""Runs of a model version that are kept, the newest: one an hour, deflated to some 4 KB."""
EACH = 3600.0
MEMORIES = 2_000
"""Model versions that something is kept of; the one that was evaluated longest ago goes."""


def keep_performance(
    db: sqlite3.Connection, model: str, version: str, at: float, result: bytes, memory: bytes | None
) -> None:
    """Enters a run (the MessagePack of a `PerformanceResult`) and what is kept of the version (of a `Memory`), in
    one transaction: so no outcome is evidence twice. Of an hour the last run stays."""
    db.execute(
        "DELETE FROM performance_run WHERE model = ? AND version = ? AND at >= ?", (model, version, at - at % EACH)
    )
    body = zlib.compress(result, 1)
    db.execute(
        "INSERT INTO performance_run (model, version, at, crc, body) VALUES (?,?,?,?,?)",
        (model, version, at, zlib.crc32(body), body),
    )
    db.execute(
        "DELETE FROM performance_run WHERE model = ? AND version = ? AND id <= ("
        "SELECT id FROM performance_run WHERE model = ? AND version = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (model, version, model, version, RUNS),
    )
    if memory is not None:
        db.execute(
            "INSERT INTO performance_memory (model, version, at, crc, body) VALUES (?,?,?,?,?) ON CONFLICT"
            " (model, version) DO UPDATE SET at = excluded.at, crc = excluded.crc, body = excluded.body",
            (model, version, at, zlib.crc32(memory), memory),
        )
        db.execute(
            "DELETE FROM performance_memory WHERE id IN"
            " (SELECT id FROM performance_memory ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (MEMORIES,),
        )


def memories(path: Path) -> dict[tuple[str, str], bytes]:
    """What is kept, by model and version; empty bytes where it is damaged. Raises `sqlite3.Error`."""
    with closing(open_read_only(path)) as db:
        rows = db.execute("SELECT model, version, crc, body FROM performance_memory").fetchall()
    return {(model, version): body if zlib.crc32(body) == crc else b"" for model, version, crc, body in rows}


def performance_runs(
    path: Path, model: str, version: str, *, since: float | None = None, last: int | None = None
) -> list[bytes]:
    """The runs of a model version, the oldest first, each the MessagePack of a `PerformanceResult`.

    Raises `sqlite3.Error`, and `Damaged`.
    """
    sql = "SELECT crc, body FROM performance_run WHERE model = ? AND version = ? AND at >= ? ORDER BY id DESC LIMIT ?"
    low = -1e300 if since is None else since
    with closing(open_read_only(path)) as db:
        rows = db.execute(sql, (model, version, low, -1 if last is None else last)).fetchall()
    return [zlib.decompress(_whole(body, crc)) for crc, body in reversed(rows)]


def latest_performance(path: Path, model: str | None = None, *, since: float = -1e300) -> list[bytes]:
    """The newest run of each model version, by model and version. Raises `sqlite3.Error`, and `Damaged`."""
    sql = (
        "SELECT crc, body FROM performance_run"
        " WHERE id IN (SELECT max(id) FROM performance_run GROUP BY model, version)"
        " AND at >= ? AND (? IS NULL OR model = ?) ORDER BY model, version"
    )
    with closing(open_read_only(path)) as db:
        rows = db.execute(sql, (since, model, model)).fetchall()
    return [zlib.decompress(_whole(body, crc)) for crc, body in rows]


def _whole(body: bytes, crc: int) -> bytes:
    if zlib.crc32(body) != crc:
        raise Damaged("a record of a model's performance has another checksum than when it was written")
    return body
