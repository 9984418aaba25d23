"""How holdings are kept from one life to the next; what older versions kept is read too."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec import Struct

from trader_monitor.core.facts import Trade
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.trading.positions.book import Book
from trader_monitor.core.trading.positions.corrections import Entry, Tail
from trader_monitor.core.trading.positions.holdings import Holdings, StrategyBookKey, StrategyLedgerKey
from trader_monitor.core.trading.positions.ledger import Ledger
from trader_monitor.core.trading.positions.line import LineKey
from trader_monitor.core.trading.positions.shown import Account, BookKey, LedgerKey, Position, SymbolKey, Total

__all__ = ["FillsKept", "dumped", "loaded"]


class _States(Struct, array_like=True):
    """What a segment touches, as it was before."""

    books: list[tuple[BookKey, str | None, Book]]
    ledgers: list[tuple[LedgerKey, str | None, Ledger]]
    symbols: list[tuple[SymbolKey, Total]]


class _TailKept(Struct, array_like=True):
    source: str
    account: str | None
    lines: list[LineKey]
    older: list[Entry]
    newer: list[Entry]
    kept_older: _States
    kept: _States


class FillsKept(Struct, array_like=True):
    """What a snapshot keeps of the fills. The first three are all that the first version kept."""

    books: list[tuple[BookKey, Book]]
    ledgers: list[tuple[LedgerKey, Ledger]]
    symbols: list[tuple[SymbolKey, Decimal]]
    latest: list[Trade] = []
    strategy_books: list[tuple[StrategyBookKey, Book]] = []
    strategy_ledgers: list[tuple[StrategyLedgerKey, Ledger]] = []
    symbols_excess: list[Decimal] | None = None
    """What FIFO has realised more, in the order of `symbols`; None where there was no FIFO yet."""
    tails: list[_TailKept] = []


def dumped(holdings: Holdings, latest: Iterable[Trade]) -> bytes:
    """All of it in MessagePack."""
    symbols = holdings.symbols
    return pack(
        FillsKept(
            list(holdings.books.items()),
            list(holdings.ledgers.items()),
            [(key, symbol.state.realized) for key, symbol in symbols.items()],
            list(latest),
            list(holdings.strategy_books.items()),
            list(holdings.strategy_ledgers.items()),
            [symbol.state.excess for symbol in symbols.values()],
            [_tail_kept(own, tail) for own, tail in holdings.tails.items()],
        )
    )


def _tail_kept(own: tuple[str, str | None], tail: Tail) -> _TailKept:
    lines = [_key_of(line) for line in tail.lines]
    return _TailKept(*own, lines, tail.older, tail.newer, _states(tail.kept_older), _states(tail.kept))


def _key_of(line: Any) -> LineKey:
    return (*line.key, "split", None, None) if isinstance(line, Position) else line.key


def _states(kept: dict[Any, Any]) -> _States:
    states = _States([], [], [])
    for thing, state in kept.items():
        if isinstance(thing, Position):
            states.books.append((thing.key, thing.strategy, state))
        elif isinstance(thing, Account):
            states.ledgers.append((thing.key, thing.strategy, state))
        else:
            states.symbols.append((thing.key, state))
    return states


def loaded(holdings: Holdings, raw: bytes) -> list[Trade]:
    """Takes what `dumped` gave, of this version or an older one; the latest trades. Raises SnapshotError."""
    kept: FillsKept = unpack(raw, FillsKept)
    is_older = kept.symbols_excess is None
    currencies = {key[:2]: key[2] for key, _ in kept.ledgers}
    for key, book in kept.books:
        if is_older:
            book.currency = currencies.get(key[:2])
            if book.entry_price is not None:
                book.lots = [(book.quantity, book.entry_price)]  # what was held is one lot at its average
        holdings.books[key] = book
    for money, ledger in kept.ledgers:
        if is_older:
            ledger.floor = ledger.peak - ledger.drawdown_max
        holdings.ledgers[money] = ledger
    holdings.strategy_books.update(kept.strategy_books)
    holdings.strategy_ledgers.update(kept.strategy_ledgers)
    for number, (of, realized) in enumerate(kept.symbols):
        symbol = holdings.symbol(of)
        symbol.state.realized = realized
        if kept.symbols_excess is not None:
            symbol.state.excess = kept.symbols_excess[number]
    for key in holdings.books:
        _value(holdings, key, None)
    for source, account, exchange, name, strategy in holdings.strategy_books:
        _value(holdings, (source, account, exchange, name), strategy)
    for tail in kept.tails:
        _load_tail(holdings, tail)
    return kept.latest


def _value(holdings: Holdings, key: BookKey, strategy: str | None) -> None:
    """A position that is open is valued from the first mark on."""
    position = holdings.position(key, strategy)
    money = (key[0], key[1], position.state.currency)
    if money in holdings.ledgers if strategy is None else (*money, strategy) in holdings.strategy_ledgers:
        position.belong()
        if position.state.quantity:
            holdings.changed[position] = None


def _load_tail(holdings: Holdings, kept: _TailKept) -> None:
    tail = holdings.tail((kept.source, kept.account))
    for key in kept.lines:
        if key[4] == "split":
            position = holdings.position(key[:4], None)
            position.number_in_tail = tail.number(position)
        else:
            holdings.open(key)
    tail.older, tail.newer = kept.older, kept.newer
    for things, states in ((tail.kept_older, kept.kept_older), (tail.kept, kept.kept)):
        things.update((holdings.position(key, strategy), book) for key, strategy, book in states.books)
        things.update((holdings.account(key, strategy), ledger) for key, strategy, ledger in states.ledgers)
        things.update((holdings.symbol(key), total) for key, total in states.symbols)
