"""Drift: one verdict for each feature and one for all, and no input that aborts it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.quiet_windows import paths
from trader_monitor.core.figure import points
from trader_monitor.core.models.drift.baseline import Baseline, baseline_of
from trader_monitor.core.models.drift.drift import drift, feature_drift
from trader_monitor.core.models.drift.fdr import Online
from trader_monitor.core.models.drift.figures import figures
from trader_monitor.core.models.drift.verdict import REASONS, DriftResult, FeatureDrift, effect_of, severity_of


def normal(rows: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(mean, scale, rows)


def letters(rows: int, seed: int, of: str = "abc") -> Any:
    return np.random.default_rng(seed).choice(list(of), rows).tolist()


@cache
def numbers() -> Baseline:
    return baseline_of("f", normal(4_000, 1))


@cache
def names() -> Baseline:
    return baseline_of("f", letters(4_000, 1))


def sticky(rows: int, stay: int, seed: int) -> Any:
    return np.repeat(letters(rows // stay, seed), stay).tolist()


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NOTHING = baseline_of("f", [math.nan] * 9)
UNCALIBRATED = baseline_of("f", normal(500, 1), calibrated=False)
STAYING = baseline_of("f", sticky(9_000, 60, 1))
RARE = baseline_of("f", letters(4_000, 1, LETTERS))


def one(baseline: Baseline | None, given: Any, **more: Any) -> FeatureDrift:
    table = np.empty((0 if given is None else len(given), 0))
    result = drift(
        {} if baseline is None else {"f": baseline}, table, [], values={} if given is None else {"f": given}, **more
    )
    (found,) = result.features
    return found


@pytest.mark.parametrize(
    ("sentence", "window", "effect", "verdict"),
    [
        ("A quiet window is ok.", normal(1_000, 2), "ok", "ok"),
        ("One moved by a deviation has drifted.", normal(1_000, 2, 1.0), "drift", "drift"),
        ("So has one of twice the width.", normal(1_000, 2, 0.0, 2.0), "drift", "drift"),
        ("A shift that is certain and small is no drift.", normal(4_000, 2, 0.15), "ok", "ok"),
        ("A moderate one is none either.", normal(1_000, 2, 0.42), "moderate", "ok"),
        ("A feature that is stuck has drifted.", np.zeros(1_000), "drift", "drift"),
        (
            "Thirty rows look like drift by chance, which is no evidence.",
            normal(30, 9),
            "drift",
            "insufficient_evidence",
        ),
        ("Ten are too few for a verdict.", normal(10, 2), "drift", "insufficient_evidence"),
    ],
)
def test_drift_needs_effect_and_evidence(sentence: str, window: Any, effect: str, verdict: str) -> None:
    found = one(numbers(), window)
    assert (found.effect, found.verdict) == (effect, verdict), (sentence, found)
    assert (found.reason == "") == (verdict != "insufficient_evidence")


def test_a_quiet_window_of_rows_that_resemble_one_another_is_no_drift() -> None:
    before, after = paths(0.98, "normal", 10_000, 1, 8)[0], paths(0.98, "normal", 100, 12, 9)
    baseline = baseline_of("f", before)
    found = [one(baseline, window) for window in after]
    assert sum(each.effect == "drift" for each in found) >= 10
    assert sum(each.verdict == "drift" for each in found) <= 2
    assert all(each.verdict != "ok" for each in found if each.effect == "drift")


@pytest.mark.parametrize(
    ("sentence", "baseline", "window", "status", "reason"),
    [
        ("It vanished.", numbers(), None, "vanished", "no_column"),
        ("It appeared.", None, [1.0, 2.0], "appeared", "no_baseline"),
        ("A category appeared.", None, ["a"], "appeared", "no_baseline"),
        ("All NaN.", numbers(), [math.nan] * 40, "all_missing", "no_values"),
        ("All null.", numbers(), [None] * 40, "all_missing", "no_values"),
        ("All infinite.", numbers(), [math.inf] * 40, "all_missing", "no_values"),
        ("No row at all.", numbers(), [], "all_missing", "no_values"),
        ("No category at all.", names(), [None] * 40, "all_missing", "no_values"),
        ("Nothing was known before.", NOTHING, [1.0] * 40, "missing_baseline", "no_baseline_values"),
        ("Numbers became names.", numbers(), ["a"] * 40, "kind_changed", "kind_changed"),
        ("Names became numbers.", names(), [1.0, 2.0] * 20, "kind_changed", "kind_changed"),
        ("Too short.", numbers(), normal(29, 1), "short_window", "short_window"),
        ("Too short, of names.", names(), letters(29, 1), "short_window", "short_window"),
        ("A baseline of 50 rows.", baseline_of("f", normal(50, 1)), normal(500, 2), "measured", "few_rows"),
        ("One of 50 names.", baseline_of("f", letters(50, 1)), letters(500, 2), "measured", "few_rows"),
        ("Uncalibrated.", UNCALIBRATED, normal(500, 2), "measured", "uncalibrated"),
        ("A walk.", baseline_of("f", np.cumsum(normal(900, 1))), normal(500, 2), "measured", "dependent"),
        ("Names that stay.", baseline_of("f", sticky(900, 100, 1)), letters(500, 2), "measured", "dependent"),
        ("A window of names that stay.", STAYING, sticky(60, 30, 2), "measured", "dependent_window"),
        ("Names that are all rare.", RARE, letters(40, 1, LETTERS), "measured", "few_categories"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_has_a_name(sentence: str, baseline: Any, window: Any, status: str, reason: str) -> None:
    found = one(baseline, window)
    assert (found.status, found.reason, found.verdict) == (status, reason, "insufficient_evidence"), (sentence, found)
    assert found.p is None
    assert reason in REASONS


@pytest.mark.parametrize(
    ("sentence", "baseline", "window", "status", "verdict", "p"),
    [
        ("It stayed constant.", [3.0] * 900, [3.0] * 40, "constant_baseline", "ok", 1.0),
        ("It moved, as in none of 225 blocks.", [3.0] * 9_000, [4.0] * 40, "constant_baseline", "drift", 1 / 226),
        ("It moved, of two blocks.", [3.0] * 80, [4.0] * 40, "constant_baseline", "insufficient_evidence", 1 / 3),
        ("One category stayed.", ["a"] * 900, ["a"] * 40, "one_category", "ok", 1.0),
        ("One became another.", ["a"] * 9_000, ["b"] * 40, "one_category", "drift", 1 / 226),
        ("Of many one is left.", letters(4_000, 1), ["a"] * 400, "one_category", "drift", 0.0),
        ("Numbers are stuck.", normal(4_000, 1), [0.5] * 400, "constant_window", "drift", 0.0),
    ],
)
def test_what_never_moves(sentence: str, baseline: Any, window: Any, status: str, verdict: str, p: float) -> None:
    found = one(baseline_of("f", baseline), window)
    assert (found.status, found.verdict) == (status, verdict), (sentence, found)
    assert found.p == pytest.approx(p, abs=1e-12)


def test_bins_tell_nothing_of_what_never_moved() -> None:
    """Its one bin holds every value, so that an index of 0 would say that nothing changed where all did."""
    found = one(baseline_of("f", [3.0] * 900), [4.0] * 40)
    assert (found.ks, found.psi, found.jensen_shannon) == (1.0, None, None)


def test_categories_name_what_is_new_and_what_vanished() -> None:
    found = one(names(), letters(500, 3, "abx"))
    assert (found.new, found.vanished, found.verdict, found.degrees) == (("x",), ("c",), "drift", 3)
    assert one(names(), letters(500, 3)).verdict == "ok"
    assert found.histogram is not None
    assert dict(zip(found.histogram.names, found.histogram.after, strict=True))["x"] > 100


def test_more_categories_than_are_kept_do_not_look_new() -> None:
    many = [f"n{n}" for n in range(1_500)] * 2
    found = one(baseline_of("f", many), many[:1_400])
    assert (found.new, found.effect) == ((), "ok")


def test_an_infinity_aborts_nothing_and_is_counted() -> None:
    window = normal(1_000, 2)
    window[:3], window[5:7], window[9] = math.inf, -math.inf, math.nan
    found = one(numbers(), window)
    assert (found.rows, found.infinities, found.nans, found.verdict) == (994, 5, 1, "ok")


def test_missing_values_are_told_apart() -> None:
    window: Any = [*normal(500, 2).tolist(), *([None] * 60), *([math.nan] * 40)]
    found = one(numbers(), window)
    assert (found.nulls, found.nans, found.missing_before, found.missing_changed) == (60, 40, 0.0, True)
    assert found.missing_after == pytest.approx(1 / 6)
    table = np.array([[math.nan], *([[1.0]] * 3), [math.nan]])
    (found,) = drift({"f": numbers()}, table, ["f"], nulls={"f": 1}).features
    assert (found.nulls, found.nans) == (1, 1)


@pytest.mark.parametrize(
    ("sentence", "share", "changed"),
    [("As many as before.", 0.1, False), ("More than chance explains.", 0.3, True), ("A little more.", 0.14, False)],
)
def test_the_share_of_missing_values(sentence: str, share: float, changed: bool) -> None:
    before, after = normal(4_000, 1), normal(800, 2)
    before[np.random.default_rng(3).random(4_000) < 0.1] = math.nan
    after[np.random.default_rng(4).random(800) < share] = math.nan
    found = one(baseline_of("f", before), after)
    assert found.missing_changed == changed, sentence
    assert found.verdict == "ok", "what is there has not moved"


def test_a_missing_stretch_is_not_taken_for_many_missing_rows() -> None:
    before, after = normal(4_000, 1), normal(400, 2)
    for start in range(0, 4_000, 500):
        before[start : start + 60] = math.nan
    after[:80] = math.nan
    found = one(baseline_of("f", before), after)
    assert abs(found.missing_after - found.missing_before) > 0.05
    assert not found.missing_changed


def test_values_outside_the_accepted_range_are_counted() -> None:
    baseline = baseline_of("f", normal(400, 1), accepted=(-3.0, 3.0))
    assert one(baseline, [*normal(100, 2).clip(-2, 2), 5.0, -9.0]).out_of_range == 2


def test_intervals_are_what_quiet_windows_stray_by() -> None:
    found = one(numbers(), normal(1_000, 2, 1.0))
    assert found.ks is not None
    assert found.psi is not None
    assert found.ks_interval is not None
    assert found.psi_interval is not None
    assert found.ks_interval[0] < found.ks < found.ks_interval[1] <= 1.0
    assert found.psi_interval[0] < found.psi < found.psi_interval[1]
    # The distance of two normal distributions one deviation apart.
    assert found.ks_interval[0] < 0.3829 < found.ks_interval[1]


def run(moved: int, of: int, **more: Any) -> DriftResult:
    table = np.column_stack([normal(1_000, 50 + n, 1.0 if n < moved else 0.0) for n in range(of)])
    columns = [f"f{n}" for n in range(of)]
    return drift(dict.fromkeys(columns, numbers()), table, columns, model="m", version="1", **more)


@pytest.mark.parametrize(
    ("sentence", "moved", "more", "severity"),
    [
        ("Nothing drifted.", 0, {}, "none"),
        ("One is moderate.", 1, {}, "moderate"),
        ("A fifth is still moderate.", 2, {}, "moderate"),
        ("More than a fifth is high.", 3, {}, "high"),
        ("So is one that matters.", 1, {"important": {"f0"}}, "high"),
        ("What matters and is quiet raises nothing.", 1, {"important": {"f5"}}, "moderate"),
        ("With performance evidence it is critical.", 1, {"degraded": True}, "critical"),
        ("Performance evidence alone is no drift.", 0, {"degraded": True}, "none"),
        ("Outputs are no share of the features.", 3, {"outputs": {"f0", "f1"}}, "moderate"),
    ],
)
def test_severity(sentence: str, moved: int, more: Any, severity: str) -> None:
    result = run(moved, 10, **more)
    assert result.severity == severity, sentence
    assert result.drifted == moved - len(more.get("outputs", ()))
    assert result.share == pytest.approx(result.drifted / result.tested)


def test_a_moderate_change_with_evidence_is_of_low_severity() -> None:
    assert drift({"f": numbers()}, normal(1_000, 2, 0.42)[:, None], ["f"]).severity == "low"
    (still,) = drift({"f": numbers()}, normal(60, 7)[:, None], ["f"]).features
    assert (still.effect, severity_of([still], 0.05, degraded=False)) == ("moderate", "none"), "that is chance"


@pytest.mark.parametrize(
    ("ks", "psi", "effect"),
    [
        (0.3, 0.0999, "ok"), (0.3001, 0.0, "drift"), (0.0, 0.1, "moderate"), (0.0, 0.2499, "moderate"),
        (0.0, 0.25, "drift"), (None, None, "ok"), (None, 0.3, "drift"),
    ],
)  # fmt: skip
def test_the_thresholds(ks: float | None, psi: float | None, effect: str) -> None:
    assert effect_of(ks, psi) == effect


def test_over_runs_the_level_is_that_of_the_online_rule() -> None:
    first = run(1, 4, online=Online())
    assert 0.0 < first.level < 0.05
    assert first.online == Online(runs=1, discoveries=(1,), first=1)
    quiet = run(0, 4, online=first.online)
    assert quiet.online.runs == 2
    assert run(0, 4).level == 0.05


def test_without_anything_to_judge_nothing_is_said() -> None:
    result = drift({"f": numbers()}, np.empty((0, 0)), [])
    assert (result.severity, result.share, result.tested, result.window) == (None, None, 0, "0 rows")
    assert drift({}, np.empty((3, 0)), []).features == ()


@given(
    st.lists(
        st.one_of(st.none(), st.floats(), st.floats(width=32), st.sampled_from([0.0, 1e300, -1e-300])), max_size=60
    ),
    st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=2)), max_size=60),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_input_aborts_it(before: Any, after: Any, narrow: bool) -> None:
    baseline = baseline_of("f", before, calibrated=False)
    window: Any = after
    if narrow and all(not isinstance(each, str) for each in after):
        with np.errstate(over="ignore"):
            window = np.array([math.nan if each is None else each for each in after]).astype(np.float32)
    found = one(baseline, window)
    assert found.verdict in {"ok", "drift", "insufficient_evidence"}
    for value in (found.ks, found.psi, found.jensen_shannon, found.p):
        assert value is None or math.isfinite(value)
    assert feature_drift(baseline, window, "f").status == found.status


def test_figures_have_convention_size_and_interval() -> None:
    table = np.column_stack([normal(1_000, 1, 1.0), normal(1_000, 2), np.full(1_000, math.nan)])
    baselines = {"a": numbers(), "b": numbers(), "c": numbers(), "gone": numbers(), "n": names()}
    result = drift(
        baselines,
        table,
        ["a", "b", "c"],
        values={"n": letters(1_000, 4)},
        model="m",
        version="2",
        label="7d",
        outputs={"b"},
    )
    found = {(each.name, dict(each.labels).get("feature")): each for each in figures(result)}
    assert all(each.convention for each in found.values())
    assert all((each.value is None) == bool(each.reason) for each in found.values())
    psi = found["model_feature_psi", "a"]
    assert psi.n == 1_000
    assert psi.interval is not None
    assert dict(psi.labels) == {"model": "m", "version": "2", "feature": "a", "role": "feature", "window": "7d"}
    assert dict(found["model_feature_psi", "b"].labels)["role"] == "output"
    assert found["model_feature_drift", "a"].value == 1.0
    assert found["model_feature_drift", "b"].value == 0.0
    assert found["model_feature_drift", "c"].reason == REASONS["no_values"]
    assert ("model_feature_ks_statistic", "n") not in found
    assert found["model_feature_psi", "n"].reason_open
    assert found["model_drift_severity", None].value == 3.0
    assert found["model_features_unusable", None].value == 2.0
    assert found["model_drift_features_ratio", None].value == pytest.approx(1 / 2)
    assert len(list(points(figures(result)))) <= 10 * len(result.features) + 3


def test_figures_of_nothing_are_missing_and_say_so() -> None:
    found = list(figures(drift({"f": numbers()}, np.empty((0, 0)), [], model="m", version="1")))
    assert [each.name for each in found if each.value is not None] == ["model_features_unusable"]
