"""`trader-monitor report` over a store that no daemon has open: which model it is about, in which format, to where."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.core.models.performance.test_evaluation import Life
from trader_monitor.cli import main
from trader_monitor.cli.outcome import Exit
from trader_monitor.core.models.drift.baseline import baseline_of
from trader_monitor.core.models.drift.drift import drift
from trader_monitor.runtime import model_store
from trader_monitor.runtime.performance_store import keep_performance
from trader_monitor.runtime.statistics.drift import DriftRun
from trader_monitor.runtime.store import Store


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A store with two models: `direction` has a baseline, three runs and an evaluation, `bare` a baseline alone."""
    random = np.random.default_rng(1)
    baseline = baseline_of("f", random.normal(size=1_000))
    store = Store(tmp_path / "store.db")

    def filled(db: object) -> None:
        for model, version in (("direction", "1"), ("direction", "2"), ("bare", "1")):
            at = 100.0 if version == "1" else 200.0
            model_store.stage(db, model, version, "t", at, {"f": baseline.encode()}, {})  # type: ignore[arg-type]
            model_store.commit(db, model, version, "t", at)  # type: ignore[arg-type]
        for number in range(3):
            window = random.normal(0.5 * number, 1.0, size=(400, 1))
            result = drift({"f": baseline}, window, ["f"], model="direction", version="2", at=300.0 + number)
            body = msgspec.msgpack.encode(DriftRun(cursor=1, baseline_at=200.0, result=result))
            model_store.keep_run(db, "direction", "2", 300.0 + number, 1, body)  # type: ignore[arg-type]
        performance = msgspec.msgpack.encode(Life(40).on(40))
        keep_performance(db, "direction", "2", 400.0, performance, None)  # type: ignore[arg-type]

    await store.write(filled)
    await store.close()
    file = tmp_path / "config.toml"
    # Port 9 (discard): no daemon answers there.
    file.write_text(f'http.listen = "127.0.0.1:9"\nstore.path = "{tmp_path}/store.db"\n')
    return file


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["report", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


async def test_the_newest_version_of_a_model_as_text(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "drift", "--model", "direction", "--config", str(config))
    assert code == Exit.OK
    assert out.startswith("Drift report: direction 2\n1970-01-01 00:05 UTC · 400 rows")
    assert "1 of 1 features have drifted: f." in out
    assert "STABILITY INDEX OVER TIME" in out


async def test_all_models_that_have_one_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--json",), ("--format", "json")):
        code, out, _ = told(capsys, "drift", *words, "--config", str(config))
        (report,) = json.loads(out)["reports"]
        assert (code, report["model"], report["summary"]["drifted"]) == (Exit.OK, "direction", 1)
    code, out, _ = told(capsys, "performance", "--json", "--config", str(config))
    (report,) = json.loads(out)["reports"]
    assert (report["report"], report["task"]) == ("performance", "binary")


async def test_html_to_a_file_replaces_what_is_there(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    out.write_text("before")
    code, said, _ = told(capsys, "performance", "--format", "html", "--out", str(out), "--config", str(config))
    assert (code, said) == (Exit.OK, f"written to {out}\n")
    assert out.read_text().startswith("<!doctype html>")
    assert os.stat(out).st_mode & 0o777 == 0o644
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(".report")) == []


@pytest.mark.parametrize(
    ("sentence", "words", "code", "said"),
    [
        ("A model that there is not.", ("drift", "--model", "directoin"), Exit.USAGE, "did you mean"),
        ("A version that there is not.", ("drift", "--model", "direction", "--version", "9"), Exit.USAGE, "no version"),
        ("A version of nothing.", ("drift", "--version", "1"), Exit.USAGE, "--model"),
        ("No run yet.", ("drift", "--model", "bare"), Exit.NO, "no run of drift of bare 1"),
        ("No outcomes.", ("performance", "--model", "bare"), Exit.NO, "takes outcomes"),
        ("An older version without runs.", ("drift", "--model", "direction", "--version", "1"), Exit.NO, "no run of"),
        ("A folder that there is not.", ("drift", "--out", "/nowhere/x.html"), Exit.USAGE, "cannot write"),
    ],
)
async def test_what_cannot_be_reported_says_what_to_do(
    config: Path, sentence: str, words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, error = told(capsys, *words, "--config", str(config))
    assert found == code, sentence
    assert said in error, sentence


async def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    code, _, error = told(capsys, "drift", "--out", str(tmp_path / "taken"), "--config", str(config))
    assert (code, "cannot write" in error) == (Exit.USAGE, True)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".taken")]
