"""The job of one drift run: the newest window of a model version against its baselines."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from trader_monitor.core.figure import Figure
from trader_monitor.core.models.columns import Values
from trader_monitor.core.models.drift.baseline import Baseline
from trader_monitor.core.models.drift.drift import drift
from trader_monitor.core.models.drift.figures import figures
from trader_monitor.core.models.drift.verdict import DriftResult
from trader_monitor.core.models.names import OUTPUTS
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.runtime import model_store
from trader_monitor.runtime.performance_store import latest_performance
from trader_monitor.runtime.predictions import read
from trader_monitor.runtime.statistics.baseline import SOURCE
from trader_monitor.runtime.statistics.columns import table_of
from trader_monitor.runtime.statistics.wire import Job, Told
from trader_monitor.runtime.store import open_read_only

__all__ = ["JOB", "LEAST_ROWS", "Answered", "Asked", "DriftRun", "run", "shown_again"]

LEAST_ROWS = 30
RECENT = 86_400.0


class DriftRun(Struct, frozen=True, kw_only=True):
    """A run as it is kept: `cursor` is the newest part of predictions that it has seen, `baseline_at` says which
    baselines it was held against. The result bears what the next run needs of this one (`online`)."""

    cursor: int
    baseline_at: float
    result: DriftResult


class Asked(Struct, frozen=True, kw_only=True):
    """The window is the last `rows` that came, and no run is made of fewer than `least`. Where the baselines were made
    of predictions, it begins behind those."""

    path: str
    model: str
    version: str
    rows: int
    least: int = LEAST_ROWS
    important: tuple[str, ...] = ()
    now: float


class Answered(Struct, frozen=True, kw_only=True):
    """The run, None where there are too few rows; and its figures."""

    run: DriftRun | None
    figures: list[Figure]


JOB = Job(__name__, Asked, Answered)


def run(asked: Asked, told: Told) -> Answered:
    """Raises ValueError where there is no baseline."""
    path, model, version = Path(asked.path), asked.model, asked.version
    with closing(open_read_only(path)) as db:
        db.execute("BEGIN")
        kept = model_store.baselines(db, model, version)
        sets = {(each.model, each.version): each.at for each in model_store.baseline_sets(db)}
        before = model_store.runs(db, model, version, last=1)
    if not kept:
        raise ValueError(f"{model} {version} has no baseline")
    baselines = {name: Baseline.decode(body) for name, body in kept.items()}
    baseline_at = sets[model, version]
    earlier = msgspec.msgpack.decode(before[0].body, type=DriftRun) if before else None
    # Another baseline asks other questions: what was spent on those of the old one is not theirs.
    online = earlier.result.online if earlier is not None and earlier.baseline_at == baseline_at else None
    ends = [each.provenance.last_at for each in baselines.values() if each.provenance.source == SOURCE]
    newest = max((end for end in ends if end is not None), default=None)
    since = None if newest is None else math.nextafter(newest, math.inf)
    found = read(path, model, version, since=since, last=asked.rows)
    if len(found) < max(asked.least, LEAST_ROWS):
        return Answered(run=None, figures=[])
    table = table_of(found)
    values: dict[str, Values] = dict(table.values)
    for name, baseline in baselines.items():
        if baseline.kind == "category" and name in table.names and name not in values:
            values[name] = _as_listed(table.numbers[:, table.names.index(name)])
    result = drift(
        baselines,
        table.numbers,
        table.names,
        values=values,
        nulls=table.nulls,
        model=model,
        version=version,
        label=f"{asked.rows} rows",
        outputs=OUTPUTS,
        important=asked.important,
        degraded=_suffers(path, model, version, asked.now),
        online=online,
        at=asked.now,
        first_at=float(found.at[0]),
        last_at=float(found.at[-1]),
    )
    kept_run = DriftRun(cursor=found.cursor, baseline_at=baseline_at, result=result)
    return Answered(run=kept_run, figures=list(figures(result)))


def _suffers(path: Path, model: str, version: str, now: float) -> bool:
    """Whether there is evidence, and of today, that the version's performance has suffered."""
    for raw in latest_performance(path, model, since=now - RECENT):
        result = msgspec.msgpack.decode(raw, type=PerformanceResult)
        if result.version == version:
            return result.verdict == "severe" or (result.concept is not None and result.concept.drifted)
    return False


def _as_listed(numbers: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[float | None]:
    """A column that the baseline has as a category, and the window as numbers or nothing."""
    return [None if number != number else number for number in numbers.tolist()]


def shown_again(run: DriftRun) -> list[Figure]:
    """The figures of a run that was kept."""
    return list(figures(run.result))
