"""Plans: what they say of themselves, what is refused by name, and that an evaluation stays right as series change."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql import PromQLError, compile, series_matchers
from trader_monitor.core.series import STALE, SeriesStore

MINUTE = 60_000


def store(**series: list[float]) -> SeriesStore:
    """One series per name, a sample a minute."""
    out = SeriesStore(head=4096)
    for name, values in series.items():
        sid = out.intern((("__name__", name),))
        for at, value in enumerate(values):
            out.append(sid, at * MINUTE, value)
    return out


@pytest.mark.parametrize(
    ("query", "lookback_ms"),
    [
        ("1", 0),
        ("a", 5 * MINUTE),
        ("a offset 1h", 65 * MINUTE),
        ("a offset -1h", 0),
        ("rate(a[10m])", 10 * MINUTE),
        ("rate(a[10m] offset 5m) + b", 15 * MINUTE),
        ("max_over_time(rate(a[10m])[1h:1m])", 70 * MINUTE),
        ("max_over_time((a + rate(b[1m]))[1h:1m] offset 1h)", 125 * MINUTE),
    ],
)
def test_a_plan_knows_how_far_back_it_reads(query: str, lookback_ms: int) -> None:
    assert compile(query).lookback_ms == lookback_ms


@pytest.mark.parametrize(
    ("query", "driven"),
    [
        ("a > 1", False),
        ("sum(a) / on () b", False),
        ("time() - a > 5", True),
        ("hour() > 8", True),
        ("hour(a) > 8", False),
        ("absent(a)", True),
        ("absent_over_time(a[5m])", True),
        ("rate(a[5m])", True),
        ("a offset 5m", True),
        ("timestamp(a)", True),
        ("max_over_time(a[5m:1m])", True),
    ],
)
def test_a_plan_knows_whether_time_alone_can_change_it(query: str, driven: bool) -> None:
    assert compile(query).time_driven is driven


def test_a_plan_names_what_it_reads() -> None:
    plan = compile('a{b="c"} + rate(d{e!~"f|g"}[5m]) + a{b="c"}')
    assert plan.selectors == (
        (Matcher("__name__", "=", "a"), Matcher("b", "=", "c")),
        (Matcher("__name__", "=", "d"), Matcher("e", "!~", "f|g")),
    )
    assert [compile(query).kind for query in ("a", "1", '"x"', "a[5m]", "a[5m:1m]")] == [
        "vector",
        "scalar",
        "string",
        "matrix",
        "matrix",
    ]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("histogram_count(a)", "histogram_count"),
        ("histogram_sum(a)", "histogram_sum"),
        ("histogram_avg(a)", "histogram_avg"),
        ("histogram_stddev(a)", "histogram_stddev"),
        ('histogram_quantiles(a, "q", 0.5)', "histogram_quantiles"),
        ("info(a)", "info"),
        ("limitk(1, a)", "limitk"),
        ("limit_ratio(0.5, a)", "limit_ratio"),
        ("a + fill(0) b", "fill"),
        ('a{b="c" or d="e"}', '"or"'),
        ("max_of(1, 2)", "max_of"),
        ("step()", "step"),
        ("nosuch(a)", "nosuch"),
        ("holt_winters(a[5m], 0.5, 0.5)", "holt_winters"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(query: str, name: str) -> None:
    with pytest.raises(PromQLError, match=name):
        compile(query)


@pytest.mark.parametrize(
    "query",
    ["-" * 60_000 + "a", "(" * 30_000 + "a", "+".join(["a"] * 20_000), "abs(" * 3000 + "a" + ")" * 3000, "a" * 70_000],
    ids=["signs", "parentheses", "sums", "calls", "a name"],
)
def test_a_query_made_to_exhaust_the_parser_is_refused(query: str) -> None:
    with pytest.raises(PromQLError):
        compile(query)


def test_deep_but_sane_queries_are_answered() -> None:
    assert compile("(" * 100 + "1" + ")" * 100).instant(store(), 0).scalar == 1
    assert compile("+".join(["1"] * 100)).instant(store(), 0).scalar == 100


def test_times_may_be_any_and_unevenly_spaced() -> None:
    source = store(a=[float(at) for at in range(60)])
    times = np.array([-MINUTE, 0, 1, MINUTE - 1, 30 * MINUTE, 59 * MINUTE, 64 * MINUTE - 1, 64 * MINUTE])
    matrix = compile("a").evaluate(source, times)
    assert matrix.present.tolist() == [[False, True, True, True, True, True, True, False]]
    assert matrix.values[matrix.present].tolist() == [0, 0, 0, 30, 59, 59]


def test_no_times_at_all_yield_nothing() -> None:
    none = np.array([], np.int64)
    for query in ("a", "1", "a + 1", "sum(a)"):
        assert compile(query).evaluate(store(a=[1.0]), none).values.size == 0


def test_each_time_of_a_rule_is_its_own_start_and_end() -> None:
    source = store(a=[0.0, 1.0, 2.0, 3.0])
    times = np.array([MINUTE, 3 * MINUTE])
    plan = compile("a @ start() + a @ end()")
    assert plan.evaluate(source, times).values.tolist() == [[2.0, 6.0]]
    assert plan.evaluate(source, times, bounds=(MINUTE, 3 * MINUTE)).values.tolist() == [[4.0, 4.0]]


def test_a_plan_follows_series_that_appear_end_and_go() -> None:
    source = store(a=[1.0])
    plan = compile("sum by (i) ({__name__=~'a|b'}) > 0")
    assert plan.instant(source, 0).vector == [((), 1.0)]
    sid = source.intern((("__name__", "b"), ("i", "1")))
    assert plan.instant(source, 0).vector == [((), 1.0)]
    source.append(sid, 0, 5.0)
    assert plan.instant(source, 0).vector == [((), 1.0), ((("i", "1"),), 5.0)]
    source.append(sid, 1, STALE)
    assert plan.instant(source, 1).vector == [((), 1.0)]
    source.forget([sid])
    assert plan.instant(source, 0).vector == [((), 1.0)]
    assert plan.instant(store(b=[7.0]), 0).vector == [((), 7.0)], "another store is another matter"


def test_labels_stay_the_same_object_while_no_series_appears() -> None:
    source = store(a=[1.0, 2.0], b=[3.0])
    plan = compile("-(a + on () b) > -100")
    first = plan.evaluate(source, np.array([0])).labels
    source.intern((("__name__", "unrelated"),))
    assert plan.evaluate(source, np.array([MINUTE])).labels is first


def test_a_query_that_would_not_fit_is_refused() -> None:
    source = store(a=[1.0] * 100)
    with pytest.raises(PromQLError, match="more than the 1,000 allowed"):
        compile("a").evaluate(source, np.arange(2000), max_cells=1000)
    with pytest.raises(PromQLError, match="allowed"):
        compile("sum_over_time(a[1000d:1s])").instant(source, 0)


def test_an_evaluation_can_be_given_up() -> None:
    class Enough(Exception):
        pass

    def give_up() -> None:
        raise Enough

    for query in ("a", "rate(a[5m])", "max_over_time(a[1h:1m])"):
        with pytest.raises(Enough):
            compile(query).instant(store(a=[1.0] * 10), 5 * MINUTE, checkpoint=give_up)


def test_a_range_vector_or_a_string_cannot_be_evaluated_over_steps() -> None:
    for query in ("a[5m]", '"x"'):
        with pytest.raises(PromQLError, match="must be Scalar or instant Vector"):
            compile(query).evaluate(store(), np.array([0]))


def test_matchers_of_a_bare_selector() -> None:
    assert series_matchers('a{b!="c"}') == (Matcher("__name__", "=", "a"), Matcher("b", "!=", "c"))
    for text in ("a offset 5m", "a @ 1", "a + 1", "rate(a[5m])", "a[5m]", "1"):
        with pytest.raises(PromQLError):
            series_matchers(text)


def test_moments_after_at_are_read_in_the_order_of_the_text() -> None:
    source = store(a=[float(at) for at in range(200)])
    queries = {
        "a @ 60": 1.0,
        "a @ 1m": 1.0,
        "a @ 0x3c": 1.0,
        "a @ 0.6e2": 1.0,
        "a @ +60": 1.0,
        "sum(a @ 60) + sum(a @ 120) * 10 + sum(a @ 180) * 100": 321.0,
        'sum(a{x!="@ 5"} @ 60) # @ 7\n + sum(a @ 120)': 3.0,
        "sum(max_over_time((a @ 60)[5m:1m] @ 120)) + sum(a @ 300)": 6.0,
        "topk(scalar(a @ 60), sum(a @ 120))": 2.0,
    }
    for query, wanted in queries.items():
        assert [value for _, value in compile(query).instant(source, 150 * MINUTE).vector] == [wanted], query
    assert compile("a @ -60").instant(source, 0).vector == []


def test_readers_in_threads_see_whole_series_while_one_writes() -> None:
    source = SeriesStore(head=64)
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        plan, falls = compile("sum by (i) (a)"), compile("resets(a[1h])")
        while not done.is_set():
            newest = int(source.last_t.max())
            for labels, value in plan.instant(source, max(newest, 0)).vector:
                if value < 0:
                    wrong.append(f"{labels} is {value}")
            for labels, value in falls.instant(source, max(newest, 0)).vector:
                if value:
                    wrong.append(f"{labels} falls {value} times")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for at in range(2000):
        sid = source.intern((("__name__", "a"), ("i", str(at % 40))))
        source.append(sid, at, float(at))
        source.mark_flushed(sid, at)
        if at % 7 == 0:
            source.append(sid, at - 3, float(at))
    done.set()
    for reader in readers:
        reader.join(10)
    assert not wrong, wrong[:5]


VALUES = st.lists(st.one_of(st.floats(allow_nan=False, width=32), st.just(float("nan"))), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from(["sum", "avg", "min", "max", "count", "stddev", "stdvar", "quantile", "last", "mad"]))
def test_many_steps_come_out_as_one_by_one(values: list[float], name: str) -> None:
    """Windows are walked differently where there are many: the results must not differ."""
    source = store(a=values)
    argument = "0.3, " if name == "quantile" else ""
    plan = compile(f"{name}_over_time({argument}a[7m])")
    times = np.arange(0, 50 * MINUTE, 17_000)
    together = plan.evaluate(source, times)
    for step in range(0, len(times), 7):
        alone = plan.instant(source, int(times[step])).vector
        among = together.at(step)
        assert [labels for labels, _ in alone] == [labels for labels, _ in among]
        np.testing.assert_allclose([v for _, v in alone], [v for _, v in among], rtol=1e-9, atol=1e-30)
