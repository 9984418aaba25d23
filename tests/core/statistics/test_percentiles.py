"""Percentiles of merged buckets against numpy on the raw values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.statistics.intervals import ranks
from trader_monitor.core.statistics.percentiles import ERROR, QUANTILES, SMALLEST, Sketches, bucket, sketch_key
from trader_monitor.core.statistics.rolling import Cell
from trader_monitor.core.statistics.shares import merged

VALUES = st.lists(st.floats(1e-6, 9e4) | st.floats(-9e4, -1e-6) | st.just(0.0), min_size=1, max_size=80)


def cell_of(values: list[float], family: int = 1) -> Cell:
    cell: Cell = {}
    for value in values:
        key = sketch_key(family) + bucket(value)
        cell[key] = cell.get(key, 0.0) + 1.0
    return cell


def near(value: float, exact: float) -> bool:
    return abs(value - exact) <= ERROR * abs(exact) * (1 + 1e-9) + SMALLEST


@given(VALUES, st.sampled_from([0.01, 0.25, *QUANTILES]))
@settings(max_examples=200, deadline=None)
def test_a_percentile_is_within_two_percent_of_the_observation_of_its_rank(values: list[float], share: float) -> None:
    sketch = Sketches(cell_of(values)).of(1)
    assert sketch.n == len(values)
    assert near(sketch.quantile(share), float(np.percentile(values, 100 * share, method="inverted_cdf")))


@given(VALUES, st.sampled_from([0.25, 0.5, 0.75, 0.95]))
@settings(max_examples=200, deadline=None)
def test_its_interval_encloses_the_order_statistics(values: list[float], share: float) -> None:
    low, high = ranks(len(values), share)
    interval = Sketches(cell_of(values)).of(1).interval(share)
    if low < 1 or high > len(values):
        assert interval is None
        return
    ascending = sorted(values)
    assert interval is not None
    first, last = ascending[low - 1], ascending[high - 1]
    assert interval.low - SMALLEST <= first * (1 + 1e-12) + 1e-15
    assert last <= interval.high * (1 + 1e-12) + SMALLEST + 1e-15
    assert first - interval.low <= 0.0409 * abs(first) + SMALLEST, "no wider than a bucket"
    assert interval.high - last <= 0.0409 * abs(last) + SMALLEST


def test_percentiles_of_merged_bots_are_those_of_all_their_values_and_no_average() -> None:
    random = np.random.default_rng(5)
    fast, slow = random.lognormal(-5, 0.4, 9_900).tolist(), random.lognormal(0, 0.4, 100).tolist()
    both = Sketches(merged([cell_of(fast), cell_of(slow)])).of(1)
    p95 = float(np.percentile(fast + slow, 95, method="inverted_cdf"))
    assert near(both.quantile(0.95), p95)
    averaged = np.mean([np.percentile(fast, 95), np.percentile(slow, 95)])
    assert abs(averaged - p95) > 0.05, "what averaging would have said is far from it"


def test_the_interval_holds_for_95_of_100_samples() -> None:
    random = np.random.default_rng(11)
    truth = math.exp(1.6448536269514722 * 0.8)
    held = 0
    for _ in range(400):
        interval = Sketches(cell_of(random.lognormal(0.0, 0.8, 150).tolist())).of(1).interval(0.95)
        assert interval is not None
        held += interval.low <= truth <= interval.high
    assert held >= 380


@pytest.mark.parametrize(
    ("sentence", "value", "expected"),
    [
        ("nothing is nothing", 0.0, 0),
        ("less than the smallest is nothing", 5e-8, 0),
        ("and on the other side too", -5e-8, 0),
        ("what is beyond the range is at its end", 1e300, 691),
        ("and on the other side too", -1e300, -691),
    ],
)
def test_the_range_of_the_buckets(sentence: str, value: float, expected: int) -> None:
    assert bucket(value) == expected, sentence


def test_families_in_one_cell_do_not_mix() -> None:
    cell = cell_of([1.0] * 3, 1) | cell_of([-1e9, 1e9], 2) | cell_of([2.0], 3) | {0: 5.0, 64: 2.0}
    sketches = Sketches(cell)
    assert [sketches.of(family).n for family in (1, 2, 3, 4)] == [3, 2, 1, 0]
    assert sketches.of(1) is sketches.of(1)


def test_figures_say_what_is_missing() -> None:
    few = list(Sketches(cell_of([0.1] * 100)).of(1).figures("x_seconds", (("a", "b"),), "how", "nothing came"))
    assert [figure.labels for figure in few] == [(("a", "b"), ("quantile", q)) for q in ("0.5", "0.95", "0.99")]
    assert [figure.interval is not None for figure in few] == [True, True, False]
    assert few[2].reason_open == "too few observations to bound the 99% quantile on both sides"
    assert all(figure.value is not None and near(figure.value, 0.1) and figure.n == 100 for figure in few)
    none = list(Sketches({}).of(1).figures("x_seconds", (), "how", "nothing came"))
    assert [(figure.value, figure.n, figure.reason) for figure in none] == [(None, 0, "nothing came")] * 3
