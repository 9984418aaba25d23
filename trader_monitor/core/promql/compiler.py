"""From text to a tree of nodes. What the parser knows and we do not evaluate is refused here, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

import promql_parser as pp

from trader_monitor.core.matcher import Matcher, MatchOp
from trader_monitor.core.promql import nodes
from trader_monitor.core.promql.aggregate import (
    REDUCTIONS,
    CountValues,
    Extremes,
    Grouping,
    Quantile,
    Reduction,
)
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.functions import CALENDAR, ELEMENTWISE, round_to
from trader_monitor.core.promql.histogram import HistogramFraction, HistogramQuantile
from trader_monitor.core.promql.operators import (
    ARITHMETIC,
    COMPARISON,
    SETS,
    Cardinality,
    Matching,
    SetMatcher,
    VectorMatcher,
)
from trader_monitor.core.promql.range_functions import RANGE_FUNCTIONS
from trader_monitor.core.promql.relabel import absent_labels, joiner, replacer
from trader_monitor.core.promql.selectors import At, RangeSelector, Selector, Subquery, VectorNode

__all__ = ["LOOKBACK_MS", "Node", "Tree", "parse"]

LOOKBACK_MS = 300_000
_DEFAULT_STEP_MS = 60_000
_MAX_TEXT = 65_536
_MAX_TOKENS = 1_500
_MAX_DEPTH = 120

Node: TypeAlias = VectorNode | nodes.ScalarNode | nodes.RangeNode | nodes.Text

_SKIPPED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*"
_AT = re.compile(
    rf"(?s:{_SKIPPED})|@\s*([-+\s]*)(?:((?:\d+(?:ms|[smhdwy]))+)|(0[xX][0-9a-fA-F]+)|((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))"
)
_TOKENS = re.compile(rf"(?s:{_SKIPPED})|[-+*/%^(\[{{@=<>!~]|\b(?:and|or|unless|atan2|offset)\b")


class Tree(NamedTuple):
    """A compiled expression and what was noticed on the way."""

    root: Node
    selectors: tuple[tuple[Matcher, ...], ...]
    lookback_ms: int
    time_driven: bool
    uses_bounds: bool


def parse(text: str) -> Tree:
    """Compiles a query. Raises PromQLError."""
    if len(text) > _MAX_TEXT:
        raise PromQLError(f"the query is longer than {_MAX_TEXT} characters")
    if sum(1 for token in _TOKENS.finditer(text) if token[0][0] not in "\"'`#") > _MAX_TOKENS:
        raise PromQLError("the query has too many operators")
    try:
        ast = pp.parse(text)
    except ValueError as error:
        raise PromQLError(f"parse error: {error}") from None
    compiler = _Compiler(_moments(text))
    root = compiler.compile(ast, 0)
    return Tree(
        root,
        tuple(dict.fromkeys(compiler.selectors)),
        max(compiler.reaches, default=0),
        compiler.time_driven,
        compiler.uses_bounds,
    )


def _moments(text: str) -> Iterator[int]:
    """The numbers after `@`, in order, in milliseconds: the parser itself cannot hand over those before 1970."""
    for match in _AT.finditer(text):
        signs, duration, hexadecimal, number = match.groups()
        if signs is None:
            continue
        if duration:
            seconds = pp.parse_duration(duration).total_seconds()
        else:
            seconds = float(int(hexadecimal, 16)) if hexadecimal else float(number)
        yield (-1 if signs.count("-") % 2 else 1) * round(seconds * 1000)


def _milliseconds(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(milliseconds=1))


class _Compiler:
    def __init__(self, moments: Iterator[int]) -> None:
        self._moments = moments
        self._reach = 0  # how far the surrounding subqueries reach back
        self.selectors: list[tuple[Matcher, ...]] = []
        self.reaches: list[int] = []
        self.time_driven = False
        self.uses_bounds = False

    def compile(self, ast: Any, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise PromQLError(f"the query is nested more than {_MAX_DEPTH} deep")
        kind = type(ast).__name__
        make: Callable[[Any, int], Node] | None = getattr(self, f"_{kind}", None)
        if make is None:
            raise PromQLError(f"{kind} is not supported")
        return make(ast, depth + 1)

    def _scalar(self, ast: Any, depth: int) -> nodes.ScalarNode:
        node = self.compile(ast, depth)
        if nodes.is_scalar(node):
            return node
        raise PromQLError("expected type scalar")

    def _vector(self, ast: Any, depth: int) -> VectorNode:
        node = self.compile(ast, depth)
        if nodes.is_vector(node):
            return node
        raise PromQLError("expected type instant vector")

    def _range(self, ast: Any, depth: int) -> nodes.RangeNode:
        node = self.compile(ast, depth)
        if not isinstance(node, RangeSelector | Subquery):
            raise PromQLError("expected type range vector")
        return node

    def _string(self, ast: Any, depth: int) -> str:
        node = self.compile(ast, depth)
        if not isinstance(node, nodes.Text):
            raise PromQLError("expected type string")
        return node.value

    # --- leaves ------------------------------------------------------------------------------------------------

    def _NumberLiteral(self, ast: Any, depth: int) -> Node:
        return nodes.Number(ast.val)

    def _StringLiteral(self, ast: Any, depth: int) -> Node:
        return nodes.Text(ast.val)

    def _ParenExpr(self, ast: Any, depth: int) -> Node:
        return self.compile(ast.expr, depth)

    def _UnaryExpr(self, ast: Any, depth: int) -> Node:
        node = self.compile(ast.expr, depth)
        return nodes.Negated(node) if nodes.is_vector(node) else nodes.Negative(self._as_scalar(node))

    def _as_scalar(self, node: Node) -> nodes.ScalarNode:
        if nodes.is_scalar(node):
            return node
        raise PromQLError("expected type scalar or instant vector")

    def _VectorSelector(self, ast: Any, depth: int) -> Node:
        matchers, offset, at = self._selection(ast, LOOKBACK_MS)
        return Selector(matchers, offset, at)

    def _MatrixSelector(self, ast: Any, depth: int) -> Node:
        range_ms = _milliseconds(ast.range)
        matchers, offset, at = self._selection(ast.vector_selector, range_ms)
        return RangeSelector(matchers, range_ms, offset, at)

    def _selection(self, ast: Any, reach: int) -> tuple[tuple[Matcher, ...], int, At]:
        if ast.matchers.or_matchers:
            raise PromQLError('"or" between label matchers is not supported')
        found = [Matcher(m.name, _MATCH_OPS[str(m.op).rpartition(".")[2]], m.value) for m in ast.matchers.matchers]
        if ast.name:
            found.insert(0, Matcher("__name__", "=", ast.name))
        for matcher in found:
            try:
                matcher.predicate()
            except ValueError as error:
                raise PromQLError(f"{matcher}: {error}") from None
        matchers = tuple(found)
        offset = _milliseconds(ast.offset)
        at = self._at(ast.at)
        self.selectors.append(matchers)
        self.reaches.append(max(self._reach + reach + offset, 0))
        self.time_driven |= offset > 0
        return matchers, offset, at

    def _at(self, modifier: Any) -> At:
        if modifier is None:
            return None
        if modifier.type == pp.AtModifierType.At:
            return next(self._moments)
        self.uses_bounds = True
        return "start" if modifier.type == pp.AtModifierType.Start else "end"

    def _SubqueryExpr(self, ast: Any, depth: int) -> Node:
        self.time_driven = True
        outer = self._reach
        offset, range_ms = _milliseconds(ast.offset), _milliseconds(ast.range)
        self._reach = outer + offset + range_ms
        inner = self.compile(ast.expr, depth)
        self._reach = outer
        series = inner if nodes.is_vector(inner) else nodes.FromScalar(self._as_scalar(inner))
        step = None if ast.step is None else _milliseconds(ast.step)
        if step is not None and step <= 0:
            raise PromQLError("the step of a subquery must be positive")
        return Subquery(series, range_ms, step, offset, self._at(ast.at))

    # --- operators ---------------------------------------------------------------------------------------------

    def _BinaryExpr(self, ast: Any, depth: int) -> Node:
        operator = str(ast.op)
        modifier = ast.modifier
        if modifier is not None and (modifier.fill_values.lhs, modifier.fill_values.rhs) != (None, None):
            raise PromQLError("fill modifiers are experimental and not supported")
        left, right = self.compile(ast.lhs, depth), self.compile(ast.rhs, depth)
        returns_bool = modifier is not None and modifier.return_bool
        if nodes.is_vector(left) and nodes.is_vector(right):
            return self._between_vectors(operator, modifier, left, right, returns_bool=returns_bool)
        if operator in SETS:
            raise PromQLError(f"set operator {operator!r} not allowed in binary scalar expression")
        arithmetic, comparison = ARITHMETIC.get(operator), COMPARISON.get(operator)
        function = arithmetic or comparison
        if function is None:
            raise PromQLError(f"operator {operator!r} is not supported")
        swapped = nodes.is_vector(right)
        vector, scalar = (right, left) if swapped else (left, right)
        number = self._as_scalar(scalar)
        if not nodes.is_vector(vector):
            return nodes.ScalarOperation(function, self._as_scalar(vector), number)
        if comparison is not None and not returns_bool:
            return nodes.Filtered(comparison, vector, number, scalar_first=swapped)
        return nodes.WithScalar(function, vector, number, scalar_first=swapped)

    def _between_vectors(self, operator: str, modifier: Any, left: Any, right: Any, *, returns_bool: bool) -> Node:
        cardinality: Cardinality = "many-to-many" if operator in SETS else "one-to-one"
        on, names, include = False, (), ()
        if modifier is not None:
            cardinality = _CARDINALITY[str(modifier.card).rpartition(".")[2]]
            if modifier.matching is not None:
                on = modifier.matching.type == pp.LabelModifierType.Include
                names = tuple(modifier.matching.labels)
            include = tuple(modifier.group_labels or ())
        matching = Matching(cardinality, on, names, include)
        if operator in SETS:
            return nodes.Matched(SetMatcher(operator, matching), left, right)
        if operator not in ARITHMETIC and operator not in COMPARISON:
            raise PromQLError(f"operator {operator!r} is not supported")
        return nodes.Matched(VectorMatcher(operator, matching, returns_bool=returns_bool), left, right)

    def _AggregateExpr(self, ast: Any, depth: int) -> Node:
        name = str(ast.op)
        modifier = ast.modifier
        grouping = Grouping(frozenset(), without=False)
        if modifier is not None:
            grouping = Grouping(frozenset(modifier.labels), modifier.type == pp.AggModifierType.Without)
        if name in REDUCTIONS:
            return nodes.Aggregated(Reduction(name, grouping), self._vector(ast.expr, depth))
        match name:
            case "topk" | "bottomk":
                parameter = self._scalar(ast.param, depth)
                extremes = Extremes(grouping, largest=name == "topk")
                return nodes.AggregatedBy(extremes, self._vector(ast.expr, depth), parameter)
            case "quantile":
                parameter = self._scalar(ast.param, depth)
                return nodes.AggregatedBy(Quantile(grouping), self._vector(ast.expr, depth), parameter)
            case "count_values":
                label = self._string(ast.param, depth)
                if not label:
                    raise PromQLError(f"invalid label name {label!r} in count_values()")
                return nodes.Aggregated(CountValues(label, grouping), self._vector(ast.expr, depth))
        raise PromQLError(f"aggregation {name!r} is experimental and not supported")

    # --- functions ---------------------------------------------------------------------------------------------

    def _Call(self, ast: Any, depth: int) -> Node:
        name: str = ast.func.name
        args = list(ast.args)
        if name in RANGE_FUNCTIONS:
            return self._over_range(name, args, depth)
        if name in ELEMENTWISE:
            return nodes.Elementwise(ELEMENTWISE[name], self._vector(args[0], depth))
        if name in CALENDAR:
            return nodes.Elementwise(CALENDAR[name], self._vector_or_time(args, depth))
        make: Callable[[list[Any], int], Node] | None = getattr(self, f"_call_{name}", None)
        if make is None:
            raise PromQLError(f"function {name!r} is not supported")
        return make(args, depth)

    def _over_range(self, name: str, args: list[Any], depth: int) -> Node:
        self.time_driven = True
        function = RANGE_FUNCTIONS[name]
        compiled = [self.compile(arg, depth) for arg in args]
        ranges = [node for node in compiled if isinstance(node, RangeSelector | Subquery)]
        scalars = [self._as_scalar(node) for node in compiled if not isinstance(node, RangeSelector | Subquery)]
        if len(ranges) != 1:
            raise PromQLError(f"expected type range vector in call to function {name!r}")
        return nodes.OverRange(function, ranges[0], *scalars)

    def _vector_or_time(self, args: list[Any], depth: int) -> VectorNode:
        if args:
            return self._vector(args[0], depth)
        self.time_driven = True
        return nodes.FromScalar(nodes.Time())

    def _call_time(self, args: list[Any], depth: int) -> Node:
        self.time_driven = True
        return nodes.Time()

    def _call_pi(self, args: list[Any], depth: int) -> Node:
        return nodes.Number(3.141592653589793)

    def _call_vector(self, args: list[Any], depth: int) -> Node:
        return nodes.FromScalar(self._scalar(args[0], depth))

    def _call_scalar(self, args: list[Any], depth: int) -> Node:
        return nodes.OnlyElement(self._vector(args[0], depth))

    def _call_timestamp(self, args: list[Any], depth: int) -> Node:
        self.time_driven = True
        return nodes.Timestamp(self._vector(args[0], depth))

    def _call_round(self, args: list[Any], depth: int) -> Node:
        vector = self._vector(args[0], depth)
        nearest = self._scalar(args[1], depth) if len(args) > 1 else nodes.Number(1.0)
        return nodes.Elementwise(round_to, vector, nearest)

    def _call_clamp(self, args: list[Any], depth: int, name: str = "clamp") -> Node:
        vector = self._vector(args[0], depth)
        return nodes.Clamp(name, vector, *(self._scalar(arg, depth) for arg in args[1:]))

    def _call_clamp_min(self, args: list[Any], depth: int) -> Node:
        return self._call_clamp(args, depth, "clamp_min")

    def _call_clamp_max(self, args: list[Any], depth: int) -> Node:
        return self._call_clamp(args, depth, "clamp_max")

    def _call_sort(self, args: list[Any], depth: int) -> Node:
        return nodes.Sorted(self._vector(args[0], depth), descending=False)

    def _call_sort_desc(self, args: list[Any], depth: int) -> Node:
        return nodes.Sorted(self._vector(args[0], depth), descending=True)

    def _call_sort_by_label(self, args: list[Any], depth: int, *, descending: bool = False) -> Node:
        vector = self._vector(args[0], depth)
        return nodes.SortedByLabel(vector, tuple(self._string(a, depth) for a in args[1:]), descending=descending)

    def _call_sort_by_label_desc(self, args: list[Any], depth: int) -> Node:
        return self._call_sort_by_label(args, depth, descending=True)

    def _call_absent(self, args: list[Any], depth: int) -> Node:
        self.time_driven = True
        vector = self._vector(args[0], depth)
        return nodes.Absent(vector, absent_labels(nodes.matchers_of(vector)))

    def _call_absent_over_time(self, args: list[Any], depth: int) -> Node:
        self.time_driven = True
        windows = self._range(args[0], depth)
        return nodes.AbsentOverTime(windows, absent_labels(nodes.matchers_of(windows)))

    def _call_label_replace(self, args: list[Any], depth: int) -> Node:
        vector = self._vector(args[0], depth)
        destination, replacement, source, pattern = (self._string(arg, depth) for arg in args[1:])
        return nodes.Relabelled(replacer(destination, replacement, source, pattern), vector)

    def _call_label_join(self, args: list[Any], depth: int) -> Node:
        vector = self._vector(args[0], depth)
        destination, separator, *sources = (self._string(arg, depth) for arg in args[1:])
        return nodes.Relabelled(joiner(destination, separator, tuple(sources)), vector)

    def _call_histogram_quantile(self, args: list[Any], depth: int) -> Node:
        q = self._scalar(args[0], depth)
        return nodes.OfHistogram(HistogramQuantile(), self._vector(args[1], depth), q)

    def _call_histogram_fraction(self, args: list[Any], depth: int) -> Node:
        low, high = self._scalar(args[0], depth), self._scalar(args[1], depth)
        return nodes.OfHistogram(HistogramFraction(), self._vector(args[2], depth), low, high)


_MATCH_OPS: dict[str, MatchOp] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_CARDINALITY: dict[str, Cardinality] = {
    "OneToOne": "one-to-one",
    "ManyToOne": "many-to-one",
    "OneToMany": "one-to-many",
    "ManyToMany": "many-to-many",
}
