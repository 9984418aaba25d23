"""/metrics, /health and /ready: read back by prometheus_client, promtool and a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.plugins.house import TinyJournal, house, plugin
from trader_monitor.core.samples import STALE
from trader_monitor.core.series import SeriesStore
from trader_monitor.runtime.rounds import Rounds
from trader_monitor.web.api import metrics
from trader_monitor.web.api.metrics import negotiated
from trader_monitor.web.exposition import CONTENT_TYPES, Exposition

NOW_MS = 1_700_000_000_000
BOUNDS = (".001", ".005", ".1", "1", "2.5", "10", "+Inf")


def put(store: SeriesStore, name: str, value: float, t_ms: int = NOW_MS, **labels: str) -> None:
    sid = store.intern(tuple(sorted([("__name__", name), *labels.items()])))
    assert store.append(sid, t_ms, value)


def stocked(t_ms: int = NOW_MS) -> SeriesStore:
    """A bit of everything that the daemon holds."""
    store = SeriesStore()
    store.describe("depth", "gauge", 'How "deep"\nit is \\ was.')
    store.describe("hits_total", "counter", "Hits.")
    store.describe("bare", "counter", "A counter whose target gave it no suffix.")
    store.describe("lat_seconds", "histogram", "Latency.")
    store.describe("wait_seconds", "summary", "Waiting.")
    put(store, "depth", 1.5, t_ms, path='a\\b"c\nd', city="北京")
    put(store, "depth", math.nan, t_ms)
    put(store, "depth", math.inf, t_ms, x="1")
    put(store, "depth", -math.inf, t_ms, x="2")
    put(store, "hits_total", 1e21, t_ms, code="200")
    put(store, "bare", 3, t_ms)
    put(store, "nobody_told", 0.1, t_ms)
    for endpoint in ("b", "a"):
        put(store, "lat_seconds_count", 6, t_ms, endpoint=endpoint)
        for bound in reversed(BOUNDS):
            put(store, "lat_seconds_bucket", BOUNDS.index(bound), t_ms, endpoint=endpoint, le=bound)
        put(store, "lat_seconds_sum", 1.25, t_ms, endpoint=endpoint)
    put(store, "wait_seconds", 0.5, t_ms, quantile="0.5")
    put(store, "wait_seconds_sum", 5, t_ms)
    put(store, "wait_seconds_count", 10, t_ms)
    return store


async def shown(store: SeriesStore, format: Any, now_ms: int = NOW_MS) -> str:
    return b"".join(await Exposition().render(store, now_ms, format)).decode()


def held(store: SeriesStore) -> dict[tuple[Any, ...], float]:
    """Name and labels as they are held, with their newest values."""
    return {store.labels_of(sid): float(store.last_v[sid]) for sid in store.sids()}


def read(text: str, parse: Callable[[str], Any]) -> dict[tuple[Any, ...], float]:
    samples = [sample for family in parse(text) for sample in family.samples]
    return {tuple(sorted([("__name__", s.name), *s.labels.items()])): s.value for s in samples}


def same(one: dict[Any, float], other: dict[Any, float]) -> bool:
    return one.keys() == other.keys() and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in ((one[key], other[key]) for key in one)
    )


async def test_the_text_format_says_what_is_held() -> None:
    store = stocked()
    text = await shown(store, "text")
    back = read(text, read_text)
    # prometheus_client gives a bare counter the suffix that OpenMetrics wants.
    back[("__name__", "bare"),] = back.pop((("__name__", "bare_total"),))
    assert same(back, held(store))
    assert '# HELP depth How "deep"\\nit is \\\\ was.\n# TYPE depth gauge\n' in text
    assert "# TYPE hits_total counter\n" in text
    assert "# TYPE nobody_told untyped\n" in text
    assert "# TYPE lat_seconds histogram\n" in text


async def test_openmetrics_says_what_is_held() -> None:
    store = stocked()
    text = await shown(store, "openmetrics")
    wanted = {
        tuple((k, repr(float(v)) if k in {"le", "quantile"} and v != "+Inf" else v) for k, v in labels): value
        for labels, value in held(store).items()
    }
    assert same(read(text, read_openmetrics), wanted)
    assert "# TYPE hits counter\n" in text
    assert 'hits_total{code="200"} 1e+21\n' in text
    assert "# TYPE bare unknown\nbare 3.0\n" in text.replace(
        "# HELP bare A counter whose target gave it no suffix.\n", ""
    )
    assert text.endswith("# EOF\n")


async def test_each_family_stands_once_and_together_and_buckets_ascend() -> None:
    text = await shown(stocked(), "text")
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert types == sorted(set(types))
    rows = [line for line in text.splitlines() if line.startswith("lat_seconds")]
    assert rows == [
        f'lat_seconds_{part}'
        for endpoint in ("b", "a")
        for part in (
            *(f'bucket{{endpoint="{endpoint}",le="{bound}"}} {float(i)}' for i, bound in enumerate(BOUNDS)),
            f'sum{{endpoint="{endpoint}"}} 1.25',
            f'count{{endpoint="{endpoint}"}} 6.0',
        )
    ]  # fmt: skip


async def test_what_has_ended_or_is_silent_for_five_minutes_is_not_shown_nor_its_header() -> None:
    store = SeriesStore()
    for name, value, age_ms in [("fresh", 1, 0), ("old", 1, 300_000), ("nearly", 1, 299_999), ("ended", STALE, 0)]:
        put(store, name, value, NOW_MS - age_ms)
    text = await shown(store, "text")
    assert text == "# TYPE fresh untyped\nfresh 1.0\n# TYPE nearly untyped\nnearly 1.0\n"


async def test_a_large_family_has_one_header_also_when_its_first_series_are_silent() -> None:
    store = SeriesStore()
    store.describe("many", "gauge", "Many.")
    for number in range(1700):
        put(store, "many", number, NOW_MS - (400_000 if number < 600 else 0), n=str(number))
    text = await shown(store, "text")
    assert text.count("# TYPE many gauge") == 1
    assert text.startswith('# HELP many Many.\n# TYPE many gauge\nmany{n="600"} 600.0\n')
    assert len(text.splitlines()) == 1102


CLASHES = [
    ("a gauge beside a counter of the same stem", {"a": "gauge", "a_total": "counter"}, {"a": 1, "a_total": 2}),
    ("a gauge that looks like a histogram's count", {"h": "histogram", "h_count": "gauge"}, {"h_count": 4, "h_sum": 2}),
    ("a gauge like a creation time", {"b_total": "counter", "b_created": "gauge"}, {"b_total": 1, "b_created": 5}),
    ("an info and a stateset", {"i_info": "info", "s": "stateset"}, {"i_info": 1, "s": 1}),
    ("upper-case labels sort before the name", {"x": "gauge"}, {"x": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "values"), [case[1:] for case in CLASHES], ids=[case[0] for case in CLASHES])
@pytest.mark.parametrize("format", ["text", "openmetrics"])
async def test_names_that_clash_are_told_all_the_same(
    kinds: dict[str, str], values: dict[str, float], format: str
) -> None:
    store = SeriesStore()
    for name, kind in kinds.items():
        store.describe(name, kind, "It.")
    for name, value in values.items():
        put(store, name, value, A="1")
    back = read(await shown(store, format), read_text if format == "text" else read_openmetrics)
    assert {dict(labels)["__name__"]: value for labels, value in back.items()} == values


async def test_a_creation_time_beside_its_counter_is_left_out() -> None:
    store = SeriesStore()
    store.describe("b_total", "counter", "B.")
    put(store, "b_total", 1)
    put(store, "b_created", 1.7e9)
    assert "created" not in await shown(store, "openmetrics")


async def test_series_that_appear_end_or_are_described_later_are_seen_by_the_same_exposition() -> None:
    exposition, store = Exposition(), SeriesStore()

    async def text() -> str:
        return b"".join(await exposition.render(store, NOW_MS, "text")).decode()

    put(store, "a", 1)
    assert await text() == "# TYPE a untyped\na 1.0\n"
    put(store, "a", 2)
    assert await text() == "# TYPE a untyped\na 2.0\n"
    store.describe("a", "gauge", "")
    put(store, "b", 3)
    assert await text() == "# TYPE a gauge\na 2.0\n# TYPE b untyped\nb 3.0\n"
    store.forget([store.find((("__name__", "a"),))])
    assert await text() == "# TYPE b untyped\nb 3.0\n"
    other = stocked()
    assert b"".join(await exposition.render(other, NOW_MS, "text")).decode() == await shown(other, "text")


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True).filter(lambda name: name != "__name__")
label_names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda n: n not in {"le", "quantile"})
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1)


@given(
    st.dictionaries(
        st.tuples(names, st.frozensets(st.tuples(label_names, texts), max_size=3)),
        st.floats(),
        max_size=8,
    ),
    st.dictionaries(names, st.sampled_from(["gauge", "unknown", "counter"]), max_size=3),
)
def test_whatever_is_held_is_read_back(series: dict[Any, float], kinds: dict[str, str]) -> None:
    store = SeriesStore()
    for name, kind in kinds.items():
        store.describe(name, kind, "Some help.")
    for (name, labels), value in series.items():
        if kinds.get(name) == "counter":
            value = abs(value)  # a counter below nought is refused by OpenMetrics, and nobody has one
        put(store, name, value, **dict(labels))
    wanted = held(store)
    text = asyncio.run(shown(store, "openmetrics"))
    back = read(text, read_openmetrics)
    lost = {k for k in wanted if dict(k)["__name__"].endswith("_created")}
    assert same({k: v for k, v in back.items() if k not in lost}, {k: v for k, v in wanted.items() if k not in lost})


# --- over HTTP --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def door(store: SeriesStore | None = None, **parts: Any) -> AsyncIterator[tuple[str, Any]]:
    """The routes on a free port, over a house whose series are `store`."""
    journal = TinyJournal()
    if store is not None:
        journal.board.series = store
    async with house(journal=journal, **parts) as env:
        app = web.Application()
        app.add_routes(metrics.routes(env))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", env
        finally:
            await runner.cleanup()


OM = "application/openmetrics-text"
ACCEPTS = [
    ("nothing asked for", "", "text"),
    ("anything", "*/*", "text"),
    ("a browser", "text/html,application/xhtml+xml,*/*;q=0.8", "text"),
    ("plain text", "text/plain;version=0.0.4", "text"),
    ("OpenMetrics alone", "application/openmetrics-text; version=1.0.0", "openmetrics"),
    ("Prometheus 2", f"{OM};version=1.0.0,{OM};version=0.0.1;q=0.75,text/plain;q=0.5,*/*;q=0.1", "openmetrics"),
    ("Prometheus 3", f"{OM};version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2,*/*;q=0.1", "openmetrics"),
    ("text preferred", "application/openmetrics-text;q=0.3,text/plain;q=0.7", "text"),
    ("a version that there is not yet", "application/openmetrics-text;version=9.0.0,text/plain;q=0.1", "text"),
    ("a quality that is none", "application/openmetrics-text;q=best,text/plain;q=0.1", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("accept", "format"), [case[1:] for case in ACCEPTS], ids=[case[0] for case in ACCEPTS])
def test_the_format_is_negotiated(accept: str, format: str) -> None:
    assert negotiated(accept) == format


async def test_metrics_come_compressed_to_those_who_take_it_and_typed() -> None:
    store = stocked(int(time.time() * 1000))
    for number in range(500):
        put(store, "filler", number, int(time.time() * 1000), n=str(number))
    async with door(store) as (url, _), aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(url + "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        headers = {"Accept-Encoding": "identity", "Accept": "application/openmetrics-text"}
        async with session.get(url + "/metrics", headers=headers) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await answer.text()).endswith("# EOF\n")


async def test_ten_thousand_series_do_not_hold_up_the_loop() -> None:
    """20 ms at the most, also where all is laid out anew. The best of three: others run on this machine too."""
    store = SeriesStore()
    t_ms = int(time.time() * 1000)
    for number in range(10_000):
        put(store, f"series_{number % 40}", number, t_ms, symbol=f"S{number}", exchange="binance", source="bot")
    worst: list[float] = []
    async with door(store) as (url, _), aiohttp.ClientSession() as session:
        for round in range(3):
            put(store, "another", 1, t_ms, n=str(round))
            lags: list[float] = []

            async def beat(lags: list[float] = lags) -> None:
                while True:
                    asleep = time.perf_counter()
                    await asyncio.sleep(0)
                    lags.append(time.perf_counter() - asleep)

            pulse = asyncio.ensure_future(beat())
            async with session.get(url + "/metrics") as answer:
                assert (await answer.read()).count(b"\n") > 10_000
            pulse.cancel()
            worst.append(max(lags))
    assert min(worst) < 0.020, worst


async def test_alive_is_answered_at_once_and_ready_with_its_reasons() -> None:
    reasons: list[str] = ["replaying the journal"]
    async with door(ready=lambda: tuple(reasons)) as (url, env), aiohttp.ClientSession() as session:
        began = time.monotonic()
        async with session.get(url + "/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        assert time.monotonic() - began < 0.1
        async with session.get(url + "/ready") as answer:
            assert answer.status == 503
            assert await answer.json() == {"ready": False, "reasons": ["replaying the journal"], "degraded": None}
        reasons.clear()
        env.journal.degraded = "disk full"
        async with session.get(url + "/ready") as answer:
            assert (answer.status, await answer.json()) == (
                200,
                {"ready": True, "reasons": [], "degraded": "disk full"},
            )
        async with session.head(url + "/health") as answer:
            assert answer.status == 200


# --- the real thing ---------------------------------------------------------------------------------------------


async def collected(env: Any) -> None:
    """One round of every collector of the host, recorded."""
    for name in ("clock", "connections", "cpu", "descriptors", "disk_io", "disk_space", "load", "memory", "monitor",
                 "network", "swap", "temperatures"):  # fmt: skip
        it = plugin("collector", name)
        readings = await it.call(it.options(), env)
        await env.journal.record([Rounds(name).samples(time.time(), readings, up=True, seconds=0.001)])


async def promtool(program: str, text: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        program, "check", "metrics", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await process.communicate(text.encode())
    return process.returncode, out.decode()


async def test_promtool_has_nothing_to_say_about_the_collectors_metrics(need: Any) -> None:
    program = need("promtool", "prometheus")
    async with house() as env:
        await collected(env)
        text = await shown(env.board.series, "text", int(time.time() * 1000))
    assert await promtool(program, text) == (0, "")


async def test_promtool_takes_whatever_else_is_held(need: Any) -> None:
    """Its advice about the names that others gave their metrics (exit status 3) is no refusal."""
    code, said = await promtool(need("promtool", "prometheus"), await shown(stocked(), "text"))
    assert code in (0, 3), said
    assert "error while linting" not in said.lower()


@pytest.mark.real
async def test_a_real_prometheus_scrapes_all_of_it_in_both_formats(need: Any, tmp_path: Path) -> None:
    program = need("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store, exposition = stocked(int(time.time() * 1000)), Exposition()

    async def only(request: web.Request) -> web.Response:
        format: Any = request.match_info["format"]
        pieces = await exposition.render(store, int(time.time() * 1000), format)
        return web.Response(body=b"".join(pieces), headers={"Content-Type": CONTENT_TYPES[format]})

    app = web.Application()
    app.router.add_get("/{format}", only)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = f"127.0.0.1:{runner.addresses[0][1]}"
    jobs = [
        {"job_name": format, "metrics_path": f"/{format}", "static_configs": [{"targets": [target]}]}
        for format in CONTENT_TYPES
    ]
    config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": jobs}
    write(tmp_path / "prometheus.yml", json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    async def ask(query: str) -> list[Any]:
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query"
            async with session.get(url, params={"query": query}) as answer:
                return (await answer.json())["data"]["result"] if answer.status == 200 else []
        except aiohttp.ClientError:
            return []

    async with aiohttp.ClientSession() as session:
        try:
            deadline = time.monotonic() + 20
            while [one["value"][1] for one in await ask("up")] != ["1", "1"]:
                assert time.monotonic() < deadline, await ask("up")
                await asyncio.sleep(0.1)
            assert [int(one["value"][1]) for one in await ask("scrape_samples_scraped")] == [len(store)] * 2
            assert {one["metric"]["path"] for one in await ask('depth{city="北京"}')} == {'a\\b"c\nd'}
            assert len(await ask("lat_seconds_bucket")) == 2 * 2 * len(BOUNDS)
        finally:
            process.kill()
            await process.wait()
            await runner.cleanup()


def write(path: Path, text: str) -> None:
    path.write_text(text)
