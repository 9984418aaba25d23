"""Scraping: what real expositions hold, and what a bad target may do."""

from __future__ import annotations

import asyncio
import gc
import gzip
import math
import os
import time
from typing import Any

import pytest
from aiohttp import web

from tests.acceptance.vigil import waited
from tests.plugins.house import house, server
from trader_monitor.plugins.collectors.scrape import Options, scrape
from trader_monitor.runtime.readings import Partial, Reading

TEXT = """\
# TYPE requests_total counter
requests_total{code="200"} 1027 1395066363000
requests_total{code="400"} 3
# TYPE temp gauge
temp NaN
"""

OPENMETRICS = """\
# TYPE hits counter
hits_total{a="1"} 7.0
# EOF
"""


def page(body: str | bytes, **how: Any) -> Any:
    async def answer(_: web.Request) -> web.Response:
        raw = body if isinstance(body, bytes) else body.encode()
        how.setdefault("headers", {"Content-Type": "text/plain; version=0.0.4"})
        return web.Response(body=raw, **how)

    return answer


def keyed(readings: list[Reading]) -> dict[tuple[str, ...], float]:
    return {(r.name, *(v for k, v in sorted(r.labels.items()) if k != "instance")): r.value for r in readings}


async def test_a_page_is_told_with_its_target_and_what_the_scrape_itself_saw() -> None:
    async with house() as env, server(page(TEXT)) as url:
        readings = await scrape(Options(url=url + "/metrics"), env)
    seen = keyed(readings)
    assert seen["up",] == 1
    assert seen["requests_total", "200"] == 1027
    assert math.isnan(seen["temp",])
    assert seen["scrape_samples_scraped",] == 3
    assert seen["scrape_duration_seconds",] > 0
    kinds = {r.of.name: r.of.kind for r in readings if r.of}
    assert (kinds["requests_total"], kinds["temp"]) == ("counter", "gauge")
    assert all(r.labels["instance"] == url.removeprefix("http://") for r in readings)


async def test_openmetrics_is_asked_for_and_read() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept"])
        return web.Response(
            body=OPENMETRICS.encode(),
            headers={"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"},
        )

    async with house() as env, server(answer) as url:
        readings = await scrape(Options(url=url), env)
    seen = keyed(readings)
    assert "application/openmetrics-text" in asked[0]
    assert seen["hits_total", "1"] == 7
    assert {r.of.name: r.of.kind for r in readings if r.of}["hits_total"] == "counter"


CLASHES = [
    ("the target's own label gives way", False, {"exported_instance": "theirs", "env": "desk"}),
    ("the target's own label wins where that is wished", True, {"instance": "theirs", "env": "desk"}),
]


@pytest.mark.parametrize(("honor", "wanted"), [case[1:] for case in CLASHES], ids=[case[0] for case in CLASHES])
async def test_labels_that_clash(honor: bool, wanted: dict[str, str]) -> None:
    async with house() as env, server(page('a{instance="theirs"} 1\n')) as url:
        readings = await scrape(Options(url=url, labels={"env": "desk"}, honor_labels=honor), env)
    (reading,) = [r for r in readings if r.name == "a"]
    assert wanted.items() <= reading.labels.items()


REFUSED = [
    ("another status", page(TEXT, status=503), {}, "status 503"),
    ("a redirect, which is not followed", page("", status=302, headers={"Location": "/x"}), {}, "status 302"),
    ("garbage", page("{{{ not metrics"), {}, "not in the format"),
    ("too large a body", page("a 1\n" * 1000), {"max_body": 1000}, "larger than 1000"),
    (
        "a decompression bomb",
        page(gzip.compress(b"\n" * 50_000_000), headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"}),
        {"max_body": 1 << 20},
        "larger than",
    ),
    ("an encoding that was not asked for", page("a 1\n", headers={"Content-Encoding": "br"}), {}, "'br', wanted gzip"),
    ("too many samples", page("".join(f"a{i} 1\n" for i in range(11))), {"max_samples": 10}, "more than 10 samples"),
    ("too many labels", page('a{b="1",c="2"} 1\n'), {"max_labels": 2}, "more than 2 labels"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "options", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_a_bad_target_is_down_and_says_why(answer: Any, options: dict[str, Any], reason: str) -> None:
    async with house() as env, server(answer) as url:
        with pytest.raises(Partial, match=f"(?i){reason}") as caught:
            await scrape(Options(url=url, **options), env)
    assert keyed(list(caught.value.readings))["up",] == 0


async def test_a_packed_page_is_asked_for_and_read() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=gzip.compress(b"a 7\n"), headers={"Content-Encoding": "gzip"})

    async with house() as env, server(answer) as url:
        readings = await scrape(Options(url=url), env)
    assert keyed(readings)["a",] == 7
    assert asked == ["gzip"]


@pytest.mark.parametrize("body", [b"a 1\n" * 4_000_000, b"# TYPE " + b"x" * 16_000_000, b"#\n" * 8_000_000])
async def test_a_huge_page_is_given_up_early_and_does_not_stop_the_loop(
    body: bytes, request: pytest.FixtureRequest
) -> None:
    gc.freeze()  # as the daemon does: one look at all that the tests hold takes a tenth of a second
    request.addfinalizer(gc.unfreeze)
    gaps: list[float] = []

    async def beat() -> None:
        while True:
            before, idle = time.monotonic(), waited(str(os.getpid()))
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - before - (waited(str(os.getpid())) - idle))

    async with house() as env, server(page(body)) as url:
        beating = asyncio.create_task(beat())
        with pytest.raises(Partial, match=r"more than|longer than"):
            await scrape(Options(url=url + "/metrics"), env)
        beating.cancel()
    assert gaps
    assert max(gaps) < 0.15, "a quarter of a second where the whole is looked at; the target's own work is in it"


async def test_a_target_that_refuses_connections_is_down(unused_port: int) -> None:
    async with house() as env:
        with pytest.raises(Partial) as caught:
            await scrape(Options(url=f"http://127.0.0.1:{unused_port}/metrics"), env)
    assert keyed(list(caught.value.readings))["up",] == 0


async def test_a_target_that_hangs_is_down_before_the_callers_deadline() -> None:
    import anyio

    released = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"a 1\n")
        await released.wait()
        return answer

    async with house() as env, server(hang) as url:
        with anyio.fail_after(0.4), pytest.raises(Partial, match="no whole answer in time") as caught:
            await scrape(Options(url=url), env)
        released.set()
    assert keyed(list(caught.value.readings))["up",] == 0
