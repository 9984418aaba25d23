"""How far a score fell, and what that is called: severe takes proof."""

from __future__ import annotations

import numpy as np
import pytest

from trader_monitor.core.figure import Figure, Interval, missing, sampled
from trader_monitor.core.models.performance.degradation import Score, changes, judged, scores_of
from trader_monitor.core.models.performance.scores import BinaryCounts

MINE = (("model", "m"), ("version", "1"))
LABELS = (*MINE, ("window", "7d"))
BINARY = (("average", "binary"),)


def f1(value: float, low: float, high: float, n: int = 500) -> Figure:
    return sampled("model_f1_ratio", (*LABELS, *BINARY), value, n, "", Interval(low, high, ""))


def held(value: float = 0.8, low: float | None = None, high: float | None = None) -> Score:
    """Exact without limits."""
    exact = low is None or high is None
    return Score("model_f1_ratio", BINARY, value, value if exact else low, value if exact else high, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sentence", "now", "verdict"),
    [
        ("No change is nothing.", (0.8, 0.75, 0.85), "ok"),
        ("A gain is nothing.", (0.9, 0.85, 0.95), "ok"),
        ("A drop of 2.9 % is nothing.", (0.7768, 0.7, 0.8), "ok"),
        ("A drop of 3.1 % is minor.", (0.7752, 0.7, 0.8), "minor"),
        ("A drop of 4.9 % is minor.", (0.7608, 0.7, 0.8), "minor"),
        ("A drop of 5.1 % is moderate.", (0.7592, 0.7, 0.8), "moderate"),
        ("A drop of 9.9 % is moderate, however sure.", (0.7208, 0.72, 0.722), "moderate"),
        ("A drop of 10.1 % that may be 2.9 % is moderate.", (0.7192, 0.66, 0.7768), "moderate"),
        ("A drop of 10.1 % that is 3.1 % at least is severe.", (0.7192, 0.66, 0.7752), "severe"),
        ("A total loss is severe.", (0.0, 0.0, 0.01), "severe"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".") else "",
)
def test_verdicts(sentence: str, now: tuple[float, float, float], verdict: str) -> None:
    compared = changes([f1(*now)], LABELS, [held()])
    assert judged(compared, 500).verdict == verdict, sentence


def test_the_reason_says_how_far_and_how_sure() -> None:
    severe = judged(changes([f1(0.6, 0.5, 0.7)], LABELS, [held()]), 500)
    assert severe.reason == "f1 25.0 % below its baseline (95 % interval of the drop: 12.5 % to 37.5 %)"
    unproven = judged(changes([f1(0.7, 0.6, 0.8)], LABELS, [held()]), 500)
    assert unproven.verdict == "moderate"
    assert unproven.reason.endswith("; not severe, since less than 3% is not ruled out")
    gained = judged(changes([f1(0.88, 0.8, 0.9)], LABELS, [held()]), 500)
    assert gained.reason.startswith("f1 10.0 % above its baseline")


def test_fewer_than_100_outcomes_give_no_verdict() -> None:
    compared = changes([f1(0.1, 0.0, 0.2)], LABELS, [held()])
    assert judged(compared, 99) == ("insufficient_evidence", "99 of the 100 outcomes that a verdict takes")


def test_a_version_without_a_baseline_gets_no_verdict() -> None:
    assert judged(changes([f1(0.1, 0.0, 0.2)], LABELS, []), 500).verdict == "no_baseline"


def test_a_score_that_is_missing_or_had_no_value_to_lose_gives_no_verdict() -> None:
    gone = missing("model_f1_ratio", (*LABELS, *BINARY), 200, "", "the label up was neither predicted nor seen")
    found = judged(changes([gone], LABELS, [held()]), 200)
    assert found == ("insufficient_evidence", "f1: the label up was neither predicted nor seen")
    (change,) = changes([f1(0.1, 0.0, 0.2)], LABELS, [held(0.0)])
    assert change.drop.reason == "its baseline is 0: there is nothing to lose a share of"


def test_the_deciding_score_comes_first_and_others_are_compared_too() -> None:
    figures = [
        sampled("model_accuracy_ratio", LABELS, 0.9, 200, "", Interval(0.85, 0.95, "")),
        sampled("model_brier_ratio", LABELS, 0.2, 200, "", Interval(0.1, 0.3, "")),
        f1(0.8, 0.7, 0.9),
        sampled("model_roc_auc_ratio", LABELS, 1.0, 200, "", None, open="x"),
    ]
    baseline = scores_of(figures, LABELS)
    assert [score.name for score in baseline] == ["model_accuracy_ratio", "model_f1_ratio", "model_roc_auc_ratio"]
    assert (baseline[2].low, baseline[2].high) == (1.0, 1.0), "no interval: taken as exact"
    compared = changes(figures, LABELS, baseline)
    assert [change.score for change in compared] == ["f1", "accuracy", "roc_auc"]
    assert compared[0].baseline.labels == (*MINE, ("window", "baseline"), *BINARY)
    assert compared[0].drop.name == "model_f1_drop_ratio"
    assert (compared[2].drop.value, compared[2].drop.interval) == (0.0, None)
    assert compared[2].baseline.reason_open == "taken as exact"


def test_severe_by_a_score_without_an_interval_is_moderate() -> None:
    figure = sampled("model_f1_ratio", (*LABELS, *BINARY), 0.1, 200, "", None, open="x")
    assert judged(changes([figure], LABELS, [held()]), 200).verdict == "moderate"


def test_a_baseline_that_may_be_anything_bounds_nothing() -> None:
    (change,) = changes([f1(0.1, 0.0, 0.2)], LABELS, [held(0.1, 0.0, 0.3)])
    assert change.drop.value is not None
    assert change.drop.interval is None


def test_a_sharpe_ratio_may_turn_negative() -> None:
    name, of = "model_strategy_sharpe_ratio", (("strategy", "sign"),)
    figure = sampled(name, (*LABELS, *of), -0.1, 60, "", Interval(-0.35, 0.15, "Lo"))
    (change,) = changes([figure], LABELS, [Score(name, of, 0.2, 0.1, 0.3, 250)])
    assert change.drop.value == pytest.approx(1.5)
    assert change.drop.interval is not None
    half = np.hypot(0.25 / 0.2, 0.1 * 0.1 / 0.04)
    assert change.drop.interval.low == pytest.approx(1.5 - half)


@pytest.mark.parametrize(("baseline_rows", "rows", "fall"), [(500, 100, 0.0), (500, 500, 0.15), (200, 1000, 0.3)])
def test_the_drops_interval_holds_the_true_drop_in_95_percent_of_samples(
    baseline_rows: int, rows: int, fall: float
) -> None:
    random, held_true, samples = np.random.default_rng(12), 0, 1500
    then, now = np.array([0.3, 0.1, 0.1, 0.5]), np.array([0.3, 0.1, 0.1, 0.5])
    now += np.array([-fall * 0.3, fall * 0.1, fall * 0.3, -fall * 0.1])
    true = 1 - share(now) / share(then)
    for _ in range(samples):
        drop = drawn(random, then, now, baseline_rows, rows).drop
        assert drop.interval is not None
        held_true += drop.interval.low <= true <= drop.interval.high
    assert 0.935 <= held_true / samples <= 0.975


def share(cells: np.ndarray) -> float:
    return float(2 * cells[0] / (2 * cells[0] + cells[1] + cells[2]))


def drawn(random: np.random.Generator, then: np.ndarray, now: np.ndarray, baseline_rows: int, rows: int):  # type: ignore[no-untyped-def]
    """One baseline and one window, compared."""
    was, is_ = (BinaryCounts(*random.multinomial(n, p).tolist()) for n, p in ((baseline_rows, then), (rows, now)))
    low, high, _ = was.f1_interval()  # type: ignore[misc]
    figure = sampled("model_f1_ratio", (*LABELS, *BINARY), is_.f1, rows, "", is_.f1_interval())
    return changes([figure], LABELS, [Score("model_f1_ratio", BINARY, was.f1, low, high, baseline_rows)])[0]


@pytest.mark.parametrize(
    ("cells", "naive_least"),
    [((0.3, 0.1, 0.1, 0.5), 0.05), ((0.35, 0.15, 0.15, 0.35), 0.1), ((0.25, 0.2, 0.2, 0.35), 0.15)],
)
def test_quiet_windows_of_100_are_seldom_called_severe_where_the_naive_rule_cries_wolf(
    cells: tuple[float, ...], naive_least: float
) -> None:
    """Nothing changes between a baseline of 500 outcomes and a window of 100."""
    random, samples = np.random.default_rng(13), 2000
    shares = np.array(cells)
    naive = severe = 0
    for _ in range(samples):
        change = drawn(random, shares, shares, 500, 100)
        naive += change.drop.value > 0.1
        severe += judged((change,), 100).verdict == "severe"
    assert naive / samples >= naive_least
    assert severe / samples < 0.05


def test_a_real_collapse_is_called_severe() -> None:
    """F1 falls from 0.75 to 0.5: power at 100 and 300 outcomes."""
    random, samples = np.random.default_rng(14), 500
    then, now = np.array([0.3, 0.1, 0.1, 0.5]), np.array([0.2, 0.2, 0.2, 0.4])
    found = [
        sum(judged((drawn(random, then, now, 500, rows),), rows).verdict == "severe" for _ in range(samples))
        for rows in (100, 300)
    ]
    assert found[0] / samples > 0.85
    assert found[1] / samples > 0.99
