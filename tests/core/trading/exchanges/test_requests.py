"""Requests: error rates and latencies by endpoint and exchange."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from trader_monitor.core.facts import Request
from trader_monitor.core.figure import Figure
from trader_monitor.core.trading.exchanges import requests as module
from trader_monitor.core.trading.exchanges.requests import OTHERS, Requests

DATA = Path(__file__).parents[3] / "data"
T0 = 1_700_006_400.0


def request(at: float, ok: bool = True, endpoint: str = "/order", exchange: str = "e", seconds: float = 0.1) -> Request:
    return Request(at=T0 + at, exchange=exchange, endpoint=endpoint, latency_seconds=seconds, ok=ok)


def folded(*events: Request) -> Requests:
    requests = Requests()
    for event in events:
        requests.fold(event, round(event.at * 1000))
    return requests


def figures(requests: Requests, now: float) -> dict[tuple[str, ...], Figure]:
    return {
        (figure.name.removeprefix("exchange_"), *(value for _, value in figure.labels)): figure
        for figure in requests.figures(round(now * 1000))
    }


def test_the_error_rate_has_wilson_s_interval() -> None:
    requests = folded(
        *(request(n, ok=n % 8 > 0) for n in range(40)), *(request(n, endpoint="/book") for n in range(60))
    )
    found = figures(requests, T0 + 60)
    for key, hits, n in ((("e", "/order", "1h"), 5, 40), (("e", "1h"), 5, 100), (("e", "/book", "24h"), 0, 60)):
        figure = found["error_ratio", *key]
        interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert (figure.value, figure.n) == (hits / n, n)
        assert figure.interval is not None
        assert figure.interval[:2] == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_an_hour_ends_and_a_day_goes_on() -> None:
    found = figures(folded(request(0, ok=False)), T0 + 4_000)
    assert (found["error_ratio", "e", "1h"].value, found["error_ratio", "e", "24h"].value) == (None, 1.0)
    assert found["error_ratio", "e", "1h"].reason == "no call in this window"
    assert not figures(folded(request(0)), T0 + 31 * 86_400), "an endpoint that nobody called for a month has none"


def test_a_real_bot_s_api() -> None:
    """934 calls that were made of a freqtrade bot while its exchange failed; six of 62 entries ended in a 500."""
    with gzip.open(DATA / "freqtrade_rest.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    requests = Requests()
    for line in lines:
        event = Request(
            at=line["ts"],
            exchange="freqtrade",
            endpoint=line["ep"].rsplit(" ", 1)[0],
            latency_seconds=line.get("ms", 0.0) / 1000.0,
            ok=line["status"] < 400,
        )
        requests.fold(event, round(event.at * 1000))
    found = figures(requests, lines[-1]["ts"])
    whole = found["error_ratio", "freqtrade", "24h"]
    assert (whole.value, whole.n) == (6 / 934, 934)
    entry = found["error_ratio", "freqtrade", "POST forceenter", "24h"]
    assert entry.n == 62
    assert entry.value == pytest.approx(6 / 62)
    for endpoint, n in (("health", 236), ("status", 236), ("profit", 48)):
        seconds = [line["ms"] / 1000.0 for line in lines if line["ep"] == endpoint]
        for share in (50, 95, 99):
            figure = found["request_quantile_seconds", "freqtrade", endpoint, "24h", f"{share / 100:g}"]
            assert figure.value == pytest.approx(np.percentile(seconds, share, method="inverted_cdf"), rel=0.02)
            assert figure.n == n


def test_calls_through_a_real_exchange_s_failures() -> None:
    """One call a second while a stub exchange limited (40 s), was in maintenance (40 s), slow and hung (60 s each)."""
    lines = [json.loads(line) for line in (DATA / "freqtrade_exchange_chaos_timeline.jsonl").read_text().splitlines()]
    begin = lines[0]["ts"]
    seconds_of = {"ok": 0.05, "429": 0.05, "maint": 0.05, "slow": 3.0, "hang": 10.0}
    events = []
    for n in range(600):
        mode = max((line for line in lines if line["ts"] <= begin + n), key=lambda line: line["ts"])["mode"]
        call = request(0, ok=mode in ("ok", "slow"), seconds=seconds_of[mode])
        events.append(msgspec.structs.replace(call, at=begin + n))
    found = figures(folded(*events), begin + 600)
    rate = found["error_ratio", "e", "1h"]
    assert rate.n == 600
    assert rate.value == pytest.approx((40.083 + 40.066 + 60.040) / 600.535, abs=2 / 600)
    assert found["request_quantile_seconds", "e", "1h", "0.5"].value == pytest.approx(0.05, rel=0.02)
    assert found["request_quantile_seconds", "e", "1h", "0.95"].value == pytest.approx(10.0, rel=0.02)
    assert found["request_quantile_seconds", "e", "1h", "0.95"].interval is not None


def test_a_flood_of_endpoints_and_exchanges_is_counted_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENDPOINTS", 10)
    requests = folded(*(request(0, endpoint=f"/order/{n}") for n in range(50)))
    assert len(requests.endpoints) == 11
    assert figures(requests, T0)["error_ratio", "e", OTHERS, "1h"].n == 40
    assert figures(requests, T0)["error_ratio", "e", "1h"].n == 50, "none is lost to its exchange"
    for n in range(400):
        requests.fold(request(0, exchange=f"x{n}"), round(T0 * 1000))
        requests.fold(request(0, exchange=f"x{n}"), round(T0 * 1000))
    assert len(requests.endpoints) == 10 + 255 + 1
    assert figures(requests, T0)["error_ratio", OTHERS, "1h"].n == 2 * (400 - 254)
