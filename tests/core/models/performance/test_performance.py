"""What to do, in words: the most urgent first."""

from __future__ import annotations

from typing import get_args

import pytest

from trader_monitor.core.models.performance.performance import SEVERITY, STATUS, Severity, Verdict, recommend


@pytest.mark.parametrize(
    ("verdict", "drift", "coverage", "actions"),
    [
        ("ok", False, 1.0, ["none"]),
        ("ok", False, None, ["none"]),
        ("ok", True, 1.0, ["retrain"]),
        ("minor", False, 0.5, ["watch"]),
        ("moderate", True, 0.49, ["investigate", "retrain", "collect labels"]),
        ("severe", True, 1.0, ["roll back", "retrain"]),
        ("insufficient_evidence", False, 0.1, ["wait", "collect labels"]),
        ("no_baseline", False, 1.0, ["set a baseline"]),
    ],
)
def test_recommend(verdict: Verdict, drift: bool, coverage: float | None, actions: list[str]) -> None:
    found = recommend(verdict, concept_drift=drift, coverage=coverage)
    assert [each.action for each in found] == actions
    assert all(each.words.endswith(".") for each in found)


def test_every_verdict_has_words_and_every_severity_a_number() -> None:
    assert set(STATUS) == set(get_args(Verdict))
    assert list(SEVERITY) == list(get_args(Severity))
