"""One alert: every transition, and random lives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trader_monitor.core.alerts.lifecycle import Reading, advance, deadline, retire
from trader_monitor.core.alerts.rule import CompiledRule, Rule, compile_rule
from trader_monitor.core.facts import AlertChanged, Now

LABELS = {"alertname": "r", "severity": "warning"}
HOLDS, FALSE, NO_DATA, CLEARED = Reading(True, 9.0), Reading(False, 1.0), Reading(None), Reading(False, 1.0, True)
UNHEARD_BUT_CLEARED = Reading(None, None, True)


def rule(**options: float | str) -> CompiledRule:
    return compile_rule(Rule(name="r", expr="a > 5", **options))  # type: ignore[arg-type]


PLAIN, FOR, KEEP, CLEAR = rule(), rule(for_=10.0), rule(keep_firing_for=10.0), rule(clear="a < 2")
BOTH = rule(clear="a < 2", keep_firing_for=10.0)


def alert(state: str, mono: float = 0.0, cleared: float | None = None) -> AlertChanged:
    return AlertChanged(
        at=0.0,
        fingerprint="f",
        rule="r",
        state=state,  # type: ignore[arg-type]
        transition=7,
        severity="warning",
        labels=LABELS,
        summary="",
        active_at=0.0,
        mono=mono,
        cleared_mono=cleared,
        fired_transition=7 if state == "firing" else 6,
    )


@pytest.mark.parametrize(
    ("sentence", "compiled", "previous", "reading", "mono", "wanted"),
    [
        ("nothing, and nothing holds", PLAIN, None, FALSE, 0, None),
        ("nothing, and no data", PLAIN, None, NO_DATA, 0, None),
        ("without `for` it fires at once", PLAIN, None, HOLDS, 0, ("firing", 1000)),
        ("with `for` it is pending first", FOR, None, HOLDS, 0, ("pending", 1000)),
        ("pending, not yet", FOR, alert("pending"), HOLDS, 9.99, None),
        ("pending, exactly now", FOR, alert("pending"), HOLDS, 10, ("firing", 8)),
        ("pending, and gone", FOR, alert("pending"), FALSE, 10, ("resolved", 8)),
        ("pending, and no data", FOR, alert("pending"), NO_DATA, 99, None),
        ("firing, and still true", PLAIN, alert("firing"), HOLDS, 1, None),
        ("firing, and gone", PLAIN, alert("firing"), FALSE, 1, ("resolved", 8)),
        ("firing, and no data", PLAIN, alert("firing"), NO_DATA, 1, None),
        ("gone, but kept firing for a while", KEEP, alert("firing"), FALSE, 1, ("firing", 7)),
        ("kept, not yet over", KEEP, alert("firing", cleared=5), FALSE, 14.9, None),
        ("kept, exactly over", KEEP, alert("firing", cleared=5), FALSE, 15, ("resolved", 8)),
        ("kept, over, but no data", KEEP, alert("firing", cleared=5), NO_DATA, 99, None),
        ("kept, and true again", KEEP, alert("firing", cleared=5), HOLDS, 6, ("firing", 7)),
        ("not cleared yet", CLEAR, alert("firing"), FALSE, 1, None),
        ("cleared", CLEAR, alert("firing"), CLEARED, 1, ("resolved", 8)),
        (
            "cleared by a series that speaks while ours is silent",
            CLEAR,
            alert("firing"),
            UNHEARD_BUT_CLEARED,
            1,
            ("resolved", 8),
        ),
        ("cleared, kept for a while", BOTH, alert("firing"), CLEARED, 1, ("firing", 7)),
        ("cleared, then back in the band", BOTH, alert("firing", cleared=5), FALSE, 99, ("firing", 7)),
        ("cleared, then silence", BOTH, alert("firing", cleared=5), NO_DATA, 99, None),
        ("resolved, and true again", PLAIN, alert("resolved"), HOLDS, 1, ("firing", 8)),
        ("resolved, and true again, with `for`", FOR, alert("resolved"), HOLDS, 1, ("pending", 8)),
        ("resolved, and false", PLAIN, alert("resolved"), FALSE, 1, None),
    ],
)
def test_a_transition(
    sentence: str,
    compiled: CompiledRule,
    previous: AlertChanged | None,
    reading: Reading,
    mono: float,
    wanted: tuple[str, int] | None,
) -> None:
    change = advance(compiled, "f", LABELS, previous, reading, Now(1000.0 + mono, mono))
    assert (change and (change.state, change.transition)) == wanted


def test_times_and_values_are_kept_from_beginning_to_end() -> None:
    pending = advance(FOR, "f", LABELS, None, Reading(True, 6.0), Now(100.0, 0.0))
    assert pending is not None
    firing = advance(FOR, "f", LABELS, pending, Reading(True, 7.0), Now(50.0, 10.0))
    assert firing is not None
    ended = advance(FOR, "f", LABELS, firing, Reading(False, 2.0), Now(60.0, 11.0))
    assert ended is not None
    assert (ended.active_at, ended.fired_at, ended.resolved_at) == (100.0, 50.0, 60.0)
    assert (ended.fired_value, ended.resolved_value, ended.value) == (7.0, 2.0, 2.0)
    assert (ended.fired_transition, ended.transition) == (101, 102), "numbered from the time of its beginning"
    again = advance(FOR, "f", LABELS, ended, Reading(True, 8.0), Now(70.0, 20.0))
    assert again is not None
    assert (again.fired_at, again.resolved_at, again.fired_value) == (None, None, None)
    assert again.fired_transition == 101, "the earlier firing may still have to be told"


def test_a_removed_rule_ends_its_alert() -> None:
    ended = retire(alert("firing"), Now(5.0, 5.0), "the rule was removed")
    assert (ended.state, ended.transition, ended.reason) == ("resolved", 8, "the rule was removed")


def test_only_waiting_alerts_have_a_deadline() -> None:
    assert deadline(FOR, alert("pending", mono=3.0)) == 13.0
    assert deadline(KEEP, alert("firing", cleared=4.0)) == 14.0
    assert deadline(KEEP, alert("firing")) is None
    assert deadline(PLAIN, alert("resolved", cleared=4.0)) is None


READINGS = st.sampled_from([HOLDS, FALSE, NO_DATA, CLEARED])
LIVES = st.lists(st.tuples(READINGS, st.floats(0, 15), st.floats(-100, 100)), max_size=40)


@given(st.sampled_from([PLAIN, FOR, KEEP, CLEAR, BOTH, rule(for_=5.0, keep_firing_for=5.0)]), LIVES)
def test_any_life_obeys_the_laws(compiled: CompiledRule, life: list[tuple[Reading, float, float]]) -> None:
    mono, wall = 0.0, 1000.0
    current: AlertChanged | None = None
    open_firing = False
    for reading, later, step in life:
        mono += later
        wall += later + step
        change = advance(compiled, "f", LABELS, current, reading, Now(wall, mono))
        if change is None:
            continue
        same = current is not None and change.state == current.state
        if current is not None:
            assert change.transition == current.transition + (not same)
        if change.state == "firing" and not same:
            assert not open_firing, "never two firings without a resolution between"
            assert reading.holds, "no data never fires"
            assert mono >= change.mono + compiled.rule.for_, "a step of the clock never shortens `for`"
            assert change.fired_transition == change.transition
            open_firing = True
        if change.state == "resolved":
            assert reading is not NO_DATA, "no data never resolves"
            if open_firing:
                assert change.fired_transition == change.transition - 1
            open_firing = False
        if same:
            assert current is not None
            assert replace(change, at=0, cleared_mono=None) == replace(current, at=0, cleared_mono=None)
        current = change


@given(LIVES)
def test_asking_twice_at_the_same_moment_changes_nothing(life: list[tuple[Reading, float, float]]) -> None:
    mono = 0.0
    current: AlertChanged | None = None
    for reading, later, _ in life:
        mono += later
        now = Now(1000.0 + mono, mono)
        current = advance(BOTH, "f", LABELS, current, reading, now) or current
        if current is not None and current.state != "resolved":
            assert advance(BOTH, "f", LABELS, current, reading, now) is None
