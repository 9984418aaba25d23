"""Fan-out: processor time per delivery of a delta to many clients, against the limit of the same frame written raw.

    python -m benchmarks.fanout [CLIENTS [CLIENT_PROCESSES]]

The limit is `transport.write` of the same bytes to as many plain connections, in a loop with nothing around it. Ours
is the whole way from a published fact: the delta is found, encoded and framed, and each client's backlog is looked
at before it is written to. Clients run in processes of their own, so that their work is not counted.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.table import Row, render
from trader_monitor.config.values import Listen
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Samples
from trader_monitor.core.series import SeriesStore
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.sockets import bind_tcp, port_of
from trader_monitor.web.live import SPACING, live

CLIENTS = 1000
GOAL = 1.6
ROUNDS = 25
TURNS = 5
SERIES = 12
HELLO = (
    b"GET /?topics=metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Audience:
    """Processes full of clients that read and throw away."""

    def __init__(self, port: int, clients: int, processes: int, *, upgrade: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.fanout", "--client", str(port), str(clients // processes)]
        command += ["upgrade"] if upgrade else []
        folder = Path(__file__).parent.parent
        self._processes = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) for _ in range(processes)]

    async def seated(self) -> None:
        for process in self._processes:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            if line != b"seated\n":
                raise RuntimeError("a client could not connect")

    def dismiss(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


class Reader(asyncio.Protocol):
    """A client: counts nothing, keeps nothing."""

    def __init__(self, hello: bytes, welcome: asyncio.Future[None]) -> None:
        self._hello = hello
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._hello:
            transport.write(self._hello)
        else:
            self._welcome.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._welcome.done():
            self._welcome.set_result(None)


async def visit(port: int, clients: int, hello: bytes) -> None:
    """Connects, says so, and reads until killed."""
    loop = asyncio.get_running_loop()
    for start in range(0, clients, 200):
        welcomes = [loop.create_future() for _ in range(min(200, clients - start))]
        for welcome in welcomes:
            await loop.create_connection(lambda w=welcome: Reader(hello, w), "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*welcomes)
    print("seated", flush=True)
    await loop.create_future()


class Desk:
    """As much of a house as the feed needs: a board, and a publisher without a disk behind it."""

    def __init__(self) -> None:
        self.sock = bind_tcp(Listen("127.0.0.1", 0), "live.listen")
        self.board = Board(SeriesStore())
        self.listeners: list[Any] = []
        self.labels = tuple(
            (("__name__", "host_cpu_mode_ratio"), ("mode", f"mode{number}")) for number in range(SERIES)
        )
        clock = SystemClock()
        config = SimpleNamespace(
            http=SimpleNamespace(listen=Listen("127.0.0.1", 8008), tokens=()),
            live=SimpleNamespace(listen=Listen("127.0.0.1", 8009), origins=()),
            store=SimpleNamespace(path=Path("store.db")),
            checks={},
            channels={},
        )
        self.env: Any = SimpleNamespace(
            clock=clock,
            meters=Meters(),
            board=self.board,
            began=clock.now(),
            config=lambda: config,
            children=tuple,
            journal=SimpleNamespace(watch=self.watch, board=self.board, seq=0, degraded=None),
        )

    def watch(self, listener: Any) -> Any:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def publish(self, number: int) -> None:
        now = self.env.clock.now()
        values = tuple(number / 7 + at for at in range(SERIES))
        fact = Samples(at=now.wall, origin="host", labels=self.labels, values=values)
        self.board.fold(fact, now)
        for listener in self.listeners:
            listener([fact])


async def paced(act: Any) -> float:
    """Processor seconds of this process for `ROUNDS` rounds, one per step of the feed."""
    began = time.process_time()
    for number in range(ROUNDS):
        act(number)
        await asyncio.sleep(SPACING * 1.4)
    return time.process_time() - began


async def measure(clients: int, processes: int) -> tuple[float, float, int]:
    """Microseconds per delivery raw and ours, and the frame's bytes."""
    loop = asyncio.get_running_loop()
    raw: list[asyncio.Transport] = []

    class Seat(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            raw.append(transport)

    desk = Desk()
    server = await loop.create_server(Seat, "127.0.0.1", 0, backlog=4096)
    feed = asyncio.create_task(live(desk.env, desk.sock))
    audiences = [
        Audience(server.sockets[0].getsockname()[1], clients, processes, upgrade=False),
        Audience(port_of(desk.sock), clients, processes, upgrade=True),
    ]
    try:
        for audience in audiences:
            await audience.seated()
        desk.publish(0)
        await asyncio.sleep(0.3)
        before = desk.env.meters.get("monitor_live_sent_bytes_total")
        desk.publish(1)
        await asyncio.sleep(0.3)
        size = int(desk.env.meters.get("monitor_live_sent_bytes_total") - before) // clients
        frame = bytes(size)

        def write_raw(_: int) -> None:
            for transport in raw:
                transport.write(frame)

        ratios = [(await paced(write_raw), await paced(desk.publish)) for _ in range(TURNS)]
        dropped = desk.env.meters.get("monitor_live_dropped_total", reason="too_slow")
        if dropped:
            raise RuntimeError(f"{dropped:g} clients were too slow")
        limit = statistics.median(pair[0] for pair in ratios) / (ROUNDS * clients) * 1e6
        ours = statistics.median(pair[1] for pair in ratios) / (ROUNDS * clients) * 1e6
        return limit, ours, size
    finally:
        feed.cancel()
        with suppress(asyncio.CancelledError):
            await feed
        for audience in audiences:
            audience.dismiss()
        server.close()
        desk.sock.close()


def rows(_: Path, clients: int = CLIENTS, processes: int = 1) -> list[Row]:
    limit, ours, size = asyncio.run(measure(clients, processes))
    return [
        Row(
            f"live fan-out, {clients:,} clients, {size} bytes: CPU per delivery",
            f"{ours:.2f} µs",
            f"transport.write {limit:.2f} µs",
            f"{ours / limit:.2f}",
            f"<= {GOAL:g}",
            ours / limit <= GOAL,
        )
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        with suppress(KeyboardInterrupt):
            asyncio.run(visit(int(sys.argv[2]), int(sys.argv[3]), HELLO if sys.argv[4:] == ["upgrade"] else b""))
    else:
        print(render(rows(Path(), *map(int, sys.argv[1:3]))))
