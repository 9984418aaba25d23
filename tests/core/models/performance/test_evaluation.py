"""A model version from its predictions and outcomes to a verdict, over the weeks of its life."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from tests.core.models.rows import NAN, came, outcomes, predictions, said
from trader_monitor.core.figure import Figure
from trader_monitor.core.models.performance.evaluation import evaluate
from trader_monitor.core.models.performance.given import Given
from trader_monitor.core.models.performance.memory import Criteria, Memory
from trader_monitor.core.models.performance.outcomes import Outcomes, Predictions, join
from trader_monitor.core.models.performance.performance import PerformanceResult, WindowResult
from trader_monitor.core.models.performance.returns import DAY

HOUR = 3600.0


class Life:
    """A version that predicts up or down 100 times a day, due an hour later; from a day on the world is turned."""

    def __init__(self, days: int, turned: float = 1e9, seed: int = 1, coverage: float = 1.0, **more: Any) -> None:
        random = np.random.default_rng(seed)
        n = 100 * days
        at = np.sort(random.random(n)) * days * DAY
        chance = random.random(n)
        up = random.random(n) < np.where(at < turned * DAY, chance, 1.0 - chance)
        none: list[Any] = [None] * n
        self.predictions = Predictions(
            [f"p{place}" for place in range(n)],
            ["bot"] * n,
            ["1"] * n,
            [f"S{place % 100}" for place in range(n)],
            at,
            np.full(n, HOUR),
            ["up" if each > 0.5 else "down" for each in chance],
            none,
            chance,
        )
        here = random.random(n) < coverage
        self.outcomes = Outcomes(
            [f"p{place}" for place in range(n) if here[place]],
            ["bot"] * int(here.sum()),
            ["m"] * int(here.sum()),
            none[: int(here.sum())],
            none[: int(here.sum())],
            np.full(int(here.sum()), NAN),
            at[here] + HOUR + 60.0,
            at[here] + HOUR + 60.0,
            ["up" if each else "down" for each in up[here]],
        )
        self.joined = join(self.predictions, self.outcomes)
        self.memory: Memory | None = None
        self.criteria = Criteria(**more)

    def on(self, day: float) -> PerformanceResult:
        found = evaluate("m", "1", self.predictions, self.outcomes, self.joined, day * DAY, self.criteria, self.memory)
        self.memory = found.memory
        raw = msgspec.msgpack.encode(found.result)
        assert msgspec.msgpack.decode(raw, type=PerformanceResult) == found.result, "it comes back from its bytes"
        if self.memory is not None:
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(self.memory), type=Memory) == self.memory
        return found.result


def figure(of: WindowResult, name: str, **labels: str) -> Figure:
    (found,) = [each for each in of.figures if each.name == name and labels.items() <= dict(each.labels).items()]
    return found


def test_a_version_from_its_first_day_to_its_end() -> None:
    life = Life(60, turned=40)
    young = life.on(4)
    assert (young.verdict, young.severity, young.concept) == ("no_baseline", None, None)
    assert young.windows[0].reason == "the baseline performance is that of the first 500 outcomes"
    assert young.baseline is None
    assert [each.action for each in young.recommendations] == ["set a baseline"]
    fresh = life.on(5.5)
    assert fresh.verdict == "insufficient_evidence", "what made the baseline is not compared with it"
    assert fresh.baseline is not None
    assert fresh.baseline.provenance == "the first 500 outcomes of the version"
    assert fresh.baseline.until is not None
    assert [each.action for each in fresh.recommendations] == ["wait"]
    for day in (10, 20, 30, 39):
        quiet = life.on(day)
        assert quiet.verdict in ("ok", "minor"), day
        assert quiet.baseline == fresh.baseline, "it is taken once"
        assert quiet.concept is not None
        assert not quiet.concept.drifted
    estimated = {each.name: each.value for each in life.on(39).estimates}
    life.on(40)
    bad = life.on(43)
    week, month, quarter = bad.windows
    assert (week.verdict, bad.verdict, bad.severity) == ("severe", "severe", 3)
    assert figure(week, "model_degradation_severity").value == 3.0
    drop = figure(week, "model_f1_drop_ratio")
    assert drop.value is not None
    assert drop.interval is not None
    assert drop.value > 0.1
    assert drop.interval.low > 0.03
    assert week.changes[0].score == "f1"
    assert quarter.verdict in ("ok", "minor"), "three days in ninety"
    assert bad.concept is not None
    assert bad.concept.drifted
    assert bad.concept.at is not None
    assert 40 < bad.concept.at / DAY < 41.5
    assert [each.action for each in bad.recommendations] == ["roll back", "retrain"]
    later = life.on(60)
    assert later.concept is not None
    assert later.concept.at == bad.concept.at
    assert [window.verdict for window in later.windows] == ["severe"] * 3
    for each in later.estimates:
        assert each.value == pytest.approx(estimated[each.name], abs=0.05), "blind to a turned world, as they say"
        assert dict(each.labels)["window"] == "7d"
    assert later.task == "binary"
    assert later.subjects == 100
    assert month.labels.joined == month.labels.predictions == figure(month, "model_coverage_ratio").n
    assert "positive label up; probability read as the positive label's" in later.remarks


def test_every_figure_has_its_convention_and_a_value_or_a_reason() -> None:
    life = Life(12)
    names = set()
    for result in (life.on(3), life.on(12)):
        for window in result.windows:
            for each in window.figures:
                names.add(each.name)
                assert dict(each.labels)["window"] == window.window
                assert each.convention
                assert (each.value is None) == bool(each.reason)
                assert each.measured or each.value is None or each.interval is not None or each.reason_open
    assert {"model_f1_ratio", "model_degradation_severity", "model_coverage_ratio", "model_labels"} <= names
    assert {"model_label_delay_seconds", "model_roc_auc_ratio", "model_f1_drop_ratio"} <= names


def test_label_delay_and_coverage_are_measured() -> None:
    week = Life(12, coverage=0.4).on(12).windows[0]
    coverage = figure(week, "model_coverage_ratio")
    assert coverage.value == pytest.approx(week.labels.joined / week.labels.predictions)
    assert coverage.value == pytest.approx(0.4, abs=0.06)
    assert figure(week, "model_label_delay_seconds", quantile="0.5").value == pytest.approx(60.0)
    assert figure(week, "model_label_delay_seconds", quantile="0.95").value == pytest.approx(60.0)
    actions = [each.action for each in Life(12, coverage=0.4).on(12).recommendations]
    assert actions[-1] == "collect labels"


def test_the_evidence_takes_every_outcome_once_however_often_it_is_looked_at() -> None:
    often, once = Life(20), Life(20)
    for life in (often, once):
        life.on(6)
    for day in np.linspace(6, 20, 60):
        seldom = often.on(float(day))
    assert seldom.concept is not None
    whole = once.on(20).concept
    assert whole is not None
    assert (seldom.concept.evidence.n, whole.evidence.n) == (once.memory.evidence.seen,) * 2  # type: ignore[union-attr]
    assert seldom.concept.evidence.value == pytest.approx(whole.evidence.value, rel=1e-9)


def test_outcomes_that_are_recorded_late_are_evidence_when_they_come() -> None:
    life = Life(20)
    recorded = life.outcomes.recorded.copy()
    recorded[recorded > 10 * DAY] = 19.5 * DAY
    life.outcomes = life.outcomes._replace(recorded=recorded)
    before, after = life.on(19).concept, life.on(20).concept
    assert before is not None
    assert after is not None
    assert after.evidence.n - before.evidence.n > 800
    fresh = life.on(20).concept
    assert fresh is not None
    assert fresh.evidence.n == after.evidence.n


def test_given_numbers_take_the_place_of_the_first_outcomes() -> None:
    life = Life(6, given=Given(scores={"f1": 0.95}, n=2000, provenance="validation of 2026-10"))
    result = life.on(3)
    assert result.verdict == "severe"
    assert result.baseline is not None
    assert (result.baseline.provenance, result.baseline.until) == ("validation of 2026-10, of 2,000 rows", None)
    assert [change.score for change in result.windows[0].changes] == ["f1"]
    exact = Life(6, given=Given(scores={"f1": 0.5})).on(3)
    assert exact.verdict == "ok"
    assert exact.baseline is not None
    assert exact.baseline.provenance == "given, taken as exact"
    empty = Life(6, given=Given(scores={})).on(3)
    assert empty.verdict == "no_baseline"


def one(made: list[Any], come: list[Any], now: float = 10 * DAY, **more: Any) -> PerformanceResult:
    rows, came_true = predictions(*made), outcomes(*come)
    version = made[0].version if made else "1"
    return evaluate("m", version, rows, came_true, join(rows, came_true), now, Criteria(**more)).result


def test_nothing_at_all_is_insufficient_and_says_so() -> None:
    result = one([], [])
    assert (result.task, result.verdict, result.severity) == ("unknown", "insufficient_evidence", None)
    assert result.windows[0].reason == "0 of the 100 outcomes that a verdict takes"
    assert figure(result.windows[0], "model_coverage_ratio").reason == "no prediction was due"
    assert figure(result.windows[0], "model_label_delay_seconds", quantile="0.5").reason == "no outcome has come"
    assert figure(result.windows[0], "model_degradation_severity").reason == "insufficient_evidence"
    assert [each.action for each in result.recommendations] == ["wait"]


def test_outcomes_before_their_predictions_join_all_the_same() -> None:
    """The outcome is reported, and recorded, before the prediction is."""
    made = [said(9 * DAY + k, "up" if k % 2 else "down", id=f"p{k}") for k in range(200)]
    come = [came(9 * DAY + k + 5, "up" if k % 2 else "down", prediction_id=f"p{k}") for k in range(200)]
    nothing_yet = one([], come)
    assert nothing_yet.windows[0].labels.orphans == 200
    result = one(made, come)
    assert result.windows[0].labels.orphans == 0
    assert result.windows[0].labels.joined == 200


def test_texts_beside_numbers_are_counted_and_left_out() -> None:
    made = [said(9 * DAY + k, "up" if k % 2 else "down", id=f"p{k}") for k in range(300)]
    come = [
        came(9 * DAY + k + 5, 0.013 if k < 50 else "up" if k % 2 else "down", prediction_id=f"p{k}") for k in range(300)
    ]
    result = one(made, come)
    week = result.windows[0]
    assert (week.labels.joined, week.labels.unreadable) == (300, 50)
    assert figure(week, "model_accuracy_ratio").n == 250
    assert "50 outcomes cannot be compared with their predictions: a text and a number" in result.remarks


def test_words_beside_returns_cannot_be_compared_at_all() -> None:
    made = [said(9 * DAY + k, "up", id=f"p{k}") for k in range(300)]
    come = [came(9 * DAY + k + 5, 0.013, prediction_id=f"p{k}") for k in range(300)]
    result = one(made, come)
    assert (result.task, result.verdict) == ("unknown", "insufficient_evidence")
    assert "predictions and outcomes cannot be compared: texts beside numbers, or nothing yet" in result.remarks


def test_a_label_that_is_never_predicted_is_named() -> None:
    words = ("up", "down", "flat")
    made = [said(9 * DAY + k, words[k % 2], id=f"p{k}") for k in range(300)]
    come = [came(9 * DAY + k + 5, words[k % 3], prediction_id=f"p{k}") for k in range(300)]
    result = one(made, come)
    assert result.task == "multiclass"
    assert "the label flat was seen and never predicted: its recall and F1 are 0" in result.remarks
    assert figure(result.windows[0], "model_f1_ratio", average="macro").value is not None
    assert result.estimates == (), "of several labels one probability estimates nothing"


def test_a_conflicting_outcome_takes_the_place_of_the_first_and_is_counted() -> None:
    made = [said(9 * DAY, "up", id=f"p{k}", subject=str(k)) for k in range(150)]
    come = [came(9 * DAY + 5, "down", prediction_id=f"p{k}") for k in range(150)]
    come += [came(9 * DAY + 9, "up", prediction_id=f"p{k}") for k in range(150)]
    week = one(made, come, positive="up").windows[0]
    assert week.labels.corrected == 150
    assert figure(week, "model_accuracy_ratio").value == 1.0


def test_another_versions_rows_are_not_this_ones() -> None:
    made = [said(9 * DAY, "up", id=f"p{k}", version=str(1 + k % 3)) for k in range(300)]
    come = [came(9 * DAY + 5, "up", prediction_id=f"p{k}") for k in range(300)]
    result = one(made, come)
    assert result.windows[0].labels.predictions == 100


def test_a_model_of_returns_is_judged_by_its_hit_rate() -> None:
    random = np.random.default_rng(5)
    made, come = [], []
    for k in range(2400):
        at, actual = k * HOUR / 2, float(random.normal(0, 0.02))
        skill = 1.5 if k < 1900 else -1.5
        made.append(said(at, skill * actual + float(random.normal(0, 0.02)), id=f"p{k}", horizon_seconds=HOUR))
        come.append(came(at + HOUR, actual, prediction_id=f"p{k}"))
    result = one(made, come, now=51 * DAY)
    assert result.task == "returns"
    week, month, _ = result.windows
    assert (week.changes[0].score, week.verdict) == ("hit", "severe")
    assert {change.score for change in month.changes} == {"hit", "sharpe"}
    assert result.estimates == ()
    assert result.remarks == ()


def test_without_probabilities_or_with_one_kind_of_outcome_nothing_is_estimated() -> None:
    for actual, probability in (("up", 0.9), ("mixed", None)):
        made = [said(9 * DAY + k, "up" if k % 2 else "down", id=f"p{k}", probability=probability) for k in range(600)]
        come = [
            came(9 * DAY + k + 5, actual if actual == "up" else ("up", "down")[k % 3 == 0], prediction_id=f"p{k}")
            for k in range(600)
        ]
        result = one(made, come)
        assert result.baseline is not None
        assert {each.value for each in result.estimates} == {None}
        assert len(result.estimates) == 5
        assert result.estimates[0].reason.startswith("no recalibration")
