"""Drift: every minute, for each model version of which predictions came, a look at what has changed.

New rows are taken into the streaming detectors; when a window of them has come, it is held against the baselines. Both
are work of the statistics worker, and both are kept: a run with what the next one needs of it, the detectors' state
together with the newest row that it knows, in one transaction. So nothing is counted twice or left out, whenever the
daemon dies. Where no model predicts, nothing is done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import structlog
from msgspec import structs

from trader_monitor.core.facts import Labels, Samples
from trader_monitor.core.figure import Figure, points
from trader_monitor.core.series import STALE
from trader_monitor.runtime import model_store
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.predictions import Known, known, news
from trader_monitor.runtime.statistics.worker import JobFailed
from trader_monitor.runtime.watched import Watch

if TYPE_CHECKING:
    from trader_monitor.core.facts import Now
    from trader_monitor.runtime.env import Env

__all__ = ["drift"]

Key: TypeAlias = tuple[str, str]

log = structlog.get_logger("trader_monitor.drift")

WITHIN = 120.0
"""Seconds for a job."""
DETECT_ROWS = 20_000
"""Rows that the detectors take in at a time."""
AT_LEAST_EVERY = 86_400.0
"""A run is made so often (seconds) where any row came, however few."""
PUBLISH_EVERY = 60.0
"""PromQL looks five minutes back: a figure that stands is written again before it is forgotten (seconds)."""
SILENT = 86_400.0
"""A version without predictions for so long (seconds) has no series any more; its runs remain."""
HELP = "A figure; GET /v1/figures says its convention, sample size and interval."


async def drift(env: Env) -> None:
    """Runs for ever; what fails for one model version is told and tried again at the next round."""
    rounds: _Rounds | None = None
    trouble = ""
    while True:
        try:
            if rounds is None:
                loaded = _Rounds(env)
                await loaded.load()
                rounds = loaded
            await rounds.round(env.clock.now())
            trouble = ""
        except (sqlite3.Error, OSError, Damaged) as error:
            if trouble != str(error):
                trouble = str(error)
                log.warning("the store cannot be asked for predictions", reason=f"{type(error).__name__}: {error}")
        await env.clock.sleep(min(PUBLISH_EVERY, env.config().models.every))


class _Rounds:
    """What one life of the loop knows; all of it is made anew from the store."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._cursor = 0
        """The newest part of predictions that was looked at."""
        self._file = env.journal.store.quarantined
        """What was put aside last: another means that the store's file is another."""
        self._due = float("-inf")
        """When to look again, by the monotonic clock."""
        self._present: dict[tuple[str, str], frozenset[Labels]] = {}
        self._told: set[str] = set()

    async def load(self) -> None:
        """What the store knows, so that neither a restart nor a long silence leaves a gap in what is told."""
        env, watched = self._env, self._env.watched.versions
        there, sets, last = await asyncio.to_thread(self._kept)
        now = env.clock.now().wall
        watched.clear()
        for each in there:
            watch = watched[each.model, each.version] = Watch(each.model, each.version, fresh=each.rows, behind=True)
            watch.seen_at = min(each.last_at, now)
            watch.baseline_at = sets.get((each.model, each.version))
            self._cursor = max(self._cursor, each.cursor)
        for key, (run, fresh) in last.items():
            from trader_monitor.runtime.statistics.drift import DriftRun, shown_again

            kept = msgspec.msgpack.decode(run.body, type=DriftRun)
            watch = watched[key]
            if kept.baseline_at == watch.baseline_at:
                watch.run_at, watch.run_cursor, watch.fresh = run.at, run.cursor, fresh
                watch.drift, watch.severity = tuple(shown_again(kept)), kept.result.severity

    def _kept(self) -> tuple[list[Known], dict[Key, float], dict[Key, tuple[model_store.Run, int]]]:
        """Versions with predictions, when baselines were set, and the last run of each with the rows since."""
        journal = self._env.journal
        there = known(journal.store.path)
        last = {}
        with closing(journal.store.reader()) as db:
            sets = {(each.model, each.version): each.at for each in model_store.baseline_sets(db)}
            for key in sets.keys() & {(each.model, each.version) for each in there}:
                for run in model_store.runs(db, *key, last=1):
                    last[key] = (run, model_store.rows_since(db, *key, run.cursor))
        return there, sets, last

    # --- a round ------------------------------------------------------------------------------------------

    async def round(self, now: Now) -> None:
        """Looks for news and has done what they ask for, where it is time; publishes what stands."""
        is_due = now.mono >= self._due
        if is_due:
            self._due = now.mono + self._env.config().models.every
            await self._look(now)
        for watch in list(self._env.watched.versions.values()):
            if now.wall - watch.seen_at > SILENT:
                del self._env.watched.versions[watch.model, watch.version]
                await self._publish(watch, now.wall, ())
                continue
            if is_due and watch.baseline_at is not None:
                await self._tried(watch, now)
            await self._publish(watch, self._env.clock.now().wall, tuple(watch.figures()))

    async def _look(self, now: Now) -> None:
        """Which model versions have new rows, and which have baselines; nothing where no prediction ever came."""
        env, watched = self._env, self._env.watched.versions
        if not env.board.counts.get("prediction") and not watched:
            return
        if env.journal.store.quarantined != self._file:
            self._file, self._cursor = env.journal.store.quarantined, 0
            await self.load()
        came = {(each.model, each.version): each for each in await asyncio.to_thread(news, self._path, self._cursor)}
        if came.keys() - watched.keys():
            await self.load()
        sets, fresh = await asyncio.to_thread(self._counted, came.keys() & watched.keys())
        for key, each in came.items():
            self._cursor = max(self._cursor, each.cursor)
            watched[key].fresh, watched[key].behind = fresh[key], True
            watched[key].seen_at = now.wall
        for key, watch in watched.items():
            if sets.get(key) != watch.baseline_at:
                watch.baseline_at = sets.get(key)
                watch.run_at, watch.run_cursor, watch.severity = None, 0, None
                watch.drift, watch.stream = (), ()
                watch.fresh, watch.behind = max(watch.fresh, 1), True

    def _counted(self, came: Iterable[Key]) -> tuple[dict[Key, float], dict[Key, int]]:
        """When baselines were set, and of these versions the rows since their last run."""
        cursors = {key: self._env.watched.versions[key].run_cursor for key in came}
        with closing(self._env.journal.store.reader()) as db:
            sets = {(each.model, each.version): each.at for each in model_store.baseline_sets(db)}
            return sets, {key: model_store.rows_since(db, *key, cursor) for key, cursor in cursors.items()}

    @property
    def _path(self) -> Path:
        return self._env.journal.store.path.absolute()

    async def _tried(self, watch: Watch, now: Now) -> None:
        """Detectors and drift of one version; what fails is told when it begins, and when it ends."""
        trouble = ""
        try:
            if watch.behind:
                await self._detect(watch)
            await self._run(watch, now)
        except JobFailed as error:
            trouble = str(error)
        except (sqlite3.Error, OSError) as error:
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            self._env.meters.count("monitor_drift_failures_total", model=watch.model, version=watch.version)
        if trouble != watch.trouble:
            told, what = (log.warning, "drift cannot be told") if trouble else (log.info, "drift can be told again")
            told(what, model=watch.model, version=watch.version, reason=trouble)
        watch.trouble = trouble

    async def _detect(self, watch: Watch) -> None:
        """Takes the rows that came into the detectors."""
        from trader_monitor.runtime.statistics import detect

        env = self._env
        while True:
            asked = detect.Asked(path=str(self._path), model=watch.model, version=watch.version, rows=DETECT_ROWS)
            async with env.watched.turn:
                answer = await env.statistics.run(detect.JOB, asked, within=WITHIN)
                states = [model_store.DetectorState(each.id, answer.after, each.body) for each in answer.states]
                at = env.clock.now().wall
                keep = partial(model_store.keep_detectors, at=at, before=answer.before, states=states)
                if not await env.journal.store.write(keep):
                    return  # another baseline was set meanwhile: its detectors begin at the next round
            watch.stream = tuple(answer.figures)
            for alarm in answer.alarms:
                log.warning("a feature has shifted", model=watch.model, version=watch.version, **structs.asdict(alarm))
            if answer.rows < DETECT_ROWS:
                watch.behind = False
                return

    async def _run(self, watch: Watch, now: Now) -> None:
        """Holds the newest window against the baselines, where one is due."""
        table = self._env.config().models
        step = table.step or table.window
        is_daily = watch.run_at is not None and now.wall - watch.run_at >= AT_LEAST_EVERY
        if not watch.fresh or not (watch.fresh >= step or watch.run_at is None or is_daily):
            return
        from trader_monitor.runtime.statistics import drift as job

        env = self._env
        asked = job.Asked(
            path=str(self._path),
            model=watch.model,
            version=watch.version,
            rows=table.window,
            least=job.LEAST_ROWS if is_daily else min(step, table.window),
            important=table.important.get(watch.model, ()),
            now=now.wall,
        )
        answer = await env.statistics.run(job.JOB, asked, within=WITHIN)
        watch.fresh = 0  # until others come
        if answer.run is None:
            return
        body = msgspec.msgpack.encode(answer.run)
        write = partial(model_store.keep_run, model=watch.model, version=watch.version, at=now.wall, body=body)
        await env.journal.store.write(partial(write, cursor=answer.run.cursor))
        watch.run_at, watch.run_cursor, watch.drift = now.wall, answer.run.cursor, tuple(answer.figures)
        result = answer.run.result
        watch.severity = result.severity
        log.info(
            "drift run",
            model=watch.model,
            version=watch.version,
            rows=result.rows,
            tested=result.tested,
            drifted=result.drifted,
            severity=result.severity,
        )

    async def _publish(self, watch: Watch, at: float, figures: tuple[Figure, ...]) -> None:
        """A version's figures as series; those that it had before and has no more end."""
        key = (watch.model, watch.version)
        values = dict(points(figures))
        gone = self._present.get(key, frozenset()).difference(values)
        self._present[key] = frozenset(values)
        if not values:
            del self._present[key]
        values.update(dict.fromkeys(gone, STALE))
        if not values:
            return
        names = {dict(labels)["__name__"] for labels in values}
        kinds = dict.fromkeys(names - self._told, ("gauge", HELP))
        self._told |= names
        origin = f"model {watch.model} {watch.version}"
        await self._env.journal.record(
            [Samples(at=at, origin=origin, labels=tuple(values), values=tuple(values.values()), kinds=kinds)]
        )
