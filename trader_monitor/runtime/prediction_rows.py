"""Prediction rows: a batch's predictions by model version, their features as float32 under each other.

Names of features are written once per model version (`prediction_schema`); in the journal's batch a reference
stands for a part's rows, so that replay finds the same facts in the same order. Whoever wants one model's rows
reads the parts alone.
"""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from trader_monitor.core.facts import Prediction
from trader_monitor.core.models.features import Cells, coded, features_of, layout_of

__all__ = [
    "MAX_SCHEMAS",
    "MAX_SCHEMAS_EACH",
    "Columns",
    "Damaged",
    "Part",
    "Parts",
    "Schemas",
    "full",
    "insert",
    "opened",
    "parts_of",
]

MAX_SCHEMAS = 2_000
MAX_SCHEMAS_EACH = 64
"""Sets of features that a store knows, and that one model version may have had. What comes beyond is kept as an
event among the others, and not as rows."""

_DEFLATE_FROM = 512
_ENCODER = msgspec.msgpack.Encoder()
_NAMES = msgspec.msgpack.Decoder(tuple[str, ...] | None)
Names: TypeAlias = tuple[str, ...] | None
Key: TypeAlias = tuple[str, str, Names]


class Damaged(Exception):
    """What was read is not what was written."""


class Columns(msgspec.Struct, array_like=True):
    """Of a part's rows all but the features. `at` is float64; a list of one value says that all rows have it."""

    at: bytes
    output: list[float | str]
    ids: list[str | None]
    sources: list[str | None]
    subjects: list[str | None]
    labels: list[str | None]
    probability: list[float | None]
    confidence: list[float | None]
    horizon: list[float | None]
    contexts: list[dict[str, Any] | None]
    words: list[str]


_COLUMNS = msgspec.msgpack.Decoder(Columns)


class Part(NamedTuple):
    """The predictions of one schema in a batch; `places` are theirs in the batch, empty where they are all of it."""

    schema: int
    width: int
    rows: list[Prediction]
    features: list[bytes]
    places: array[int]


class Schemas:
    """The store's schemas. Belongs to the writer thread; what a transaction entered goes with its rollback."""

    def __init__(self) -> None:
        self._ids: dict[Key, int] = {}
        self._loaded = False
        self._each: dict[tuple[str, str], int] = {}
        self.unlisted = 0
        """Predictions that were kept as events, because there were too many schemas."""

    def __len__(self) -> int:
        return len(self._ids)

    def id(self, db: sqlite3.Connection, key: Key) -> int | None:
        """The schema's id, a new one entered in the present transaction; None where there are too many."""
        if not self._loaded:
            self._load(db)
        known = self._ids.get(key)
        if known is not None:
            return known
        model, version, names = key
        if len(self._ids) >= MAX_SCHEMAS or self._each.get((model, version), 0) >= MAX_SCHEMAS_EACH:
            return None
        raw = _ENCODER.encode(names)
        sql = "INSERT INTO prediction_schema (model, version, crc, names) VALUES (?,?,?,?)"
        entered = db.execute(sql, (model, version, zlib.crc32(raw), raw)).lastrowid
        assert entered is not None
        self._ids[key] = entered
        self._each[model, version] = self._each.get((model, version), 0) + 1
        return entered

    def _load(self, db: sqlite3.Connection) -> None:
        self._ids.clear()
        self._each.clear()
        for schema, model, version, raw in db.execute("SELECT id, model, version, names FROM prediction_schema"):
            self._ids[model, version, _NAMES.decode(raw)] = schema
            self._each[model, version] = self._each.get((model, version), 0) + 1
        self._loaded = True

    def forget(self, db: sqlite3.Connection) -> int:
        """Takes those out, in the present transaction, of which no row is left; returns how many."""
        unused = "NOT EXISTS (SELECT 1 FROM prediction_batch WHERE schema = prediction_schema.id)"
        gone = db.execute(f"DELETE FROM prediction_schema WHERE {unused}").rowcount
        if gone:
            self._loaded = False
        return gone

    def ended(self, committed: bool) -> None:
        """The transaction was committed, or nothing of it ever was."""
        if not committed:
            self._loaded = False


