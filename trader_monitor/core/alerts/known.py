"""Known: where could a condition be determined? The difference between *false* and *no data*.

PromQL answers both with an empty place in the result. `known(expr)` rewrites the condition into an expression
that yields an element wherever the condition is determinate, be it true or false. An alert whose labels are
missing from the condition *and* from its `known` has no data: it neither fires nor resolves.

==================  =======================================================================================
`a > b`             `a > b or a <= b`: both sides are there and are numbers. NaN satisfies neither, so it is
                    no data, for `==` and `!=` too. The value is that of the left side, which is what the
                    alert reports when it resolves.
`x and y`           where both are known, or `x` alone is known to be false (then `y` does not matter)
`x or y`            where either is known; a branch that has nothing to say counts as false
`x unless y`        where `x` is known: the absence of `y` is what `unless` asks about
`absent(v)`         everywhere: silence is what it asks about
`sum(x)`, `f(x)`    the same over what is known of `x`, so `count(up == 0) > 3` is false when all are up
anything else       where it yields a result
==================  =======================================================================================

Without any comparison (`changes(x[5m])` alone), a condition is known only while it holds: such an alert never
resolves by silence. Write `> 0`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import promql_parser as pp

from trader_monitor.core.promql.reading import MAX_OPERATORS, operators, quoted, read

__all__ = ["gauge_threshold", "known"]

_COMPARISONS = {
    ">": (">", "<="),
    "<=": ("<=", ">"),
    "<": ("<", ">="),
    ">=": (">=", "<"),
    "==": ("<", ">="),
    "!=": ("<", ">="),
}
"""For each comparison a pair, of which exactly one holds where both sides are numbers."""
_MAX_LENGTH = 32_768
"""Each comparison doubles what it encloses; beyond this the condition is left as it is, which errs on the
side of an alert that stays."""
_MATCH = ((pp.MatchOp.Equal, "="), (pp.MatchOp.NotEqual, "!="), (pp.MatchOp.Re, "=~"), (pp.MatchOp.NotRe, "!~"))
_FIXED = re.compile(r"@ (-?[\d.]+)")


class _TooLongError(Exception):
    """The rewriting grows beyond all measure."""


def known(text: str) -> str:
    """The rewritten expression, as PromQL text. Raises PromQLError where `text` is none."""
    reading = read(text)
    try:
        rewritten = reading.written(_text(reading.ast, rewrite=True))
    except _TooLongError:
        return text
    return rewritten if operators(rewritten) <= MAX_OPERATORS else text


def gauge_threshold(text: str) -> bool:
    """Whether the condition is a plain `selector > number`: only a sample can make it true or false.

    Silence can only take such a result away, which is no data; every other form must be judged again as
    time passes, because a sum, an `unless` or a rate changes when a series falls silent.
    """
    e = read(text).ast
    while isinstance(e, pp.ParenExpr):
        e = e.expr
    return (
        isinstance(e, pp.BinaryExpr)
        and str(e.op) in _COMPARISONS
        and isinstance(e.lhs, pp.VectorSelector)
        and e.lhs.offset is None
        and e.lhs.at is None
        and isinstance(e.rhs, pp.NumberLiteral)
    )


def _text(e: Any, *, rewrite: bool) -> str:
    """The expression as text; with `rewrite`, that which is known of it."""
    match e:
        case pp.BinaryExpr():
            return _binary(e, rewrite=rewrite)
        case pp.Call() if rewrite and e.func.name in {"absent", "absent_over_time"}:
            return _always(e)
        case pp.Call():
            return f"{e.func.name}({', '.join(_text(argument, rewrite=rewrite) for argument in e.args)})"
        case pp.AggregateExpr():
            modifier = f" {e.modifier} " if e.modifier else ""
            parameter = f"{_text(e.param, rewrite=False)}, " if e.param else ""
            return f"{e.op}{modifier}({parameter}{_text(e.expr, rewrite=rewrite)})"
        case pp.ParenExpr():
            return f"({_text(e.expr, rewrite=rewrite)})"
        case pp.UnaryExpr():
            return f"-({_text(e.expr, rewrite=rewrite)})"
        case pp.SubqueryExpr():
            window = f"[{_milliseconds(e.range)}:{_milliseconds(e.step)}]"
            return f"({_text(e.expr, rewrite=False)}){window}{_moment(e)}"
        case pp.MatrixSelector():
            selector = e.vector_selector
            return f"{_selector(selector)}[{_milliseconds(e.range)}]{_moment(selector)}"
        case pp.VectorSelector():
            return f"{_selector(e)}{_moment(e)}"
        case pp.StringLiteral():
            return quoted(e.val)
        case _:
            return str(e)


def _binary(e: Any, *, rewrite: bool) -> str:
    op = str(e.op)
    modifier = f" {e.modifier} " if e.modifier else " "
    left, right = _text(e.lhs, rewrite=rewrite), _text(e.rhs, rewrite=rewrite)
    if rewrite and len(left) + len(right) > _MAX_LENGTH:
        raise _TooLongError
    plain = f"({left}) {op}{modifier}({right})"
    if not rewrite:
        return plain
    if op in _COMPARISONS and not (e.modifier and e.modifier.return_bool):
        one, other = _COMPARISONS[op]
        return f"(({left}) {one}{modifier}({right})) or (({left}) {other}{modifier}({right}))"
    if op == "and":
        return f"({plain}) or (({left}) unless ({_text(e.lhs, rewrite=False)}))"
    if op == "unless":
        return left
    return plain


def _always(e: Any) -> str:
    """An element with the labels that `absent` would give, at all times: those of the equality matchers."""
    argument = e.args[0]
    while isinstance(argument, pp.ParenExpr):
        argument = argument.expr
    if isinstance(argument, pp.MatrixSelector):
        argument = argument.vector_selector
    labels: dict[str, str | None] = {}
    if isinstance(argument, pp.VectorSelector):
        for matcher in argument.matchers.matchers:
            equal = matcher.op == pp.MatchOp.Equal and matcher.name not in labels
            labels[matcher.name] = matcher.value if equal else None
    out = "vector(0)"
    for name, value in labels.items():
        if value is not None and name != "__name__":
            out = f'label_replace({out}, "{name}", {quoted(value.replace("$", "$$"))}, "", "")'
    return out


def _selector(e: Any) -> str:
    """Name and matchers. A name that the grammar cannot spell stands in a matcher of its own already."""
    groups = [e.matchers.matchers, *e.matchers.or_matchers]
    texts = [",".join(f"{m.name}{_op(m)}{quoted(m.value)}" for m in group) for group in groups if group]
    return f"{e.name or ''}{{{' or '.join(texts)}}}"


def _op(matcher: Any) -> str:
    return next(text for op, text in _MATCH if matcher.op == op)


def _moment(e: Any) -> str:
    at = ""
    if e.at is not None:
        # The parser's own `at.at` panics on times before 1970; its text does not.
        fixed = _FIXED.search(str(e))
        at = f" @ {fixed[1]}" if fixed else " @ start()" if e.at.type == pp.AtModifierType.Start else " @ end()"
    return at + (f" offset {_milliseconds(e.offset)}" if e.offset else "")


def _milliseconds(span: timedelta | None) -> str:
    return f"{span // timedelta(milliseconds=1)}ms" if span else ""
