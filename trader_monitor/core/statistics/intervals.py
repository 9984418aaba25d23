"""Intervals of estimates, means and percentiles (95 %, two-sided), without a statistics library."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from trader_monitor.core.figure import Z95, Interval

__all__ = ["Mean", "Ranks", "around", "exact_ranks", "ranks", "student", "student_interval"]

TAIL = 0.025
NORMAL_FROM = 25.0
"""Variance of a binomial from which on its tails are taken from the normal distribution."""

_SMALLEST = 1e-290
"""Probabilities from which on a product of ratios keeps all its digits."""

_STUDENT = (12.706204736432095, 4.302652729696142, 3.182446305284263, 2.7764451051977987, 2.5705818366147395)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with `freedom` >= 1 degrees of freedom; 5e-5 near the exact one.

    Up to five from a table, then Fisher's expansion (Abramowitz and Stegun 1964, 26.7.5).
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = Z95
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160.0,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def around(value: float, error: float, method: str, low: float = -math.inf, high: float = math.inf) -> Interval:
    """By the normal approximation, with a standard error, and within `low` and `high`."""
    half = Z95 * error
    return Interval(max(low, value - half), min(high, value + half), method)


def student_interval(mean: float, variance: float, n: int) -> Interval:
    """Of the mean of `n` > 1 observations with this variance (ddof 1); Student's t (1908)."""
    half = student(n - 1) * math.sqrt(variance / n)
    return Interval(mean - half, mean + half, "Student t")


class Mean(NamedTuple):
    """A sample by its number, sum and sum of squares: mergeable by addition."""

    n: int
    total: float
    squares: float

    @property
    def value(self) -> float:
        return self.total / self.n

    @property
    def open(self) -> str:
        """Why there is no interval, or nothing."""
        if self.n < 2:
            return "one observation has no spread"
        return "" if self._variance > 0.0 else "all observations are equal: their spread is not known"

    @property
    def interval(self) -> Interval | None:
        """Student's t of the mean (ddof 1)."""
        if self.open:
            return None
        return student_interval(self.value, self._variance, self.n)

    @property
    def _variance(self) -> float:
        spread = self.squares - self.total * self.total / self.n
        return spread / (self.n - 1) if spread > 1e-12 * self.squares else 0.0


class Ranks(NamedTuple):
    """Which observations, counted from 1 in ascending order, bound a percentile; `low` 0 and `high` n + 1 are none."""

    low: int
    high: int


@lru_cache(maxsize=4096)
def ranks(n: int, share: float) -> Ranks:
    """The order statistics that enclose the `share` quantile of a continuous distribution in 95 % of samples of n.

    How many of n lie below the quantile is binomial, whatever the distribution (David and Nagaraja 2003, 7.1). Exact
    tails where its variance is below 25, else Cornish and Fisher's, one rank wider.
    """
    if share < 0.5:
        return _mirrored(n, ranks(n, 1.0 - share))
    above = 1.0 - share
    variance = n * share * above
    if variance < NORMAL_FROM:
        return exact_ranks(n, share)
    middle = n * above + (Z95 * Z95 - 1.0) * (1.0 - 2.0 * above) / 6.0
    half = Z95 * math.sqrt(variance) + 1.5
    return Ranks(n + 1 - math.ceil(middle + half), n - math.floor(middle - half))


@lru_cache(maxsize=512)
def exact_ranks(n: int, share: float) -> Ranks:
    """As `ranks`, with exact tails as long as the least probable of them is a number; it takes n steps."""
    if share < 0.5:
        return _mirrored(n, exact_ranks(n, 1.0 - share))
    chance = below = share**n
    if chance < _SMALLEST:
        return ranks(n, share)
    odds = (1.0 - share) / share
    few, many = -1, 0
    while 1.0 - below > TAIL and many < n:
        if below <= TAIL:
            few = many
        chance *= (n - many) / (many + 1) * odds
        many += 1
        below += chance
    return Ranks(n - many, n - few)


def _mirrored(n: int, found: Ranks) -> Ranks:
    """Those of the same share from the other end."""
    return Ranks(n + 1 - found.high, n + 1 - found.low)
