"""What fills change, and the series that say so.

Positions, realised P&L and its drawdown are written in the step in which they change. All else (counts, round trips,
what is valued at a mark, FIFO, strategies) is written in the same step too where few change; where many do, once a
second for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from msgspec import Struct

from trader_monitor.core.tally import Cell, Family, Key
from trader_monitor.core.trading.decimals import ZERO, exact
from trader_monitor.core.trading.positions.book import Book
from trader_monitor.core.trading.positions.corrections import Entry
from trader_monitor.core.trading.positions.ledger import Ledger

if TYPE_CHECKING:
    from trader_monitor.core.trading.positions.holdings import Holdings

__all__ = ["Account", "BookKey", "LedgerKey", "Position", "Shown", "Symbol", "SymbolKey", "Total"]

BookKey: TypeAlias = tuple[str, str | None, str | None, str]
"""Source, account, exchange, symbol."""

LedgerKey: TypeAlias = tuple[str, str | None, str | None]
"""Source, account, currency."""

SymbolKey: TypeAlias = tuple[str, str | None, str, str | None]
"""Source, account, symbol, currency."""


class Total(Struct, array_like=True):
    """What one instrument has realised in one currency, net of fees; by FIFO it is `excess` more."""

    realized: Decimal = ZERO
    excess: Decimal = ZERO

    def copied(self) -> Total:
        return Total(self.realized, self.excess)


S = TypeVar("S", Book, Ledger, Total)
K = TypeVar("K", BookKey, LedgerKey, SymbolKey)


class Shown(ABC, Generic[K, S]):
    """A state that fills change and that writes its series: `settle` those of the step, `revalue` the others."""

    __slots__ = ("_cells", "dirty", "holdings", "key", "meant", "state", "strategy", "told_again")

    def __init__(self, holdings: Holdings, key: K, state: S, strategy: str | None = None) -> None:
        self.holdings = holdings
        self.key: K = key
        self.state: S = state
        self.strategy = strategy
        self.meant = 0
        self.dirty = False
        self.told_again = False
        """Whether its history has changed in this step, so that what was known may be so no more."""
        self._cells: dict[str, Cell] = {}

    def touch(self, t_ms: int) -> None:
        if t_ms > self.meant:
            self.meant = t_ms
        if not self.dirty:
            self.dirty = True
            self.holdings.tally.pending.append(self)

    def settle(self) -> None:
        self.dirty = False
        self.holdings.changed[self] = None

    @abstractmethod
    def revalue(self) -> None:
        """Writes what is valued, and what is a second view."""

    @abstractmethod
    def label(self, name: str) -> str | None:
        """What the label of that name is here."""

    def end(self, family: Family, result: str | None = None) -> None:
        """What the series said turned out to be unknown."""
        self._cells.pop(result or family.name, None)
        family.end(self._labels(family, result), self.meant)

    def write(self, family: Family, value: float, result: str | None = None) -> None:
        """Writes a state, if it is another than before."""
        name = result or family.name
        cell = self._cells.get(name)
        if cell is None:
            cell = family.cell(self._labels(family, result))
            if cell.sid >= 0:
                self._cells[name] = cell
        cell.stand(self.meant, value)

    def _labels(self, family: Family, result: str | None) -> Key:
        return tuple(result if name == "result" else self.label(name) for name in family.names)


class Position(Shown[BookKey, Book]):
    """A book, and the account in whose currency it is valued."""

    __slots__ = ("account", "number_in_tail", "quote", "segment", "strategies", "unrealized", "unrealized_fifo")

    def __init__(self, holdings: Holdings, key: BookKey, book: Book, strategy: str | None = None) -> None:
        super().__init__(holdings, key, book, strategy)
        self.account: Account | None = None
        self.strategies: list[Position] = []
        self.unrealized = ZERO
        self.unrealized_fifo = ZERO
        self.segment = 0
        self.number_in_tail = -1
        self.quote = holdings.marks.quote(key[2], key[3])

    def label(self, name: str) -> str | None:
        where = ("source", "account", "exchange", "symbol")
        if name in where:
            return self.key[where.index(name)]
        return self.strategy if name == "strategy" else self.state.currency

    def settle(self) -> None:
        super().settle()
        if self.strategy is None:
            self.write(self.holdings.metrics.quantity, float(self.state.quantity))

    def mark(self) -> float | None:
        """The instrument's price; None before there is one, or one of its present units."""
        quote = self.quote
        if quote is None or quote.exchange is None:
            return self.holdings.marks.price(None, self.key[3])
        return quote.price if quote.at >= self.state.split_at else None

    def revalue(self) -> None:
        holdings, book = self.holdings, self.state
        metrics = holdings.metrics
        if self.strategy is not None:
            self.write(metrics.strategy_quantity, float(book.quantity))
        account = self.account
        if account is None or account.key[2] != book.currency:
            account = self.belong()
        price = self.mark() if book.quantity else None
        if holdings.exposures is not None and holdings.books.get(self.key) is book:
            quantity, points = float(book.quantity), float(book.multiplier or 1)
            value = None if price is None else quantity * price * points
            holdings.exposures.hold(self.key, quantity, value, book.currency, self.meant)
        average = fifo = ZERO
        if book.quantity:
            if price is None:
                return
            average, fifo = book.worth(exact(price))
        account.unrealized += average - self.unrealized
        account.unrealized_fifo += fifo - self.unrealized_fifo
        self.unrealized, self.unrealized_fifo = average, fifo
        if account.meant < self.meant:
            account.meant = self.meant
        holdings.changed[account] = None
        if self.strategy is not None:
            return
        self.write(metrics.unrealized_symbol, float(average))
        self.write(metrics.unrealized_symbol_fifo, float(fifo))
        if book.merged:
            self.write(metrics.merged, float(book.merged))

    def belong(self) -> Account:
        """Finds the account in whose currency the newest fill was."""
        before, holdings, key = self.account, self.holdings, self.key
        if before is not None:
            before.unrealized -= self.unrealized
            before.unrealized_fifo -= self.unrealized_fifo
            holdings.changed[before] = None
            if self.strategy is None:
                for family in (holdings.metrics.unrealized_symbol, holdings.metrics.unrealized_symbol_fifo):
                    self._cells.pop(family.name, None)
                    family.end((*key, before.key[2]), self.meant)
        self.unrealized = self.unrealized_fifo = ZERO
        kept = (key, self.strategy) in holdings.positions
        account = self.account = holdings.account((key[0], key[1], self.state.currency), self.strategy, kept=kept)
        return account

    @property
    def position(self) -> Position:
        """A split is told in the order of the position's fills."""
        return self

    @property
    def things(self) -> tuple[Position, ...]:
        """What a split changes."""
        return (self, *self.strategies)

    def apply(self, entry: Entry) -> None:
        """Splits the account's book and those of all its strategies."""
        for position in self.things:
            position.state.split(entry.ratio or (1, 1), entry.at)


