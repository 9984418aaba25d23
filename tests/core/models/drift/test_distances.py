"""Distances are scipy's to 1e-12, and no bad tick hides a shift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trader_monitor.core.models.drift.baseline import SAMPLE, baseline_of
from trader_monitor.core.models.drift.distances import (
    Reference,
    bin_counts,
    finite_part,
    jensen_shannon,
    kolmogorov_smirnov,
    ks_and_psi,
    population_stability,
    reference_of,
    wasserstein,
)

SAID = json.loads((Path(__file__).parents[3] / "data" / "models" / "drift.json").read_text())


def reference(values: Any, precision: Any = np.float64) -> Reference:
    return reference_of(baseline_of("f", np.asarray(values), calibrated=False), precision)


def by_definition(first: Any, second: Any) -> float:
    """The largest difference over all values, counted one by one."""
    at = np.concatenate((first, second))
    shares = [(each[None, :] <= at[:, None]).mean(axis=1) for each in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


@pytest.mark.parametrize("pair", SAID["science"]["pairs"], ids=lambda pair: pair["name"])
def test_the_distances_are_scipys(pair: Any) -> None:
    first, second = np.array(pair["first"]), np.sort(np.array(pair["second"]))
    assert kolmogorov_smirnov(reference(first), second) == pytest.approx(pair["ks"], abs=1e-12)
    assert wasserstein(np.sort(first), second) == pytest.approx(pair["wasserstein"], rel=1e-12, abs=1e-12)


FEW = arrays.arrays(np.float64, st.integers(1, 90), elements=st.integers(-9, 9).map(float))
ANY = arrays.arrays(np.float64, st.integers(1, 90), elements=st.floats(allow_nan=False, allow_infinity=False))


@given(st.one_of(FEW, ANY), st.one_of(FEW, ANY))
def test_the_statistic_is_that_of_every_value(first: Any, second: Any) -> None:
    found = kolmogorov_smirnov(reference(first), np.sort(second))
    assert found == pytest.approx(by_definition(first, second), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.5, 5.0])
@pytest.mark.parametrize("digits", [1, 2, 12])
def test_brackets_lose_nothing_of_many_rows(shift: float, digits: int) -> None:
    random = np.random.default_rng([3, digits])
    first = np.round(random.normal(size=3_000), digits)
    second = np.sort(np.round(random.normal(shift, 1.0, size=2_500), digits))
    at = np.unique(np.concatenate((first, second)))
    shares = [np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (first, second)]
    assert kolmogorov_smirnov(reference(first), second) == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=1e-12)


def test_a_thinned_baseline_moves_the_statistic_by_less_than_its_step() -> None:
    random = np.random.default_rng(4)
    first, second = random.normal(size=5 * SAMPLE), np.sort(random.normal(0.3, 1.0, size=2_000))
    at = np.concatenate((first, second))
    shares = [np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (first, second)]
    exact = float(np.abs(shares[0] - shares[1]).max())
    assert abs(kolmogorov_smirnov(reference(first), second) - exact) <= 1 / SAMPLE


@pytest.mark.parametrize("digits", [1, 3, 15])
def test_what_float32_keeps_ties_with_what_it_was(digits: int) -> None:
    """0.1 is not the float32 next to it; a baseline from a file meets rows that were kept."""
    values = np.round(np.random.default_rng(6).normal(size=4_000), digits)
    known = reference(values, np.float32)
    kept = np.sort(values.astype(np.float32))
    assert kolmogorov_smirnov(known, kept) == 0.0
    assert population_stability(known.counts, bin_counts(kept, known.edges)) == 0.0


def test_a_thinned_baseline_is_compared_as_float32_too() -> None:
    values = np.random.default_rng(7).normal(size=2 * SAMPLE)
    known = reference(values, np.float32)
    assert known.ordered.dtype == np.float32
    assert known.counts.sum() == len(values)
    assert kolmogorov_smirnov(known, np.sort(values.astype(np.float32))) <= 1 / SAMPLE


def test_values_beyond_float32_become_its_largest_and_abort_nothing() -> None:
    known = reference(np.array([1e300, -1e300, 0.5, 0.1]), np.float32)
    assert kolmogorov_smirnov(known, np.array([0.1, 0.5], dtype=np.float32)) == pytest.approx(0.25)


@pytest.mark.parametrize("table", SAID["science"]["tables"])
def test_jensen_shannon_is_scipys(table: Any) -> None:
    before, after = np.array(table["counts"])
    assert jensen_shannon(before, after) == pytest.approx(table["jensen_shannon"], abs=1e-12)


@pytest.mark.parametrize(
    ("sentence", "before", "after", "expected"),
    [
        ("Equal shares are at no distance.", [10, 20], [100, 200], 0.0),
        ("The textbook's index, where nothing is empty.", [50, 50], [80, 20], 0.3 * np.log(1.6) - 0.3 * np.log(0.4)),
        ("An empty bin counts as half a row.", [50, 50], [100, 0], 0.5 * np.log(2) - 0.495 * np.log(0.01)),
        ("So it does where it was empty before.", [100, 0], [50, 50], 0.495 * np.log(100) - 0.5 * np.log(0.5)),
        ("A bin that nobody uses is left out.", [50, 0, 50], [5, 0, 5], 0.0),
    ],
)
def test_population_stability(sentence: str, before: list[int], after: list[int], expected: float) -> None:
    assert population_stability(np.array(before), np.array(after)) == pytest.approx(expected), sentence


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=9))
def test_distances_of_counts_keep_to_their_range(pairs: Any) -> None:
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    if not before.any() or not after.any():
        return
    assert -1e-12 <= population_stability(before, after) < 100.0
    assert 0.0 <= jensen_shannon(before, after) <= 1.0
    assert jensen_shannon(before, after) == pytest.approx(jensen_shannon(after, before))


def test_one_bad_tick_does_not_hide_a_shift() -> None:
    """Evidently bins over the range of both sides: 1e4 among 10,000 rows takes its index from 0.94 to 0.019.

    Both estimate the same divergence (1 for this shift) in other bins, so they agree in size and not in digits:
    equal widths over both sides there, the baseline's deciles here. NannyML has no stability index.
    """
    said = SAID["evidently"]
    assert said["clean"] > 0.9
    assert said["one_bad_tick"] < 0.02
    random = np.random.default_rng(5)
    before, after = random.normal(size=10_000), random.normal(1.0, 1.0, 10_000)
    bad = after.copy()
    bad[5000] = 1e4
    for first in (before, np.where(np.arange(10_000) == 77, 1e4, before)):
        known = reference(first)
        (ks, psi), (ks_bad, psi_bad) = (
            (float(found[0]) for found in ks_and_psi([known], side[:, None])) for side in (after, bad)
        )
        assert psi > 0.85
        assert abs(psi_bad - psi) < 0.01
        assert abs(ks_bad - ks) <= 1.5e-4


@pytest.mark.parametrize(
    ("sentence", "values", "expected"),
    [
        ("What is finite stays.", [1.0, 2.0], [1.0, 2.0]),
        ("Infinities go at both ends.", [-np.inf, 0.0, np.inf], [0.0]),
        ("NaN goes.", [0.0, 1.0, np.nan, np.nan], [0.0, 1.0]),
        ("Nothing may be left.", [-np.inf, np.inf, np.nan], []),
        ("Nothing may be given.", [], []),
    ],
)
def test_the_finite_part_of_what_is_ordered(sentence: str, values: list[float], expected: list[float]) -> None:
    assert finite_part(np.sort(np.array(values))).tolist() == expected, sentence


def test_a_table_is_measured_column_by_column() -> None:
    random = np.random.default_rng(8)
    before, after = random.normal(size=(2, 500, 3))
    after[:, 1] = np.nan
    after[:50, 2] = np.inf
    ks, psi = ks_and_psi([reference(before[:, column]) for column in range(3)], after)
    assert ks[0] == kolmogorov_smirnov(reference(before[:, 0]), np.sort(after[:, 0]))
    assert np.isnan(ks[1])
    assert np.isnan(psi[1])
    assert ks[2] == kolmogorov_smirnov(reference(before[:, 2]), np.sort(after[50:, 2]))


def test_the_area_between_extremes_is_finite_where_it_can_be() -> None:
    assert wasserstein(np.array([-1e308]), np.array([1e308])) == np.inf
    assert wasserstein(np.array([-8e307]), np.array([8e307])) == pytest.approx(1.6e308)
