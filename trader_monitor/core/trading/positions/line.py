"""Lines: the fills of one instrument on one side in one currency and strategy, and where each of them goes."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from trader_monitor.core.tally import Cell
from trader_monitor.core.trading.decimals import ZERO, exact
from trader_monitor.core.trading.positions.corrections import Entry, Tail
from trader_monitor.core.trading.positions.shown import Account, Position, Symbol

__all__ = ["Line", "LineKey"]

LineKey: TypeAlias = tuple[str, str | None, str | None, str, str, str | None, str | None]
"""Source, account, exchange, symbol, side, currency, strategy."""


class Line:
    """What such fills change: a book, a ledger and a symbol's total; a strategy's book and ledger if they name one."""

    __slots__ = (
        *("account", "book", "count", "currency", "dirty", "key", "ledger", "meant", "number", "number_in_tail"),
        *("of_strategy", "others", "position", "quote", "segment", "sign", "tail", "things", "total", "turnover"),
        "volume",
    )

    def __init__(
        self,
        key: LineKey,
        tail: Tail,
        things: tuple[Position, Account, Symbol],
        of_strategy: tuple[Position, Account] | None,
        count: Cell,
        volume: Cell,
    ) -> None:
        self.key = key
        self.tail = tail
        self.number_in_tail = tail.number(self)
        self.position, self.account, symbol = things
        self.others: tuple[Position | Account | Symbol, ...] = (symbol, *(of_strategy or ()))
        self.things = (*things, *(of_strategy or ()))
        self.book, self.ledger, self.total = self.position.state, self.account.state, symbol.state
        self.of_strategy = (of_strategy[0].state, of_strategy[1].state) if of_strategy else None
        self.quote = self.position.quote
        self.segment = 0
        self.count = count
        self.volume = volume
        self.currency = key[5]
        self.sign = 1 if key[4] == "buy" else -1
        self.number = 0
        self.turnover = 0.0
        self.meant = 0
        self.dirty = False

    def apply(self, entry: Entry) -> None:
        """Books a fill wherever it counts."""
        price = Decimal(repr(entry.price))  # as `exact`: a call less
        quantity = Decimal(repr(entry.quantity))
        if self.sign < 0:
            quantity = -quantity
        fee = Decimal(repr(entry.fee)) if entry.fee else ZERO
        at, book = entry.at, self.book
        book.currency = self.currency
        gross, fifo, closed, seconds = book.fill(quantity, price, fee, at)
        net = gross - fee
        net_fifo = net if fifo is gross else fifo - fee
        total, ledger = self.total, self.ledger
        total.realized += net
        if net_fifo is not net:
            total.excess += net_fifo - net
        ledger.realize(net, net_fifo, fee)
        if closed is not None:
            ledger.close(closed, seconds)
        if entry.reported is not None:
            ledger.reported = (ledger.reported or ZERO) + exact(entry.reported)
        if self.of_strategy is not None:
            book, ledger = self.of_strategy
            book.currency = self.currency
            gross, fifo, closed, seconds = book.fill(quantity, price, fee, at)
            net = gross - fee
            ledger.realize(net, net if fifo is gross else fifo - fee, fee)
            if closed is not None:
                ledger.close(closed, seconds)

    def settle(self) -> None:
        self.dirty = False
        t_ms = self.meant
        holdings = self.position.holdings
        if self.quote is not None:
            holdings.marks.changed[self.quote] = t_ms
        self.position.touch(t_ms)
        self.account.touch(t_ms)
        changed = holdings.changed
        changed[self] = None
        for thing in self.others:
            if t_ms > thing.meant:
                thing.meant = t_ms
            changed[thing] = None

    def revalue(self) -> None:
        """Writes how many fills there were, and of what value."""
        self.count.value += self.number
        self.count.write(self.meant, self.count.value)
        self.volume.value += self.turnover
        self.volume.write(self.meant, self.volume.value)
        self.number, self.turnover = 0, 0.0
