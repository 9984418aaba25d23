"""Execution: how orders end, how long they take, and what they cost against the price that was hoped for.

Everything is kept by route (source and exchange) in rolling sums, so that figures of a source are made of its
exchanges' added sums. Memory: at most 512 routes; one with ten fills a minute takes some 230 KB, at most 2 MB where
its latencies and slippages fall into every bucket in every five minutes. A route of which nothing was heard for a
month gives way where there is no room; else a new one is refused, and counted in `refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Order, Trade
from trader_monitor.core.statistics.percentiles import bucket, sketch_key
from trader_monitor.core.statistics.rolling import Cell, Rolling, RollingKept
from trader_monitor.core.trading.exchanges.streams import Instrument, InstrumentKey
from trader_monitor.core.trading.execution.orders import SETTLE_MS, Orders, OrdersKept
from trader_monitor.core.trading.execution.shortfall import Unmeasured, impact_of, shortfall_of

__all__ = [
    "CURRENCIES",
    "IMPACT",
    "LATENCY",
    "SECONDS",
    "SHORTFALL",
    "SLIPPAGE",
    "UNMEASURED_FROM",
    "WEIGHTED",
    "Execution",
    "ExecutionKept",
    "Multiplier",
    "Route",
    "RouteKey",
]

RouteKey: TypeAlias = tuple[str, str | None]
"""Source and exchange."""

Multiplier: TypeAlias = Callable[[str, str | None, str | None, str], float]
"""Money per point and unit of what a source holds in an account, on an exchange, of a symbol."""

LATENCY, SECONDS, SLIPPAGE = 1, 2, 3
"""Families of sketches in a route's cells."""

SHORTFALL, IMPACT, UNMEASURED_FROM, WEIGHTED = 8, 24, 32, 64
"""Keys of sums in a route's cells, after the four of `orders.FINAL`: number, sum and sum of squares per benchmark;
the same; orders by reason; and per currency the number, w, w x, w^2, w^2 x and w^2 x^2 of slippages x."""

MOST_ROUTES = 512
CURRENCIES = 64

_LATENCY, _SECONDS, _SLIPPAGE = sketch_key(LATENCY), sketch_key(SECONDS), sketch_key(SLIPPAGE)


class Route:
    """A source's orders and fills on one exchange; `ended` counts orders by how they ended, since it is known."""

    __slots__ = ("ended", "rolling")

    def __init__(self, rolling: Rolling, ended: list[int]) -> None:
        self.rolling = rolling
        self.ended = ended


class ExecutionKept(Struct, array_like=True):
    """What a snapshot keeps of the execution."""

    routes: list[tuple[RouteKey, RollingKept, list[int]]] = []
    currencies: list[str] = []
    orders: OrdersKept | None = None


