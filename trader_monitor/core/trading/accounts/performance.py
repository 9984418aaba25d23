"""Performance from daily returns: Sharpe, Sortino, Calmar, volatility, growth, drawdown, best and worst day.

The annual risk-free rate is converted to a day geometrically; standard deviations have ddof 1; annual figures are
the daily ones by the square root of the annualisation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trader_monitor.core.figure import Z95, Interval, wilson
from trader_monitor.core.samples import Floats
from trader_monitor.core.statistics.standard_errors import delta, lags, long_run, sharpe_iid
from trader_monitor.core.trading.accounts.estimate import Estimate, around, constant, measured, refusal, unknown

__all__ = ["ERRORS", "Performance", "drawdown_of", "per_period", "performance"]

ERRORS = "the wider of the iid and the Newey-West standard error"
_LO = "Lo (2002), the wider of the iid and the GMM standard error"
_ROUNDING = 1e-12


class Performance(NamedTuple):
    """`sharpe_iid` and `sharpe_gmm` are the two standard errors of Lo (2002), annualised as the ratio is."""

    sharpe: Estimate
    sharpe_iid: Estimate
    sharpe_gmm: Estimate
    sortino: Estimate
    calmar: Estimate
    volatility: Estimate
    cagr: Estimate
    drawdown: Estimate
    best: Estimate
    worst: Estimate
    positive: Estimate


def per_period(annual: float, annualisation: int) -> float:
    """An annual effective rate as one of a period."""
    return float((1.0 + annual) ** (1.0 / annualisation) - 1.0)


def drawdown_of(returns: Floats) -> float:
    """The deepest fall of the compounded curve from its peak as a ratio; it begins at 1, before the first return.

    Returns are above -1. The curve is kept as a logarithm, which no growth takes out of the range of numbers.
    """
    curve = np.cumsum(np.log1p(returns))
    peaks = np.maximum.accumulate(np.maximum(curve, 0.0))
    return float(0.0 - np.expm1(np.min(curve - peaks, initial=0.0)))


def performance(
    returns: Floats, *, annualisation: int = 365, risk_free: float = 0.0, minimum: int = 2, reason: str = ""
) -> Performance:
    """Of simple daily returns (n). `minimum` are needed for an annual figure, at least 2; `reason` refuses all.

    With s the Sharpe ratio of a day and n days, Lo's standard errors are sqrt((1 + s^2 / 2) / n) for iid normal
    returns and, from the moments (r - mean, (r - mean)^2 - variance) with the gradient (1 / sd, -mean / 2 sd^3), the
    robust one. Those of the other figures are made in the same way from their own moments; that of the
    volatility and of the growth on a logarithmic scale, so that neither interval reaches beyond its range. Calmar
    has the growth's interval with the drawdown taken as it happened.
    """
    n = len(returns)
    drawdown = best = worst = positive = unknown(n, reason or refusal(returns, 1))
    if not drawdown.reason:
        drawdown = measured(drawdown_of(returns), n)
        best, worst = measured(float(returns.max()), n), measured(float(returns.min()), n)
        ups = int(np.count_nonzero(returns > 0.0))
        positive = Estimate(ups / n, n, wilson(ups, n))
    if why := reason or refusal(returns, max(2, minimum)):
        none = unknown(n, why)
        return Performance(none, none, none, none, none, none, none, drawdown, best, worst, positive)

    root = math.sqrt(annualisation)
    excess = returns - per_period(risk_free, annualisation)
    mean = float(excess.mean())
    away = excess - mean
    spread = float(away @ away) / n
    below = np.square(np.minimum(excess, 0.0))
    downside = float(below.mean())
    logs = np.log1p(returns)
    log = float(logs.mean())
    moments = np.column_stack([away, away * away - spread, below - downside, logs - log])
    free, robust = long_run(moments, 0), long_run(moments, lags(n))

    grown = _exp(annualisation * log) - 1.0
    error = annualisation * max(
        math.sqrt(float(free[3, 3]) / (n - 1)), delta(robust, np.array([0.0, 0.0, 0.0, 1.0]), n)
    )
    half = Z95 * error
    reach = Interval(_exp(annualisation * log - half) - 1.0, _exp(annualisation * log + half) - 1.0, ERRORS)
    cagr = Estimate(grown, n, reach)
    fall = drawdown.value or 0.0
    calmar = unknown(n, "there was no drawdown")
    if fall > _ROUNDING:
        held = Interval(reach.low / fall, reach.high / fall, "that of the growth, the drawdown taken as it happened")
        calmar = Estimate(grown / fall, n, held)

    if constant(returns):
        none = unknown(n, "all daily returns are equal")
        still = Estimate(0.0, n, open="all daily returns are equal")
        return Performance(none, none, none, none, calmar, still, cagr, drawdown, best, worst, positive)

    sd = math.sqrt(spread * n / (n - 1))
    ratio = mean / sd
    iid = sharpe_iid(ratio, n)
    gmm = delta(robust, np.array([1.0 / sd, -mean / (2.0 * sd**3), 0.0, 0.0]), n)
    own = "a standard error has no interval of its own"
    error_iid, error_gmm = (Estimate(root * error, n, open=own) for error in (iid, gmm))
    sharpe = around(root * ratio, root * max(iid, gmm), n, _LO)

    sortino = unknown(n, "no daily return is below the risk-free rate")
    if downside > _ROUNDING * _ROUNDING:
        fallen = math.sqrt(downside)
        gradient = np.array([1.0 / fallen, 0.0, -mean / (2.0 * fallen**3), 0.0])
        error = max(delta(free, gradient, n), delta(robust, gradient, n))
        sortino = around(root * mean / fallen, root * error, n, ERRORS)

    error = max(1.0 / math.sqrt(2.0 * n), delta(robust, np.array([0.0, 0.5 / sd**2, 0.0, 0.0]), n))
    bounds = Interval(root * sd * _exp(-Z95 * error), root * sd * _exp(Z95 * error), f"{ERRORS}, of its logarithm")
    volatility = Estimate(root * sd, n, bounds)
    return Performance(sharpe, error_iid, error_gmm, sortino, calmar, volatility, cagr, drawdown, best, worst, positive)


def _exp(power: float) -> float:
    return math.exp(power) if power < 700.0 else math.inf
