"""Appraise: models are judged where outcomes came, what stands is shown, what fails is told and tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from tests.parts import env_in, running, until
from tests.plugins.house import QuickClock
from trader_monitor.config.tables import BaselinePerformance, Performance
from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.core.series import is_stale
from trader_monitor.loops.appraise import appraise
from trader_monitor.runtime.performance_store import latest_performance, memories, performance_runs
from trader_monitor.runtime.statistics import performance as job
from trader_monitor.runtime.statistics.worker import JobFailed

NOW = 1_700_000_000.0


class Statistics:
    """Has jobs done at once, in this process; or not, with the reason."""

    def __init__(self) -> None:
        self.fails = ""
        self.asked: list[Any] = []

    async def run(self, asked_job: Any, asked: Any, *, within: float) -> Any:
        assert asked_job is job.JOB
        self.asked.append(asked)
        if self.fails:
            raise JobFailed(self.fails)
        return job.run(asked, lambda done, total: None)


@asynccontextmanager
async def house(folder: Path, statistics: Statistics, **performance: Any) -> AsyncIterator[Any]:
    config = SimpleNamespace(performance=Performance(**performance))
    clock = QuickClock(wall=NOW)
    async with env_in(folder, config, clock, statistics=statistics) as env, running(appraise(env)):
        yield env


async def after(env: Any, seconds: float) -> None:
    """Half a minute at a time; threads of the loop have their time, which is not the clock's."""
    for _ in range(round(seconds / 30)):
        await until(lambda: env.clock._sleepers)
        await env.clock.advance(30)
    await until(lambda: env.clock._sleepers)


def predicted(number: int, at: float = NOW - 3600.0, **more: Any) -> Prediction:
    output = "up" if number % 2 else "down"
    given: dict[str, Any] = {"at": at, "id": f"p{number}", "model": "m", "version": "1", "output": output}
    return Prediction(**given | more)


def came(number: int, at: float = NOW - 60.0, **more: Any) -> Outcome:
    given: dict[str, Any] = {
        "at": at,
        "id": f"o{number}",
        "prediction_id": f"p{number}",
        "model": "m",
        "actual": "up" if number % 4 in (1, 2) else "down",
    }
    return Outcome(**given | more)


def shown(env: Any, name: str, **labels: str) -> list[float]:
    """The newest values of the series of that name, those that ended left out."""
    series = env.board.series
    found = []
    for sid in series.sids():
        has = dict(series.labels_of(sid))
        if has["__name__"] == name and labels.items() <= has.items():
            value = float(series.head(sid)[1][-1])
            found += [] if is_stale(value) else [value]
    return found


async def test_where_no_outcome_ever_came_nothing_is_asked(tmp_path: Path) -> None:
    statistics = Statistics()
    async with house(tmp_path, statistics) as env:
        await env.journal.record([predicted(k) for k in range(5)])
        await after(env, 10_000)
        assert statistics.asked == []
        assert shown(env, "model_coverage_ratio") == []


async def test_outcomes_are_judged_and_shown_and_judged_again_where_there_are_news(tmp_path: Path) -> None:
    statistics = Statistics()
    async with house(tmp_path, statistics, every=300.0) as env:
        await env.journal.record([predicted(k) for k in range(150)])
        await env.journal.record([came(k) for k in range(120)])
        await after(env, 270)
        assert len(statistics.asked) == 1
        assert shown(env, "model_coverage_ratio", window="7d") == [120 / 150]
        assert shown(env, "model_accuracy_ratio", window="7d") == [0.5]
        assert len(shown(env, "model_accuracy_ratio_lower", window="7d")) == 1
        assert shown(env, "model_degradation_severity") == [], "no baseline: no verdict, and so no sample"
        assert shown(env, "model_outcomes_unclaimed") == shown(env, "model_versions_left_out") == [0.0]
        await after(env, 900)
        assert len(statistics.asked) == 2, "once more for what was too fresh, and then nothing new"
        await env.journal.record([came(k) for k in range(120, 150)])
        await after(env, 300)
        assert len(statistics.asked) == 3
        assert shown(env, "model_coverage_ratio", window="7d") == [1.0]
        await after(env, 4_200)
        assert len(statistics.asked) == 5, "once more, and once an hour anyway: windows move"
        names = {dict(env.board.series.labels_of(sid))["__name__"] for sid in env.board.series.sids()}
        assert not any(name.startswith("model_reliability") for name in names)
        figures = {figure.name for figure in env.watched.figures()}
        assert {"model_accuracy_ratio", "model_f1_ratio", "model_labels"} <= figures


