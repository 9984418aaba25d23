"""The one breaker: a table of sentences, then a state machine that plays a peer at random."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trader_monitor.core import breaker
from trader_monitor.core.breaker import Policy
from trader_monitor.core.facts import Breaker, Now

POLICY = Policy(trip_after=3, cooldown=10.0, growth=2.0, longest=60.0)


def at(mono: float) -> Now:
    return Now(1_700_000_000.0 + mono, mono)


def tripped(mono: float = 0.0) -> Breaker:
    b = Breaker()
    for _ in range(POLICY.trip_after):
        b = breaker.fail(b, at(mono), POLICY)
    return b


def test_two_failures_of_three_leave_it_closed() -> None:
    b = breaker.fail(breaker.fail(Breaker(), at(1), POLICY), at(2), POLICY)
    assert (b.state, b.failures, b.generation) == ("closed", 2, 0)
    assert breaker.permits(b, at(2))


def test_a_success_between_failures_starts_the_count_anew() -> None:
    b = breaker.fail(breaker.fail(Breaker(), at(1), POLICY), at(2), POLICY)
    assert breaker.succeed(b, at(3), POLICY) == Breaker()


def test_a_success_of_a_healthy_breaker_is_the_very_same_object() -> None:
    b = Breaker()
    assert breaker.succeed(b, at(3), POLICY) is b


def test_the_third_failure_opens_it_for_one_cooldown() -> None:
    b = tripped(5)
    assert (b.state, b.since, b.retry_at, b.opened) == ("open", 5, 15, 1)
    assert not breaker.permits(b, at(14.999))
    assert breaker.permits(b, at(15))
    assert breaker.wait(b, at(12)) == 3
    assert breaker.wait(b, at(20)) == 0


def test_a_closed_breaker_begins_an_attempt_unchanged() -> None:
    b = Breaker(failures=1)
    assert breaker.attempt(b, at(1), POLICY) is b


def test_after_the_cooldown_one_trial_is_permitted_and_no_second() -> None:
    b = breaker.attempt(tripped(), at(10), POLICY)
    assert (b.state, b.since) == ("half_open", 10)
    assert not breaker.permits(b, at(10))


def test_a_trial_that_never_reports_lets_the_next_one_pass_after_its_lease() -> None:
    b = breaker.attempt(tripped(), at(10), POLICY)
    assert breaker.permits(b, at(20))
    again = breaker.attempt(b, at(20), POLICY)
    assert (again.state, again.since, again.retry_at) == ("half_open", 10, 30)
    assert breaker.succeed(again, at(21), POLICY, b.generation) is again, "the lost trial's result comes too late"


def test_a_good_trial_closes_it_and_forgets_the_past() -> None:
    b = breaker.attempt(tripped(), at(10), POLICY)
    closed = breaker.succeed(b, at(11), POLICY, b.generation)
    assert closed == Breaker(since=11, generation=b.generation + 1)


def test_a_failed_trial_opens_it_for_longer_each_time_up_to_the_longest() -> None:
    b, now, waits = tripped(), 0.0, []
    for _ in range(5):
        waits.append(b.retry_at - now)
        now = b.retry_at
        b = breaker.fail(breaker.attempt(b, at(now), POLICY), at(now), POLICY)
    assert waits == [10, 20, 40, 60, 60]
    assert b.failures == 8


def test_a_thousand_openings_do_not_overflow() -> None:
    assert Policy(growth=100.0, cooldown=1.0).cooling(1000) == 3600


def test_a_failure_while_open_keeps_the_time_since_when_it_is_open() -> None:
    b = breaker.fail(tripped(5), at(9), POLICY)
    assert (b.since, b.retry_at) == (5, 29)


def test_a_closed_breaker_waits_out_a_peers_wish() -> None:
    b = breaker.fail(Breaker(), at(0), POLICY, retry_after=7)
    assert b.state == "closed"
    assert not breaker.permits(b, at(6.9))
    assert breaker.permits(b, at(7))
    assert breaker.succeed(b, at(8), POLICY) == Breaker()


def test_a_peers_wish_outlasts_what_went_well_or_failed_beside_it() -> None:
    held = breaker.fail(Breaker(), at(0), POLICY, retry_after=7)
    beside = breaker.succeed(held, at(1), POLICY)
    assert (beside.failures, beside.retry_at) == (0, 7), "that was asked before the peer said so"
    assert breaker.succeed(beside, at(2), POLICY) is beside
    assert breaker.fail(held, at(1), POLICY).retry_at == 7
    assert breaker.fail(held, at(1), POLICY, retry_after=2).retry_at == 7, "a shorter wish shortens no longer one"


def test_each_state_has_a_level_for_rules_and_charts() -> None:
    opened = tripped()
    states = (Breaker(), breaker.attempt(opened, at(10), POLICY), opened)
    assert [breaker.level(b) for b in states] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("asked", "held"),
    [(1e9, 60.0), (float("inf"), 60.0), (float("nan"), 0.0), (-5.0, 0.0), (0.0, 0.0), (None, 0.0)],
)
def test_a_hostile_wish_is_bounded(asked: float | None, held: float) -> None:
    b = breaker.fail(Breaker(), at(0), POLICY, retry_after=asked)
    assert breaker.wait(b, at(0)) == held


def test_a_peers_wish_prolongs_the_cooldown_and_never_shortens_it() -> None:
    assert breaker.fail(tripped(), at(0), POLICY, retry_after=50).retry_at == 50
    assert breaker.fail(tripped(), at(0), POLICY, retry_after=1).retry_at == 20


def test_a_late_result_of_an_older_generation_changes_nothing() -> None:
    before = Breaker()
    b = tripped()
    assert breaker.succeed(b, at(1), POLICY, before.generation) is b
    assert breaker.fail(b, at(1), POLICY, generation=before.generation) is b


def test_after_a_cure_the_next_attempt_is_permitted_at_once() -> None:
    b = breaker.hasten(tripped(), at(3))
    assert b.state == "open"
    assert breaker.permits(b, at(3))
    assert breaker.hasten(b, at(3)) is b


def test_on_another_boots_clock_a_wait_begins_anew() -> None:
    moved = breaker.rebase(tripped(1_000_000), 1_000_000, at(30))
    assert (moved.state, moved.since, moved.retry_at) == ("open", 30, 40)


def test_on_another_boots_clock_a_closed_breaker_waits_out_a_peers_wish_anew() -> None:
    moved = breaker.rebase(breaker.fail(Breaker(), at(1e6), POLICY, retry_after=7), 1e6, at(5))
    assert (moved.state, moved.failures, moved.retry_at) == ("closed", 1, 12)


def test_on_another_boots_clock_what_was_waited_out_permits() -> None:
    moved = breaker.rebase(tripped(1_000_000), 1_000_010, at(5))
    assert (moved.state, breaker.permits(moved, at(5))) == ("open", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trip_after": 0},
        {"cooldown": -1.0},
        {"cooldown": 10.0, "longest": 5.0},
        {"longest": float("inf")},
        {"growth": 0.5},
        {"growth": float("nan")},
        {"growth": 101.0},
    ],
)
def test_a_senseless_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Policy(**wrong)  # type: ignore[arg-type]


class Peer(RuleBasedStateMachine):
    """Attempts begin and report in any order and at any time; what must hold always is in the invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.mono = 100.0
        self.b = Breaker()
        self.known = 100.0
        self.trials: list[int] = []
        self.row = 0

    def now(self) -> Now:
        return at(self.mono)

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds: float) -> None:
        self.mono += seconds

    @rule()
    def begin(self) -> None:
        if breaker.permits(self.b, self.now()):
            before = self.b
            self.b = breaker.attempt(self.b, self.now(), POLICY)
            self.known = self.mono
            self.trials.append(self.b.generation)
            if before.state != "closed":
                assert self.b.state == "half_open"
                assert not breaker.permits(self.b, self.now()), "one trial at a time"

    @rule(good=st.booleans(), which=st.integers(0, 50), wish=st.none() | st.floats())
    def report(self, good: bool, which: int, wish: float | None) -> None:
        if not self.trials:
            return
        generation = self.trials.pop(which % len(self.trials))
        before, current = self.b, generation == self.b.generation
        self.known = self.mono
        if good:
            self.b = breaker.succeed(self.b, self.now(), POLICY, generation)
        else:
            self.b = breaker.fail(self.b, self.now(), POLICY, wish, generation)
        if not current:
            assert self.b is before, "late results are harmless"
            return
        self.row = 0 if good else self.row + 1
        if good:
            assert self.b.state == "closed"
            assert self.b.retry_at in (0.0, before.retry_at)
            assert breaker.permits(self.b, self.now()) or before.state == "closed", "only a peer's wish holds it"
        else:
            assert (self.b.state == "open") == (before.state != "closed" or self.row >= POLICY.trip_after)

    @rule()
    def cure(self) -> None:
        self.b = breaker.hasten(self.b, self.now())
        self.known = self.mono
        assert breaker.permits(self.b, self.now())

    @rule()
    def reboot(self) -> None:
        left = breaker.wait(self.b, self.now())
        self.b, self.mono = breaker.rebase(self.b, self.known, at(5.0)), 5.0
        self.known = self.mono
        assert breaker.wait(self.b, self.now()) >= left - 1e-6, "longer, never shorter"

    @invariant()
    def counts_what_failed_in_a_row(self) -> None:
        assert self.b.failures == self.row

    @invariant()
    def never_waits_longer_than_the_longest(self) -> None:
        assert 0 <= breaker.wait(self.b, self.now()) <= POLICY.longest + 1e-6

    @invariant()
    def is_open_only_after_enough_failures(self) -> None:
        assert (self.b.opened > 0) == (self.b.state != "closed")
        assert self.b.state == "closed" or self.row >= POLICY.trip_after


TestPeer = Peer.TestCase
TestPeer.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
