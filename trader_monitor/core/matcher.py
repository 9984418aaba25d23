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
_PIECE = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\.?|\[\^?\]?|\(\?(?P<flags>[imsU]*(?:-[imsU]+)?)\)|\((?:\?(?P<named><[A-Za-z_]\w*>))?|.",
    re.DOTALL,
)
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
    """RE2's spelling where Python's differs: `\\z`, `\\Q..\\E`, `(?<name>`, and flags from the middle on.

    `a(?i)b|c` sets a flag until its group ends; Python wants `a(?i:b)|(?i:c)`.
    """
    out: list[str] = []
    flags: list[list[str]] = [[]]
    position = 0
    in_class = False
    while position < len(pattern):
        piece = _PIECE.match(pattern, position)
        assert piece is not None
        text = piece[0]
        position = piece.end()
        if text[0] == "\\":
            text = _escape(text)
        elif in_class:
            in_class = text != "]"
        elif text.startswith("["):
            in_class = True
        elif piece["flags"]:
            flags[-1].append(f"(?{_flags(piece['flags'])}:")
            text = flags[-1][-1]
        elif text.startswith("("):
            flags.append([])
            text = text.replace("(?<", "(?P<") if piece["named"] else text
        elif text == ")":
            text = ")" * len(flags.pop()) + ")" if len(flags) > 1 else ")"
        elif text == "|":
            text = ")" * len(flags[-1]) + "|" + "".join(flags[-1])
        out.append(text)
    return "".join(out) + ")" * len(flags[0])


def _flags(text: str) -> str:
    if "U" in text:
        raise ValueError("error parsing regexp: the flag U is not supported")
    return text


def _escape(text: str) -> str:
    """One escape sequence. Raises ValueError on those that RE2 or Python does not have."""
    kind = text[1:2]
    if kind.isdecimal() and kind != "0":
        raise ValueError(f"error parsing regexp: invalid escape sequence: `{text}`")
    if kind and kind in "pPCZ":
        raise ValueError(f"error parsing regexp: `{text}` is not supported")
    if kind == "Q":
        return re.escape(text[2:].removesuffix("\\E"))
    return "\\Z" if kind == "z" else text


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
