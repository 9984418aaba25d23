"""What a version is held to, and what is kept of it between evaluations.

The baseline performance is that of the version's first outcomes, in the order in which they were due, or numbers that
were given. It is taken once and then kept, as is the evidence of concept drift. Windows hold later rows only, so that
nothing is compared with itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from trader_monitor.core.figure import exact
from trader_monitor.core.models.performance.degradation import Score, scores_of
from trader_monitor.core.models.performance.evidence import ALPHA, ErrorEvidence
from trader_monitor.core.models.performance.given import Given
from trader_monitor.core.models.performance.judged_rows import Rows
from trader_monitor.core.models.performance.performance import MINIMUM, ConceptDrift, Performance
from trader_monitor.core.models.performance.reading import Reading
from trader_monitor.core.models.performance.reliability import Isotonic
from trader_monitor.core.models.performance.returns import DAY
from trader_monitor.core.samples import Bools

__all__ = ["WINDOWS", "Criteria", "Held", "Memory", "concept_drift", "held_to", "remembered"]

SETTLED: Final = 3.0
"""Seconds after which what was recorded is sure to be seen: evidence is taken of what became known before that, so
that nothing is passed over that was being committed while it was looked for."""
WINDOWS: Final = (("7d", 7 * DAY), ("30d", 30 * DAY), ("90d", 90 * DAY))


class Criteria(Struct, frozen=True, kw_only=True):
    """What may be chosen of an evaluation."""

    windows: tuple[tuple[str, float], ...] = WINDOWS
    first: int = 500
    """Outcomes that make the baseline performance, at least 100."""
    positive: str | None = None
    period: float = DAY
    """Of the information coefficient and the strategy, in seconds."""
    alpha: float = ALPHA
    """The probability of ever finding a concept drift that is none."""
    given: Given | None = None


class Memory(Struct, frozen=True, kw_only=True):
    """What is kept of a version between evaluations: a few numbers, and the recalibration's blocks."""

    reading: Reading
    scores: tuple[Score, ...]
    provenance: str
    until: float
    """The due time of the last outcome that is part of the baseline."""
    curve: Isotonic | None
    evidence: ErrorEvidence
    known: float = float("-inf")
    """Outcomes that became known until then are in the evidence."""
    crossed_at: float | None = None


class Held(NamedTuple):
    """What windows are compared with. They hold rows that were due after `until`."""

    scores: tuple[Score, ...]
    provenance: str
    until: float
    why_not: str
    """Where there are no scores."""

    def performance(self, model: str, version: str) -> Performance | None:
        if not self.scores:
            return None
        labels = (("model", model), ("version", version), ("window", "baseline"))
        figures = tuple(score.figure(labels) for score in self.scores)
        return Performance(
            provenance=self.provenance, figures=figures, until=self.until if np.isfinite(self.until) else None
        )


def remembered(model: str, version: str, rows: Rows, criteria: Criteria) -> Memory | None:
    """The baseline from the first outcomes, when there are enough of them."""
    places = np.flatnonzero(rows.labelled)
    if len(places) < max(MINIMUM, criteria.first):
        return None
    first = places[np.argsort(rows.due[places], kind="stable")[: max(MINIMUM, criteria.first)]]
    until = float(rows.due[first[-1]])
    mask = np.zeros(len(rows.due), np.bool_)
    # All that were due in the same moment belong to it, so that every later row is due later.
    mask[places[rows.due[places] <= until]] = True
    labels = (("model", model), ("version", version), ("window", "baseline"))
    wrong = rows.wrong(mask)
    return Memory(
        reading=rows.reading,
        scores=scores_of(rows.figures(labels, mask, criteria.period), labels),
        provenance=f"the first {len(wrong):,} outcomes of the version",
        until=until,
        curve=_curve(rows, mask),
        evidence=ErrorEvidence.against(wrong, rows.due[mask], criteria.alpha),
    )


def _curve(rows: Rows, mask: Bools) -> Isotonic | None:
    if rows.calls is None or rows.reading.task != "binary":
        return None
    mask = mask & np.isfinite(rows.scores)
    seen = rows.calls.within(mask)
    came_true = np.array([name == rows.reading.positive for name in seen.names], np.bool_)[seen.actual]
    if len(came_true) < MINIMUM or came_true.all() or not came_true.any():
        return None
    return Isotonic.of(rows.scores[mask], came_true)


def held_to(memory: Memory | None, reading: Reading, criteria: Criteria) -> Held:
    given = criteria.given
    if given is not None and given.scores:
        n = f", of {given.n:,} rows" if given.n else ", taken as exact"
        return Held(given.for_task(reading.task), given.provenance + n, -np.inf, "")
    if memory is None:
        return Held((), "", -np.inf, f"the baseline performance is that of the first {criteria.first:,} outcomes")
    return Held(memory.scores, memory.provenance, memory.until, "the baseline has none of the scores")


def concept_drift(
    model: str, version: str, rows: Rows, memory: Memory, now: float
) -> tuple[Memory, ConceptDrift | None]:
    """Feeds the outcomes that became known since, each once, moment by moment in the order in which that happened;
    a moment is when predictions were due."""
    until = now - SETTLED
    fresh = rows.labelled & (rows.due > memory.until) & (rows.known > memory.known) & (rows.known <= until)
    _, moment, sizes = np.unique(rows.due[fresh], return_inverse=True, return_counts=True)
    shares = np.bincount(moment, rows.wrong(fresh), len(sizes)) / sizes
    known = np.full(len(sizes), -np.inf)
    np.maximum.at(known, moment, rows.known[fresh])
    order = np.argsort(known, kind="stable")
    evidence = memory.evidence.after(shares[order])
    crossed_at = memory.crossed_at
    if evidence.crossed is not None and crossed_at is None:
        crossed_at = float(known[order[evidence.crossed - memory.evidence.seen - 1]])
    memory = replace(memory, evidence=evidence, known=max(memory.known, until), crossed_at=crossed_at)
    words = (
        f"e-value against an error rate of at most {evidence.allowed:.4g} (the upper limit of the baseline's); "
        f"{evidence.threshold:g} or more proves concept drift, at any time it is looked at, as long as horizons do not "
        "overlap; n counts the moments in which predictions were due"
    )
    labels = (("model", model), ("version", version))
    return memory, ConceptDrift(
        evidence=exact("model_concept_drift_evidence", labels, evidence.evidence, evidence.seen, words),
        threshold=evidence.threshold,
        drifted=evidence.drifted,
        at=crossed_at,
    )
