"""Durable ingest: batches of 500 trades over HTTP into the whole daemon, each acknowledged after fsync.

On the way every event is decoded, checked, looked up by its id, folded into positions and series, judged by the
builtin rules and committed. Beside it, in turns on the same disk, Redis streams with `appendfsync always`: XADD of
the same events with their fields, as a stream's entries are, pipelined by 500 over a raw socket, encoded beforehand.
Also told: Redis taking each event as one opaque field, and SQLite alone (a row each, synchronous=FULL); neither
knows what it stores.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.peers import SIZE, batch, by_fields, free_port, opaque, redis, sqlite
from benchmarks.table import Row

SECONDS = 3.0
TURNS = 3
GOAL = 0.5


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[int]:
    """The whole daemon on a store in the folder; gives the port of its HTTP door."""
    port = free_port()
    config = folder / "config.toml"
    config.write_text(
        f'http.listen = "127.0.0.1:{port}"\nlive.listen = "127.0.0.1:{free_port()}"\n'
        f'ingest.socket = "{folder}/ingest.sock"\nstore.path = "{folder}/store.db"\n'
        'logging = { level = "warning", format = "json" }\n'
        '[collectors.monitor]\ntype = "monitor"\n[collectors.cpu]\ntype = "cpu"\n'
    )
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "trader_monitor", "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _ready(port, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(15)


def _ready(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer,
        ):
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the daemon is not ready: {log.read_text(errors='replace')[-1500:]}")


def bodies(first: int, number: int, kind: str) -> list[bytes]:
    """Batches as they are on the wire, encoded beforehand: the bot's work is not the daemon's."""
    if kind == "msgpack":
        return [msgspec.msgpack.encode(batch(first + n)) for n in range(number)]
    return [b"\n".join(map(msgspec.json.encode, batch(first + n))) + b"\n" for n in range(number)]


class Http:
    """One kept connection."""

    def __init__(self, port: int, kind: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        content = "application/msgpack" if kind == "msgpack" else "application/x-ndjson"
        self.head = (
            f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content}\r\nContent-Length: %d\r\n\r\n"
        )

    def send(self, body: bytes) -> None:
        self.sock.sendall((self.head % len(body)).encode() + body)
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += self.sock.recv(65536)
        if not answer.startswith(b"HTTP/1.1 202") or b'"accepted":500' not in answer:
            raise RuntimeError(answer[-300:].decode())

    def close(self) -> None:
        self.sock.close()


class Unix:
    """One connection to the socket."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sent = 0

    def send(self, body: bytes) -> None:
        self.sock.sendall(body)
        self.sent += SIZE
        answer = b""
        while not answer.endswith(b"\n") or json.loads(answer.splitlines()[-1])["through"] < self.sent:
            answer += self.sock.recv(65536)
        if b'"status":202' not in answer:
            raise RuntimeError(answer[-300:].decode())

    def close(self) -> None:
        self.sock.close()


def ingest(folder: Path, seconds: float, *, senders: int = 1, kind: str = "ndjson") -> float:
    """Events per second that the daemon acknowledges; each sender waits for one batch before it sends the next."""
    with daemon(folder) as port:

        def connection() -> Http | Unix:
            return Unix(folder / "ingest.sock") if kind == "unix" else Http(port, kind)

        connections = [connection() for _ in range(senders)]
        done, spent, number = 0, 0.0, 0
        while spent < seconds:
            shares = [bodies(number + 8 * mine, 8, kind) for mine in range(senders)]
            number += 8 * senders
            threads = [
                threading.Thread(target=lambda c=c, share=share: [c.send(body) for body in share])
                for c, share in zip(connections, shares, strict=True)
            ]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            spent += time.perf_counter() - began
            done += SIZE * 8 * senders
        for one in connections:
            one.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status") as answer:
            counted = json.load(answer)["ingest"]["events_total"]
        if counted != done:
            raise RuntimeError(f"{done} were acknowledged, {counted} are there")
        return done / spent


def measured(folder: Path) -> dict[str, float]:
    """Events per second, by work: medians of turns taken one after the other."""
    works: dict[str, Callable[[Path, float], float]] = {
        "redis": lambda folder, seconds: redis(folder, seconds, by_fields),
        "redis, one field": lambda folder, seconds: redis(folder, seconds, opaque),
        "sqlite": sqlite,
        "HTTP, NDJSON": lambda folder, seconds: ingest(folder, seconds),
        "HTTP, NDJSON, 4 senders": lambda folder, seconds: ingest(folder, seconds, senders=4),
        "HTTP, MessagePack": lambda folder, seconds: ingest(folder, seconds, kind="msgpack"),
        "Unix socket": lambda folder, seconds: ingest(folder, seconds, kind="unix"),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                rates[name].append(work(Path(own), SECONDS / TURNS))
    return {name: statistics.median(turns) for name, turns in rates.items()}


def rows(folder: Path) -> list[Row]:
    """A row for each door, beside Redis."""
    rates = measured(folder)
    peer, opaque, alone = rates.pop("redis"), rates.pop("redis, one field"), rates.pop("sqlite")
    beside = f"Redis {peer:,.0f}/s (one opaque field {opaque:,.0f}), SQLite {alone:,.0f}"
    return [
        Row(
            f"durable ingest, {name}",
            f"{rate:,.0f}/s",
            beside,
            f"{rate / peer:.2f}×",
            f"≥ {GOAL}×",
            rate / peer >= GOAL,
        )
        for name, rate in rates.items()
    ]
