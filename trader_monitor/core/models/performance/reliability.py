"""Whether probabilities mean what they say: Brier score, reliability bins, calibration error, recalibration."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from trader_monitor.core.figure import Interval, wilson
from trader_monitor.core.models.performance.ranks import area
from trader_monitor.core.samples import Bools, Floats
from trader_monitor.core.statistics.intervals import around
from trader_monitor.core.statistics.standard_errors import mean_error

__all__ = ["BINS", "Bin", "Isotonic", "Reliability", "brier", "reliability"]

BINS: Final = 10
"""Of equal width over 0..1; the last includes 1."""


class Bin(NamedTuple):
    """The rows whose probability lies from `low` to `high`: what was said on average, and what came true."""

    low: float
    high: float
    n: int
    said: float
    came_true: float
    interval: Interval


class Reliability(NamedTuple):
    """`error` is the expected calibration error (Naeini, Cooper & Hauskrecht 2015): the mean distance of what came true
    from what was said, over bins, weighted by their rows. It is never 0 on a sample; `error_if_calibrated` is what a
    perfectly calibrated model shows on average with these probabilities and this number of rows."""

    error: float
    interval: Interval
    error_if_calibrated: float
    bins: tuple[Bin, ...]


def brier(said: Floats, came_true: Bools) -> tuple[float, Interval]:
    """The mean squared distance of the probability from 0 or 1 (Brier 1950); needs two rows.

    The interval is the normal one of a mean.
    """
    losses = (said - came_true) ** 2
    value = float(losses.mean())
    return value, around(value, mean_error(losses), "normal", 0.0, 1.0)


def reliability(said: Floats, came_true: Bools) -> Reliability:
    """Of at least one row; probabilities are within 0..1."""
    n = len(said)
    of = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(of, minlength=BINS)
    sums = np.bincount(of, said, minlength=BINS)
    hits = np.bincount(of, came_true, minlength=BINS)
    spread = np.bincount(of, said * (1.0 - said), minlength=BINS)
    bins = []
    error = variance = quiet = 0.0
    for b in np.flatnonzero(rows):
        size, hit = int(rows[b]), int(hits[b])
        mean, share = float(sums[b]) / size, hit / size
        bins.append(Bin(b / BINS, (b + 1) / BINS, size, mean, share, wilson(hit, size)))
        error += size / n * abs(share - mean)
        variance += size * share * (1.0 - share) / n**2
        quiet += math.sqrt(2.0 / math.pi * float(spread[b])) / n  # the mean of a folded normal
    interval = around(error, math.sqrt(variance), "delta method", 0.0, 1.0)
    return Reliability(error, interval, quiet, tuple(bins))


class Isotonic(Struct, frozen=True):
    """Scores to probabilities by a curve that never falls, as fitted to reference outcomes.

    The curve is level on each block (from `low` to `high`) and straight between two; outside it stays level. `rows`
    says how many outcomes each block's level rests on.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    level: tuple[float, ...]
    rows: tuple[int, ...]
    optimism: float = 0.0
    """By how much the area under the ROC curve of these levels is larger than that of the scores they were fitted to:
    pooling leaves out the errors in order that a next sample will have again."""

    @classmethod
    def of(cls, scores: Floats, positive: Bools) -> Isotonic:
        """Least squares by pooling adjacent violators (Ayer et al. 1955; Barlow et al. 1972); needs one row."""
        values, which = np.unique(scores, return_inverse=True)
        sizes = np.bincount(which).tolist()
        hits = np.bincount(which, positive).tolist()
        blocks: list[tuple[int, int, float, int]] = []  # first and last value, hits, rows
        for place, (hit, size) in enumerate(zip(hits, sizes, strict=True)):
            first = place
            # Hits over rows of the block before must stay below; compared crosswise, in whole numbers.
            while blocks and blocks[-1][2] * size >= hit * blocks[-1][3]:
                first, _, more, rows = blocks.pop()
                hit, size = hit + more, size + rows
            blocks.append((first, place, hit, size))
        curve = cls(
            tuple(float(values[first]) for first, _, _, _ in blocks),
            tuple(float(values[last]) for _, last, _, _ in blocks),
            tuple(hit / size for _, _, hit, size in blocks),
            tuple(size for _, _, _, size in blocks),
        )
        given, pooled = area(positive, scores), area(positive, np.asarray(curve.level)[curve.blocks(scores)])
        if given is None or pooled is None:
            return curve
        return replace(curve, optimism=pooled.value - given.value)

    def probabilities(self, scores: Floats) -> Floats:
        """As long as `scores`, within 0..1."""
        knots = np.column_stack((self.low, self.high)).ravel()
        levels = np.repeat(self.level, 2)
        found: Floats = np.interp(scores, knots, levels)
        return found

    def blocks(self, scores: Floats) -> NDArray[np.intp]:
        """The block of each score: the last that does not begin above it."""
        return np.maximum(np.searchsorted(self.low, scores, side="right") - 1, 0)
