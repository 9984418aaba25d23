"""One model version's performance at one moment: from its predictions and outcomes to a result, and what is kept.

Rows belong to a window by when they were due.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from trader_monitor.core.figure import Figure, Pairs, exact, missing
from trader_monitor.core.models.performance.classification import remarks
from trader_monitor.core.models.performance.degradation import changes, judged
from trader_monitor.core.models.performance.estimates import estimate_figures
from trader_monitor.core.models.performance.judged_rows import Rows
from trader_monitor.core.models.performance.memory import Criteria, Held, Memory, concept_drift, held_to, remembered
from trader_monitor.core.models.performance.outcomes import Joined, Outcomes, Predictions
from trader_monitor.core.models.performance.performance import (
    SEVERITY,
    LabelCounts,
    PerformanceResult,
    Verdict,
    WindowResult,
    recommend,
)
from trader_monitor.core.models.performance.reading import read
from trader_monitor.core.models.performance.returns import DAY
from trader_monitor.core.samples import Bools, Floats

__all__ = ["Evaluated", "evaluate"]

_RANK: Final[tuple[Verdict, ...]] = ("no_baseline", "insufficient_evidence", "ok", "minor", "moderate", "severe")


class Evaluated(NamedTuple):
    result: PerformanceResult
    memory: Memory | None


def evaluate(
    model: str,
    version: str,
    predictions: Predictions,
    outcomes: Outcomes,
    joined: Joined,
    now: float,
    criteria: Criteria,
    memory: Memory | None = None,
) -> Evaluated:
    """`predictions` and `joined` are the whole model's; `memory` is what the evaluation before gave back, if any."""
    of = np.fromiter((each == version for each in predictions.versions), np.bool_, len(predictions.versions))
    places = np.flatnonzero(of & ~joined.repeated)
    mine, outcome = predictions.take(places), joined.outcome[places]
    if memory is None:
        actual = [outcomes.actual[place] for place in outcome if place >= 0]
        rows = Rows.of(mine, outcome, outcomes, read(mine, actual, criteria.positive), now)
        memory = remembered(model, version, rows, criteria)
    else:
        rows = Rows.of(mine, outcome, outcomes, memory.reading, now)
    held = held_to(memory, rows.reading, criteria)
    windows = []
    for name, seconds in criteria.windows:
        counts = joined.counts(predictions, outcomes, of, model, now - seconds, now)
        inside = (rows.due > now - seconds) & (rows.due <= now)
        counts = replace(counts, unreadable=int(np.count_nonzero(rows.unreadable & inside)))
        delays = joined.delays(predictions, outcomes)[places[inside & (outcome >= 0)]]
        labels = (("model", model), ("version", version), ("window", name))
        window = rows.labelled & inside & (rows.due > held.until)
        windows.append(_window(rows, labels, seconds, window, counts, delays, held, criteria))
    concept = None
    if memory is not None:
        memory, concept = concept_drift(model, version, rows, memory, now)
    verdict = max((window.verdict for window in windows), key=_RANK.index)
    recent = (mine.at > now - 7 * DAY) & (mine.at <= now)
    longest = windows[-1].labels
    result = PerformanceResult(
        model=model,
        version=version,
        at=now,
        task=rows.reading.task,
        subjects=len({subject for subject in mine.subjects if subject is not None}),
        baseline=held.performance(model, version),
        windows=tuple(windows),
        estimates=tuple(_estimates(model, version, rows, recent, memory)),
        concept=concept,
        verdict=verdict,
        severity=SEVERITY.get(verdict),
        recommendations=recommend(
            verdict,
            concept_drift=concept is not None and concept.drifted,
            coverage=longest.joined / longest.predictions if longest.predictions else None,
        ),
        remarks=tuple(_remarks(rows, windows[-1].labels)),
    )
    return Evaluated(result, memory)


def _window(
    rows: Rows,
    labels: Pairs,
    seconds: float,
    mask: Bools,
    counts: LabelCounts,
    delays: Floats,
    held: Held,
    criteria: Criteria,
) -> WindowResult:
    scores = rows.figures(labels, mask, criteria.period)
    compared = changes(scores, labels, held.scores)
    verdict, reason = judged(compared, int(np.count_nonzero(mask)))
    if verdict == "no_baseline":
        reason = held.why_not
    return WindowResult(
        window=labels[-1][1],
        seconds=seconds,
        labels=counts,
        figures=(*scores, *(change.drop for change in compared), *_label_figures(labels, counts, delays, verdict)),
        changes=compared,
        verdict=verdict,
        reason=reason,
    )


def _label_figures(labels: Pairs, counts: LabelCounts, delays: Floats, verdict: Verdict) -> Iterator[Figure]:
    words = "0 ok, 1 minor, 2 moderate, 3 severe; see the thresholds of the drop"
    level, n = SEVERITY.get(verdict), counts.joined
    if level is None:
        yield missing("model_degradation_severity", labels, n, words, verdict)
    else:
        yield exact("model_degradation_severity", labels, float(level), n, words)
    words = "of the predictions that were due in the window, the share that has an outcome"
    if counts.predictions:
        share = counts.joined / counts.predictions
        yield exact("model_coverage_ratio", labels, share, counts.predictions, words)
    else:
        yield missing("model_coverage_ratio", labels, 0, words, "no prediction was due")
    words = "from when a prediction was due to its outcome, by its sender's clock; negative: before it was due"
    for quantile in (0.5, 0.95):
        of = (*labels, ("quantile", f"{quantile:g}"))
        if len(delays):
            yield exact("model_label_delay_seconds", of, float(np.quantile(delays, quantile)), len(delays), words)
        else:
            yield missing("model_label_delay_seconds", of, 0, words, "no outcome has come")
    words = "labels of the window by what became of them; see the states"
    for state in ("pending", "late", "early", "duplicates", "corrected", "orphans", "unreadable"):
        of = (*labels, ("state", state))
        yield exact("model_labels", of, float(getattr(counts, state)), counts.predictions, words)


def _estimates(model: str, version: str, rows: Rows, recent: Bools, memory: Memory | None) -> Iterator[Figure]:
    if rows.reading.task != "binary":
        return
    recent = recent & np.isfinite(rows.scores)
    labels = (("model", model), ("version", version), ("window", "7d"))
    predicted = rows.reading.positives(rows.predictions)[recent]
    yield from estimate_figures(labels, memory.curve if memory is not None else None, rows.scores[recent], predicted)


def _remarks(rows: Rows, counts: LabelCounts) -> Iterator[str]:
    if rows.reading.words:
        yield rows.reading.words
    if rows.reading.task == "unknown":
        yield "predictions and outcomes cannot be compared: texts beside numbers, or nothing yet"
    if counts.unreadable:
        yield f"{counts.unreadable:,} outcomes cannot be compared with their predictions: a text and a number"
    if rows.calls is not None:
        yield from remarks(rows.calls.within(rows.labelled), rows.scores[rows.labelled])
