"""Label matchers: the four comparisons that a selector is made of, with regular expressions as RE2 has them.

Python's `re` runs the pattern, so what RE2 refuses is refused here (backreferences, lookaround, possessive
and atomic groups), and so are nested unbounded repetitions, which RE2 runs in linear time and `re` does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["MatchOp", "Matcher", "compile_pattern"]

MatchOp: TypeAlias = Literal["=", "!=", "=~", "!~"]

_MAX_PATTERN = 4096
_LITERALS = re.compile(r"[\w\s:/@%&,;~<>!='\"-]*(?:\|[\w\s:/@%&,;~<>!='\"-]*)*", re.ASCII)


class Matcher(NamedTuple):
    """One comparison of a label's value; a label that is missing has the empty value."""

    name: str
    op: MatchOp
    value: str

    def predicate(self) -> Callable[[str], bool]:
        """A function from the label's value to the answer; raises ValueError on a pattern that is refused."""
        wanted = self.value
        if self.op == "=":
            return wanted.__eq__
        if self.op == "!=":
            return wanted.__ne__
        alternatives = _alternatives(wanted)
        if alternatives is not None:
            if self.op == "=~":
                return alternatives.__contains__
            return lambda value: value not in alternatives
        full = compile_pattern(wanted).fullmatch
        if self.op == "=~":
            return lambda value: full(value) is not None
        return lambda value: full(value) is None

    def __str__(self) -> str:
        text = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{text}"'


def _alternatives(pattern: str) -> frozenset[str] | None:
    """The strings that a pattern of plain alternatives names, so that a set lookup can answer."""
    return frozenset(pattern.split("|")) if _LITERALS.fullmatch(pattern) else None


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as RE2 would read it.

    Raises ValueError, saying why, where RE2 refuses it or `re` might not come to an end.
    """
    if len(pattern) > _MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {_MAX_PATTERN} characters")
    translated = _translate(pattern)
    try:
        compiled = re.compile(translated, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"error parsing regexp: {error}") from None
    _refuse(_parse(translated), repeated=False)
    return compiled


def _translate(pattern: str) -> str:
    """RE2's spelling where Python's differs: `\\z`, `\\Q..\\E`, `(?<name>`; Unicode classes are refused."""
    pattern = re.sub(r"\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", pattern)
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character != "\\" or position + 1 >= len(pattern):
            out.append(character)
            position += 1
            continue
        following = pattern[position + 1]
        if following.isdigit() and following != "0":
            raise ValueError(f"error parsing regexp: invalid escape sequence: `\\{following}`")
        if following in "pPCZ":
            raise ValueError(f"error parsing regexp: `\\{following}` is not supported")
        if following == "Q":
            end = pattern.find("\\E", position + 2)
            out.append(re.escape(pattern[position + 2 : end if end >= 0 else len(pattern)]))
            position = end + 2 if end >= 0 else len(pattern)
            continue
        out.append("\\Z" if following == "z" else character + following)
        position += 2
    return "".join(out)


def _parse(pattern: str) -> Any:
    parser = __import__("re._parser", fromlist=["parse"])
    return parser.parse(pattern)


def _refuse(nodes: Any, *, repeated: bool) -> None:
    """Walks the parsed pattern. `repeated` says that an unbounded repetition surrounds these nodes."""
    for code, argument in nodes:
        name = str(code)
        if name in {
            "ASSERT",
            "ASSERT_NOT",
            "GROUPREF",
            "GROUPREF_EXISTS",
            "ATOMIC_GROUP",
            "POSSESSIVE_REPEAT",
        }:
            raise ValueError("error parsing regexp: invalid or unsupported Perl syntax")
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            low, high, body = argument
            if int(high) > 1000 and str(high) != "MAXREPEAT":
                raise ValueError("error parsing regexp: invalid repeat count")
            if int(low) > 1000:
                raise ValueError("error parsing regexp: invalid repeat count")
            unbounded = int(high) > 10
            if repeated and unbounded:
                raise ValueError("the pattern nests unbounded repetitions, which could take for ever")
            _refuse(body, repeated=repeated or unbounded)
        elif name == "BRANCH":
            for branch in argument[1]:
                _refuse(branch, repeated=repeated)
        elif name == "SUBPATTERN":
            _refuse(argument[-1], repeated=repeated)
