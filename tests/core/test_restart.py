"""The restart decision, one sentence per case."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.backoff import Backoff
from trader_monitor.core.budget import Budget
from trader_monitor.core.facts import Now
from trader_monitor.core.restart import Record, Terms, decide

BACKOFF = Backoff(first=1.0, longest=8.0, spread=0.5)
WORKER = Terms(Budget(3, 60.0), BACKOFF, essential=False, park_for=300.0)
ESSENTIAL = Terms(Budget(3, 60.0), BACKOFF, essential=True, park_for=300.0)


def at(mono: float) -> Now:
    return Now(1_700_000_000.0 + mono, mono)


def test_the_first_death_is_answered_at_once() -> None:
    verdict = decide(Record(), 5.0, at(100), WORKER, 0.0)
    assert (verdict.decision, verdict.delay) == ("restart", 0.0)
    assert verdict.record == Record((100.0,), in_a_row=1, restarts=1)


def test_deaths_in_a_row_wait_longer_each_time_then_out_of_budget_the_child_is_parked() -> None:
    record, seen = Record(), []
    for second in range(4):
        decision, delay, record = decide(record, 0.0, at(100 + second), WORKER, 0.0)
        seen.append((decision, delay))
    assert seen == [("restart", 0), ("restart", 1), ("restart", 2), ("park", 300)]
    assert record == Record((), in_a_row=4, restarts=4, probation=True)


def test_out_of_budget_an_essential_child_escalates_at_once() -> None:
    verdict = decide(Record((98.0, 99.0, 99.5), in_a_row=3, restarts=3), 0.0, at(100), ESSENTIAL, 0.0)
    assert (verdict.decision, verdict.delay, verdict.record.restarts) == ("escalate", 0.0, 3)


def test_a_death_after_a_whole_window_alive_is_a_first_one_again() -> None:
    verdict = decide(Record((10.0,), in_a_row=7, restarts=7), 60.0, at(100), WORKER, 0.9)
    assert (verdict.decision, verdict.delay, verdict.record.in_a_row) == ("restart", 0.0, 1)


def test_a_child_on_probation_that_dies_early_is_parked_again() -> None:
    verdict = decide(Record(in_a_row=4, restarts=4, probation=True), 59.0, at(500), WORKER, 0.0)
    assert (verdict.decision, verdict.record.probation) == ("park", True)


def test_a_child_that_outlived_its_probation_is_restarted_as_any() -> None:
    verdict = decide(Record(in_a_row=4, restarts=4, probation=True), 60.0, at(500), WORKER, 0.0)
    assert (verdict.decision, verdict.record.probation) == ("restart", False)


def test_with_no_budget_at_all_the_first_death_parks() -> None:
    assert decide(Record(), 5.0, at(1), Terms(Budget(0, 60.0), BACKOFF, False, 9.0), 0.0).decision == "park"


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 1, exclude_max=True)), max_size=60), st.booleans())
def test_restarts_never_exceed_the_budget_whatever_the_deaths(
    deaths: list[tuple[float, float]], essential: bool
) -> None:
    terms, record, mono = ESSENTIAL if essential else WORKER, Record(), 1000.0
    granted: list[float] = []
    for lived, jitter in deaths:
        mono += lived
        decision, delay, record = decide(record, lived, at(mono), terms, jitter)
        assert 0 <= delay <= max(BACKOFF.longest, terms.park_for)
        if decision == "escalate":
            assert essential
            return
        if decision == "park":
            assert not essential
            granted = []
        else:
            granted.append(mono)
        mono += delay
        assert len([g for g in granted if g > mono - 60.0]) <= 3
