"""Fills: trades folded into positions, ledgers and their series.

The hot path of the daemon: a trade changes a few numbers in memory; the series are written once per step, from
what changed, at the newest `at`.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Trade
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Cell, Tally
from trader_monitor.core.trading.book import Book
from trader_monitor.core.trading.decimals import ZERO, exact
from trader_monitor.core.trading.ledger import Ledger
from trader_monitor.core.trading.marks import Marks

__all__ = ["BookKey", "Fills", "FillsKept", "LedgerKey", "SymbolKey"]

BookKey: TypeAlias = tuple[str, str | None, str | None, str]
"""Source, account, exchange, symbol."""

LedgerKey: TypeAlias = tuple[str, str | None, str | None]
"""Source, account, currency."""

SymbolKey: TypeAlias = tuple[str, str | None, str, str | None]
"""Source, account, symbol, currency."""

_StreamKey: TypeAlias = tuple[str, str | None, str | None, str, str, str | None]


LATEST = 50
"""Trades that are kept as they came, for who looks."""


class FillsKept(Struct, array_like=True):
    """What a snapshot keeps of the fills."""

    books: list[tuple[BookKey, Book]]
    ledgers: list[tuple[LedgerKey, Ledger]]
    symbols: list[tuple[SymbolKey, Decimal]]
    latest: list[Trade] = []


class _Shown:
    """Something that fills change and that writes its series once per step."""

    __slots__ = ("dirty", "fills", "meant")

    def __init__(self, fills: Fills) -> None:
        self.fills = fills
        self.meant = 0
        self.dirty = False

    def touch(self, t_ms: int) -> None:
        if t_ms > self.meant:
            self.meant = t_ms
        if not self.dirty:
            self.dirty = True
            self.fills.tally.pending.append(self)

    def settle(self) -> None:
        self.dirty = False


class _Position(_Shown):
    __slots__ = ("book", "key")

    def __init__(self, fills: Fills, key: BookKey, book: Book) -> None:
        super().__init__(fills)
        self.key = key
        self.book = book

    def settle(self) -> None:
        super().settle()
        self.fills.quantity.write(self.key, self.meant, float(self.book.quantity))


class _Symbol(_Shown):
    __slots__ = ("key", "realized")

    def __init__(self, fills: Fills, key: SymbolKey, realized: Decimal) -> None:
        super().__init__(fills)
        self.key = key
        self.realized = realized

    def settle(self) -> None:
        super().settle()
        self.fills.realized_symbol.write(self.key, self.meant, float(self.realized))


class _Account(_Shown):
    __slots__ = ("key", "ledger")

    def __init__(self, fills: Fills, key: LedgerKey, ledger: Ledger) -> None:
        super().__init__(fills)
        self.key = key
        self.ledger = ledger

    def settle(self) -> None:
        super().settle()
        fills, key, ledger, t_ms = self.fills, self.key, self.ledger, self.meant
        fills.realized.write(key, t_ms, float(ledger.realized))
        fills.drawdown.write(key, t_ms, float(ledger.drawdown))
        fills.drawdown_max.write(key, t_ms, float(ledger.drawdown_max))
        if ledger.charged:
            fills.fees.write(key, t_ms, float(ledger.fees))
        if ledger.reported is not None:
            fills.reported.write(key, t_ms, float(ledger.reported))
        if not ledger.closed:
            return
        fills.profit_factor.write(key, t_ms, ledger.profit_factor)
        source, account, _ = key
        wins = losses = flats = 0
        for sibling in fills.siblings(source, account):
            wins, losses, flats = wins + sibling.wins, losses + sibling.losses, flats + sibling.flats
        for result, number in (("win", wins), ("loss", losses), ("flat", flats)):
            fills.closed.write((source, account, result), t_ms, float(number))
        fills.win_ratio.write((source, account), t_ms, wins / (wins + losses + flats))


class _Stream(_Shown):
    """The fills of one instrument on one side in one currency: where each number of a trade goes."""

    __slots__ = ("account", "at", "count", "number", "position", "price", "sign", "symbol", "turnover", "volume")

    def __init__(
        self,
        fills: Fills,
        account: _Account,
        position: _Position,
        symbol: _Symbol,
        count: Cell,
        volume: Cell,
        sign: int,
    ) -> None:
        super().__init__(fills)
        self.account = account
        self.position = position
        self.symbol = symbol
        self.count = count
        self.volume = volume
        self.sign = sign
        self.number = 0
        self.turnover = 0.0
        self.price = 0.0
        self.at = 0.0

    def settle(self) -> None:
        super().settle()
        t_ms = self.meant
        self.count.add(t_ms, self.number)
        self.volume.add(t_ms, self.turnover)
        self.number, self.turnover = 0, 0.0
        _, _, exchange, symbol = self.position.key
        quote = self.fills.marks.quote(exchange, symbol)
        if quote is not None:
            self.fills.marks.filled(quote, self.price, self.at, t_ms)
        self.account.touch(t_ms)
        self.position.touch(t_ms)
        self.symbol.touch(t_ms)


class Fills:
    """All books and ledgers, by what their trades name."""

    def __init__(self, tally: Tally, marks: Marks) -> None:
        self.tally = tally
        self.marks = marks
        self.books: dict[BookKey, Book] = {}
        self.ledgers: dict[LedgerKey, Ledger] = {}
        self.latest: deque[Trade] = deque(maxlen=LATEST)
        self._accounts: dict[LedgerKey, _Account] = {}
        self._positions: dict[BookKey, _Position] = {}
        self._symbols: dict[SymbolKey, _Symbol] = {}
        self._streams: dict[_StreamKey, _Stream] = {}
        where = ("source", "account", "exchange", "symbol")
        money = ("source", "account", "currency")
        state, counter = tally.state, tally.counter
        self.count = counter("trade_fills_total", "Fills.", *where, "side")
        self.volume = counter("trade_volume_total", "Quote notional of fills.", *where, "side", "currency")
        self.fees = counter("trade_fees_total", "Fees paid, less rebates.", *money)
        self.realized = state("pnl_realized", "Realised P&L from fills, net of fees.", *money)
        self.realized_symbol = state(
            "pnl_realized_symbol",
            "Realised P&L from fills by symbol, net of fees.",
            *("source", "account", "symbol", "currency"),
        )
        self.reported = state("pnl_realized_reported", "Realised P&L as the fills themselves say.", *money)
        self.drawdown = state("pnl_drawdown", "Realised P&L below its peak, in money.", *money)
        self.drawdown_max = state("pnl_drawdown_max", "Deepest fall of realised P&L from a peak.", *money)
        self.closed = counter("trades_closed_total", "Round trips that ended.", "source", "account", "result")
        self.win_ratio = state("trade_win_ratio", "Won round trips in all that ended.", "source", "account")
        self.profit_factor = state("trade_profit_factor", "Gross profit by gross loss of round trips.", *money)
        self.quantity = state("position_quantity", "Net position from fills, signed.", *where)
        self.execution = tally.histogram("trade_execution_seconds", "Order to fill.", "source", "exchange")
        self.slippage = tally.report(
            "trade_slippage_ratio",
            "Fill price against the expected one, positive when worse.",
            *("source", "exchange", "symbol"),
        )

    def fold(self, trade: Trade, t_ms: int) -> None:
        """Takes a trade in; its series are written when the step settles."""
        self.latest.append(trade)
        key = (trade.source, trade.account, trade.exchange, trade.symbol, trade.side, trade.currency)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._open(key)
        price = trade.price
        stream.number += 1
        stream.turnover += abs(trade.quantity * price)
        if trade.at >= stream.at:
            stream.price, stream.at = price, trade.at
        stream.touch(t_ms)
        quantity = exact(trade.quantity)
        fee = exact(trade.fee) if trade.fee else ZERO
        gross, closed = stream.position.book.fill(quantity if stream.sign > 0 else -quantity, exact(price), fee)
        ledger = stream.account.ledger
        ledger.realize(gross, fee)
        if gross or fee:
            stream.symbol.realized += gross - fee
        if closed is not None:
            ledger.close(closed)
        if trade.realized_pnl is not None:
            ledger.reported = (ledger.reported or ZERO) + exact(trade.realized_pnl)
        if trade.execution_seconds is not None:
            self.execution.observe((trade.source, trade.exchange), t_ms, trade.execution_seconds)
        if trade.expected_price:
            worse = stream.sign * (price - trade.expected_price) / abs(trade.expected_price)
            self.slippage.place((trade.source, trade.exchange, trade.symbol), t_ms, worse)

    def siblings(self, source: str, account: str | None) -> list[Ledger]:
        """The account's ledgers in all its currencies."""
        return [ledger for key, ledger in self.ledgers.items() if key[0] == source and key[1] == account]

    def _open(self, key: _StreamKey) -> _Stream:
        source, account, exchange, symbol, side, currency = key
        ledger_key: LedgerKey = (source, account, currency)
        book_key: BookKey = (source, account, exchange, symbol)
        symbol_key: SymbolKey = (source, account, symbol, currency)
        count = self.count.cell((*book_key, side))
        stream = _Stream(
            self,
            self._accounts.get(ledger_key) or _Account(self, ledger_key, self.ledgers.get(ledger_key, Ledger())),
            self._positions.get(book_key) or _Position(self, book_key, self.books.get(book_key, Book())),
            self._symbols.get(symbol_key) or _Symbol(self, symbol_key, ZERO),
            count,
            self.volume.cell((*book_key, side, currency)),
            1 if side == "buy" else -1,
        )
        if count.sid < 0 and len(self._streams) >= self.tally.series.max_series:
            return stream  # refused and counted: a flood of label sets leaves nothing behind
        self._streams[key] = stream
        self._accounts[ledger_key] = stream.account
        self._positions[book_key] = stream.position
        self._symbols[symbol_key] = stream.symbol
        self.ledgers[ledger_key] = stream.account.ledger
        self.books[book_key] = stream.position.book
        return stream

    def dump(self) -> bytes:
        symbols = [(key, symbol.realized) for key, symbol in self._symbols.items()]
        return pack(FillsKept(list(self.books.items()), list(self.ledgers.items()), symbols, list(self.latest)))

    def load(self, raw: bytes) -> None:
        kept: FillsKept = unpack(raw, FillsKept)
        self.books.update(kept.books)
        self.ledgers.update(kept.ledgers)
        self.latest.extend(kept.latest)
        self._symbols.update((key, _Symbol(self, key, realized)) for key, realized in kept.symbols)
