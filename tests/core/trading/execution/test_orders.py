"""Orders: each ends once, whatever comes twice, late, before its time or never."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trader_monitor.core.facts import Order, Trade
from trader_monitor.core.trading.execution import orders as module
from trader_monitor.core.trading.execution.orders import CANCELLED, EXPIRED, FILLED, REJECTED, Orders, OrdersKept

T0 = 1_700_000_000_000


def order(status: Any, order_id: str = "1", **more: Any) -> Order:
    given: dict[str, Any] = {"at": 0.0, "source": "b", "symbol": "S", "side": "buy", "exchange": "e"}
    return Order(order_id=order_id, status=status, **given | more)


def trade(quantity: float = 1.0, price: float = 10.0, **more: Any) -> Trade:
    given: dict[str, Any] = {"at": 0.0, "source": "b", "symbol": "S", "side": "buy", "exchange": "e", "order_id": "1"}
    return Trade(quantity=quantity, price=price, **given | more)


def ends(*statuses: str) -> list[int]:
    orders = Orders()
    found = [orders.report(order(status), T0 + n, None) for n, status in enumerate(statuses)]
    return [end for end in found if end is not None]


@pytest.mark.parametrize(
    ("sentence", "statuses", "expected"),
    [
        ("one that is only submitted has not ended", ["submitted"], []),
        ("one that is partly filled has not ended", ["submitted", "partially_filled", "partially_filled"], []),
        ("a filled one has", ["submitted", "accepted", "filled"], [FILLED]),
        ("one that is seen only as filled counts", ["filled"], [FILLED]),
        ("a status that comes twice counts once", ["submitted", "submitted", "filled", "filled"], [FILLED]),
        ("partly filled, then cancelled, is cancelled", ["submitted", "partially_filled", "cancelled"], [CANCELLED]),
        ("the first final status stands", ["cancelled", "filled"], [CANCELLED]),
        ("a late report of its beginning does not open it again", ["filled", "submitted", "filled"], [FILLED]),
        ("rejected at once", ["rejected"], [REJECTED]),
        ("expired", ["accepted", "expired"], [EXPIRED]),
    ],
)
def test_how_an_order_ends(sentence: str, statuses: list[str], expected: list[int]) -> None:
    assert ends(*statuses) == expected, sentence


def test_the_same_id_of_another_bot_is_another_order() -> None:
    orders = Orders()
    assert orders.report(order("filled"), T0, None) == FILLED
    assert orders.report(order("filled", source="c"), T0, None) == FILLED


def test_fills_find_their_order_before_it_while_it_is_open_and_after_its_end() -> None:
    orders = Orders()
    orders.fill(trade(1.0, 10.0, expected_price=9.0), "1", T0 - 5)
    orders.fill(trade(1.0, 10.5), "1", T0 - 4)
    orders.report(order("submitted", quantity=4.0, price=9.5), T0, 9.25)
    orders.fill(trade(1.0, 11.0, fee=0.5), "1", T0 + 1)
    orders.report(order("filled", filled_quantity=4.0), T0 + 2, 9.75)
    orders.fill(trade(1.0, 12.0, expected_price=3.0), "1", T0 + 3)
    (ticket,) = (ticket for _, ticket in orders.settling(T0 + 2 + 30_000))
    assert (ticket.filled, ticket.paid, ticket.fees, ticket.expected) == (4.0, 43.5, 0.5, 9.0)
    assert (ticket.mid, ticket.end_mid, ticket.limit, ticket.quantity) == (9.25, 9.75, 9.5, 4.0)
    assert (ticket.reported, ticket.end, ticket.last_fill_ms) == (4.0, FILLED, T0 + 3)
    orders.fill(trade(), "1", T0 + 4)
    assert orders.report(order("filled"), T0 + 5, None) is None
    assert not orders.open
    assert not orders.closing


def test_what_a_late_report_tells_is_taken_until_the_order_is_settled() -> None:
    orders = Orders()
    orders.report(order("filled"), T0 + 2, None)
    orders.report(order("submitted", quantity=3.0, price=7.0), T0, None)
    (ticket,) = (ticket for _, ticket in orders.settling(T0 + 60_000))
    assert (ticket.quantity, ticket.limit) == (3.0, 7.0)


def test_orders_are_settled_thirty_seconds_after_their_end() -> None:
    orders = Orders()
    for number in range(3):
        orders.report(order("filled", str(number)), T0 + number * 1000, None)
    assert orders.due_ms == T0 + 30_000
    assert [key[1] for key, _ in orders.settling(T0 + 31_000)] == ["0", "1"]
    assert orders.due_ms == T0 + 32_000
    assert [key[1] for key, _ in orders.settling(T0 + 31_999)] == []
    assert [key[1] for key, _ in orders.settling(T0 + 40_000)] == ["2"]
    assert orders.due_ms > T0 + 10**15


def test_a_flood_of_orders_that_never_end_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 10)
    orders = Orders()
    for number in range(30):
        orders.report(order("submitted", str(number)), T0, None)
        orders.report(order("accepted", "0"), T0, None)
    assert len(orders.open) == 10
    assert ("b", "0") in orders.open, "what is heard of again and again stays"
    assert orders.forgotten == 20
    assert orders.report(order("filled", "5"), T0, None) == FILLED, "a forgotten one still ends"


def test_floods_of_ends_of_early_fills_and_of_settled_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOST_CLOSING", "MOST_EARLY", "MOST_SETTLED"):
        monkeypatch.setattr(module, name, 10)
    orders = Orders()
    settled = []
    for number in range(40):
        if orders.due_ms <= T0:
            settled += [key[1] for key, _ in orders.settling(T0)]
        orders.report(order("filled", f"e{number}"), T0, None)
        orders.fill(trade(), f"f{number}", T0)
    assert len(orders.closing) <= 11
    assert settled == [f"e{number}" for number in range(29)], "settled early, the oldest first"
    kept = orders.dump()
    assert (len(kept.early), len(kept.settled)) == (10, 10)


def test_everything_survives_a_restart() -> None:
    orders = Orders()
    orders.report(order("submitted", "open", quantity=1.0), T0, 5.0)
    orders.report(order("filled", "closing"), T0, None)
    orders.fill(trade(), "early", T0)
    orders.report(order("filled", "settled"), T0 - 60_000, None)
    raw = msgspec.msgpack.encode(orders.dump())
    again = Orders()
    again.load(msgspec.msgpack.decode(raw, type=OrdersKept))
    assert msgspec.msgpack.encode(again.dump()) == raw
    assert again.due_ms == T0 + 30_000
    empty = Orders()
    empty.load(OrdersKept())
    assert empty.due_ms > T0 + 10**15
