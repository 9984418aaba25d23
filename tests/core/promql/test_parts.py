"""The parts of PromQL by themselves: sums, numbers, and what the parser would not let through."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql import PromQLError, calls, compile, nodes
from trader_monitor.core.promql.kahan import Kahan, exact_mean, exact_sum, grouped_mean, grouped_sum
from trader_monitor.core.promql.numbers import parsed, shown
from trader_monitor.core.series import SeriesStore

INF = math.inf
HUGE = 1.7e308


@pytest.mark.parametrize(
    ("values", "total", "mean"),
    [
        ([0.1] * 10, 1.0, 0.1),
        ([1.0, 1e100, 1.0, -1e100], 2.0, 0.5),
        ([HUGE, HUGE], INF, HUGE),
        ([-HUGE, -HUGE, -HUGE], -INF, -HUGE),
        ([INF, 1.0], INF, INF),
        ([INF, -INF], math.nan, math.nan),
        ([INF, HUGE, HUGE], INF, INF),
        ([math.nan, 1.0], math.nan, math.nan),
        ([HUGE, HUGE, INF], INF, INF),
        ([HUGE, HUGE, math.nan], math.nan, math.nan),
    ],
)
@np.errstate(all="ignore")
def test_sums_and_means(values: list[float], total: float, mean: float) -> None:
    """Of few and of many at once, which are added in different ways."""
    np.testing.assert_allclose(exact_sum(values), total, rtol=1e-15)
    np.testing.assert_allclose(exact_mean(values), mean, rtol=1e-15)
    running = Kahan(1)
    for value in values:
        running.add(np.array([value]))
    np.testing.assert_allclose(running.total(), [total], rtol=1e-15)
    for steps in (1, 50):
        table = np.repeat(np.array(values)[:, None], steps, axis=1)
        present = np.ones(table.shape, np.bool_)
        rows = [np.arange(len(values)), np.array([0])]
        for groups, wanted in ((rows[:1], [total]), (rows, [total, values[0]])):
            sums = grouped_sum(table, present, groups)
            np.testing.assert_allclose(sums, np.repeat(np.array(wanted)[:, None], steps, axis=1), rtol=1e-15)
        np.testing.assert_allclose(grouped_mean(table, present, rows[:1]), [[mean] * steps], rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.25, "0.25"),
        (1e-7, "0.0000001"),
        (-1.25e-9, "-0.00000000125"),
        (1e16, "10000000000000000"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e21, "1000000000000000000000"),
        (INF, "+Inf"),
        (-INF, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_without_exponent_and_read_back(value: float, text: str) -> None:
    assert shown(value) == text
    assert parsed(text) == value or value != value


@pytest.mark.parametrize("text", ["", " 1", "1_0", "x", "1e"])
def test_a_bucket_bound_that_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_each_argument_must_be_of_its_kind() -> None:
    one, text = nodes.Number(1.0), nodes.Text("x")
    cases: list[tuple[str, list[calls.Node]]] = [
        ("abs", [one]),
        ("vector", [text]),
        ("absent_over_time", [one]),
        ("rate", [one]),
        ("label_replace", [nodes.FromScalar(one), one, text, text, text]),
    ]
    for name, arguments in cases:
        with pytest.raises(PromQLError, match="expected type"):
            calls.call(name, arguments)


def test_a_query_may_have_many_matchers() -> None:
    assert len(compile("a{" + ",".join(f'l{n}="}}{{"' for n in range(1000)) + "} + 1").selectors[0]) == 1001


def test_patterns_are_read_as_they_stand_whatever_is_around_them() -> None:
    text = """
        # a =~ "comment" {
        a{x=~ # why
          "b\\\\.c", y !~ `\\d"`, z=~'"', s="=~"} + on() b{x="!~", t=~"\u00e9"} or vector(1) + c{x=~"=~\\"a"}
    """
    a, b, c = compile(text).selectors
    assert a == (
        Matcher("__name__", "=", "a"),
        Matcher("x", "=~", "b\\.c"),
        Matcher("y", "!~", '\\d"'),
        Matcher("z", "=~", '"'),
        Matcher("s", "=", "=~"),
    )
    assert b == (Matcher("__name__", "=", "b"), Matcher("x", "=", "!~"), Matcher("t", "=~", "é"))
    assert c == (Matcher("__name__", "=", "c"), Matcher("x", "=~", '=~"a'))


def test_backslashes_in_backticks_are_themselves() -> None:
    (selected,) = compile('label_replace(a{x=`b\\d"`}, "y", `$1"`, "x", `b(\\d).*`)').selectors
    assert selected[1] == Matcher("x", "=", 'b\\d"')


def test_costly_patterns_do_not_hold_up_everybody() -> None:
    """In the parser's own dialect each takes 40 ms, during which no other thread can run."""
    query = "+".join(['a{x=~"\\\\w{100}"}'] * 100)
    began = time.perf_counter()
    compile(query)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a[1e300]", "out of range"),
        ("a offset 1e300", "out of range"),
        ("a[5m:1e300]", "out of range"),
        ("a @ 1e300", "out of bounds"),
        ("a @ -1e300", "out of bounds"),
        ("1" + " + 1" * 200, "nested"),
        ("1" + " + 1" * 600, "more than 500 operators"),
        ("(" * 500 + "1" + ")" * 500, "nested"),
        ("a{" + ",".join('x="{"' for _ in range(2000)) + "}", "more than 1500"),
        ('a{x=~"[a"}', "error parsing regexp"),
        ('a{x=~"a", y!~"(?=b)"}', "error parsing regexp"),
        ('count_values("", a)', "label name"),
        ("a[5m:0s]", "."),
        ("topk(1e30, a)", "overflows"),
        ("topk(NaN, a)", "NaN"),
        ("double_exponential_smoothing(a[5m], 0, 0.5)", "smoothing factor"),
        ("double_exponential_smoothing(a[5m], 0.5, 1)", "trend factor"),
    ],
)
def test_what_is_refused(query: str, words: str) -> None:
    with pytest.raises(PromQLError, match=words):
        compile(query).instant(series(), 0)


