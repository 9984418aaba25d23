"""Figures of round trips: bots' own statistics, formulas over the whole list of results, and what cannot be known."""

from __future__ import annotations

import math
from decimal import Decimal as D
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.trading.positions.test_recordings import folded, recorded
from trader_monitor.core.figure import Figure
from trader_monitor.core.statistics.intervals import student
from trader_monitor.core.trading.positions.ledger import Ledger
from trader_monitor.core.trading.positions.results import figures

KEY = ("bot", "main", "USD")


def by_name(ledger: Ledger) -> dict[str, Figure]:
    return {"".join((f.name, *(v for n, v in f.labels if n == "quantile"))): f for f in figures({KEY: ledger})}


def closed(*results: float, seconds: float = 60.0) -> Ledger:
    ledger = Ledger()
    for result in results:
        ledger.close(D(repr(result)), seconds)
    return ledger


# What the bots' own statistics say (`stats_pnl` of the recordings); theirs rounds each position to the cent.
NAUTILUS = {
    "nautilus_goog_daily": {
        "expectancy": 917.9999999999998,
        "win_ratio": 0.38271604938271603,
        "average_win": 5437.290322580645,
        "average_loss": -1883.96,
        "largest_win": 18018.0,
        "largest_loss": -9257.0,
    },
    "nautilus_eurusd_overleveraged": {
        "expectancy": 309.28122850122634,
        "win_ratio": 0.31203931203931207,
        "average_win": 8243.26118110236,
        "average_loss": -3289.3453928571453,
        "largest_win": 50442.98,
        "largest_loss": -24895.54,
    },
}


@pytest.mark.parametrize("name", NAUTILUS)
def test_the_recordings_statistics_are_the_bots_own_to_the_cent_that_it_rounds(name: str) -> None:
    board = folded(list({fact.id: fact for fact in recorded(name)}.values()), 500)
    found = by_name(next(iter(board.trading.ledgers.values())))
    for what, theirs in NAUTILUS[name].items():
        figure = found[f"round_trip_{what}"]
        assert figure.value == pytest.approx(theirs, rel=1e-14, abs=0.005 if "eurusd" in name else 0), what
    assert found["round_trip_win_ratio"].n == {"nautilus_goog_daily": 81}.get(name, 407)


def test_their_profit_factor_is_of_returns_and_ours_of_money() -> None:
    """1.99 is their quotient of summed daily returns; of money their own averages and counts make our 1.79."""
    board = folded(list({fact.id: fact for fact in recorded("nautilus_goog_daily")}.values()), 500)
    found = by_name(next(iter(board.trading.ledgers.values())))
    theirs = NAUTILUS["nautilus_goog_daily"]
    assert found["round_trip_profit_factor"].value == pytest.approx(
        31 * theirs["average_win"] / (50 * -theirs["average_loss"]), rel=1e-14
    )


results = st.lists(st.integers(-10_000, 10_000).map(lambda cents: cents / 100), min_size=10, max_size=60)


@given(results)
def test_running_sums_are_the_formulas_over_all_results(results: list[float]) -> None:
    found = by_name(closed(*results))
    n = len(results)
    expectancy = found["round_trip_expectancy"]
    assert expectancy.value == pytest.approx(mean(results), abs=1e-9)
    if len(set(results)) == 1:
        assert (expectancy.interval, expectancy.reason_open[:22]) == (None, "all observations agree")
    else:
        assert expectancy.interval is not None
        half = student(n - 1) * stdev(results) / math.sqrt(n)
        assert expectancy.interval.high - expectancy.interval.low == pytest.approx(2 * half, abs=1e-9)
    wins, losses = [r for r in results if r > 0], [r for r in results if r < 0]
    assert found["round_trip_win_ratio"].value == len(wins) / n, "a trip that broke even counts below the line"
    factor = found["round_trip_profit_factor"]
    if not losses:
        assert (factor.value, factor.reason) == (None, "nothing was lost")
        return
    assert factor.value == pytest.approx(sum(wins) / -sum(losses), abs=1e-9)
    if not wins:
        assert (factor.interval, factor.reason_open) == (None, "nothing was won")
        return
    gains, falls = [max(r, 0.0) for r in results], [max(-r, 0.0) for r in results]
    a, b = mean(gains), mean(falls)
    covariance = sum((x - a) * (y - b) for x, y in zip(gains, falls, strict=True)) / (n - 1)
    variance = ((stdev(gains) / a) ** 2 + (stdev(falls) / b) ** 2 - 2 * covariance / (a * b)) / n
    assert factor.interval is not None
    assert math.log(factor.interval.high / factor.interval.low) == pytest.approx(
        2 * 1.959963984540054 * math.sqrt(variance), rel=1e-6
    )


UNKNOWN = [
    ("Nothing has ended.", (), "round_trip_win_ratio", None, "no round trip has ended"),
    ("Nothing was lost.", (5.0,), "round_trip_profit_factor", None, "nothing was lost"),
    ("Nothing was lost, on average either.", (5.0,), "round_trip_average_loss", None, "no round trip ended in a loss"),
    ("Too few for an interval.", (5.0, -5.0), "round_trip_expectancy", 0.0, "fewer than 10 round trips"),
    ("Too few for the factor's.", (6.0, -5.0), "round_trip_profit_factor", 1.2, "fewer than 10 round trips"),
]


@pytest.mark.parametrize(("sentence", "given", "name", "value", "reason"), UNKNOWN, ids=[c[0] for c in UNKNOWN])
def test_what_cannot_be_known_says_why(
    sentence: str, given: tuple[float, ...], name: str, value: float | None, reason: str
) -> None:
    figure = by_name(closed(*given))[name]
    assert (figure.value, figure.reason or figure.reason_open) == (value, reason), sentence


def test_round_trips_of_an_older_version_have_no_spread() -> None:
    ledger = Ledger(wins=20, losses=5, profit=D(100), loss=D(50))
    found = by_name(ledger)
    assert found["round_trip_expectancy"].value == 2.0
    for name in ("expectancy", "profit_factor", "average_win"):
        assert found[f"round_trip_{name}"].reason_open == "some round trips ended before their spread was kept"
    assert found["round_trip_holding_seconds"].reason == "holding times were not kept yet"


def test_streaks_run_and_break_and_breaking_even_ends_one() -> None:
    trips = closed(1, 2, 3, 0, -1, -1, 5).trips
    assert (trips.streak, trips.longest_won, trips.longest_lost) == (1, 3, 2)
    assert (closed(1, 0).trips.streak, closed(-1, -2).trips.streak) == (0, -2)


@given(st.lists(st.floats(0.001, 1e7), min_size=1, max_size=80))
def test_a_quantile_of_holding_times_is_within_a_twentieth_of_its_rank_s(times: list[float]) -> None:
    ledger = Ledger()
    for seconds in times:
        ledger.close(D(1), seconds)
    for share in (0.5, 0.9, 0.99):
        true = sorted(times)[int(share * (len(times) - 1))]
        assert ledger.trips.held_quantile(share) == pytest.approx(true, rel=0.05)
    assert by_name(ledger)["round_trip_holding_mean_seconds"].value == pytest.approx(mean(times), abs=1e-6)
    assert Ledger().trips.held_quantile(0.5) is None


def test_a_strategy_s_figures_name_it() -> None:
    (ratio, *_) = figures({}, {(*KEY, "momentum"): closed(1.0)})
    assert dict(ratio.labels) == {"source": "bot", "account": "main", "currency": "USD", "strategy": "momentum"}
