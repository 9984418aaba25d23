"""Alert latency: a sample crosses a limit over HTTP, and a webhook hears of it.

The whole daemon runs in a process of its own, with 1,000 rules and 1,000 alerts firing; each round is acknowledged
after fsync like any other. Beside it, interleaved, runs the limit: a bare aiohttp server that answers a POST by a
POST to the same webhook, deciding and storing nothing. The peer is Prometheus with Alertmanager at 100 ms scrape
and evaluation and a group_wait of 0, far below their defaults.

All times are one process's clock: from before the sample is sent until the webhook's request is in.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks.peers import free_port
from benchmarks.table import Row

ALERTS = 1000
ROUNDS = 300
WARM_UP = 20
SETTLE_SECONDS = 5.0
"""What a start leaves to do is done by then; the alert that matters comes days later."""
PEER_ROUNDS = 48
PEER_TARGETS = 8
MEDIAN_GOAL_MS = 5.0
P99_GOAL_MS = 10.0
PEER_GOAL = 25.0

_HOP = """
import sys
from aiohttp import ClientSession, web

async def take(request):
    body = await request.read()
    async with request.app["session"].post(sys.argv[2], data=body) as answer:
        await answer.read()
    return web.Response(status=202)

async def session(app):
    app["session"] = ClientSession()
    yield
    await app["session"].close()

app = web.Application()
app.cleanup_ctx.append(session)
app.router.add_post("/", take)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


class Sink:
    """The webhook: remembers when a wanted text first arrived."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._wanted = b""
        self._came: asyncio.Future[float] | None = None

    async def take(self, request: web.Request) -> web.Response:
        arrived = time.perf_counter()
        body = await request.read()
        self.requests += 1
        if self._came is not None and not self._came.done() and self._wanted in body:
            self._came.set_result(arrived)
        return web.Response()

    def expect(self, text: str) -> asyncio.Future[float]:
        self._wanted = text.encode()
        self._came = asyncio.get_running_loop().create_future()
        return self._came

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Sink]:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/hook", self.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[None]:
    with log.open("ab") as out:
        running = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.terminate()
        try:
            await asyncio.wait_for(running.wait(), 12)
        except TimeoutError:
            running.kill()
            await running.wait()


async def answers(session: aiohttp.ClientSession, url: str, log: Path, *, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=1)) as answer:
                if answer.status < 500:
                    return
        if time.monotonic() > deadline:
            said = await asyncio.to_thread(log.read_text, errors="replace")
            raise RuntimeError(f"{url} does not answer: {said[-1500:]}")
        await asyncio.sleep(0.05)


def daemon_config(folder: Path, port: int, hook: str) -> Path:
    """1,000 rules that fire at once and go on firing, and the one that is measured."""
    path = folder / "config.toml"
    rules = "\n".join(f'[rules.load{n}]\nexpr = "load{n} > 0"\nsummary = "{{value}}"\n' for n in range(ALERTS))
    path.write_text(
        f'http.listen = "127.0.0.1:{port}"\nlive.listen = "127.0.0.1:{free_port()}"\n'
        f'ingest.socket = "{folder}/ingest.sock"\nstore.path = "{folder}/store.db"\n'
        'logging = { level = "warning", format = "json" }\n\n'
        f'[channels.hook]\ntype = "webhook"\nurl = "{hook}"\n\n{rules}\n'
        '[rules.measured]\nexpr = "measured > 100"\nseverity = "critical"\nsummary = "{labels.round} at {value:.1f}"\n'
    )
    return path


async def send(session: aiohttp.ClientSession, url: str, *samples: tuple[str, float]) -> None:
    lines = [f'{{"type":"sample","at":{time.time():.6f},"name":"{name}","value":{value}}}' for name, value in samples]
    headers = {"Content-Type": "application/x-ndjson"}
    async with session.post(url, data="\n".join(lines).encode(), headers=headers) as answer:
        if answer.status != 202:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")


async def one_round(sink: Sink, wanted: str, act: Callable[[], Coroutine[None, None, None]]) -> float:
    """Milliseconds from the act to the webhook's request."""
    came = sink.expect(wanted)
    began = time.perf_counter()
    acted = asyncio.create_task(act())
    arrived = await asyncio.wait_for(came, 10)
    await acted
    return (arrived - began) * 1000


