"""Features, labels and baselines as they should not be, through the running daemon: each is said, none is guessed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.acceptance.house import Residence, residence
from tests.acceptance.test_figures import figures, the, told

CONFIG = """
[models]
every = "1s"
window = 1000
[performance]
every = "1s"
first = 100
[performance.positive]
never = "up"
"""
HOUR = 3_600.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Residence]:
    with residence(tmp_path_factory.mktemp("models"), CONFIG) as house:
        yield house


@pytest.fixture(autouse=True)
async def _unharmed(house: Residence) -> AsyncIterator[None]:
    async with house.unharmed():
        yield


Given = Callable[[np.random.Generator, int], float | str | None]


def normal(random: np.random.Generator, row: int) -> float:
    return float(random.normal())


def fixed(value: float | str | None) -> Given:
    return lambda random, row: value


def sides(random: np.random.Generator, row: int) -> str:
    return ("buy", "sell")[int(random.integers(2))]


GONE = fixed("(gone)")

FEATURES: list[tuple[str, Given, Given, str, str, str]] = [
    ("good", normal, normal, "measured", "ok", ""),
    ("vanishes", normal, GONE, "vanished", "insufficient_evidence", "no_column"),
    ("appears", GONE, normal, "appeared", "insufficient_evidence", "no_baseline"),
    ("all null", normal, fixed(None), "all_missing", "insufficient_evidence", "no_values"),
    ("was all null", fixed(None), normal, "missing_baseline", "insufficient_evidence", "no_baseline_values"),
    ("constant", fixed(7.0), fixed(7.0), "constant_baseline", "ok", ""),
    ("stuck", normal, fixed(9.0), "constant_window", "drift", ""),
    ("one category", fixed("x"), fixed("x"), "one_category", "ok", ""),
    ("now a name", normal, sides, "kind_changed", "insufficient_evidence", "kind_changed"),
    ("now a number", sides, normal, "kind_changed", "insufficient_evidence", "kind_changed"),
    ('子-"\\\n', lambda r, row: 1e37 * normal(r, row), lambda r, row: 1e37 * normal(r, row), "measured", "ok", ""),
]
"""Name, in the baseline, in the window, and what is said of it."""


def rows(model: str, count: int, seed: int, place: int, *, only: str = "") -> list[dict[str, Any]]:
    """Predictions whose features are those of the table's column, or one of them."""
    random, now = np.random.default_rng(seed), time.time()
    made = []
    for row in range(count):
        values = {case[0]: case[place](random, row) for case in FEATURES if only in ("", case[0])}  # type: ignore[operator]
        features = {name: value for name, value in values.items() if value != "(gone)"}
        made.append(
            {
                "type": "prediction",
                "at": now - (count - row) * 1e-6,
                "model": model,
                "version": "1",
                "id": f"{seed}-{row}",
            }
            | {"output": float(random.normal()), "features": features}
        )
    return made


async def run(house: Residence, model: str) -> dict[str, Any]:
    """What the first run of drift found."""
    async with asyncio.timeout(15):
        while not (runs := (await house.get("/v1/models/runs", model=model, version="1"))["runs"]):
            await asyncio.sleep(0.05)
    found: dict[str, Any] = runs[0]["result"]
    return found


async def test_features_that_are_not_as_they_were_are_named_and_none_is_judged_by_a_guess(house: Residence) -> None:
    await told(house, rows("odd", 1500, 1, 1), 500)
    code, out = await house.command("baseline", "set", "odd", "--version", "1", "--last", "1d", "--quiet")
    assert code == 0, out
    await told(house, rows("odd", 1000, 2, 2), 500)
    found = {each["name"]: each for each in (await run(house, "odd"))["features"]}
    for name, _, _, status, verdict, reason in FEATURES:
        one = found[name]
        assert (one["status"], one["verdict"], one["reason"]) == (status, verdict, reason), one
    assert found["all null"]["missing_after"] == 1.0
    for name in ("vanishes", "appears", "all null", "was all null", "now a name", "now a number"):
        assert (found[name]["ks"], found[name]["psi"], found[name]["p"]) == (None, None, None), name


