"""Threshold: an e-detector's ratios may not gain on the baseline, and the price of an estimated one."""

from __future__ import annotations

import numpy as np
import pytest

from trader_monitor.core.models.streaming.threshold import (
    EVERY,
    SHIFTS,
    WEIGHTS,
    costs,
    laws_of,
    ratios,
    shifts,
    threshold,
    zone,
)
from trader_monitor.core.models.streaming.whitening import CELLS, Whitening, whitening_of


def law(rows: int = 1_000, phi: float = 0.0, seed: int = 0) -> Whitening:
    values = np.random.default_rng(seed).standard_normal(rows)
    for row in range(1, rows):
        values[row] += phi * values[row - 1]
    found = whitening_of(values)
    assert isinstance(found, Whitening)
    return found


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.5])
def test_no_component_gains_on_the_baseline(phi: float) -> None:
    """A mean ratio of at most 1 is what makes the sum less the time a supermartingale; here less by the dead zone."""
    mine = law(phi=phi)
    mass = np.asarray(mine.counts) / sum(mine.counts)
    means = ratios(mine, EVERY) @ mass
    np.testing.assert_allclose(means, np.exp(-np.abs(shifts(mine)) * zone(mine.rows, EVERY)), rtol=1e-12)
    assert (means < 1.0).all()


def test_the_threshold_is_the_promise_less_the_overshoot() -> None:
    """Between half of it and all of it, and in proportion to it."""
    assert WEIGHTS.sum() == pytest.approx(1.0)
    for phi in (0.0, 0.9):
        assert 0.6 * EVERY < threshold(law(phi=phi), EVERY) < EVERY
        assert threshold(law(phi=phi), 5 * EVERY) == pytest.approx(5 * threshold(law(phi=phi), EVERY))
    assert threshold(law(), EVERY) < threshold(law(phi=0.9), EVERY), "shorter steps overshoot less"


def test_components_step_as_a_level_shift_moves_the_residual() -> None:
    """By the gain, within its limits: nothing above 1, whatever a stream that reverts would give."""
    assert np.abs(shifts(law(rows=50_000))) == pytest.approx(SHIFTS, rel=0.02)
    assert np.abs(shifts(law(rows=50_000, phi=0.9))) == pytest.approx(SHIFTS * 0.229, rel=0.1)
    assert np.abs(shifts(law(phi=-0.8))) == pytest.approx(SHIFTS)
    assert np.abs(shifts(law(rows=20_000, phi=0.995))) == pytest.approx(SHIFTS * 0.1)


@pytest.mark.parametrize(
    ("fewer", "more"),
    [((10_000, EVERY), (1_000, EVERY)), ((1_000, EVERY), (500, EVERY)), ((1_000, EVERY), (1_000, 100 * EVERY))],
)
def test_the_dead_zone_grows_with_what_is_not_known(fewer: tuple[int, float], more: tuple[int, float]) -> None:
    assert zone(*fewer) < zone(*more)


def test_the_dead_zone_is_more_than_the_means_standard_error() -> None:
    assert zone(1_000, 1_000) == zone(1_000, EVERY) > 1 / np.sqrt(1_000)
    assert zone(10_000_000, EVERY) == zone(20_000, EVERY) > 0.009, "no baseline knows the law"
    assert zone(500, EVERY) > np.sqrt(2) * zone(1_000, EVERY), "below 1,000 rows faster than the mean's error"


def test_laws_are_stacked_stream_by_stream() -> None:
    both = law(seed=1), law(seed=2, phi=0.5)
    stacked = laws_of(both, EVERY)
    for at, mine in enumerate(both):
        assert stacked.coefficients[:, at].tolist() == list(mine.coefficients)
        assert stacked.edges[at].tolist() == list(mine.edges)
        assert stacked.scores[at * CELLS : (at + 1) * CELLS].tolist() == mine.scores().tolist()
        assert stacked.ratios[at * CELLS : (at + 1) * CELLS].T.tolist() == ratios(mine, EVERY).tolist()
        assert stacked.prices[:, at].tolist() == costs(mine, EVERY).tolist()
