"""The same samples and several hundred queries against a real Prometheus: equal values, or equal refusal.

The distribution's Prometheus is 2.42, whose windows are closed on the left; ours are open, as in Prometheus 3.
So no sample falls on a window's edge here: samples lie between the seconds, and queries are asked on them.
Counters stay far from zero, where the two versions extrapolate differently.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql import PromQLError, compile
from trader_monitor.core.series import SeriesStore

pytestmark = pytest.mark.real

START = 1_700_000_400  # a multiple of 60, so that subqueries' steps are known
SPAN = 3 * 3600
MOMENTS = (START + 3600 + 37, START + 7200 + 37, START + SPAN + 200 + 37)
RANGE = (START + 3000 + 37, START + 6600 + 37, 120)


def samples() -> dict[Labels, list[tuple[int, float]]]:
    """Label sets with their samples, in milliseconds: counters, gauges, histograms, gaps, NaN and infinities."""
    rng = np.random.default_rng(42)
    out: dict[Labels, list[tuple[int, float]]] = {}

    def put(name: str, values: list[float], every: float = 15.0, first: float = 3.217, **labels: str) -> None:
        times = [round((START + first + every * at) * 1000) for at in range(len(values))]
        key = tuple(sorted({"__name__": name, **labels}.items()))
        out[key] = [(t, v) for t, v in zip(times, values, strict=True) if v != "gap"]  # type: ignore[comparison-overlap]

    n = SPAN // 15
    for job, instance in product(("api", "web"), ("a", "b", "c")):
        counter = 1e5 + np.cumsum(rng.integers(0, 40, n)).astype(float)
        counter[rng.integers(n) :] -= 5e4
        put("requests_total", counter.tolist(), job=job, instance=instance)
        put("temperature", np.round(rng.normal(20, 5, n), 2).tolist(), job=job, instance=instance)
        for at, bound in enumerate(("0.1", "0.5", "1", "+Inf")):
            counts = 1e4 + np.cumsum(rng.integers(1, 5, n)).astype(float) * (at + 1)
            put("latency_bucket", counts.tolist(), job=job, instance=instance, le=bound)
    flags = np.where(rng.random(n) < 0.9, 1.0, 0.0)
    put("up", flags.tolist(), job="api")
    put("up", np.ones(n // 2).tolist(), job="web")  # ends half-way
    put("limits", [100.0] * n, job="api", zone="x")
    put("limits", [200.0] * n, job="web", zone="y")
    odd = rng.choice([1.0, 2.0, math.nan, math.inf, -math.inf, 0.0, -3.5], n)
    put("odd", odd.tolist())
    put("slow", np.round(rng.normal(0, 1, SPAN // 240), 3).tolist(), every=240.0, kind="sparse")
    gaps = [v if 200 < at < 300 or at > 420 else "gap" for at, v in enumerate(np.arange(float(n)).tolist())]
    put("gappy", gaps, side="left")  # type: ignore[arg-type]
    put("small", (rng.random(n) * 1e-9).tolist())
    put("clock_seconds", [START + 15.0 * at * 40_000 - 3e8 for at in range(n)])
    return out


class Oracle:
    """A Prometheus, and our store with the same samples."""

    def __init__(self, url: str, store: SeriesStore) -> None:
        self._url, self.store = url, store

    def ask(self, path: str, **parameters: Any) -> Any:
        """Prometheus's answer, or None where it refuses."""
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}", body, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 422):
                    return None
                raise

    def differs(self, query: str) -> Iterator[str]:
        """What is not as Prometheus has it, at each moment and over a range."""
        for moment in MOMENTS:
            theirs = self.ask("query", query=query, time=moment)
            wrong = different(theirs and of_json(theirs), self._ours(query, moment))
            if wrong:
                yield f"{query} at {moment}: {wrong}"
        start, end, step = RANGE
        theirs = self.ask("query_range", query=query, start=start, end=end, step=step)
        wrong = different(theirs and of_json(theirs), self._ours_over(query))
        if wrong:
            yield f"{query} over a range: {wrong}"

    def _ours(self, query: str, moment: int) -> dict[Labels, dict[int, float]] | None:
        try:
            result = compile(query).instant(self.store, moment * 1000)
        except PromQLError:
            return None
        match result.kind:
            case "scalar":
                return {(("scalar", ""),): {moment * 1000: result.scalar}}
            case "string":
                return {(("string", result.text),): {moment * 1000: 0.0}}
            case "matrix":
                return {key: dict(zip(t.tolist(), v.tolist(), strict=True)) for key, t, v in result.matrix}
        return {key: {moment * 1000: value} for key, value in result.vector}

    def _ours_over(self, query: str) -> dict[Labels, dict[int, float]] | None:
        start, end, step = (value * 1000 for value in RANGE)
        try:
            result = compile(query).evaluate(self.store, np.arange(start, end + 1, step), bounds=(start, end))
        except PromQLError:
            return None
        return {key: dict(zip(t.tolist(), v.tolist(), strict=True)) for key, t, v in result.rows()}


