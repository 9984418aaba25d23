"""How far a score has fallen from its baseline, and what that is called.

The drop is relative: 1 - score / baseline. From 3 % it is minor, from 5 % moderate, above 10 % severe. Severe asks
for a rollback, so it takes evidence too: the lower limit of the drop's 95 % interval must be above 3 %. Without that,
a tenth to a quarter of quiet windows of 100 outcomes would be called severe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from trader_monitor.core.figure import Figure, Interval, Pairs, missing, sampled
from trader_monitor.core.models.performance.performance import MINIMUM, Change, Verdict

__all__ = ["MINOR", "MODERATE", "PROOF", "SEVERE", "Judged", "Score", "changes", "judged", "scores_of"]

MINOR: Final = 0.03
MODERATE: Final = 0.05
SEVERE: Final = 0.10
PROOF: Final = 0.03
"""What the lower limit of a drop has to be above for it to be severe."""

_ORDER: Final = {
    "model_f1_ratio": "f1",
    "model_hit_ratio": "hit",
    "model_precision_ratio": "precision",
    "model_recall_ratio": "recall",
    "model_accuracy_ratio": "accuracy",
    "model_roc_auc_ratio": "roc_auc",
    "model_strategy_sharpe_ratio": "sharpe",
}
"""Scores that are compared with their baseline; the first that a task has decides on the verdict."""


class Score(Struct, frozen=True):
    """A score as a baseline keeps it. `low` and `high` are its 95 % interval; equal to `value` for a number that is
    taken as exact. `of` are the labels that tell it from others of its name (average, strategy)."""

    name: str
    of: Pairs
    value: float
    low: float
    high: float
    n: int

    def figure(self, labels: Pairs) -> Figure:
        """As a figure of the baseline."""
        known = not self.low == self.high == self.value
        interval = Interval(self.low, self.high, "as measured then") if known else None
        of = (*labels, *self.of)
        return sampled(self.name, of, self.value, self.n, "baseline performance", interval, open="taken as exact")


class Judged(NamedTuple):
    verdict: Verdict
    reason: str


def scores_of(figures: Iterable[Figure], labels: Pairs) -> tuple[Score, ...]:
    """The scores among figures that a later window can be compared with. `labels` are those of all of them."""
    return tuple(
        Score(
            figure.name,
            _own(figure, labels),
            figure.value,
            figure.value if figure.interval is None else figure.interval.low,
            figure.value if figure.interval is None else figure.interval.high,
            figure.n,
        )
        for figure in figures
        if figure.name in _ORDER and figure.value is not None
    )


def changes(figures: Iterable[Figure], labels: Pairs, baseline: Iterable[Score]) -> tuple[Change, ...]:
    """Each score beside its baseline, the deciding one first; those that have none are left out."""
    held = {(score.name, score.of): score for score in baseline}
    found = []
    for figure in figures:
        score = held.get((figure.name, _own(figure, labels)))
        if score is not None:
            found.append(_change(figure, labels, score))
    places = list(_ORDER.values())
    return tuple(sorted(found, key=lambda change: places.index(change.score)))


def judged(compared: tuple[Change, ...], n: int) -> Judged:
    """The verdict on a window of `n` outcomes, by its first change; see `changes`."""
    if n < MINIMUM:
        return Judged("insufficient_evidence", f"{n:,} of the {MINIMUM} outcomes that a verdict takes")
    if not compared:
        return Judged("no_baseline", "there is no baseline performance of this version to compare with")
    first = compared[0]
    drop, interval = first.drop.value, first.drop.interval
    if drop is None:
        return Judged("insufficient_evidence", f"{first.score}: {first.drop.reason}")
    proven = interval is not None and interval.low > PROOF
    said = f"{first.score} {_percent(abs(drop))} {'below' if drop >= 0.0 else 'above'} its baseline"
    if interval is not None:
        said += f" (95 % interval of the drop: {_percent(interval.low)} to {_percent(interval.high)})"
    if drop > SEVERE and not proven:
        return Judged("moderate", f"{said}; not severe, since less than {PROOF:.0%} is not ruled out")
    if drop > SEVERE:
        return Judged("severe", said)
    if drop >= MODERATE:
        return Judged("moderate", said)
    return Judged("minor" if drop >= MINOR else "ok", said)


def _change(figure: Figure, labels: Pairs, held: Score) -> Change:
    score = _ORDER[figure.name]
    name, of = f"model_{score}_drop_ratio", (*labels, *held.of)
    words = f"the relative drop of {figure.name} from the version's baseline performance of {held.value:.4g}"
    before = held.figure((*(pair for pair in labels if pair[0] != "window"), ("window", "baseline")))
    if figure.value is None:
        drop = missing(name, of, figure.n, words, figure.reason)
    elif held.value <= 0.0:
        reason = f"its baseline is {held.value:.4g}: there is nothing to lose a share of"
        drop = missing(name, of, figure.n, words, reason)
    else:
        share, interval = 1.0 - figure.value / held.value, _drop_interval(figure, held)
        drop = sampled(name, of, share, figure.n, words, interval, open="the score has no interval")
    return Change(score=score, baseline=before, production=figure, drop=drop)


def _drop_interval(figure: Figure, held: Score) -> Interval | None:
    """From the two scores' own intervals, which are independent: MOVER for a ratio (Donner & Zou 2012). A Sharpe ratio
    may be negative; there it is the delta method."""
    if figure.interval is None or figure.value is None:
        return None
    a, low, high = figure.value, figure.interval.low, figure.interval.high
    b, b_low, b_high = held.value, held.low, held.high
    if held.name == "model_strategy_sharpe_ratio":
        half = math.hypot((high - low) / 2.0 / b, a * (b_high - b_low) / 2.0 / (b * b))
        return Interval(1.0 - a / b - half, 1.0 - a / b + half, "delta method")
    least, most = b_high * (2.0 * b - b_high), b_low * (2.0 * b - b_low)
    if least <= 0.0 or most <= 0.0:
        return None  # a baseline that may be anything
    product = a * b
    ratio_low = (product - math.sqrt(max(0.0, product**2 - low * (2.0 * a - low) * least))) / least
    ratio_high = (product + math.sqrt(max(0.0, product**2 - high * (2.0 * a - high) * most))) / most
    return Interval(1.0 - ratio_high, 1.0 - ratio_low, "MOVER")


def _own(figure: Figure, labels: Pairs) -> Pairs:
    return tuple(pair for pair in figure.labels if pair not in labels)


def _percent(share: float) -> str:
    return f"{share * 100.0:.1f} %"
