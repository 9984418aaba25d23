"""Evidence that a model errs more often than it may: an e-process, valid at any time it is looked at.

For every rate p above the allowed one, the likelihood ratio of p against the allowed rate is a bet that nobody can
expect to win while the model errs no more often than allowed, given all that came before. What is bet on is the share
of errors among the outcomes of one moment (0 or 1 where there is one): a market that turns makes all of them wrong
together, and the ratio, which is linear in the share, stays a fair bet however they depend on each other.

Bets on several rates are mixed, and each is begun anew at every moment with a small part of the capital, since nobody
knows when the concept drifts. The capital is a nonnegative supermartingale that starts at 1: by Ville's inequality
(1939) it ever reaches 1 / alpha with probability at most alpha, however often it is looked at and whenever one stops
(Shafer 2021; Ramdas, Grünwald, Vovk & Shafer 2023).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from trader_monitor.core.samples import Bools, Floats

__all__ = ["ALPHA", "ErrorEvidence", "allowed_rate", "effective", "highest_rate"]

ALPHA: Final = 0.05
"""The probability of ever crying wolf over a version's whole life, when nothing else is asked for."""

_BASELINE_SHARE: Final = 0.2
"""The part of alpha that the baseline's own uncertainty may use up."""
_PATIENCE: Final = 100
"""A bet that begins at moment k gets (P + 1) / ((k + P) (k + P + 1)) of the capital, for P of this; all together 1."""
_ODDS: Final = (1.25, 1.5, 2.0, 3.0, 5.0)
"""The odds of an error that are bet on, as multiples of the allowed odds."""


class ErrorEvidence(Struct, frozen=True):
    """`evidence` is the e-value, `threshold` what it has to reach. Constant in size: a number per odds bet on.

    A value: `after` gives the next one. Feeding moments one by one or in batches comes to the same.
    """

    allowed: float
    """The error rate of the null hypothesis, 0 < allowed < 1."""
    threshold: float
    seen: int = 0
    """Moments."""
    log_capital: tuple[float, ...] = (-math.inf,) * len(_ODDS)
    """Of the bets that have begun, by odds; each odds has an equal part of the capital."""
    highest: float = 0.0
    """The largest logarithm of the evidence so far, at least 0: that of the start."""
    crossed: int | None = None
    """How many moments had been seen when the evidence first reached the threshold."""

    @classmethod
    def against(cls, wrong: Bools, moment: Floats, alpha: float = ALPHA) -> ErrorEvidence:
        """The null hypothesis is: errs no more often than the baseline. `wrong` says of each of its rows (at least
        one) whether it erred, `moment` which belong together.

        The baseline is a sample too: a fifth of alpha pays for its upper limit, the rest for the bets.
        """
        errors, n = effective(wrong, moment)
        allowed = highest_rate(errors, n, alpha * _BASELINE_SHARE)
        return cls(allowed_rate(allowed), 1.0 / (alpha * (1.0 - _BASELINE_SHARE)))

    @property
    def drifted(self) -> bool:
        """Once it is, it stays: what was proven does not become unproven."""
        return self.crossed is not None

    @property
    def evidence(self) -> float:
        """The e-value now."""
        return math.exp(min(700.0, self._log_now(np.asarray(self.log_capital), self.seen)))

    def _log_now(self, capital: np.ndarray[tuple[int], np.dtype[np.float64]], seen: int) -> float:
        began = float(np.logaddexp.reduce(capital)) - math.log(len(_ODDS))
        return float(np.logaddexp(began, math.log((_PATIENCE + 1) / (seen + _PATIENCE + 1))))

    def after(self, shares: Floats) -> ErrorEvidence:
        """After further moments, in the order in which they came: the share of errors of each, 0..1."""
        n = len(shares)
        if n == 0:
            return self
        odds = self.allowed / (1.0 - self.allowed) * np.asarray(_ODDS)
        rates = odds / (1.0 + odds)
        stake = (rates - self.allowed) / (self.allowed * (1.0 - self.allowed))
        number = np.arange(self.seen + 1, self.seen + n + 1, dtype=np.float64)
        begun = math.log(_PATIENCE + 1.0) - np.log(number + _PATIENCE) - np.log(number + _PATIENCE + 1.0)
        waiting = math.log(_PATIENCE + 1.0) - np.log(number + _PATIENCE + 1.0)
        growth = np.cumsum(np.log1p(stake * (shares[:, None] - self.allowed)), axis=0)
        # capital[t] = (capital[t-1] + begun[t]) * ratio[t], unrolled: every bet is begun before its first outcome.
        before = np.vstack((np.zeros(len(_ODDS)), growth[:-1]))
        stakes = begun[:, None] - before
        stakes[0] = np.logaddexp(stakes[0], self.log_capital)
        capital = growth + np.logaddexp.accumulate(stakes, axis=0)
        path = np.logaddexp(np.logaddexp.reduce(capital, axis=1) - math.log(len(_ODDS)), waiting)
        crossed = self.crossed
        if crossed is None:
            over = np.flatnonzero(path >= math.log(self.threshold))
            crossed = self.seen + int(over[0]) + 1 if len(over) else None
        return replace(
            self,
            seen=self.seen + n,
            log_capital=tuple(capital[-1].tolist()),
            highest=max(self.highest, float(path.max())),
            crossed=crossed,
        )


def allowed_rate(rate: float) -> float:
    """A rate that can be bet against: strictly within 0 and 1."""
    return min(max(rate, 1e-6), 1.0 - 1e-6)


def effective(wrong: Bools, moment: Floats) -> tuple[int, int]:
    """Errors and rows of a sample of independent rows that knows as much of the error rate as this one, in which rows
    of one moment may err together (Korn & Graubard 1998); rounded to the careful side."""
    n, errors = len(wrong), int(np.count_nonzero(wrong))
    _, which, sizes = np.unique(moment, return_inverse=True, return_counts=True)
    rate, moments = errors / n, len(sizes)
    if moments < 2 or errors in (0, n):
        return (errors, n) if moments == n else (min(1, errors) * moments, moments)
    beyond = np.bincount(which, wrong) - rate * sizes
    variance = float(beyond @ beyond) / n**2 * moments / (moments - 1)
    rows = n if variance <= 0.0 else min(n, max(1, int(rate * (1.0 - rate) / variance)))
    return math.ceil(rate * rows), rows


def highest_rate(errors: int, n: int, beta: float) -> float:
    """The upper limit of an error rate that fails with probability `beta` at most (Clopper & Pearson 1934); `n` > 0.

    It is the rate at which `errors` or fewer have the probability `beta`, found by bisection.
    """
    if errors >= n:
        return 1.0
    k = np.arange(1, errors + 1, dtype=np.float64)
    choices = np.concatenate(((0.0,), np.cumsum(np.log((n - k + 1.0) / k))))
    successes = np.arange(errors + 1, dtype=np.float64)
    low, high = errors / n, 1.0
    for _ in range(60):
        rate = (low + high) / 2.0
        terms = choices + successes * math.log(rate) + (n - successes) * math.log1p(-rate)
        low, high = (rate, high) if float(np.logaddexp.reduce(terms)) > math.log(beta) else (low, rate)
    return high
