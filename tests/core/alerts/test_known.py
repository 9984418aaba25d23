"""Where a condition is determinate: the rewriting, against evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.alerts.stage import series
from trader_monitor.core.alerts.known import gauge_threshold, known
from trader_monitor.core.promql import compile as compile_promql
from trader_monitor.core.series import SeriesStore

NAN = float("nan")


def elements(text: str, samples: dict[str, float], t: int = 100_000) -> dict[str, float]:
    """What an expression yields, by label set without the name."""
    store = SeriesStore()
    for name, value in samples.items():
        store.append(store.intern(series(name)), t, value)
    found = compile_promql(text).evaluate(store, np.array([t], np.int64)).at(0)
    return {",".join(f"{k}={v}" for k, v in labels if k != "__name__"): value for labels, value in found}


@pytest.mark.parametrize(
    ("sentence", "expr", "samples", "wanted"),
    [
        ("a number compared is known, with the left side's value", "a > 5", {"a": 3}, {"": 3.0}),
        ("NaN is not", "a > 5", {"a": NAN}, {}),
        ("nor is it under ==", "a == 5", {"a": NAN}, {}),
        ("nor under !=", "a != 5", {"a": NAN}, {}),
        ("each series by itself", "a > 5", {"a{x=1}": 9, "a{x=2}": 1}, {"x=1": 9.0, "x=2": 1.0}),
        ("a comparison needs both sides", "a > on(x) b", {"a{x=1}": 9, "a{x=2}": 1, "b{x=1}": 3}, {"x=1": 9.0}),
        ("with bool it is as it is", "a > bool 5", {"a": 3}, {"": 0.0}),
        ("and: both known", "a > 5 and b > 5", {"a": 9, "b": 1}, {"": 9.0}),
        ("and: left false suffices", "a > 5 and b > 5", {"a": 1}, {"": 1.0}),
        ("and: left true needs the right", "a > 5 and b > 5", {"a": 9}, {}),
        ("or: one side suffices", "a > 5 or b > 5", {"b": 1}, {"": 1.0}),
        ("unless: the left side decides", "a > 5 unless b > 5", {"a": 1}, {"": 1.0}),
        ("absent is always known", 'absent(a{x="1"})', {"a{x=1}": 1}, {"x=1": 0.0}),
        ("absent of anything else too", "absent(sum(a))", {"a": 1}, {"": 0.0}),
        ("absent with a $ and quotes", 'absent(a{x="$1\\"\\\\"})', {}, {'x=$1"\\': 0.0}),
        ("absent over time too", 'absent_over_time((a{x="1"}[5m]))', {"a{x=1}": 1}, {"x=1": 0.0}),
        ("absent drops a label that is asked for twice", 'absent(a{x="1",x=~".+"})', {}, {"": 0.0}),
        ("a count over a comparison", "count by (x) (a == 0) > 1", {"a{x=1,y=1}": 1, "a{x=1,y=2}": 1}, {"x=1": 2.0}),
        ("through a function", "abs(a > 5) > 7", {"a": 1}, {"": 1.0}),
        ("through a sign", "-(a > 5) < 0", {"a": 1}, {"": -1.0}),
        ("with a parameter", "quantile(0.5, a > 5) > 1", {"a": 1}, {"": 1.0}),
        ("arithmetic of comparisons", "(a > 5) + (b > 5)", {"a": 1, "b": 2}, {"": 3.0}),
        ("a number on the left", "5 < a", {"a": 1}, {"": 1.0}),
        ("without labels of its own", "vector(1) > 5", {}, {"": 1.0}),
    ],
)
def test_what_is_known(sentence: str, expr: str, samples: dict[str, float], wanted: dict[str, float]) -> None:
    assert elements(known(expr), samples) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "expr",
    [
        'a{b="c",d!~"e\\\\d+",f=~"x|y\\"z",g!="\\n"} > 5',
        "rate(a[5m]) > 5",
        "rate(a[5m] offset -1m) > 1",
        "a @ 5.5 > 1",
        "a @ -7.25 offset 1m > 1",
        "sum by (x) (rate(a[1h30m])) / on(x) group_left(y) b > 0.1",
        "max_over_time((a > 5)[5m:30s] offset 3m) > 1",
        "max_over_time(rate(a[1m])[5m:] @ end()) > 1",
        'label_replace(a, "x", "$1-\\"", "y", "(.*)\\\\d") > 5',
        "a > bool on(x) b",
        "topk by (x) (3, a) > 1",
        'count_values("v", a) > 1',
        '{__name__=~"a.*", b="c"} > 1',
        '{"some.dotted.name", b="c"} > 1',
        "histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m]))) > 0.5",
        "time() - a > 5",
        "a ^ 2 ^ -b % 3 atan2 c > 1",
        "a > Inf or a < -Inf or b == NaN",
        "predict_linear(a[1h], 3600) < 0 or on() m == 1",
        "hour() > 5 and on() a > 1",
        "a > 5 > 3 > 1 > 0",
    ],
)
def test_the_rewriting_is_promql_that_reads_the_same_series(expr: str) -> None:
    plan = compile_promql(expr)
    rewritten = compile_promql(known(expr))
    assert set(rewritten.selectors) == set(plan.selectors)
    assert rewritten.lookback_ms == plan.lookback_ms


def test_what_would_grow_without_bound_is_left_as_it_is() -> None:
    expr = "a" + " > 0" * 40
    assert known(expr) == expr


ATOMS = st.sampled_from(["a > 5", "b > 5", "c < 5", "a == b", "count(a > 5) > 0", "absent(c)"])
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or", "unless"]), inner).map(
        lambda t: f"({t[0]}) {t[1]} ({t[2]})"
    ),
    max_leaves=4,
)
VALUES = st.sampled_from([None, 1.0, 5.0, 9.0, NAN])


@given(CONDITIONS, VALUES, VALUES, VALUES)
def test_with_data_everywhere_everything_is_known(expr: str, a: float | None, b: float | None, c: float | None) -> None:
    samples = {name: v for name, v in (("a", a), ("b", b), ("c", c)) if v is not None}
    holds, determinate = elements(expr, samples), elements(known(expr), samples)
    if None not in (a, b, c) and not any(v != v for v in samples.values()):
        assert determinate.keys() == {""}
    assert holds.keys() <= {""}


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("a > 5", True),
        ("((a{x='1'} >= 5))", True),
        ("5 < a", False),
        ("a > b", False),
        ("sum(a) > 5", False),
        ("a offset 1m > 5", False),
        ("a @ 5 > 5", False),
        ("a > 5 and b > 5", False),
        ("a > -5", True),
    ],
)
def test_a_plain_threshold_needs_no_ticks(expr: str, wanted: bool) -> None:
    assert gauge_threshold(expr) is wanted


def test_patterns_are_kept_as_they_are() -> None:
    text = 'sum(a{x=~`b\\d{900}`, y!~"c\\"|", z="=~"}) > 1'
    selectors = compile_promql(known(text)).selectors
    assert selectors == compile_promql(text).selectors


def test_what_would_grow_too_large_is_left_as_it_is() -> None:
    """It errs on the side of an alert that stays."""
    text = " and ".join(f"(a{n} > 1)" for n in range(9))
    assert compile_promql(text)
    assert known(text) == text
    assert known("a > 1 and b > 1") != "a > 1 and b > 1"
