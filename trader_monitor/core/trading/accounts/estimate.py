"""Estimates: a statistic of daily returns with what it rests on.

A standard error is the wider of two. One takes the returns for independent and, where that gives a closed form,
normal. The other is robust (`statistics.standard_errors`). Alone each is too narrow somewhere: the first covers 85 % of
the time where returns are autocorrelated at 0.3, the second 87 % of the time where 30 of them have fat tails (nominally
95 %).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trader_monitor.core.figure import Figure, Interval, Pairs, exact, missing, sampled
from trader_monitor.core.samples import Floats
from trader_monitor.core.statistics import intervals

__all__ = ["Estimate", "around", "constant", "measured", "refusal", "unknown"]

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

    def figure(self, name: str, labels: Pairs, convention: str) -> Figure:
        if self.value is None:
            return missing(name, labels, self.n, convention, self.reason)
        if self.measured:
            return exact(name, labels, self.value, self.n, convention)
        return sampled(name, labels, self.value, self.n, convention, self.interval, open=self.open)


def unknown(n: int, reason: str) -> Estimate:
    return Estimate(None, n, reason=reason)


def measured(value: float, n: int) -> Estimate:
    """What happened, and was not estimated."""
    return Estimate(value, n, measured=True)


def around(value: float, error: float, n: int, method: str) -> Estimate:
    """With its interval of 95 %, by the normal approximation."""
    return Estimate(value, n, intervals.around(value, error, method))


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
