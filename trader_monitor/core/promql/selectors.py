"""Selectors: where an expression reads samples. Instant and range selectors, and subqueries.

A range is held flat: the samples of all series one after the other, and for each series and step the half-open
slice of them that lies in (step - range, step]. So a range function is a few operations on whole arrays.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.order import in_order
from trader_monitor.core.promql.frame import Bools, Context, Frame, Ints, LabelSets
from trader_monitor.core.samples import NEVER, Floats, Source, Times, stale_mask

__all__ = ["At", "RangeSelector", "Selector", "Subquery", "VectorNode", "Windows"]

At: TypeAlias = int | Literal["start", "end"] | None
"""The `@` modifier: milliseconds, a bound of the query, or none."""

_FEW_STEPS = 4


class VectorNode(Protocol):
    """An expression that yields an instant vector."""

    def vector(self, ctx: Context) -> Frame: ...


class Windows(NamedTuple):
    """A range vector at every step: `t[lo:hi]` and `v[lo:hi]` are one series' samples at one step.

    `ends` are the steps' window ends, shaped (1 or steps,); `lo` and `hi` have a row per series.
    """

    labels: LabelSets
    t: Times
    v: Floats
    lo: Ints
    hi: Ints
    ends: Times
    range_ms: int
    ctx: Context

    @property
    def counts(self) -> Ints:
        return self.hi - self.lo


class _Shift(NamedTuple):
    """The moments that a selector looks at instead of the steps: `@` first, then `offset`."""

    offset_ms: int
    at: At

    def times(self, ctx: Context) -> Times:
        """One moment where `@` fixes it, else one per step."""
        match self.at:
            case None:
                return ctx.times - self.offset_ms if self.offset_ms else ctx.times
            case "start":
                fixed = ctx.start_ms
            case "end":
                fixed = ctx.end_ms
            case _:
                fixed = self.at
        return np.array([fixed - self.offset_ms], np.int64)


class _Chosen:
    """The series that a selector names, by their labels, looked up again only when series appeared or went."""

    __slots__ = ("_last", "matchers")

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers
        self._last: tuple[Source, int, Times, Times, LabelSets] | None = None

    def __call__(self, source: Source) -> tuple[Times, LabelSets]:
        last = self._last
        generation = source.generation
        if last is not None and last[0] is source and last[1] == generation:
            return last[3], last[4]
        selected = source.select(self.matchers)
        if last is not None and last[0] is source and np.array_equal(selected, last[2]):
            self._last = (source, generation, *last[2:])
            return last[3], last[4]
        known: list[tuple[Labels, int]] = []
        if last is not None and last[0] is source and np.array_equal(selected[: len(last[2])], last[2]):
            known = list(zip(last[4], last[3].tolist(), strict=True))
        fresh = in_order((source.labels_of(sid), sid) for sid in selected[len(known) :].tolist())
        rows = sorted(known + fresh) if known else fresh  # two sorted runs: that is one pass
        sids = np.array([sid for _, sid in rows], np.int64)
        labels = tuple(labels for labels, _ in rows)
        self._last = (source, generation, selected, sids, labels)
        return sids, labels


class Selector:
    """An instant selector."""

    def __init__(self, matchers: tuple[Matcher, ...], offset_ms: int, at: At) -> None:
        self.matchers = matchers
        self.shift = _Shift(offset_ms, at)
        self._chosen = _Chosen(matchers)

    def vector(self, ctx: Context) -> Frame:
        labels, times, values = self.samples(ctx)
        return Frame(labels, values, times != NEVER)

    def samples(self, ctx: Context) -> tuple[LabelSets, Times, Floats]:
        """Each series' sample at every step and its own time; NEVER where there is none."""
        sids, labels = self._chosen(ctx.source)
        moments = self.shift.times(ctx)
        ctx.admit(len(sids) * len(ctx.times))
        if len(moments) <= _FEW_STEPS:
            times = np.empty((len(sids), len(moments)), np.int64)
            values = np.empty((len(sids), len(moments)))
            for step, moment in enumerate(moments.tolist()):
                times[:, step], values[:, step] = ctx.source.last(sids, moment, ctx.lookback_ms)
        else:
            times, values = self._over(ctx, sids, moments)
        if len(moments) != len(ctx.times):
            shape = (len(sids), len(ctx.times))
            return labels, np.broadcast_to(times, shape), np.broadcast_to(values, shape)
        return labels, times, values

    def _over(self, ctx: Context, sids: Times, moments: Times) -> tuple[Times, Floats]:
        lookback = ctx.lookback_ms
        first, last = int(moments[0]) - lookback, int(moments[-1])
        times = np.full((len(sids), len(moments)), NEVER, np.int64)
        values = np.zeros((len(sids), len(moments)))
        for row, sid in enumerate(sids.tolist()):
            t, v = ctx.source.window(sid, first, last)
            if not len(t):
                continue
            at = t.searchsorted(moments, "right") - 1
            newest = t[at]
            found = (at >= 0) & (newest > moments - lookback)
            values[row] = v[at]
            times[row, found] = newest[found]
            if row % 1024 == 1023:
                ctx.checkpoint()
        times[stale_mask(values)] = NEVER
        return times, values


