"""Calibration of confidences: against scikit-learn, and Murphy's decomposition against the score itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.environments import run
from trader_monitor.core.figure import Figure
from trader_monitor.core.statistics.rolling import Cell
from trader_monitor.core.trading.agents.calibration import bins_of, calibration_figures, judge

ORACLE = Path(__file__).parents[3] / "oracles" / "calibration.py"
JUDGED = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=80)


def cell_of(judged: list[tuple[float, bool]]) -> Cell:
    cell: Cell = {}
    for confidence, right in judged:
        judge(cell, confidence, right)
    return cell


def figures(cell: Cell) -> dict[str, Figure]:
    return {
        "/".join((figure.name, *(value for _, value in figure.labels))): figure
        for figure in calibration_figures((), cell)
    }


@pytest.mark.real
def test_it_is_scikit_learn_s() -> None:
    random = np.random.default_rng(7)
    confidence = np.round(random.beta(4, 2, 500), 4)
    correct = random.random(500) < 0.6 * confidence + 0.1
    judged = [(float(p), bool(right)) for p, right in zip(confidence, correct, strict=True)]
    oracle = json.loads(run("science", ORACLE, json.dumps(judged)))
    found = figures(cell_of(judged))
    assert found["agent_brier_score"].value == pytest.approx(oracle["brier"], abs=1e-12)
    bins = bins_of(cell_of(judged))
    assert [each.correct / each.n for each in bins] == pytest.approx(oracle["accuracy"], abs=1e-12)
    assert [each.confidence for each in bins] == pytest.approx(oracle["confidence"], abs=1e-12)
    error = sum(
        each.n / 500 * abs(accuracy - mean)
        for each, accuracy, mean in zip(bins, oracle["accuracy"], oracle["confidence"], strict=True)
    )
    assert found["agent_calibration_error_ratio"].value == pytest.approx(error, abs=1e-12)


@given(JUDGED)
@settings(max_examples=100, deadline=None)
def test_the_components_add_up_to_the_score(judged: list[tuple[float, bool]]) -> None:
    """By their definitions in the literature, on the raw decisions; what varies within the bins makes the rest."""
    found = figures(cell_of(judged))
    p, o = np.array([c for c, _ in judged]), np.array([float(right) for _, right in judged])
    which = np.searchsorted(np.arange(1, 10) * 0.1, p)
    reliability = resolution = within = 0.0
    for k in range(10):
        inside = which == k
        if inside.any():
            pk, ok = p[inside], o[inside]
            reliability += inside.mean() * (pk.mean() - ok.mean()) ** 2
            resolution += inside.mean() * (ok.mean() - o.mean()) ** 2
            within += (np.sum((pk - pk.mean()) ** 2) - 2 * np.sum((pk - pk.mean()) * (ok - ok.mean()))) / len(p)
    uncertainty = o.mean() * (1 - o.mean())
    for name, value in (
        ("reliability", reliability),
        ("resolution", resolution),
        ("uncertainty", uncertainty),
        ("within_bins", within),
    ):
        assert found[f"agent_brier_component/{name}"].value == pytest.approx(value, abs=1e-9), name
    assert found["agent_brier_score"].value == pytest.approx(np.mean((p - o) ** 2), abs=1e-12)


@given(JUDGED)
@settings(max_examples=50, deadline=None)
def test_each_bin_has_its_decisions_and_wilson_s_interval(judged: list[tuple[float, bool]]) -> None:
    bins = bins_of(cell_of(judged))
    assert sum(each.n for each in bins) == len(judged)
    found = figures(cell_of(judged))
    for each in bins:
        assert each.upper - 0.1 - 1e-9 <= each.confidence <= each.upper + 1e-9
        accuracy = found[f"agent_calibration_accuracy_ratio/{each.upper:g}"]
        interval = stats.binomtest(each.correct, each.n).proportion_ci(method="wilson")
        assert accuracy.interval is not None
        assert accuracy.interval[:2] == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert found[f"agent_calibration_confidence_ratio/{each.upper:g}"].value == each.confidence


def test_the_brier_score_has_student_s_interval() -> None:
    judged = [(0.9, True), (0.8, True), (0.7, False), (0.55, True), (0.95, False)]
    scores = [(p - right) ** 2 for p, right in judged]
    low, high = stats.t.interval(0.95, 4, np.mean(scores), stats.sem(scores))
    interval = figures(cell_of(judged))["agent_brier_score"].interval
    assert interval is not None
    assert interval[:2] == pytest.approx((low, high), rel=1e-4)


@pytest.mark.parametrize(
    ("sentence", "confidence", "upper"),
    [
        ("nothing is in the first bin", 0.0, 0.1),
        ("an edge belongs to the bin below it", 0.5, 0.5),
        ("above it is the next", math.nextafter(0.5, 1.0), 0.6),
        ("certainty is in the last", 1.0, 1.0),
    ],
)
def test_edges(sentence: str, confidence: float, upper: float) -> None:
    (found,) = bins_of(cell_of([(confidence, True)]))
    assert found.upper == upper, sentence


@pytest.mark.parametrize(
    ("sentence", "judged", "reason"),
    [
        ("nothing was judged", [], "no decision told both its confidence and its outcome in this window"),
        ("confidences in percent", [(85.0, True), (-1.0, False)], "2 confidences are not between 0 and 1"),
    ],
)
def test_what_is_missing_says_why(sentence: str, judged: list[tuple[float, bool]], reason: str) -> None:
    found = figures(cell_of(judged))
    assert list(found) == ["agent_brier_score", "agent_calibration_error_ratio"], sentence
    assert {(figure.value, figure.reason) for figure in found.values()} == {(None, reason)}, sentence
