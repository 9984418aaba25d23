"""Functions of range vectors: rates, regressions and everything `*_over_time`.

Each takes the windows and its scalar parameters, and returns the values and where there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.order import elements
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.frame import Bools, Ints
from trader_monitor.core.promql.kahan import exact_mean
from trader_monitor.core.promql.selectors import Windows
from trader_monitor.core.promql.windows import ends_of, fold, quantiles_of_rows, sort_rows, sorted_windows, sums
from trader_monitor.core.samples import Floats

__all__ = ["RANGE_FUNCTIONS", "RangeFunction"]

Answer: TypeAlias = tuple[Floats, Bools]


class RangeFunction(NamedTuple):
    """`call(windows, *parameters)`; `keeps_name` where the answer is a sample of the series itself."""

    call: Callable[..., Answer]
    keeps_name: bool = False


def _rate_like(*, counter: bool, per_second: bool) -> Callable[[Windows], Answer]:
    """The increase between a window's first and last sample, extrapolated to the window's bounds.

    Samples rarely fall on the bounds. Where the first (last) is within 1.1 mean intervals of the bound, the
    slope is taken to reach it; otherwise the series is taken to begin (end) half an interval away. A counter is
    never extrapolated below zero.
    """

    def call(w: Windows) -> Answer:
        counts = w.counts
        present = counts >= 2
        if not present.any():
            return np.zeros(w.lo.shape), present
        first, last = ends_of(w)
        begin = w.v[first]
        result = w.v[last] - begin
        if counter:
            dropped = w.v[1:] < w.v[:-1]
            if dropped.any():
                lost = np.concatenate([[0.0], np.where(dropped, w.v[:-1], 0.0)])
                result = result + np.where(present, fold(w, np.add, lost, w.lo + 1), 0.0)
        to_start = (w.t[first] - (w.ends - w.range_ms)) / 1000.0
        to_end = (w.ends - w.t[last]) / 1000.0
        sampled = (w.t[last] - w.t[first]) / 1000.0
        average = sampled / np.maximum(counts - 1, 1)
        threshold = average * 1.1
        to_start = np.where(to_start >= threshold, average / 2, to_start)
        if counter:
            to_zero = np.where((result > 0) & (begin >= 0), sampled * (begin / result), to_start)
            to_start = np.where(to_zero < to_start, to_zero, to_start)
        to_end = np.where(to_end >= threshold, average / 2, to_end)
        factor = (sampled + to_start + to_end) / sampled
        if per_second:
            factor = factor / (w.range_ms / 1000.0)
        return result * factor, present

    return call


def _last_two(*, counter: bool) -> Callable[[Windows], Answer]:
    """The difference of the last two samples; of a counter per second, from zero after a reset."""

    def call(w: Windows) -> Answer:
        present = w.counts >= 2
        if not present.any():
            return np.zeros(w.lo.shape), present
        _, last = ends_of(w)
        before = np.maximum(last - 1, 0)
        result = w.v[last] - w.v[before]
        if counter:
            result = np.where(w.v[last] < w.v[before], w.v[last], result)
            seconds = (w.t[last] - w.t[before]) / 1000.0
            present = present & (seconds != 0)
            result = result / seconds
        return result, present

    return call


def _pairs(differs: Callable[[Floats, Floats], Bools]) -> Callable[[Windows], Answer]:
    """How many neighbouring samples stand in a relation."""

    def call(w: Windows) -> Answer:
        present = w.counts > 0
        if not present.any():
            return np.zeros(w.lo.shape), present
        before = np.zeros(len(w.v), np.int64)
        np.cumsum(differs(w.v[:-1], w.v[1:]), out=before[1:])
        first, last = ends_of(w)
        return (before[last] - before[first]).astype(np.float64), present

    return call


def _differ(a: Floats, b: Floats) -> Bools:
    return np.not_equal(a, b) & ~(np.isnan(a) & np.isnan(b))


def _sample(place: int) -> Callable[[Windows], Answer]:
    """The first (0) or last (1) sample."""

    def call(w: Windows) -> Answer:
        present = w.counts > 0
        return (w.v[ends_of(w)[place]] if present.any() else np.zeros(w.lo.shape)), present

    return call


def _sample_time(place: int) -> Callable[[Windows], Answer]:
    def call(w: Windows) -> Answer:
        present = w.counts > 0
        return (w.t[ends_of(w)[place]] / 1000.0 if present.any() else np.zeros(w.lo.shape)), present

    return call


def _extreme(function: np.ufunc) -> Callable[[Windows], Answer]:
    def call(w: Windows) -> Answer:
        return fold(w, function, w.v), w.counts > 0

    return call


def _extreme_time(function: np.ufunc) -> Callable[[Windows], Answer]:
    """When the extreme was reached last; of NaN alone, its first sample's time."""

    def call(w: Windows) -> Answer:
        present = w.counts > 0
        best = fold(w, function, w.v)
        out = np.zeros(w.lo.shape)
        for number, (row, step) in enumerate(elements(np.argwhere(present))):
            if number % 4096 == 0:
                w.ctx.checkpoint()
            lo, hi = int(w.lo[row, step]), int(w.hi[row, step])
            at = np.flatnonzero(w.v[lo:hi] == best[row, step])
            out[row, step] = w.t[lo + (int(at[-1]) if len(at) else 0)] / 1000.0
        return out, present

    return call


