"""A baseline as it is shown: everything that a person asks of it, and nothing of the sample."""

from __future__ import annotations

import msgspec
import numpy as np

from trader_monitor.core.models.drift.baseline import baseline_of
from trader_monitor.core.models.drift.baseline_view import BaselineView, Share, view


def test_numbers_are_shown_with_what_is_missing_apart() -> None:
    values = [None, float("nan"), float("inf"), *np.arange(1.0, 101.0).tolist()]
    shown = view(
        baseline_of("rsi", values, source="train.csv", first_at=1.0, last_at=2.0, created=3.0, calibrated=False)
    )
    assert (shown.feature, shown.kind, shown.rows, shown.usable) == ("rsi", "numeric", 103, 100)
    assert (shown.nulls, shown.nans, shown.infinities) == (1, 1, 1)
    assert (shown.minimum, shown.mean, shown.maximum) == (1.0, 50.5, 100.0)
    assert shown.std is not None
    assert abs(shown.std - float(np.std(np.arange(1.0, 101.0), ddof=1))) < 1e-12
    assert shown.percentiles["50"] == 50.5
    assert shown.edges == (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
    assert (shown.source, shown.first_at, shown.last_at, shown.created) == ("train.csv", 1.0, 2.0, 3.0)
    assert shown.evidence == "uncalibrated"
    assert not shown.constant


def test_few_rows_say_that_there_is_no_evidence() -> None:
    assert view(baseline_of("rsi", np.arange(50.0))).evidence == "few_rows"


def test_evidence_that_can_be_had_needs_no_word() -> None:
    assert view(baseline_of("rsi", np.random.default_rng(1).normal(size=1_000))).evidence == ""


def test_categories_are_shown_by_their_frequency_and_the_rest_together() -> None:
    values = ["often"] * 50 + [f"c{number:02d}" for number in range(30)]
    shown = view(baseline_of("side", values))
    assert shown.categories[0] == Share("often", 50)
    assert (len(shown.categories), shown.other) == (20, 11)
    assert (shown.mean, shown.percentiles, shown.edges) == (None, {}, ())


def test_nothing_usable_has_no_figures() -> None:
    shown = view(baseline_of("rsi", np.full(10, np.nan)))
    assert (shown.usable, shown.mean, shown.minimum, shown.percentiles) == (0, None, None, {})


def test_it_goes_through_json() -> None:
    shown = view(baseline_of("rsi", np.arange(100.0), calibrated=False))
    assert msgspec.json.decode(msgspec.json.encode(shown), type=BaselineView) == shown
