"""Predictions: what the store has of one model, as columns and a float32 matrix; read by any process.

A reader opens the file read-only and never keeps the writer waiting (SQLite's log lets both go on). Rows are there
as long as facts are (`[store] retention`). Of a model version with more than 64 sets of features, or in a store of
more than 2,000, the predictions of the further sets are events only and not found here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.models.features import MAX_WORDS, Cells, codes_of
from trader_monitor.runtime.prediction_rows import Columns, full, opened
from trader_monitor.runtime.store import open_read_only

__all__ = ["Known", "Predictions", "columns_of", "known", "news", "read"]

Floats: TypeAlias = NDArray[np.float64]
_NAMES = msgspec.msgpack.Decoder(tuple[str, ...] | None)
_NULL = np.uint32(0x7FC00000)
_PIECE = 500


class Known(NamedTuple):
    """A model version of which there are rows: how many, the times of the first and the last, and the newest part."""

    model: str
    version: str
    rows: int
    first_at: float
    last_at: float
    cursor: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """Rows in the order of `at` (of their coming, where they were asked for `after` a cursor).

    `matrix` is rows x `columns` of float32, NaN where a feature is null, a category or was not reported (`category`
    tells which). `output` is NaN where it is a text, which is in `texts` then. Probabilities, confidences and
    horizons (seconds) that were not given are NaN. `cursor` is that of the newest part that was looked at.
    """

    columns: tuple[str, ...]
    at: Floats
    matrix: NDArray[np.float32]
    output: Floats
    texts: list[str | None]
    label: list[str | None]
    probability: Floats
    confidence: Floats
    horizon: Floats
    subject: list[str | None]
    source: list[str | None]
    ids: list[str | None]
    versions: list[str]
    words: tuple[str, ...]
    cursor: int

    def __len__(self) -> int:
        return len(self.at)

    def codes(self, column: str) -> NDArray[np.int64]:
        """Of each row the place in `words` of a column's category; -1 where it is a number or null."""
        cells = np.ascontiguousarray(self.matrix[:, self.columns.index(column)]).view(np.uint32)
        return codes_of(cells) - 1

    def category(self, column: str) -> list[str | None]:
        """A column's categories; None where it is a number or null."""
        words = (*self.words, None)
        return [words[code] for code in self.codes(column).tolist()]

    def categorical(self) -> tuple[str, ...]:
        """The columns in which there is any category."""
        if not self.words:
            return ()
        found = (codes_of(self.matrix.view(np.uint32)) > 0).any(axis=0)
        return tuple(self.columns[column] for column in np.flatnonzero(found).tolist())


class _Place(NamedTuple):
    id: int
    schema: int
    rows: int


class _Schema(NamedTuple):
    version: str
    names: tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    """Parts of the same schema, in the order of their ids."""

    cells: list[bytes]
    rows: int = 0


def known(path: Path, model: str | None = None) -> list[Known]:
    """The model versions that there are rows of, by model and version. Raises `sqlite3.Error`."""
    sql = (
        "SELECT model, version, sum(rows), min(t0), max(t1), max(prediction_batch.id) FROM prediction_batch"
        " JOIN prediction_schema ON prediction_schema.id = schema"
        + (" WHERE model = ?" if model is not None else "")
        + " GROUP BY model, version ORDER BY model, version"
    )
    with closing(open_read_only(path)) as db:
        return [Known(*row) for row in db.execute(sql, () if model is None else (model,))]


def news(path: Path, after: int) -> list[Known]:
    """The same of the parts behind a cursor alone; it looks at no other."""
    sql = (
        "SELECT model, version, sum(rows), min(t0), max(t1), max(part.id) FROM"
        " (SELECT id, schema, rows, t0, t1 FROM prediction_batch WHERE id > ?) AS part"
        " JOIN prediction_schema ON prediction_schema.id = schema GROUP BY model, version ORDER BY model, version"
    )
    with closing(open_read_only(path)) as db:
        return [Known(*row) for row in db.execute(sql, (after,))]


