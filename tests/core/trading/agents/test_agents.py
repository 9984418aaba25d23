"""Agents: accuracy, confidence, consensus, latency and failures, from decisions to figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Decision, Now
from trader_monitor.core.figure import Figure
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.snapshot import pack
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.agents import agents as module
from trader_monitor.core.trading.agents.agents import Agents, AgentsKept

T0 = 1_700_006_400.0
DAYS = 86_400.0


def decision(at: float = 0.0, **more: Any) -> Decision:
    return Decision(at=T0 + at, **{"source": "a", "action": "buy"} | more)


def folded(*decisions: Decision) -> Agents:
    agents = Agents(Tally(SeriesStore()))
    for each in decisions:
        agents.fold(each, round(each.at * 1000))
    return agents


def figures(agents: Agents, now: float, **labels: str) -> dict[str, Figure]:
    found = {}
    wanted = {"source": "a", "window": "24h"} | labels
    for figure in (*agents.figures(T0 + now), *agents.standing()):
        given = dict(figure.labels)
        if {key: given.pop(key, "") for key in ("source", "window")} == wanted:
            found["/".join((figure.name, *given.values()))] = figure
    return found


def test_accuracy_counts_only_decisions_whose_outcome_is_known() -> None:
    agents = folded(*(decision(n, outcome=(None, "correct", "correct", "wrong")[n % 4]) for n in range(40)))
    found = figures(agents, 100.0)["agent_accuracy_ratio"]
    interval = stats.binomtest(20, 30).proportion_ci(method="wilson")
    assert (found.value, found.n) == (20 / 30, 30)
    assert found.interval is not None
    assert found.interval[:2] == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_confidence_and_consensus_are_means_with_student_s_interval() -> None:
    values = [0.5, 0.75, 1.0, 0.75, 1.0, 0.25]
    agents = folded(*(decision(n, consensus=value, confidence=value) for n, value in enumerate(values)), decision(9))
    found = figures(agents, 100.0)
    low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    for name in ("agent_consensus_mean_ratio", "agent_confidence_mean_ratio"):
        interval = found[name].interval
        assert found[name].value == pytest.approx(np.mean(values))
        assert found[name].n == 6
        assert interval is not None
        assert interval[:2] == pytest.approx((low, high), rel=1e-4)
    full = found["agent_consensus_full_ratio"]
    assert (full.value, full.n) == (2 / 6, 6)


def test_failures() -> None:
    failed = (True, None, True, True, True, False, True, True)
    agents = folded(*(decision(n, failed=value) for n, value in enumerate(failed)))
    found = figures(agents, 100.0)
    assert (found["agent_failure_ratio"].value, found["agent_failure_ratio"].n) == (6 / 8, 8)
    overall = figures(agents, 100.0, window="")
    assert overall["agent_failures_in_row"].value == 2.0
    assert overall["agent_failures_in_row_max"].value == 3.0
    agents.fold(decision(1.5, failed=False), round((T0 + 1.5) * 1000))
    assert figures(agents, 100.0, window="")["agent_failures_in_row"].value == 2.0, "a late success ends no row"


def test_rows_of_failures_are_series_in_the_step_in_which_they_grow() -> None:
    board = Board(SeriesStore())
    rows: dict[str, list[float]] = {}
    for number, failed in enumerate((False, True, True, False, True)):
        now = Now(T0 + number, 0.0)
        board.fold(decision(number, failed=failed), now)
        for sid in board.series.sids():
            name = dict(board.series.labels_of(sid))["__name__"]
            rows.setdefault(name, []).append(float(board.series.last_v[sid]))
    assert rows["agent_failures_in_row"] == [0, 1, 2, 0, 1]
    assert rows["agent_failures_in_row_max"] == [0, 1, 2, 2, 2]
    assert not {figure.name for figure in board.agents.figures(T0)} & set(board.reserved)


def test_latency_percentiles() -> None:
    seconds = np.random.default_rng(3).lognormal(1.0, 0.7, 600).tolist()
    agents = folded(*(decision(n, latency_seconds=value) for n, value in enumerate(seconds)))
    for share in (50, 95, 99):
        figure = figures(agents, 600.0)[f"agent_latency_quantile_seconds/{share / 100:g}"]
        assert figure.value == pytest.approx(np.percentile(seconds, share, method="inverted_cdf"), rel=0.02)
        assert figure.interval is not None


def test_a_day_and_thirty() -> None:
    agents = folded(*(decision(day * DAYS, outcome="correct" if day < 20 else "wrong") for day in range(40)))
    assert figures(agents, 39 * DAYS)["agent_accuracy_ratio"].n == 1
    month = figures(agents, 39 * DAYS, window="30d")["agent_accuracy_ratio"]
    assert (month.value, month.n) == (10 / 30, 30)
    later = figures(agents, 42 * DAYS)
    assert {figure.value for figure in later.values()} == {None}
    assert later["agent_accuracy_ratio"].reason == "no outcome was reported in this window"
    assert all(figure.reason for figure in later.values())
    assert not figures(agents, 70 * DAYS), "an agent that was silent for a month has no figures"


def test_calibration_is_of_what_was_judged() -> None:
    agents = folded(decision(0, confidence=0.8, outcome="correct"), decision(1, confidence=0.1))
    found = figures(agents, 10.0)
    assert found["agent_brier_score"].value == pytest.approx(0.04)
    assert found["agent_calibration_accuracy_ratio/0.8"].n == 1
    assert found["agent_confidence_mean_ratio"].n == 2


def test_a_flood_of_agents_is_bounded_and_those_that_are_known_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AGENTS", 5)
    agents = folded(decision(), *(decision(1, source=f"x{n}") for n in range(50)), decision(2))
    assert len({dict(figure.labels)["source"] for figure in agents.figures(T0)}) == 5
    assert figures(agents, 10.0)["agent_failure_ratio"].n == 2


DECISIONS = st.lists(
    st.builds(
        decision,
        st.floats(0.0, 40 * DAYS),
        source=st.sampled_from(["a", "b"]),
        confidence=st.none() | st.floats(0.0, 1.0),
        consensus=st.none() | st.floats(0.0, 1.0),
        latency_seconds=st.none() | st.floats(0.0, 100.0),
        outcome=st.sampled_from([None, "correct", "wrong"]),
        failed=st.sampled_from([None, True, False]),
    ),
    max_size=50,
)


@given(DECISIONS, st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_a_restart_changes_nothing_and_the_order_of_events_nothing_but_rows(
    decisions: list[Decision], restart: int
) -> None:
    whole, agents = folded(*decisions), Agents(Tally(SeriesStore()))
    for number, each in enumerate(decisions):
        if number == restart % len(decisions):
            raw, agents = agents.dump(), Agents(Tally(SeriesStore()))
            agents.load(raw)
        agents.fold(each, round(each.at * 1000))
    now = T0 + 40 * DAYS
    both = zip((*whole.figures(now), *whole.standing()), (*agents.figures(now), *agents.standing()), strict=True)
    for one, other in both:
        assert (one.name, one.labels, one.n, one.reason) == (other.name, other.labels, other.n, other.reason)
        assert one.value == (None if other.value is None else pytest.approx(other.value, rel=1e-9, abs=1e-9))
    accuracies = [decision.outcome for decision in decisions if decision.source == "a" and decision.outcome]
    month = figures(whole, 40 * DAYS, window="30d")
    if accuracies and all(decision.at > T0 + 11 * DAYS for decision in decisions):
        assert month["agent_accuracy_ratio"].value == pytest.approx(accuracies.count("correct") / len(accuracies))


def test_an_older_snapshot_loads() -> None:
    agents = Agents(Tally(SeriesStore()))
    agents.load(pack(AgentsKept()))
    agents.load(b"\x80")
    assert not list(agents.figures(T0))
