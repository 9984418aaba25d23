"""From text to a tree of nodes. What the parser knows and we do not evaluate is refused here, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import promql_parser as pp

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql import nodes
from trader_monitor.core.promql.aggregate import (
    REDUCTIONS,
    CountValues,
    Extremes,
    Grouping,
    Quantile,
    Reduction,
)
from trader_monitor.core.promql.calls import TIME_DRIVEN, Node, call, scalar, string, vector
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.functions import CALENDAR
from trader_monitor.core.promql.operators import (
    ARITHMETIC,
    COMPARISON,
    SETS,
    Cardinality,
    Matching,
    SetMatcher,
    VectorMatcher,
)
from trader_monitor.core.promql.reading import MAX_DEPTH, SKIPPED, Reading, read
from trader_monitor.core.promql.selectors import At, RangeSelector, Selector, Subquery

__all__ = ["LOOKBACK_MS", "Node", "Tree", "parse"]

LOOKBACK_MS = 300_000
_DEFAULT_STEP_MS = 60_000
_MAX_SECONDS = 1e11

_AT = re.compile(
    rf"(?s:{SKIPPED})|@\s*([-+\s]*)(?:((?:\d+(?:ms|[smhdwy]))+)|(0[xX][0-9a-fA-F]+)|((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))"
)
_SECONDS = re.compile(r"(?:[\[:]|\boffset\b)\s*[-+]?\s*((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])")


class Tree(NamedTuple):
    """A compiled expression and what was noticed on the way."""

    root: Node
    selectors: tuple[tuple[Matcher, ...], ...]
    lookback_ms: int
    time_driven: bool
    uses_bounds: bool


def parse(text: str) -> Tree:
    """Compiles a query. Raises PromQLError."""
    if any(float(number) > _MAX_SECONDS for number in _SECONDS.findall(text)):
        raise PromQLError("parse error: duration out of range")
    try:
        reading = read(text)
    except PromQLError as error:
        raise PromQLError(error.message, _place(text, error.message)) from None
    compiler = _Compiler(_moments(text), reading)
    try:
        root = compiler.compile(reading.ast, 0)
    except PromQLError as error:
        raise PromQLError(error.message, _place(text, error.message)) from None
    return Tree(
        root,
        tuple(dict.fromkeys(compiler.selectors)),
        max(compiler.reaches, default=0),
        compiler.time_driven,
        compiler.uses_bounds,
    )


def _place(text: str, message: str) -> int | None:
    """Where the word that a message quotes stands in the text: the parser itself does not tell."""
    quoted = re.search(r"'([^']+)'", message)
    at = text.find(quoted[1]) if quoted else -1
    return at if at >= 0 else None


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
        if seconds > _MAX_SECONDS:
            raise PromQLError("parse error: timestamp out of bounds for @ modifier")
        yield (-1 if signs.count("-") % 2 else 1) * round(seconds * 1000)


def _milliseconds(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(milliseconds=1))


def _accepts_nothing(matcher: Matcher) -> bool:
    """Whether a label that is missing will do. Raises PromQLError on a pattern that is refused."""
    try:
        return matcher.predicate()("")
    except ValueError as error:
        raise PromQLError(f"{matcher}: {error}") from None


class _Compiler:
    def __init__(self, moments: Iterator[int], reading: Reading) -> None:
        self._moments = moments
        self._reading = reading
        self._reach = 0  # how far the surrounding subqueries reach back
        self.selectors: list[tuple[Matcher, ...]] = []
        self.reaches: list[int] = []
        self.time_driven = False
        self.uses_bounds = False

    def compile(self, ast: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise PromQLError(f"the query is nested more than {MAX_DEPTH} deep")
        kind = type(ast).__name__
        make: Callable[[Any, int], Node] | None = getattr(self, f"_{kind}", None)
        if make is None:
            raise PromQLError(f"{kind} is not supported")
        return make(ast, depth + 1)

    # --- leaves ------------------------------------------------------------------------------------------------

    def _NumberLiteral(self, ast: Any, depth: int) -> Node:
        return nodes.Number(ast.val)

    def _StringLiteral(self, ast: Any, depth: int) -> Node:
        return nodes.Text(ast.val)

    def _ParenExpr(self, ast: Any, depth: int) -> Node:
        return self.compile(ast.expr, depth)

    def _UnaryExpr(self, ast: Any, depth: int) -> Node:
        node = self.compile(ast.expr, depth)
        return nodes.Negated(node) if nodes.is_vector(node) else nodes.Negative(scalar(node))

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
        found = self._reading.matchers(ast.matchers.matchers)
        if ast.name:
            found.insert(0, Matcher("__name__", "=", ast.name))
        empty = [_accepts_nothing(matcher) for matcher in found]
        if all(empty):
            raise PromQLError("parse error: vector selector must contain at least one non-empty matcher")
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
        series = inner if nodes.is_vector(inner) else nodes.FromScalar(scalar(inner))
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
        operand, other = (right, left) if swapped else (left, right)
        number = scalar(other)
        if not nodes.is_vector(operand):
            return nodes.ScalarOperation(function, scalar(operand), number)
        if comparison is not None and not returns_bool:
            return nodes.Filtered(comparison, operand, number, scalar_first=swapped)
        return nodes.WithScalar(function, operand, number, scalar_first=swapped)

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
            return nodes.Aggregated(Reduction(name, grouping), vector(self.compile(ast.expr, depth)))
        match name:
            case "topk" | "bottomk":
                parameter = scalar(self.compile(ast.param, depth))
                extremes = Extremes(grouping, largest=name == "topk")
                return nodes.AggregatedBy(extremes, vector(self.compile(ast.expr, depth)), parameter)
            case "quantile":
                parameter = scalar(self.compile(ast.param, depth))
                return nodes.AggregatedBy(Quantile(grouping), vector(self.compile(ast.expr, depth)), parameter)
            case "count_values":
                label = string(self.compile(ast.param, depth))
                if not label:
                    raise PromQLError(f"invalid label name {label!r} in count_values()")
                return nodes.Aggregated(CountValues(label, grouping), vector(self.compile(ast.expr, depth)))
        raise PromQLError(f"aggregation {name!r} is experimental and not supported")

    # --- functions ---------------------------------------------------------------------------------------------

    def _Call(self, ast: Any, depth: int) -> Node:
        name: str = ast.func.name
        arguments = [self.compile(argument, depth) for argument in ast.args]
        self.time_driven |= name in TIME_DRIVEN or (name in CALENDAR and not arguments)
        return call(name, arguments)


_CARDINALITY: dict[str, Cardinality] = {
    "OneToOne": "one-to-one",
    "ManyToOne": "many-to-one",
    "OneToMany": "one-to-many",
    "ManyToMany": "many-to-many",
}