def columns_of(path: Path, model: str, version: str, since: float, until: float) -> tuple[tuple[str, ...], int]:
    """The features that a version has in parts that reach into a time, and about how many rows those have."""
    sql = "SELECT schema, sum(rows) FROM prediction_batch WHERE schema = ? AND t1 >= ? AND t0 < ?"
    with closing(open_read_only(path)) as db:
        schemas = _schemas(db, model, version)
        found = [db.execute(sql, (schema, since, until)).fetchone() for schema in schemas]
    there = [(schemas[schema], rows) for schema, rows in found if rows]
    return _union(schema for schema, _ in there), sum(rows for _, rows in there)


def read(
    path: Path,
    model: str,
    version: str | None = None,
    *,
    since: float | None = None,
    until: float | None = None,
    last: int | None = None,
    after: int | None = None,
    columns: Sequence[str] | None = None,
) -> Predictions:
    """A model's rows with `since` <= at < `until`, of them the `last` that came; or the first that came `after`.

    `after` is a cursor (0 is before all); with it whole parts are read, `last` or a few more rows from there on,
    so that nothing is read twice or left out. `columns` chooses features (NaN where they were not reported);
    otherwise it is all that any row has, by name. Raises `sqlite3.Error`, and `Damaged`.
    """
    with closing(open_read_only(path)) as db:
        db.execute("BEGIN")
        schemas = _schemas(db, model, version)
        newest = after is None
        places = _newest(db, schemas, since, until, last) if newest else _following(db, schemas, after or 0, last)
        chosen = tuple(columns) if columns is not None else _union(schemas[place.schema] for place in places)
        found = _assembled(db, schemas, places, chosen)
    return _cut(found, since, until, last) if newest else found


def _schemas(db: sqlite3.Connection, model: str, version: str | None) -> dict[int, _Schema]:
    sql = "SELECT id, version, names FROM prediction_schema WHERE model = ?"
    rows = db.execute(
        sql + ("" if version is None else " AND version = ?"), (model, version)[: 1 + (version is not None)]
    )
    return {key: _Schema(version, _NAMES.decode(names) or ()) for key, version, names in rows}


def _union(schemas: Iterable[_Schema]) -> tuple[str, ...]:
    return tuple(sorted({name for names in {schema.names for schema in schemas} for name in names}))


def _newest(
    db: sqlite3.Connection, schemas: Iterable[int], since: float | None, until: float | None, last: int | None
) -> list[_Place]:
    """The parts within a time; of them, the newest that have `last` rows together."""
    low, high = -np.inf if since is None else since, np.inf if until is None else until
    sql = "SELECT id, rows, t0 >= ? AND t1 < ? FROM prediction_batch WHERE schema = ? AND t1 >= ? AND t0 < ?"
    places: list[_Place] = []
    for schema in schemas:
        enough = last
        for key, rows, is_within in db.execute(sql + " ORDER BY id DESC", (low, high, schema, low, high)):
            places.append(_Place(key, schema, rows))
            if enough is not None:
                enough -= rows if is_within else 0  # of a part at the edge, nobody knows how many are within
                if enough <= 0:
                    break
    return sorted(places)


def _following(db: sqlite3.Connection, schemas: Iterable[int], after: int, most: int | None) -> list[_Place]:
    """The parts behind a cursor; of them, the first that have `most` rows together."""
    sql = "SELECT id, rows FROM prediction_batch WHERE schema = ? AND id > ? ORDER BY id"
    places: list[_Place] = []
    for schema in schemas:
        left = most
        for key, rows in db.execute(sql, (schema, after)):
            places.append(_Place(key, schema, rows))
            if left is not None and (left := left - rows) <= 0:
                break
    places.sort()
    if most is None:
        return places
    for index, place in enumerate(places):
        most -= place.rows
        if most <= 0:
            return places[: index + 1]
    return places


def _bodies(db: sqlite3.Connection, places: Sequence[_Place]) -> Iterator[tuple[int, int, bytes]]:
    """Packed, checksum and body of each part, in their order."""
    for begin in range(0, len(places), _PIECE):
        keys = [place.id for place in places[begin : begin + _PIECE]]
        marks = ",".join("?" * len(keys))
        yield from db.execute(f"SELECT packed, crc, body FROM prediction_batch WHERE id IN ({marks}) ORDER BY id", keys)