def _count(w: Windows) -> Answer:
    return w.counts.astype(np.float64), w.counts > 0


def _presence(w: Windows) -> Answer:
    return np.ones(w.lo.shape), w.counts > 0


def _sum(w: Windows) -> Answer:
    return sums(w, lambda at, _: w.v[at])[0], w.counts > 0


def _mean(w: Windows) -> Floats:
    means = sums(w, lambda at, _: w.v[at])[0] / np.maximum(w.counts, 1)
    for row, step in elements(np.argwhere(np.isinf(means))):
        means[row, step] = exact_mean(w.v[w.lo[row, step] : w.hi[row, step]].tolist())
    return means


def _avg(w: Windows) -> Answer:
    return _mean(w), w.counts > 0


def _stdvar(w: Windows) -> Answer:
    # From the first sample of each window, so that equal values have no deviation at all.
    first = w.v[ends_of(w)[0]].ravel() if len(w.v) else np.zeros(w.lo.size)
    n = np.maximum(w.counts, 1)
    mean = (sums(w, lambda at, rows: w.v[at] - first[rows])[0] / n).ravel()

    def squared(at: Ints, rows: Any) -> Floats:
        return np.asarray(np.square(w.v[at] - first[rows] - mean[rows]), np.float64)

    return sums(w, squared)[0] / n, w.counts > 0


def _stddev(w: Windows) -> Answer:
    variance, present = _stdvar(w)
    return np.sqrt(variance), present


def _quantile(w: Windows, q: Floats) -> Answer:
    wanted = np.broadcast_to(q, w.lo.shape).ravel()
    out = np.zeros(w.lo.size)
    for piece, rows, counts in sorted_windows(w):
        out[piece] = quantiles_of_rows(rows, counts, wanted[piece])
    return out.reshape(w.lo.shape), w.counts > 0


def _mad(w: Windows) -> Answer:
    """The median of the absolute deviations from the median."""
    out = np.zeros(w.lo.size)
    for piece, rows, counts in sorted_windows(w):
        half = np.full(len(rows), 0.5)
        within = np.arange(rows.shape[1]) < counts[:, None]
        deviations = np.abs(rows - quantiles_of_rows(rows, counts, half)[:, None])
        deviations[~within] = np.inf
        unknown = (np.isnan(rows) & within).any(axis=1)
        out[piece] = np.where(unknown, np.nan, quantiles_of_rows(sort_rows(deviations), counts, half))
    return out.reshape(w.lo.shape), w.counts > 0


