"""The query API, asked by HTTP as Grafana does, and by promtool."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, web

from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import AlertChanged
from trader_monitor.core.series import SeriesStore
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.web import prometheus_json
from trader_monitor.web.api import prometheus
from trader_monitor.web.body import Pace
from trader_monitor.web.unsent import UNSENT, Unsent

NOW = 1_700_000_000


def house() -> SimpleNamespace:
    """As much of the house as the API looks at: an hour of samples, a rule that fires and its alert."""
    series = SeriesStore(head=4096)
    for instance in ("a", "b"):
        requests = series.intern((("__name__", "http_requests_total"), ("instance", instance)))
        up = series.intern((("__name__", "up"), ("instance", instance)))
        for at in range(241):
            t = (NOW - 3600 + at * 15) * 1000
            series.append(requests, t, at * (10.0 if instance == "a" else 20.0))
            series.append(up, t, 1.0)
    odd = series.intern((("__name__", "odd"), ("quote", 'say "hi"\n')))
    for at, value in enumerate([math.nan, math.inf, -math.inf, 1e-7, 1e21, 123456789.5]):
        series.append(odd, (NOW - 50 + at * 10) * 1000, value)
    series.describe("http_requests_total", "counter", "Requests served.", "")
    rules = compile_rules([Rule(name="Down", expr="up == 0", severity="critical", summary="{labels.instance} is down")])
    alert = AlertChanged(
        at=NOW - 60.0, fingerprint="f", rule="Down", state="firing", transition=1, severity="critical",
        labels={"alertname": "Down", "instance": "a", "severity": "critical"}, summary="a is down",
        active_at=NOW - 90.0, mono=0.0, value=0.25,
    )  # fmt: skip
    board = SimpleNamespace(series=series, alerts={"f": alert})
    return SimpleNamespace(
        board=board, journal=SimpleNamespace(judge=rules, board=board), history=None, clock=ManualClock(wall=float(NOW))
    )


@asynccontextmanager
async def served(env: SimpleNamespace) -> AsyncIterator[str]:
    app = web.Application()
    app[UNSENT] = Unsent(Pace())
    app.add_routes(prometheus.routes(env))  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(env: SimpleNamespace | None = None) -> AsyncIterator[Callable[..., Any]]:
    async with served(env or house()) as url, ClientSession() as session:

        async def ask(path: str, status: int = 200, post: bool = False, **parameters: Any) -> Any:
            call = (
                session.post(f"{url}/api/v1/{path}", data=parameters)
                if post
                else session.get(f"{url}/api/v1/{path}", params=parameters)
            )
            async with call as response:
                body = await response.json()
                assert response.status == status, body
                assert body["status"] == ("success" if status == 200 else "error")
                return body["data"] if status == 200 else body

        yield ask


async def test_an_instant_query_is_answered_as_prometheus_answers_it() -> None:
    async with asking() as ask:
        data = await ask("query", query='http_requests_total{instance="a"}')
        assert data == {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "http_requests_total", "instance": "a"}, "value": [NOW, "2400"]}],
        }
        assert await ask("query", query="1.5", time="1435781430.781") == {
            "resultType": "scalar",
            "result": [1435781430.781, "1.5"],
        }
        assert (await ask("query", query='"x"'))["result"] == [NOW, "x"]
        matrix = await ask("query", query='up{instance="b"}[31s]')
        assert matrix["result"][0]["values"] == [[NOW - 30, "1"], [NOW - 15, "1"], [NOW, "1"]]


async def test_a_range_query_by_get_and_by_form_post() -> None:
    async with asking() as ask:
        asked = {"query": "sum(rate(http_requests_total[5m]))", "start": NOW - 120, "end": NOW, "step": "1m"}
        data = await ask("query_range", **asked)
        assert data["resultType"] == "matrix"
        (row,) = data["result"]
        assert row["metric"] == {}
        assert [at for at, _ in row["values"]] == [NOW - 120, NOW - 60, NOW]
        assert all(float(value) == pytest.approx(2.0) for _, value in row["values"])
        assert await ask("query_range", post=True, **asked) == data
        iso = asked | {"start": "2023-11-14T22:11:20Z", "end": "2023-11-14T22:13:20.000+00:00", "step": "60"}
        assert await ask("query_range", **iso) == data


async def test_numbers_are_written_as_prometheus_writes_them() -> None:
    async with asking() as ask:
        data = await ask("query_range", query="odd", start=NOW - 50, end=NOW, step="10")
        values = [value for _, value in data["result"][0]["values"]]
        assert values == ["NaN", "+Inf", "-Inf", "1e-07", "1e+21", "123456789.5"]
        assert data["result"][0]["metric"]["quote"] == 'say "hi"\n'


async def test_what_there_is_can_be_listed() -> None:
    async with asking() as ask:
        assert await ask("labels") == ["__name__", "instance", "quote"]
        assert await ask("labels", **{"match[]": "up"}) == ["__name__", "instance"]
        assert await ask("label/instance/values") == ["a", "b"]
        assert await ask("label/instance/values", limit="1") == ["a"]
        assert await ask("label/nothing/values") == []
        assert await ask("series", **{"match[]": 'up{instance=~"b|c"}'}) == [{"__name__": "up", "instance": "b"}]
        assert await ask("metadata") == {
            "http_requests_total": [{"type": "counter", "help": "Requests served.", "unit": ""}]
        }
        assert await ask("metadata", metric="nothing") == {}
        assert "version" in await ask("status/buildinfo")


async def test_rules_and_alerts() -> None:
    async with asking() as ask:
        (group,) = (await ask("rules"))["groups"]
        (rule,) = group["rules"]
        assert (rule["name"], rule["state"], rule["query"], rule["health"]) == ("Down", "firing", "up == 0", "ok")
        (alert,) = (await ask("alerts"))["alerts"]
        assert alert == rule["alerts"][0]
        assert alert["value"] == "2.5e-01"
        assert alert["activeAt"] == "2023-11-14T22:11:50.000Z"
        assert alert["annotations"] == {"summary": "a is down"}


@pytest.mark.parametrize(
    ("path", "parameters", "status", "kind", "words"),
    [
        ("query", {}, 400, "bad_data", "'query': is missing"),
        ("query", {"query": "sum("}, 400, "bad_data", "unclosed left parenthesis"),
        ("query", {"query": "nosuch(up)"}, 400, "bad_data", "nosuch"),
        ("query", {"query": "histogram_count(up)"}, 400, "bad_data", "histogram_count"),
        ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data", "yesterday"),
        ("query", {"query": "up", "time": "NaN"}, 400, "bad_data", "'time'"),
        ("query", {"query": "up", "limit": "-1"}, 400, "bad_data", "limit"),
        ("query", {"query": "up + on() up"}, 422, "execution", "many-to-many matching not allowed"),
        ("query_range", {"query": "up"}, 400, "bad_data", "start"),
        ("query_range", {"query": "up", "start": 10, "end": 0, "step": 1}, 400, "bad_data", "before start"),
        ("query_range", {"query": "up", "start": 0, "end": 10, "step": 0}, 400, "bad_data", "zero or negative"),
        ("query_range", {"query": "up", "start": 0, "end": 10, "step": "x"}, 400, "bad_data", "duration"),
        ("query_range", {"query": "up", "start": 0, "end": 1e9, "step": 1}, 400, "bad_data", "maximum resolution"),
        ("query_range", {"query": "up[5m]", "start": 0, "end": 10, "step": 1}, 400, "bad_data", "range vector"),
        ("query", {"query": "up[5000d:1s]"}, 422, "execution", "more than"),
        ("series", {}, 400, "bad_data", "match[]"),
        ("series", {"match[]": "rate(up[5m])"}, 400, "bad_data", "selector"),
    ],
)
async def test_errors_say_what_is_wrong(
    path: str, parameters: dict[str, Any], status: int, kind: str, words: str
) -> None:
    async with asking() as ask:
        body = await ask(path, status=status, **parameters)
        assert body["errorType"] == kind
        assert words in body["error"]


async def test_a_form_that_is_none_is_refused() -> None:
    async with (
        served(house()) as url,
        ClientSession() as session,
        session.post(f"{url}/api/v1/query", json={"query": "up"}) as response,
    ):
        assert response.status == 400


async def test_a_query_beyond_its_deadline_is_ended_and_blocks_nobody() -> None:
    env = house()
    release = threading.Event()
    entered = threading.Event()

    class Slow(SeriesStore):
        def window(self, sid: int, t0_ms: int, t1_ms: int) -> Any:
            entered.set()
            release.wait(10)
            return super().window(sid, t0_ms, t1_ms)

    slow = Slow()
    sid = slow.intern((("__name__", "up"),))
    slow.append(sid, NOW * 1000, 1.0)
    env.board.series = slow
    async with asking(env) as ask:
        late = asyncio.create_task(ask("query", status=503, query="rate(up[5m])", timeout="50ms"))
        await asyncio.to_thread(entered.wait, 5)
        assert (await ask("query", query="1"))["result"] == [NOW, "1"]
        body = await late
        release.set()
        assert body["errorType"] == "timeout"
        assert "timed out" in body["error"]


@pytest.mark.real
async def test_promtool_queries_us_as_it_queries_prometheus(need: Callable[..., str]) -> None:
    promtool = need("promtool", "prometheus")

    async def run(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            promtool, "query", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async with served(house()) as url:
        instant = await run("instant", url, "sum by (instance) (http_requests_total)", "--time", str(NOW))
        assert instant.splitlines() == [f'{{instance="a"}} => 2400 @[{NOW}]', f'{{instance="b"}} => 4800 @[{NOW}]']
        rows = await run("range", "--start", str(NOW - 60), "--end", str(NOW), "--step", "30s", url, 'up{instance="a"}')
        assert rows.count("1 @[") == 3
        assert 'up{instance="a"}' in rows
        series = await run("series", "--match", "up", url)
        assert series.splitlines() == ['{__name__="up", instance="a"}', '{__name__="up", instance="b"}']
        assert (await run("labels", url, "instance")).splitlines() == ["a", "b"]


def test_many_numbers_are_written_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    for values in (
        np.round(rng.normal(0, 1e4, 500), 2),
        np.arange(-50.0, 50.0),
        10.0 ** rng.uniform(-12, 24, 500),
        np.array([0.0, -0.0, 1e15, 123456789012345.6, 0.0001, 0.1 + 0.2]),
    ):
        assert prometheus_json._numbers(values) == [prometheus_json.number(value) for value in values.tolist()]


def test_times_before_1970_and_fractions() -> None:
    assert [prometheus_json.seconds(t) for t in (0, 1500, -1500, 1001, -1000)] == [
        "0",
        "1.500",
        "-1.500",
        "1.001",
        "-1",
    ]
    assert [prometheus_json.exponent(v) for v in (1.0, 0.25, -123456.789, math.inf)] == [
        "1e+00", "2.5e-01", "-1.23456789e+05", "+Inf"
    ]  # fmt: skip
    assert json.loads(prometheus_json.failure("bad_data", 'a "b"')) == {
        "status": "error", "errorType": "bad_data", "error": 'a "b"'
    }  # fmt: skip
