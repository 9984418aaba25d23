"""The job that judges models, on a real store: whose outcomes, which versions, how many rows, what is kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.core.models.performance.given import Given
from trader_monitor.core.models.performance.memory import Criteria, Memory
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.runtime import performance_store
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.performance_store import (
    keep_performance,
    latest_performance,
    memories,
    performance_runs,
)
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.statistics import performance as job
from trader_monitor.runtime.statistics.worker import Worker

NOW = 1_700_000_000.0


async def opened(folder: Path) -> Journal:
    return await open_journal(folder / "store.db", clock=ManualClock(wall=NOW), meters=Meters())


def predicted(number: int, **more: Any) -> Prediction:
    given: dict[str, Any] = {
        "at": NOW - 5000 + number,
        "id": f"p{number}",
        "model": "m",
        "version": "1",
        "output": "up" if number % 2 else "down",
        "features": {"a": 1.0},
    }
    return Prediction(**given | more)


def came(number: int, **more: Any) -> Outcome:
    given: dict[str, Any] = {"at": NOW - 10, "id": f"o{number}", "prediction_id": f"p{number}", "actual": "up"}
    return Outcome(**given | more)


def asked(folder: Path, **more: Any) -> job.Asked:
    given: dict[str, Any] = {"path": str(folder / "store.db"), "now": NOW, "criteria": Criteria(first=100)}
    return job.Asked(**given | more)


def run(folder: Path, **more: Any) -> tuple[dict[tuple[str, str], PerformanceResult], job.Answered]:
    answered = job.run(asked(folder, **more), lambda done, total: None)
    results = [msgspec.msgpack.decode(each.result, type=PerformanceResult) for each in answered.evaluations]
    return {(each.model, each.version): each for each in results}, answered


async def keep(journal: Journal, answered: job.Answered) -> None:
    def write(db: Any) -> None:
        for each in answered.evaluations:
            keep_performance(db, each.model, each.version, NOW, each.result, each.memory)

    await journal.store.write(write)


async def test_in_its_own_process_it_finds_models_and_versions_and_whose_outcomes_nobody_has(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.record([predicted(k, version=str(1 + k % 2)) for k in range(300)])
    await journal.record([predicted(k, model="other", id=f"q{k}", output=0.5) for k in range(5)])
    await journal.record([came(k) for k in range(200)])
    await journal.record([came(k, prediction_id=f"q{k}", id=f"r{k}", actual=0.1) for k in range(3)])
    await journal.record([came(k, prediction_id=f"nobody {k}", id=f"n{k}") for k in range(4)])
    await journal.record([came(k, prediction_id=f"nobody {k}", id=f"s{k}", model="m") for k in range(2)])
    worker = Worker()
    try:
        answered = await worker.run(job.JOB, asked(tmp_path), within=60)
    finally:
        await worker.close()
    assert [(each.model, each.version) for each in answered.evaluations] == [("m", "1"), ("m", "2"), ("other", "1")]
    assert answered.unclaimed == 4
    results, again = run(tmp_path)
    assert again == answered, "the same here as there"
    assert results["m", "1"].windows[0].labels.predictions == 150
    assert results["m", "1"].windows[0].labels.joined == 100
    assert results["m", "1"].windows[0].labels.orphans == 2
    assert results["other", "1"].windows[0].labels.joined == 3
    assert results["other", "1"].task == "returns"
    await journal.close()


async def test_of_an_empty_store_there_is_nothing_to_say(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.record([came(1)])
    assert run(tmp_path)[1] == job.Answered(evaluations=(), unclaimed=1, left_out=0)
    await journal.close()


async def test_what_is_kept_is_taken_up_and_what_is_damaged_is_taken_anew_and_said(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.record([predicted(k) for k in range(400)])
    await journal.record([came(k, actual="up" if k % 2 else "down") for k in range(250)])
    _, answered = run(tmp_path, now=NOW + 4)
    await keep(journal, answered)
    path = tmp_path / "store.db"
    first = msgspec.msgpack.decode(memories(path)["m", "1"], type=Memory)
    assert first.evidence.seen == 150, "the outcomes behind the hundred that made the baseline"
    assert isinstance(journal.clock, ManualClock)
    await journal.clock.advance(5.0)
    await journal.record([came(k, actual="up" if k % 2 else "down") for k in range(250, 400)])
    _, answered = run(tmp_path, now=NOW + 7)
    assert msgspec.msgpack.decode(answered.evaluations[0].memory or b"", type=Memory).evidence.seen == 150, "too fresh"
    results, answered = run(tmp_path, now=NOW + 60)
    second = msgspec.msgpack.decode(answered.evaluations[0].memory or b"", type=Memory)
    assert (second.evidence.seen, second.scores, second.until) == (300, first.scores, first.until)
    assert len(results["m", "1"].remarks) == 1
    for change in ("crc = crc + 1", "body = x'c1', crc = 0"):
        await journal.store.write(lambda db, change=change: db.execute(f"UPDATE performance_memory SET {change}"))  # type: ignore[misc]
        results, answered = run(tmp_path, now=NOW + 60)
        assert results["m", "1"].remarks[-1].startswith("what was kept of the version cannot be read")
        assert answered.evaluations[0].memory is not None
    await journal.close()


async def test_of_very_many_predictions_and_versions_the_newest_are_looked_at_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MOST_ROWS", 40)
    monkeypatch.setattr(job, "MOST_VERSIONS", 2)
    journal = await opened(tmp_path)
    for k in range(60):
        await journal.record([predicted(k, version=str(k // 12))])
    results, answered = run(tmp_path)
    assert set(results) == {("m", "3"), ("m", "4")}
    assert answered.left_out == 3
    assert results["m", "4"].remarks[-1].startswith("of more than 40 predictions the newest are looked at")
    await journal.close()


async def test_given_numbers_hold_for_a_version_or_for_any(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.record([predicted(k, version=str(1 + k % 2)) for k in range(300)])
    given = {"m": {"": Given(scores={"f1": 0.5}), "2": Given(scores={"f1": 0.25})}}
    results, _ = run(tmp_path, given=given, positive={"m": "down"})
    held = {version: each.baseline for (_, version), each in results.items()}
    assert held["1"] is not None
    assert held["2"] is not None
    assert (held["1"].figures[0].value, held["2"].figures[0].value) == (0.5, 0.25)
    assert "positive label down" in results["m", "1"].remarks
    await journal.close()


async def test_runs_are_kept_one_an_hour_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opened(tmp_path)
    path = tmp_path / "store.db"
    monkeypatch.setattr(performance_store, "RUNS", 3)
    monkeypatch.setattr(performance_store, "MEMORIES", 2)

    async def kept(version: str, at: float, result: bytes, memory: bytes | None = b"k") -> None:
        await journal.store.write(lambda db: keep_performance(db, "m", version, at, result, memory))

    for hour in range(5):
        await kept("1", 7200.0 + hour * 3600.0, f"first {hour}".encode())
        await kept("1", 7260.0 + hour * 3600.0, f"last {hour}".encode())
    assert performance_runs(path, "m", "1") == [b"last 2", b"last 3", b"last 4"]
    assert performance_runs(path, "m", "1", since=7200.0 + 3 * 3600.0) == [b"last 3", b"last 4"]
    assert performance_runs(path, "m", "1", last=1) == [b"last 4"]
    await kept("2", 99_000.0, b"two", None)
    assert latest_performance(path) == [b"last 4", b"two"]
    assert latest_performance(path, "nobody") == []
    assert latest_performance(path, "m", since=50_000.0) == [b"two"]
    await kept("3", 100_000.0, b"x")
    await kept("4", 100_001.0, b"x")
    assert set(memories(path)) == {("m", "3"), ("m", "4")}
    await journal.store.write(lambda db: db.execute("UPDATE performance_run SET crc = 0"))
    with pytest.raises(Damaged):
        latest_performance(path)
    await journal.close()


async def test_a_full_models_quarter_is_judged_within_seconds(tmp_path: Path) -> None:
    """20,000 predictions with their outcomes; the whole of what is looked at is ten times as much."""
    journal = await opened(tmp_path)
    for begin in range(0, 20_000, 2_000):
        rows = range(begin, begin + 2_000)
        await journal.record([predicted(k, at=NOW - 80 * 86400 + 300 * k, probability=(k % 97) / 97) for k in rows])
        await journal.record([came(k, at=NOW - 80 * 86400 + 300 * k + 60) for k in rows])
    began = time.process_time()
    results, _ = await asyncio.to_thread(run, tmp_path)
    assert time.process_time() - began < 10.0
    assert results["m", "1"].windows[2].labels.joined == 20_000
    await journal.close()
