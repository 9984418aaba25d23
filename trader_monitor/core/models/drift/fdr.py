"""False discoveries: how many of the drifts that are announced may be none, within a run and from run to run."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from trader_monitor.core.samples import Floats

__all__ = ["ALPHA", "EPOCH", "Online", "benjamini_hochberg", "level", "stepped"]

ALPHA = 0.05
"""The share of false ones among all discoveries that is borne."""

_FIRST = 0.9 * ALPHA
"""Of the wealth to begin with (any part of ALPHA keeps the promise; a large one finds early drifts)."""
_POWER = 1.6
_WHOLE = 2.2857656516
"""The sum of n to the -1.6 over all n (Riemann's zeta function)."""
EPOCH = 256


class Online(Struct, frozen=True, kw_only=True):
    """What is remembered from run to run: how many there were, and which of this epoch discovered something.

    After EPOCH runs the account begins anew, and the promise holds within each epoch: else months of quiet would leave
    levels that no evidence from strongly autocorrelated features can reach.
    """

    runs: int = 0
    discoveries: tuple[int, ...] = ()
    first: int | None = None


def benjamini_hochberg(p: Floats) -> Floats:
    """The adjusted p-values (Benjamini and Hochberg 1995): what is at most q is a discovery at the level q."""
    order = np.argsort(p, kind="stable")[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / ranks), 1.0)
    return adjusted


def level(online: Online) -> float:
    """The level at which the next run is tested, by LORD++ (Ramdas, Yang, Wainwright and Jordan 2017).

    A run's p-value is the smallest adjusted one of its features (Simes 1986). The false discovery rate over the runs
    of an epoch stays below ALPHA where the p-values of a run do not depend on earlier verdicts.
    """
    t = online.runs % EPOCH + 1
    found = _FIRST * _share(t)
    for earlier in online.discoveries:
        found += (ALPHA - _FIRST if earlier == online.first else ALPHA) * _share(online.runs + 1 - earlier)
    return found


def stepped(online: Online, *, discovered: bool) -> Online:
    """After one more run."""
    run = online.runs + 1
    if run % EPOCH == 0:
        return Online(runs=run)
    if not discovered:
        return Online(runs=run, discoveries=online.discoveries, first=online.first)
    first = run if online.first is None else online.first
    return Online(runs=run, discoveries=(*online.discoveries, run), first=first)


def _share(n: int) -> float:
    return math.pow(n, -_POWER) / _WHOLE
