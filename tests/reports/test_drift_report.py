"""The drift report says what the runs say, in every format, and obeys no name in it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from trader_monitor.core.models.drift.baseline import Baseline, baseline_of
from trader_monitor.core.models.drift.drift import drift
from trader_monitor.core.models.drift.fdr import Online
from trader_monitor.core.models.drift.verdict import REASONS, SEVERITIES, DriftResult
from trader_monitor.reports.drift import drift_report, drift_sheet
from trader_monitor.reports.html import as_html
from trader_monitor.reports.sheet import ROWS, SHOWN, Gallery, Heats, Sentences, Table
from trader_monitor.reports.text import as_text
from trader_monitor.reports.words import ENGLISH, said

HOSTILE = '<b onclick="x()">\u202e</b>&\x1b[31m'


def normal(rows: int, seed: int, mean: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


@cache
def baselines() -> dict[str, Baseline]:
    numbers = baseline_of("f", normal(4_000, 1))
    names = baseline_of("side", np.random.default_rng(1).choice(["buy", "sell"], 2_000).tolist())
    return {
        "quiet": numbers,
        "moved": numbers,
        HOSTILE: numbers,
        "moderate": numbers,
        "side": names,
        "gone": numbers,
        "short": baseline_of("short", normal(60, 1)),
        "(output)": numbers,
    }


def run(online: Online, at: float, shift: float, **more: Any) -> DriftResult:
    seed = int(at)
    names = ["quiet", "moved", HOSTILE, "moderate", "short", "(output)", "fresh"]
    table = np.column_stack([normal(600, seed + place) for place in range(len(names))])
    table[:, 1] += shift
    table[:, 2] += shift / 2
    table[:, 3] += 0.42 * (shift > 0)
    table[:5, 0] = np.nan
    table[:90, 3] = np.inf
    sides = np.random.default_rng(seed).choice(["buy", "sell", "none"], 600, p=[0.4, 0.4, 0.2]).tolist()
    return drift(
        baselines(),
        table,
        names,
        values={"side": sides},
        model="momentum",
        version="3",
        outputs={"(output)"},
        online=online,
        at=at,
        first_at=at - 600.0,
        last_at=at,
        **more,
    )


@cache
def runs() -> tuple[DriftResult, ...]:
    found, online = [], Online()
    for number in range(6):
        found.append(run(online, 1.7e9 + 3600.0 * number, 0.0 if number < 3 else 1.2, important={"moved"}))
        online = found[-1].online
    return tuple(found)


def table(title: str) -> dict[str, Any]:
    """The rows of a table of the report, by their first cell."""
    (found,) = [each for each in drift_sheet(runs()).blocks if isinstance(each, Table) and each.title == title]
    return {row[0].value: row for row in found.rows}


def test_a_row_says_measures_verdict_and_action() -> None:
    rows = table("Features")
    newest = {each.name: each for each in runs()[-1].features}
    assert next(iter(rows)) == "moved", "what is important comes first"
    assert [cell.value for cell in rows["moved"]][1:3] == [f"{newest['moved'].ks:.3f}", f"{newest['moved'].psi:.3f}"]
    found = {name: (row[5].value, row[5].small, row[6].value) for name, row in rows.items()}
    assert found == {
        "moved": ("drift", "", "find the cause now"),
        HOSTILE: ("drift", "", "find the cause"),
        "side": ("drift", "", "find the cause"),
        "moderate": ("moderate", "", "watch"),
        "gone": ("no verdict", "vanished: the window does not have it", "mend the feed"),
        "fresh": ("no verdict", "appeared: the baseline does not have it", "set a baseline"),
        "short": ("no verdict", "baseline of fewer than 100 rows", "set a longer baseline"),
        "quiet": ("ok", "", "–"),
    }
    assert list(table("Predictions")) == ["(output)"]


def test_the_summary_counts_what_the_table_shows() -> None:
    sheet = drift_sheet(runs())
    facts = {fact.name: fact.value for fact in sheet.facts}
    assert facts == {
        "severity": "high",
        "features with a verdict": "5",
        "with drift": "3",
        "with a moderate change": "1",
        "without a verdict": "3",
        "share drifted": "60.0 %",
        "drift runs so far": "6",
    }
    assert sheet.headline.startswith("3 of 5 features have drifted: moved, ")
    assert sheet.title == "Drift report: momentum 3"
    assert sheet.about == "2023-11-15 03:13 UTC · 600 rows, 2023-11-15 03:03 UTC to 2023-11-15 03:13 UTC"


def test_missing_values_and_categories_are_told() -> None:
    rows = table("Missing values")
    assert [cell.value for cell in rows["moderate"]][1:] == ["0.0 %", "15.0 %", "0", "0", "90", "0", "changed"]
    assert rows["quiet"][-1].value == "as before"
    (block,) = [each for each in drift_sheet(runs()).blocks if getattr(each, "title", "") == "Categories"]
    assert isinstance(block, Sentences)
    assert block.lines == ("side: new: none",)


def test_the_heat_map_has_the_index_run_by_run() -> None:
    (heats,) = [each for each in drift_sheet(runs()).blocks if isinstance(each, Heats)]
    levels = {row.name: row.levels for row in heats.rows}
    assert levels["moved"] == (0, 0, 0, 4, 4, 4)
    assert "gone" not in levels, "what was never measured has no row"
    assert len(heats.legend) == 5
    assert not [each for each in drift_sheet(runs()[-1:]).blocks if isinstance(each, Heats)], "one run is no history"


def test_a_feature_that_vanishes_later_has_gaps() -> None:
    first = msgspec.structs.replace(
        runs()[0], features=(*runs()[0].features[:1], msgspec.structs.replace(runs()[0].features[1], name="left"))
    )
    (heats,) = [each for each in drift_sheet((first, runs()[1])).blocks if isinstance(each, Heats)]
    assert {row.name: row.levels[1] for row in heats.rows}["left"] is None
    assert "not measured" in as_html([drift_sheet((first, runs()[1]))])


def test_pictures_show_shares_before_and_after() -> None:
    (gallery,) = [each for each in drift_sheet(runs()).blocks if isinstance(each, Gallery)]
    moved = gallery.pictures[0]
    assert moved.title == "moved"
    assert sum(moved.before) == pytest.approx(1.0)
    assert sum(moved.after) == pytest.approx(1.0)
    side = next(each for each in gallery.pictures if each.title == "side")
    assert (set(side.names), side.ends) == ({"buy", "sell", "none"}, None)


def test_json_has_every_number_and_the_summary() -> None:
    found = json.loads(json.dumps(drift_report(runs())))
    assert (found["report"], found["model"], found["version"], found["severity"]) == ("drift", "momentum", "3", "high")
    assert found["summary"] == {
        "tested": 5, "drifted": 3, "moderate": 1, "without_verdict": 3, "share": 0.6, "severity": "high",
    }  # fmt: skip
    moved = found["features"][0]
    kept = next(each for each in runs()[-1].features if each.name == "moved")
    assert (moved["name"], moved["ks"], moved["action"], moved["verdict"]) == ("moved", kept.ks, "find_now", "drift")
    assert found["over_time"]["psi"]["gone"] == [None] * 6
    assert len(found["over_time"]["at"]) == 6


def test_text_is_aligned_and_says_all() -> None:
    text = as_text([drift_sheet(runs())])
    for word in (
        "Drift report: momentum 3",
        "FEATURES",
        "MISSING VALUES",
        "STABILITY INDEX OVER TIME",
        "HOW TO READ IT",
    ):
        assert word in text
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("  feature ") and "KS" in line)
    moved = next(line for line in lines if line.startswith("  moved "))
    assert moved.index("drift") == head.index("status")
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_html_escapes_what_it_is_given_and_needs_nothing_else() -> None:
    page = as_html([drift_sheet(runs()), drift_sheet(runs()[:3])])
    assert "<b onclick" not in page
    assert "\u202e" not in page
    assert "&lt;b onclick=&quot;x()&quot;&gt;" in page
    assert not re.search(
        r"<script|<link|<img|@import|url\(|https?://|\son\w+=[\"']", page.replace("onclick=&quot;", "")
    )
    assert page.count("<article>") == 2
    assert page.count("<title>Drift report</title>") == 1
    assert page.count("<svg") > 10
    assert "prefers-color-scheme" in page


def test_long_tables_and_many_pictures_are_folded() -> None:
    columns = [f"f{number}" for number in range(ROWS + 25)]
    many = drift(
        dict.fromkeys(columns, baselines()["quiet"]),
        np.column_stack([normal(200, number) for number in range(len(columns))]),
        columns,
    )
    page = as_html([drift_sheet([many])])
    assert "<summary>25 more</summary>" in page
    assert f"<summary>{60 - SHOWN} more</summary>" in page
    assert page.count("<tr>") == len(columns) + 2
    assert "f64" in as_text([drift_sheet([many])])


def test_without_a_verdict_it_says_so() -> None:
    empty = drift({"f": baselines()["quiet"]}, np.empty((0, 0)), [], model="m", version="1")
    sheet = drift_sheet([empty])
    assert sheet.headline == ENGLISH["drift.unjudged"]
    assert sheet.about == "– · 0 rows: 0 rows"
    assert "unknown" in as_text([sheet])
    assert as_html([sheet]).count("<title>Drift report: m 1</title>") == 1


def test_a_window_by_name_says_its_name_and_outputs_that_drift_are_named() -> None:
    moved = drift(
        {"(output)": baselines()["(output)"], "f": baselines()["quiet"]},
        np.column_stack([normal(500, 3, 1.0), normal(500, 4)]),
        ["(output)", "f"],
        outputs={"(output)"},
        label="7d",
        first_at=0.0,
        last_at=60.0,
    )
    sheet = drift_sheet([moved])
    assert sheet.about.startswith("– · 7d: 500 rows, 1970-01-01 00:00 UTC to ")
    assert sheet.headline == "No feature has drifted. The model's own predictions have drifted: (output)."


def test_many_names_are_cut_short() -> None:
    columns = [f"f{number}" for number in range(12)]
    all_moved = drift(
        dict.fromkeys(columns, baselines()["quiet"]),
        np.column_stack([normal(500, number, 2.0) for number in range(12)]),
        columns,
    )
    assert drift_sheet([all_moved]).headline.endswith(" and 4 more.")


def test_every_code_has_words() -> None:
    for reason in REASONS:
        assert ENGLISH[f"reason.{reason}"]
    for severity in (*SEVERITIES, "unknown"):
        assert ENGLISH[f"severity.{severity}"]
        assert ENGLISH[f"severity.{severity}.means"]
    assert said(ENGLISH, "rows", n=3) == "3 rows"
    assert all(isinstance(block, Table | Sentences | Gallery | Heats) for block in drift_sheet(runs()).blocks)