class Execution:
    """Orders and fills by route. `instruments` has the market's prices; it is kept by who folds market data."""

    def __init__(self, instruments: dict[InstrumentKey, Instrument], multiplier: Multiplier) -> None:
        self._multiplier = multiplier
        self.routes: dict[RouteKey, Route] = {}
        self.orders = Orders()
        self.currencies: dict[str, int] = {}
        """The currencies of slippages, by name; what more there are than `CURRENCIES` has no weighted mean."""
        self.refused = 0
        self._instruments = instruments

    def fold_order(self, order: Order, t_ms: int) -> None:
        if t_ms >= self.orders.due_ms:
            self.settle(t_ms)
        end = self.orders.report(order, t_ms, self._price(order.exchange, order.symbol, t_ms))
        route = self._route((order.source, order.exchange), t_ms)
        if route is None:
            return
        cell = route.rolling.cell(t_ms)
        if order.latency_seconds is not None:
            _count(cell, _LATENCY + bucket(order.latency_seconds))
        if end is not None:
            route.ended[end] += 1
            _count(cell, end)

    def fold_trade(self, trade: Trade, t_ms: int) -> None:
        if t_ms >= self.orders.due_ms:
            self.settle(t_ms)
        if trade.order_id is not None:
            self.orders.fill(trade, trade.order_id, t_ms)
        expected, seconds = trade.expected_price, trade.execution_seconds
        if not expected and seconds is None:
            return
        route = self._route((trade.source, trade.exchange), t_ms)
        if route is None:
            return
        rolling = route.rolling
        cell = rolling.current if rolling.begin_ms <= t_ms < rolling.end_ms else rolling.cell(t_ms)
        if seconds is not None:
            key = _SECONDS + bucket(seconds)
            cell[key] = cell.get(key, 0.0) + 1.0
        if expected:
            worse = (trade.price - expected) / abs(expected)
            if trade.side == "sell":
                worse = -worse
            key = _SLIPPAGE + bucket(worse)
            cell[key] = cell.get(key, 0.0) + 1.0
            self._weigh(cell, trade.currency or "", trade.quantity * abs(expected), worse)

    def settle(self, t_ms: int) -> None:
        """Measures the orders that ended thirty seconds before; the market's frames of until then are folded."""
        for (source, _), ticket in self.orders.settling(t_ms):
            multiplier = self._multiplier(source, ticket.account, ticket.exchange, ticket.symbol)
            route = self._route((source, ticket.exchange), ticket.due_ms)
            if route is None:
                continue
            cell = route.rolling.cell(ticket.due_ms)
            shortfall = shortfall_of(ticket, multiplier)
            if isinstance(shortfall, Unmeasured):
                _count(cell, UNMEASURED_FROM + shortfall.reason)
            else:
                benchmark, ratio = shortfall
                _observe(cell, SHORTFALL + 3 * benchmark, ratio)
            if ticket.filled or ticket.reported:
                impact = impact_of(ticket, self._after(ticket.exchange, ticket.symbol, ticket.due_ms))
                if isinstance(impact, Unmeasured):
                    _count(cell, UNMEASURED_FROM + impact.reason)
                else:
                    _observe(cell, IMPACT, impact)

    def _weigh(self, cell: Cell, currency: str, weight: float, worse: float) -> None:
        number = self.currencies.get(currency)
        if number is None:
            number = len(self.currencies)
            if number >= CURRENCIES:
                return
            self.currencies[currency] = number
        key = WEIGHTED + 6 * number
        product = weight * worse
        if key not in cell:
            cell.update(dict.fromkeys(range(key, key + 6), 0.0))
        cell[key] += 1.0
        cell[key + 1] += weight
        cell[key + 2] += product
        cell[key + 3] += weight * weight
        cell[key + 4] += weight * product
        cell[key + 5] += product * product

    def _price(self, exchange: str | None, symbol: str, t_ms: int) -> float | None:
        """The market's price at that time, at most thirty seconds old."""
        if exchange is None:
            return None
        instrument = self._instruments.get((exchange, symbol))
        if instrument is None or not 0 <= t_ms - instrument.at_ms <= SETTLE_MS:
            return None
        return instrument.price

    def _after(self, exchange: str | None, symbol: str, due_ms: int) -> float | None:
        """The market's price thirty seconds after an order's end, from a frame after it."""
        if exchange is None:
            return None
        instrument = self._instruments.get((exchange, symbol))
        if instrument is None or not due_ms - SETTLE_MS < instrument.at_ms <= due_ms:
            return None
        return instrument.price

    def _route(self, key: RouteKey, t_ms: int) -> Route | None:
        route = self.routes.get(key)
        if route is None:
            if len(self.routes) >= MOST_ROUTES and not self._forget(t_ms):
                self.refused += 1
                return None
            route = self.routes[key] = Route(Rolling(), [0, 0, 0, 0])
        return route

    def _forget(self, t_ms: int) -> bool:
        """Drops the route that was silent for longest, if that is a month."""
        oldest = min(self.routes, key=lambda key: self.routes[key].rolling.begin_ms)
        if not self.routes[oldest].rolling.asleep(t_ms):
            return False
        del self.routes[oldest]
        return True

    def dump(self) -> ExecutionKept:
        routes = [(key, route.rolling.dump(), route.ended) for key, route in self.routes.items()]
        return ExecutionKept(routes, list(self.currencies), self.orders.dump())

    def load(self, kept: ExecutionKept) -> None:
        self.routes.update((key, Route(Rolling.load(rolling), ended)) for key, rolling, ended in kept.routes)
        self.currencies.update((name, number) for number, name in enumerate(kept.currencies))
        if kept.orders is not None:
            self.orders.load(kept.orders)


def _count(cell: Cell, key: int) -> None:
    cell[key] = cell.get(key, 0.0) + 1.0


def _observe(cell: Cell, key: int, value: float) -> None:
    for offset, more in enumerate((1.0, value, value * value)):
        cell[key + offset] = cell.get(key + offset, 0.0) + more
