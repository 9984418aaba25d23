"""Standard errors of smooth functions of moments, for observations in the order of time.

The robust ones are Hansen's GMM with the covariance of Newey and West (1987), Bartlett weights and
floor(4 (n / 100)^(2/9)) lags, which hold with fat tails, with volatility in clusters and with autocorrelation.
"""

from __future__ import annotations

import math

from trader_monitor.core.samples import Floats

__all__ = ["delta", "lags", "long_run", "mean_error", "sharpe_iid"]


def lags(n: int) -> int:
    """How many autocovariances count (Newey and West 1994, their rule for the Bartlett kernel)."""
    return int(4.0 * math.pow(n / 100.0, 2.0 / 9.0))


def long_run(moments: Floats, most: int) -> Floats:
    """The long-run covariance (k x k) of `moments` (n x k, mean zero) with `most` lags; 0 is for independent ones."""
    n = len(moments)
    covariance: Floats = moments.T @ moments
    for lag in range(1, min(most, n - 1) + 1):
        cross = moments[lag:].T @ moments[:-lag]
        covariance += (1.0 - lag / (most + 1.0)) * (cross + cross.T)
    return covariance / n


def delta(covariance: Floats, gradient: Floats, n: int) -> float:
    """The standard error of a function of the moments, by its gradient (the delta method)."""
    return math.sqrt(max(0.0, float(gradient @ covariance @ gradient)) / n)


def mean_error(values: Floats) -> float:
    """Of the mean of at least two independent values."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def sharpe_iid(ratio: float, n: int) -> float:
    """Of a Sharpe ratio per period from n independent normal returns (Lo 2002)."""
    return math.sqrt((1.0 + ratio * ratio / 2.0) / n)
