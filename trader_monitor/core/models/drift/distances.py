"""Distances between two distributions: exact, ties included, and fast enough for 100 features at once.

The baseline's side is prepared once (`Reference`). A window's column is sorted; the Kolmogorov-Smirnov statistic is
then bracketed at every 16th value of the baseline, and only where a larger difference may still hide between two of
them are the values in between looked at. The result is that of comparing at every value.

Both sides are compared in the window's precision: what was kept as float32 ties with what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trader_monitor.core.models.columns import Ordered
from trader_monitor.core.models.drift.baseline import Baseline
from trader_monitor.core.models.drift.calibration import borders_of, cells_of
from trader_monitor.core.samples import Floats

__all__ = [
    "Reference",
    "bin_counts",
    "finite_part",
    "jensen_shannon",
    "kolmogorov_smirnov",
    "ks_and_psi",
    "population_stability",
    "reference_of",
    "wasserstein",
]

STRIDE = 16
ABREAST = 16
"""Columns that are taken out of a table at once: as many as one cache line of it has a part of, twice."""


class Reference(NamedTuple):
    """A baseline's values, ready to be compared: `posts` are every 16th of them and the last, `below` and `upto`
    the shares of values below and up to each. `borders` part the cells in which evidence is measured, `shares` are
    the cumulated shares there."""

    ordered: Ordered
    tied: bool
    edges: Ordered
    counts: NDArray[np.int64]
    posts: Ordered
    places: NDArray[np.int64]
    below: Floats
    upto: Floats
    borders: Ordered
    shares: Floats


def reference_of(baseline: Baseline, precision: DTypeLike = np.float64) -> Reference:
    """Of a baseline with finite values, for windows of `precision`."""
    ordered, edges = baseline.ordered(), np.array(baseline.edges)
    counts = np.array(baseline.counts)
    if precision != np.float32:
        ordered = ordered.astype(np.float64, copy=False)
    elif baseline.precision == "float64":
        most = float(np.finfo(np.float32).max)
        ordered, edges = (np.clip(each, -most, most).astype(np.float32) for each in (ordered, edges))
        # Values that were apart may now be one: they are counted anew where all of them are there.
        if not baseline.thinned:
            counts = bin_counts(ordered, edges)
    edges = edges.astype(ordered.dtype)
    places = np.append(np.arange(0, len(ordered) - 1, STRIDE), len(ordered) - 1)
    posts = ordered[places]
    borders = borders_of(ordered)
    return Reference(
        ordered=ordered,
        tied=bool((ordered[1:] == ordered[:-1]).any()),
        edges=edges,
        counts=counts,
        posts=posts,
        places=places,
        below=np.searchsorted(ordered, posts, side="left") / len(ordered),
        upto=np.searchsorted(ordered, posts, side="right") / len(ordered),
        borders=borders,
        shares=cells_of(ordered, borders),
    )


def finite_part(ordered: Ordered) -> Ordered:
    """Without the infinities at both ends and the NaN at the end of what was sorted."""
    if len(ordered) and np.isfinite(ordered[0]) and np.isfinite(ordered[-1]):
        return ordered
    first = np.searchsorted(ordered, -np.inf, side="right")
    last = np.searchsorted(ordered, np.inf, side="left")
    found: Ordered = ordered[first:last]
    return found


def kolmogorov_smirnov(reference: Reference, ordered: Ordered) -> float:
    """The largest difference of the two empirical distribution functions; `ordered` is finite and not empty."""
    n = len(ordered)
    below, upto = (ranks / n for ranks in _ranks(ordered, reference.posts))
    over, under = upto - reference.upto, below - reference.below
    best = max(float(over.max()), float(-over.min()), float(under.max()), float(-under.min()))
    # Between two posts both functions stay between their values just after the first and just before the second.
    most = np.maximum(below[1:] - reference.upto[:-1], reference.below[1:] - upto[:-1])
    cells = np.flatnonzero(most > best)
    if not len(cells):
        return best
    first, after = reference.places[cells] + 1, reference.places[cells + 1]
    lengths = after - first
    places = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    values = reference.ordered[places]
    size = len(reference.ordered)
    if reference.tied:
        theirs_below, theirs_upto = (
            np.searchsorted(reference.ordered, values, side=s) / size for s in ("left", "right")
        )
    else:
        theirs_below, theirs_upto = places / size, (places + 1) / size
    below, upto = (ranks / n for ranks in _ranks(ordered, values))
    over, under = np.abs(upto - theirs_upto), np.abs(below - theirs_below)
    return max(best, float(over.max(initial=0.0)), float(under.max(initial=0.0)))


def ks_and_psi(references: Sequence[Reference], window: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Both of each column of `window` (rows x features) against its reference; NaN where a column has no number.

    Beside the window it takes room for 16 columns.
    """
    ks, psi = np.full(len(references), np.nan), np.full(len(references), np.nan)
    for place, reference in enumerate(references):
        if place % ABREAST == 0:
            columns = np.ascontiguousarray(window[:, place : place + ABREAST].T)
        column = columns[place % ABREAST].astype(reference.ordered.dtype, copy=False)
        column.sort()
        ordered = finite_part(column)
        if len(ordered):
            ks[place] = kolmogorov_smirnov(reference, ordered)
            psi[place] = population_stability(reference.counts, bin_counts(ordered, reference.edges))
    return ks, psi


def _ranks(ordered: Ordered, at: Ordered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of `ordered` are below, and up to, each of `at`."""
    upto = np.searchsorted(ordered, at, side="right")
    if (ordered[upto - 1] == at).any():
        return np.searchsorted(ordered, at, side="left"), upto
    return upto, upto


def bin_counts(ordered: Ordered, edges: Ordered) -> NDArray[np.int64]:
    """How many of `ordered` are in each bin; a bin is closed on the right."""
    upto = np.empty(len(edges) + 2, dtype=np.int64)
    upto[0], upto[-1] = 0, len(ordered)
    upto[1:-1] = ordered.searchsorted(edges, side="right")
    return upto[1:] - upto[:-1]


def population_stability(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """The population stability index of two tables of counts, sum of (q - p) ln(q / p).

    A bin that is empty on one side counts as half a row there; one that is empty on both is left out. Where nothing
    is empty this is the textbook's index. Both tables hold at least one row.
    """
    total = before + after
    if not total.all():
        before, after = before[total > 0], after[total > 0]
    p = np.maximum(before, 0.5) / before.sum()
    q = np.maximum(after, 0.5) / after.sum()
    return float((q - p) @ np.log(q / p))


def jensen_shannon(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """The Jensen-Shannon distance (base 2, the root of the divergence) of two tables of counts: 0 to 1."""
    p, q = before / before.sum(), after / after.sum()
    middle = (p + q) / 2.0
    total = 0.0
    for one in (p, q):
        held = one > 0
        total += float((one[held] * np.log2(one[held] / middle[held])).sum())
    return float(np.sqrt(max(total, 0.0) / 2.0))


def wasserstein(first: Ordered, second: Ordered) -> float:
    """The first Wasserstein distance of two ordered, finite samples, in their unit: the area between the functions."""
    # Halved while they are differences: the span of two doubles may be beyond the largest one.
    both = np.concatenate((first, second)).astype(np.float64) * 0.5
    both.sort()
    shares = [
        np.searchsorted(each * 0.5, both[:-1], side="right") / len(each)
        for each in (first.astype(np.float64), second.astype(np.float64))
    ]
    with np.errstate(over="ignore"):
        return 2.0 * float(np.abs(shares[0] - shares[1]) @ np.diff(both))
