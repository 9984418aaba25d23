"""How many rows weigh as much as one independent row is found again from paths where it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader_monitor.core.models.drift.dependence import (
    dependence_of,
    normal_quantile,
    scores,
    spectrum,
    tau_of,
    tau_within,
)

SAID = json.loads((Path(__file__).parents[3] / "data" / "models" / "drift.json").read_text())["science"]


def autoregression(phi: float, rows: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    values, state = np.empty(rows), random.normal()
    for row, noise in enumerate(random.normal(scale=(1 - phi * phi) ** 0.5, size=rows)):
        state = phi * state + noise
        values[row] = state
    return values


def test_the_normal_quantile_is_scipys() -> None:
    at, expected = SAID["normal_quantile"]
    assert normal_quantile(np.array(at)) == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_scores_of_ties_are_one_score() -> None:
    found, shares = scores(np.array([5.0, 1.0, 5.0, 9.0]))
    assert found == pytest.approx(normal_quantile(np.array([0.5, 0.125, 0.5, 0.875])))
    assert shares.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98])
@pytest.mark.parametrize(
    ("sentence", "seen_as"),
    [
        ("As it is.", lambda x: x),
        ("Any distribution has the same ranks.", lambda x: np.sinh(2 * x)),
        ("Ties are undone: in whole deviations.", np.round),
        ("Ties are undone: a sign.", np.sign),
        ("Ties are undone: a rare event.", lambda x: (x > 1.5) * 1.0),
    ],
)
def test_the_autocorrelation_time_is_found_whatever_it_is_seen_as(phi: float, sentence: str, seen_as: Any) -> None:
    known = (1 + phi) / (1 - phi)
    found = [dependence_of(seen_as(autoregression(phi, 10_000, seed))) for seed in range(6)]
    assert np.mean([each.tau for each in found]) == pytest.approx(known, rel=0.2), sentence
    assert found[0].effective == 10_000 / found[0].tau


def test_rows_that_alternate_are_not_taken_for_more_than_they_are() -> None:
    assert dependence_of(autoregression(-0.8, 5_000, 1)).tau == 1.0


def test_a_few_rows_have_a_dependence_too() -> None:
    assert dependence_of(np.array([1.0, 2.0, 3.0, 1.0, 2.0])).tau >= 1.0


def test_a_walk_is_known_as_one() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=4_000))
    assert dependence_of(walk).effective < 30


@pytest.mark.parametrize("stay", [0.0, 0.5, 0.9])
def test_the_time_of_a_state_that_stays(stay: float) -> None:
    random = np.random.default_rng(5)
    rows = 20_000
    fresh = np.where(random.random(rows) < stay, 0, np.arange(rows))
    states = random.integers(0, 3, rows)[np.maximum.accumulate(fresh)]
    assert tau_of((states == 1) * 1.0) == pytest.approx((1 + stay) / (1 - stay), rel=0.15)


@pytest.mark.parametrize("flags", [[0.0, 1.0], [1.0] * 50])
def test_what_never_changes_or_hardly_began_counts_as_independent(flags: list[float]) -> None:
    assert tau_of(np.array(flags)) == 1.0


def test_within_a_window_less_of_the_time_tells() -> None:
    rho, rows = 0.9, 40
    exact = 1 + 2 * sum((1 - k / rows) * rho**k for k in range(1, rows))
    assert tau_within(19.0, rows) == pytest.approx(exact)
    assert tau_within(1.0, 10) == 1.0


def test_the_spectrum_is_that_of_the_autocovariances() -> None:
    found = np.fft.irfft(spectrum((0.5,), 4096), 4096)
    assert found[:5] / found[0] == pytest.approx(0.5 ** np.arange(5))