def _regression(w: Windows, origin_ms: Floats) -> tuple[Floats, Floats, Bools]:
    """Slope per second, the value at `origin_ms` (as `lo` in shape), and where there are two samples."""
    present = w.counts >= 2
    origin = np.broadcast_to(origin_ms, w.lo.shape).ravel()
    n = np.maximum(w.counts, 1)

    def x(at: Ints, rows: Any) -> Floats:
        return np.asarray((w.t[at] - origin[rows]) / 1000.0, np.float64)

    sum_x, sum_y, sum_xy, sum_xx = sums(
        w,
        x,
        lambda at, _: w.v[at],
        lambda at, rows: x(at, rows) * w.v[at],
        lambda at, rows: np.square(x(at, rows)),
    )
    slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n)
    at_origin = sum_y / n - slope * sum_x / n
    if present.any():
        first, _ = ends_of(w)
        constant = fold(w, np.fmin, w.v) == fold(w, np.fmax, w.v)
        if np.isnan(w.v).any():
            constant &= fold(w, np.add, np.isnan(w.v).astype(np.float64)) == 0
        level = w.v[first]
        at_origin = np.where(constant, np.where(np.isinf(level), np.nan, level), at_origin)
        slope = np.where(constant, np.where(np.isinf(level), np.nan, 0.0), slope)
    return slope, at_origin, present


def _deriv(w: Windows) -> Answer:
    first = w.t[ends_of(w)[0]].astype(np.float64) if len(w.t) else np.zeros(w.lo.shape)
    slope, _, present = _regression(w, first)
    return slope, present


def _predict_linear(w: Windows, seconds: Floats) -> Answer:
    slope, at_origin, present = _regression(w, w.ctx.times.astype(np.float64))
    return slope * seconds + at_origin, present


def _double_exponential_smoothing(w: Windows, smoothing: Floats, trend: Floats) -> Answer:
    """Holt's linear method, starting from the first two samples."""
    for name, factors in (("smoothing", smoothing), ("trend", trend)):
        if not ((factors > 0) & (factors < 1)).all():
            raise PromQLError(f"invalid {name} factor. Expected: 0 < factor < 1, got: {factors.ravel()[0]:g}")
    present = w.counts >= 2
    if not present.any():
        return np.zeros(w.lo.shape), present
    first, _ = ends_of(w)
    second = np.minimum(first + 1, len(w.v) - 1)
    level_before = np.zeros(w.lo.shape)
    level = w.v[first]
    slope = w.v[second] - w.v[first]
    for step in range(1, int(w.counts.max())):
        active = w.counts > step
        if step > 1:
            slope = np.where(active, trend * (level - level_before) + (1 - trend) * slope, slope)
        raw = smoothing * w.v[np.minimum(first + step, len(w.v) - 1)]
        fresh = raw + (1 - smoothing) * (level + slope)
        level_before = np.where(active, level, level_before)
        level = np.where(active, fresh, level)
    return level, present


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": RangeFunction(_rate_like(counter=True, per_second=True)),
    "increase": RangeFunction(_rate_like(counter=True, per_second=False)),
    "delta": RangeFunction(_rate_like(counter=False, per_second=False)),
    "irate": RangeFunction(_last_two(counter=True)),
    "idelta": RangeFunction(_last_two(counter=False)),
    "deriv": RangeFunction(_deriv),
    "predict_linear": RangeFunction(_predict_linear),
    "double_exponential_smoothing": RangeFunction(_double_exponential_smoothing),
    "changes": RangeFunction(_pairs(_differ)),
    "resets": RangeFunction(_pairs(np.greater)),
    "avg_over_time": RangeFunction(_avg),
    "min_over_time": RangeFunction(_extreme(np.fmin)),
    "max_over_time": RangeFunction(_extreme(np.fmax)),
    "sum_over_time": RangeFunction(_sum),
    "count_over_time": RangeFunction(_count),
    "quantile_over_time": RangeFunction(_quantile),
    "mad_over_time": RangeFunction(_mad),
    "stddev_over_time": RangeFunction(_stddev),
    "stdvar_over_time": RangeFunction(_stdvar),
    "present_over_time": RangeFunction(_presence),
    "first_over_time": RangeFunction(_sample(0), keeps_name=True),
    "last_over_time": RangeFunction(_sample(1), keeps_name=True),
    "ts_of_first_over_time": RangeFunction(_sample_time(0)),
    "ts_of_last_over_time": RangeFunction(_sample_time(1)),
    "ts_of_min_over_time": RangeFunction(_extreme_time(np.fmin)),
    "ts_of_max_over_time": RangeFunction(_extreme_time(np.fmax)),
}
