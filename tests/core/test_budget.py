"""Budget and backoff: sentences, and a state machine against a plain list of what was granted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trader_monitor.core.backoff import Backoff
from trader_monitor.core.budget import Budget, Stamps
from trader_monitor.core.facts import Now


def at(mono: float) -> Now:
    return Now(1_700_000_000.0 + mono, mono)


def test_two_of_two_are_granted_and_a_third_is_not() -> None:
    budget = Budget(2, 10)
    one, granted_1 = budget.spend((), at(1))
    two, granted_2 = budget.spend(one, at(2))
    three, granted_3 = budget.spend(two, at(3))
    assert (granted_1, granted_2, granted_3) == (True, True, False)
    assert three == two == (1, 2), "what is refused costs nothing"


def test_a_spending_leaves_the_window_exactly_when_it_ends() -> None:
    budget = Budget(1, 10)
    assert budget.spend((5.0,), at(14.999)) == ((5.0,), False)
    assert budget.spend((5.0,), at(15.0)) == ((15.0,), True)


def test_it_tells_how_many_are_left_and_how_long_to_wait() -> None:
    budget = Budget(3, 10)
    assert (budget.left((), at(0)), budget.wait((), at(0))) == (3, 0)
    assert (budget.left((1, 2), at(5)), budget.wait((1, 2), at(5))) == (1, 0)
    assert (budget.left((1, 2, 3), at(5)), budget.wait((1, 2, 3), at(5))) == (0, 6)


def test_a_limit_lowered_by_a_reload_waits_for_as_many_to_leave() -> None:
    assert Budget(1, 10).wait((1, 2, 3), at(5)) == 8
    assert Budget(1, 10).left((1, 2, 3), at(5)) == 0


def test_a_budget_of_none_grants_nothing_for_ever() -> None:
    assert Budget(0, 10).spend((), at(1)) == ((), False)
    assert Budget(0, 10).wait((), at(1)) == float("inf")


def test_a_stamp_from_another_boots_clock_counts_as_spent_now() -> None:
    assert Budget(2, 10).spend((1e9,), at(5)) == ((5, 5), True)
    assert Budget(1, 10).wait((1e9,), at(5)) == 10


@pytest.mark.parametrize(("limit", "within"), [(-1, 1.0), (1, 0.0), (1, float("inf")), (1, float("nan"))])
def test_a_senseless_budget_is_refused(limit: int, within: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Budget(limit, within)


class Spender(RuleBasedStateMachine):
    """Spends at random; in no window of `within` seconds may more than `limit` be granted."""

    budget = Budget(3, 60.0)

    def __init__(self) -> None:
        super().__init__()
        self.mono = 10.0
        self.stamps: Stamps = ()
        self.granted: list[float] = []

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.mono += seconds

    @rule()
    def spend(self) -> None:
        left, wait = self.budget.left(self.stamps, at(self.mono)), self.budget.wait(self.stamps, at(self.mono))
        self.stamps, granted = self.budget.spend(self.stamps, at(self.mono))
        assert granted == (left > 0) == (wait == 0)
        if granted:
            self.granted.append(self.mono)

    @rule()
    def wait_as_told(self) -> None:
        self.mono += self.budget.wait(self.stamps, at(self.mono)) + 1e-6
        assert self.budget.left(self.stamps, at(self.mono)) >= 1

    @invariant()
    def never_over_the_limit(self) -> None:
        assert len(self.stamps) <= self.budget.limit
        assert list(self.stamps) == sorted(self.stamps)
        for i in range(len(self.granted) - self.budget.limit):
            assert self.granted[i + self.budget.limit] - self.granted[i] >= self.budget.within - 1e-9


TestSpender = Spender.TestCase
TestSpender.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_backoff_doubles_up_to_the_longest() -> None:
    backoff = Backoff(first=1, longest=10, growth=2, spread=0.5)
    assert [backoff.delay(n, 0.0) for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_jitter_shortens_a_wait_by_at_most_the_spread() -> None:
    backoff = Backoff(first=4, longest=10, spread=0.5)
    assert backoff.delay(1, 0.5) == 3
    assert backoff.delay(1, 1.0) == 2


@given(failures=st.integers(1, 10**9), jitter=st.floats(0, 1, exclude_max=True), growth=st.floats(1, 100))
def test_a_backoff_stays_between_its_bounds(failures: int, jitter: float, growth: float) -> None:
    backoff = Backoff(first=0.5, longest=60, growth=growth, spread=0.5)
    assert 0.25 <= backoff.delay(failures, jitter) <= 60


@pytest.mark.parametrize(
    "wrong",
    [{"first": -1.0}, {"first": 2.0, "longest": 1.0}, {"longest": float("inf")}, {"growth": 0.9}, {"spread": 1.1}],
)
def test_a_senseless_backoff_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Backoff(**wrong)
