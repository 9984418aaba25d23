"""Appraise: every few minutes, how models perform by the outcomes that came; as series every half minute.

Joining and scoring are work of the statistics worker. What it finds is kept with what the next run needs of it (the
baseline performance, the evidence of concept drift) in one transaction, so that no outcome is evidence twice. Where no
outcome ever came, nothing is done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog
from msgspec.structs import replace

from trader_monitor.core.facts import Labels, Samples
from trader_monitor.core.figure import Figure, exact, points
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.core.series import STALE
from trader_monitor.runtime.outcome_rows import newest
from trader_monitor.runtime.performance_store import keep_performance, latest_performance
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.statistics.worker import JobFailed

if TYPE_CHECKING:
    from pathlib import Path

    from trader_monitor.config.tables import Performance
    from trader_monitor.core.facts import Now
    from trader_monitor.core.models.performance.given import Given
    from trader_monitor.runtime.env import Env
    from trader_monitor.runtime.statistics.performance import Evaluation

__all__ = ["appraise"]

log = structlog.get_logger("trader_monitor.appraise")

PUBLISH_EVERY: Final = 30.0
"""PromQL looks five minutes back: a figure that stands is written again before it is forgotten."""
WITHIN: Final = 600.0
"""Seconds for the job, which goes through all models."""
FOLLOWS_AFTER: Final = 4.0
"""After news it is done once more without any, this much later: what was too fresh to be evidence is settled then."""
AT_LEAST_EVERY: Final = 3600.0
"""So often it is done without news too: predictions become due, and windows move."""
RECENT: Final = 86400.0
"""Runs that are shown again after a restart are no older."""
PIECE: Final = 20
"""Versions that are written at once, so that no commit waits long behind them."""
HELP: Final = "A figure; GET /v1/figures says its convention, sample size and interval."
MANY: Final = "model_reliability"
"""Figures of the bins of reliability are many and in the report; they are no series."""


async def appraise(env: Env) -> None:
    """Runs for ever; what fails is told once and tried again."""
    rounds = _Rounds(env)
    while True:
        await rounds.round(env.clock.now())
        await env.clock.sleep(min(PUBLISH_EVERY, env.config().performance.every))


class _Found(NamedTuple):
    """What is shown of a result: the window that has its verdict, and its figures."""

    key: tuple[str, str]
    verdict: str
    window: str
    reason: str
    figures: tuple[Figure, ...]


class _Rounds:
    """What one life of the loop knows; the store has all that must outlive it."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._loaded = False
        self._trouble = ""
        self._counted: tuple[int, int] = (-1, -1)
        """Predictions and outcomes on the board at the last run."""
        self._follows = False
        """Whether the last run had news, the newest of which were too fresh to be evidence."""
        self._ran_at = float("-inf")
        """The last run, by the monotonic clock."""
        self._verdicts: dict[tuple[str, str], str] = {}
        self._of_all: tuple[Figure, ...] = ()
        self._present: dict[str, frozenset[Labels]] = {}
        self._told: set[str] = set()

    async def round(self, now: Now) -> None:
        """Judges where there are news, and publishes what stands."""
        trouble = self._trouble
        try:
            await self._load(now)
            if await self._judged(now):
                trouble = ""
        except (JobFailed, sqlite3.Error, OSError, Damaged, msgspec.MsgspecError) as error:
            trouble = str(error) if isinstance(error, JobFailed) else f"{type(error).__name__}: {error}"
            self._env.meters.count("monitor_appraisals_failed_total")
        if trouble != self._trouble:
            if trouble:
                log.warning("models cannot be judged by their outcomes", reason=trouble)
            else:
                log.info("models can be judged again")
            self._trouble = trouble
        await self._publish(self._env.clock.now().wall)

    async def _load(self, now: Now) -> None:
        """What was found before the start."""
        if self._loaded:
            return
        path = self._env.journal.store.path
        for found in await asyncio.to_thread(_recent, path, now.wall - RECENT):
            self._take(found)
        self._loaded = True

    async def _judged(self, now: Now) -> bool:
        """Has models judged, if that is due; whether it was done."""
        env = self._env
        table, counts = env.config().performance, env.board.counts
        counted = (counts.get("prediction", 0), counts.get("outcome", 0))
        waited = now.mono - self._ran_at
        # The board is ahead of the store: what it counted may not have been there to be found.
        is_news = counted != self._counted or self._ran_at == float("-inf")
        is_due = is_news or (self._follows and waited >= FOLLOWS_AFTER) or waited >= AT_LEAST_EVERY
        if waited < table.every or not is_due:
            return False
        path = env.journal.store.path
        if not await asyncio.to_thread(newest, path):
            self._counted = counted
            return False
        from trader_monitor.core.models.performance.memory import Criteria
        from trader_monitor.runtime.statistics import performance as job

        self._ran_at = now.mono
        asked = job.Asked(
            path=str(path.absolute()),
            now=now.wall,
            criteria=Criteria(first=table.first, alpha=table.alpha),
            positive=dict(table.positive),
            given=_given(table),
        )
        answer = await env.statistics.run(job.JOB, asked, within=WITHIN)

        for begin in range(0, len(answer.evaluations), PIECE):
            await env.journal.store.write(partial(_keep, now.wall, answer.evaluations[begin : begin + PIECE]))
        self._counted, self._follows = counted, is_news
        results = await asyncio.to_thread(_read, [each.result for each in answer.evaluations])
        for key in env.watched.performance.keys() - {found.key for found in results}:
            del env.watched.performance[key]  # its predictions have left the store
            self._verdicts.pop(key, None)
        for found in results:
            self._take(found)
        self._of_all = tuple(
            exact(name, (), float(number), number, words)
            for name, number, words in (
                ("model_outcomes_unclaimed", answer.unclaimed, "outcomes with an id that no prediction of 90 days has"),
                (
                    "model_versions_left_out",
                    answer.left_out,
                    f"versions beyond the {job.MOST_VERSIONS} that are judged",
                ),
            )
        )
        return True

    def _take(self, found: _Found) -> None:
        """Takes what was found as the present of its version; a verdict that is another than before is told."""
        self._env.watched.performance[found.key] = found.figures
        if self._verdicts.get(found.key) not in (None, found.verdict):
            model, version = found.key
            log.warning(
                "a model's verdict has changed",
                model=model,
                version=version,
                verdict=found.verdict,
                window=found.window,
                reason=found.reason,
            )
        self._verdicts[found.key] = found.verdict

    # --- series -------------------------------------------------------------------------------------------

    async def _publish(self, at: float) -> None:
        """All figures as series, version by version; those of before that are no more end."""
        groups = {
            f"performance {model} {version}": figures
            for (model, version), figures in self._env.watched.performance.items()
        }
        if self._of_all:
            groups["performance"] = self._of_all
        for origin in [*groups, *(self._present.keys() - groups.keys())]:
            values = {point.labels: point.value for point in points(groups.get(origin, ()))}
            present = frozenset(values)
            values.update(dict.fromkeys(self._present.get(origin, frozenset()) - present, STALE))
            if present:
                self._present[origin] = present
            else:
                self._present.pop(origin, None)
            names = {dict(labels)["__name__"] for labels in present} - self._told
            self._told |= names
            kinds = dict.fromkeys(sorted(names), ("gauge", HELP))
            if not values:
                continue
            await self._env.journal.record(
                [Samples(at=at, origin=origin, labels=tuple(values), values=tuple(values.values()), kinds=kinds)]
            )