async def test_what_the_configuration_says_is_asked(tmp_path: Path) -> None:
    statistics = Statistics()
    baselines = (
        BaselinePerformance(model="m", f1=0.95, accuracy=0.9, rows=1000, provenance="validation"),
        BaselinePerformance(model="m", version="2", f1=0.5),
        BaselinePerformance(model="other", f1=0.5),
    )
    more: dict[str, Any] = {"first": 200, "alpha": 0.01, "positive": {"m": "down"}, "baselines": baselines}
    async with house(tmp_path, statistics, every=60.0, **more) as env:
        await env.journal.record([predicted(k) for k in range(150)])
        await env.journal.record([predicted(k + 1000, version="2") for k in range(150)])
        await env.journal.record([came(k) for k in range(150)])
        await env.journal.record([came(k + 1000) for k in range(150)])
        await after(env, 120)
        asked = statistics.asked[0]
        assert (asked.criteria.first, asked.criteria.alpha, asked.positive) == (200, 0.01, {"m": "down"})
        assert asked.given["m"][""].scores == {"f1": 0.95, "accuracy": 0.9}
        assert shown(env, "model_degradation_severity", version="1", window="7d") == [3.0]
        assert shown(env, "model_degradation_severity", version="2", window="7d") == [0.0]
        results = [
            msgspec.msgpack.decode(raw, type=PerformanceResult)
            for raw in latest_performance(env.journal.store.path, "m")
        ]
        assert [result.version for result in results] == ["1", "2"]
        assert results[0].baseline is not None
        assert results[0].baseline.provenance == "validation, of 1,000 rows"
        assert "positive label down" in results[0].remarks


async def test_a_job_that_fails_is_told_and_tried_again_while_the_last_figures_stand(
    tmp_path: Path, capsys: Any
) -> None:
    statistics = Statistics()
    async with house(tmp_path, statistics, every=60.0) as env:
        await env.journal.record([predicted(k) for k in range(150)])
        await env.journal.record([came(k) for k in range(149)])
        await after(env, 120)
        statistics.fails = "the worker died"
        await env.journal.record([came(149)])
        await after(env, 120)
        assert shown(env, "model_coverage_ratio", window="7d") == [149 / 150]
        assert env.meters.get("monitor_appraisals_failed_total") >= 1
        statistics.fails = ""
        await after(env, 120)
        assert shown(env, "model_coverage_ratio", window="7d") == [1.0]
    said = [line for line in capsys.readouterr().out.splitlines() if "judged" in line]
    assert [("the worker died" in line, "again" in line) for line in said] == [(True, False), (False, True)]


async def test_after_a_restart_what_was_found_is_shown_at_once_and_a_lost_version_ends(tmp_path: Path) -> None:
    statistics = Statistics()
    async with house(tmp_path, statistics, every=60.0, first=100) as env:
        await env.journal.record([predicted(k, at=NOW - 3600.0 + k) for k in range(250)])
        await env.journal.record([came(k) for k in range(250)])
        await after(env, 120)
        assert shown(env, "model_degradation_severity", window="7d") == [0.0]
        path = env.journal.store.path
        evidence = memories(path)["m", "1"]
    statistics.fails = "not now"
    async with house(tmp_path, statistics, every=60.0, first=100) as env:
        await after(env, 60)
        assert shown(env, "model_degradation_severity", window="7d") == [0.0]
        assert memories(path)["m", "1"] == evidence
        assert len(performance_runs(path, "m", "1")) == 1, "one an hour"
        await env.journal.store.write(lambda db: db.execute("DELETE FROM prediction_batch"))
        statistics.fails = ""
        await env.journal.record([came(1, id="again")])
        await after(env, 180)
        assert shown(env, "model_degradation_severity") == []
        assert env.watched.performance == {}


async def test_a_verdict_that_changes_is_told(tmp_path: Path, capsys: Any) -> None:
    statistics = Statistics()
    async with house(tmp_path, statistics, every=60.0, first=100) as env:
        old = NOW - 20 * 86400.0
        await env.journal.record([predicted(k, at=old + k) for k in range(120)])
        await env.journal.record([came(k, at=old + 9999, actual="up" if k % 2 else "down") for k in range(110)])
        await after(env, 120)
        assert shown(env, "model_degradation_severity") == []
        await env.journal.record([predicted(k) for k in range(200, 350)])
        await env.journal.record([came(k) for k in range(200, 350)])
        await after(env, 120)
        assert shown(env, "model_degradation_severity", window="7d") == [3.0]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "verdict has changed" in line]
    assert "severe" in line
