"""Rows: how a batch of facts is written to the journal, and read back.

Facts are MessagePack as msgspec writes them; of a `Samples` the label sets become the store's series ids and
the values plain float64, so that a staleness marker keeps its bits and a collection costs twelve bytes a
sample rather than a hundred. Predictions are rows beside the batch, which bears references to them.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias, Union

import msgspec

from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.facts import EVENT_TYPES, OWN_TYPES, Fact, Labels, Now, Outcome, Prediction, Samples
from trader_monitor.core.ids import raw_of
from trader_monitor.runtime.audit import audited, write_audit
from trader_monitor.runtime.outcome_rows import write_outcomes
from trader_monitor.runtime.prediction_rows import Damaged, Schemas, insert, parts_of

__all__ = [
    "PART",
    "Catalog",
    "Damaged",
    "Pen",
    "Row",
    "encode",
    "labels_by_id",
    "last_seq",
    "pack",
    "size_of",
    "unpack",
    "unused",
]

PART = 256
"""Series per block: ids with the same quotient."""
_DEFLATE_FROM = 512
_UNUSED = (
    "SELECT id, labels FROM series WHERE id / ? NOT IN (SELECT part FROM block)"
    " AND id < (SELECT max(id) FROM series) ORDER BY id LIMIT ?"
)
_TAKE_OUT = (
    "DELETE FROM series WHERE id = ? AND NOT EXISTS (SELECT 1 FROM block WHERE tier IN (-1, 0, 60, 900) AND part = ?)"
)

_ENCODER = msgspec.msgpack.Encoder()
encode = _ENCODER.encode
"""A fact as the journal keeps it."""


class _PackedSamples(msgspec.Struct, frozen=True, tag_field="type", tag="samples", omit_defaults=True):
    at: float
    origin: str
    ids: bytes
    values: bytes
    kinds: dict[str, tuple[str, str]] = {}
    own: int = 0


class _PredictionPart(msgspec.Struct, frozen=True, tag_field="type", tag="prediction_part", omit_defaults=True):
    """So many predictions, which are part `number` of the batch's; `places` are theirs in their step (int32)."""

    number: int
    rows: int
    places: bytes = b""


_OWN = (*(own for own in OWN_TYPES if own is not Samples), CalendarChanged)
PartOf: TypeAlias = Callable[[int], Sequence[Prediction]]
_Stored: TypeAlias = Union[(*EVENT_TYPES, *_OWN, _PackedSamples, _PredictionPart)]  # type: ignore[valid-type]
_DECODER = msgspec.msgpack.Decoder(list[list[_Stored]])
_LABELS = msgspec.msgpack.Decoder(Labels)


def _no_part(number: int) -> Sequence[Prediction]:
    return ()


class Row(NamedTuple):
    """A batch as stored; `raws` holds the first facts' `raw_of` where it was made already.

    `steps` says how many facts were folded at a time, so that replay folds them so too; empty means all at once.
    `trace_id` is of the request that brought them.
    """

    facts: Sequence[Fact]
    raws: Sequence[bytes] | None
    now: Now
    steps: tuple[int, ...] = ()
    trace_id: str = ""


