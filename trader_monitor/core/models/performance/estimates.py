"""Performance before the labels arrive, from calibrated probabilities (confidence-based performance estimation).

If a row's probability is p, it is positive in a share p of such rows; so the expected confusion matrix follows from
the probabilities alone (the method of NannyML, "CBPE", 2021). It sees what changes in the inputs the model knows.
It is **blind to concept drift**: where the same inputs begin to mean something else, the estimate stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.figure import Figure, Interval, Pairs, missing, sampled
from trader_monitor.core.models.performance.classification import too_few
from trader_monitor.core.models.performance.performance import MINIMUM
from trader_monitor.core.models.performance.reliability import Isotonic
from trader_monitor.core.samples import Bools, Floats
from trader_monitor.core.statistics.intervals import around

__all__ = ["BLIND", "Estimate", "Estimates", "estimate", "estimate_figures"]

BLIND: Final = "an estimate from calibrated probabilities before the labels arrive, blind to concept drift"
"""In the convention of every such figure."""

_METHOD: Final = "delta method: the labels' chance and the recalibration's"


class Estimate(NamedTuple):
    """The interval is where the realised score of these rows lies in 95 % of cases, as long as the concept holds."""

    value: float
    interval: Interval


class Estimates(NamedTuple):
    """What is None cannot be estimated: no positive is expected, or none predicted, or the scores are all equal."""

    f1: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    accuracy: Estimate
    roc_auc: Estimate | None


def estimate_figures(labels: Pairs, curve: Isotonic | None, scores: Floats, predicted: Bools) -> Iterator[Figure]:
    """The estimates of rows without labels, with their marks. `scores` has no NaN; `curve` is None where no
    recalibration could be fitted."""
    n = len(scores)
    found = None if curve is None or n < MINIMUM else estimate(curve, scores, predicted)
    reason = too_few(n, "predictions with a probability")
    if curve is None:
        reason = "no recalibration: the baseline has no probabilities with outcomes of both kinds"
    of = (*labels, ("method", "cbpe"))
    for name in ("f1", "precision", "recall", "accuracy", "roc_auc"):
        series, words = f"model_{name}_estimated_ratio", f"{name}: {BLIND}"
        each: Estimate | None = getattr(found, name, None)
        if found is None:
            yield missing(series, of, n, words, reason)
        elif each is None:
            yield missing(series, of, n, words, "no positive is predicted or expected, or all scores are equal")
        else:
            yield sampled(series, of, each.value, n, words, each.interval)


_Made: TypeAlias = Callable[[float, Floats, float], Estimate]


def estimate(curve: Isotonic, scores: Floats, predicted: Bools) -> Estimates:
    """`scores` are the model's own, of rows without labels (at least one); `predicted` says which it called positive.

    The variance has two parts: that of labels that are drawn with these probabilities, and that of each block of the
    recalibration, which is a share of the reference's rows. The area's has the recalibration's optimism besides.
    """
    n = len(scores)
    chance = curve.probabilities(scores)
    blocks = curve.blocks(scores)
    rows = np.asarray(curve.rows, np.float64)
    # A hit and a miss more: a block that was always right is no more certain than its few rows allow (Laplace).
    level = (np.asarray(curve.level) * rows + 1.0) / (rows + 2.0)

    def made(value: float, influence: Floats, bias: float = 0.0) -> Estimate:
        """`influence` is the derivative of the score by each row's probability."""
        drawn = float((chance * (1.0 - chance)) @ influence**2)
        pooled = np.bincount(blocks, influence, minlength=len(rows))
        fitted = float((level * (1.0 - level) / rows) @ pooled**2)
        error = math.sqrt(drawn + fitted + bias * bias)
        return Estimate(value, around(value, error, _METHOD, 0.0, 1.0))

    positives, called = float(chance.sum()), int(np.count_nonzero(predicted))
    tp = float(chance[predicted].sum())
    right = tp + (n - called) - (positives - tp)
    is_called = predicted.astype(np.float64)
    accuracy = made(right / n, (2.0 * is_called - 1.0) / n)
    size = called + positives
    f1 = made(2.0 * tp / size, (2.0 * is_called - 2.0 * tp / size) / size) if size > 0.0 else None
    precision = made(tp / called, is_called / called) if called else None
    recall = made(tp / positives, (is_called - tp / positives) / positives) if positives > 0.0 else None
    return Estimates(f1, precision, recall, accuracy, _auc(scores, chance, made, curve.optimism))


def _auc(scores: Floats, chance: Floats, made: _Made, optimism: float) -> Estimate | None:
    positives = float(chance.sum())
    negatives = len(scores) - positives
    values, which, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    if len(values) < 2 or positives <= 0.0 or negatives <= 0.0:
        return None
    p_here: Floats = np.bincount(which, chance).astype(np.float64)
    q_here = sizes - p_here
    q_below = np.cumsum(q_here) - q_here / 2.0
    p_above = positives - np.cumsum(p_here) + p_here / 2.0
    value = float(p_here @ q_below) / (positives * negatives)
    influence: Floats = (q_below - p_above - value * (negatives - positives)) / (positives * negatives)
    return made(min(1.0, value), influence[which], optimism)
