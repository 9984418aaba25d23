"""Marks: what an instrument is worth now, and what one point of it is worth in money.

The price is the market data's (the last trade, else the middle of bid and ask); where there is none, what a bot
reported as its mark; where there is none either, the last fill. A better source gives way to another only where
its newest price is a minute older.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import MarketData
from trader_monitor.core.facts import Position as Report
from trader_monitor.core.snapshot import pack, unpack

if TYPE_CHECKING:
    from trader_monitor.core.trading.positions.shown import Position

__all__ = ["FILLED", "PATIENCE", "Marks", "Quote"]

PATIENCE = 60.0
"""Seconds by which a better source's price may be older than another's."""

MARKET, REPORTED, FILLED = 0, 1, 2

_Where: TypeAlias = tuple[str | None, str]
_Holding: TypeAlias = tuple[str, str | None, str | None, str]


class Quote:
    """One instrument's newest price; `at` is its time, `rank` its source (0 is the best)."""

    __slots__ = ("at", "exchange", "price", "priced", "rank", "symbol")

    def __init__(self, exchange: str | None, symbol: str) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.price: float | None = None
        self.at = 0.0
        self.rank = FILLED
        self.priced: list[Position] = []

    def take(self, price: float, at: float, rank: int) -> bool:
        """Takes a price; whether the mark changed."""
        if self.price is None or self._yields(at, rank):
            changed = price != self.price
            self.price, self.at, self.rank = price, at, rank
            return changed
        return False

    def _yields(self, at: float, rank: int) -> bool:
        if rank == self.rank:
            return at >= self.at
        return at >= self.at - PATIENCE if rank < self.rank else at > self.at + PATIENCE


class MarksKept(Struct):
    """What a snapshot keeps of the marks."""

    quotes: list[tuple[str | None, str, float, float, int]] = []
    multipliers: list[tuple[_Holding, float]] = []


class Marks:
    """The newest price by exchange and symbol, the multiplier by holding.

    Room for `most` instruments (some 300 bytes each) and as many multipliers (200 bytes); who comes later has none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._quotes: dict[_Where, Quote] = {}
        self._of_symbol: dict[str, list[Quote]] = {}
        self._multipliers: dict[_Holding, float] = {}
        self.changed: dict[Quote, int] = {}
        """Quotes that changed since `taken` was asked, and when (ms)."""

    def price(self, exchange: str | None, symbol: str) -> float | None:
        """The newest price; where no exchange is named, the best of all exchanges that have the symbol."""
        if exchange is not None:
            quote = self._quotes.get((exchange, symbol))
            return None if quote is None else quote.price
        best: Quote | None = None
        for quote in self._of_symbol.get(symbol, ()):
            if quote.price is not None and (best is None or best._yields(quote.at, quote.rank)):
                best = quote
        return None if best is None else best.price

    def multiplier(self, source: str, account: str | None, exchange: str | None, symbol: str) -> float:
        """Money per point and unit, as the bot's position reports say; 1 where they do not."""
        return self._multipliers.get((source, account, exchange, symbol), 1.0)

    def quote(self, exchange: str | None, symbol: str) -> Quote | None:
        """The instrument's quote, new if need be; None where there is no room for one more."""
        quote = self._quotes.get((exchange, symbol))
        if quote is None and len(self._quotes) < self._most:
            quote = self._quotes[exchange, symbol] = Quote(exchange, symbol)
            self._of_symbol.setdefault(symbol, []).append(quote)
        return quote

    def fold_market_data(self, frame: MarketData, t_ms: int) -> None:
        price = frame.price
        if price is None:
            if frame.bid is None or frame.ask is None:
                return
            price = frame.bid + (frame.ask - frame.bid) / 2.0
        quote = self.quote(frame.exchange, frame.symbol)
        if quote is not None and quote.take(price, frame.at, MARKET):
            self.changed[quote] = t_ms

    def fold_position(self, position: Report, t_ms: int) -> None:
        if position.mark_price is not None:
            quote = self.quote(position.exchange, position.symbol)
            if quote is not None and quote.take(position.mark_price, position.at, REPORTED):
                self.changed[quote] = t_ms
        if position.multiplier is not None:
            key = (position.source, position.account, position.exchange, position.symbol)
            if key in self._multipliers or len(self._multipliers) < self._most:
                self._multipliers[key] = position.multiplier

    def taken(self) -> Iterator[tuple[Position, int]]:
        """Who is valued at a mark that changed since the last question, and when that was (ms)."""
        changed, self.changed = self.changed, {}
        for quote, t_ms in changed.items():
            for sibling in self._of_symbol[quote.symbol]:
                if sibling is quote or sibling.exchange is None:
                    for priced in sibling.priced:
                        yield priced, t_ms

    def dump(self) -> bytes:
        quotes = [(q.exchange, q.symbol, q.price, q.at, q.rank) for q in self._quotes.values() if q.price is not None]
        return pack(MarksKept(quotes, list(self._multipliers.items())))

    def load(self, raw: bytes) -> None:
        kept: MarksKept = unpack(raw, MarksKept)
        for exchange, symbol, price, at, rank in kept.quotes:
            if (quote := self.quote(exchange, symbol)) is not None:
                quote.take(price, at, rank)
        self._multipliers.update(kept.multipliers)
