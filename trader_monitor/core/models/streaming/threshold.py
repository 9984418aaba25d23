"""Threshold: what a stream has to say before it is an alarm, and how much of that is the baseline's own error.

Per stream there is one e-detector (Shin, Ramdas, Rinaldo, E-detectors: a nonparametric framework for sequential change
detection, 2024) of the Shiryaev-Roberts kind: six components, S <- (S + weight) * ratio, for shifts up and down by
0.25, 0.5 and 1 standard deviation of the feature, and an alarm where their sum reaches the threshold. Were the law of
the scores known, their sum less the number of samples would be a martingale, and a threshold of `every` would keep the
promise of one false alarm in `every` samples. A sum that gets there overshoots by exp(0.583 * shift) on average
(Siegmund, Sequential Analysis, 1985), which is given back.

The law is estimated. From n rows the residual's mean is known to 1 / sqrt(n) only, whatever the stream's memory, and a
quiet stream seems to have shifted by that much. Each ratio therefore pays for a dead zone (`zone`) of a
little more than that, so that the false alarms of all baselines of n rows together stay below the promise. How wide it
has to be was found by simulation; `benchmarks/false_alarms.py` shows what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trader_monitor.core.models.streaming.whitening import CELLS, ORDER, Whitening
from trader_monitor.core.samples import Floats

__all__ = ["COMPONENTS", "DIRECTIONS", "EVERY", "MOST_EVERY", "SHIFTS", "WEIGHTS", "Laws", "costs", "laws_of", "shifts"]

EVERY = 10_000
"""Samples per false alarm that a stream promises at least, if not told otherwise."""

MOST_EVERY = 100_000_000

SHIFTS: Final = np.asarray((0.25, 0.25, 0.5, 0.5, 1.0, 1.0))
DIRECTIONS: Final = np.asarray((1, -1, 1, -1, 1, -1))
WEIGHTS: Final = np.asarray((0.08, 0.08, 0.34, 0.34, 0.08, 0.08))
COMPONENTS = len(SHIFTS)

GAINS = (0.1, 1.0)
"""A component's shift in residuals is at least and at most this share of it: less could not be told from the
baseline's error, more would let one outlier say too much."""

OVERSHOOT = 0.583
ZONE, ZONE_PER_DECADE = 1.35, 0.9
PLENTY, MOST = 1_000, 20_000
"""Baseline rows; see `zone`."""


def shifts(whitening: Whitening) -> Floats:
    """Of each component, in standard deviations of the residual, signed."""
    found: Floats = SHIFTS * DIRECTIONS * min(max(whitening.gain, GAINS[0]), GAINS[1])
    return found


def costs(whitening: Whitening, every: float) -> Floats:
    """What each component's logarithm pays per sample: the score's cumulant and the dead zone."""
    steps = shifts(whitening)
    mass = np.asarray(whitening.counts) / sum(whitening.counts)
    cumulant = np.log(np.exp(np.outer(steps, whitening.scores())) @ mass)
    found: Floats = cumulant + np.abs(steps) * zone(whitening.rows, every)
    return found


def ratios(whitening: Whitening, every: float) -> Floats:
    """The likelihood ratio of each component and cell (6 x 64): at most 1 on average over the baseline."""
    found: Floats = np.exp(np.outer(shifts(whitening), whitening.scores()) - costs(whitening, every)[:, None])
    return found


def zone(rows: int, every: float) -> float:
    """The dead zone in standard deviations of the residual.

    It is wider the rarer a false alarm may be, as then the baselines that erred most give nearly all of them, and
    below 1,000 rows, where the filter's errors add to the mean's. More than 20,000 rows count as 20,000: a law that is
    wholly known would use the promise up (1.00 alarms in `every` samples simulated).
    """
    errors = ZONE + ZONE_PER_DECADE * max(0.0, math.log10(every / EVERY))
    return errors / math.sqrt(min(rows, MOST)) * max(1.0, math.sqrt(PLENTY / rows))


def threshold(whitening: Whitening, every: float) -> float:
    """What the weighted sum of the components has to reach."""
    return float(every * WEIGHTS @ np.exp(-OVERSHOOT * np.abs(shifts(whitening))))


class Laws(NamedTuple):
    """Of several streams, stacked: streams last, before them components, cells or lags (`edges`: streams x 63).

    `scores` and `ratios` (with the components last) are by stream and cell in one run of streams x 64.
    """

    low: Floats
    high: Floats
    centre: Floats
    deviation: Floats
    coefficients: Floats
    edges: Floats
    scores: Floats
    ratios: Floats
    steps: Floats
    prices: Floats
    thresholds: Floats
    gains: Floats


def laws_of(found: Sequence[Whitening], every: float) -> Laws:
    """Each with the promise of one false alarm in `every` samples."""
    several = len(found)
    return Laws(
        low=np.asarray([each.low for each in found]),
        high=np.asarray([each.high for each in found]),
        centre=np.asarray([each.centre for each in found]),
        deviation=np.asarray([each.deviation for each in found]),
        coefficients=np.asarray([each.coefficients for each in found]).reshape(several, ORDER).T.copy(),
        edges=np.asarray([each.edges for each in found]).reshape(several, CELLS - 1),
        scores=np.asarray([each.scores() for each in found]).reshape(several * CELLS),
        ratios=np.asarray([ratios(each, every).T for each in found]).reshape(several * CELLS, COMPONENTS),
        steps=np.asarray([shifts(each) for each in found]).reshape(several, COMPONENTS).T.copy(),
        prices=np.asarray([costs(each, every) for each in found]).reshape(several, COMPONENTS).T.copy(),
        thresholds=np.asarray([threshold(each, every) for each in found]),
        gains=np.asarray([max(each.gain, GAINS[0]) for each in found]),
    )
