"""Real bots' orders: what the recordings say of rates and slippage, the figures say too."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader_monitor.core.facts import Event, Order, Trade
from trader_monitor.core.figure import Figure
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.exchanges.exchange import Exchanges

DATA = Path(__file__).parents[3] / "data"


def lines_of(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def nautilus(name: str) -> Iterator[Event]:
    """Orders as they were initialised, submitted and filled; the last fill ends an order."""
    side: dict[str, Any] = {}
    quantity: dict[str, float] = {}
    filled: dict[str, float] = {}
    seen = set()
    for event in lines_of(name):
        if event["type"] == "OrderInitialized":
            side[event["client_order_id"]] = event["order_side"].lower()
            quantity[event["client_order_id"]] = float(event["quantity"])
        elif event["type"] in ("OrderSubmitted", "OrderFilled") and event["event_id"] not in seen:
            seen.add(event["event_id"])
            order_id = event["client_order_id"]
            of: dict[str, Any] = {
                "at": event["ts_event"] / 1e9,
                "source": event["trader_id"],
                "symbol": event["instrument_id"],
                "side": side[order_id],
                "order_id": order_id,
            }
            if event["type"] == "OrderSubmitted":
                yield Order(status="submitted", quantity=quantity[order_id], **of)
                continue
            filled[order_id] = filled.get(order_id, 0.0) + float(event["last_qty"])
            yield Trade(quantity=float(event["last_qty"]), price=float(event["last_px"]), **of)
            whole = filled[order_id] >= quantity[order_id]
            yield Order(status="filled" if whole else "partially_filled", filled_quantity=filled[order_id], **of)


def hummingbot() -> Iterator[Event]:
    for line in lines_of("hummingbot_mqtt"):
        payload = line["payload"]
        kind, given = payload.get("type", ""), payload.get("data")
        status = next((v for k, v in STATUSES.items() if kind.endswith(k)), None)
        if status is None:
            continue
        order_id = given["order_id"]
        symbol = order_id.split("//")[1].split("/")[0]
        side: Any = order_id.split(":")[0]
        yield Order(at=line["ts"], source="demo1", order_id=order_id, symbol=symbol, side=side, status=status)


STATUSES: dict[str, Any] = {"OrderCreated": "submitted", "OrderCompleted": "filled", "OrderCancelled": "cancelled"}


def folded(events: list[Event]) -> Exchanges:
    tally = Tally(SeriesStore())
    exchanges = Exchanges(tally)
    folds: dict[type, Any] = {Order: exchanges.fold_order, Trade: exchanges.fold_trade}
    for event in events:
        folds[type(event)](event, round(event.at * 1000))
    tally.settle()
    return exchanges


def figures(exchanges: Exchanges, now: float, window: str) -> dict[str, Figure]:
    return {
        figure.name: figure for figure in exchanges.figures(now) if dict(figure.labels).get("window", window) == window
    }


def test_the_nautilus_recording_filled_all_its_orders() -> None:
    events = list(nautilus("nautilus_eurusd_overleveraged"))
    assert sum(isinstance(event, Trade) for event in events) == 1628
    found = figures(folded(events), events[-1].at, "total")
    fills = found["order_fill_ratio"]
    assert (fills.value, fills.n) == (1.0, 814)
    assert fills.interval is not None
    assert fills.interval.low == pytest.approx(1 / (1 + 1.959963984540054**2 / 814)), "Wilson's, for none of 814"
    assert (found["order_reject_ratio"].value, found["order_cancel_ratio"].value) == (0.0, 0.0)
    assert found["orders_open"].value == 0.0


def test_the_hummingbot_recording_ended_some_and_cancelled_some() -> None:
    """144 orders created, 20 completed, 7 cancelled: the rest was open when the recording ended."""
    events = list(hummingbot())
    found = figures(folded(events), events[-1].at, "total")
    assert (found["order_fill_ratio"].value, found["order_fill_ratio"].n) == (20 / 27, 27)
    assert found["order_cancel_ratio"].value == 7 / 27
    assert found["orders_open"].value == 144 - 27


def test_the_freqtrade_recording_slipped_by_what_its_exits_say() -> None:
    """An exit's own rate is what it expected, the rate of its fill what it got; both are the bot's."""
    expected: dict[int, float] = {}
    events: list[Event] = []
    worse, weight = [], []
    for line in lines_of("freqtrade_ws"):
        message = line["msg"]
        if message["type"] == "exit":
            expected[message["trade_id"]] = message["order_rate"]
        elif message["type"] == "exit_fill" and message["trade_id"] in expected:
            hoped, price, quantity = expected[message["trade_id"]], message["close_rate"], message["amount"]
            events.append(
                Trade(
                    at=line["ts"],
                    source="freqtrade",
                    exchange="Binance",
                    symbol=message["pair"],
                    side="sell",
                    quantity=quantity,
                    price=price,
                    expected_price=hoped,
                    currency=message["quote_currency"],
                )
            )
            worse.append((hoped - price) / hoped)
            weight.append(quantity * hoped)
    assert len(events) == 54
    assert any(worse)
    found = figures(folded(events), events[-1].at, "24h")
    mean = found["trade_slippage_mean_ratio"]
    assert mean.value == pytest.approx(np.average(worse, weights=weight), abs=1e-12)
    assert mean.n == 54
    assert mean.interval is not None
    assert mean.interval.low < np.mean(worse) < mean.interval.high
    p95 = found["trade_slippage_quantile_ratio"]
    assert p95.value == pytest.approx(np.percentile(worse, 95, method="inverted_cdf"), rel=0.0201, abs=2e-7)
