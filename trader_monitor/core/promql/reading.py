"""From text to the parser's tree, within bounds: while the parser works, no other thread can."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import promql_parser as pp

from trader_monitor.core.matcher import Matcher, MatchOp
from trader_monitor.core.promql.errors import PromQLError

__all__ = ["MAX_DEPTH", "MAX_OPERATORS", "SKIPPED", "Reading", "operators", "quoted", "read"]

MAX_DEPTH = 120
_MAX_TEXT = 65_536
_MAX_MATCHERS = 1_500
MAX_OPERATORS = 500  # the parser hands over copies of each subtree: its time grows with the square

_TEXT = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
SKIPPED = rf"{_TEXT}|\#[^\n]*"
"""A pattern of what stands for nothing but itself: strings and comments."""
_BRACES = re.compile(rf"(?s:{SKIPPED})|(\{{)(?s:{SKIPPED}|[^\"'`#}}])*")
_OPERATORS = re.compile(rf"(?s:{SKIPPED})|([-+*/%^\[{{@=<>!~]|\b(?:and|or|unless|atan2|offset)\b)")
_BRACKETS = re.compile(rf"(?s:{SKIPPED})|([()])")
_LITERALS = re.compile(rf"(?s:(?:([=!]~)((?:\s|\#[^\n]*\n)*))?({_TEXT}))|\#[^\n]*")
_OPS: tuple[tuple[Any, MatchOp], ...] = (
    (pp.MatchOp.Equal, "="),
    (pp.MatchOp.NotEqual, "!="),
    (pp.MatchOp.Re, "=~"),
    (pp.MatchOp.NotRe, "!~"),
)


class Reading(NamedTuple):
    """The parser's tree; its selectors' patterns are kept apart."""

    ast: Any
    patterns: list[str]

    def matchers(self, found: Iterable[Any]) -> list[Matcher]:
        """Matchers of the tree, as they were written."""
        return [self._matcher(each) for each in found]

    def written(self, text: str) -> str:
        """A text that was made from the tree, with its patterns as they were."""

        def restored(found: re.Match[str]) -> str:
            return found[1] + quoted(self.patterns[int(found[3].strip('"|'))]) if found[1] else found[0]

        return _LITERALS.sub(restored, text)

    def _matcher(self, found: Any) -> Matcher:
        op = next(ours for its, ours in _OPS if found.op == its)
        value = self.patterns[int(found.value.rstrip("|"))] if op in ("=~", "!~") else found.value
        return Matcher(found.name, op, value)


def read(text: str) -> Reading:
    """Raises PromQLError on what is too large or no PromQL. Patterns are not looked at."""
    if len(text) > _MAX_TEXT:
        raise PromQLError(f"the query is longer than {_MAX_TEXT} characters")
    if _count(_OPERATORS, text) > _MAX_MATCHERS:
        raise PromQLError(f"the query has more than {_MAX_MATCHERS} operators and matchers")
    if operators(text) > MAX_OPERATORS:
        raise PromQLError(f"the query has more than {MAX_OPERATORS} operators")
    if _depth(text) > MAX_DEPTH:
        raise PromQLError(f"the query is nested more than {MAX_DEPTH} deep")
    try:
        plain, patterns = _without_patterns(text)
        return Reading(pp.parse(plain), patterns)
    except ValueError as error:
        raise PromQLError(f"parse error: {error}") from None
    except BaseException as error:  # a panic of the parser's is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise PromQLError("parse error: the parser cannot read this") from None


def operators(text: str) -> int:
    """How many operators, ranges and selectors a query has; matchers in braces are not counted."""
    return _count(_OPERATORS, _BRACES.sub(lambda found: "{" if found[1] else "0", text))


def quoted(text: str) -> str:
    """The text as a string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for found in pattern.finditer(text) if found[1])


def _depth(text: str) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1 if found[1] == "(" else -1
            deepest = max(deepest, depth)
    return deepest


def _without_patterns(text: str) -> tuple[str, list[str]]:
    """The text with a number for each regular expression, and those: the parser would compile each of them, as
    another dialect than ours. A number followed by `|` matches the empty text, as a `!~` has to for the parser to
    leave it to us whether the selector selects anything. What stands in backticks is quoted, because the parser
    would refuse a backslash there."""
    patterns: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        operator, space, literal = found.groups()
        if literal is None or (operator is None and literal[0] != "`"):
            return found[0]
        if operator is None:
            return quoted(literal[1:-1])
        patterns.append(literal[1:-1] if literal[0] == "`" else _string(literal))
        return f'{operator}{space}"{len(patterns) - 1}{"|" if operator == "!~" else ""}"'

    return _LITERALS.sub(numbered, text), patterns


def _string(literal: str) -> str:
    parsed: Any = pp.parse(literal)
    value: str = parsed.val
    return value
