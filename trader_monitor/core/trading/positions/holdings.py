"""Holdings: what accounts and their strategies hold, by key: books, ledgers, totals, and the tails of their fills."""

from __future__ import annotations

from typing import Any, TypeAlias

from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.accounts.exposure import Exposures
from trader_monitor.core.trading.decimals import exact
from trader_monitor.core.trading.marks import Marks
from trader_monitor.core.trading.positions.book import Book
from trader_monitor.core.trading.positions.corrections import Tail, segment_for
from trader_monitor.core.trading.positions.ledger import Ledger
from trader_monitor.core.trading.positions.line import Line, LineKey
from trader_monitor.core.trading.positions.metrics import Metrics
from trader_monitor.core.trading.positions.shown import (
    Account,
    BookKey,
    LedgerKey,
    Position,
    Shown,
    Symbol,
    SymbolKey,
    Total,
)

__all__ = ["Holdings", "StrategyBookKey", "StrategyLedgerKey"]

StrategyBookKey: TypeAlias = tuple[str, str | None, str | None, str, str]
"""Source, account, exchange, symbol, strategy."""

StrategyLedgerKey: TypeAlias = tuple[str, str | None, str | None, str]
"""Source, account, currency, strategy."""

_Own: TypeAlias = tuple[str, str | None]


class Holdings:
    """Everything that fills change. Where there is no room for its series, nothing new is kept.

    A book takes some 3 KiB here with the lines of both its sides, 330 bytes more per lot, and nine series; measured
    with those, 16 KiB. A strategy's book takes another and a series; an account 8 KiB and its tail, sixteen series.
    """

    def __init__(self, tally: Tally, marks: Marks, exposures: Exposures | None = None) -> None:
        self.tally = tally
        self.marks = marks
        self.exposures = exposures
        self.metrics = Metrics(tally)
        self.books: dict[BookKey, Book] = {}
        self.ledgers: dict[LedgerKey, Ledger] = {}
        self.strategy_books: dict[StrategyBookKey, Book] = {}
        self.strategy_ledgers: dict[StrategyLedgerKey, Ledger] = {}
        self.positions: dict[tuple[BookKey, str | None], Position] = {}
        self.accounts: dict[tuple[LedgerKey, str | None], Account] = {}
        self.symbols: dict[SymbolKey, Symbol] = {}
        self.lines: dict[LineKey, Line] = {}
        self.tails: dict[_Own, Tail] = {}
        self.segment = segment_for(1)
        """How many fills a segment of a tail holds now."""
        self.changed: dict[Shown[Any, Any] | Line, None] = {}
        """What is to be valued again."""
        self._siblings: dict[_Own, list[Ledger]] = {}

    def open(self, key: LineKey) -> Line:
        """A line of fills with all that it changes. One that is refused is whole, but not kept."""
        source, account, exchange, symbol, side, currency, strategy = key
        count = self.metrics.count.cell((source, account, exchange, symbol, side))
        volume = self.metrics.volume.cell((source, account, exchange, symbol, side, currency))
        kept = count.sid >= 0 or len(self.lines) < self.tally.series.max_series
        where, money = (source, account, exchange, symbol), (source, account, currency)
        position = self.position(where, None, kept=kept)
        total = self.symbol((source, account, symbol, currency), kept=kept)
        things = (position, self.account(money, None, kept=kept), total)
        of_strategy = None
        if strategy is not None:
            of_strategy = (self.position(where, strategy, kept=kept), self.account(money, strategy, kept=kept))
        for position in (things[0], *(of_strategy or ())[:1]):
            if not position.state.newest_at:
                position.state.currency = currency
        line = Line(key, self.tail((source, account), kept=kept), things, of_strategy, count, volume)
        if kept:
            self.lines[key] = line
        return line

    def position(self, key: BookKey, strategy: str | None, *, kept: bool = True) -> Position:
        position = self.positions.get((key, strategy))
        if position is None:
            book = self.books.get(key) if strategy is None else self.strategy_books.get((*key, strategy))
            if book is None:
                multiplier = self.marks.multiplier(*key)
                book = Book(multiplier=None if multiplier == 1 else exact(multiplier))
            position = Position(self, key, book, strategy)
            if kept:
                self._keep(position)
        return position

    def _keep(self, position: Position) -> None:
        key, strategy = position.key, position.strategy
        self.positions[key, strategy] = position
        if position.quote is not None:
            position.quote.priced.append(position)
        if strategy is None:
            self.books[key] = position.state
        else:
            self.strategy_books[(*key, strategy)] = position.state
            self.position(key, None).strategies.append(position)

    def account(self, key: LedgerKey, strategy: str | None, *, kept: bool = True) -> Account:
        account = self.accounts.get((key, strategy))
        if account is None:
            ledger = self.ledgers.get(key) if strategy is None else self.strategy_ledgers.get((*key, strategy))
            siblings = self._siblings.get(key[:2], []) if strategy is None else []
            account = Account(self, key, ledger or Ledger(), siblings, strategy)
            if not kept:
                siblings = account.siblings = [*siblings, account.state]
            elif strategy is None:
                self.accounts[key, None] = account
                self.ledgers[key] = account.state
                self._siblings.setdefault(key[:2], siblings).append(account.state)
            else:
                self.accounts[key, strategy] = account
                self.strategy_ledgers[(*key, strategy)] = account.state
        return account

    def symbol(self, key: SymbolKey, *, kept: bool = True) -> Symbol:
        symbol = self.symbols.get(key)
        if symbol is None:
            symbol = Symbol(self, key, Total())
            if kept:
                self.symbols[key] = symbol
        return symbol

    def tail(self, own: _Own, *, kept: bool = True) -> Tail:
        """The account's tail; whoever is not kept has one for the moment."""
        tail = self.tails.get(own) if kept else None
        if tail is None:
            tail = Tail(self.tally)
            if kept:
                self.tails[own] = tail
                self.segment = segment_for(len(self.tails))
        return tail