def _assembled(
    db: sqlite3.Connection, schemas: dict[int, _Schema], places: Sequence[_Place], chosen: tuple[str, ...]
) -> Predictions:
    gathered: dict[int, _Gathered] = {}
    rest: list[Columns] = []
    owner = np.empty(sum(place.rows for place in places), np.int64)
    numbers: dict[str, int] = {}
    at_row = 0
    for place, (packed, crc, body) in zip(places, _bodies(db, places), strict=True):
        width = len(schemas[place.schema].names)
        matrix, columns = opened(body, place.rows, width, packed, crc)
        if columns.words:
            matrix = _renumbered(matrix, columns.words, numbers)
        mine = gathered.setdefault(place.schema, _Gathered([]))
        mine.cells.append(matrix)
        mine.rows += place.rows
        owner[at_row : at_row + place.rows] = place.schema
        at_row += place.rows
        rest.append(columns)
    cells: Cells = np.full((len(owner), len(chosen)), _NULL, np.uint32)
    for schema, mine in gathered.items():
        names = schemas[schema].names
        of_schema = np.frombuffer(b"".join(mine.cells), "<u4").reshape(mine.rows, len(names))
        if names == chosen and len(gathered) == 1:
            cells = of_schema
            break
        ours = [(column, names.index(name)) for column, name in enumerate(chosen) if name in names]
        rows = np.flatnonzero(owner == schema)
        if ours:
            to, of = map(list, zip(*ours, strict=True))
            cells[np.ix_(rows, to)] = of_schema[:, of]
    counts = [place.rows for place in places]

    def joined(column: list[list[Any]]) -> list[Any]:
        return list(chain.from_iterable(full(values, rows) for values, rows in zip(column, counts, strict=True)))

    outputs = joined([each.output for each in rest])
    texts = [output if isinstance(output, str) else None for output in outputs]
    versions = [schemas[schema].version for schema in owner.tolist()]
    return Predictions(
        columns=chosen,
        at=np.frombuffer(b"".join(each.at for each in rest), np.float64),
        matrix=cells.view(np.float32),
        output=_floats([None if isinstance(output, str) else output for output in outputs]),
        texts=texts,
        label=joined([each.labels for each in rest]),
        probability=_floats(joined([each.probability for each in rest])),
        confidence=_floats(joined([each.confidence for each in rest])),
        horizon=_floats(joined([each.horizon for each in rest])),
        subject=joined([each.subjects for each in rest]),
        source=joined([each.sources for each in rest]),
        ids=joined([each.ids for each in rest]),
        versions=versions,
        words=tuple(numbers),
        cursor=places[-1].id if places else 0,
    )


def _floats(values: list[float | None]) -> Floats:
    return np.array(values, np.float64)


def _renumbered(matrix: bytes, words: Sequence[str], numbers: dict[str, int]) -> bytes:
    """A part's categories by the numbers of the whole; those beyond `MAX_WORDS` become null."""
    cells = np.frombuffer(matrix, "<u4").copy()
    codes = codes_of(cells)
    new = np.array([0, *(numbers.setdefault(word, len(numbers) + 1) for word in words)], np.int64)
    new[new > MAX_WORDS] = 0
    has = codes > 0
    cells[has] = _NULL + new[codes[has]].astype(np.uint32)
    return cells.tobytes()


def _cut(found: Predictions, since: float | None, until: float | None, last: int | None) -> Predictions:
    """The rows within the time, of them the last that came, in the order of `at`."""
    at = found.at
    keep = np.ones(len(at), bool)
    if since is not None:
        keep &= at >= since
    if until is not None:
        keep &= at < until
    rows = np.flatnonzero(keep)
    if last is not None:
        rows = rows[max(len(rows) - last, 0) :]
    rows = rows[np.argsort(at[rows], kind="stable")]
    if len(rows) == len(at) and (rows[1:] > rows[:-1]).all():
        return found
    places = rows.tolist()

    def of(values: list[Any]) -> list[Any]:
        return [values[place] for place in places]

    return Predictions(
        columns=found.columns,
        at=at[rows],
        matrix=found.matrix[rows],
        output=found.output[rows],
        texts=of(found.texts),
        label=of(found.label),
        probability=found.probability[rows],
        confidence=found.confidence[rows],
        horizon=found.horizon[rows],
        subject=of(found.subject),
        source=of(found.source),
        ids=of(found.ids),
        versions=of(found.versions),
        words=found.words,
        cursor=found.cursor,
    )
