"""The figures of a model that predicts numbers: information coefficient, hit rate, strategy, errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from trader_monitor.core.figure import Z95, Figure, Interval, Pairs, missing, sampled, wilson
from trader_monitor.core.models.performance.classification import too_few
from trader_monitor.core.models.performance.performance import MINIMUM
from trader_monitor.core.models.performance.ranks import average_ranks, spearman
from trader_monitor.core.samples import Floats
from trader_monitor.core.statistics.intervals import around
from trader_monitor.core.statistics.standard_errors import lags, long_run, mean_error, sharpe_iid

__all__ = ["DAY", "MIN_PAIRS", "MIN_PERIODS", "Coefficients", "coefficients", "hac_interval", "returns_figures"]

DAY: Final = 86400.0
MIN_PAIRS: Final = 5
"""Pairs that a period's rank correlation takes."""
MIN_PERIODS: Final = 10
"""Periods that the mean of such correlations, and a Sharpe ratio, take."""


class Coefficients(NamedTuple):
    """The rank correlation of each period, ascending in time."""

    coefficients: Floats
    skipped: int
    """Periods with too few pairs, or where one side was constant."""


def coefficients(at: Floats, output: Floats, actual: Floats, period: float = DAY) -> Coefficients:
    """Spearman's correlation across subjects within each period (of UTC)."""
    of = np.floor(at / period).astype(np.int64)
    periods, which, sizes = np.unique(of, return_inverse=True, return_counts=True)
    x, y = average_ranks(output, which), average_ranks(actual, which)
    k = len(periods)
    x -= (np.bincount(which, x, k) / sizes)[which]
    y -= (np.bincount(which, y, k) / sizes)[which]
    spread = np.bincount(which, x * x, k) * np.bincount(which, y * y, k)
    valid = (sizes >= MIN_PAIRS) & (spread > 0.0)
    return Coefficients(np.bincount(which, x * y, k)[valid] / np.sqrt(spread[valid]), int(k - np.count_nonzero(valid)))


def hac_interval(values: Floats, most: int) -> Interval | None:
    """Of the mean of an autocorrelated series: Newey & West's variance (1987, Bartlett's weights), with the
    correction n / (n - 1) for the mean taken out. None where the series is constant."""
    n = len(values)
    if n < 2:
        return None
    mean = float(values.mean())
    variance = float(long_run((values - mean)[:, None], most)[0, 0]) / (n - 1.0)
    if variance <= 0.0:
        return None
    return around(mean, math.sqrt(variance), f"Newey-West, {most} lags")


def lags_for(n: int, horizon: float, period: float) -> int:
    """Newey & West's rule of thumb, and no fewer than the periods that a horizon spans: forecasts that overlap have
    errors in common."""
    return max(lags(n), math.ceil(horizon / period) - 1)


def returns_figures(
    labels: Pairs, at: Floats, output: Floats, actual: Floats, horizon: float, period: float = DAY
) -> list[Figure]:
    """`at` are the predictions' times, `output` and `actual` finite; `horizon` is the usual one, in seconds."""
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves the range of numbers is missing, and says so
        few = too_few(len(at)) if len(at) < MINIMUM else ""
        return [
            *_information(labels, at, output, actual, horizon, period, few),
            _hits(labels, output, actual, few),
            *_strategies(labels, at, output, actual, period, few),
            *_errors(labels, actual - output, few),
        ]


def _hits(labels: Pairs, output: Floats, actual: Floats, few: str) -> Figure:
    words = "the share of rows in which the prediction and the outcome have the same sign; zeros of either are left out"
    both = (output != 0.0) & (actual != 0.0)
    signs = int(np.count_nonzero(both))
    if few or signs < MINIMUM:
        return missing("model_hit_ratio", labels, signs, words, few or too_few(signs, "outcomes with a sign"))
    hits = int(np.count_nonzero(both & ((output > 0.0) == (actual > 0.0))))
    return sampled("model_hit_ratio", labels, hits / signs, signs, words, wilson(hits, signs))