def _recent(path: Path, since: float) -> list[_Found]:
    return _read(latest_performance(path, since=since))


def _read(results: Iterable[bytes]) -> list[_Found]:
    """In a thread: two hundred results are eight megabytes."""
    return [_found(msgspec.msgpack.decode(raw, type=PerformanceResult)) for raw in results]


def _found(result: PerformanceResult) -> _Found:
    window = next(each for each in result.windows if each.verdict == result.verdict)
    figures = (each for each in result.figures() if not each.name.startswith(MANY))
    return _Found(
        (result.model, result.version), result.verdict, window.window, window.reason, tuple(map(_light, figures))
    )


def _light(figure: Figure) -> Figure:
    """The same, its texts shared with those of other figures: most are the same in all windows and versions."""
    return replace(
        figure,
        name=intern(figure.name),
        labels=tuple((intern(name), intern(value)) for name, value in figure.labels),
        convention=intern(figure.convention),
    )


def _keep(at: float, evaluations: Iterable[Evaluation], db: sqlite3.Connection) -> None:
    for each in evaluations:
        keep_performance(db, each.model, each.version, at, each.result, each.memory)


def _given(table: Performance) -> dict[str, dict[str, Given]]:
    found: dict[str, dict[str, Given]] = {}
    for each in table.baselines:
        found.setdefault(each.model, {})[each.version] = each.given()
    return found
