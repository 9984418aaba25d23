"""Order statistics with ties: average ranks, and the area under the ROC curve with its variance.

All that the area needs is how many of each class have each score; so one sort does for the area and for DeLong's
variance, and equal scores are counted exactly, in integers.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.figure import Interval
from trader_monitor.core.samples import Bools, Floats
from trader_monitor.core.statistics.intervals import around

__all__ = ["Area", "area", "average_ranks", "spearman"]

_SLICE: Final = 8192
"""Scores that are counted at once."""


class Area(NamedTuple):
    """`value` is the probability that a positive has a higher score than a negative, ties counted half.

    `variance` is DeLong's; 0 where the scores separate the classes wholly, nan with fewer than two of a class.
    `distinct` is the number of different scores.
    """

    value: float
    variance: float
    distinct: int

    def interval(self) -> Interval | None:
        """Within 0 and 1. None where the variance says nothing: it is 0 at full separation, which proves no such
        thing of the next sample."""
        if not self.variance > 0.0:
            return None
        return around(self.value, math.sqrt(self.variance), "DeLong", 0.0, 1.0)


def area(positive: Bools, scores: Floats) -> Area | None:
    """The area under the ROC curve (Hanley & McNeil 1982) with the variance of DeLong, DeLong & Clarke-Pearson
    (1988), by placements over tied scores. `positive` and `scores` have the same length; scores are no NaN.

    None where a class is absent.
    """
    n = len(scores)
    p = int(np.count_nonzero(positive))
    q = n - p
    if p == 0 or q == 0:
        return None
    # Positives up to each place in the order of the scores, and which places are the last of their score. No two
    # arrays of n numbers live at once: memory that is given back and taken again costs more than the sort.
    positives_to = np.cumsum(positive[np.argsort(scores)], dtype=np.int32 if n < 1 << 31 else np.int64)
    ordered = np.sort(scores)
    last = np.append(ordered[1:] != ordered[:-1], True)
    del ordered
    ends = None if last.all() else np.flatnonzero(last)
    wins, square_p, square_q = 0, 0.0, 0.0
    p_to, q_to = 0, 0
    distinct = n if ends is None else len(ends)
    for start in range(0, distinct, _SLICE):
        stop = min(start + _SLICE, distinct)
        places = np.arange(start, stop) if ends is None else ends[start:stop]
        positives = positives_to[places].astype(np.int64)
        negatives = places + 1 - positives
        p_here, q_here = _steps(positives, p_to), _steps(negatives, q_to)
        # Twice what is below a positive and above a negative, ties half, so that they stay whole numbers.
        below, above = 2 * negatives - q_here, 2 * (p - positives) + p_here
        wins += int(below @ p_here)
        square_p += float(below.astype(np.float64) ** 2 @ p_here)
        square_q += float(above.astype(np.float64) ** 2 @ q_here)
        p_to, q_to = int(positives[-1]), int(negatives[-1])
    value = wins / (2 * p * q)
    if p < 2 or q < 2:
        return Area(value, math.nan, distinct)
    of_positives = square_p / (4.0 * q * q) - p * value * value
    of_negatives = square_q / (4.0 * p * p) - q * value * value
    variance = of_positives / (p - 1) / p + of_negatives / (q - 1) / q
    return Area(value, max(0.0, variance) if value not in (0.0, 1.0) else 0.0, distinct)


def _steps(sums: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    steps[0] -= before
    return steps


def average_ranks(values: Floats, period: NDArray[np.int64] | None = None) -> Floats:
    """Ranks from 1 within each period (all are one without it); equal values share the mean of their ranks."""
    n = len(values)
    if not n:
        return np.zeros(0)
    within = np.zeros(n, np.int64) if period is None else period
    order = np.lexsort((values, within))
    v, w = values[order], within[order]
    new_period = np.append(True, w[1:] != w[:-1])
    new_value = new_period | np.append(True, v[1:] != v[:-1])
    starts = np.flatnonzero(new_value)
    sizes = np.diff(starts, append=n)
    period_starts = np.flatnonzero(new_period)
    offset = period_starts[np.cumsum(new_period)[starts] - 1]
    mean_rank = starts - offset + (sizes + 1) / 2.0
    ranks = np.empty(n)
    ranks[order] = np.repeat(mean_rank, sizes)
    return ranks


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation (1904) with average ranks; nan where one side is constant."""
    x, y = average_ranks(a), average_ranks(b)
    x -= x.mean()
    y -= y.mean()
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread > 0.0 else math.nan
