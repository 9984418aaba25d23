"""Outcome rows: a batch's outcomes by model, beside the batch, so that a model's outcomes are found without the rest.

They stand in the batch too, which replay reads; here they are for the statistics, for as long as facts are kept. So
an outcome without a prediction waits no longer than that.
"""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trader_monitor.core.facts import Outcome
from trader_monitor.core.models.performance.outcomes import Outcomes
from trader_monitor.runtime.prediction_rows import Damaged, full
from trader_monitor.runtime.store import open_read_only

__all__ = ["MOST_ROWS", "newest", "read_outcomes", "write_outcomes"]

MOST_ROWS = 400_000
"""Outcomes that are read at once, the newest; some 300 bytes each in memory."""

_DEFLATE_FROM = 512
_ENCODER = msgspec.msgpack.Encoder()


class _Columns(msgspec.Struct, array_like=True):
    """`at` and `predicted_at` (NaN: none) are float64; a list of one value says that all rows have it."""

    at: bytes
    predicted_at: bytes
    actual: list[float | str]
    ids: list[str | None]
    sources: list[str | None]
    versions: list[str | None]
    subjects: list[str | None]


_DECODER = msgspec.msgpack.Decoder(_Columns)


def write_outcomes(db: sqlite3.Connection, seq: int, wall: float, outcomes: Iterable[Outcome]) -> None:
    """Enters the outcomes of a batch that begins with the fact `seq` into the present transaction."""
    by_model: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.model or "", []).append(outcome)
    for number, (model, rows) in enumerate(by_model.items()):
        at = array("d", [row.at for row in rows])
        none = float("nan")
        predicted_at = array("d", [none if row.predicted_at is None else row.predicted_at for row in rows])
        columns = _Columns(
            at.tobytes(),
            predicted_at.tobytes(),
            _column([row.actual for row in rows]),
            _column([row.prediction_id for row in rows]),
            _column([row.source for row in rows]),
            _column([row.version for row in rows]),
            _column([row.subject for row in rows]),
        )
        body = _ENCODER.encode(columns)
        packed = len(body) >= _DEFLATE_FROM
        body = zlib.compress(body, 1) if packed else body
        db.execute(
            "INSERT INTO outcome_batch (id, model, rows, t1, recorded, packed, crc, body) VALUES (?,?,?,?,?,?,?,?)",
            (seq + number, model, len(rows), max(at), wall, packed, zlib.crc32(body), body),
        )


def _column(values: list[Any]) -> list[Any]:
    """One value where all are that."""
    first = values[0]
    return [first] if values.count(first) == len(values) else values


def newest(path: Path) -> int:
    """The id of the newest part; 0 where there is none. Raises `sqlite3.Error`."""
    with closing(open_read_only(path)) as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM outcome_batch").fetchone()[0])


def read_outcomes(path: Path, model: str, since: float) -> Outcomes:
    """Outcomes with `at` >= since, or a few older ones, that name this model or none ("": those that name none
    alone), in the order in which they were recorded. Raises `sqlite3.Error`, and `Damaged`."""
    columns: dict[str, list[Any]] = {name: [] for name in Outcomes._fields}
    with closing(open_read_only(path)) as db:
        db.execute("BEGIN")
        for key in _newest_parts(db, {model, ""}, since):
            sql = "SELECT model, rows, recorded, packed, crc, body FROM outcome_batch WHERE id = ?"
            name, rows, recorded, packed, crc, body = db.execute(sql, (key,)).fetchone()
            found = _opened(body, packed, crc)
            at, predicted_at = array("d"), array("d")
            at.frombytes(found.at)
            predicted_at.frombytes(found.predicted_at)
            values: dict[str, Sequence[Any]] = {
                "prediction_ids": full(found.ids, rows),
                "sources": full(found.sources, rows),
                "models": [name or None] * rows,
                "versions": full(found.versions, rows),
                "subjects": full(found.subjects, rows),
                "predicted_at": predicted_at,
                "at": at,
                "recorded": [recorded] * rows,
                "actual": full(found.actual, rows),
            }
            for each, column in values.items():
                columns[each].extend(column)
    for each in ("predicted_at", "at", "recorded"):
        columns[each] = np.array(columns[each], np.float64)  # type: ignore[assignment]
    return Outcomes(**columns)  # type: ignore[arg-type]


def _newest_parts(db: sqlite3.Connection, models: set[str], since: float) -> list[int]:
    parts: list[tuple[int, int]] = []
    for model in models:
        sql = "SELECT id, rows FROM outcome_batch WHERE model = ? AND t1 >= ?"
        parts += db.execute(sql, (model, since)).fetchall()
    left = MOST_ROWS
    chosen = []
    for key, rows in sorted(parts, reverse=True):
        if left <= 0:
            break
        chosen.append(key)
        left -= rows
    return sorted(chosen)


def _opened(body: bytes, packed: int, crc: int) -> _Columns:
    if zlib.crc32(body) != crc:
        raise Damaged("outcomes have another checksum than when they were written")
    try:
        return _DECODER.decode(zlib.decompress(body) if packed else body)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Damaged(f"outcomes do not decode: {error}") from error
