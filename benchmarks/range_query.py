"""Range queries against a real Prometheus with the same samples: 30 series, 24 h at 15 s, step 60 s.

Both are asked over HTTP, one query at a time, in turns; the median of each is compared. Goal: at most twice
Prometheus's time. The samples reach Prometheus by `promtool tsdb create-blocks-from openmetrics`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
from aiohttp import ClientSession, web

from benchmarks.peers import free_port
from benchmarks.table import Row
from trader_monitor.core.facts import Samples
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.history import History
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.web.api import prometheus

SERIES = 30
EVERY = 15
HOURS = 24
STEP = 60
QUERIES = {
    "selector": "bench_total",
    "rate": "rate(bench_total[5m])",
    "sum by": "sum by (group) (rate(bench_total[5m]))",
    "quantile_over_time": "quantile_over_time(0.9, bench_total[5m])",
}
GOAL = 2.0

Rows: TypeAlias = list[tuple[dict[str, str], np.ndarray]]


def samples() -> tuple[np.ndarray, Rows]:
    """Times in seconds, and each series' labels and values: counters that are reset once.

    They stay far above zero, where Prometheus 2 and 3 extrapolate alike.
    """
    rng = np.random.default_rng(7)
    end = int(time.time()) // 7200 * 7200 - 7200
    times = np.arange(end - HOURS * 3600, end, EVERY, dtype=np.int64)
    rows = []
    for number in range(SERIES):
        values = 1e6 + np.cumsum(rng.gamma(2.0, 3.0, len(times)))
        values[int(rng.integers(len(times))) :] -= 5e5
        rows.append(({"instance": f"i{number}", "group": f"g{number % 5}"}, np.round(values, 3)))
    return times, rows


async def peer(folder: Path, times: np.ndarray, rows: Rows) -> tuple[asyncio.subprocess.Process, str]:
    """A Prometheus with the samples, and its address."""
    text = folder / "samples.txt"
    with text.open("w") as out:
        out.write("# TYPE bench counter\n")
        for labels, values in rows:
            selector = ",".join(f'{name}="{value}"' for name, value in labels.items())
            out.writelines(
                f"bench_total{{{selector}}} {value!r} {at}\n"
                for at, value in zip(times.tolist(), values.tolist(), strict=True)
            )
        out.write("# EOF\n")
    data = folder / "data"
    made = await asyncio.create_subprocess_exec(
        "promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data), stdout=subprocess.DEVNULL
    )
    if await made.wait():
        raise RuntimeError("promtool could not make blocks")
    config = folder / "prometheus.yml"
    config.write_text("global:\n  scrape_interval: 1h\n")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=10y",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return process, f"http://127.0.0.1:{port}"


@asynccontextmanager
async def ourselves(folder: Path, times: np.ndarray, rows: Rows) -> AsyncIterator[str]:
    """Our query API over a journal that has the samples: the last hour in memory, the rest in blocks on disk."""
    clock = SystemClock()
    journal = await open_journal(folder / "store.db", clock=clock, meters=Meters())
    labels = tuple(tuple(sorted({"__name__": "bench_total", **one}.items())) for one, _ in rows)
    table = np.array([values for _, values in rows]).T.tolist()
    facts = [
        Samples(at=float(at), origin="bench", labels=labels, values=tuple(values))
        for at, values in zip(times.tolist(), table, strict=True)
    ]
    for start in range(0, len(facts), 240):
        await journal.record(facts[start : start + 240])
        await snapshot(journal)
    history = History(journal)
    env = SimpleNamespace(board=journal.board, journal=journal, history=history, clock=clock)
    app = web.Application()
    app.add_routes(prometheus.routes(env))  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        history.close()
        await journal.close()


async def ask(session: ClientSession, url: str, query: str, times: np.ndarray) -> tuple[float, list[dict[str, object]]]:
    # The steps fall between the samples, so that windows open and closed on the left hold the same.
    start, end = times[0] + 3600 + EVERY // 2, times[-1]
    parameters = {"query": query, "start": str(start), "end": str(end), "step": str(STEP)}
    began = time.perf_counter()
    async with session.get(f"{url}/api/v1/query_range", params=parameters) as response:
        body = await response.read()
        took = time.perf_counter() - began
        assert response.status == 200, body[:300]
    found: list[dict[str, object]] = json.loads(body)["data"]["result"]
    return took, found


def same(a: list[dict[str, object]], b: list[dict[str, object]]) -> bool:
    """Whether two answers agree: the same series and times, values to nine digits."""

    def table(rows: list[dict[str, object]]) -> dict[str, dict[float, float]]:
        return {str(sorted(row["metric"].items())): {t: float(v) for t, v in row["values"]} for row in rows}  # type: ignore[attr-defined]

    left, right = table(a), table(b)
    if left.keys() != right.keys():
        return False
    return all(
        left[key].keys() == right[key].keys()
        and all(abs(left[key][t] - v) <= 1e-9 * max(abs(v), 1e-9) for t, v in right[key].items())
        for key in left
    )


async def measure(folder: Path, rounds: int) -> list[Row]:
    times, rows = samples()
    out = []
    process, theirs = await peer(folder, times, rows)
    try:
        async with ourselves(folder, times, rows) as ours, ClientSession() as session:
            await ready(session, theirs)
            for label, query in QUERIES.items():
                spent: dict[str, list[float]] = {ours: [], theirs: []}
                answers = {}
                for _ in range(rounds):
                    for url in (ours, theirs):
                        took, answers[url] = await ask(session, url, query, times)
                        spent[url].append(took)
                if not same(answers[ours], answers[theirs]):
                    raise RuntimeError(f"{query}: the answers differ")
                mine, other = (statistics.median(spent[url]) * 1000 for url in (ours, theirs))
                out.append(
                    Row(
                        f"range query, {SERIES} series x {HOURS} h at {EVERY} s, step {STEP} s: {label}",
                        f"{mine:.1f} ms",
                        f"Prometheus {other:.1f} ms",
                        f"{mine / other:.2f}",
                        f"<= {GOAL:g}",
                        mine <= GOAL * other,
                    )
                )
    finally:
        process.terminate()
        await process.wait()
    return out


async def ready(session: ClientSession, url: str) -> None:
    for _ in range(200):
        try:
            async with session.get(f"{url}/-/ready") as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError("Prometheus did not become ready")


def rows(folder: Path) -> list[Row]:
    return asyncio.run(measure(folder, 9))