def test_an_error_tells_where_the_word_stands() -> None:
    for query in ("1 + nosuch(a)", "1 + histogram_count(a)"):
        with pytest.raises(PromQLError) as caught:
            compile(query)
        assert caught.value.position == 4


def series() -> SeriesStore:
    store = SeriesStore()
    sid = store.intern((("__name__", "a"),))
    for at, value in enumerate([HUGE, HUGE, 1.0, math.nan, 3.0, 3.0]):
        store.append(sid, at * 60_000, value)
    return store


@pytest.mark.parametrize(
    ("query", "at", "wanted"),
    [
        ("avg_over_time(a[90s])", 60_000, HUGE),
        ("deriv(a[5m])", 300_000, math.nan),
        ("deriv(a[90s])", 300_000, 0.0),
        ("histogram_fraction(0, 1, label_replace(a, 'le', '1', '', ''))", 0, math.nan),
        ("sum_over_time(a[1m:7m])", 60_000, None),
        ("double_exponential_smoothing(a[30s], 0.5, 0.5)", 0, None),
        ("rate(a[30s])", 0, None),
        ("count_values by () ('x', a)", 0, 1.0),
    ],
)
def test_odd_windows(query: str, at: int, wanted: float | None) -> None:
    vector = compile(query).instant(series(), at).vector
    if wanted is None:
        assert vector == []
    else:
        np.testing.assert_allclose([value for _, value in vector], [wanted])


def test_very_many_series_and_very_long_windows_ask_whether_there_is_time() -> None:
    store = SeriesStore(head=1 << 14)
    for number in range(1100):
        store.append(store.intern((("__name__", "many"), ("i", str(number)))), 0, 1.0)
    long = store.intern((("__name__", "long"),))
    for at in range(5000):
        store.append(long, at, 1.0)
    asked: list[int] = []
    for query, times in (
        ("many", 8),
        ("rate(many[5m])", 8),
        ("sum_over_time(long[5m])", 400),
        ("sum_over_time(long[5m])", 60),
    ):
        asked.append(0)

        def count() -> None:
            asked[-1] += 1

        compile(query).evaluate(store, np.arange(times) * 100, checkpoint=count)
    assert all(times >= 2 for times in asked), asked
