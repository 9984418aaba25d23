"""Quantiles and fractions of classic histograms: cumulative buckets under the label `le`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql.frame import Bools, Frame, Ints, LabelSets, Remembered, without
from trader_monitor.core.promql.numbers import parsed
from trader_monitor.core.samples import Floats

__all__ = ["HistogramFraction", "HistogramQuantile"]

_IGNORED = frozenset({"le", "__name__"})
_SMALL_DELTA = 1e-12


class _Histograms(NamedTuple):
    """Each group's label set, its bucket rows by rising bound, and these bounds."""

    labels: LabelSets
    rows: list[Ints]
    bounds: list[Floats]


def _histograms(labels: LabelSets) -> _Histograms:
    groups: dict[Labels, list[tuple[float, int]]] = {}
    for row, one in enumerate(labels):
        text = dict(one).get("le", "")
        try:
            bound = parsed(text)
        except ValueError:
            continue
        groups.setdefault(without(one, _IGNORED), []).append((bound, row))
    ordered = [sorted(buckets) for buckets in groups.values()]
    return _Histograms(
        tuple(groups),
        [np.array([row for _, row in buckets], np.int64) for buckets in ordered],
        [np.array([bound for bound, _ in buckets]) for buckets in ordered],
    )


class _ByHistogram:
    """Walks a frame histogram by histogram, in pieces in which the same buckets are present."""

    def __init__(self) -> None:
        self._histograms = Remembered(_histograms)

    def labels(self, frame: Frame) -> LabelSets:
        return self._histograms(frame.labels).labels

    def pieces(self, frame: Frame) -> Iterator[tuple[int, Ints, Floats, Floats]]:
        """(group, steps, bounds, cumulative counts by bucket and step)"""
        histograms = self._histograms(frame.labels)
        for group, (rows, bounds) in enumerate(zip(histograms.rows, histograms.bounds, strict=True)):
            present: Bools = frame.present[rows]
            patterns, which = np.unique(present, axis=1, return_inverse=True)
            for number in range(patterns.shape[1]):
                pattern = patterns[:, number]
                if not pattern.any():
                    continue
                steps = np.flatnonzero(which.ravel() == number)
                counts = frame.values[rows[pattern]][:, steps]
                yield group, steps, *_coalesced(bounds[pattern], counts)


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Buckets with one bound (written differently) added up."""
    distinct, places = np.unique(bounds, return_inverse=True)
    if len(distinct) == len(bounds):
        return bounds, counts
    added = np.zeros((len(distinct), counts.shape[1]))
    np.add.at(added, places, counts)
    return distinct, added


def _monotonic(counts: Floats) -> Floats:
    """Counts that never fall: tiny differences are evened out, larger dips raised to what came before."""
    out = counts.copy()
    for bucket in range(1, len(out)):
        before, now = out[bucket - 1], out[bucket]
        total = np.abs(before) + np.abs(now)
        with np.errstate(invalid="ignore", over="ignore"):
            even = np.abs(before - now) < _SMALL_DELTA * np.minimum(total, np.finfo(np.float64).max)
        out[bucket] = np.where(even | (now < before), before, now)
    return out


class HistogramQuantile:
    """histogram_quantile(φ, buckets), interpolated linearly within the bucket."""

    def __init__(self) -> None:
        self._walk = _ByHistogram()

    def __call__(self, frame: Frame, q: Floats) -> Frame:
        labels = self._walk.labels(frame)
        values = np.zeros((len(labels), frame.steps))
        present = np.zeros(values.shape, np.bool_)
        wanted = np.broadcast_to(q, (frame.steps,))
        for group, steps, bounds, counts in self._walk.pieces(frame):
            values[group, steps] = _quantile(wanted[steps], bounds, counts)
            present[group, steps] = True
        return Frame(labels, values, present)


def _quantile(q: Floats, bounds: Floats, counts: Floats) -> Floats:
    out = np.full(len(q), np.nan)
    out[q < 0] = -np.inf
    out[q > 1] = np.inf
    if len(bounds) < 2 or bounds[-1] != np.inf:
        out[(q >= 0) & (q <= 1)] = np.nan
        return out
    counts = _monotonic(counts)
    observed = counts[-1]
    usable = (q >= 0) & (q <= 1) & (observed != 0)
    usable &= ~np.isnan(observed)
    rank = q * observed
    # The first bucket but the last whose count reaches the rank.
    bucket = np.argmax(np.vstack([counts[:-1] >= rank, np.ones((1, len(q)), np.bool_)]), axis=0)
    last = len(bounds) - 1
    column = np.arange(len(q))
    below = np.maximum(bucket - 1, 0)
    start = np.where(bucket == 0, 0.0, bounds[below])
    skipped = np.where(bucket == 0, 0.0, counts[below, column])
    within = counts[bucket, column] - skipped
    with np.errstate(all="ignore"):
        inside = start + (bounds[bucket] - start) * ((rank - skipped) / within)
    inside = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], inside)
    inside = np.where(bucket == last, bounds[last - 1], inside)
    out[usable] = inside[usable]
    return out


class HistogramFraction:
    """histogram_fraction(lower, upper, buckets): the share of observations between two values."""

    def __init__(self) -> None:
        self._walk = _ByHistogram()

    def __call__(self, frame: Frame, lower: Floats, upper: Floats) -> Frame:
        labels = self._walk.labels(frame)
        values = np.zeros((len(labels), frame.steps))
        present = np.zeros(values.shape, np.bool_)
        low = np.broadcast_to(lower, (frame.steps,))
        high = np.broadcast_to(upper, (frame.steps,))
        for group, steps, bounds, counts in self._walk.pieces(frame):
            values[group, steps] = _fraction(low[steps], high[steps], bounds, counts)
            present[group, steps] = True
        return Frame(labels, values, present)


def _fraction(lower: Floats, upper: Floats, bounds: Floats, counts: Floats) -> Floats:
    if bounds[-1] != np.inf:
        return np.full(len(lower), np.nan)
    counts = _monotonic(counts)
    observed = counts[-1]
    with np.errstate(all="ignore"):
        share = (_below(upper, bounds, counts) - _below(lower, bounds, counts)) / observed
    share = np.where(lower >= upper, 0.0, share)
    unknown = np.isnan(lower) | np.isnan(upper) | (observed == 0) | np.isnan(observed)
    return np.where(unknown, np.nan, share)


def _below(limit: Floats, bounds: Floats, counts: Floats) -> Floats:
    """The number of observations up to `limit`, interpolated within its bucket."""
    column = np.arange(len(limit))
    bucket = np.minimum(bounds.searchsorted(limit), len(bounds) - 1)
    before = np.maximum(bucket - 1, 0)
    count_before = np.where(bucket == 0, 0.0, counts[before, column])
    start = np.where(bucket == 0, np.where(bounds[0] > 0, 0.0, -np.inf), bounds[before])
    with np.errstate(all="ignore"):
        share = (limit - start) / (bounds[bucket] - start)
    share = np.where(np.isinf(bounds[bucket]), 0.0, share)
    share = np.where(limit <= start, 0.0, share)
    # Nothing can be interpolated in a bucket that reaches down to -Inf: all of it counts.
    share = np.where(np.isinf(start) & (limit > -np.inf), 1.0, share)
    inside = count_before + (counts[bucket, column] - count_before) * share
    inside = np.where(limit == bounds[bucket], counts[bucket, column], inside)
    return np.where(limit == np.inf, counts[-1], np.where(limit == -np.inf, 0.0, inside))
