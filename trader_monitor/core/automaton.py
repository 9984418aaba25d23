"""Regular expressions in linear time, for the patterns on which `re` could take for ever.

A pattern that `re` has parsed becomes a nondeterministic automaton, walked with the set of all states it may be in
(Thompson's construction, which RE2 is built on). It answers whether the whole text matches, and knows no groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Automaton", "parse_pattern", "risk"]

_MAX_STATES = 20_000
_MAX_REMEMBERED = 4096

Test = Callable[[str], bool]


def parse_pattern(pattern: str) -> Any:
    """`re`'s own parse of a pattern, with its flags. Raises re.error."""
    parser = __import__("re._parser", fromlist=["parse"])
    return parser.parse(pattern, re.DOTALL | re.ASCII)


def risk(nodes: Any, *, repeated: bool = False) -> int:
    """The power of the text's length that backtracking may cost at worst; 99 where it may be exponential."""
    total = 0
    for code, argument in nodes:
        match str(code):
            case "MAX_REPEAT" | "MIN_REPEAT":
                _, high, body = argument
                unbounded = int(high) > 8
                inner = risk(body, repeated=repeated or unbounded)
                if unbounded and (repeated or inner or _may_be_empty(body)):
                    return 99
                total += inner + unbounded
            case "BRANCH":
                if repeated and not _distinct(argument[1]):
                    return 99
                total += max(risk(branch, repeated=repeated) for branch in argument[1])
            case "SUBPATTERN":
                total += risk(argument[-1], repeated=repeated)
        if total >= 99:
            return 99
    return total


def _may_be_empty(nodes: Any) -> bool:
    return bool(nodes.getwidth()[0] == 0)


def _distinct(branches: Any) -> bool:
    """Whether each alternative begins with a literal of its own, so that the choice is never taken back."""
    firsts = [branch[0][1] if len(branch) and str(branch[0][0]) == "LITERAL" else None for branch in branches]
    return None not in firsts and len(set(firsts)) == len(firsts)


class _State(NamedTuple):
    """Reads a character that passes `test` and goes to `to[0]`; without one, goes to all of `to` if `at` holds."""

    test: Test | None
    to: tuple[int, ...]
    at: str = ""


class Automaton:
    """Whether texts match a parsed pattern as a whole. Raises ValueError where it would be too large."""

    def __init__(self, parsed: Any) -> None:
        self._states: list[_State] = []
        end = self._add(None, ())
        self._end = end
        self._start = self._sequence(parsed, end, int(parsed.state.flags) & int(re.IGNORECASE))
        self._anchored = any(state.at for state in self._states)
        self._first = self._closure((self._start,), "", "")
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, text: str) -> bool:
        if self._anchored:
            return self._walk_anchored(text)
        current = self._first
        for character in text:
            current = self._step(current, character)
            if not current:
                return False
        return self._end in current

    def _step(self, current: frozenset[int], character: str) -> frozenset[int]:
        key = (current, character)
        known = self._steps.get(key)
        if known is None:
            if len(self._steps) >= _MAX_REMEMBERED:
                self._steps.clear()
            known = self._steps[key] = self._closure(self._read(current, character), "", "")
        return known

    def _walk_anchored(self, text: str) -> bool:
        current = self._closure((self._start,), "", text[:1])
        for at, character in enumerate(text):
            current = self._closure(self._read(current, character), character, text[at + 1 : at + 2])
        return self._end in current

    def _read(self, current: frozenset[int], character: str) -> list[int]:
        states = (self._states[number] for number in current)
        return [state.to[0] for state in states if state.test is not None and state.test(character)]

    def _closure(self, numbers: Iterable[int], before: str, after: str) -> frozenset[int]:
        """All states that can be reached without reading, between the characters `before` and `after`."""
        seen: set[int] = set()
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self._states[number]
            if state.test is None and (not state.at or _holds(state.at, before, after)):
                stack.extend(state.to)
        return frozenset(seen)

    # --- construction, from the end to the start -----------------------------------------------------------

    def _add(self, test: Test | None, to: tuple[int, ...], at: str = "") -> int:
        if len(self._states) >= _MAX_STATES:
            raise ValueError("the pattern is too large")
        self._states.append(_State(test, to, at))
        return len(self._states) - 1

    def _sequence(self, nodes: Any, then: int, ignore_case: int) -> int:
        for code, argument in reversed(list(nodes)):
            then = self._node(str(code), argument, then, ignore_case)
        return then

    def _node(self, code: str, argument: Any, then: int, ignore_case: int) -> int:
        match code:
            case "SUBPATTERN":
                _, added, removed, body = argument
                case_flag = (ignore_case | (added & int(re.IGNORECASE))) & ~removed
                return self._sequence(body, then, case_flag)
            case "BRANCH":
                return self._add(None, tuple(self._sequence(one, then, ignore_case) for one in argument[1]))
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, body = argument
                return self._repeat(low, high, body, then, ignore_case)
            case "AT":
                return self._add(None, (then,), str(argument))
        return self._add(_test(code, argument, ignore_case), (then,))

    def _repeat(self, low: int, high: Any, body: Any, then: int, ignore_case: int) -> int:
        if str(high) == "MAXREPEAT":
            loop = self._add(None, ())
            self._states[loop] = _State(None, (self._sequence(body, loop, ignore_case), then))
            then = loop
        else:
            last = then
            for _ in range(int(high) - low):
                then = self._add(None, (self._sequence(body, then, ignore_case), last))
        for _ in range(low):
            then = self._sequence(body, then, ignore_case)
        return then


def _holds(at: str, before: str, after: str) -> bool:
    match at:
        case "AT_BEGINNING" | "AT_BEGINNING_STRING":
            return not before
        case "AT_END" | "AT_END_STRING":
            return not after
        case "AT_BOUNDARY":
            return _word(before) != _word(after)
        case "AT_NON_BOUNDARY":
            return _word(before) == _word(after)
    raise ValueError(f"{at} is not supported")


def _word(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())


def _test(code: str, argument: Any, ignore_case: int) -> Test:
    """What one character must be. `re` itself decides, by a pattern of that one node."""
    if code == "ANY":
        return lambda _: True
    if code not in ("LITERAL", "NOT_LITERAL", "IN"):
        raise ValueError(f"{code} is not supported")
    if code == "LITERAL" and not ignore_case:
        return chr(argument).__eq__
    text = _class(argument) if code == "IN" else f"[{'^' * (code == 'NOT_LITERAL')}{re.escape(chr(argument))}]"
    pattern = re.compile(text, re.ASCII | (re.IGNORECASE if ignore_case else 0))
    return lambda character: pattern.match(character) is not None


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


def _class(items: Any) -> str:
    """A parsed character class as text again."""
    parts = []
    for code, argument in items:
        match str(code):
            case "NEGATE":
                parts.append("^")
            case "LITERAL":
                parts.append(re.escape(chr(argument)))
            case "RANGE":
                parts.append(f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}")
            case "CATEGORY":
                parts.append(_CATEGORIES[str(argument)])
    return f"[{''.join(parts)}]"
