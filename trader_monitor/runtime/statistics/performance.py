"""The job that joins outcomes to predictions and says how models perform, model by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from trader_monitor.core.models.performance.evaluation import evaluate
from trader_monitor.core.models.performance.given import Given
from trader_monitor.core.models.performance.memory import Criteria, Memory
from trader_monitor.core.models.performance.outcomes import Outcomes, Predictions, join
from trader_monitor.runtime import predictions
from trader_monitor.runtime.outcome_rows import read_outcomes
from trader_monitor.runtime.performance_store import memories
from trader_monitor.runtime.statistics.wire import Job, Told

__all__ = ["JOB", "MOST_ROWS", "MOST_VERSIONS", "Answered", "Asked", "Evaluation", "run"]

MOST_ROWS = 200_000
"""Predictions of one model that are looked at, the newest."""
MOST_VERSIONS = 200
"""Versions of all models that are evaluated, those that predicted last."""
_ENCODER = msgspec.msgpack.Encoder()


class Asked(Struct, frozen=True, kw_only=True):
    """`criteria` hold for all models; `positive` by model, `given` by model and version ("": any) take precedence."""

    path: str
    now: float
    criteria: Criteria
    positive: dict[str, str] = {}
    given: dict[str, dict[str, Given]] = {}


class Evaluation(Struct, frozen=True):
    """A `PerformanceResult`, and what is to be kept (a `Memory`, None: nothing yet), both as MessagePack."""

    model: str
    version: str
    result: bytes
    memory: bytes | None


class Answered(Struct, frozen=True, kw_only=True):
    """`unclaimed` counts outcomes that name a prediction by its id alone, and none of any model has it; `left_out`
    the versions that are too many."""

    evaluations: tuple[Evaluation, ...]
    unclaimed: int
    left_out: int


JOB = Job(__name__, Asked, Answered)


def run(asked: Asked, told: Told) -> Answered:
    """Of all models that the store has predictions of in the longest window."""
    path = Path(asked.path)
    since = asked.now - max(seconds for _, seconds in asked.criteria.windows)
    there = sorted((each for each in predictions.known(path) if each.last_at >= since), key=lambda each: each.last_at)
    versions: dict[str, list[str]] = {}
    for each in there[-MOST_VERSIONS:]:
        versions.setdefault(each.model, []).append(each.version)
    kept = memories(path)
    nameless = read_outcomes(path, "", since)
    found = np.zeros(len(nameless.at), np.bool_)
    evaluations: list[Evaluation] = []
    for done, name in enumerate(sorted(versions)):
        told(done, len(versions))
        rows, is_cut = _rows(path, name, since)
        evaluations += _evaluated(
            asked, name, sorted(versions[name]), rows, read_outcomes(path, name, since), is_cut, kept
        )
        found |= join(rows, nameless).found
    return Answered(
        evaluations=tuple(evaluations),
        unclaimed=int(np.count_nonzero(~found)),
        left_out=max(0, len(there) - MOST_VERSIONS),
    )


def _rows(path: Path, model: str, since: float) -> tuple[Predictions, bool]:
    """Columns as the core reads them, and whether there would have been more."""
    found = predictions.read(path, model, since=since, last=MOST_ROWS, columns=())
    rows = Predictions(
        ids=found.ids,
        sources=found.source,
        versions=found.versions,
        subjects=found.subject,
        at=found.at,
        horizon=found.horizon,
        output=[
            value if text is None else text for value, text in zip(found.output.tolist(), found.texts, strict=True)
        ],
        labels=found.label,
        probability=found.probability,
    )
    return rows, len(found) >= MOST_ROWS


def _evaluated(
    asked: Asked,
    model: str,
    versions: Iterable[str],
    rows: Predictions,
    outcomes: Outcomes,
    is_cut: bool,
    kept: Mapping[tuple[str, str], bytes],
) -> list[Evaluation]:
    joined = join(rows, outcomes)
    found = []
    for version in versions:
        memory, remarks = _remembered(kept.get((model, version)))
        given = asked.given.get(model, {})
        criteria = replace(asked.criteria, positive=asked.positive.get(model), given=given.get(version, given.get("")))
        result, after = evaluate(model, version, rows, outcomes, joined, asked.now, criteria, memory)
        if is_cut:
            days = (asked.now - float(rows.at[0])) / 86400.0
            remarks += (f"of more than {MOST_ROWS:,} predictions the newest are looked at: those of {days:.1f} days",)
        result = replace(result, remarks=(*result.remarks, *remarks))
        memory_bytes = None if after is None else _ENCODER.encode(after)
        found.append(Evaluation(model, version, _ENCODER.encode(result), memory_bytes))
    return found


def _remembered(raw: bytes | None) -> tuple[Memory | None, tuple[str, ...]]:
    """What was kept, and a remark where it cannot be read any more."""
    if raw is None:
        return None, ()
    try:
        return msgspec.msgpack.decode(raw, type=Memory), ()
    except msgspec.MsgspecError:
        return None, ("what was kept of the version cannot be read: its baseline performance is taken anew",)