def parts_of(
    db: sqlite3.Connection, schemas: Schemas, predictions: Sequence[tuple[int, Prediction, bytes]], facts: int
) -> tuple[list[Part], list[tuple[int, Prediction]]]:
    """A step's predictions, each with its place among so many facts, by schema; and those that get none."""
    groups: dict[Key, Part] = {}
    rest: list[tuple[int, Prediction]] = []
    for place, prediction, row in predictions:
        features = prediction.features
        key = (prediction.model, prediction.version, None if features is None else layout_of(features).names)
        part = groups.get(key)
        if part is None:
            schema = schemas.id(db, key)
            if schema is None:
                rest.append((place, prediction))
                continue
            part = groups[key] = Part(schema, len(key[2] or ()), [], [], array("i"))
        part.rows.append(prediction)
        part.features.append(row)
        part.places.append(place)
    schemas.unlisted += len(rest)
    parts = [part._replace(places=array("i")) if len(part.rows) == facts else part for part in groups.values()]
    return parts, rest


def insert(db: sqlite3.Connection, key: int, part: Part) -> None:
    """Enters a part's rows into the present transaction."""
    matrix, words = coded(part.features, part.width)
    rows = part.rows
    at = array("d", [row.at for row in rows])
    columns = Columns(
        at.tobytes(),
        _column([row.output for row in rows]),
        _column([row.id for row in rows]),
        _column([row.source for row in rows]),
        _column([row.subject for row in rows]),
        _column([row.label for row in rows]),
        _column([row.probability for row in rows]),
        _column([row.confidence for row in rows]),
        _column([row.horizon_seconds for row in rows]),
        _column([row.context for row in rows]),
        words,
    )
    rest = _ENCODER.encode(columns)
    packed = len(rest) >= _DEFLATE_FROM
    body = matrix + (zlib.compress(rest, 1) if packed else rest)
    db.execute(
        "INSERT INTO prediction_batch (id, schema, rows, t0, t1, packed, crc, body) VALUES (?,?,?,?,?,?,?,?)",
        (key, part.schema, len(rows), min(at), max(at), packed, zlib.crc32(body), body),
    )


def _column(values: list[Any]) -> list[Any]:
    """One value where all are that."""
    first = values[0]
    return [first] if values.count(first) == len(values) else values


def opened(body: bytes, rows: int, width: int, packed: int, crc: int) -> tuple[bytes, Columns]:
    """The features' bytes and the other columns of a part. Raises Damaged."""
    if zlib.crc32(body) != crc:
        raise Damaged("predictions have another checksum than when they were written")
    size = 4 * rows * width
    try:
        rest = zlib.decompress(memoryview(body)[size:]) if packed else memoryview(body)[size:]
        return body[:size], _COLUMNS.decode(rest)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Damaged(f"predictions do not decode: {error}") from error


def full(column: list[Any], rows: int) -> list[Any]:
    """A column with a value for each row."""
    return column * rows if len(column) == 1 else column


class Parts:
    """The parts of batches, as predictions again. `db` is read, within whatever transaction it is in."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._schemas: dict[int, Key] = {}

    def schema(self, key: int) -> Key | None:
        if key not in self._schemas:
            for schema, model, version, raw in self._db.execute(
                "SELECT id, model, version, names FROM prediction_schema"
            ):
                self._schemas[schema] = (model, version, _NAMES.decode(raw))
        return self._schemas.get(key)

    def read(self, seq: int, number: int) -> list[Prediction]:
        """The predictions of a batch's part; none where it was lost with a damaged file. Raises Damaged."""
        sql = "SELECT schema, rows, packed, crc, body FROM prediction_batch WHERE id = ?"
        found = self._db.execute(sql, (seq + number,)).fetchone()
        if found is None or (schema := self.schema(found[0])) is None:
            return []
        _, rows, packed, crc, body = found
        model, version, names = schema
        matrix, columns = opened(body, rows, len(names or ()), packed, crc)
        cells: Cells = np.frombuffer(matrix, "<u4").reshape(rows, len(names or ()))
        features: list[Any] = [None] * rows if names is None else features_of(cells, names, columns.words)
        at = array("d")
        at.frombytes(columns.at)
        rest = zip(
            *(full(column, rows) for column in (columns.output, columns.ids, columns.sources, columns.subjects)),
            *(full(column, rows) for column in (columns.labels, columns.probability, columns.confidence)),
            *(full(column, rows) for column in (columns.horizon, columns.contexts)),
            strict=True,
        )
        return [
            Prediction(
                at=moment,
                id=id,
                context=context,
                model=model,
                version=version,
                output=output,
                source=source,
                subject=subject,
                features=given,
                label=label,
                probability=probability,
                confidence=confidence,
                horizon_seconds=horizon,
            )
            for moment, given, (output, id, source, subject, label, probability, confidence, horizon, context) in zip(
                at, features, rest, strict=True
            )
        ]
