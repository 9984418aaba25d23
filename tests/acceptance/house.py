"""The vocabulary of the acceptance tests: a real daemon, a real webhook sink, and what is wanted of them.

async with sink() as slack, daemon(tmp_path, rules, slack) as house:
    await house.send(account(equity=90))
    await slack.want(firing("drawdown"), within=5)
    house.kill()
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

Wanted = Callable[[Mapping[str, Any]], bool]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def firing(name: str, **labels: str) -> Wanted:
    return _alert("firing", name, labels)


def resolved(name: str, **labels: str) -> Wanted:
    return _alert("resolved", name, labels)


def _alert(status: str, name: str, labels: dict[str, str]) -> Wanted:
    def wanted(alert: Mapping[str, Any]) -> bool:
        has = alert["labels"]
        return (
            alert["status"] == status and has["alertname"] == name and all(has.get(k) == v for k, v in labels.items())
        )

    wanted.__name__ = f"{name} {status} {labels or ''}".strip()
    return wanted


class Sink:
    """A webhook's receiver that remembers every alert, and can be told to answer badly."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.alerts: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        payload = await request.json()
        async with self._news:
            if self.status < 300:
                self.alerts += payload["alerts"]
                self.keys.append(request.headers.get("Idempotency-Key", ""))
                self.headers.append(dict(request.headers))
            self._news.notify_all()
        return web.Response(status=self.status)

    async def want(self, wanted: Wanted, *, within: float = 10.0, after: int = 0) -> dict[str, Any]:
        """The first alert that is wanted, from the `after`-th on; AssertionError with what came instead."""
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for alert in self.alerts[after:]:
                        if wanted(alert):
                            return alert
                    await self._news.wait()
        except TimeoutError:
            came = [(a["status"], a["labels"]["alertname"]) for a in self.alerts]
            raise AssertionError(f"wanted {wanted.__name__} within {within} s; came {came}") from None


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """A webhook sink on a free port of the loopback."""
    it = Sink()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/hook", it.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    it.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield it
    finally:
        await runner.cleanup()


class House:
    """A daemon in a process of its own, on a store that outlives it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.http = free_port()
        self.live = free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.config = folder / "config.toml"
        self.socket = folder / "ingest.sock"
        self.log = folder / "daemon.log"
        self.process: asyncio.subprocess.Process | None = None
        self.write(config)

    def write(self, config: str) -> None:
        """Writes the configuration: the doors and the store are the harness's, the rest is the test's."""
        self.config.write_text(
            f'http.listen = "127.0.0.1:{self.http}"\n'
            f'live.listen = "127.0.0.1:{self.live}"\n'
            f'ingest.socket = "{self.socket}"\n'
            f'store.path = "{self.folder}/store.db"\n'
            f'logging = {{ format = "json", level = "info" }}\n\n{config}\n'
        )

    async def open(
        self, *, within: float = 20.0, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *prefix,
                sys.executable,
                "-m",
                "trader_monitor",
                "run",
                "--config",
                str(self.config),
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        await self.ready(within=within)

    async def ready(self, *, within: float = 20.0) -> None:
        assert self.process is not None
        deadline = time.monotonic() + within
        async with aiohttp.ClientSession() as session:
            while True:
                if self.process.returncode is not None:
                    raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.tail()}")
                try:
                    async with session.get(self.url + "/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                if time.monotonic() > deadline:
                    raise AssertionError(f"the daemon is not ready after {within} s:\n{self.tail()}")
                await asyncio.sleep(0.02)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def records(self) -> list[dict[str, Any]]:
        """The log so far, one record a line."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def kill(self) -> None:
        """SIGKILL: what a power cut or the OOM killer does."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def end(self, *, within: float = 12.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            return await self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def get(self, path: str, **query: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(self.url + path, params=query) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == 200, (answer.status, body)
            return body

    async def value(self, expr: str) -> float | None:
        """The one value of an instant query; None when it yields nothing."""
        result = (await self.get("/api/v1/query", query=expr))["data"]["result"]
        if not result:
            return None
        assert len(result) == 1, result
        return float(result[0]["value"][1])

    async def send(self, *events: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + "/v1/events", json=list(events) if len(events) > 1 else events[0])
            if len(events) == 1
            else session.post(
                self.url + "/v1/events",
                data="\n".join(json.dumps(event) for event in events).encode(),
                headers={"Content-Type": "application/x-ndjson"},
            ) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def delivered(self, channel: str, *, within: float = 10.0) -> None:
        """Waits until the daemon has written down that the channel took something."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            channels = (await self.get("/v1/status"))["channels"]
            if any(c["name"] == channel and c["last_delivered_at"] for c in channels):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"nothing was delivered to {channel} within {within} s")

    async def until(self, expr: str, wanted: Callable[[float], bool], *, within: float = 10.0) -> float:
        """Waits until an instant query yields a wanted value."""
        deadline = time.monotonic() + within
        while True:
            value = await self.value(expr)
            if value is not None and wanted(value):
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{expr} is {value} after {within} s:\n{self.tail()}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def daemon(folder: Path, config: str, **how: Any) -> AsyncIterator[House]:
    """A daemon that is ready; whatever state the test left it in, nothing of it survives the test."""
    house = House(folder, config)
    await house.open(**how)
    try:
        yield house
    finally:
        await house.kill()


def account(equity: float, **fields: Any) -> dict[str, Any]:
    return {"type": "account", "at": time.time(), "source": "bot", "account": "main", "equity": equity, **fields}
