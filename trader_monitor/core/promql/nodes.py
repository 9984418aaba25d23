"""The expression as a tree that can be evaluated: one small class for each way to make a value from others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql.aggregate import Extremes, Quantile
from trader_monitor.core.promql.frame import Bools, Context, Frame, Relabelling, drop_name
from trader_monitor.core.promql.functions import clamp, clamp_max, clamp_min
from trader_monitor.core.promql.histogram import HistogramFraction, HistogramQuantile
from trader_monitor.core.promql.operators import SetMatcher, VectorMatcher
from trader_monitor.core.promql.range_functions import RangeFunction
from trader_monitor.core.promql.relabel import natural_key
from trader_monitor.core.promql.selectors import RangeSelector, Selector, Subquery, VectorNode
from trader_monitor.core.samples import NEVER, Floats

__all__ = ["RangeNode", "ScalarNode", "Text", "is_scalar", "is_vector", "matchers_of"]

RangeNode = RangeSelector | Subquery


class ScalarNode(Protocol):
    """An expression that yields a number per step, shaped (1,) where it is the same at all of them."""

    def scalar(self, ctx: Context) -> Floats: ...


class Text:
    """A string literal."""

    def __init__(self, value: str) -> None:
        self.value = value


# --- scalars -----------------------------------------------------------------------------------------------


class Number:
    def __init__(self, value: float) -> None:
        self._value = np.array([value])

    def scalar(self, ctx: Context) -> Floats:
        return self._value


class Time:
    """time(): the step's own time in seconds."""

    def scalar(self, ctx: Context) -> Floats:
        return ctx.times / 1000.0


class ScalarOperation:
    """Arithmetic and comparison of two scalars; the latter yields 0 or 1."""

    def __init__(self, function: Callable[[Floats, Floats], Floats | Bools], a: ScalarNode, b: ScalarNode) -> None:
        self._function, self._a, self._b = function, a, b

    def scalar(self, ctx: Context) -> Floats:
        return np.asarray(self._function(self._a.scalar(ctx), self._b.scalar(ctx)), np.float64)


class Negative:
    def __init__(self, inner: ScalarNode) -> None:
        self._inner = inner

    def scalar(self, ctx: Context) -> Floats:
        return -self._inner.scalar(ctx)


class OnlyElement:
    """scalar(): the value of the vector's only element, NaN where it has none or several."""

    def __init__(self, inner: VectorNode) -> None:
        self._inner = inner

    def scalar(self, ctx: Context) -> Floats:
        frame = self._inner.vector(ctx)
        only = frame.present.sum(axis=0) == 1
        return np.where(only, np.where(frame.present, frame.values, 0.0).sum(axis=0), np.nan)


# --- vectors -----------------------------------------------------------------------------------------------


class FromScalar:
    """vector(): one element without labels."""

    def __init__(self, inner: ScalarNode) -> None:
        self._inner = inner

    def vector(self, ctx: Context) -> Frame:
        values = np.broadcast_to(self._inner.scalar(ctx), (1, len(ctx.times)))
        return Frame(_NAMELESS, values, np.ones(values.shape, np.bool_))


_NAMELESS: tuple[Labels, ...] = ((),)


class Elementwise:
    """A function of each element by itself, with scalar parameters; the metric's name goes."""

    def __init__(self, function: Callable[..., Floats], inner: VectorNode, *parameters: ScalarNode) -> None:
        self._function, self._inner, self._parameters = function, inner, parameters
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        parameters = [parameter.scalar(ctx) for parameter in self._parameters]
        return self._nameless(frame.by_value(self._function(frame.values, *parameters)))


class Clamp:
    """clamp, clamp_min and clamp_max; clamp with its bounds crossed has no result."""

    def __init__(self, name: str, inner: VectorNode, *bounds: ScalarNode) -> None:
        self._function = _CLAMPS[name]
        self._inner, self._bounds = inner, bounds
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        bounds = [bound.scalar(ctx) for bound in self._bounds]
        present = frame.present
        if len(bounds) == 2:
            present = present & ~(bounds[1] < bounds[0])
        return self._nameless(frame.by_value(self._function(frame.values, *bounds), present))


_CLAMPS: dict[str, Callable[..., Floats]] = {"clamp": clamp, "clamp_min": clamp_min, "clamp_max": clamp_max}


class Timestamp:
    """timestamp(): when each sample was taken; of anything but a selector, the step's time."""

    def __init__(self, inner: VectorNode) -> None:
        self._inner = inner
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        if isinstance(self._inner, Selector):
            labels, times, _ = self._inner.samples(ctx)
            return self._nameless(Frame(labels, times / 1000.0, times != NEVER))
        frame = self._inner.vector(ctx)
        return self._nameless(frame.by_value(np.broadcast_to(ctx.times / 1000.0, frame.values.shape)))


class Relabelled:
    """label_replace and label_join."""

    def __init__(self, change: Callable[[Labels], Labels], inner: VectorNode) -> None:
        self._change = Relabelling(change)
        self._inner = inner

    def vector(self, ctx: Context) -> Frame:
        return self._change(self._inner.vector(ctx))


class Absent:
    """absent(): one element, with the labels that the selector determines, where nothing is present."""

    def __init__(self, inner: VectorNode, labels: Labels) -> None:
        self._inner = inner
        self._labels = (labels,)

    def vector(self, ctx: Context) -> Frame:
        missing: Bools = ~np.asarray(self._inner.vector(ctx).present.any(axis=0))
        return Frame(self._labels, np.ones((1, len(ctx.times))), missing[None, :])


