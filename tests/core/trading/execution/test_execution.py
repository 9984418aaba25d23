"""Execution: rates of orders, slippage, shortfall and impact, from events to figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.facts import Event, MarketData, Order, Trade
from trader_monitor.core.figure import Figure
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.exchanges.exchange import Exchanges
from trader_monitor.core.trading.execution import execution as module

T0 = 1_700_006_400.0


def order(status: Any, at: float = 0.0, order_id: str = "1", **more: Any) -> Order:
    given: dict[str, Any] = {"source": "b", "symbol": "S", "side": "buy", "exchange": "e"}
    return Order(at=T0 + at, order_id=order_id, status=status, **given | more)


def trade(at: float = 0.0, quantity: float = 1.0, price: float = 10.0, **more: Any) -> Trade:
    given: dict[str, Any] = {"source": "b", "symbol": "S", "side": "buy", "exchange": "e"}
    return Trade(at=T0 + at, quantity=quantity, price=price, **given | more)


def frame(at: float, price: float, **more: Any) -> MarketData:
    given: dict[str, Any] = {"exchange": "e", "symbol": "S", "bid": price - 0.01, "ask": price + 0.01}
    return MarketData(at=T0 + at, **given | more)


def folded(*events: Event) -> Exchanges:
    tally = Tally(SeriesStore())
    exchanges = Exchanges(tally)
    folds: dict[type, Any] = {
        Order: exchanges.fold_order,
        Trade: exchanges.fold_trade,
        MarketData: exchanges.fold_market_data,
    }
    for event in events:
        folds[type(event)](event, round(event.at * 1000))
    tally.settle()
    return exchanges


def figures(exchanges: Exchanges, now: float, **labels: str) -> dict[str, Figure]:
    """By name and further labels, of those that have exactly the given ones of source, exchange and window."""
    found = {}
    wanted = {"source": "b", "window": "24h"} | labels
    for figure in exchanges.figures(T0 + now):
        given = dict(figure.labels)
        if {key: given.pop(key, "") for key in ("source", "exchange", "window")} == {"exchange": ""} | wanted:
            found["/".join((figure.name, *given.values()))] = figure
    return found


def test_rates_count_orders_by_how_they_ended_each_with_wilson_s_interval() -> None:
    statuses = ["filled"] * 7 + ["rejected"] * 2 + ["cancelled"] * 3 + ["expired"] + ["accepted"] * 5
    events: list[Event] = [order("submitted", n, str(n)) for n in range(len(statuses))]
    events += [order(status, n, str(n)) for n, status in enumerate(statuses)]
    events += [order(status, n, str(n)) for n, status in enumerate(statuses)]
    exchanges = folded(*events)
    for labels in ({"window": "1h"}, {"window": "24h"}, {"window": "total"}, {"window": "24h", "exchange": "e"}):
        found = figures(exchanges, 100.0, **labels)
        for name, hits in (("order_fill_ratio", 7), ("order_reject_ratio", 2), ("order_cancel_ratio", 3)):
            figure = found[name]
            assert (figure.value, figure.n) == (hits / 13, 13)
            interval = stats.binomtest(hits, 13).proportion_ci(method="wilson")
            assert figure.interval is not None
            assert figure.interval[:2] == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert figures(exchanges, 100.0, window="")["orders_open"].value == 5.0


def test_windows_end_and_the_total_does_not() -> None:
    exchanges = folded(order("filled", 0.0, "1"), order("rejected", 7_200.0, "2"))
    assert figures(exchanges, 7_200.0, window="1h")["order_fill_ratio"].value == 0.0
    assert figures(exchanges, 7_200.0)["order_fill_ratio"].value == 0.5
    later = figures(exchanges, 90_000.0)["order_fill_ratio"]
    assert (later.value, later.n) == (0.0, 1)
    gone = figures(exchanges, 200_000.0)["order_fill_ratio"]
    assert (gone.value, gone.n, gone.reason) == (None, 0, "no order ended in this window")
    assert figures(exchanges, 200_000.0, window="total")["order_fill_ratio"].value == 0.5
    assert not figures(exchanges, 31 * 86_400.0, window="total"), "a bot that was silent for a month has no figures"


def test_a_source_s_figures_are_of_its_exchanges_added_and_not_averaged() -> None:
    exchanges = folded(
        *(order("filled", n, f"x{n}", exchange="x", latency_seconds=0.01) for n in range(90)),
        *(order("rejected", n, f"y{n}", exchange="y", latency_seconds=1.0) for n in range(10)),
    )
    assert figures(exchanges, 100.0)["order_fill_ratio"].value == 0.9
    assert figures(exchanges, 100.0, exchange="y")["order_fill_ratio"].value == 0.0
    assert figures(exchanges, 100.0)["order_latency_quantile_seconds/0.5"].value == pytest.approx(0.01, rel=0.02)
    assert figures(exchanges, 100.0)["order_latency_quantile_seconds/0.95"].value == pytest.approx(1.0, rel=0.02)
    assert figures(exchanges, 100.0)["order_latency_quantile_seconds/0.95"].n == 100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]), st.floats(0.1, 1e3), st.floats(90.0, 110.0), st.floats(95.0, 105.0)
        ),
        min_size=2,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_slippage_is_the_weighted_mean_with_the_interval_of_a_ratio(
    fills: list[tuple[str, float, float, float]],
) -> None:
    events = [
        trade(n, quantity, price, side=side, expected_price=expected, currency="USD")
        for n, (side, quantity, price, expected) in enumerate(fills)
    ]
    found = figures(folded(*events), 100.0)["trade_slippage_mean_ratio/USD"]
    sign = np.array([1.0 if side == "buy" else -1.0 for side, *_ in fills])
    quantity, price, expected = np.array([fill[1:] for fill in fills]).T
    worse, weight = sign * (price - expected) / expected, quantity * expected
    mean = np.average(worse, weights=weight)
    assert found.value == pytest.approx(mean, abs=1e-9)
    residual = weight * (worse - mean)
    half = 1.959963984540054 * math.sqrt(len(fills) * np.var(residual, ddof=1)) / weight.sum()
    assert found.n == len(fills)
    if half > 1e-5:
        assert found.interval is not None
        assert found.interval[:2] == pytest.approx((mean - half, mean + half), abs=1e-9)
    p95 = figures(folded(*events), 100.0)["trade_slippage_quantile_ratio/0.95"].value
    assert p95 == pytest.approx(np.percentile(worse, 95, method="inverted_cdf"), rel=0.0201, abs=2e-7)


def test_slippage_of_equal_fills_has_no_interval_and_says_why() -> None:
    fills = [trade(n, price=10.1, expected_price=10.0) for n in range(3)]
    found = figures(folded(*fills), 100.0)["trade_slippage_mean_ratio"]
    assert found.value == pytest.approx(0.01)
    assert found.interval is None
    assert found.reason_open == "all observations are equal"
    assert figures(folded(*fills[:1]), 100.0)["trade_slippage_mean_ratio"].reason_open == (
        "one observation has no spread"
    )


def test_slippages_in_different_money_are_weighted_apart() -> None:
    exchanges = folded(
        trade(0, 1.0, 101.0, expected_price=100.0, currency="USD"),
        trade(1, 1.0, 10_000.0, expected_price=10_000.0, currency="JPY"),
    )
    found = figures(exchanges, 10.0)
    assert found["trade_slippage_mean_ratio/USD"].value == pytest.approx(0.01)
    assert found["trade_slippage_mean_ratio/JPY"].value == 0.0
    assert found["trade_slippage_quantile_ratio/0.95"].n == 2


def test_a_flood_of_currencies_and_what_has_no_weight_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CURRENCIES", 1)
    exchanges = folded(
        trade(0, 1e-200, 1e-200, expected_price=1e-200, currency="USD"),
        trade(1, 1.0, 1.0, expected_price=1.0, currency="JPY", source="c"),
    )
    assert figures(exchanges, 10.0)["trade_slippage_mean_ratio/USD"].reason == "the fills have no weight"
    other = figures(exchanges, 10.0, source="c")["trade_slippage_mean_ratio"]
    assert (other.value, other.n) == (None, 1)
    assert "currencies came after" in other.reason


def test_perold_s_shortfall_from_events_to_figure() -> None:
    """1,000 wanted at 10.00, 800 bought at 10.10 for 8 of fees, 200 cancelled at 10.50: 1.88 % of the paper result."""
    exchanges = folded(
        frame(0, 10.0),
        order("submitted", 1, quantity=1000.0),
        trade(2, 500.0, 10.05, order_id="1", fee=5.0),
        trade(3, 300.0, 10.1833333333333333, order_id="1", fee=3.0),
        frame(4, 10.5),
        order("cancelled", 5, filled_quantity=800.0),
        frame(20, 10.3),
        frame(36, 99.0),
    )
    found = figures(exchanges, 40.0)
    shortfall = found["order_shortfall_ratio/market"]
    assert shortfall.value == pytest.approx(0.0188)
    assert shortfall.n == 1
    assert shortfall.reason_open == "one observation has no spread"
    assert "Perold 1988" in shortfall.convention
    impact = found["order_impact_ratio"]
    assert impact.value == pytest.approx(0.03), "from 10.00 to 10.30, the price as of thirty seconds after the end"


def test_a_mean_over_orders_has_student_s_interval() -> None:
    moves = (0.01, -0.02, 0.04, 0.0, 0.03)
    events: list[Event] = []
    for n, move in enumerate(moves):
        at = 100.0 * n
        events += [frame(at, 100.0), order("submitted", at, str(n), quantity=1.0)]
        events += [trade(at + 1, 1.0, 100.0 * (1 + move), order_id=str(n)), order("filled", at + 1, str(n))]
        events += [frame(at + 20, 100.0 * (1 + move / 2)), frame(at + 40, 1.0)]
    found = figures(folded(*events), 1_000.0)
    for name, values in (
        ("order_shortfall_ratio/market", moves),
        ("order_impact_ratio", tuple(move / 2 for move in moves)),
    ):
        low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
        interval = found[name].interval
        assert found[name].value == pytest.approx(np.mean(values))
        assert interval is not None
        assert interval[:2] == pytest.approx((low, high), rel=1e-4)


@pytest.mark.parametrize(
    ("sentence", "events", "shortfall", "impact"),
    [
        (
            "without market data",
            [order("submitted", 0, quantity=1.0), trade(1, order_id="1"), order("filled", 1)],
            "1 orders: no price is known at the decision",
            "1 orders: no market price is known before the order and within 30 s after it",
        ),
        (
            "with market data that is too old",
            [frame(-31, 10.0), order("submitted", 0), trade(1, order_id="1"), order("filled", 1)],
            "1 orders: no price is known at the decision",
            "1 orders: no market price is known before the order and within 30 s after it",
        ),
        (
            "with a price of later only",
            [frame(5, 10.0), order("submitted", 0), trade(1, order_id="1"), order("filled", 1)],
            "1 orders: no price is known at the decision",
            "1 orders: no market price is known before the order and within 30 s after it",
        ),
        (
            "on no exchange",
            [
                order("submitted", 0, exchange=None),
                trade(1, exchange=None, order_id="1"),
                order("filled", 1, exchange=None),
            ],
            "1 orders: no price is known at the decision",
            "1 orders: no market price is known before the order and within 30 s after it",
        ),
        (
            "without fills nothing moved the market",
            [frame(0, 10.0), order("rejected", 0)],
            "1 orders: not all fills or no quantity were reported",
            "1 orders: not all fills or no quantity were reported",
        ),
        (
            "before it is settled",
            [frame(0, 10.0), order("submitted", 0)],
            "no order was settled",
            "no order was settled",
        ),
    ],
)
def test_what_cannot_be_measured(sentence: str, events: list[Event], shortfall: str, impact: str) -> None:
    found = figures(folded(*events, order("submitted", 60, "other", symbol="T")), 100.0)
    for name, reason in (("order_shortfall_ratio", shortfall), ("order_impact_ratio", impact)):
        assert found[name].value is None, sentence
        assert reason in found[name].reason, sentence


def test_what_was_expected_and_what_the_order_says_are_benchmarks_of_their_own() -> None:
    exchanges = folded(
        trade(0, 1.0, 10.1, order_id="1", expected_price=10.0),
        order("filled", 0, "1"),
        order("submitted", 0, "2", price=10.0),
        trade(0, 1.0, 9.9, order_id="2"),
        order("filled", 0, "2"),
        trade(60, 1.0, 1.0),
    )
    found = figures(exchanges, 60.0)
    assert found["order_shortfall_ratio/expected"].value == pytest.approx(0.01)
    assert found["order_shortfall_ratio/order"].value == pytest.approx(-0.01)


def test_a_flood_of_sources_is_refused_and_one_that_was_silent_for_a_month_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ROUTES", 3)
    month = 31 * 86_400.0
    exchanges = folded(
        *(order("filled", n, source=f"s{n}", latency_seconds=0.1) for n in range(5)),
        trade(5.0, source="s9", expected_price=1.0),
    )
    execution = exchanges.execution
    assert (len(execution.routes), execution.refused) == (3, 3)
    assert figures(exchanges, 40.0, source="s0", window="total")["order_fill_ratio"].n == 1
    execution.settle(round((T0 + 60) * 1000))
    exchanges.fold_order(order("filled", month, source="new"), round((T0 + month) * 1000))
    assert ("new", "e") in execution.routes
    assert len(execution.routes) == 3


def test_orders_that_were_forgotten_are_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trader_monitor.core.trading.execution.orders.MOST_OPEN", 2)
    exchanges = folded(*(order("submitted", 0, str(n)) for n in range(5)))
    (figure,) = (figure for figure in exchanges.figures(T0) if figure.name == "orders_forgotten")
    assert figure.value == 3.0