def _information(
    labels: Pairs, at: Floats, output: Floats, actual: Floats, horizon: float, period: float, few: str
) -> Iterator[Figure]:
    name = "model_information_coefficient"
    of = (*labels, ("method", "per_period"))
    found = coefficients(at, output, actual, period)
    periods = len(found.coefficients)
    words = f"the mean of Spearman's rank correlations across subjects, one per {period:g} s of UTC; n counts these"
    if few or periods < MIN_PERIODS:
        enough = f"insufficient_evidence: {periods} of the {MIN_PERIODS} periods with {MIN_PAIRS} pairs that it takes"
        yield missing(name, of, periods, words, few or enough)
    else:
        interval = hac_interval(found.coefficients, lags_for(periods, horizon, period))
        open = "all periods have the same coefficient"
        yield sampled(name, of, float(found.coefficients.mean()), periods, words, interval, open=open)
    of = (*labels, ("method", "pooled"))
    words = "Spearman's rank correlation over all rows of the window; the interval takes them as independent"
    if few:
        yield missing(name, of, len(at), words, few)
        return
    value = spearman(output, actual)
    if math.isnan(value):
        yield missing(name, of, len(at), words, "all predictions or all outcomes are equal: there is no order")
    else:
        yield sampled(name, of, value, len(at), words, _rank_interval(value, len(at)), open="the order is the same")


def _rank_interval(value: float, n: int) -> Interval | None:
    """Fisher's z with the variance of Bonett & Wright (2000)."""
    if abs(value) >= 1.0:
        return None
    z, half = math.atanh(value), Z95 * math.sqrt((1.0 + value * value / 2.0) / (n - 3.0))
    return Interval(math.tanh(z - half), math.tanh(z + half), "Bonett-Wright")


def _strategies(labels: Pairs, at: Floats, output: Floats, actual: Floats, period: float, few: str) -> Iterator[Figure]:
    which, sizes = np.unique(np.floor(at / period), return_inverse=True, return_counts=True)[1:]
    for strategy, weights in (("sign", np.sign(output)), ("proportional", output)):
        of = (*labels, ("strategy", strategy))
        how = "one unit by the prediction's sign" if strategy == "sign" else "units in proportion to the prediction"
        words = (
            f"Sharpe ratio of holding {how}, the mean over the rows of each {period:g} s of UTC; not annualised, "
            "risk-free rate 0, before costs, ddof 1; Lo's standard error for independent returns; n counts the periods"
        )
        gains = np.bincount(which, weights * actual, len(sizes)) / sizes
        periods = len(gains)
        if few or periods < MIN_PERIODS:
            enough = f"insufficient_evidence: {periods} of the {MIN_PERIODS} periods that it takes"
            yield missing("model_strategy_sharpe_ratio", of, periods, words, few or enough)
            continue
        spread = float(gains.std(ddof=1))
        # A spread of rounding errors only is none.
        if spread <= 1e-12 * float(np.abs(gains).max()):
            yield missing("model_strategy_sharpe_ratio", of, periods, words, "all periods have the same return")
            continue
        value = float(gains.mean()) / spread
        interval = around(value, sharpe_iid(value, periods), "Lo")
        yield sampled("model_strategy_sharpe_ratio", of, value, periods, words, interval)


def _errors(labels: Pairs, errors: Floats, few: str) -> Iterator[Figure]:
    n = len(errors)
    mean_words = "mean absolute error, in the outcome's unit; normal interval of a mean"
    root_words = "root mean squared error, in the outcome's unit; the root of the normal interval of the mean square"
    if few:
        yield missing("model_absolute_error_mean", labels, n, mean_words, few)
        yield missing("model_squared_error_root", labels, n, root_words, few)
        return
    mean, interval = _mean(np.abs(errors))
    yield sampled("model_absolute_error_mean", labels, mean, n, mean_words, interval)
    square, (low, high, method) = _mean(errors**2)
    interval = Interval(math.sqrt(low), math.sqrt(high), method)
    yield sampled("model_squared_error_root", labels, math.sqrt(square), n, root_words, interval)


def _mean(values: Floats) -> tuple[float, Interval]:
    """Of values that are not negative."""
    mean = float(values.mean())
    return mean, around(mean, mean_error(values), "normal", 0.0)