class RangeSelector:
    """A range selector."""

    def __init__(self, matchers: tuple[Matcher, ...], range_ms: int, offset_ms: int, at: At) -> None:
        self.matchers = matchers
        self.range_ms = range_ms
        self.shift = _Shift(offset_ms, at)
        self._chosen = _Chosen(matchers)

    def windows(self, ctx: Context) -> Windows:
        sids, labels = self._chosen(ctx.source)
        ends = self.shift.times(ctx)
        starts = ends - self.range_ms
        first, last = int(starts[0]), int(ends[-1])
        steps = len(ends)
        ctx.admit(len(sids) * len(ctx.times))
        window = ctx.source.window
        bounds = np.concatenate([starts, ends])
        slices = np.zeros((len(sids), 2 * steps), np.int64)
        ts: list[Times] = []
        vs: list[Floats] = []
        base = 0
        for row, sid in enumerate(sids.tolist()):
            t, v = window(sid, first, last)
            if len(t):
                ts.append(t)
                vs.append(v)
                slices[row] = t.searchsorted(bounds, "right") if steps > 1 else (0, len(t))
            slices[row] += base
            base += len(t)
            if row % 1024 == 1023:
                ctx.admit(base)
        ctx.admit(base)
        flat_t = np.concatenate(ts) if ts else np.empty(0, np.int64)
        flat_v = np.concatenate(vs) if vs else np.empty(0)
        stale = stale_mask(flat_v)
        if stale.any():
            kept = ~stale
            slices = np.concatenate([[0], np.cumsum(kept)])[slices]
            flat_t, flat_v = flat_t[kept], flat_v[kept]
        return _spread(Windows(labels, flat_t, flat_v, slices[:, :steps], slices[:, steps:], ends, self.range_ms, ctx))


class Subquery:
    """A range vector made by evaluating an expression at every multiple of a step."""

    def __init__(self, inner: VectorNode, range_ms: int, step_ms: int | None, offset_ms: int, at: At) -> None:
        self.inner = inner
        self.range_ms = range_ms
        self.step_ms = step_ms
        self.shift = _Shift(offset_ms, at)

    def windows(self, ctx: Context) -> Windows:
        ends = self.shift.times(ctx)
        starts = ends - self.range_ms
        step = self.step_ms or ctx.default_step_ms
        first = (int(starts[0]) // step + 1) * step
        ctx.admit((int(ends[-1]) - first) // step + 1)
        moments = np.arange(first, int(ends[-1]) + 1, step, dtype=np.int64)
        shape = (0, len(ends))
        if not len(moments):
            empty = np.zeros(shape, np.int64)
            return Windows((), np.empty(0, np.int64), np.empty(0), empty, empty, ends, self.range_ms, ctx)
        frame = self.inner.vector(ctx._replace(times=moments))
        present: Bools = np.ascontiguousarray(frame.present)
        rows, columns = np.nonzero(present)
        before = np.zeros((len(frame.labels), len(moments) + 1), np.int64)
        np.cumsum(present, axis=1, out=before[:, 1:])
        base = np.concatenate([[0], np.cumsum(before[:, -1])[:-1]])[:, None] if len(before) else before[:, :1]
        lo = base + before[:, moments.searchsorted(starts, "right")]
        hi = base + before[:, moments.searchsorted(ends, "right")]
        values = frame.values[rows, columns]
        return _spread(Windows(frame.labels, moments[columns], values, lo, hi, ends, self.range_ms, ctx))


def _spread(windows: Windows) -> Windows:
    """One window per step, also where `@` makes them all the same."""
    steps = len(windows.ctx.times)
    if windows.lo.shape[1] == steps:
        return windows
    shape = (len(windows.labels), steps)
    return windows._replace(
        lo=np.broadcast_to(windows.lo, shape),
        hi=np.broadcast_to(windows.hi, shape),
        ends=np.broadcast_to(windows.ends, (steps,)),
    )