class AbsentOverTime:
    """absent_over_time(): as absent(), for a whole range."""

    def __init__(self, inner: RangeNode, labels: Labels) -> None:
        self._inner = inner
        self._labels = (labels,)

    def vector(self, ctx: Context) -> Frame:
        missing: Bools = ~np.asarray((self._inner.windows(ctx).counts > 0).any(axis=0))
        return Frame(self._labels, np.ones((1, len(ctx.times))), missing[None, :])


class OverRange:
    """A function of a range vector."""

    def __init__(self, function: RangeFunction, inner: RangeNode, *parameters: ScalarNode) -> None:
        self._function, self._inner, self._parameters = function, inner, parameters
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        windows = self._inner.windows(ctx)
        values, present = self._function.call(windows, *(parameter.scalar(ctx) for parameter in self._parameters))
        frame = Frame(windows.labels, values, present)
        return frame if self._function.keeps_name else self._nameless(frame)


class Sorted:
    """sort() and sort_desc(): only an instant query has an order. NaN comes last."""

    def __init__(self, inner: VectorNode, *, descending: bool) -> None:
        self._inner, self._descending = inner, descending

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        last = frame.values[:, -1]
        key = -last if self._descending else last
        return Frame(frame.labels, frame.values, frame.present, np.lexsort((key, np.isnan(last))))


class SortedByLabel:
    """sort_by_label() and sort_by_label_desc(): numbers within the labels by their value, then all labels."""

    def __init__(self, inner: VectorNode, names: tuple[str, ...], *, descending: bool) -> None:
        self._inner, self._names, self._descending = inner, names, descending

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        keys = [([natural_key(dict(labels).get(name, "")) for name in self._names], labels) for labels in frame.labels]
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=self._descending)
        return Frame(frame.labels, frame.values, frame.present, np.array(order, np.int64))


class Aggregated:
    """An aggregation without a parameter of its own."""

    def __init__(self, reduce: Callable[[Frame], Frame], inner: VectorNode) -> None:
        self._reduce, self._inner = reduce, inner

    def vector(self, ctx: Context) -> Frame:
        return self._reduce(self._inner.vector(ctx))


class AggregatedBy:
    """topk, bottomk and quantile: an aggregation with a scalar."""

    def __init__(self, reduce: Extremes | Quantile, inner: VectorNode, parameter: ScalarNode) -> None:
        self._reduce, self._inner, self._parameter = reduce, inner, parameter

    def vector(self, ctx: Context) -> Frame:
        return self._reduce(self._inner.vector(ctx), self._parameter.scalar(ctx))


class OfHistogram:
    """histogram_quantile and histogram_fraction over classic buckets."""

    def __init__(
        self, function: HistogramQuantile | HistogramFraction, inner: VectorNode, *parameters: ScalarNode
    ) -> None:
        self._function: Callable[..., Frame] = function
        self._inner, self._parameters = inner, parameters

    def vector(self, ctx: Context) -> Frame:
        return self._function(self._inner.vector(ctx), *(p.scalar(ctx) for p in self._parameters))


class Negated:
    """Unary minus of a vector."""

    def __init__(self, inner: VectorNode) -> None:
        self._inner = inner
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        return self._nameless(frame.by_value(-frame.values))


class WithScalar:
    """Arithmetic between a vector and a scalar, or a comparison that yields 0 or 1."""

    def __init__(
        self,
        function: Callable[[Floats, Floats], Floats | Bools],
        inner: VectorNode,
        scalar: ScalarNode,
        *,
        scalar_first: bool,
    ) -> None:
        self._function, self._inner, self._scalar, self._first = function, inner, scalar, scalar_first
        self._nameless = Relabelling(drop_name)

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        number = self._scalar.scalar(ctx)
        a, b = (number, frame.values) if self._first else (frame.values, number)
        return self._nameless(frame.by_value(np.asarray(self._function(a, b), np.float64)))


class Filtered:
    """A comparison with a scalar: the elements for which it holds, as they are."""

    def __init__(
        self,
        compare: Callable[[Floats, Floats], Bools],
        inner: VectorNode,
        scalar: ScalarNode,
        *,
        scalar_first: bool,
    ) -> None:
        self._compare, self._inner, self._scalar, self._first = compare, inner, scalar, scalar_first

    def vector(self, ctx: Context) -> Frame:
        frame = self._inner.vector(ctx)
        number = self._scalar.scalar(ctx)
        held = self._compare(number, frame.values) if self._first else self._compare(frame.values, number)
        return Frame(frame.labels, frame.values, frame.present & held)


class Matched:
    """An operator between two vectors."""

    def __init__(self, matcher: VectorMatcher | SetMatcher, left: VectorNode, right: VectorNode) -> None:
        self._matcher, self._left, self._right = matcher, left, right

    def vector(self, ctx: Context) -> Frame:
        return self._matcher(self._left.vector(ctx), self._right.vector(ctx))


def matchers_of(node: VectorNode | RangeNode) -> tuple[Matcher, ...]:
    """The matchers of a bare selector; none of any other expression."""
    return node.matchers if isinstance(node, Selector | RangeSelector) else ()


def is_vector(node: object) -> TypeGuard[VectorNode]:
    return hasattr(node, "vector")


def is_scalar(node: object) -> TypeGuard[ScalarNode]:
    return hasattr(node, "scalar")
