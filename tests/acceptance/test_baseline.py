"""`trader-monitor baseline` and `audit` against the real daemon, and against the store where none runs."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.acceptance.house import House
from tests.acceptance.test_drift import send

CONFIG = '[models]\nevery = "1h"\n'


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    it = House(tmp_path, CONFIG)
    await it.open()
    try:
        yield it
    finally:
        await it.kill()


def table(folder: Path, rows: int) -> Path:
    """A CSV file of two numbers, one with nothing and an infinity in it, a category and the model's output."""
    random = np.random.default_rng(rows)
    lines = ["ts,rsi,gap,side,prediction"]
    for row in range(rows):
        gap = {0: "", 1: "inf", 2: "nan"}.get(row, f"{random.normal():.6f}")
        lines.append(f"{1e9 + row},{random.normal():.6f},{gap},{('buy', 'sell')[row % 2]},{random.normal():.6f}")
    path = folder / f"train-{rows}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


async def told(house: House, *words: str) -> Any:
    """What a command answers in JSON."""
    code, out = await house.command(*words, "--json")
    assert code == 0, out
    return json.loads(out.splitlines()[-1])


COLUMNS = ("--time", "ts", "--output", "prediction", "--quiet")


async def test_versions_stand_side_by_side_and_a_new_set_takes_the_place_of_the_old(
    house: House, tmp_path: Path
) -> None:
    path = table(tmp_path, 1200)
    answer = await told(house, "baseline", "set", "swing", "--version", "1", "--from", str(path), *COLUMNS)
    assert (answer["baselines"], answer["rows"], answer["notes"]) == (4, 1200, [])
    few = await told(house, "baseline", "set", "swing", "--version", "2", "--from", str(table(tmp_path, 50)), *COLUMNS)
    assert few["notes"] == [
        "50 rows are too few for evidence: drift will say insufficient_evidence; give 1,000 or more"
    ]
    listed = await told(house, "baseline", "list")
    assert [(each["model"], each["version"], each["features"]) for each in listed] == [
        ("swing", "1", 4),
        ("swing", "2", 4),
    ]
    views = {
        view["feature"]: view
        for view in (await told(house, "baseline", "show", "swing", "--version", "1"))["baselines"]
    }
    assert sorted(views) == ["(output)", "gap", "rsi", "side"]
    assert [views["gap"][name] for name in ("rows", "usable", "nulls", "nans", "infinities")] == [1200, 1197, 1, 1, 1]
    assert [(each["name"], each["count"]) for each in views["side"]["categories"]] == [("buy", 600), ("sell", 600)]
    assert (views["rsi"]["source"], views["rsi"]["first_at"], views["rsi"]["last_at"]) == (path.name, 1e9, 1e9 + 1199)
    code, out = await house.command("baseline", "show", "swing", "--version", "1", "--feature", "side")
    assert (code, "buy: 600, sell: 600" in out) == (0, True), out
    parquet.write_table(pyarrow.table({"rsi": np.arange(500.0)}), tmp_path / "other.parquet")
    again = ("baseline", "set", "swing", "--version", "1", "--from", str(tmp_path / "other.parquet"), "--quiet")
    assert (await told(house, *again))["baselines"] == 1
    shown = await told(house, "baseline", "show", "swing", "--version", "1")
    assert [(view["feature"], view["maximum"]) for view in shown["baselines"]] == [("rsi", 499.0)]


USAGE: list[tuple[str, list[str], str]] = [
    ("no model", ["set"], "say which model"),
    ("no version", ["set", "momentum", "--last", "30d"], "say which version"),
    ("of nothing", ["set", "momentum", "--version", "3"], "say of what: --from FILE, or --last 30d"),
    ("of two things", ["set", "m", "--version", "3", "--last", "1d", "--from", "a.csv"], "say of what"),
    ("a span that is none", ["set", "momentum", "--version", "3", "--last", "long"], "--last:"),
    ("columns of predictions", ["set", "m", "--version", "3", "--last", "1d", "--columns", "a"], "are for --from"),
    ("an unknown model", ["set", "momentun", "--version", "3", "--last", "30d"],
     "there are no predictions of a model 'momentun'; did you mean \"momentum\"?"),
    ("a version without predictions", ["set", "momentum", "--version", "9", "--last", "30d"],
     "momentum has no predictions of a version '9'; there are 3"),
    ("no predictions of that time", ["set", "old", "--version", "1", "--last", "1h"],
     "old 1 has no predictions of the last 1h"),
    ("a model without baselines", ["show", "momentum"], "there are no baselines of a model 'momentum'"),
    ("a version without baselines", ["show", "swing", "--version", "8"], "swing has no baselines of a version '8'"),
    ("a feature that is not there", ["show", "swing", "--feature", "rssi"], '\'rssi\'; did you mean "rsi"?'),
    ("a file of no rows", ["set", "m", "--version", "1", "--from", "EMPTY"], "there is no row in it"),
]  # fmt: skip


