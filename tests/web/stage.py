"""A small stage for the tests of the live feed and the page: a real journal, board and live server, nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from tests.parts import env_in, running
from trader_monitor.config.tables import Trading
from trader_monitor.config.values import Listen, Secret
from trader_monitor.core.facts import Account, AlertChanged, Breaker, CheckResult, Samples, Severity, Trade
from trader_monitor.runtime.child import ChildStatus
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.sockets import bind_tcp, port_of
from trader_monitor.web.live import live

CLOCK = SystemClock()


def child(name: str, state: str = "running", *, essential: bool = False, restarts: int = 0) -> ChildStatus:
    return ChildStatus(name, state, essential, restarts, CLOCK.now().wall - 60, "", None, "root")  # type: ignore[arg-type]


@dataclass
class Stage:
    """What a test holds of the house."""

    env: Env
    sock: socket.socket
    children: list[ChildStatus]

    @property
    def journal(self) -> Journal:
        return self.env.journal

    @property
    def port(self) -> int:
        return port_of(self.sock)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @asynccontextmanager
    async def client(self, query: str = "", **options: Any) -> AsyncIterator[Client]:
        async with connect(self.url + query, compression=None, max_size=None, **options) as connection:
            yield Client(connection)


class Client:
    """A reader of the feed that can wait for a message of some kind."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []

    async def next(self, within: float = 5.0) -> dict[str, Any]:
        async with asyncio.timeout(within):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        self.messages.append(message)
        return message

    async def want(self, wanted: Callable[[dict[str, Any]], bool], within: float = 5.0) -> dict[str, Any]:
        async with asyncio.timeout(within):
            while True:
                message = await self.next(within)
                if wanted(message):
                    return message

    async def closed(self, within: float = 10.0) -> Close:
        """Reads on until the server closes, and returns what it said."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(within):
                while True:
                    await self.next(within)
        return Close(self.connection.close_code or 0, self.connection.close_reason or "")

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == "delta"]


@asynccontextmanager
async def stage(
    folder: Path, *, tokens: tuple[str, ...] = (), origins: tuple[str, ...] = (), serve: bool = True, http: int = 8008
) -> AsyncIterator[Stage]:
    """The house on a store in `folder`, with the feed served unless told otherwise."""
    children = [child("journal", essential=True), child("live")]
    with bind_tcp(Listen("127.0.0.1", 0), "live.listen") as sock:
        config = SimpleNamespace(
            http=SimpleNamespace(
                listen=Listen("127.0.0.1", http), tokens=tuple(Secret(token, "test") for token in tokens)
            ),
            live=SimpleNamespace(listen=Listen("127.0.0.1", port_of(sock)), origins=origins),
            store=SimpleNamespace(path=folder / "store.db"),
            ingest=SimpleNamespace(socket=None, max_body=8 << 20, max_ahead=60.0),
            trading=Trading(),
            calendars={},
            exchanges={},
            checks={},
            channels={},
            rules={},
        )
        async with (
            env_in(folder, config, CLOCK, children=lambda: tuple(children)) as env,
            running(*([live(env, sock)] if serve else [])),
        ):
            yield Stage(env, sock, children)


def samples(values: dict[str, float], *, at: float | None = None, origin: str = "test") -> Samples:
    """Readings by metric name, optionally with one label as "name/label=value"."""
    sets = []
    for key in values:
        name, *pairs = key.split("/", 1)
        more = [(label, value) for label, _, value in (pair.partition("=") for pair in pairs)]
        sets.append((("__name__", name), *more))
    return Samples(
        at=CLOCK.now().wall if at is None else at, origin=origin, labels=tuple(sets), values=tuple(values.values())
    )


def trade(number: int, *, price: float = 100.0, **more: Any) -> Trade:
    return Trade(
        at=CLOCK.now().wall,
        id=f"t{number}",
        source="bot",
        symbol="BTC-USD",
        side="buy" if number % 2 else "sell",
        quantity=1.0,
        price=price,
        currency="USD",
        **more,
    )


def account(equity: float, **more: Any) -> Account:
    return Account(at=CLOCK.now().wall, source="bot", equity=equity, currency="USD", **more)


def alert(
    name: str = "drawdown",
    state: str = "firing",
    *,
    severity: Severity = "critical",
    transition: int = 1,
    summary: str = "bot is 12.0 % below its peak",
    at: float | None = None,
    **more: Any,
) -> AlertChanged:
    now = CLOCK.now()
    at = now.wall if at is None else at
    return AlertChanged(
        at=at,
        fingerprint=name,
        rule=name,
        state=state,  # type: ignore[arg-type]
        transition=transition,
        severity=severity,
        labels={"alertname": name, "severity": severity, "source": "bot"},
        summary=summary,
        active_at=more.pop("active_at", at),
        fired_at=more.pop("fired_at", at if state != "pending" else None),
        resolved_at=at if state == "resolved" else None,
        mono=now.mono,
        **more,
    )


def check(name: str, ok: bool | None, *, state: str = "closed", failures: int = 0, message: str = "") -> CheckResult:
    now = CLOCK.now()
    breaker = Breaker(
        state=state,  # type: ignore[arg-type]
        failures=failures,
        since=now.mono,
        retry_at=now.mono + 20 if state == "open" else 0.0,
        generation=0 if state == "closed" else 1,
    )
    return CheckResult(at=now.wall, check=name, ok=ok, breaker=breaker, seconds=0.012, message=message)
