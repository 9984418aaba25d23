"""The vocabulary of the acceptance tests: a real daemon, a real webhook sink, and what is wanted of them.

async with sink() as slack, daemon(tmp_path, rules, slack) as house:
    await house.send(account(equity=90))
    await slack.want(firing("drawdown"), within=5)
    house.kill()
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

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
        self.bodies: list[bytes] = []
        self.answer = ""
        self.retry_after: str | None = None
        self.asked: list[float] = []
        """When each request came, whatever it was answered (Unix seconds)."""
        self.holding: asyncio.Event | None = None
        """While there is one that is not set, requests get no answer."""
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append(time.time())
        payload = json.loads(body := await request.read())
        if self.holding is not None:
            await self.holding.wait()
        async with self._news:
            if self.status < 300:
                self.alerts += payload["alerts"]
                self.keys.append(request.headers.get("Idempotency-Key", ""))
                self.headers.append(dict(request.headers))
                self.bodies.append(body)
            self._news.notify_all()
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return web.Response(status=self.status, text=self.answer, headers=headers)

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


class Patient:
    """What checks ask and actions heal: an HTTP endpoint that fails until it is told otherwise."""

    def __init__(self) -> None:
        self.url = ""
        self.well = False
        self.healed_by: str | None = None
        """The action (by path) that makes it well."""
        self.echo = False
        """Whether a check is answered with the address and headers it was sent, as careless servers do."""
        self.called: list[str] = []
        self.holding: asyncio.Event | None = None
        """While there is one that is not set, actions get no answer."""

    async def asked(self, request: web.Request) -> web.Response:
        text = said(request) if self.echo else "well" if self.well else "ill"
        return web.Response(status=200 if self.well else 503, text=text)

    async def treated(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.called.append(name)
        if self.holding is not None:
            await self.holding.wait()
        if name == self.healed_by:
            self.well = True
        if self.echo:
            return web.Response(status=500, text=said(request))
        return web.Response(text="treated")


def said(request: web.Request) -> str:
    return f"{request.url} {request.path_qs} {dict(request.headers)}"


@asynccontextmanager
async def patient() -> AsyncIterator[Patient]:
    it = Patient()
    app = web.Application()
    app.router.add_get("/ping", it.asked)
    app.router.add_post("/treat/{name}", it.treated)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield it
    finally:
        if it.holding is not None:
            it.holding.set()
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
        self.headers: dict[str, str] = {}
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
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.get(self.url + path, params=query) as answer,
        ):
            body = await answer.json(content_type=None)
            assert answer.status == 200, (answer.status, body)
            return body

    async def text(self, path: str) -> str:
        """The answer's body, whatever its status."""
        async with aiohttp.ClientSession(headers=self.headers) as session, session.get(self.url + path) as answer:
            return await answer.text()

    async def command(self, *words: str, **env: str) -> tuple[int, str]:
        """The exit code and all output of `trader-monitor WORDS --config …`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trader_monitor",
            *words,
            "--config",
            str(self.config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **env},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def reload(self, config: str, *, taken: bool = True) -> None:
        """Writes another configuration, sends SIGHUP, and waits until the log says what became of it."""
        message = "reloaded" if taken else "the new configuration is not taken"
        before = sum(record["message"] == message for record in self.records())
        self.write(config)
        self.signal(signal.SIGHUP)
        await self.said(message, after=before)

    async def said(self, message: str, *, after: int = 0, within: float = 10.0) -> dict[str, Any]:
        """Waits for a record of the log with this message: the first one after so many."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = [record for record in self.records() if record["message"] == message]
            if len(found) > after:
                return found[after]
            await asyncio.sleep(0.02)
        raise AssertionError(f"the log did not say {message!r} within {within} s:\n{self.tail()}")

    async def value(self, expr: str) -> float | None:
        """The one value of an instant query; None when it yields nothing."""
        result = (await self.get("/api/v1/query", query=expr))["data"]["result"]
        if not result:
            return None
        assert len(result) == 1, result
        return float(result[0]["value"][1])

    async def send(self, *events: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
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


class Answer(NamedTuple):
    """What a door said."""

    status: int
    body: Any
    headers: Mapping[str, str]

    def errors(self) -> list[tuple[int, str]]:
        """Where the faults are: line and path."""
        return [(error["line"], error["path"]) for error in self.body["errors"]]


class Residence(House):
    """A daemon that many tests share, and a vigil that asks after its health all the while.

    Its process belongs to no event loop, so that each test may have one of its own.
    """

    pid: int
    vigil: Path

    async def post(
        self, body: bytes, kind: str = "application/x-ndjson", path: str = "/v1/events", **headers: str
    ) -> Answer:
        """Sends bytes as they are; in the headers' names `_` stands for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind:
            sent["Content-Type"] = kind
        skipped = [] if kind else ["Content-Type"]
        async with (
            aiohttp.ClientSession(skip_auto_headers=skipped) as session,
            session.post(self.url + path, data=io.BytesIO(body), headers=sent) as answer,
        ):
            return Answer(answer.status, await answer.json(content_type=None), answer.headers)

    async def ask(self, path: str, **query: str) -> Answer:
        """A GET that may be refused."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, params=query) as answer:
            return Answer(answer.status, await answer.json(content_type=None), answer.headers)

    def raw(self, sent: bytes, *, within: float = 5.0, port: int | None = None) -> bytes:
        """All that comes back until the door is closed; what was sent may be left unread."""
        came = b""
        with socket.create_connection(("127.0.0.1", port or self.http), within) as sock:
            with suppress(OSError):  # refused before it was read
                sock.sendall(sent)
            try:
                while piece := sock.recv(65_536):
                    came += piece
            except ConnectionResetError:
                pass
        return came

    def memory(self, what: str = "VmRSS") -> float:
        """MiB of the daemon: resident, or at its highest (`VmHWM`) since `forget_peak`."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"no {what}")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def pulses(self, since: float) -> list[list[float]]:
        """What the vigil has seen of the time since then (monotonic)."""
        lines = self.vigil.read_text().splitlines()
        pulses = [[float(part) for part in line.split()] for line in lines if line.count(" ") == 3]
        return [pulse for pulse in pulses if pulse[0] + pulse[1] >= since]

    @asynccontextmanager
    async def unharmed(self, *, within: float = 0.1) -> AsyncIterator[None]:
        """Whatever happens inside: it answered within `within` s all the while (once within three times that), no child
        died, nothing was an error."""
        began, records = time.monotonic(), len(self.records())
        before = [(child["name"], child["restarts"]) for child in (await self.get("/v1/status"))["children"]]
        yield
        ended = time.monotonic()
        async with asyncio.timeout(10):
            while not (pulses := self.pulses(began)) or pulses[-1][0] < ended:
                await asyncio.sleep(0.01)
        ill = [pulse for pulse in pulses if pulse[3] != 200]
        assert not ill, f"/health was not answered: {ill[:3]}"
        took = sorted((pulse[1] - pulse[2] for pulse in pulses), reverse=True)
        # The watcher nets what the main thread waited for a processor, not what a thread that holds the
        # interpreter did: on a crowded host one answer may be that one's.
        assert took[0] <= 3 * within, f"/health took {took[0]} s"
        assert took[1:2] <= [within], f"/health took {took[:5]} s, of {len(took)} cases"
        after = [(child["name"], child["restarts"]) for child in (await self.get("/v1/status"))["children"]]
        assert after == before, "a child died"
        bad = [r for r in self.records()[records:] if r["level"] in ("error", "critical") and r["logger"] not in WANTED]
        assert bad == []


WANTED = ("trader_monitor.alerts", "trader_monitor.check")
"""Loggers whose errors are about others: alerts that are told, checks that fail."""


@contextmanager
def residence(folder: Path, config: str) -> Iterator[Residence]:
    """A daemon for many tests."""
    house = Residence(folder, config)
    house.vigil = folder / "vigil"
    with house.log.open("ab") as log:
        run = [sys.executable, "-m", "trader_monitor", "run", "--config", str(house.config)]
        process = subprocess.Popen(run, stdout=log, stderr=log)
    house.pid = process.pid
    watch: subprocess.Popen[bytes] | None = None
    try:
        deadline = time.monotonic() + 20
        while not _is_ready(house.url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon is not ready:\n{house.tail()}")
            time.sleep(0.02)
        vigil = [sys.executable, str(Path(__file__).with_name("vigil.py")), str(house.http), str(house.pid)]
        watch = subprocess.Popen([*vigil, str(house.vigil)])
        while not house.vigil.exists():
            time.sleep(0.01)
        yield house
    finally:
        for child in (watch, process):
            if child is not None:
                child.kill()
                child.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


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


def trade(**fields: Any) -> dict[str, Any]:
    base = {"type": "trade", "at": time.time(), "source": "bot", "symbol": "BTC", "side": "buy"}
    return base | {"quantity": 1, "price": 10} | fields
