"""Label matchers: the four comparisons that a selector is made of, with regular expressions as RE2 has them.

What RE2 refuses is refused here (backreferences, lookaround, possessive and atomic groups). Python's `re` runs a
pattern as long as it cannot take long; what could is run by an automaton (`core.automaton`), in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from trader_monitor.core.automaton import Automaton, parse_pattern, risk

__all__ = ["MatchOp", "Matcher", "Pattern", "compile_pattern"]

MatchOp: TypeAlias = Literal["=", "!=", "=~", "!~"]

_MAX_PATTERN = 4096
_MAX_REPEAT = 1000
_UNBOUNDED = 99
_AFFORDABLE = 10_000_000
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
        matches = compile_pattern(wanted).matches
        if self.op == "=~":
            return matches
        return lambda value: not matches(value)

    def __str__(self) -> str:
        text = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{text}"'


def _alternatives(pattern: str) -> frozenset[str] | None:
    """The strings that a pattern of plain alternatives names, so that a set lookup can answer."""
    return frozenset(pattern.split("|")) if _LITERALS.fullmatch(pattern) else None


class Pattern:
    """A regular expression that is to match the whole of a text."""

    __slots__ = ("_automaton", "_full", "_parsed", "risk")

    def __init__(self, compiled: re.Pattern[str], parsed: Any) -> None:
        self._full = compiled.fullmatch
        self._parsed = parsed
        self.risk = risk(parsed)
        """The power of a text's length that `re` may cost; 99 where that is without bound."""
        self._automaton = Automaton(parsed) if self.risk >= _UNBOUNDED else None

    def matches(self, text: str) -> bool:
        if self.risk <= 1 or len(text) ** self.risk <= _AFFORDABLE:
            return self._full(text) is not None
        if self._automaton is None:
            self._automaton = Automaton(self._parsed)
        return self._automaton.matches(text)

    def groups(self, text: str) -> re.Match[str] | None:
        """The match with its groups, None where there is none. For patterns whose risk is bounded."""
        return self._full(text) if self.matches(text) else None


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Pattern:
    """The pattern as RE2 would read it. Raises ValueError, saying why, where RE2 refuses it."""
    if len(pattern) > _MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {_MAX_PATTERN} characters")
    translated = _translate(pattern)
    try:
        compiled = re.compile(translated, re.DOTALL | re.ASCII)
        parsed = parse_pattern(translated)
        _refuse(parsed)
        return Pattern(compiled, parsed)
    except (re.error, OverflowError, RecursionError) as error:
        # Its position counts in our translation, which nobody has seen.
        raise ValueError(f"error parsing regexp: {getattr(error, 'msg', error)}") from None


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


_NOT_IN_RE2 = {"ASSERT", "ASSERT_NOT", "GROUPREF", "GROUPREF_EXISTS", "ATOMIC_GROUP", "POSSESSIVE_REPEAT"}


def _refuse(nodes: Any) -> None:
    """Raises ValueError on what RE2 does not have."""
    for code, argument in nodes:
        name = str(code)
        if name in _NOT_IN_RE2:
            raise ValueError("error parsing regexp: invalid or unsupported Perl syntax")
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            low, high, body = argument
            if int(low) > _MAX_REPEAT or (int(high) > _MAX_REPEAT and str(high) != "MAXREPEAT"):
                raise ValueError("error parsing regexp: invalid repeat count")
            _refuse(body)
        elif name == "BRANCH":
            for branch in argument[1]:
                _refuse(branch)
        elif name == "SUBPATTERN":
            _refuse(argument[-1])
