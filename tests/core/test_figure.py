"""Figures: intervals of shares hold the share, to the last digit; one of no width is none."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.figure import Interval, sampled, wilson, wilson_share


@given(st.data(), st.integers(1, 100_000))
def test_an_interval_of_a_share_holds_the_share(data: st.DataObject, n: int) -> None:
    for hits in (0, n, data.draw(st.integers(0, n))):
        interval = wilson(hits, n)
        assert 0.0 <= interval.low <= hits / n <= interval.high <= 1.0
    share = data.draw(st.floats(0.0, 1.0))
    assert wilson_share(share, n).low <= share <= wilson_share(share, n).high


def test_none_and_all_of_a_few_reach_to_the_end() -> None:
    for n in range(1, 3000):
        assert wilson(0, n).low == 0.0
        assert wilson(n, n).high == 1.0
        assert math.isclose(wilson(0, n).high, 1.0 - wilson(n, n).low)


def test_an_interval_of_no_width_is_none() -> None:
    """A hundred errors of exactly 2 say nothing of how errors vary."""
    figure = sampled("error", (), 2.0, 100, "mean", Interval(2.0, 2.0, "normal"))
    assert (figure.value, figure.interval) == (2.0, None)
    assert figure.reason_open == "all observations agree, so that nothing tells how they vary"
