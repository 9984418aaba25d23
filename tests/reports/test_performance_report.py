"""The performance report says what the evaluation says: baseline, production, change, coverage, what to do."""

from __future__ import annotations

import json
from functools import cache

from msgspec.structs import replace

from tests.core.models.performance.test_evaluation import Life
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.reports.html import as_html
from trader_monitor.reports.performance import coverage, performance_report, performance_sheet
from trader_monitor.reports.sheet import Gallery, Sentences, Sheet, Table
from trader_monitor.reports.text import as_text
from trader_monitor.reports.words import ENGLISH


@cache
def turned() -> PerformanceResult:
    life = Life(60, turned=50.0, coverage=0.9)
    for day in (20, 40):
        life.on(day)
    return life.on(60)


@cache
def fresh() -> PerformanceResult:
    return Life(1).on(0.4)


def block(sheet: Sheet, title: str) -> Table | Sentences:
    (found,) = [each for each in sheet.blocks if isinstance(each, Table | Sentences) and each.title == title]
    return found


def test_a_decayed_model_is_severe_and_the_report_says_what_to_do() -> None:
    result = turned()
    assert result.verdict == "severe", "or the rest tests nothing"
    sheet = performance_sheet(result)
    facts = {fact.name: fact for fact in sheet.facts}
    assert (facts["degradation"].value, facts["degradation"].tone) == ("severe", "bad")
    longest = result.windows[-1].labels
    assert facts["predictions due"].value == f"{longest.predictions:,}"
    assert facts["coverage"].value == f"{100 * longest.joined / longest.predictions:.1f} %"
    lines = block(sheet, "Recommendations")
    assert isinstance(lines, Sentences)
    assert lines.lines[0].startswith("roll back: ")
    assert "below its baseline" in sheet.headline


def test_scores_stand_beside_the_baseline_with_change_and_interval() -> None:
    result = turned()
    window = next(each for each in result.windows if each.window == "7d")
    rows = block(performance_sheet(result), "Window 7d, scores beside the baseline")
    assert isinstance(rows, Table)
    f1, change = rows.rows[0], window.changes[0]
    assert change.drop.value is not None
    assert change.drop.interval is not None
    assert f1[0].value == "f1"
    assert f1[1].value == f"{change.baseline.value:.3f}"
    assert f1[2].value == f"{change.production.value:.3f}"
    assert f1[3].value == f"{-100 * change.drop.value:+.1f} %"
    assert f1[3].small == f"[{-100 * change.drop.interval.high:+.1f} %, {-100 * change.drop.interval.low:+.1f} %]"
    assert f1[3].tone == "bad"
    others = block(performance_sheet(result), "Window 7d, other figures")
    assert isinstance(others, Table)
    told = {row[0].value for row in others.rows}
    assert "model_brier_ratio" in told
    assert not told & {"model_f1_ratio", "model_labels", "model_coverage_ratio", "model_reliability_ratio"}


def test_probabilities_stand_beside_what_came_true() -> None:
    (gallery,) = [each for each in performance_sheet(turned()).blocks if isinstance(each, Gallery)]
    (picture,) = gallery.pictures
    figures = {(each.name, dict(each.labels).get("bin")): each.value for each in turned().windows[-1].figures}
    assert picture.names[0] == "0.0-0.1"
    assert picture.before[0] == figures["model_reliability_said_ratio", "0.0-0.1"]
    assert picture.after[0] == figures["model_reliability_ratio", "0.0-0.1"]


def test_concept_drift_and_estimates_are_told() -> None:
    result = turned()
    assert result.concept is not None
    assert result.concept.drifted
    told = block(performance_sheet(result), "Concept drift")
    assert isinstance(told, Sentences)
    assert told.lines[0].startswith("The model errs more often")
    quiet = performance_sheet(replace(result, concept=replace(result.concept, drifted=False)))
    still = block(quiet, "Concept drift")
    assert isinstance(still, Sentences)
    assert still.lines[0].startswith("No evidence")
    assert isinstance(block(performance_sheet(result), "Estimates before the outcomes"), Table)


def test_what_is_too_young_has_no_verdict() -> None:
    sheet = performance_sheet(fresh())
    assert sheet.tone == "quiet"
    assert {fact.name: fact.value for fact in sheet.facts}["baseline performance"] == "none yet"
    assert "no verdict" in as_text([sheet]) or "no baseline" in as_text([sheet])


def test_without_a_window_it_is_a_report_too() -> None:
    result = replace(fresh(), windows=(), recommendations=(), estimates=(), remarks=("as it is",), concept=None)
    sheet = performance_sheet(result)
    assert sheet.headline == ENGLISH[f"degradation.{result.verdict}"]
    remarks = block(sheet, "Remarks")
    assert isinstance(remarks, Sentences)
    assert remarks.lines == ("as it is",)


def test_less_than_half_with_an_outcome_is_a_warning_sign() -> None:
    result = Life(40, coverage=0.3).on(40)
    sheet = performance_sheet(result)
    (fact,) = [fact for fact in sheet.facts if fact.name == "coverage"]
    assert fact.tone == "bad"


def test_json_is_the_evaluation_with_coverage() -> None:
    result = turned()
    found = json.loads(json.dumps(performance_report(result)))
    assert (found["report"], found["model"], found["verdict"]) == ("performance", "m", "severe")
    assert [each["coverage"] for each in found["windows"]] == [coverage(each) for each in result.windows]
    assert found["windows"][0]["changes"][0]["drop"]["value"] == result.windows[0].changes[0].drop.value
    assert coverage(replace(result.windows[0], labels=type(result.windows[0].labels)())) is None


def test_it_is_written_as_text_and_as_html() -> None:
    text, page = (write([performance_sheet(turned())]) for write in (as_text, as_html))
    for word in ("Performance report: m 1", "roll back", "f1"):
        assert word in text
        assert word in page
    assert "<script" not in page
