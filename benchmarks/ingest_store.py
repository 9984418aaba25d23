"""Durable ingest below the doors: `journal.record` of 500 trades, acknowledged after fsync, against its peers.

    python benchmarks/ingest_store.py [--seconds 3] [--json] [--ready 1000000]

Redis streams with `appendfsync always` (XADD of the same MessagePack, pipelined by 500, raw socket) and SQLite alone
(the same rows, `synchronous=FULL`) run on the same disk in the same minute; what counts is the ratio. In the journal
every event is checked for its id, folded into the board and its series, and judged by the rules given (none).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from trader_monitor.core.facts import Trade
from trader_monitor.loops.retain import SNAPSHOT_FACTS
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot

SIZE = 500
SYMBOLS = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "DOT", "LTC", "BCH", "LINK")]


def batch(number: int) -> list[Trade]:
    """500 trades of ten symbols, each with an id of its own."""
    at = time.time()
    return [
        Trade(
            at=at + place * 1e-6,
            id=f"{number}-{place}",
            source="bot",
            symbol=SYMBOLS[place % len(SYMBOLS)],
            side="buy" if place % 3 else "sell",
            quantity=1.0 + place % 7,
            price=100.0 + (place * 7919 % 1000) / 10,
            exchange="binance",
            account="main",
            order_id=f"o-{number}-{place}",
            fee=0.05,
            currency="USDT",
            liquidity="taker",
        )
        for place in range(SIZE)
    ]


def encoded(number: int) -> list[bytes]:
    return list(map(msgspec.msgpack.encode, batch(number)))


async def journal(folder: Path, seconds: float, senders: int) -> float:
    """Events per second through the journal, from so many senders that each wait for their acknowledgement."""
    held = await open_journal(folder / f"journal-{senders}.db", clock=SystemClock(), meters=Meters())
    done, spent, number = 0, 0.0, 0
    while spent < seconds:
        batches = [batch(number + place) for place in range(senders * 4)]
        number += len(batches)
        began = time.perf_counter()

        async def send(mine: int, batches: list[list[Trade]] = batches) -> None:
            for place in range(mine, len(batches), senders):
                await held.record(batches[place])

        await asyncio.gather(*(send(mine) for mine in range(senders)))
        spent += time.perf_counter() - began
        done += SIZE * len(batches)
    await held.close()
    return done / spent


def redis(folder: Path, seconds: float) -> float:
    """Events per second into a Redis stream that is synced at every write."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing: apt-get install redis-server")
    path = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen([*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        link = socket.socket(socket.AF_UNIX)
        while link.connect_ex(str(path)):
            if time.monotonic() > deadline:
                raise SystemExit("redis-server did not come up")
            link.close()
            link = socket.socket(socket.AF_UNIX)
        done, spent, number = 0, 0.0, 0
        while spent < seconds:
            pipelines = [b"".join(map(_xadd, encoded(number + place))) for place in range(4)]
            number += len(pipelines)
            began = time.perf_counter()
            for pipeline in pipelines:
                link.sendall(pipeline)
                answers = 0
                tail = b""
                while answers < SIZE * 2:  # a bulk string each: its length, and it
                    tail = link.recv(1 << 16)
                    if tail.startswith(b"-"):
                        raise SystemExit(tail.decode())
                    answers += tail.count(b"\r\n")
            spent += time.perf_counter() - began
            done += SIZE * len(pipelines)
        link.close()
        return done / spent
    finally:
        server.terminate()
        server.wait()


def _xadd(body: bytes) -> bytes:
    return b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\ne\r\n$%d\r\n%s\r\n" % (len(body), body)


def sqlite(folder: Path, seconds: float) -> float:
    """Events per second into a bare table, a row each, a commit for 500."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB)")
    done, spent, number = 0, 0.0, 0
    while spent < seconds:
        batches = [[(body,) for body in encoded(number + place)] for place in range(4)]
        number += len(batches)
        began = time.perf_counter()
        for rows in batches:
            db.execute("BEGIN")
            db.executemany("INSERT INTO event (body) VALUES (?)", rows)
            db.execute("COMMIT")
        spent += time.perf_counter() - began
        done += SIZE * len(batches)
    db.close()
    return done / spent


async def ready(folder: Path, events: int) -> dict[str, float]:
    """Seconds to open a journal of so many events, the last snapshot as far back as the daemon lets it be."""
    path = folder / "ready.db"
    held = await open_journal(path, clock=SystemClock(), meters=Meters())
    for number in range(events // SIZE):
        await held.record(batch(number))
        if held.wants_snapshot(SNAPSHOT_FACTS) and (number + 1) * SIZE < events:
            await snapshot(held)
    tail = held.since_snapshot
    held.since_snapshot = 0  # as after kill -9: no snapshot at the end
    await held.close()
    began = time.perf_counter()
    held = await open_journal(path, clock=SystemClock(), meters=Meters())
    seconds = time.perf_counter() - began
    count = held.board.counts["trade"]
    held.since_snapshot = 0
    await held.close()
    return {"events": count, "behind_the_snapshot": tail, "seconds": seconds}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=3.0, help="how long each is measured, in three turns")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--ready", type=int, metavar="EVENTS", help="measure instead how long a start takes")
    options = arguments.parse_args()
    if options.ready:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            print(json.dumps(asyncio.run(ready(Path(folder), options.ready))))
        return
    works: dict[str, Callable[[Path, float], float]] = {
        "redis": redis,
        "sqlite": sqlite,
        "journal": lambda folder, seconds: asyncio.run(journal(folder, seconds, 1)),
        "journal, 4 senders": lambda folder, seconds: asyncio.run(journal(folder, seconds, 4)),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(3):
        for name, work in works.items():
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                rates[name].append(work(Path(folder), options.seconds / 3))
    medians = {name: statistics.median(turns) for name, turns in rates.items()}
    if options.json:
        print(json.dumps({"events_per_second": medians, "ratio": medians["journal"] / medians["redis"]}))
        return
    for name, rate in medians.items():
        print(f"{name:20} {rate:10,.0f} events/s   {rate / medians['redis']:5.2f} of Redis")


if __name__ == "__main__":
    main()
