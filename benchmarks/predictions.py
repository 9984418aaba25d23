"""Prediction rows: how fast they are kept and read, and how large they are, beside JSON rows in SQLite.

A prediction has 100 features, an id, a subject, an output and a probability. Ours goes through the journal's pen, with
names looked up, float32 packed, checksums made and the batch written; the peers know nothing of what they store: each
event as JSON in a row of its own, and the bare float32 of a row as a blob. All commit 500 rows at a time to the same
disk with the same settings (WAL, synchronous=FULL), in turns. Through the journal every row is also looked up by its
id, folded and acknowledged after its fsync.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.table import Row
from trader_monitor.core.facts import Now, Prediction
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.predictions import read
from trader_monitor.runtime.rows import Pen
from trader_monitor.runtime.rows import Row as Batch

ROWS = 30_000
SIZE = 500
FEATURES = 100
TURNS = 3
SENDERS = 4
READ = 10_000
GOAL_BYTES = 457.0
GOAL_READ = 0.1


class Measured(NamedTuple):
    rate: float
    bytes: float


def events(rows: int) -> list[Prediction]:
    matrix = np.random.default_rng(7).normal(size=(rows, FEATURES))
    names = [f"feature_{number:03d}" for number in range(FEATURES)]
    now = time.time() - rows * 0.01
    return [
        Prediction(
            at=now + place * 0.01,
            id=f"prediction-{place:08d}",
            source="bot",
            model="momentum",
            version="3",
            subject="BTC/USDT",
            output=float(row[0]),
            probability=min(abs(float(row[1])), 1.0),
            features=dict(zip(names, row.tolist(), strict=True)),
        )
        for place, row in enumerate(matrix)
    ]


def opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    return db


def sized(path: Path, seconds: float, rows: int) -> Measured:
    return Measured(rows / seconds, path.stat().st_size / rows)


def pen(folder: Path, given: list[Prediction]) -> Measured:
    """The journal's writer alone, in a store of its own."""
    path = folder / "pen.db"

    async def create() -> None:
        await (await open_journal(path, clock=SystemClock(), meters=Meters())).close()

    asyncio.run(create())
    writer, db = Pen("boot"), opened(path)
    began = time.perf_counter()
    for begin in range(0, len(given), SIZE):
        db.execute("BEGIN IMMEDIATE")
        writer.write(db, Batch(given[begin : begin + SIZE], None, Now(given[begin].at, 1.0)))
        db.execute("COMMIT")
    seconds = time.perf_counter() - began
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return sized(path, seconds, len(given))


def journal(folder: Path, given: list[Prediction]) -> Measured:
    """All of it below the doors, from several senders that each wait for their acknowledgement."""
    path = folder / "journal.db"

    async def record() -> float:
        held = await open_journal(path, clock=SystemClock(), meters=Meters())
        began = time.perf_counter()

        async def send(mine: int) -> None:
            for begin in range(mine * SIZE, len(given), SENDERS * SIZE):
                await held.record(given[begin : begin + SIZE])

        await asyncio.gather(*(send(mine) for mine in range(SENDERS)))
        seconds = time.perf_counter() - began
        held.since_snapshot = 0
        await held.close()
        return seconds

    seconds = asyncio.run(record())
    return sized(path, seconds, len(given))


def json_rows(folder: Path, given: list[Prediction]) -> Measured:
    path = folder / "json.db"
    db, encode = opened(path), msgspec.json.Encoder().encode
    db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, at REAL NOT NULL, model TEXT NOT NULL, body TEXT NOT NULL)")
    began = time.perf_counter()
    for begin in range(0, len(given), SIZE):
        db.execute("BEGIN IMMEDIATE")
        batch = [(each.at, each.model, encode(each).decode()) for each in given[begin : begin + SIZE]]
        db.executemany("INSERT INTO event (at, model, body) VALUES (?,?,?)", batch)
        db.execute("COMMIT")
    seconds = time.perf_counter() - began
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return sized(path, seconds, len(given))


def blobs(folder: Path, given: list[Prediction]) -> Measured:
    """Nothing but float32: the features are an array already."""
    path = folder / "blobs.db"
    rows = [np.fromiter((each.features or {}).values(), np.float32, FEATURES).tobytes() for each in given]
    db = opened(path)
    db.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL)")
    began = time.perf_counter()
    for begin in range(0, len(given), SIZE):
        db.execute("BEGIN IMMEDIATE")
        batch = [(given[place].at, rows[place]) for place in range(begin, min(begin + SIZE, len(given)))]
        db.executemany("INSERT INTO row (at, body) VALUES (?,?)", batch)
        db.execute("COMMIT")
    seconds = time.perf_counter() - began
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return sized(path, seconds, len(given))


def rows(folder: Path) -> list[Row]:
    """Rows kept and read; the goals are bytes, and milliseconds for reading."""
    given = events(ROWS)
    works: dict[str, Callable[[Path, list[Prediction]], Measured]] = {
        "pen": pen,
        "journal": journal,
        "json": json_rows,
        "blobs": blobs,
    }
    turns: dict[str, list[Measured]] = {name: [] for name in works}
    reading: list[float] = []
    for _ in range(TURNS):
        for name, work in works.items():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                turns[name].append(work(Path(own), given))
                if name == "pen":
                    began = time.perf_counter()
                    found = read(Path(own) / "pen.db", "momentum", "3", last=READ)
                    reading.append(time.perf_counter() - began)
                    if found.matrix.shape != (READ, FEATURES):
                        raise RuntimeError(f"{found.matrix.shape} was read")
    rate = {name: statistics.median(each.rate for each in found) for name, found in turns.items()}
    size = {name: found[0].bytes for name, found in turns.items()}
    beside = f"JSON in SQLite {rate['json']:,.0f}/s, bare float32 {rate['blobs']:,.0f}/s"
    seconds = statistics.median(reading)
    return [
        Row("predictions kept, the writer", f"{rate['pen']:,.0f}/s", beside, f"{rate['pen'] / rate['json']:.1f}×"),
        Row(
            "predictions, through the journal",
            f"{rate['journal']:,.0f}/s",
            beside,
            f"{rate['journal'] / rate['json']:.1f}×",
        ),
        Row(
            f"bytes of a prediction of {FEATURES} features",
            f"{size['pen']:,.0f}",
            f"JSON in SQLite {size['json']:,.0f}, bare float32 {size['blobs']:,.0f}",
            f"{size['json'] / size['pen']:.1f}×",
            f"≤ {GOAL_BYTES:.0f}",
            size["pen"] <= GOAL_BYTES,
        ),
        Row(
            f"reading {READ:,} × {FEATURES}",
            f"{seconds * 1000:.0f} ms",
            goal=f"≤ {GOAL_READ * 1000:.0f} ms",
            reached=seconds <= GOAL_READ,
        ),
    ]
