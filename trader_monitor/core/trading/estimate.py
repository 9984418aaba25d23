"""Estimates: a statistic of daily returns with what it rests on, and standard errors of smooth functions of moments.

A standard error is the wider of two. One takes the returns for independent and, where that gives a closed form,
normal. The other is robust: Hansen's GMM with the covariance of Newey and West (1987), Bartlett weights and
floor(4 (n / 100)^(2/9)) lags, which holds with fat tails, with volatility in clusters and with autocorrelation.
Alone each is too narrow somewhere: the first covers 85 % of the time where returns are autocorrelated at 0.3,
the second 87 % of the time where 30 of them have fat tails (nominally 95 %).
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.figure import Z95, Interval
from trader_monitor.core.samples import Floats

__all__ = ["Estimate", "Matrix", "around", "constant", "delta", "lags", "long_run", "measured", "refusal", "unknown"]

Matrix: TypeAlias = NDArray[np.float64]

_EQUAL = 1e-12
"""Returns are ratios near 1, less 1: they are exact to some 1e-16, and equal where they differ by less than this."""


class Estimate(NamedTuple):
    """`value` is None where `reason` says why; without an interval `open` says why, unless `measured`."""

    value: float | None
    n: int
    interval: Interval | None = None
    reason: str = ""
    open: str = ""
    measured: bool = False


def unknown(n: int, reason: str) -> Estimate:
    return Estimate(None, n, reason=reason)


def measured(value: float, n: int) -> Estimate:
    """What happened, and was not estimated."""
    return Estimate(value, n, measured=True)


def around(value: float, error: float, n: int, method: str) -> Estimate:
    """With its interval of 95 %, by the normal approximation."""
    return Estimate(value, n, Interval(value - Z95 * error, value + Z95 * error, method))


def refusal(returns: Floats, needed: int) -> str:
    """Why these returns carry no figure; empty where they do."""
    n = len(returns)
    if n < needed:
        return f"{n} daily returns are known, {needed} are needed"
    if not np.isfinite(returns).all():
        return "a daily return is not a finite number"
    if returns.min(initial=0.0) <= -1.0:
        return "equity fell to zero or below"
    return ""


def constant(returns: Floats) -> bool:
    """Whether they are all equal, but for rounding."""
    low, high = float(returns.min()), float(returns.max())
    return high - low <= _EQUAL * (1.0 + max(abs(low), abs(high)))


def lags(n: int) -> int:
    """How many autocovariances count (Newey and West 1994, their rule for the Bartlett kernel)."""
    return int(4.0 * math.pow(n / 100.0, 2.0 / 9.0))


def long_run(moments: Matrix, most: int) -> Matrix:
    """The long-run covariance (k x k) of `moments` (n x k, mean zero) with `most` lags; 0 is for independent ones."""
    n = len(moments)
    covariance: Matrix = moments.T @ moments
    for lag in range(1, min(most, n - 1) + 1):
        cross = moments[lag:].T @ moments[:-lag]
        covariance += (1.0 - lag / (most + 1.0)) * (cross + cross.T)
    return covariance / n


def delta(covariance: Matrix, gradient: Floats, n: int) -> float:
    """The standard error of a function of the moments, by its gradient (the delta method)."""
    return math.sqrt(max(0.0, float(gradient @ covariance @ gradient)) / n)
