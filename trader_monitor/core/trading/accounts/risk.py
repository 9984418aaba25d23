"""Value at risk and conditional value at risk of one day, historical and parametric normal side by side.

Both are a positive loss as a ratio of equity; a negative one means that even that quantile is a gain.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from trader_monitor.core.figure import Interval
from trader_monitor.core.samples import Floats
from trader_monitor.core.statistics.intervals import exact_ranks
from trader_monitor.core.statistics.standard_errors import delta, lags, long_run
from trader_monitor.core.trading.accounts.estimate import Estimate, around, constant, refusal, unknown
from trader_monitor.core.trading.accounts.performance import ERRORS

__all__ = ["CONFIDENCES", "Risk", "historical", "needed_for", "normal"]

CONFIDENCES = (0.95, 0.99)

_LEAST_TAIL = 5
"""Days in the tail that the interval of their mean needs."""

_STANDARD = NormalDist()


class Risk(NamedTuple):
    """Value at risk, and the mean loss of the days that are no better."""

    var: Estimate
    cvar: Estimate


def needed_for(confidence: float) -> int:
    """Daily returns of which one is expected beyond the quantile: 20 at 95 %, 100 at 99 %."""
    return math.ceil(1.0 / (1.0 - confidence) - 1e-9)


def historical(
    returns: Floats, confidences: tuple[float, ...] = CONFIDENCES, *, minimum: int = 2, reason: str = ""
) -> list[Risk]:
    """The empirical quantile with linear interpolation (Hyndman and Fan 1996, type 7), and the mean at and below it.

    The quantile's interval is that of order statistics by the binomial distribution, free of any distribution of the
    returns (Conover 1999, section 3.2). That of the mean is by its variance in large samples (Manistre and
    Hancock 2005). Both take the days for independent. Needs `minimum` returns and `needed_for` the confidence.
    """
    ordered = np.sort(returns)
    found = []
    for confidence in confidences:
        if why := reason or refusal(returns, max(2, minimum, needed_for(confidence))):
            found.append(Risk(unknown(len(returns), why), unknown(len(returns), why)))
        else:
            found.append(_historical(ordered, confidence))
    return found


def _historical(ordered: Floats, confidence: float) -> Risk:
    n, share = len(ordered), round(1.0 - confidence, 12)
    place = (n - 1) * share
    below = float(ordered[int(place)])
    quantile = below + (float(ordered[min(int(place) + 1, n - 1)]) - below) * (place % 1.0)
    low, high = exact_ranks(n, share)
    if low < 1 or high > n:
        var = Estimate(-quantile, n, open=f"an interval needs {_bounded_from(share)} daily returns")
    else:
        interval = Interval(-float(ordered[high - 1]), -float(ordered[low - 1]), "order statistics, binomial")
        var = Estimate(-quantile, n, interval)
    tail = ordered[: int(np.searchsorted(ordered, quantile, side="right"))]
    if len(tail) < 2:
        return Risk(var, unknown(n, "fewer than 2 days are in the tail"))
    mean = float(tail.mean())
    if len(tail) < _LEAST_TAIL:
        return Risk(var, Estimate(-mean, n, open=f"an interval needs {_LEAST_TAIL} days in the tail, not {len(tail)}"))
    away = tail - mean
    variance = float(away @ away) / (len(tail) - 1) + confidence * (quantile - mean) ** 2
    return Risk(var, around(-mean, math.sqrt(variance / (n * share)), n, "Manistre and Hancock (2005)"))


def normal(
    returns: Floats, confidences: tuple[float, ...] = CONFIDENCES, *, minimum: int = 2, reason: str = ""
) -> list[Risk]:
    """As if returns were normal with the sample's mean and standard deviation (ddof 1): -(mean + z sd), z < 0, and
    -mean + sd density(z) / (1 - confidence). The intervals are of the estimates, not of the assumption.
    """
    n = len(returns)
    if why := reason or refusal(returns, max(2, minimum)):
        return [Risk(unknown(n, why), unknown(n, why)) for _ in confidences]
    mean = float(returns.mean())
    if constant(returns):
        still = Estimate(-mean, n, open="all daily returns are equal")
        return [Risk(still, still) for _ in confidences]
    away = returns - mean
    spread = float(away @ away) / n
    sd = math.sqrt(spread * n / (n - 1))
    robust = long_run(np.column_stack([away, away * away - spread]), lags(n))
    found = []
    for confidence in confidences:
        z = _STANDARD.inv_cdf(1.0 - confidence)
        factors = (-z, _STANDARD.pdf(z) / (1.0 - confidence))
        found.append(Risk(*(_normal(mean, sd, factor, robust, n) for factor in factors)))
    return found


def _normal(mean: float, sd: float, factor: float, robust: Floats, n: int) -> Estimate:
    """-mean + factor sd."""
    iid = sd * math.sqrt((1.0 + factor * factor / 2.0) / n)
    error = max(iid, delta(robust, np.array([-1.0, factor / (2.0 * sd)]), n))
    return around(factor * sd - mean, error, n, ERRORS)


@lru_cache(maxsize=16)
def _bounded_from(share: float) -> int:
    """The smallest sample whose order statistics hold the quantile on both sides."""
    return math.ceil(math.log(0.025) / math.log1p(-share))