class Symbol(Shown[SymbolKey, Total]):
    """What an instrument has realised."""

    __slots__ = ()

    def label(self, name: str) -> str | None:
        return self.key[("source", "account", "symbol", "currency").index(name)]

    def revalue(self) -> None:
        self.write(self.holdings.metrics.realized_symbol, float(self.state.realized))
        self.write(self.holdings.metrics.realized_symbol_fifo, float(self.state.realized + self.state.excess))


class Account(Shown[LedgerKey, Ledger]):
    """A ledger, and what the positions in its currency are worth."""

    __slots__ = ("siblings", "unrealized", "unrealized_fifo")

    def __init__(
        self, holdings: Holdings, key: LedgerKey, ledger: Ledger, siblings: list[Ledger], strategy: str | None = None
    ) -> None:
        """`siblings` are the ledgers of the same account in all its currencies."""
        super().__init__(holdings, key, ledger, strategy)
        self.siblings = siblings
        self.unrealized = ZERO
        self.unrealized_fifo = ZERO

    def label(self, name: str) -> str | None:
        return self.strategy if name == "strategy" else self.key[("source", "account", "currency").index(name)]

    def settle(self) -> None:
        super().settle()
        if self.strategy is not None:
            return
        metrics, ledger = self.holdings.metrics, self.state
        self.write(metrics.realized, float(ledger.realized))
        self.write(metrics.drawdown, float(ledger.drawdown))
        self.write(metrics.drawdown_max, float(ledger.drawdown_max))

    def _perhaps(self, family: Family, value: float | None, result: str | None = None) -> None:
        """Writes what is known; what turned out to be unknown ends."""
        if value is not None:
            self.write(family, value, result)
        elif self.told_again:
            self.end(family, result)

    def revalue(self) -> None:
        metrics, ledger = self.holdings.metrics, self.state
        if self.strategy is None:
            self.write(metrics.realized_fifo, float(ledger.fifo))
            self.write(metrics.unrealized, float(self.unrealized))
            self.write(metrics.unrealized_fifo, float(self.unrealized_fifo))
            self._write_trips()
            return
        self.write(metrics.strategy_realized, float(ledger.realized))
        self.write(metrics.strategy_realized_fifo, float(ledger.fifo))
        self.write(metrics.strategy_unrealized, float(self.unrealized))
        self.write(metrics.strategy_unrealized_fifo, float(self.unrealized_fifo))
        if ledger.charged:
            self.write(metrics.strategy_fees, float(ledger.fees))

    def _write_trips(self) -> None:
        metrics, ledger = self.holdings.metrics, self.state
        wins = losses = flats = 0
        for sibling in self.siblings:
            wins, losses, flats = wins + sibling.wins, losses + sibling.losses, flats + sibling.flats
        closed = wins + losses + flats
        self._perhaps(metrics.fees, float(ledger.fees) if ledger.charged else None)
        self._perhaps(metrics.reported, None if ledger.reported is None else float(ledger.reported))
        self._perhaps(metrics.profit_factor, ledger.profit_factor)
        self._perhaps(metrics.win_ratio, wins / closed if closed else None)
        for result, number in (("win", wins), ("loss", losses), ("flat", flats)):
            self._perhaps(metrics.closed, float(number) if closed else None, result)
        self.told_again = False
