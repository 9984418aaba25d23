"""Asks our own series whether something holds."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trader_monitor.core.alerts.known import known
from trader_monitor.core.facts import Labels
from trader_monitor.core.promql import Plan, compile
from trader_monitor.core.promql.reading import read
from trader_monitor.core.series import Source
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check

FILTERS = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or", "unless"})


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`expr` must hold for every element that it is known of: "account_margin_used / account_equity < 0.5"."""

    expr: str


class _Condition(Struct, frozen=True):
    holds: Plan
    known: Plan
    filters: bool
    """Whether what does not hold is missing from the result, rather than 0."""


@check("promql", Options)
async def promql(options: Options, env: Env) -> Probe:
    """Evaluates a PromQL expression that must hold; where there is no data there is no answer."""
    condition = _condition(options.expr)
    source, t_ms = env.board.series, int(env.clock.now().wall * 1000)
    determined = _elements(condition.known, source, t_ms)
    if not determined:
        return Probe(None, f"no data for {options.expr}")
    held = _elements(condition.holds, source, t_ms)
    if not condition.filters:
        held = {labels: value for labels, value in held.items() if value != 0}
    broken = {labels: value for labels, value in determined.items() if labels not in held}
    if broken:
        labels, value = next(iter(broken.items()))
        return Probe(False, f"{_text(labels)} is {value:g}, which breaks {options.expr}", value)
    return Probe(True, f"{options.expr} holds for {len(determined)}", next(iter(determined.values())))


@lru_cache(maxsize=1000)
def _condition(expr: str) -> _Condition:
    """Raises PromQLError where the expression cannot be evaluated."""
    import promql_parser as pp

    root: Any = read(expr).ast
    while isinstance(root, pp.ParenExpr):
        root = root.expr
    absent = isinstance(root, pp.Call) and root.func.name in {"absent", "absent_over_time"}
    compares = isinstance(root, pp.BinaryExpr) and str(root.op) in FILTERS
    yields_bool = compares and bool(root.modifier) and bool(root.modifier.return_bool)
    return _Condition(compile(expr), compile(known(expr)), absent or (compares and not yields_bool))


def _elements(plan: Plan, source: Source, t_ms: int) -> dict[Labels, float]:
    """The result by labels without the metric's name; NaN is no data."""
    result = plan.instant(source, t_ms)
    found = result.vector if result.kind == "vector" else [((), result.scalar)]
    return {_nameless(labels): value for labels, value in found if not math.isnan(value)}


def _nameless(labels: Labels) -> Labels:
    return tuple(label for label in labels if label[0] != "__name__")


def _text(labels: Labels) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else "the value"
