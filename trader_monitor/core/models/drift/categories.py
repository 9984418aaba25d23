"""Categories: how often each was seen before and after, and how far that goes beyond chance.

Evidence is Pearson's chi-square of the two rows of counts, divided by what dependence adds to it on average (Rao and
Scott 1981, first order): a category that comes in runs is not counted once per row. Categories of which the shorter
row expects fewer than five independent ones are taken together (Cochran 1954); of one that was never there before,
one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.models.drift.dependence import tau_within

__all__ = ["Homogeneity", "aligned", "chi_square_exceeded", "homogeneity", "unseen"]

EXPECTED, EXPECTED_NEW = 5.0, 1.0
RUNS = 20


class Homogeneity(NamedTuple):
    """Pearson's statistic of two rows of counts, its degrees of freedom, and the p-value after the design effect."""

    chi_square: float
    degrees: int
    design_effect: float
    p: float


def aligned(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[list[str], NDArray[np.int64]]:
    """The categories of both, and their counts as two rows."""
    names = list(dict.fromkeys((*before, *after)))
    return names, np.array([[row.get(name, 0) for name in names] for row in (before, after)], dtype=np.int64)


def homogeneity(counts: NDArray[np.int64], taus: NDArray[np.float64]) -> Homogeneity | None:
    """Whether two rows of counts come from one distribution; `taus` has each category's autocorrelation time.

    None where fewer than two categories are expected often enough.
    """
    rows = counts.sum(axis=1)
    share = counts.sum(axis=0) / rows.sum()
    # Of a category seen in few runs no dependence is known: it is taken to be at least that of the others.
    usual = float((counts[0] * taus).sum()) / max(int(rows[0]), 1)
    longer = np.maximum(taus, usual)
    taus = np.where(counts[0] < RUNS * longer, longer, taus)
    often = share * rows.min() / taus >= np.where(counts[0] > 0, EXPECTED, EXPECTED_NEW)
    if not often.all():
        kept, rest = counts[:, often], counts[:, ~often].sum(axis=1, keepdims=True)
        together = float(share[~often].sum())
        rest_tau = float((share[~often] * taus[~often]).sum() / together) if together else 1.0
        counts, taus = kept, taus[often]
        if together * rows.min() / rest_tau >= EXPECTED:
            counts, taus = np.append(kept, rest, axis=1), np.append(taus, rest_tau)
        elif kept.shape[1]:
            # Too few even together: they go to the smallest of the others.
            counts = kept.copy()
            counts[:, int(kept.sum(axis=0).argmin())] += rest[:, 0]
    if counts.shape[1] < 2:
        return None
    share = counts.sum(axis=0) / rows.sum()
    expected = rows[:, None] * share
    statistic = float((np.square(counts - expected) / expected).sum())
    degrees = counts.shape[1] - 1
    n_before, n_after = int(rows[0]), int(rows[1])
    spread = np.array(
        [tau_within(float(t), n_before) / n_before + tau_within(float(t), n_after) / n_after for t in taus]
    )
    effect = float(((1.0 - share) * spread).sum()) / (1.0 / n_before + 1.0 / n_after) / degrees
    effect = max(effect, 1.0)
    return Homogeneity(statistic, degrees, effect, chi_square_exceeded(statistic / effect, degrees))


def chi_square_exceeded(value: float, degrees: int) -> float:
    """How often a chi-square variable exceeds `value` (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if value <= 0.0:
        return 1.0
    half = value / 2.0
    if degrees % 2:
        total, term_at = math.erfc(math.sqrt(half)), 0.5
    else:
        total, term_at = math.exp(-half), 1.0
    while term_at < degrees / 2.0:
        total += math.exp(term_at * math.log(half) - half - math.lgamma(term_at + 1.0))
        term_at += 1.0
    return min(total, 1.0)


def unseen(before: int, after: int) -> float:
    """The p-value of what none of the baseline's blocks of this length had: one of all the blocks is the odd one."""
    return 1.0 / (1.0 + before // after)
