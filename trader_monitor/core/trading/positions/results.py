"""What round trips earned: win rate, profit factor, expectancy, streaks and holding times, with their uncertainty.

Every figure is per closed round trip (flat to flat, or to a flip), net of fees and multiplied; a trip that broke even
counts in the denominator of the win rate and ends a streak. The method of costing does not matter: from flat to flat
average cost and FIFO come to the same. Intervals take the trips for independent, as trades of one market seldom are
altogether: read them as the least uncertainty there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal

from trader_monitor.core.figure import Z95, Figure, Interval, Pairs, exact, missing, sampled, told, wilson
from trader_monitor.core.statistics.intervals import student_interval
from trader_monitor.core.trading.positions.holdings import StrategyLedgerKey
from trader_monitor.core.trading.positions.ledger import Ledger
from trader_monitor.core.trading.positions.shown import LedgerKey

__all__ = ["ENOUGH", "figures"]

ENOUGH = 10
"""Round trips below which no interval is given for a mean or a ratio of sums."""

QUANTILES = (0.5, 0.9, 0.99)

_NET = "closed round trips, net of fees"
_NONE = "no round trip has ended"


def figures(
    ledgers: Mapping[LedgerKey, Ledger], strategies: Mapping[StrategyLedgerKey, Ledger] | None = None
) -> Iterator[Figure]:
    """All figures of all accounts, and of the strategies, which are parts of them."""
    for (source, account, currency), ledger in ledgers.items():
        yield from _figures(told(source=source, account=account, currency=currency), ledger)
    for (source, account, currency, strategy), ledger in (strategies or {}).items():
        yield from _figures(told(source=source, account=account, currency=currency, strategy=strategy), ledger)


def _figures(labels: Pairs, ledger: Ledger) -> Iterator[Figure]:
    n, trips = ledger.closed, ledger.trips
    if not n:
        yield missing("round_trip_win_ratio", labels, 0, f"won in all {_NET}", _NONE)
        return
    yield sampled("round_trip_win_ratio", labels, ledger.wins / n, n, f"won in all {_NET}", wilson(ledger.wins, n))
    yield _expectancy(labels, ledger)
    yield _profit_factor(labels, ledger)
    for name, total, squared, number, extreme in (
        ("win", ledger.profit, trips.won_squared, ledger.wins, trips.best),
        ("loss", -ledger.loss, trips.lost_squared, ledger.losses, trips.worst),
    ):
        how = f"mean result of those {_NET}, that ended in a {name}"
        if number:
            spread, open = _mean_interval(total, squared, number, is_whole=trips.number == n)
            mean = float(total / number)
            yield sampled(f"round_trip_average_{name}", labels, mean, number, how, spread, open=open)
            yield exact(f"round_trip_largest_{name}", labels, float(extreme), number, f"largest {name} of {_NET}")
        else:
            yield missing(f"round_trip_average_{name}", labels, 0, how, f"no round trip ended in a {name}")
    for name, streak, how in (
        ("current", trips.streak, "wins (positive) or losses (negative) in a row up to now"),
        ("longest_wins", trips.longest_won, "most wins in a row"),
        ("longest_losses", trips.longest_lost, "most losses in a row"),
    ):
        yield exact(f"round_trip_streak_{name}", labels, float(streak), trips.number, f"{how}; {_NET}")
    yield from _holding(labels, ledger)


def _mean_interval(total: Decimal, squared: Decimal, number: int, *, is_whole: bool) -> tuple[Interval | None, str]:
    """Student's interval of a mean from exact sums (1908), and why there is none where there is none."""
    if not is_whole:
        return None, "some round trips ended before their spread was kept"
    if number < ENOUGH:
        return None, f"fewer than {ENOUGH} round trips"
    mean = total / number
    variance = float(max(squared - total * mean, Decimal(0)) / (number - 1))
    return student_interval(float(mean), variance, number), ""


def _expectancy(labels: Pairs, ledger: Ledger) -> Figure:
    trips, n = ledger.trips, ledger.closed
    total = ledger.profit - ledger.loss
    squared = trips.won_squared + trips.lost_squared
    interval, open = _mean_interval(total, squared, n, is_whole=trips.number == n)
    return sampled("round_trip_expectancy", labels, float(total / n), n, f"mean result of {_NET}", interval, open=open)


def _profit_factor(labels: Pairs, ledger: Ledger) -> Figure:
    """Gross profit by gross loss. The interval is the delta method's on the logarithm of the ratio of two means of the
    same n trips, of which one is zero wherever the other is not, so that their covariance is less the product of the
    means (Oehlert, A note on the delta method, 1992)."""
    how = f"sum of wins by sum of losses of {_NET}"
    trips, n = ledger.trips, ledger.closed
    if not ledger.loss:
        return missing("round_trip_profit_factor", labels, n, how, "nothing was lost")
    factor = float(ledger.profit / ledger.loss)
    if trips.number != n or n < ENOUGH or not ledger.wins:
        open = f"fewer than {ENOUGH} round trips" if n < ENOUGH else "nothing was won"
        if trips.number != n:
            open = "some round trips ended before their spread was kept"
        return sampled("round_trip_profit_factor", labels, factor, n, how, None, open=open)
    won, lost = ledger.profit, ledger.loss
    # Variance of a mean by its square, n - 1 in the denominator: (n * sum of squares / square of sum - 1) / (n - 1).
    relative = (n * trips.won_squared / (won * won) - 1) + (n * trips.lost_squared / (lost * lost) - 1)
    half = Z95 * math.sqrt(float((relative + 2) / (n - 1)))
    interval = Interval(factor * math.exp(-half), factor * math.exp(half), "delta method on the logarithm")
    return sampled("round_trip_profit_factor", labels, factor, n, how, interval)


def _holding(labels: Pairs, ledger: Ledger) -> Iterator[Figure]:
    trips = ledger.trips
    how = "from the fill that opened a round trip to the one that ended it"
    if not trips.number:
        yield missing("round_trip_holding_seconds", labels, 0, how, "holding times were not kept yet")
        return
    mean = trips.held_us / trips.number / 1e6
    yield exact("round_trip_holding_mean_seconds", labels, mean, trips.number, f"mean {how}")
    for share in QUANTILES:
        value = trips.held_quantile(share) or 0.0
        named = (*labels, ("quantile", f"{share:g}"))
        within = f"{how}; within 5 % of the nearest rank"
        yield exact("round_trip_holding_seconds", named, value, trips.number, within)
