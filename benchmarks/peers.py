"""What durable ingest is measured with and beside: batches of 500 trades; Redis streams, and SQLite alone.

Redis runs with `appendfsync always` and is asked by XADD, pipelined by 500 over a raw socket; SQLite writes a row
each, a commit for 500, with `synchronous=FULL`. All is encoded beforehand.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from trader_monitor.core.facts import Trade

T = TypeVar("T")
SIZE = 500
SYMBOLS = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "DOT", "LTC", "BCH", "LINK")]
AT_ONCE = 8
"""Batches that are encoded before the clock runs for them."""


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


def by_fields(trade: Trade) -> list[bytes]:
    """An entry of a stream as they are meant: a field and a value for each of the event's."""
    return [word for name, value in msgspec.to_builtins(trade).items() for word in (name.encode(), str(value).encode())]


def opaque(trade: Trade) -> list[bytes]:
    """An entry of one field, which holds what Redis does not know."""
    return [b"e", msgspec.msgpack.encode(trade)]


def redis(folder: Path, seconds: float, entry: Callable[[Trade], list[bytes]]) -> float:
    """Events per second into a Redis stream that is synced at every write."""

    def pipeline(number: int) -> bytes:
        return b"".join(_command(b"XADD", b"trades", b"*", *entry(trade)) for trade in batch(number))

    with _server(folder) as link:

        def send(pipeline: bytes) -> None:
            link.sendall(pipeline)
            lines = 0
            while lines < 2 * SIZE:  # a bulk string each: its length, and it
                answer = link.recv(1 << 16)
                if answer.startswith(b"-"):
                    raise RuntimeError(answer.decode())
                lines += answer.count(b"\r\n")

        return rate(seconds, pipeline, send)


def sqlite(folder: Path, seconds: float) -> float:
    """Events per second into a bare table."""
    with contextlib.closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB)")

        def write(rows: list[tuple[bytes]]) -> None:
            db.execute("BEGIN")
            db.executemany("INSERT INTO event (body) VALUES (?)", rows)
            db.execute("COMMIT")

        return rate(seconds, lambda number: [(msgspec.msgpack.encode(trade),) for trade in batch(number)], write)


def rate(seconds: float, prepare: Callable[[int], T], send: Callable[[T], None]) -> float:
    """Events per second while batches are sent; what prepares them is not counted."""
    done, spent, number = 0, 0.0, 0
    while spent < seconds:
        ready = [prepare(number + place) for place in range(AT_ONCE)]
        number += AT_ONCE
        began = time.perf_counter()
        for one in ready:
            send(one)
        spent += time.perf_counter() - began
        done += SIZE * AT_ONCE
    return done / spent


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[socket.socket]:
    """A Redis, and a connection to it."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is missing: apt-get install redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = subprocess.Popen([*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
    try:
        with _connected(port) as link:
            yield link
    finally:
        server.terminate()
        server.wait()


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return link


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
