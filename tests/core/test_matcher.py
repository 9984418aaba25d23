"""Matchers: patterns mean what they mean in RE2, what RE2 refuses is refused, and none takes for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.automaton import Automaton, parse_pattern, risk
from trader_monitor.core.matcher import Matcher, compile_pattern
from trader_monitor.core.promql import PromQLError, compile


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(a)\1", "a backreference"),
        ("a(?=b)", "lookahead"),
        ("(?<!a)b", "lookbehind"),
        ("(?>a)b", "an atomic group"),
        ("a++", "a possessive repetition"),
        ("a{1001}", "a repetition beyond RE2's thousand"),
        (r"\pL", "a Unicode class"),
        ("a(", "an open group"),
        ("x" * 5000, "a pattern longer than any sane one"),
        ("(?U)a", "a flag that Python has not"),
    ],
)
def test_patterns_that_are_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        compile_pattern(pattern)
    assert "at position" not in str(raised.value)  # of another pattern than was written


@pytest.mark.parametrize(
    ("pattern", "matches", "differs"),
    [
        ("a|b", "b", "ab"),
        ("a.c", "a\nc", "ac"),
        ("((?i)PRO).*", "production", "canary"),
        ("a(?i)b|c", "C", "A"),
        ("(a(?i)b|c)d", "Cd", "CD"),
        (r"\Qa.b\E+", "a.bb", "axb"),
        (r"[]a]+\z", "]a", "b"),
        (r"[(?i)]", "?", "I"),
        ("(?<name>x)y", "xy", "x"),
        ("(?:(?-s).)a", "ba", "\na"),
        ("", "", "a"),
    ],
)
def test_patterns_mean_what_they_mean_in_re2(pattern: str, matches: str, differs: str) -> None:
    for op, wanted in (("=~", True), ("!~", False)):
        accepts = Matcher("x", op, pattern).predicate()  # type: ignore[arg-type]
        assert accepts(matches) is wanted
        assert accepts(differs) is not wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        "(a|ab|b)*c",
        "((a*)b?)*c",
        "(.*)*x",
        "(a*)*",
        "a*a*a*a*a*a*b",
        ".*a.*a.*a.*a.*b",
        "(a?){50}b",
    ],
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    accepts = Matcher("x", "=~", pattern).predicate()
    began = time.perf_counter()
    accepts("a" * 400)
    assert not accepts("a" * 400 + "!")
    assert time.perf_counter() - began < 1.0


def test_groups_are_refused_of_a_pattern_without_bound() -> None:
    with pytest.raises(PromQLError, match="for ever"):
        compile('label_replace(a, "x", "$1", "y", "(a+)+")')


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("abc", 0),
        ("a*", 1),
        ("a*b*", 2),
        ("(a*|b)c+", 2),
        ("(foo|bar)*", 1),
        ("(foo|far)*", 1),
        ("(a|a.)*", 99),
        ("(a*)*", 99),
        ("(a?)*", 99),
        ("(ab{2,50})+", 99),
        ("a{3}", 0),
    ],
)
def test_the_risk_of_backtracking(pattern: str, wanted: int) -> None:
    assert risk(parse_pattern(pattern)) == wanted


ATOMS = st.sampled_from(
    ["a", "b", "[ab]", "[^a]", "[^ab]", ".", r"\w", r"\d", r"\b", "^", "$", "(?i:A)", "x{0,2}", "é", "[a-c]"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["?", "{1,2}", "*", "+"])),
    ),
    max_leaves=5,
)


@given(PATTERNS, st.text("abAx_ é1", max_size=6))
def test_the_automaton_agrees_with_re(pattern: str, text: str) -> None:
    expected = re.compile(pattern, re.DOTALL | re.ASCII).fullmatch(text) is not None
    assert Automaton(parse_pattern(pattern)).matches(text) is expected
    assert compile_pattern(pattern).matches(text) is expected


def test_word_boundaries_within_a_text() -> None:
    automaton = Automaton(parse_pattern(r"(a\Bb|c\b-)*"))
    assert automaton.matches("abc-ab")
    assert not automaton.matches("c-b")


def test_an_automaton_that_would_be_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        compile_pattern("((((a{50}){50}){50})+)+")


def test_what_an_automaton_cannot_do_is_refused() -> None:
    for pattern in (r"(a)\1", "(?=a)b"):
        with pytest.raises(ValueError, match="not supported"):
            Automaton(parse_pattern(pattern))


def test_what_an_automaton_remembers_is_bounded() -> None:
    automaton = Automaton(parse_pattern("(.*)*x"))
    assert automaton.matches("".join(map(chr, range(32, 20_000))) + "x")
    assert len(automaton._steps) <= 4096
