"""Exchanges: orders, API calls, rate limits, connections and the three ages of every market-data stream."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Connection, MarketData, Order, RateLimit, Request
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Tally

__all__ = ["ConnectionKey", "Exchanges", "Stream", "StreamKey"]

ConnectionKey: TypeAlias = tuple[str, str | None, str | None]
"""Exchange, channel, source."""

StreamKey: TypeAlias = tuple[str, str, str | None]
"""Exchange, symbol, channel."""

_CONNECTED = {"connected": 1.0, "degraded": 0.5, "disconnected": 0.0}


class Stream(Struct, array_like=True):
    """A market-data stream: when its last frame came, the venue's time of it, and when a value last changed."""

    frame_at: float = 0.0
    exchange_at: float | None = None
    changed_at: float = 0.0
    price: float | None = None
    bid: float | None = None
    ask: float | None = None

    def take(self, frame: MarketData) -> None:
        """A frame older than the newest changes nothing. A price that is left out has not changed."""
        if frame.at < self.frame_at:
            return
        price = self.price if frame.price is None else frame.price
        bid = self.bid if frame.bid is None else frame.bid
        ask = self.ask if frame.ask is None else frame.ask
        if not self.frame_at or (price, bid, ask) != (self.price, self.bid, self.ask):
            self.changed_at = frame.at
        self.frame_at = frame.at
        self.price, self.bid, self.ask = price, bid, ask
        if frame.exchange_at is not None and frame.exchange_at >= (self.exchange_at or 0.0):
            self.exchange_at = frame.exchange_at


class ExchangesKept(Struct):
    """What a snapshot keeps of the exchanges."""

    connections: list[tuple[ConnectionKey, Connection]] = []
    streams: list[tuple[StreamKey, Stream]] = []


class Exchanges:
    """What is known of each exchange; connections and streams by what names them."""

    def __init__(self, tally: Tally) -> None:
        self._max = tally.series.max_series
        self.connections: dict[ConnectionKey, Connection] = {}
        self.streams: dict[StreamKey, Stream] = {}
        state, report, counter = tally.state, tally.report, tally.counter
        self._orders = counter("orders_total", "Changes of orders by status.", "source", "symbol", "status")
        self._order_latency = tally.histogram("order_latency_seconds", "Latency of orders.", "source", "exchange")
        where = ("exchange", "endpoint")
        self._requests = counter("exchange_requests_total", "API calls.", *where, "outcome")
        self._latency = tally.histogram("exchange_request_duration_seconds", "Duration of API calls.", *where)
        scope = ("exchange", "scope")
        self._remaining = report("exchange_rate_limit_remaining", "Calls that the exchange still allows.", *scope)
        self._limit = report("exchange_rate_limit_limit", "Calls that the exchange allows in all.", *scope)
        self._resets = report("exchange_rate_limit_reset_timestamp_seconds", "When the limit is renewed.", *scope)
        link = ("exchange", "channel", "source")
        self._connected = state("exchange_connected", "1 connected, 0.5 degraded, 0 disconnected.", *link)
        self._changes = counter("exchange_connection_changes_total", "Changes of state.", *link)
        tick = ("exchange", "symbol")
        self._price = report("market_data_price", "Last price.", *tick)
        self._bid = report("market_data_bid", "Best bid.", *tick)
        self._ask = report("market_data_ask", "Best ask.", *tick)
        stream = (*tick, "channel")
        self._frame = state("market_data_frame_timestamp_seconds", "When the last frame came.", *stream)
        self._venue = state("market_data_exchange_timestamp_seconds", "The venue's time of the last frame.", *stream)
        self._change = state("market_data_change_timestamp_seconds", "When a value last changed.", *stream)

    def fold_order(self, order: Order, t_ms: int) -> None:
        self._orders.add((order.source, order.symbol, order.status), t_ms)
        self._order_latency.observe((order.source, order.exchange), t_ms, order.latency_seconds)

    def fold_request(self, request: Request, t_ms: int) -> None:
        outcome = "ok" if request.ok else "error"
        self._requests.add((request.exchange, request.endpoint, outcome), t_ms)
        self._latency.observe((request.exchange, request.endpoint), t_ms, request.latency_seconds)

    def fold_rate_limit(self, rate_limit: RateLimit, t_ms: int) -> None:
        key = (rate_limit.exchange, rate_limit.scope)
        self._remaining.place(key, t_ms, rate_limit.remaining)
        self._limit.place(key, t_ms, rate_limit.limit)
        self._resets.place(key, t_ms, rate_limit.resets_at)

    def fold_connection(self, connection: Connection, t_ms: int) -> None:
        """A report older than the newest is counted as nothing: the state is known better already."""
        key = (connection.exchange, connection.channel, connection.source)
        before = self.connections.get(key)
        if before is not None and connection.at < before.at:
            return
        if before is not None or len(self.connections) < self._max:
            self.connections[key] = connection
        self._connected.write(key, t_ms, _CONNECTED[connection.state])
        if before is not None and before.state != connection.state:
            self._changes.add(key, t_ms)
        elif before is None:
            self._changes.add(key, t_ms, 0.0)

    def fold_market_data(self, frame: MarketData, t_ms: int) -> None:
        tick = (frame.exchange, frame.symbol)
        self._price.place(tick, t_ms, frame.price)
        self._bid.place(tick, t_ms, frame.bid)
        self._ask.place(tick, t_ms, frame.ask)
        key = (frame.exchange, frame.symbol, frame.channel)
        stream = self.streams.get(key)
        if stream is None:
            stream = Stream()
            if len(self.streams) < self._max:
                self.streams[key] = stream
        stream.take(frame)
        self._frame.write(key, t_ms, stream.frame_at)
        self._venue.write(key, t_ms, stream.exchange_at)
        self._change.write(key, t_ms, stream.changed_at)

    def dump(self) -> bytes:
        return pack(ExchangesKept(list(self.connections.items()), list(self.streams.items())))

    def load(self, raw: bytes) -> None:
        kept: ExchangesKept = unpack(raw, ExchangesKept)
        self.connections.update(kept.connections)
        self.streams.update(kept.streams)
