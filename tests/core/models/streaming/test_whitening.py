"""Whitening: the filter against scipy's answer for the same equations, the cells, and what bounds a value's weight."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.models.streaming.whitening import CELLS, ORDER, Whitening, cells_of, residuals_of, whitening_of


def autoregressive(phi: float, rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(rows)
    for row in range(1, rows):
        values[row] += phi * values[row - 1]
    return values


def fitted(values: np.ndarray) -> Whitening:
    found = whitening_of(values)
    assert isinstance(found, Whitening), found
    return found


@pytest.mark.parametrize("phi", [-0.6, 0.3, 0.5, 0.9, 0.98])
def test_the_filter_is_the_streams_own(phi: float) -> None:
    """The first coefficient is phi within four standard errors, the gain what AR(1) has, the residuals white."""
    values = autoregressive(phi, 20_000, seed=3)
    law = fitted(values)
    assert law.coefficients[0] == pytest.approx(phi, abs=4 * math.sqrt((1 - phi * phi) / 20_000) + 0.02)
    assert law.gain == pytest.approx((1 - phi) / math.sqrt(1 - phi * phi), rel=0.25)
    standard = (values - law.centre) / law.deviation
    residuals = standard[ORDER:] - sum(c * standard[ORDER - lag : -lag] for lag, c in enumerate(law.coefficients, 1))
    for lag in range(1, 8):
        assert abs(np.corrcoef(residuals[lag:], residuals[:-lag])[0, 1]) < 4 / math.sqrt(20_000)


def test_a_stream_without_memory_is_left_as_it_is() -> None:
    """Of 200 of 1,000 independent rows most have no filter at all, and a gain of 1."""
    gains = [fitted(np.random.default_rng(seed).standard_normal(1_000)).gain for seed in range(200)]
    assert np.mean(np.abs(np.asarray(gains) - 1.0) < 1e-2) > 0.75
    assert np.std(gains) < 0.07


def test_five_predecessors_are_enough_for_a_season_of_five() -> None:
    """x(t) = 0.6 x(t - 5) + e(t): the fifth coefficient is found, and only it is large."""
    values = np.random.default_rng(5).standard_normal(5_000)
    for row in range(5, len(values)):
        values[row] += 0.6 * values[row - 5]
    law = fitted(values)
    assert law.coefficients[4] == pytest.approx(0.6, abs=0.05)
    assert np.abs(law.coefficients[:4]).max() < 0.06


def test_a_random_walk_has_no_level_to_watch() -> None:
    """Of 200 walks nearly all are refused, also where noise is added to them; of streams with phi 0.9 none."""
    rng = np.random.default_rng(9)
    walks = np.cumsum(rng.standard_normal((1_000, 200)), axis=0)
    for values, most in ((walks, 0.93), (walks + 2 * rng.standard_normal(walks.shape), 0.7)):
        refused = [found for column in values.T if isinstance(found := whitening_of(column), str)]
        assert len(refused) >= most * 200
        assert all("random walk" in why for why in refused)
    for seed in range(50):
        assert isinstance(whitening_of(autoregressive(0.9, 500, seed=seed)), Whitening)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 1_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_cell_is_found_as_a_search_finds_it(rows: int, features: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.standard_normal((features, CELLS - 1)), axis=1)
    residuals = rng.standard_normal((rows, features)) * 2
    if ties:
        edges, residuals = np.round(edges, 1), np.round(residuals, 1)
    found = cells_of(residuals, edges)
    for at in range(features):
        wanted = np.searchsorted(edges[at], residuals[:, at], side="right") + at * CELLS
        assert found[:, at].tolist() == wanted.tolist()


@given(st.integers(0, 10_000), st.sampled_from(["normal", "lognormal", "ties", "two clouds"]))
@settings(max_examples=40, deadline=None)
def test_scores_grow_are_bounded_and_have_no_mean(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(600)
    if kind == "lognormal":
        values = np.exp(2 * values)
    if kind == "ties":
        values = np.where(values < 0.3, 0.0, np.round(values, 1) + rng.integers(0, 30, 600))
    if kind == "two clouds":
        values += 50 * rng.integers(0, 2, 600)
    law = fitted(values)
    counts, scores = np.asarray(law.counts), law.scores()
    assert counts.sum() == law.rows - ORDER
    assert abs(counts @ scores) / counts.sum() < 1e-12
    assert (np.diff(scores[counts > 0]) > 0).all()
    assert np.abs(scores).max() < 3.4
    assert counts @ scores**2 / counts.sum() < 1.0


def test_scores_are_the_normal_distributions_means() -> None:
    """64 cells of equal mass: the last is worth 64 times the density at the 63/64 quantile."""
    law = fitted(np.random.default_rng(0).standard_normal(64 * 100 + ORDER))
    assert set(law.counts) == {100}
    normal = NormalDist()
    assert law.scores()[-1] == pytest.approx(64 * normal.pdf(normal.inv_cdf(63 / 64)), rel=1e-12)
    assert law.scores()[32] == pytest.approx(64 * (normal.pdf(0.0) - normal.pdf(normal.inv_cdf(33 / 64))), rel=1e-9)


def test_the_law_does_not_ask_in_which_units() -> None:
    """Euros or cents, from another zero: the same cells for the same values."""
    values = autoregressive(0.5, 800)
    mine, other = fitted(values), fitted(1e6 + 100.0 * values)
    assert other.counts == mine.counts
    assert other.coefficients == pytest.approx(mine.coefficients, abs=1e-7)
    assert other.gain == pytest.approx(mine.gain, rel=1e-7)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_value_that_is_often_the_same_stays_in_its_cell(share: float) -> None:
    """Zeros among lognormal rows: the stream's own rows are in the cells in which the baseline counted them."""
    rng = np.random.default_rng(4)
    values = np.where(rng.random(5_000) < share, 0.0, np.exp(rng.standard_normal(5_000)))
    values[1:] += 0.3 * values[:-1]
    law = fitted(values)
    assert any(law.coefficients)
    standard = ((np.clip(values, law.low, law.high) - law.centre) / law.deviation)[:, None]
    residuals = residuals_of(standard, np.asarray(law.coefficients)[:, None])
    cells = cells_of(residuals, np.asarray(law.edges)[None])
    assert np.bincount(cells[:, 0], minlength=CELLS).tolist() == list(law.counts)


def test_what_is_not_finite_is_left_out() -> None:
    values = autoregressive(0.5, 800)
    holed = np.insert(values, [0, 3, 3, 700], [np.nan, np.inf, -np.inf, np.nan])
    assert fitted(holed) == fitted(values)
