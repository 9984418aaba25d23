"""Calibration of an agent's confidence: whether of what it was 80 % sure of, 80 % was right.

The Brier score is the mean of (confidence - outcome)^2 (Brier 1950). Over ten bins of equal width, with n_k of n
decisions, mean confidence f_k and accuracy o_k in bin k and accuracy o in all, it is reliability - resolution +
uncertainty (Murphy 1973), and what varies within the bins (Stephenson, Coelho and Jolliffe 2008):

    reliability = sum n_k (f_k - o_k)^2 / n      resolution = sum n_k (o_k - o)^2 / n      uncertainty = o (1 - o)

The expected calibration error is sum n_k |f_k - o_k| / n (Naeini, Cooper and Hauskrecht 2015).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from trader_monitor.core.figure import Figure, Interval, Pairs, exact, missing, sampled, wilson
from trader_monitor.core.statistics.rolling import Cell
from trader_monitor.core.statistics.shares import mean, mean_of

__all__ = ["BINS", "Bin", "bins_of", "calibration_figures", "judge"]

BINS = 10
EDGES = tuple(k * 0.1 for k in range(1, BINS))
"""Upper edges of all bins but the last; an edge belongs to the bin below it, and so does 0 to the first."""

BRIER, OUTSIDE, BINNED = 16, 20, 24
"""Keys of sums in a cell: number, sum and sum of squares of the score; judged confidences that are no probability;
and three per bin: number, sum of confidences, number of correct ones."""

_BRIER = "mean of (confidence - outcome)^2 over judged decisions; 0 is best, 0.25 is a coin"
_COMPONENT = "Murphy's decomposition of the Brier score over 10 equal bins: score = reliability - resolution + " + (
    "uncertainty + within_bins"
)
_ERROR = "expected calibration error: sum of n_k |mean confidence - accuracy| / n over 10 equal bins"
_BIN = "judged decisions with a confidence in (bin - 0.1, bin]: {}"
_NONE = "no decision told both its confidence and its outcome in this window"
_BIASED = "binned, and so biased upward for few decisions: no simple interval"


class Bin(NamedTuple):
    """One bin's judged decisions."""

    upper: float
    n: int
    confidence: float
    """Their mean confidence."""
    correct: int


def judge(cell: Cell, confidence: float, right: bool) -> None:
    """Adds a decision whose outcome is known. A confidence that is no probability is counted apart."""
    if not 0.0 <= confidence <= 1.0:
        cell[OUTSIDE] = cell.get(OUTSIDE, 0.0) + 1.0
        return
    score = (confidence - right) ** 2
    key = BINNED + 3 * bisect_left(EDGES, confidence)
    for at, value in (
        (BRIER, 1.0),
        (BRIER + 1, score),
        (BRIER + 2, score * score),
        (key, 1.0),
        (key + 1, confidence),
        (key + 2, float(right)),
    ):
        cell[at] = cell.get(at, 0.0) + value


def bins_of(cell: Cell) -> list[Bin]:
    """The bins that hold decisions, by confidence."""
    found = []
    for k in range(BINS):
        n, confidence, correct = mean_of(cell, BINNED + 3 * k)
        if n:
            found.append(Bin((k + 1) / BINS, n, confidence / n, int(correct)))
    return found


def calibration_figures(labels: Pairs, cell: Cell) -> Iterator[Figure]:
    """The Brier score and its parts, the expected calibration error, and each bin that holds decisions."""
    score, bins = mean_of(cell, BRIER), bins_of(cell)
    outside = int(cell.get(OUTSIDE, 0.0))
    why = f"{outside} confidences are not between 0 and 1" if outside else _NONE
    yield mean("agent_brier_score", labels, score, _BRIER, why)
    n = score.n
    if not n:
        yield missing("agent_calibration_error_ratio", labels, 0, _ERROR, why)
        return
    rate = sum(each.correct for each in bins) / n
    apart = [(each.n / n, each.confidence, each.correct / each.n) for each in bins]
    yield sampled(
        "agent_calibration_error_ratio",
        labels,
        sum(weight * abs(confidence - accuracy) for weight, confidence, accuracy in apart),
        n,
        _ERROR,
        None,
        open=_BIASED,
    )
    reliability = sum(weight * (confidence - accuracy) ** 2 for weight, confidence, accuracy in apart)
    resolution = sum(weight * (accuracy - rate) ** 2 for weight, _, accuracy in apart)
    uncertainty = rate * (1.0 - rate)
    within = score.value - (reliability - resolution + uncertainty)
    for name, value in (
        ("reliability", reliability),
        ("resolution", resolution),
        ("uncertainty", uncertainty),
        ("within_bins", within),
    ):
        yield sampled("agent_brier_component", (*labels, ("component", name)), value, n, _COMPONENT, None, open=_BIASED)
    for each in bins:
        named = (*labels, ("bin", f"{each.upper:g}"))
        accuracy = each.correct / each.n
        interval: Interval = wilson(each.correct, each.n)
        yield sampled(
            "agent_calibration_accuracy_ratio", named, accuracy, each.n, _BIN.format("share correct"), interval
        )
        yield exact(
            "agent_calibration_confidence_ratio", named, each.confidence, each.n, _BIN.format("mean confidence")
        )