async def test_wrong_usage_is_one_line_that_says_what_to_do(house: House, tmp_path: Path) -> None:
    await send(house, 0, 10)
    await send(house, 100, 10, model="old", version="1", at=time.time() - 7200)
    path = table(tmp_path, 200)
    await told(house, "baseline", "set", "swing", "--version", "1", "--from", str(path), *COLUMNS)
    (tmp_path / "empty.csv").write_text("a,b\n")
    for sentence, words, said in USAGE:
        given = [word.replace("EMPTY", str(tmp_path / "empty.csv")) for word in words]
        code, out = await house.command("baseline", *given, "--quiet")
        assert (code, said in out, len(out.splitlines())) == (2, True, 1), (sentence, out)


async def test_where_no_daemon_runs_the_store_is_opened_itself(house: House, tmp_path: Path) -> None:
    await send(house, 0, 1200)
    await house.end()
    words = ("baseline", "set", "momentum", "--version", "3", "--last", "1d", "--quiet")
    code, out = await house.command(*words)
    assert code == 0, out
    assert "8 baselines of 1,200 rows are in force" in out
    assert "as no daemon runs" in out
    path = table(tmp_path, 200)
    await told(house, "baseline", "set", "swing", "--version", "1", "--from", str(path), *COLUMNS)
    before = await told(house, "baseline", "list")
    assert [(each["model"], each["rows"], each["features"]) for each in before] == [
        ("momentum", 1200, 8),
        ("swing", 0, 4),
    ]
    code, out = await house.command("baseline", "list", "--url", house.url)
    assert (code, "no daemon answers" in out) == (3, True), "who names a daemon means it"
    await house.open()
    assert await told(house, "baseline", "list") == before
    shown = await told(house, "baseline", "show", "momentum", "--version", "3")
    assert {view["source"] for view in shown["baselines"]} == {"predictions"}


async def test_without_a_store_the_command_says_so(tmp_path: Path) -> None:
    house = House(tmp_path, CONFIG)
    code, out = await house.command("baseline", "list")
    assert (code, len(out.splitlines())) == (3, 1)
    assert "start one with `trader-monitor run`" in out
    assert "there is no store at" in out


async def test_pieces_that_do_not_fit_are_refused(house: House) -> None:
    """The API's own door, which anybody may knock at."""
    base = {"model": "m", "version": "1", "token": "t"}
    cases: list[tuple[str, str, bytes, int, str]] = [
        ("PUT", "", msgspec.msgpack.encode(base | {"baselines": {"a": b"no"}}), 422, "this is not a baseline"),
        ("PUT", "", b"\xc1", 400, "not as expected"),
        ("PUT", "", msgspec.msgpack.encode(base | {"baselines": {}, "more": 1}), 400, "unknown field"),
        ("POST", "", json.dumps(base | {"columns": [], "since": 0, "until": 1}).encode(), 400, "length >= 1"),
        (
            "POST",
            "",
            json.dumps(base | {"columns": ["a"], "since": 0, "until": 1}).encode(),
            422,
            "no predictions of m 1",
        ),
        ("POST", "/commit", json.dumps(base).encode(), 404, "nothing is staged"),
        ("GET", "?model=m", b"", 400, "expected the parameters model and version"),
    ]
    async with aiohttp.ClientSession() as session:
        for method, path, body, status, said in cases:
            async with session.request(method, f"{house.url}/v1/models/baselines{path}", data=body) as answer:
                text = await answer.text()
                assert (answer.status, said in text) == (status, True), (method, path, text)
        async with session.get(f"{house.url}/v1/models/runs?model=m&version=1&last=1e9") as answer:
            assert (answer.status, "from 0 to 100" in await answer.text()) == (400, True)


async def test_the_audit_is_read_by_command(house: House) -> None:
    await send(house, 0, 5)
    await send(house, 10, 3, context={"audit": True, "trace_id": "0af7651916cd43dd8448eb211c80319c"})
    await send(house, 20, 2, version="4", context={"audit": True})
    code, out = await house.command("audit", "momentum", "--version", "3", "--since", "1h", "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert (code, [entry["id"] for entry in entries]) == (0, ["10", "11", "12"])
    assert {entry["trace_id"] for entry in entries} == {"0af7651916cd43dd8448eb211c80319c"}
    assert all(len(entry["inputs_sha256"]) == 64 for entry in entries)
    code, out = await house.command("audit", "--most", "2")
    assert (code, len(out.splitlines())) == (0, 3), out
    await house.reload(CONFIG + "audit = true\n")
    await send(house, 30, 4)
    code, out = await house.command("audit", "--json", "--most", "4")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["30", "31", "32", "33"]
