"""Headroom of rate limits: what is left, and when it is used up, or why nobody can say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trader_monitor.core.facts import RateLimit
from trader_monitor.core.trading.exchanges.headroom import Allowance, headroom_figures

T0 = 1_700_000_000.0
LEFT, USED_UP = "exchange_rate_limit_headroom_ratio", "exchange_rate_limit_exhaustion_seconds"


def allowance(*reports: tuple[float, float], limit: float | None = 100.0, resets_at: float | None = None) -> Allowance:
    found = Allowance()
    for at, remaining in reports:
        given: dict[str, Any] = {"limit": limit, "resets_at": None if resets_at is None else T0 + resets_at}
        found.take(RateLimit(at=T0 + at, exchange="e", remaining=remaining, **given), T0 + at)
    return found


@pytest.mark.parametrize(
    ("sentence", "given", "now", "expected"),
    [
        ("two a second, forty left", allowance((0, 60), (5, 50), (10, 40)), 10, 20.0),
        ("time goes on without a report", allowance((0, 60), (5, 50), (10, 40)), 14, 16.0),
        ("never below nothing", allowance((0, 60), (5, 50), (10, 40)), 100, 0.0),
        ("none left", allowance((0, 0)), 0, 0.0),
        ("before it is renewed", allowance((0, 60), (5, 50), (10, 40), resets_at=60), 10, 20.0),
        ("it is renewed before", allowance((0, 60), (5, 50), (10, 40), resets_at=25), 10, "it renews before"),
        ("it was renewed", allowance((0, 60), (5, 50), (10, 40), resets_at=25), 26, "it was renewed after"),
        ("more remains: a new window, too young", allowance((0, 9), (5, 8), (10, 99)), 10, "fewer than 3 reports"),
        ("a new window has its own rate", allowance((0, 9), (1, 99), (2, 98), (3, 97)), 3, 97.0),
        ("too few", allowance((0, 60), (5, 50)), 5, "fewer than 3 reports"),
        ("all at once", allowance((0, 60), (0, 50), (0, 40)), 0, "fewer than 3 reports at different times"),
        ("nobody calls", allowance((0, 60), (5, 60), (10, 60)), 10, "it is not falling"),
        (
            "silent for six minutes",
            allowance((0, 60), (5, 50), (10, 40)),
            370,
            "the last report is more than 5 min old",
        ),
        ("a late report changes nothing", allowance((0, 60), (5, 50), (10, 40), (7, 1)), 10, 20.0),
        ("the newest sixteen are taken", allowance(*((n, 1000 - n) for n in range(20)), (20, 950)), 20, 950 / 3),
    ],
)
def test_time_to_exhaustion(sentence: str, given: Allowance, now: float, expected: float | str) -> None:
    for either in (given, msgspec.msgpack.decode(msgspec.msgpack.encode(given), type=Allowance)):
        figure = next(figure for figure in either.figures((), T0 + now) if figure.name == USED_UP)
        if isinstance(expected, str):
            assert figure.value is None, sentence
            assert expected in figure.reason, sentence
        else:
            assert figure.value == pytest.approx(expected), sentence
            assert figure.measured or figure.reason_open


def test_a_reset_that_has_passed_begins_a_window_even_where_less_remains() -> None:
    found = Allowance()
    for at, remaining, resets_at in ((0.0, 50.0, 10.0), (5.0, 49.0, 10.0), (11.0, 48.0, 20.0)):
        found.take(RateLimit(at=T0 + at, exchange="e", remaining=remaining, resets_at=T0 + resets_at), T0 + at)
    assert found.reports == [(T0 + 11.0, 48.0)]


@pytest.mark.parametrize(
    ("sentence", "given", "now", "expected"),
    [
        ("a share of the limit", allowance((0, 60), (5, 25)), 5, 0.25),
        ("no limit is known", allowance((0, 60), limit=None), 0, None),
        ("it was renewed since", allowance((0, 60), resets_at=9), 10, None),
        ("nothing was heard of it for long", allowance((0, 60)), 301, None),
    ],
)
def test_headroom(sentence: str, given: Allowance, now: float, expected: float | None) -> None:
    figure = next(figure for figure in given.figures((), T0 + now) if figure.name == LEFT)
    assert figure.value == expected, sentence
    assert (figure.value is None) == bool(figure.reason), sentence


def test_bots_with_keys_of_their_own_are_apart() -> None:
    one = allowance((0, 5))
    found = list(headroom_figures({("e", None, "b"): one, ("e", "orders", None): one}, T0))
    assert {figure.labels for figure in found} == {
        (("exchange", "e"), ("source", "b")),
        (("exchange", "e"), ("scope", "orders")),
    }
