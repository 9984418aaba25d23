"""Evidence at any time: it is seldom wrong however long one looks, and finds what is there."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.models.performance.evidence import ErrorEvidence, allowed_rate, effective, highest_rate


@pytest.mark.parametrize(
    ("errors", "n", "beta"), [(0, 50, 0.01), (10, 100, 0.01), (99, 100, 0.05), (1, 3, 0.2), (2000, 10_000, 0.001)]
)
def test_the_upper_limit_of_a_rate_is_clopper_and_pearsons(errors: int, n: int, beta: float) -> None:
    assert highest_rate(errors, n, beta) == pytest.approx(stats.beta.ppf(1 - beta, errors + 1, n - errors), abs=1e-9)


def test_a_baseline_that_was_always_wrong_allows_everything() -> None:
    assert highest_rate(7, 7, 0.01) == 1.0
    assert (allowed_rate(1.0), allowed_rate(0.0)) == (1.0 - 1e-6, 1e-6)
    evidence = ErrorEvidence.against(np.ones(7, bool), np.arange(7.0)).after(np.ones(1000))
    assert not evidence.drifted


@pytest.mark.parametrize("allowed", [0.02, 0.2, 0.5])
def test_under_the_null_hypothesis_it_ever_crosses_in_at_most_alpha_of_all_lives(allowed: float) -> None:
    """Optional stopping at its worst: one looks after every outcome, and stops at the first crossing."""
    random = np.random.default_rng(1)
    lives = 500
    wolves = sum(
        ErrorEvidence(allowed, 20.0).after((random.random(2000) < allowed).astype(float)).drifted for _ in range(lives)
    )
    # The threshold is 1 / 0.05; chance may have it that some more than 25 of 500 lives cross.
    assert wolves <= stats.binom.ppf(0.999, lives, 0.05)


def test_a_baseline_that_is_itself_a_sample_keeps_the_promise_too() -> None:
    random = np.random.default_rng(2)
    lives, wolves = 400, 0
    for _ in range(lives):
        baseline = random.random(200) < 0.3
        later = (random.random(1000) < 0.3).astype(float)
        wolves += ErrorEvidence.against(baseline, np.arange(200.0)).after(later).drifted
    assert wolves <= stats.binom.ppf(0.999, lives, 0.05)


@pytest.mark.parametrize(
    ("rate", "quiet", "within", "least"), [(0.4, 0, 300, 0.9), (0.4, 2000, 600, 0.9), (0.3, 500, 3000, 0.6)]
)
def test_a_rate_of_errors_that_grew_is_found(rate: float, quiet: int, within: int, least: float) -> None:
    """The baseline erred in 20 % of 500 rows; the concept drifts after `quiet` outcomes."""
    random = np.random.default_rng(3)
    found, baseline = 0, np.arange(500) < 100
    for _ in range(60):
        evidence = ErrorEvidence.against(baseline, np.arange(500.0)).after((random.random(quiet) < 0.2).astype(float))
        found += evidence.after((random.random(within) < rate).astype(float)).drifted
    assert found / 60 >= least


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=60), st.integers(1, 59))
def test_one_by_one_in_batches_and_after_a_restart_it_comes_to_the_same(wrong: list[float], cut: int) -> None:
    start = ErrorEvidence(0.2, 3.0)
    errors = np.array(wrong, float)
    whole = start.after(errors)
    batches = start.after(errors[:cut])
    batches = msgspec.msgpack.decode(msgspec.msgpack.encode(batches), type=ErrorEvidence).after(errors[cut:])
    single = start
    for each in wrong:
        single = single.after(np.array([each]))
    for other in (batches, single):
        assert (other.seen, other.crossed) == (whole.seen, whole.crossed)
        assert other.evidence == pytest.approx(whole.evidence, rel=1e-9)
        assert other.highest == pytest.approx(whole.highest, rel=1e-9, abs=1e-12)
    assert whole.evidence == pytest.approx(by_definition(errors, 0.2), rel=1e-9)


def by_definition(wrong: np.ndarray, allowed: float) -> float:
    """The mixture over odds and over the outcome that a bet begins at, term by term."""
    n, total = len(wrong), 101 / (len(wrong) + 101)
    for times in (1.25, 1.5, 2.0, 3.0, 5.0):
        odds = times * allowed / (1 - allowed)
        rate = odds / (1 + odds)
        ratios = [each * rate / allowed + (1 - each) * (1 - rate) / (1 - allowed) for each in wrong]
        total += sum(101 / ((k + 100) * (k + 101)) * math.prod(ratios[k - 1 :]) for k in range(1, n + 1)) / 5
    return total


def test_what_was_proven_stays_proven_and_says_when() -> None:
    evidence = ErrorEvidence(0.1, 20.0).after(np.ones(10))
    assert evidence.crossed is not None
    calm = evidence.after(np.zeros(500))
    assert (calm.crossed, calm.highest) == (evidence.crossed, evidence.highest)
    assert calm.drifted
    assert calm.evidence < 20.0


def test_the_e_value_stays_a_number_however_much_there_is() -> None:
    assert math.isfinite(ErrorEvidence(0.01, 20.0).after(np.ones(5000)).evidence)


def test_outcomes_that_are_wrong_together_are_one_piece_of_evidence() -> None:
    """50 subjects a day, of which all or none are wrong: the market turned or it did not. Row by row the same stream
    would be proof of anything."""
    random, lives, wolves, naive = np.random.default_rng(15), 100, 0, 0
    for _ in range(lives):
        days = random.random(60) < 0.4
        baseline = np.repeat(days, 50)
        later = random.random(250) < 0.4
        evidence = ErrorEvidence.against(baseline, np.repeat(np.arange(60.0), 50))
        wolves += evidence.after(later.astype(float)).drifted
        alone = ErrorEvidence.against(baseline, np.arange(3000.0))
        naive += alone.after(np.repeat(later, 50).astype(float)).drifted
    assert wolves <= stats.binom.ppf(0.999, lives, 0.05)
    assert naive / lives > 0.2


@pytest.mark.parametrize(
    ("sentence", "wrong", "moment", "expected"),
    [
        ("Rows of their own count each, but one.", [1, 0, 1, 0, 0, 0, 0, 0], range(8), (2, 7)),
        (
            "Moments that err as a whole count once each, but one.",
            [1, 1, 0, 0, 0, 0, 0, 0],
            [0, 0, 1, 1, 2, 2, 3, 3],
            (1, 3),
        ),
        ("Moments that err alike are as good as their rows.", [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2], (3, 6)),
        ("Without an error each row counts.", [0, 0, 0], range(3), (0, 3)),
        ("Without an error moments of several rows count once.", [0, 0, 0, 0], [0, 0, 1, 1], (0, 2)),
        ("All wrong, too.", [1, 1, 1, 1], [0, 0, 1, 1], (2, 2)),
        ("One moment alone is one row.", [1, 0, 0, 0], [0, 0, 0, 0], (1, 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_sample_of_independent_rows_that_knows_as_much(
    sentence: str, wrong: list[int], moment: Any, expected: tuple[int, int]
) -> None:
    assert effective(np.array(wrong, bool), np.array(moment, float)) == expected, sentence