async def test_a_version_without_a_baseline_and_one_of_fifty_rows_have_no_verdict(house: Residence) -> None:
    await told(house, rows("bare", 1000, 3, 1, only="good"), 500)
    await told(house, rows("few", 50, 4, 1, only="good"))
    code, out = await house.command("baseline", "set", "few", "--version", "1", "--last", "1d", "--quiet")
    assert (code, "50 rows are too few for evidence" in out) == (0, True), out
    await told(house, rows("few", 1000, 5, 1, only="good"), 500)
    found = {each["name"]: each for each in (await run(house, "few"))["features"]}
    assert (found["good"]["verdict"], found["good"]["reason"]) == ("insufficient_evidence", "few_rows")
    assert await house.until('model_baseline_missing{model="bare"}', lambda value: value == 1.0) == 1.0
    assert await house.value('model_drift_severity{model="bare"}') is None
    assert await house.value('model_drift_severity{model="few"}') is None


async def test_outcomes_before_predictions_and_a_label_that_is_never_predicted(house: Residence) -> None:
    now = time.time()
    model = {"model": "never", "version": "1"}
    made = [
        {"type": "prediction", "id": f"n{row}", "at": now - 3 * HOUR + row, "output": "down", "horizon_seconds": 60.0}
        | model
        for row in range(400)
    ]
    actual = [
        {"type": "outcome", "at": now - HOUR + row, "prediction_id": f"n{row}", "model": "never"}
        | {"actual": "up" if row % 4 == 0 else "down"}
        for row in range(400)
    ]
    strange = [
        {"type": "outcome", "at": now - HOUR, "prediction_id": f"nobody-{row}", "model": "never", "actual": 1e300}
        for row in range(50)
    ]
    await told(house, actual + strange)
    await told(house, made)
    await house.until('model_coverage_ratio{model="never", window="7d"}', lambda value: value == 1.0)
    found = await figures(house, room="models", model="never")
    precision = the(found, "model_precision_ratio", window="7d", average="binary")
    assert (precision["value"], precision["reason"]) == (None, "the label up was never predicted")
    recall = the(found, "model_recall_ratio", window="7d", average="binary")
    assert (recall["value"], recall["interval"]["low"]) == (0.0, 0.0)
    accuracy = the(found, "model_accuracy_ratio", window="7d")
    assert (accuracy["value"], accuracy["n"]) == (0.75, 300)
    assert the(found, "model_roc_auc_ratio", window="7d")["value"] is None
    assert await house.value('model_precision_ratio{model="never", window="7d"}') is None


FILES: list[tuple[str, pyarrow.Table, str]] = [
    ("times", pyarrow.table({"a": pyarrow.array([10**15] * 600, pyarrow.timestamp("us"))}), "column a: it is of type"),
    ("lists", pyarrow.table({"a": [[1.0, 2.0]] * 600}), "column a: it is of type list<"),
    ("structs", pyarrow.table({"a": [{"x": 1}] * 600}), "column a: it is of type struct<"),
    ("bytes", pyarrow.table({"a": [b"\xff"] * 600}), "column a: it is of type binary"),
    ("empty", pyarrow.table({"a": pyarrow.array([], pyarrow.float64())}), "there is no row in it"),
]


async def test_parquet_of_the_wrong_types_is_one_line_that_names_the_column(house: Residence, tmp_path: Path) -> None:
    for name, table, _ in FILES:
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    whole = (tmp_path / "lists.parquet").read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    for name, said in [*((name, said) for name, _, said in FILES), ("torn", "not a Parquet file that can be read")]:
        words = ("baseline", "set", "pq", "--version", "1", "--from", str(tmp_path / f"{name}.parquet"), "--quiet")
        code, out = await house.command(*words)
        assert (code, said in out, len(out.splitlines())) == (2, True, 1), (name, out)
    code, out = await house.command("baseline", "list", "--json")
    assert "pq" not in {each["model"] for each in json.loads(out.splitlines()[-1])}, "nothing of it is kept"
