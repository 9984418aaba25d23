"""Function calls: which nodes each function of PromQL becomes. What is not in the table is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from trader_monitor.core.promql import nodes
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.functions import CALENDAR, ELEMENTWISE, round_to
from trader_monitor.core.promql.histogram import HistogramFraction, HistogramQuantile
from trader_monitor.core.promql.range_functions import RANGE_FUNCTIONS
from trader_monitor.core.promql.relabel import absent_labels, joiner, replacer
from trader_monitor.core.promql.selectors import RangeSelector, Subquery, VectorNode

__all__ = ["TIME_DRIVEN", "Node", "call", "scalar", "string", "vector"]

Node: TypeAlias = VectorNode | nodes.ScalarNode | nodes.RangeNode | nodes.Text

TIME_DRIVEN = frozenset({"time", "timestamp", "absent", "absent_over_time", *RANGE_FUNCTIONS})
"""Functions whose result can change although no sample comes."""


def scalar(node: Node) -> nodes.ScalarNode:
    if nodes.is_scalar(node):
        return node
    raise PromQLError("expected type scalar")


def vector(node: Node) -> VectorNode:
    if nodes.is_vector(node):
        return node
    raise PromQLError("expected type instant vector")


def string(node: Node) -> str:
    if isinstance(node, nodes.Text):
        return node.value
    raise PromQLError("expected type string")


def _range(node: Node) -> nodes.RangeNode:
    if isinstance(node, RangeSelector | Subquery):
        return node
    raise PromQLError("expected type range vector")


def call(name: str, arguments: Sequence[Node]) -> Node:
    """The node of a call whose arguments the parser has counted. Raises PromQLError."""
    if name in RANGE_FUNCTIONS:
        return _over_range(name, arguments)
    if name in ELEMENTWISE:
        return nodes.Elementwise(ELEMENTWISE[name], vector(arguments[0]))
    if name in CALENDAR:
        return nodes.Elementwise(CALENDAR[name], vector(arguments[0]) if arguments else nodes.FromScalar(nodes.Time()))
    make = _CALLS.get(name)
    if make is None:
        raise PromQLError(f"function {name!r} is not supported")
    return make(*arguments)


def _over_range(name: str, arguments: Sequence[Node]) -> Node:
    """The range stands first, or behind a parameter (quantile_over_time)."""
    ranges = [node for node in arguments if isinstance(node, RangeSelector | Subquery)]
    if len(ranges) != 1:
        raise PromQLError(f"expected type range vector in call to function {name!r}")
    parameters = [scalar(node) for node in arguments if node is not ranges[0]]
    return nodes.OverRange(RANGE_FUNCTIONS[name], ranges[0], *parameters)


def _round(values: Node, nearest: Node | None = None) -> Node:
    return nodes.Elementwise(round_to, vector(values), nodes.Number(1.0) if nearest is None else scalar(nearest))


def _clamp(name: str) -> Callable[..., Node]:
    return lambda values, *bounds: nodes.Clamp(name, vector(values), *map(scalar, bounds))


def _sort(*, descending: bool) -> Callable[..., Node]:
    return lambda values: nodes.Sorted(vector(values), descending=descending)


def _sort_by_label(*, descending: bool) -> Callable[..., Node]:
    return lambda values, *names: nodes.SortedByLabel(vector(values), tuple(map(string, names)), descending=descending)


def _absent(values: Node) -> Node:
    return nodes.Absent(vector(values), absent_labels(nodes.matchers_of(vector(values))))


def _absent_over_time(windows: Node) -> Node:
    return nodes.AbsentOverTime(_range(windows), absent_labels(nodes.matchers_of(_range(windows))))


def _label_replace(values: Node, destination: Node, replacement: Node, source: Node, pattern: Node) -> Node:
    change = replacer(string(destination), string(replacement), string(source), string(pattern))
    return nodes.Relabelled(change, vector(values))


def _label_join(values: Node, destination: Node, separator: Node, *sources: Node) -> Node:
    change = joiner(string(destination), string(separator), tuple(map(string, sources)))
    return nodes.Relabelled(change, vector(values))


def _histogram_quantile(q: Node, buckets: Node) -> Node:
    return nodes.OfHistogram(HistogramQuantile(), vector(buckets), scalar(q))


def _histogram_fraction(lower: Node, upper: Node, buckets: Node) -> Node:
    return nodes.OfHistogram(HistogramFraction(), vector(buckets), scalar(lower), scalar(upper))


_CALLS: dict[str, Callable[..., Node]] = {
    "time": nodes.Time,
    "pi": lambda: nodes.Number(3.141592653589793),
    "vector": lambda number: nodes.FromScalar(scalar(number)),
    "scalar": lambda values: nodes.OnlyElement(vector(values)),
    "timestamp": lambda values: nodes.Timestamp(vector(values)),
    "round": _round,
    "clamp": _clamp("clamp"),
    "clamp_min": _clamp("clamp_min"),
    "clamp_max": _clamp("clamp_max"),
    "sort": _sort(descending=False),
    "sort_desc": _sort(descending=True),
    "sort_by_label": _sort_by_label(descending=False),
    "sort_by_label_desc": _sort_by_label(descending=True),
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "label_replace": _label_replace,
    "label_join": _label_join,
    "histogram_quantile": _histogram_quantile,
    "histogram_fraction": _histogram_fraction,
}
