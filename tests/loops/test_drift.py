"""The drift loop on a real store with the real worker: when it looks, what it says, and what a restart finds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from tests.parts import env_around, running
from trader_monitor.config.tables import Config, Models
from trader_monitor.config.values import Duration
from trader_monitor.core.facts import Outcome, Prediction, Trade
from trader_monitor.core.models.streaming.detector import Detectors
from trader_monitor.core.series import is_stale
from trader_monitor.loops.drift import drift
from trader_monitor.runtime import model_store
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.predictions import known
from trader_monitor.runtime.statistics import baseline
from trader_monitor.runtime.statistics.drift import DriftRun

NAMES = ("a", "b", "c")
WINDOW = 1000


@asynccontextmanager
async def house(path: Path, clock: ManualClock) -> AsyncIterator[Env]:
    """A store, and all that the loop needs; nothing of it is left."""
    journal = await open_journal(path, clock=clock, meters=Meters())
    config = Config(models=Models(every=Duration(60.0), window=WINDOW))
    async with env_around(journal, config, clock) as env:
        try:
            yield env
        finally:
            await env.statistics.close()
            journal.since_snapshot = 0  # as after kill -9
            await journal.close()


def predictions(
    clock: ManualClock, rows: int, seed: int, shift: Sequence[float] = (0, 0, 0), version: str = "1"
) -> list[Prediction]:
    matrix = np.random.default_rng(seed).normal(size=(rows, 3)) + np.array(shift)
    at = clock.now().wall
    return [
        Prediction(
            at=at - (rows - place) * 1e-3,
            model="m",
            version=version,
            output=float(row.sum()),
            features=dict(zip(NAMES, row.tolist(), strict=True)),
        )
        for place, row in enumerate(matrix)
    ]


async def set_baseline(env: Env, version: str = "1") -> None:
    """As the command does, but in this process."""
    path, now = env.journal.store.path, env.clock.now().wall
    asked = baseline.Asked(
        path=str(path), model="m", version=version, columns=(*NAMES, "(output)"), since=0.0, until=now, now=now
    )
    made = baseline.run(asked, lambda done, total: None)
    assert made.detectors is not None
    stage = partial(model_store.stage, bodies=made.baselines, detectors={"a": made.detectors})
    await env.journal.store.write(partial(stage, model="m", version=version, token="t", at=now))
    commit = partial(model_store.commit, model="m", version=version, token="t", at=now)
    assert await env.journal.store.write(commit) == 4


def value(env: Env, name: str, **labels: str) -> float | None:
    """The newest value of a series; None where there is none, or it has ended."""
    wanted = tuple(sorted({"__name__": name, "model": "m", "version": "1", **labels}.items()))
    sid = env.board.series.find(wanted)
    if sid < 0 or is_stale(float(env.board.series.last_v[sid])):
        return None
    return float(env.board.series.last_v[sid])


def severity(env: Env) -> float | None:
    return value(env, "model_drift_severity", window="1000 rows")


def runs(env: Env) -> list[DriftRun]:
    with closing(env.journal.store.reader()) as db:
        return [msgspec.msgpack.decode(run.body, type=DriftRun) for run in model_store.runs(db, "m", "1")]


def rows_seen(env: Env) -> int:
    """How many rows the detectors have taken in; -1 where there are more."""
    with closing(env.journal.store.reader()) as db:
        (state,) = model_store.detector_states(db, "m", "1")
    seen_all = state.cursor == known(env.journal.store.path)[0].cursor
    return Detectors.decode(state.body).row if seen_all else -1


async def comes(clock: ManualClock, wanted: Callable[[], object], within: float = 10.0) -> None:
    """Lets time pass, a second now and then, until the condition holds: the loop waits for threads and processes too,
    and how far it is, no clock knows."""
    try:
        async with asyncio.timeout(within):
            while not wanted():
                await clock.advance(1.0)
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"the condition does not hold within {within} s") from None


async def test_without_predictions_nothing_is_done(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env, running(drift(env)):
        trade = Trade(at=clock.now().wall, source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)
        await env.journal.record([trade, Outcome(at=clock.now().wall, actual=1.0, prediction_id="x")])
        for _ in range(5):
            await clock.advance(60.0)
        assert env.statistics.pid is None
        assert not env.watched.versions
        assert env.board.counts == {"trade": 1, "outcome": 1}


async def test_a_version_without_a_baseline_is_named_and_no_more(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env, running(drift(env)):
        await env.journal.record(predictions(clock, 50, 1))
        await comes(clock, lambda: value(env, "model_baseline_missing") == 1.0)
        assert env.statistics.pid is None, "there is nothing to compute"
        assert severity(env) is None


async def test_a_run_is_made_of_each_window_that_came_behind_the_baseline(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "store.db"
    async with house(path, clock) as env:
        await env.journal.record(predictions(clock, 1500, 1))
        await set_baseline(env)
        async with running(drift(env)):
            await comes(clock, lambda: value(env, "model_baseline_missing") == 0.0)
            await clock.advance(10.0)
            await env.journal.record(predictions(clock, 600, 2))
            await comes(clock, lambda: rows_seen(env) == 600)
            assert runs(env) == [], "the window is not full, and the baseline's own rows are none of it"
            await env.journal.record(predictions(clock, 400, 3))
            await comes(clock, lambda: severity(env) == 0.0)
            assert [(run.result.rows, run.result.severity) for run in runs(env)] == [(1000, "none")]
            await env.journal.record(predictions(clock, 999, 4, shift=(2, 0, 0)))
            await comes(clock, lambda: rows_seen(env) == 1999)
            await comes(clock, lambda: value(env, "model_stream_drift_alarm", feature="a") == 1.0)
            assert severity(env) == 0.0
            await env.journal.record(predictions(clock, 1, 5))
            await comes(clock, lambda: severity(env) == 3.0)
            assert value(env, "model_feature_drift", feature="a", role="feature", window="1000 rows") == 1.0
            assert value(env, "model_feature_drift", feature="b", role="feature", window="1000 rows") == 0.0
            assert value(env, "model_feature_drift", feature="(output)", role="output", window="1000 rows") == 1.0
            assert [run.result.online.runs for run in runs(env)] == [1, 2], "one account of false discoveries"
            kinds = {figure.name for figure in env.watched.figures()}
            assert {"model_drift_severity", "model_stream_drift_ratio", "model_baseline_missing"} <= kinds


async def test_a_restart_goes_on_where_the_store_stands(tmp_path: Path) -> None:
    """Killed between what was kept and what was told, or before anything was: every row is taken in once."""
    clock = ManualClock()
    path = tmp_path / "store.db"
    async with house(path, clock) as env:
        await env.journal.record(predictions(clock, 1500, 1))
        await set_baseline(env)
        await clock.advance(10.0)
        async with running(drift(env)):
            await env.journal.record(predictions(clock, 1000, 2, shift=(0, 3, 0)))
            await comes(clock, lambda: severity(env) == 3.0)
        await env.journal.record(predictions(clock, 700, 3))
    async with house(path, clock) as env, running(drift(env)):
        await comes(clock, lambda: severity(env) == 3.0)
        await comes(clock, lambda: rows_seen(env) == 1700)
        assert len(runs(env)) == 1
        (watch,) = env.watched.versions.values()
        assert watch.fresh == 700
        await env.journal.record(predictions(clock, 300, 4))
        await comes(clock, lambda: len(runs(env)) == 2)
        assert [run.result.online.runs for run in runs(env)] == [1, 2]


async def test_a_new_baseline_asks_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env:
        await env.journal.record(predictions(clock, 1200, 1))
        await set_baseline(env)
        await clock.advance(10.0)
        async with running(drift(env)):
            await env.journal.record(predictions(clock, 1000, 2, shift=(3, 0, 0)))
            await comes(clock, lambda: severity(env) == 3.0)
            await clock.advance(10.0)
            await set_baseline(env)
            await comes(clock, lambda: severity(env) is None)
            assert value(env, "model_stream_drift_alarm", feature="a") == 0.0
            assert rows_seen(env) == 0
            await env.journal.record(predictions(clock, 1000, 3))
            await comes(clock, lambda: len(runs(env)) == 2)
            assert [run.result.online.runs for run in runs(env)] == [1, 1]


async def test_few_rows_are_judged_once_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env:
        await env.journal.record(predictions(clock, 1200, 1))
        await set_baseline(env)
        await clock.advance(10.0)
        async with running(drift(env)):
            await env.journal.record(predictions(clock, 1000, 2))
            await comes(clock, lambda: len(runs(env)) == 1)
            for hours in range(1, 24):
                await env.journal.record(predictions(clock, 2, 10 + hours))
                await clock.advance(3600.0)
            assert len(runs(env)) == 1
            await env.journal.record(predictions(clock, 2, 50))
            await clock.advance(3600.0)
            await comes(clock, lambda: len(runs(env)) == 2)
            assert runs(env)[1].result.rows == 1000


async def test_a_worker_that_dies_is_told_once_and_tried_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env:
        await env.journal.record(predictions(clock, 1200, 1))
        await set_baseline(env)
        await clock.advance(10.0)
        with closing(env.journal.store.reader()) as db:
            (sound,) = model_store.detector_states(db, "m", "1")
        torn = sound._replace(body=b"detectors\x01torn")
        await env.journal.store.write(partial(model_store.keep_detectors, at=0.0, before=sound.cursor, states=[torn]))
        async with running(drift(env)):
            await env.journal.record(predictions(clock, 1000, 2))
            await comes(clock, lambda: env.meters.get("monitor_drift_failures_total", model="m", version="1") >= 3)
            (watch,) = env.watched.versions.values()
            assert "the detectors are damaged" in watch.trouble
            mended = partial(model_store.keep_detectors, at=0.0, before=sound.cursor, states=[sound])
            await env.journal.store.write(mended)
            if env.statistics.pid is not None:
                os.kill(env.statistics.pid, signal.SIGKILL)
            await comes(clock, lambda: len(runs(env)) == 1 and rows_seen(env) == 1000 and not watch.trouble)


async def test_a_version_that_is_silent_for_a_day_has_no_series_any_more(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path / "store.db", clock) as env, running(drift(env)):
        await env.journal.record(predictions(clock, 50, 1))
        await comes(clock, lambda: value(env, "model_baseline_missing") == 1.0)
        await clock.advance(90_000.0)
        await comes(clock, lambda: value(env, "model_baseline_missing") is None)
        assert not env.watched.versions
        await env.journal.record(predictions(clock, 1, 2))
        await comes(clock, lambda: value(env, "model_baseline_missing") == 1.0)
