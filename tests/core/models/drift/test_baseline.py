"""A baseline holds what was seen, counts what is no number apart, and comes back from its bytes as it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trader_monitor.core.models.columns import ColumnError, column_of
from trader_monitor.core.models.drift.baseline import (
    CATEGORIES,
    CELLS,
    PERCENTILES,
    SAMPLE,
    Baseline,
    BaselineError,
    baseline_of,
)


def normal(rows: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=rows)


@pytest.mark.parametrize(
    ("sentence", "values", "counts"),
    [
        ("Numbers alone are all finite.", [1.0, 2.0], (2, 2, 0, 0, 0)),
        ("Null, NaN and both infinities are counted apart.", [1, None, math.nan, math.inf, -math.inf], (5, 1, 1, 1, 2)),
        ("An array has no null.", np.array([1.0, math.nan, math.inf]), (3, 1, 0, 1, 1)),
        ("An array of integers is one of numbers.", np.array([3, 4]), (2, 2, 0, 0, 0)),
        ("Nothing at all is a baseline of nothing.", [], (0, 0, 0, 0, 0)),
        ("All NaN leaves no distribution.", [math.nan] * 3, (3, 0, 0, 3, 0)),
    ],
)
def test_what_is_no_number_is_counted_apart(sentence: str, values: Any, counts: tuple[int, ...]) -> None:
    made = baseline_of("f", values)
    assert (made.rows, made.finite, made.nulls, made.nans, made.infinities) == counts, sentence
    assert made.missing == made.rows - made.finite


@pytest.mark.parametrize(
    ("sentence", "values", "kind", "categories"),
    [
        ("One string makes categories.", ["a", "b", "a"], None, {"a": 2, "b": 1}),
        ("1 and 1.0 are the same category.", [1, 1.0, 2.5], "category", {"1": 2, "2.5": 1}),
        ("What is missing is in no category.", ["a", None, math.nan, math.inf], None, {"a": 1}),
        ("An array can be one of categories.", np.array([7.0, 7.0, 8.0]), "category", {"7": 2, "8": 1}),
        ("An array of strings is one.", np.array(["x", "y"]), None, {"x": 1, "y": 1}),
    ],
)
def test_categories(sentence: str, values: Any, kind: Any, categories: dict[str, int]) -> None:
    made = baseline_of("f", values, kind=kind)
    assert (made.kind, made.categories) == ("category", categories), sentence
    assert sum(categories.values()) + made.missing == made.rows


def test_the_rarest_of_very_many_categories_are_counted_together() -> None:
    made = baseline_of("f", [f"c{n}" for n in range(CATEGORIES + 5)] * 2 + ["c3"])
    assert len(made.categories) == CATEGORIES
    assert made.other == 10
    assert next(iter(made.categories.items())) == ("c3", 3)


@pytest.mark.parametrize("values", [["a", object()], [1.0, object()], [1.0, "a"]])
def test_what_is_neither_number_nor_name_is_refused(values: Any) -> None:
    with pytest.raises(ColumnError, match="expected a number"):
        baseline_of("f", values, kind="numeric")


def test_a_table_is_no_column() -> None:
    with pytest.raises(ColumnError, match="2 dimensions"):
        column_of(np.zeros((2, 2)))


def test_ten_bins_and_256_cells_hold_equal_shares() -> None:
    made = baseline_of("f", normal(10_240))
    assert made.counts == (1024,) * 10
    assert made.cells == (40,) * CELLS
    assert len(made.borders()) == CELLS - 1


def test_bins_of_tied_values_are_fewer_and_hold_all() -> None:
    made = baseline_of("f", [0.0] * 60 + [1.0] * 40)
    assert (made.edges, made.counts) == ((0.0,), (60, 40))
    assert sum(made.cells) == 100


def test_one_bad_tick_moves_no_edge_beyond_its_neighbour() -> None:
    quiet = normal(10_000)
    bad = quiet.copy()
    bad[5000] = 1e4
    ranks = np.sort(quiet)
    found = np.searchsorted(ranks, baseline_of("f", bad).edges) - np.searchsorted(ranks, baseline_of("f", quiet).edges)
    assert np.abs(found).max() <= 1


def test_moments_and_percentiles_are_numpys() -> None:
    values = normal(5_000) * 3 + 7
    made = baseline_of("f", values)
    assert made.moments is not None
    unit = (values - values.mean()) / values.std()
    expected = (values.mean(), values.std(ddof=1), (unit**3).mean(), (unit**4).mean() - 3, values.min(), values.max())
    m = made.moments
    found = (m.mean, m.std, m.skewness, m.kurtosis, m.minimum, m.maximum)
    assert found == pytest.approx(expected, rel=1e-9)
    assert made.percentiles == pytest.approx(np.percentile(values, PERCENTILES))


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300])
def test_a_constant_is_known_as_one(value: float) -> None:
    made = baseline_of("f", [value] * 20)
    assert made.constant
    assert made.moments is not None
    assert (made.moments.mean, made.moments.std, made.moments.kurtosis) == (value, 0.0, 0.0)
    assert made.edges == ()
    assert baseline_of("f", ["a"] * 3).constant
    assert not baseline_of("f", ["a", "b"]).constant
    assert not baseline_of("f", []).constant


def test_the_sample_is_exact_up_to_its_bound_and_thinned_evenly_beyond() -> None:
    exact, thinned = baseline_of("f", normal(SAMPLE)), baseline_of("f", normal(10 * SAMPLE))
    assert (exact.thinned, thinned.thinned) == (False, True)
    assert np.array_equal(exact.ordered(), np.sort(normal(SAMPLE)))
    whole = np.sort(normal(10 * SAMPLE))
    kept = thinned.ordered()
    shares = np.searchsorted(whole, kept, side="right") / len(whole)
    assert np.abs(shares - np.arange(1, SAMPLE + 1) / SAMPLE).max() < 1 / SAMPLE


def test_float32_values_are_kept_as_such() -> None:
    narrow = normal(100).astype(np.float32)
    assert baseline_of("f", narrow.astype(np.float64)).precision == "float32"
    assert baseline_of("f", normal(100)).precision == "float64"
    assert baseline_of("f", [1e300, 1.0]).precision == "float64"
    assert len(baseline_of("f", narrow).sample) == 400


def test_values_outside_the_accepted_range_are_counted_and_stay() -> None:
    made = baseline_of("f", [1.0, 5.0, 200.0, -1.0], accepted=(0.0, 100.0))
    assert (made.out_of_range, made.finite) == (2, 4)


@given(
    arrays.arrays(np.float64, st.integers(0, 60), elements=st.floats(width=64)),
    st.one_of(st.none(), st.sampled_from([(-1.0, 1.0)])),
)
def test_any_numbers_make_a_baseline_that_comes_back_from_its_bytes(values: Any, accepted: Any) -> None:
    made = baseline_of("f", values, accepted=accepted, source="x.csv", first_at=1.0, last_at=2.0, created=3.0)
    again = Baseline.decode(made.encode())
    assert again == made
    finite = np.sort(values[np.isfinite(values)])
    assert np.array_equal(again.ordered(), finite)
    assert sum(again.counts) == sum(again.cells) == len(finite)
    for number in (again.moments or 0, again.percentiles):
        assert "nan" not in repr(number)


@given(st.lists(st.one_of(st.text(max_size=3), st.none(), st.floats()), max_size=30))
def test_any_names_make_a_baseline_that_comes_back_from_its_bytes(values: Any) -> None:
    made = baseline_of("f", values, kind="category")
    assert Baseline.decode(made.encode()) == made
    assert sum(made.categories.values()) + made.missing == len(values)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not a baseline"),
        (b"board\x01", "not a baseline"),
        (b"baseline\x63", "version 99"),
        (b"baseline\x01\xc0", "damaged"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, fault: str) -> None:
    with pytest.raises(BaselineError, match=fault):
        Baseline.decode(raw)