def of_json(data: Any) -> dict[Labels, dict[int, float]]:
    match data["resultType"]:
        case "scalar":
            at, value = data["result"]
            return {(("scalar", ""),): {round(at * 1000): float(value)}}
        case "string":
            at, value = data["result"]
            return {(("string", value),): {round(at * 1000): 0.0}}
    return {
        tuple(sorted(row["metric"].items())): {
            round(at * 1000): float(value) for at, value in row.get("values") or [row["value"]]
        }
        for row in data["result"]
    }


def different(theirs: dict[Labels, dict[int, float]] | None, ours: dict[Labels, dict[int, float]] | None) -> str | None:
    if theirs is None or ours is None:
        return None if theirs is ours else f"Prometheus {'refuses' if theirs is None else 'answers'}, we do not"
    if theirs.keys() != ours.keys():
        return f"only theirs: {sorted(theirs.keys() - ours.keys())}, only ours: {sorted(ours.keys() - theirs.keys())}"
    for labels, points in theirs.items():
        if points.keys() != ours[labels].keys():
            return f"{labels}: other times: {sorted(points.keys() ^ ours[labels].keys())[:5]}"
        for at, value in points.items():
            mine = ours[labels][at]
            if not (mine == value or (mine != mine and value != value) or math.isclose(mine, value, rel_tol=1e-9)):
                return f"{labels} at {at}: {mine!r}, not {value!r}"
    return None


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            reason = f"{program} is missing: apt-get install prometheus"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(reason)
            pytest.skip(reason)
    folder = tmp_path_factory.mktemp("oracle")
    store = SeriesStore(head=4096)
    write(folder / "samples.txt", store)
    data = folder / "data"
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples.txt"), str(data)],
        check=True,
        capture_output=True,
    )
    (folder / "prometheus.yml").write_text("global:\n  scrape_interval: 1h\n")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.retention.time=100y",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        ready(url)
        yield Oracle(url, store)
    finally:
        process.terminate()
        process.wait(10)


def write(path: Path, store: SeriesStore) -> None:
    """The samples as OpenMetrics for Prometheus, and into our store."""
    with path.open("w") as out:
        name = ""
        for key, points in samples().items():
            labels = dict(key)
            if labels["__name__"] != name:
                name = labels["__name__"]
                out.write(f"# TYPE {name} unknown\n")
            selector = ",".join(f'{label}="{value}"' for label, value in key if label != "__name__")
            sid = store.intern(key)
            for t_ms, value in points:
                text = {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, repr(value).replace("nan", "NaN"))
                out.write(f"{name}{{{selector}}} {text} {t_ms / 1000:.3f}\n")
                store.append(sid, t_ms, value)
        out.write("# EOF\n")


def ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, "Prometheus did not become ready"


QUERIES = Path(__file__).parents[2] / "data" / "promql" / "oracle.txt"
_CHOICE = re.compile("«([^»]*)»")
_MOMENT = re.compile(r"\(START\+([\d.]+)\)")


def queries() -> dict[str, list[str]]:
    """The queries of the file by their group, every alternative written out ("/" in one stands for "|")."""
    groups: dict[str, list[str]] = {}
    for line in QUERIES.read_text().splitlines():
        if line.startswith("## "):
            groups[line[3:]] = []
        elif line and not line.startswith("#"):
            text = _MOMENT.sub(lambda match: f"{START + float(match[1]):.3f}", line)
            groups[list(groups)[-1]].extend(expanded(text))
    return groups


def expanded(text: str) -> Iterator[str]:
    choices = [choice.split("|") for choice in _CHOICE.findall(text)]
    shape = _CHOICE.sub("\0", text).split("\0")
    for chosen in product(*choices):
        inside = (re.sub(r"(?<=[a-z])/(?=[a-z])", "|", choice) for choice in chosen)
        yield "".join(part for pair in zip_longest(shape, inside, fillvalue="") for part in pair)


GROUPS = queries()


@pytest.mark.parametrize("group", GROUPS)
def test_we_answer_as_prometheus_does(oracle: Oracle, group: str) -> None:
    wrong = [line for query in GROUPS[group] for line in oracle.differs(query)]
    assert not wrong, f"{len(wrong)} of {len(GROUPS[group])}:\n" + "\n".join(wrong)


def test_there_are_several_hundred_queries() -> None:
    assert len({query for group in GROUPS.values() for query in group}) >= 800
