"""Orders: the life of each from its first report to its end, with the fills that name it.

An order ends once, with the first final status that is reported of it; repetitions and what comes later change
nothing. For thirty seconds after its end its fills are still taken, because the two may come in either order; then it
is settled. Fills that come before their order wait for it.

Memory: 16,384 open orders, as many between end and settlement, 4,096 that only fills name, each some 500 bytes, and
the names of 16,384 settled ones, some 150 bytes each: 21 MB at most. Where one is too many, the one that was silent
for longest gives way: a settled name or an early fill is forgotten, a closing order is settled early, and an open one
that never ended is counted in `forgotten`; its end still counts if it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Order, Trade

__all__ = [
    "CANCELLED",
    "EXPIRED",
    "FILLED",
    "FINAL",
    "REJECTED",
    "SETTLE_MS",
    "OrderKey",
    "Orders",
    "OrdersKept",
    "Ticket",
]

FILLED, REJECTED, CANCELLED, EXPIRED = range(4)
FINAL = {"filled": FILLED, "rejected": REJECTED, "cancelled": CANCELLED, "expired": EXPIRED}

SETTLE_MS = 30_000
"""From an order's end to its settlement: so long its fills may come later, and so long the market has to move on."""

MOST_OPEN = 16_384
MOST_CLOSING = 16_384
MOST_EARLY = 4_096
MOST_SETTLED = 16_384

NEVER_MS = 1 << 62

OrderKey: TypeAlias = tuple[str, str]
"""Source and order_id: an id is the source's own, whatever exchange, symbol or account it names beside it."""


class Ticket(Struct, array_like=True):
    """An order as it is known; `sign` is 1 for a buy and -1 for a sale, prices are None where nobody told them.

    `mid` is the market's price when the order was first heard of, `end_mid` when it ended; `expected` what its first
    fill had expected. `paid` is the sum of quantity by price over `filled`, `reported` the filled quantity that the
    order itself names.
    """

    exchange: str | None
    symbol: str
    sign: float
    quantity: float | None = None
    limit: float | None = None
    mid: float | None = None
    end_mid: float | None = None
    expected: float | None = None
    filled: float = 0.0
    paid: float = 0.0
    fees: float = 0.0
    reported: float = 0.0
    end: int | None = None
    due_ms: int = NEVER_MS
    last_fill_ms: int = 0
    account: str | None = None

    def tell(self, order: Order) -> None:
        """Takes what an order's report says besides its status; the first quantity and price stand."""
        if self.quantity is None:
            self.quantity = order.quantity
        if self.limit is None and order.price:
            self.limit = order.price
        if order.filled_quantity is not None and order.filled_quantity > self.reported:
            self.reported = order.filled_quantity

    def fill(self, trade: Trade, t_ms: int) -> None:
        if not self.filled:
            self.expected = trade.expected_price
        self.filled += trade.quantity
        self.paid += trade.quantity * trade.price
        self.fees += trade.fee or 0.0
        if t_ms > self.last_fill_ms:
            self.last_fill_ms = t_ms


class OrdersKept(Struct, array_like=True):
    """What a snapshot keeps of the orders."""

    open: list[tuple[OrderKey, Ticket]] = []
    closing: list[tuple[OrderKey, Ticket]] = []
    early: list[tuple[OrderKey, Ticket]] = []
    settled: list[OrderKey] = []
    forgotten: int = 0


class Orders:
    """All orders that are open, about to be settled, or settled not long ago."""

    def __init__(self) -> None:
        self.open: dict[OrderKey, Ticket] = {}
        self.closing: dict[OrderKey, Ticket] = {}
        self.forgotten = 0
        """Open orders whose end was never heard of, and that had to give way."""
        self.due_ms = NEVER_MS
        """When the next order is settled."""
        self._early: dict[OrderKey, Ticket] = {}
        self._settled: dict[OrderKey, None] = {}

    def report(self, order: Order, t_ms: int, mid: float | None) -> int | None:
        """Takes a report; `mid` is the market's price at that time. How the order ended, if that is what it says."""
        key = (order.source, order.order_id)
        if key in self._settled:
            return None
        closing = self.closing.get(key)
        if closing is not None:
            closing.tell(order)
            return None
        ticket = self.open.pop(key, None)
        if ticket is None:
            ticket = self._early.pop(key, None) or _ticket(order)
            ticket.mid = mid
            ticket.exchange = order.exchange or ticket.exchange
            ticket.account = order.account or ticket.account
        ticket.tell(order)
        end = FINAL.get(order.status)
        if end is None:
            self.open[key] = ticket
            if len(self.open) > MOST_OPEN:
                del self.open[next(iter(self.open))]
                self.forgotten += 1
            return None
        ticket.end, ticket.end_mid, ticket.due_ms = end, mid, t_ms + SETTLE_MS
        if not self.closing:
            self.due_ms = ticket.due_ms
        self.closing[key] = ticket
        if len(self.closing) > MOST_CLOSING:
            self.due_ms = 0
        return end

    def fill(self, trade: Trade, order_id: str, t_ms: int) -> None:
        """Takes a fill that names its order."""
        key = (trade.source, order_id)
        ticket = self.open.get(key) or self.closing.get(key)
        if ticket is None:
            if key in self._settled:
                return
            ticket = self._early.pop(key, None) or _ticket(trade)
            self._early[key] = ticket
            if len(self._early) > MOST_EARLY:
                del self._early[next(iter(self._early))]
        ticket.fill(trade, t_ms)

    def settling(self, t_ms: int) -> Iterator[tuple[OrderKey, Ticket]]:
        """The orders that are due, in the order in which they ended; each is let go."""
        while self.closing:
            key = next(iter(self.closing))
            if self.closing[key].due_ms > t_ms and len(self.closing) <= MOST_CLOSING:
                break
            self._settled[key] = None
            if len(self._settled) > MOST_SETTLED:
                del self._settled[next(iter(self._settled))]
            yield key, self.closing.pop(key)
        self.due_ms = next(iter(self.closing.values())).due_ms if self.closing else NEVER_MS

    def dump(self) -> OrdersKept:
        return OrdersKept(
            list(self.open.items()),
            list(self.closing.items()),
            list(self._early.items()),
            list(self._settled),
            self.forgotten,
        )

    def load(self, kept: OrdersKept) -> None:
        self.open.update(kept.open)
        self.closing.update(kept.closing)
        self._early.update(kept.early)
        self._settled.update(dict.fromkeys(kept.settled))
        self.forgotten = kept.forgotten
        if self.closing:
            self.due_ms = next(iter(self.closing.values())).due_ms


def _ticket(event: Order | Trade) -> Ticket:
    sign = 1.0 if event.side == "buy" else -1.0
    return Ticket(event.exchange, event.symbol, sign, account=event.account)
