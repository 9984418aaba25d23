"""Expositions: what real pages hold, and what a bad one may do."""

from __future__ import annotations

import gzip
import math
from typing import Any

import pytest

from trader_monitor.runtime.exposition import OPENMETRICS, Page, Refused, read
from trader_monitor.runtime.readings import Reading

TEXT = """\
# HELP requests_total Requests "so far".
# TYPE requests_total counter
requests_total{code="200",path="/a\\"b\\\\c\\nd"} 1027 1395066363000
requests_total{code="400"} 3
# TYPE bare counter
bare 5
# TYPE temp gauge
temp{x="nan"} NaN
temp{x="inf"} +Inf
temp{x="-inf"} -Inf
untyped_thing 1.5e-7
# TYPE lat histogram
lat_bucket{le="0.1"} 2
lat_bucket{le="+Inf"} 3
lat_sum 0.7
lat_count 3
"""

NEWER = """\
# TYPE hits counter
# HELP hits Hits.
hits_total{a="1"} 7.0 # {trace_id="x"} 1.0
hits_created{a="1"} 1520872607.123
# TYPE build info
build_info{version="1"} 1
# TYPE quick histogram
quick {count:3,sum:6,schema:3,zero_threshold:1e-3,zero_count:1}
# EOF
"""


def all_of(body: str | bytes, *, max_body: int = 1 << 20, max_samples: int = 1000, **how: Any) -> list[Reading]:
    raw = body if isinstance(body, bytes) else body.encode()
    return list(read(Page(raw, **how), max_body=max_body, max_samples=max_samples))


def keyed(readings: list[Reading]) -> dict[tuple[str, ...], float]:
    return {(r.name, *(v for _, v in sorted(r.labels.items()))): r.value for r in readings}


def kinds(readings: list[Reading]) -> dict[str, str]:
    return {r.of.name: r.of.kind for r in readings if r.of}


def test_the_text_format_with_its_escapes_nan_and_infinities() -> None:
    readings = all_of(TEXT)
    seen = keyed(readings)
    assert len(readings) == 11
    assert seen["requests_total", "200", '/a"b\\c\nd'] == 1027
    assert seen["bare",] == 5, "a counter keeps the name that its target gave it"
    assert math.isnan(seen["temp", "nan"])
    assert (seen["temp", "inf"], seen["temp", "-inf"]) == (math.inf, -math.inf)
    assert seen["untyped_thing",] == 1.5e-7
    assert seen["lat_bucket", "+Inf"] == 3
    assert kinds(readings) == {
        "requests_total": "counter",
        "bare": "counter",
        "temp": "gauge",
        "untyped_thing": "unknown",
        "lat": "histogram",
    }
    assert {r.of.help for r in readings if r.of and r.name == "requests_total"} == {'Requests "so far".'}


def test_openmetrics_without_its_native_histograms_which_are_no_numbers() -> None:
    readings = all_of(NEWER, content_type=OPENMETRICS)
    assert keyed(readings) == {("hits_total", "1"): 7, ("hits_created", "1"): 1520872607.123, ("build_info", "1"): 1}
    assert kinds(readings) == {"hits_total": "counter", "build": "info"}


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_packed_page(encoding: str) -> None:
    assert keyed(all_of(gzip.compress(b"a 7\n"), encoding=encoding)) == {("a",): 7}


def test_what_just_fits_its_bounds() -> None:
    body = 'a{b="1"} 1\n\n \n' + "# a comment\n" * 5
    assert len(all_of(body, max_body=len(body), max_samples=1)) == 1
    assert len(all_of(gzip.compress(body.encode()), encoding="gzip", max_body=len(body), max_samples=1)) == 1


BAD: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("garbage", "{{{ not metrics", {}, "not in the format"),
    ("HTML", "<html><body>hello</body></html>", {}, "not in the format"),
    ("OpenMetrics without its end", "a 1\n", {"content_type": OPENMETRICS}, "not in the format"),
    ("bytes that are not UTF-8", b"a\xff 1\n", {}, "utf-8"),
    ("too large a body", "a 1\n" * 1000, {"max_body": 3999}, "the body is larger than 3999 bytes"),
    ("too large a body, packed", "x" * 4000, {"max_body": 3999, "encoding": "gzip"}, "the body is larger than 3999"),
    ("a bomb", gzip.compress(b"\n" * 50_000_000), {"encoding": "gzip"}, "the body is larger than 1048576 bytes"),
    ("an encoding that was not asked for", "a 1\n", {"encoding": "br"}, "'br', wanted gzip or none"),
    ("what is no gzip", "a 1\n", {"encoding": "gzip"}, "not in the format"),
    ("a line without end", "# TYPE " + "x" * 70_000, {}, "a line is longer than 65,535 characters"),
    ("too many samples", "".join(f"a{i} 1\n" for i in range(11)), {"max_samples": 10}, "more than 10 samples"),
    ("too many lines", "#\n" * 81, {"max_samples": 10}, "more than 80 lines"),
]


@pytest.mark.parametrize(("body", "how", "reason"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_page_is_refused_and_the_reason_said(body: str | bytes, how: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=f"(?i){reason}"):
        all_of(body, **how)
