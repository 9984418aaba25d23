"""What the store knows of models: baselines, the detectors' states and the runs of drift. Rows in, rows out.

A set of baselines comes in pieces, under a token, and replaces the one before in one transaction when it is whole;
with it goes the detectors' state, which was made of the old one. Functions that take `db` and change something are
for the writer's transactions (`Store.write`).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trader_monitor.runtime.prediction_rows import Damaged

__all__ = [
    "BaselineSet",
    "DetectorState",
    "Run",
    "abandon",
    "baseline_sets",
    "baselines",
    "commit",
    "detector_states",
    "keep_detectors",
    "keep_run",
    "rows_since",
    "runs",
    "stage",
]

RUNS = 2_000
"""Runs of a model version that are kept, the newest."""


class BaselineSet(NamedTuple):
    """The baselines of a model version: when they were set, and of how many features and outputs."""

    model: str
    version: str
    at: float
    features: int


class DetectorState(NamedTuple):
    """Detectors of some features as bytes, and the newest part of predictions that they have taken in."""

    id: int
    cursor: int
    body: bytes


class Run(NamedTuple):
    """A run of drift as bytes (the MessagePack of a `DriftRun`), and the newest part of predictions that it saw."""

    id: int
    at: float
    cursor: int
    body: bytes


def stage(
    db: sqlite3.Connection,
    model: str,
    version: str,
    token: str,
    at: float,
    bodies: Mapping[str, bytes],
    detectors: Mapping[str, bytes],
) -> None:
    """Enters pieces of a set: baselines by feature, and detectors by the first feature that they watch."""
    db.executemany(
        "INSERT OR REPLACE INTO baseline (model, version, feature, staged, at, crc, body) VALUES (?,?,?,?,?,?,?)",
        [(model, version, feature, token, at, zlib.crc32(body), body) for feature, body in bodies.items()],
    )
    db.executemany(
        "INSERT OR REPLACE INTO detector (model, version, part, staged, at, cursor, crc, body)"
        " VALUES (?,?,?,?,?,0,?,?)",
        [(model, version, part, token, at, zlib.crc32(body), body) for part, body in detectors.items()],
    )


def commit(db: sqlite3.Connection, model: str, version: str, token: str, at: float) -> int:
    """Puts a staged set in force; how many baselines it has. With none nothing is changed.

    Its detectors begin with the predictions that come from now on.
    """
    one = "WHERE model = ? AND version = ? AND staged = ?"
    (count,) = db.execute(f"SELECT count(*) FROM baseline {one}", (model, version, token)).fetchone()
    if not count:
        return 0
    newest = (
        "SELECT coalesce(max(prediction_batch.id), 0) FROM prediction_batch"
        " JOIN prediction_schema ON prediction_schema.id = schema WHERE model = ? AND version = ?"
    )
    (cursor,) = db.execute(newest, (model, version)).fetchone()
    for table in ("baseline", "detector"):
        db.execute(f"DELETE FROM {table} {one}", (model, version, ""))
        db.execute(f"UPDATE {table} SET staged = '', at = ? {one}", (at, model, version, token))
    db.execute(f"UPDATE detector SET cursor = ? {one}", (cursor, model, version, ""))
    return int(count)


def abandon(db: sqlite3.Connection, before: float) -> int:
    """Takes out what was staged before that time and never became a set."""
    tables = ("baseline", "detector")
    return sum(db.execute(f"DELETE FROM {each} WHERE staged <> '' AND at < ?", (before,)).rowcount for each in tables)


def baseline_sets(db: sqlite3.Connection) -> list[BaselineSet]:
    """All sets, by model and version."""
    sql = (
        "SELECT model, version, max(at), count(*) FROM baseline WHERE staged = ''"
        " GROUP BY model, version ORDER BY model, version"
    )
    return [BaselineSet(*row) for row in db.execute(sql)]


def baselines(
    db: sqlite3.Connection, model: str, version: str, features: Iterable[str] | None = None
) -> dict[str, bytes]:
    """The baselines of a model version (of these features) by feature. Raises Damaged."""
    sql = "SELECT feature, crc, body FROM baseline WHERE model = ? AND version = ? AND staged = ''"
    wanted = None if features is None else set(features)
    found: dict[str, bytes] = {}
    for feature, crc, body in db.execute(sql + " ORDER BY feature", (model, version)):
        if wanted is None or feature in wanted:
            found[feature] = _whole(body, crc, f"the baseline of {feature}")
    return found


def detector_states(db: sqlite3.Connection, model: str, version: str) -> list[DetectorState]:
    """The detectors of a model version. Raises Damaged."""
    sql = "SELECT id, cursor, crc, body FROM detector WHERE model = ? AND version = ? AND staged = '' ORDER BY id"
    rows = db.execute(sql, (model, version))
    return [DetectorState(key, cursor, _whole(body, crc, "a detector's state")) for key, cursor, crc, body in rows]


def keep_detectors(db: sqlite3.Connection, at: float, before: int, states: Iterable[DetectorState]) -> bool:
    """Writes state and cursor together, so that no row is taken in twice or never, whenever the daemon dies.

    False, and nothing is written, where they are others by now: `before` was their cursor.
    """
    sql = "UPDATE detector SET at = ?, cursor = ?, crc = ?, body = ? WHERE id = ? AND cursor = ?"
    states = list(states)
    there = "SELECT count(*) FROM detector WHERE id = ? AND cursor = ?"
    if not all(db.execute(there, (state.id, before)).fetchone()[0] for state in states):
        return False
    rows = [(at, state.cursor, zlib.crc32(state.body), state.body, state.id, before) for state in states]
    db.executemany(sql, rows)
    return True


def rows_since(db: sqlite3.Connection, model: str, version: str, cursor: int) -> int:
    """How many predictions of a model version came behind a part."""
    schemas = db.execute(
        "SELECT id FROM prediction_schema WHERE model = ? AND version = ?", (model, version)
    ).fetchall()
    sql = "SELECT coalesce(sum(rows), 0) FROM prediction_batch WHERE schema = ? AND id > ?"
    return sum(int(db.execute(sql, (schema, cursor)).fetchone()[0]) for (schema,) in schemas)


def keep_run(db: sqlite3.Connection, model: str, version: str, at: float, cursor: int, body: bytes) -> None:
    """Enters a run, and takes the oldest out beyond `RUNS`."""
    sql = "INSERT INTO drift_run (model, version, at, cursor, crc, body) VALUES (?,?,?,?,?,?)"
    db.execute(sql, (model, version, at, cursor, zlib.crc32(body), body))
    db.execute(
        "DELETE FROM drift_run WHERE model = ? AND version = ? AND id <= ("
        "SELECT id FROM drift_run WHERE model = ? AND version = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (model, version, model, version, RUNS),
    )


def runs(
    db: sqlite3.Connection, model: str, version: str, *, since: float | None = None, last: int | None = None
) -> list[Run]:
    """The runs of a model version, the oldest first. Raises Damaged."""
    where = "model = ? AND version = ? AND at >= ?"
    sql = f"SELECT id, at, cursor, crc, body FROM drift_run WHERE {where} ORDER BY id DESC LIMIT ?"
    low = -1e300 if since is None else since
    rows = db.execute(sql, (model, version, low, -1 if last is None else last)).fetchall()
    return [Run(key, at, seen, _whole(body, crc, "a run of drift")) for key, at, seen, crc, body in reversed(rows)]


def _whole(body: bytes, crc: int, what: str) -> bytes:
    if zlib.crc32(body) != crc:
        raise Damaged(f"{what} has another checksum than when it was written")
    return body
