"""Exchanges: orders, API calls, rate limits, connections and market-data streams, as series and as figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from trader_monitor.core.facts import Connection, MarketData, Order, RateLimit, Request, Trade
from trader_monitor.core.figure import Figure
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.statistics.rolling import RollingKept
from trader_monitor.core.tally import Cell, Tally
from trader_monitor.core.trading.exchanges.headroom import Allowance, ScopeKey, headroom_figures
from trader_monitor.core.trading.exchanges.requests import EndpointKey, Requests
from trader_monitor.core.trading.exchanges.streams import (
    Instrument,
    InstrumentKey,
    SecondsOpen,
    Stream,
    StreamKey,
    stream_figures,
)
from trader_monitor.core.trading.exchanges.uptime import STATES, ConnectionKey, Link, LinkKept, uptime_figures
from trader_monitor.core.trading.execution.costs import execution_figures
from trader_monitor.core.trading.execution.execution import Execution, ExecutionKept, Multiplier

__all__ = ["ConnectionKey", "Exchanges", "Stream", "StreamKey"]

MOST_LINKS = 1_024
MOST_ALLOWANCES = 1_024

PRICE, BID, ASK, FRAME, VENUE, CHANGE = range(6)

_CONNECTED = {"connected": 1.0, "degraded": 0.5, "disconnected": 0.0}
_ALWAYS: Mapping[str, SecondsOpen] = MappingProxyType({})


class ExchangesKept(Struct):
    """What a snapshot keeps of the exchanges."""

    connections: list[tuple[ConnectionKey, Connection]] = []
    streams: list[tuple[StreamKey, Stream]] = []
    instruments: list[tuple[InstrumentKey, Instrument]] = []
    links: list[tuple[ConnectionKey, LinkKept]] = []
    allowances: list[tuple[ScopeKey, Allowance]] = []
    endpoints: list[tuple[EndpointKey, RollingKept]] = []
    execution: ExecutionKept | None = None


class _Line:
    """A stream and where it is written: prices as they come, its ages once per step."""

    __slots__ = ("cells", "dirty", "exchanges", "instrument", "key", "meant", "stream")

    def __init__(self, exchanges: Exchanges, key: StreamKey, stream: Stream, instrument: Instrument) -> None:
        self.exchanges = exchanges
        self.key = key
        self.cells: list[Cell | None] = [None] * len(exchanges.written)
        self.stream = stream
        self.instrument = instrument
        self.meant = 0
        self.dirty = False

    def settle(self) -> None:
        self.dirty = False
        cells, stream, t_ms = self.cells, self.stream, self.meant
        (cells[FRAME] or self.cell(FRAME)).write(t_ms, stream.frame_at)
        if stream.exchange_at is not None:
            (cells[VENUE] or self.cell(VENUE)).write(t_ms, stream.exchange_at)
        (cells[CHANGE] or self.cell(CHANGE)).write(t_ms, stream.changed_at)

    def cell(self, which: int) -> Cell:
        """The cell of one of its series; one that was refused is asked for again."""
        cell = self.exchanges.written[which].cell(self.key if which >= FRAME else self.key[:2])
        if cell.sid >= 0:
            self.cells[which] = cell
        return cell


class Exchanges:
    """What is known of each exchange; connections and streams by what names them.

    Memory: streams and connections up to `max_series` of the store, 2 KB each; the uptimes of 1,024 connections and
    the allowances of as many limits; what calls and orders take is said where they are kept.
    """

    def __init__(self, tally: Tally, multiplier: Multiplier = lambda *_: 1.0) -> None:
        """`multiplier` says what a point of an instrument is worth, for the share of fees in what an order costs."""
        self._tally = tally
        self._max = tally.series.max_series
        self.connections: dict[ConnectionKey, Connection] = {}
        self.streams: dict[StreamKey, Stream] = {}
        self.links: dict[ConnectionKey, Link] = {}
        self.allowances: dict[ScopeKey, Allowance] = {}
        self.requests = Requests()
        self._instruments: dict[InstrumentKey, Instrument] = {}
        self._lines: dict[StreamKey, _Line] = {}
        self.execution = Execution(self._instruments, multiplier)
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
        stream = (*tick, "channel")
        self.written = (
            report("market_data_price", "Last price.", *tick),
            report("market_data_bid", "Best bid.", *tick),
            report("market_data_ask", "Best ask.", *tick),
            state("market_data_frame_timestamp_seconds", "When the last frame came.", *stream),
            state("market_data_exchange_timestamp_seconds", "The venue's time of the last frame.", *stream),
            state("market_data_change_timestamp_seconds", "When a value last changed.", *stream),
        )
        """What is written of a stream, by PRICE … CHANGE."""

    def fold_order(self, order: Order, t_ms: int) -> None:
        self._orders.add((order.source, order.symbol, order.status), t_ms)
        self._order_latency.observe((order.source, order.exchange), t_ms, order.latency_seconds)
        self.execution.fold_order(order, t_ms)

    def fold_trade(self, trade: Trade, t_ms: int) -> None:
        """What a fill says of execution; positions and P&L are not kept here."""
        self.execution.fold_trade(trade, t_ms)

    def fold_request(self, request: Request, t_ms: int) -> None:
        outcome = "ok" if request.ok else "error"
        self._requests.add((request.exchange, request.endpoint, outcome), t_ms)
        self._latency.observe((request.exchange, request.endpoint), t_ms, request.latency_seconds)
        self.requests.fold(request, t_ms)

    def fold_rate_limit(self, rate_limit: RateLimit, t_ms: int) -> None:
        key = (rate_limit.exchange, rate_limit.scope)
        self._remaining.place(key, t_ms, rate_limit.remaining)
        self._limit.place(key, t_ms, rate_limit.limit)
        self._resets.place(key, t_ms, rate_limit.resets_at)
        whose = (*key, rate_limit.source)
        allowance = self.allowances.get(whose)
        if allowance is None:
            if len(self.allowances) >= MOST_ALLOWANCES:
                return
            allowance = self.allowances[whose] = Allowance()
        allowance.take(rate_limit, t_ms / 1000.0)

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
        link = self.links.get(key)
        if link is not None:
            link.report(t_ms, STATES[connection.state])
        elif len(self.links) < MOST_LINKS:
            self.links[key] = Link(t_ms, STATES[connection.state])

    def fold_market_data(self, frame: MarketData, t_ms: int) -> None:
        if t_ms >= self.execution.orders.due_ms:
            self.execution.settle(t_ms)
        line = self._lines.get((frame.exchange, frame.symbol, frame.channel))
        if line is None:
            line = self._open((frame.exchange, frame.symbol, frame.channel))
        cells, price, bid, ask = line.cells, frame.price, frame.bid, frame.ask
        if price is not None:
            (cells[PRICE] or line.cell(PRICE)).place(t_ms, price)
        if bid is not None:
            (cells[BID] or line.cell(BID)).place(t_ms, bid)
        if ask is not None:
            (cells[ASK] or line.cell(ASK)).place(t_ms, ask)
        stream, instrument = line.stream, line.instrument
        if stream.take(frame) and t_ms >= instrument.at_ms:
            mid = stream.mid
            if mid is not None:
                instrument.at_ms = t_ms
                instrument.price = mid
        if t_ms > line.meant:
            line.meant = t_ms
        if not line.dirty:
            line.dirty = True
            self._tally.pending.append(line)

    def _open(self, key: StreamKey) -> _Line:
        stream = self.streams.get(key) or Stream()
        instrument = self._instruments.get(key[:2]) or Instrument()
        line = _Line(self, key, stream, instrument)
        if key in self.streams or len(self.streams) < self._max:
            self.streams[key] = stream
            self._instruments[key[:2]] = instrument
            self._lines[key] = line
        return line

    def figures(self, now: float, market_time: Mapping[str, SecondsOpen] = _ALWAYS) -> Iterator[Figure]:
        """Every figure of execution and exchanges at `now` (Unix seconds).

        `market_time` says by exchange how many seconds of a time its market was open: there ages count only those.
        """
        now_ms = int(now * 1000.0)
        yield from execution_figures(self.execution, now_ms)
        yield from self.requests.figures(now_ms)
        yield from headroom_figures(self.allowances, now)
        yield from uptime_figures(self.links, now_ms)
        yield from stream_figures(self.streams, now, market_time)

    def dump(self) -> bytes:
        return pack(
            ExchangesKept(
                connections=list(self.connections.items()),
                streams=list(self.streams.items()),
                instruments=list(self._instruments.items()),
                links=[(key, link.dump()) for key, link in self.links.items()],
                allowances=list(self.allowances.items()),
                endpoints=self.requests.dump(),
                execution=self.execution.dump(),
            )
        )

    def load(self, raw: bytes) -> None:
        """A snapshot without uptimes has the connections' states: known time begins with the last report."""
        kept: ExchangesKept = unpack(raw, ExchangesKept)
        self.connections.update(kept.connections)
        self.streams.update(kept.streams)
        self._instruments.update(kept.instruments)
        self.allowances.update(kept.allowances)
        self.requests.load(kept.endpoints)
        for key, connection in kept.connections[: MOST_LINKS if not kept.links else 0]:
            self.links[key] = Link(int(connection.at * 1000.0 + 0.5), STATES[connection.state])
        self.links.update((key, Link.load(link)) for key, link in kept.links)
        if kept.execution is not None:
            self.execution.load(kept.execution)
