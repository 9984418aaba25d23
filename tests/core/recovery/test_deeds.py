"""What was done about an outage, told in one line."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.facts import ActionStep
from trader_monitor.core.recovery.deeds import deeds


def steps(*phases: tuple[str, str], **more: Any) -> list[ActionStep]:
    return [
        ActionStep(
            at=100.0 + number,
            incident="i",
            check="gateway",
            action=action,
            rung=0,
            phase=phase,  # type: ignore[arg-type]
            who="recover",
            why="it failed",
            mono=0.0,
            **more,
        )
        for number, (action, phase) in enumerate(phases)
    ]


@pytest.mark.parametrize(
    ("done", "told"),
    [
        pytest.param([], "", id="nothing was done"),
        pytest.param([("a", "started")], "a: under way", id="an action that runs"),
        pytest.param([("a", "started"), ("a", "succeeded")], "a: done", id="an action that ran"),
        pytest.param(
            [("a", "started"), ("a", "succeeded"), ("a", "verified")], "a: done, the check passes", id="a cure"
        ),
        pytest.param(
            [("a", "started"), ("a", "succeeded"), ("a", "not_verified"), ("b", "started")],
            "a: done, it did not help; b: under way",
            id="the next rung",
        ),
        pytest.param([("a", "dry_run")], "a: rehearsed only, it is not armed", id="a rehearsal"),
        pytest.param([("", "exhausted")], "ladder: nothing is left to try", id="a ladder at its end"),
    ],
)
def test_each_action_is_told_with_what_became_of_it(done: list[tuple[str, str]], told: str) -> None:
    assert deeds(steps(*done), since=100.0) == told


def test_a_failure_is_told_with_its_reason() -> None:
    assert deeds(steps(("a", "failed"), outcome="exit 1"), since=0.0) == "a: failed (exit 1)"


def test_an_outage_that_was_over_before_is_another_story() -> None:
    cured = steps(("a", "succeeded"), ("a", "verified"))
    assert deeds(cured, since=101.0) == "a: done, the check passes"
    assert deeds(cured, since=101.5) == ""
