"""Chi-square is scipy's; runs of one category are not counted once per row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader_monitor.core.models.drift.categories import aligned, chi_square_exceeded, homogeneity, unseen
from trader_monitor.core.models.drift.dependence import tau_of

SAID = json.loads((Path(__file__).parents[3] / "data" / "models" / "drift.json").read_text())["science"]


@pytest.mark.parametrize("table", SAID["tables"])
def test_chi_square_of_independent_rows_is_scipys(table: Any) -> None:
    counts = np.array(table["counts"])
    found = homogeneity(counts, np.ones(counts.shape[1]))
    assert found is not None
    assert (found.chi_square, found.degrees) == pytest.approx((table["chi_square"], table["degrees"]), rel=1e-12)
    assert found.design_effect == pytest.approx(1.0)
    assert found.p == pytest.approx(table["p"], rel=1e-9)


@pytest.mark.parametrize(("value", "degrees", "expected"), SAID["chi_square_exceeded"])
def test_the_tail_is_scipys(value: float, degrees: int, expected: float) -> None:
    assert chi_square_exceeded(value, degrees) == pytest.approx(expected, rel=1e-10)


def test_categories_are_aligned() -> None:
    names, counts = aligned({"a": 3, "b": 1}, {"c": 2, "a": 1})
    assert (names, counts.tolist()) == (["a", "b", "c"], [[3, 1, 0], [1, 0, 2]])


@pytest.mark.parametrize(
    ("sentence", "counts", "degrees"),
    [
        ("Rare ones are taken together.", [[500, 400, 40, 40], [50, 40, 4, 3]], 2),
        ("Too rare even together, they go to the smallest other.", [[500, 450, 3, 2], [50, 45, 0, 0]], 1),
        ("A new one is kept for itself.", [[600, 400, 0], [50, 30, 20]], 2),
        ("Without two of them there is no test.", [[1000, 3], [100, 0]], None),
        ("All too rare is no test.", [[3, 2], [0, 1]], None),
        ("All rare and enough together is one, so no test.", [[10] * 30, [1] * 30], None),
    ],
)
def test_rare_categories(sentence: str, counts: list[list[int]], degrees: int | None) -> None:
    found = homogeneity(np.array(counts), np.ones(len(counts[0])))
    assert (found.degrees if found is not None else None) == degrees, sentence


@pytest.mark.parametrize("stay", [0.0, 0.9])
def test_states_that_stay_are_cried_over_in_a_twentieth_of_quiet_windows(stay: float) -> None:
    """The textbook's test does so in more than half of them."""
    random = np.random.default_rng(11)
    told, textbook = [], []
    for _ in range(60):
        before = chain(random, 6_000, stay)
        taus = np.array([tau_of((before == kind) * 1.0) for kind in range(4)])
        for _ in range(4):
            counts = np.array([np.bincount(each, minlength=4) for each in (before, chain(random, 500, stay))])
            found = homogeneity(counts, taus)
            assert found is not None
            told.append(found.p <= 0.05)
            textbook.append(chi_square_exceeded(found.chi_square, found.degrees) <= 0.05)
    assert 0.01 <= np.mean(told) <= 0.10
    assert stay == 0.0 or np.mean(textbook) > 0.5


def test_a_category_seen_in_few_runs_is_taken_to_stay_as_long_as_the_others() -> None:
    counts = np.array([[5_000, 4_900, 100], [480, 480, 40]])
    alone, unknown = (homogeneity(counts, np.array([30.0, 30.0, tau])) for tau in (29.9, 1.0))
    assert alone is not None
    assert unknown == pytest.approx(alone, rel=0.02)


def chain(random: Any, rows: int, stay: float) -> Any:
    fresh = np.where(random.random(rows) < stay, 0, np.arange(rows))
    return random.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])[np.maximum.accumulate(fresh)]


def test_what_no_block_had() -> None:
    assert unseen(10_000, 100) == pytest.approx(1 / 101)
    assert unseen(50, 100) == 1.0
