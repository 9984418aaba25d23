"""The ingest doors for tests: the HTTP application and the Unix socket over a real journal, on 127.0.0.1."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from msgspec import structs

from tests.parts import env_in, running
from trader_monitor.config.tables import Config, Http, Ingest, Live, Store
from trader_monitor.config.values import Listen, Secret
from trader_monitor.runtime.clock import Clock, SystemClock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.sockets import bind_tcp, bind_unix, port_of
from trader_monitor.web.api import events
from trader_monitor.web.app import serve
from trader_monitor.web.body import Pace
from trader_monitor.web.socket import ingest


class Doors(NamedTuple):
    """An open house: where to knock, and what is behind."""

    env: Env
    url: str
    port: int
    path: Path
    http: aiohttp.ClientSession

    @property
    def journal(self) -> Journal:
        return self.env.journal

    async def post(self, body: Any, kind: str = "application/x-ndjson", **headers: str) -> tuple[int, dict[str, Any]]:
        """Posts events (bytes as they are, anything else as NDJSON) and gives status and answer."""
        if not isinstance(body, bytes):
            body = "\n".join(json.dumps(event) for event in body).encode()
        told = {"Content-Type": kind, **headers}
        async with self.http.post(self.url + "/v1/events", data=body, headers=told) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def doors(
    folder: Path,
    *,
    tokens: Iterable[str] = (),
    clock: Clock | None = None,
    port: int = 0,
    pace: Pace | None = None,
    **ingesting: Any,
) -> AsyncIterator[Doors]:
    """Opens the doors over a store in `folder`; everything is closed again at the end."""
    path = folder / "ingest.sock"
    pace = pace or Pace()
    http = bind_tcp(Listen("127.0.0.1", port), "http.listen")
    port = port_of(http)
    config = structs.replace(
        Config(file=folder / "config.toml"),
        http=Http(listen=Listen("127.0.0.1", port), tokens=tuple(Secret(t, "test") for t in tokens)),
        live=Live(),
        ingest=Ingest(socket=path, **ingesting),
        store=Store(path=folder / "store.db"),
    )
    with bind_unix(path, "ingest.socket") as unix:
        async with (
            env_in(folder, config, clock or SystemClock()) as env,
            running(serve(env, http, [events.routes(env)], pace=pace), ingest(env, unix, pace=pace)),
            aiohttp.ClientSession() as session,
        ):
            yield Doors(env, f"http://127.0.0.1:{port}", port, path, session)


def raw_exchange(port: int, sent: bytes, *, within: float = 5.0) -> bytes:
    """Sends bytes as they are and gives all that comes back until the other side closes (or the time is up)."""
    came = b""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as sock, suppress(OSError):
        sock.sendall(sent)
        while chunk := sock.recv(65536):
            came += chunk
    return came