async def ours(folder: Path) -> tuple[list[float], list[float]]:
    """Latencies of the daemon and of the bare hop, in milliseconds, measured in turn."""
    port, hop_port = free_port(), free_port()
    hop = f"http://127.0.0.1:{hop_port}/"
    url = f"http://127.0.0.1:{port}/v1/events"
    log = folder / "daemon.log"
    daemon_times, hop_times = [], []
    async with Sink().open() as sink, aiohttp.ClientSession() as session:
        config = daemon_config(folder, port, sink.url)
        async with (
            process(sys.executable, "-m", "trader_monitor", "run", "--config", str(config), log=log),
            process(sys.executable, "-c", _HOP, str(hop_port), sink.url, log=folder / "hop.log"),
        ):
            await answers(session, f"http://127.0.0.1:{port}/ready", log)
            await answers(session, hop, folder / "hop.log")
            await send(session, url, *((f"load{n}", 1.0) for n in range(ALERTS)), ("measured", 1.0))
            deadline = time.monotonic() + 30
            while sink.requests < ALERTS:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"only {sink.requests} of {ALERTS} alerts were told")
                await asyncio.sleep(0.05)
            await asyncio.sleep(SETTLE_SECONDS)
            for n in range(ROUNDS + WARM_UP):
                value = 101.0 + n
                took = await one_round(sink, f" at {value}", partial(send, session, url, ("measured", value)))
                await one_round(sink, "resolved", partial(send, session, url, ("measured", 1.0)))

                async def bare(body: str = f"hop {n}.") -> None:
                    async with session.post(hop, data=body.encode()) as answer:
                        await answer.read()

                bare_took = await one_round(sink, f"hop {n}.", bare)
                if n >= WARM_UP:
                    daemon_times.append(took)
                    hop_times.append(bare_took)
    return daemon_times, hop_times


async def peer(folder: Path) -> list[float]:
    """Latencies of Prometheus and Alertmanager, in milliseconds. Each round is a series, thus a group, of its own.

    How long a sample waits depends on the distance between the ticks of scraping and of evaluation, which a hash of
    the target's address fixes for each target: several of them, asked in turn, make a fair mean.
    """
    values = [0] * PEER_ROUNDS
    prometheus_port, manager_port = free_port(), free_port()

    async def expose(request: web.Request) -> web.Response:
        mine = range(exporters.index(request.host), PEER_ROUNDS, PEER_TARGETS)
        return web.Response(text="".join(f'measured{{round="{n}."}} {values[n]}\n' for n in mine))

    app = web.Application()
    app.router.add_get("/metrics", expose)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for _ in range(PEER_TARGETS):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    exporters = [f"{host}:{port}" for host, port in runner.addresses]
    async with Sink().open() as sink, aiohttp.ClientSession() as session:
        (folder / "rules.yml").write_text(
            "groups:\n- name: g\n  interval: 100ms\n  rules:\n  - alert: measured\n    expr: measured > 100\n"
        )
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 100ms}\n"
            "rule_files: [rules.yml]\n"
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{manager_port}']}}]}}]}}\n"
            f"scrape_configs: [{{job_name: x, static_configs: [{{targets: {exporters}}}]}}]\n"
        )
        (folder / "manager.yml").write_text(
            "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 100ms, repeat_interval: 1h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{sink.url}'}}]}}]\n"
        )
        manager = (
            "prometheus-alertmanager",
            f"--config.file={folder}/manager.yml",
            f"--storage.path={folder}/manager",
            f"--web.listen-address=127.0.0.1:{manager_port}",
            "--cluster.listen-address=",
        )
        prometheus = (
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
        )
        times = []
        async with process(*manager, log=folder / "manager.log"), process(*prometheus, log=folder / "prometheus.log"):
            await answers(session, f"http://127.0.0.1:{manager_port}/-/ready", folder / "manager.log")
            await answers(session, f"http://127.0.0.1:{prometheus_port}/-/ready", folder / "prometheus.log")
            await asyncio.sleep(1.0)
            for n in range(PEER_ROUNDS):

                async def cross(n: int = n) -> None:
                    values[n] = 101

                times.append(await one_round(sink, f'"round":"{n}."', cross))
                await asyncio.sleep(0.1 + random.random() * 0.1)
    await runner.cleanup()
    return times


def rows(folder: Path) -> list[Row]:
    times, bare = asyncio.run(ours(folder))
    theirs = asyncio.run(peer(folder)) if shutil.which("prometheus-alertmanager") else []
    median, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    limit, limit_p99 = statistics.median(bare), statistics.quantiles(bare, n=100)[98]
    work = f"alert latency, {ALERTS:,} alerts"
    found = [
        Row(
            f"{work}: median",
            f"{median:.2f} ms",
            f"bare aiohttp hop {limit:.2f} ms",
            f"{median / limit:.1f}x",
            f"<= {MEDIAN_GOAL_MS:g} ms",
            median <= MEDIAN_GOAL_MS,
        ),
        Row(
            f"{work}: 99th percentile",
            f"{p99:.2f} ms",
            f"bare aiohttp hop {limit_p99:.2f} ms",
            f"{p99 / limit_p99:.1f}x",
            f"<= {P99_GOAL_MS:g} ms",
            p99 <= P99_GOAL_MS,
        ),
    ]
    if theirs:
        tuned = statistics.median(theirs)
        found.append(
            Row(
                f"{work}: against the tuned peer",
                f"{median:.2f} ms",
                f"Prometheus + Alertmanager {tuned:.0f} ms",
                f"{tuned / median:.0f}x faster",
                f">= {PEER_GOAL:g}x",
                tuned / median >= PEER_GOAL,
            )
        )
    return found
