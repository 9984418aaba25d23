"""A small daemon on a real socket, and the command line as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web


class Told(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def command(
    *words: str, cwd: Path | None = None, env: dict[str, str] | None = None, within: float = 30.0
) -> Told:
    """Runs `trader-monitor` with these words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "trader_monitor",
        *words,
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("TRADER_MONITOR_")}, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(within):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Told(process.returncode, out.decode(), err.decode())


class Daemon:
    """Takes events as the wire contract says: an id counts once. `moods` are answers that come before a real one."""

    def __init__(self) -> None:
        self.url = ""
        self.token: str | None = None
        self.events: dict[tuple[str, str], dict[str, Any]] = {}
        self.order: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.arrived: list[float] = []
        self.moods: list[web.Response | None] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, Any]] = {"/v1/status": (200, {"state": "ok", "version": "0.1.0"})}

    async def take(self, request: web.Request) -> web.StreamResponse:
        if self.moods:
            mood = self.moods.pop(0)
            if mood is None:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            return mood
        assert request.content_type == "application/x-ndjson"
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        accepted = duplicates = 0
        errors = []
        for number, event in enumerate(lines, 1):
            if event.get("price") == -1:
                errors.append({"line": number, "path": "$.price", "error": "expected more than 0"})
                continue
            key = (event.get("source", ""), event["id"])
            if key in self.events:
                duplicates += 1
                continue
            self.events[key] = event
            self.order.append(event)
            accepted += 1
        self.batches.append(len(lines))
        self.arrived.append(asyncio.get_running_loop().time())
        body: dict[str, Any] = {"accepted": accepted, "duplicates": duplicates}
        return web.json_response(body | ({"errors": errors} if errors else {}), status=400 if errors else 202)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "a bearer token is needed"}, status=401)
        query = dict(request.query) if request.method == "GET" else await request.json()
        self.asked.append((request.path, query))
        if request.path not in self.answers:
            return web.json_response({"error": f"nothing at {request.path}"}, status=404)
        status, body = self.answers[request.path]
        return web.json_response(body, status=status)


@asynccontextmanager
async def daemon(port: int = 0) -> AsyncIterator[Daemon]:
    it = Daemon()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/events", it.take)
    app.router.add_route("*", "/{rest:.*}", it.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield it
    finally:
        await runner.cleanup()
