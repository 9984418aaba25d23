"""NautilusTrader's messages as our events. Pure: a dictionary in, events out.

Times are nanoseconds, money is text ("5648.00 USD"). The program publishes every `OrderFilled` on two topics; both
become the same event with the same id, so that the second is a duplicate and harmless. A fill carries no realised
P&L: positions and P&L are for the daemon to compute from fills and fees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

__all__ = ["NautilusError", "NautilusTape"]

Message: TypeAlias = Mapping[str, Any]
Event: TypeAlias = dict[str, Any]

_SIDES: Final = {"BUY": "buy", "SELL": "sell"}
_LIQUIDITY: Final = {"MAKER": "maker", "TAKER": "taker"}
_ORDER_STATUS: Final = {
    "OrderSubmitted": "submitted",
    "OrderAccepted": "accepted",
    "OrderCanceled": "cancelled",
    "OrderExpired": "expired",
    "OrderRejected": "rejected",
    "OrderDenied": "rejected",
}
_TRADER_STATE: Final = {"STARTING": "warming_up", "RUNNING": "running", "STOPPED": "stopped"}


class NautilusError(ValueError):
    """A message that is not as NautilusTrader writes it."""


class NautilusTape:
    """Reads messages in their order; it remembers what later messages leave out, such as an order's side."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._trader: dict[str, str] = {}
        self._orders: dict[str, Event] = {}
        self._filled: dict[str, float] = {}
        self._statuses: dict[str, tuple[str, float]] = {}

    def events(self, message: Message) -> Iterator[tuple[float, Event]]:
        """What one message says: recorded Unix seconds and the event, `at` left out. Raises NautilusError."""
        kind = str(message.get("type"))
        try:
            self._remember(kind, message)
            at = _seconds(message)
            found = list(self._read(kind, message))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise NautilusError(f"{kind}: {type(error).__name__} {error}") from None
        if not found:
            self.skipped[kind] += 1
        for event in found:
            yield at, {name: value for name, value in event.items() if value is not None}

    def _remember(self, kind: str, message: Message) -> None:
        trader = message.get("trader_id")
        if trader:
            self._trader.setdefault("", trader)
            if account := message.get("account_id"):
                self._trader.setdefault(account, trader)
        if kind == "OrderInitialized":
            self._orders[message["client_order_id"]] = {
                "side": _SIDES[message["order_side"]],
                "quantity": float(message["quantity"]),
            }

    def _read(self, kind: str, message: Message) -> Iterator[Event]:
        if kind == "OrderFilled":
            yield self._trade(message)
            yield self._fill_status(message)
        elif kind in _ORDER_STATUS:
            order = self._orders.get(message["client_order_id"])
            if order is not None:
                yield self._order(message, _ORDER_STATUS[kind], order, message["event_id"])
        elif kind == "AccountState":
            yield from self._account(message)
        elif kind in ("PositionOpened", "PositionChanged", "PositionClosed"):
            yield _position(message)
        elif kind == "ComponentStateChanged" and message["component_type"] == "Trader":
            yield from _life(message)

    def _trade(self, message: Message) -> Event:
        symbol, exchange = _instrument(message)
        fee, currency = _money(message["commission"])
        foreign = currency != message["currency"]
        return {
            "type": "trade",
            "id": message["event_id"],
            "source": message["trader_id"],
            "strategy": message["strategy_id"],
            "account": message["account_id"],
            "exchange": exchange,
            "symbol": symbol,
            "side": _SIDES[message["order_side"]],
            "quantity": float(message["last_qty"]),
            "price": float(message["last_px"]),
            # A fee in another currency than the price cannot be taken from the P&L; it is kept to be seen.
            "fee": None if foreign and fee else fee,
            "currency": message["currency"],
            "order_id": message["client_order_id"],
            "liquidity": _LIQUIDITY.get(message["liquidity_side"]),
            "context": {
                "trade_id": message["trade_id"],
                "position_id": message["position_id"],
                "commission": message["commission"],
            },
        }

    def _fill_status(self, message: Message) -> Event:
        """The order's status after this fill; the fill's second arrival says the same as its first."""
        order_id, fill = message["client_order_id"], message["event_id"]
        order = self._orders.get(order_id, {"side": _SIDES[message["order_side"]], "quantity": None})
        if fill not in self._statuses:
            filled = self._filled[order_id] = self._filled.get(order_id, 0.0) + float(message["last_qty"])
            whole = order["quantity"] is None or filled >= order["quantity"] * (1 - 1e-9)
            self._statuses[fill] = ("filled" if whole else "partially_filled", filled)
        status, filled = self._statuses[fill]
        event = self._order(message, status, order, f"{fill}:order")
        event["filled_quantity"] = filled
        return event

    def _order(self, message: Message, status: str, order: Event, id: str) -> Event:
        symbol, exchange = _instrument(message)
        return {
            "type": "order",
            "id": id,
            "source": message["trader_id"],
            "strategy": message["strategy_id"],
            "account": message.get("account_id"),
            "exchange": exchange,
            "symbol": symbol,
            "order_id": message["client_order_id"],
            "status": status,
            "reason": message.get("reason"),
            **order,
        }

    def _account(self, message: Message) -> Iterator[Event]:
        """An event per currency that the account holds; the message itself does not say whose account it is."""
        account = message["account_id"]
        source = self._trader.get(account) or self._trader.get("") or account
        balances = message["balances"]
        for balance in balances:
            currency = balance["currency"]
            yield {
                "type": "account",
                "id": message["event_id"] + (f":{currency}" if len(balances) > 1 else ""),
                "source": source,
                "account": account,
                "equity": float(balance["total"]),
                "cash": float(balance["free"]),
                "margin_used": float(balance["locked"]),
                "currency": currency,
            }


def _life(message: Message) -> Iterator[Event]:
    """The trader's own state. It promises no interval, so that a recording never misses a beat."""
    if (state := _TRADER_STATE.get(message["state"])) is not None:
        yield {"type": "heartbeat", "id": message["event_id"], "source": message["trader_id"], "state": state}


def _position(message: Message) -> Event:
    symbol, exchange = _instrument(message)
    realized, currency = _money(message["realized_pnl"])
    unrealized = message.get("unrealized_pnl")
    return {
        "type": "position",
        "id": message["event_id"],
        "source": message["trader_id"],
        "account": message["account_id"],
        "exchange": exchange,
        "symbol": symbol,
        "quantity": float(message["signed_qty"]),
        "entry_price": float(message["avg_px_open"]),
        "mark_price": float(message["last_px"]),
        "unrealized_pnl": None if unrealized is None else _money(unrealized)[0],
        "currency": message["currency"],
        "context": {
            "strategy": message["strategy_id"],
            "position_id": message["position_id"],
            "reported_realized_pnl": realized,
            "reported_currency": currency,
        },
    }


def _seconds(message: Message) -> float:
    for name in ("ts_event", "ts_closed", "ts_init"):
        if (nanoseconds := message.get(name)) is not None:
            return int(nanoseconds) / 1e9
    raise NautilusError("has no ts_event")


def _money(text: str) -> tuple[float, str]:
    """ "5648.00 USD" as 5648.0 and "USD"."""
    amount, currency = text.split(" ")
    return float(amount), currency


def _instrument(message: Message) -> tuple[str, str]:
    """ "EUR/USD.SIM" as symbol and venue."""
    symbol, dot, venue = message["instrument_id"].rpartition(".")
    if not dot:
        raise NautilusError(f"instrument_id {message['instrument_id']!r} has no venue")
    return symbol, venue
