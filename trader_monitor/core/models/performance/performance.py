"""What is known of a model version's performance at one moment, and what to do about it, in words.

The result is a value: it is made from arrays in the statistics worker, kept as a run, published as series and written
as a report. Nothing in it has to be computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from trader_monitor.core.figure import Figure, exact, missing

__all__ = [
    "MINIMUM",
    "SEVERITY",
    "STATUS",
    "Change",
    "ConceptDrift",
    "LabelCounts",
    "Performance",
    "PerformanceResult",
    "Recommendation",
    "Severity",
    "Verdict",
    "WindowResult",
    "recommend",
]

MINIMUM: Final = 100
"""Outcomes that a score takes; with fewer it is `insufficient_evidence`."""

Severity: TypeAlias = Literal["ok", "minor", "moderate", "severe"]
Verdict: TypeAlias = Literal["ok", "minor", "moderate", "severe", "insufficient_evidence", "no_baseline"]

SEVERITY: Final[dict[str, int]] = {"ok": 0, "minor": 1, "moderate": 2, "severe": 3}
"""As the series `model_degradation_severity` has them; what has no verdict has no sample there."""

STATUS: Final[dict[Verdict, str]] = {
    "ok": "no drop worth a name",
    "minor": "a minor drop",
    "moderate": "a moderate drop",
    "severe": "a severe drop",
    "insufficient_evidence": "too few outcomes for a verdict",
    "no_baseline": "nothing to compare with yet",
}


class LabelCounts(Struct, frozen=True, kw_only=True):
    """How the outcomes of one window met its predictions. The window holds what was due in it (`due` = the time of
    the prediction plus its horizon); what is not due yet is `pending` and not judged, even where an outcome is known:
    outcomes that come early are no fair sample of all.
    """

    predictions: int = 0
    """Due in the window."""
    joined: int = 0
    """Of these, with an outcome."""
    pending: int = 0
    """Not due yet at the end of the window."""
    late: int = 0
    """Joined, and come later than `outcomes.LATE` allows."""
    early: int = 0
    """Joined, and come before the horizon was over."""
    duplicates: int = 0
    """The same outcome again, ignored."""
    corrected: int = 0
    """Outcomes that took the place of a different one."""
    orphans: int = 0
    """Outcomes whose prediction has not been seen."""
    unreadable: int = 0
    """Joined pairs that cannot be compared: a text and a number."""


class Performance(Struct, frozen=True, kw_only=True):
    """The performance that a version is held to. `provenance` says where the figures come from."""

    provenance: str
    figures: tuple[Figure, ...]
    until: float | None = None
    """The newest due time of the outcomes it was taken from; later ones only are compared with it."""


class Change(Struct, frozen=True, kw_only=True):
    """One score beside its baseline. `drop` is relative: 0.1 where the score lost a tenth; negative where it gained."""

    score: str
    baseline: Figure
    production: Figure
    drop: Figure


class WindowResult(Struct, frozen=True, kw_only=True):
    """The scores of one rolling window. `figures` has all of them, with their conventions and intervals."""

    window: str
    seconds: float
    labels: LabelCounts
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]
    verdict: Verdict
    reason: str
    """One sentence: why this verdict."""


class ConceptDrift(Struct, frozen=True, kw_only=True):
    """Evidence that the model errs more often than at its baseline; `evidence` is an e-value (see `evidence`)."""

    evidence: Figure
    threshold: float
    drifted: bool
    at: float | None = None
    """When the evidence first reached the threshold: the outcome's time."""


class Recommendation(Struct, frozen=True):
    """`action` is a short word for tables, `words` the sentence for a person."""

    action: Literal["none", "wait", "watch", "investigate", "retrain", "roll back", "set a baseline", "collect labels"]
    words: str


class PerformanceResult(Struct, frozen=True, kw_only=True):
    """Of one model version. `verdict` is the worst of the windows' (`severity` as a number, None without a verdict);
    `estimates` are those of before the labels (see `estimates`)."""

    model: str
    version: str
    at: float
    task: Literal["binary", "multiclass", "returns", "unknown"]
    subjects: int
    baseline: Performance | None
    windows: tuple[WindowResult, ...]
    estimates: tuple[Figure, ...]
    concept: ConceptDrift | None
    verdict: Verdict
    severity: int | None
    recommendations: tuple[Recommendation, ...]
    remarks: tuple[str, ...] = ()
    """What a reader has to know: a label never predicted, constant scores, how the probability was read …"""

    def figures(self) -> Iterator[Figure]:
        """All figures; the bins of reliability too, which are many."""
        if self.baseline is not None:
            yield from self.baseline.figures
        for window in self.windows:
            yield from window.figures
        yield from self.estimates
        if self.concept is not None:
            yield self.concept.evidence
            words = f"1 once the e-value has reached {self.concept.threshold:g}; it stays so for the version's life"
            labels = (("model", self.model), ("version", self.version))
            n = self.concept.evidence.n
            if n:
                yield exact("model_concept_drift", labels, float(self.concept.drifted), n, words)
            else:
                yield missing("model_concept_drift", labels, 0, words, "no outcome after the baseline's was judged")


_WORDS: Final[dict[str, Recommendation]] = {
    "ok": Recommendation("none", "Nothing to do: the scores hold."),
    "minor": Recommendation("watch", "Watch it: a drop of 3 to 5 % is within what a market does by itself."),
    "moderate": Recommendation("investigate", "Look for the cause (features, feed, regime) and plan a retraining."),
    "severe": Recommendation("roll back", "Roll back to the version before, or stop trading on this model."),
    "insufficient_evidence": Recommendation("wait", f"Wait: a verdict takes {MINIMUM} outcomes that are due."),
    "no_baseline": Recommendation(
        "set a baseline", "Give the version's baseline performance, or wait until its first outcomes make one."
    ),
    "concept": Recommendation(
        "retrain", "The model errs more often than at its baseline: what it learned no longer holds. Retrain it."
    ),
    "coverage": Recommendation(
        "collect labels", "Less than half of what is due has an outcome: the scores may be of a favoured half."
    ),
}


def recommend(verdict: Verdict, *, concept_drift: bool, coverage: float | None) -> tuple[Recommendation, ...]:
    """What to do, the most urgent first. `coverage` is the share of what is due that has an outcome, if any is due."""
    found = [_WORDS[verdict]]
    if concept_drift:
        found = [each for each in found if each.action != "none"] + [_WORDS["concept"]]
    if coverage is not None and coverage < 0.5:
        found.append(_WORDS["coverage"])
    return tuple(found)