class Catalog:
    """The store's series ids. Belongs to the writer thread; ids given in a transaction go with its rollback."""

    def __init__(self) -> None:
        self._ids: dict[Labels, int] = {}
        self._fresh: list[Labels] = []
        self._loaded = False
        self._collections: dict[str, tuple[tuple[Labels, ...], bytes]] = {}
        self._gone = False
        self.forgotten = 0
        """How often series were taken out: what is remembered of ids is void then."""

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, db: sqlite3.Connection, labels: Sequence[Labels]) -> list[int]:
        """The series' ids, new ones entered in the present transaction."""
        if not self._loaded:
            self._ids = {labels: key for key, labels in labels_by_id(db).items()}
            self._loaded = True
        ids = []
        for each in labels:
            key = self._ids.get(each)
            if key is None:
                clean = tuple(sorted((name, value) for name, value in each if value))
                key = self._ids.get(clean)
                if key is None:
                    key = db.execute("INSERT INTO series (labels) VALUES (?)", (encode(clean),)).lastrowid
                    assert key is not None
                    self._ids[clean] = key
                    self._fresh.append(clean)
            ids.append(key)
        return ids

    def packed(self, db: sqlite3.Connection, samples: Samples) -> bytes:
        """The ids of a collection, as int32; a collector's label sets are mostly those of the last time."""
        known = self._collections.get(samples.origin)
        if known is None or known[0] != samples.labels:
            known = (samples.labels, array("i", self.ids(db, samples.labels)).tobytes())
            self._collections[samples.origin] = known
        return known[1]

    def forget(self, db: sqlite3.Connection, unused: Iterable[tuple[int, Labels]]) -> int:
        """Takes series out, in the present transaction, of which no block has come meanwhile; returns how many."""
        taken = 0
        for key, labels in unused:
            if db.execute(_TAKE_OUT, (key, key // PART)).rowcount:
                self._ids.pop(labels, None)
                taken += 1
        if taken:
            self._gone = True
            self._collections.clear()
        return taken

    def committed(self) -> None:
        """What was entered stays, and what was taken out is gone."""
        self._fresh.clear()
        self.forgotten += self._gone
        self._gone = False

    def rolled_back(self) -> None:
        """What was entered since the last commit never was."""
        for labels in self._fresh:
            self._ids.pop(labels, None)
        self._fresh.clear()
        self._collections.clear()
        if self._gone:
            self._gone = self._loaded = False


def unused(db: sqlite3.Connection, most: int) -> list[tuple[int, Labels]]:
    """Series, the oldest first, of which no block can hold a sample; never the newest, whose id would come again."""
    rows = db.execute(_UNUSED, (PART, most))
    return [(key, _LABELS.decode(raw)) for key, raw in rows]


def labels_by_id(db: sqlite3.Connection) -> dict[int, Labels]:
    """All series of the store."""
    return {key: _LABELS.decode(raw) for key, raw in db.execute("SELECT id, labels FROM series")}


def pack(db: sqlite3.Connection, row: Row, catalog: Catalog, schemas: Schemas, seq: int) -> bytes:
    """The body of a batch that begins with the fact `seq`; its predictions are written beside it."""
    steps = row.steps or (len(row.facts),)
    packed = [_array(len(steps))]
    begin = parts = 0
    for size in steps:
        raws: list[bytes | None] = []
        predictions: list[tuple[int, Prediction, bytes]] = []
        for index in range(begin, begin + size):
            fact = row.facts[index]
            given = row.raws[index] if row.raws is not None and index < len(row.raws) else None
            if isinstance(fact, Samples):
                values = array("d", fact.values).tobytes()
                ids = catalog.packed(db, fact)
                raws.append(encode(_PackedSamples(fact.at, fact.origin, ids, values, fact.kinds, fact.own)))
            elif isinstance(fact, Prediction):
                predictions.append((index - begin, fact, raw_of(fact) if given is None else given))
                raws.append(None)
            else:
                raws.append(encode(fact) if given is None else given)
        if predictions:
            found, rest = parts_of(db, schemas, predictions, size)
            for place, fact in rest:
                raws[place] = encode(fact)
            for part in found:
                insert(db, seq + parts, part)
                raws.append(encode(_PredictionPart(parts, len(part.rows), part.places.tobytes())))
                parts += 1
        own = [raw for raw in raws if raw is not None]
        packed += [_array(len(own)), *own]
        begin += size
    return b"".join(packed)


def _array(length: int) -> bytes:
    return struct.pack(">BI", 0xDD, length)


def unpack(body: bytes, labels: dict[int, Labels], part: PartOf = _no_part) -> list[list[Fact]]:
    """The facts of a body, step by step; `part` gives the predictions of a part by its number. Raises `Damaged`."""
    try:
        steps = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged(f"a batch does not decode: {error}") from error
    return [_facts(stored, labels, part) for stored in steps]


def _facts(stored: list[_Stored], labels: dict[int, Labels], part: PartOf) -> list[Fact]:
    facts: list[Fact] = []
    references: list[_PredictionPart] = []
    for fact in stored:
        if isinstance(fact, _PackedSamples):
            facts.append(_samples(fact, labels))
        elif isinstance(fact, _PredictionPart):
            references.append(fact)
        else:
            facts.append(fact)
    return _with_predictions(facts, references, part) if references else facts


def _samples(fact: _PackedSamples, labels: dict[int, Labels]) -> Samples:
    ids = array("i")
    ids.frombytes(fact.ids)
    values = array("d")
    values.frombytes(fact.values)
    known = [(labels[key], value) for key, value in zip(ids, values, strict=True) if key in labels]
    own = sum(key in labels for key in ids[: fact.own])
    return Samples(  # of a series that was lost with a damaged file, nothing can be said
        at=fact.at,
        origin=fact.origin,
        labels=tuple(pair[0] for pair in known),
        values=tuple(pair[1] for pair in known),
        kinds=fact.kinds,
        own=own,
    )


def _with_predictions(facts: list[Fact], references: list[_PredictionPart], part: PartOf) -> list[Fact]:
    """The step as it was: predictions at their places, the others in their order; what was lost is left out."""
    placed: list[Fact | None] = [None] * (len(facts) + sum(each.rows for each in references))
    taken = [False] * len(placed)
    for each in references:
        places = array("i")
        places.frombytes(each.places)
        rows = part(each.number)
        for index, place in enumerate(places or range(each.rows)):
            taken[place] = True
            placed[place] = rows[index] if rows else None
    others = iter(facts)
    return [fact for is_ours, each in zip(taken, placed, strict=True) if (fact := each if is_ours else next(others))]


class Pen:
    """Writes batches, in the writer thread: the only one who knows the next number and the series' ids."""

    def __init__(self, boot: str) -> None:
        self.catalog = Catalog()
        self.schemas = Schemas()
        self.audit = False
        """Whether every prediction gets an entry in the audit, asked for or not."""
        self._boot_name = boot
        self._boot: int | None = None
        self._seq: int | None = None

    def renewed(self) -> None:
        """The store's file is another: nothing is known of it."""
        self.catalog = Catalog()
        self.schemas = Schemas()
        self._boot = self._seq = None

    def write(self, db: sqlite3.Connection, row: Row) -> None:
        """Enters a batch into the present transaction."""
        seq = self.seq(db) + 1
        body = pack(db, row, self.catalog, self.schemas, seq)
        deflated = len(body) >= _DEFLATE_FROM
        if deflated:
            body = zlib.compress(body, 1)
        samples_only = all(isinstance(fact, Samples) for fact in row.facts)
        db.execute(
            "INSERT INTO batch (seq, facts, wall, mono, boot, samples_only, packed, crc, body)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (seq, len(row.facts), *row.now, self.boot(db), samples_only, deflated, zlib.crc32(body), body),
        )
        if entries := audited(row.facts, self.audit):
            write_audit(db, seq, row.now.wall, entries, row.trace_id)
        if outcomes := [fact for fact in row.facts if type(fact) is Outcome]:
            write_outcomes(db, seq, row.now.wall, outcomes)
        self._seq = seq + len(row.facts) - 1

    def seq(self, db: sqlite3.Connection) -> int:
        """The number of the last fact, in the present transaction's eyes."""
        if self._seq is None:
            self._seq = last_seq(db)
        return self._seq

    def boot(self, db: sqlite3.Connection) -> int:
        """The row of this boot."""
        if self._boot is None:
            db.execute("INSERT OR IGNORE INTO boot (name) VALUES (?)", (self._boot_name,))
            self._boot = int(db.execute("SELECT id FROM boot WHERE name = ?", (self._boot_name,)).fetchone()[0])
        return self._boot

    def ended(self, committed: bool) -> None:
        """The transaction was committed, or nothing of it ever was."""
        self.schemas.ended(committed)
        if committed:
            self.catalog.committed()
        else:
            self.catalog.rolled_back()
            self._boot = self._seq = None


def last_seq(db: sqlite3.Connection) -> int:
    """The number of the newest fact of the store; snapshots outlive the batches before them."""
    batch = db.execute("SELECT seq + facts - 1 FROM batch ORDER BY seq DESC LIMIT 1").fetchone()
    snapshot = db.execute("SELECT max(seq) FROM snapshot").fetchone()
    return max(batch[0] if batch else 0, snapshot[0] or 0)


def size_of(row: Row) -> int:
    """About how many bytes a row is on its way."""
    if row.raws is not None:
        return sum(map(len, row.raws)) + 256 * (len(row.facts) - len(row.raws))
    return sum(12 * len(fact.values) + 64 if isinstance(fact, Samples) else 256 for fact in row.facts)
