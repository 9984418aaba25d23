"""Lines: the fills of one instrument on one side in one currency and strategy, and where each of them goes."""

from __future__ import annotations

from typing import TypeAlias

from trader_monitor.core.tally import Cell
from trader_monitor.core.trading.corrections import Entry, Tail
from trader_monitor.core.trading.decimals import ZERO, exact
from trader_monitor.core.trading.shown import Account, Position, Symbol

__all__ = ["Line", "LineKey"]

LineKey: TypeAlias = tuple[str, str | None, str | None, str, str, str | None, str | None]
"""Source, account, exchange, symbol, side, currency, strategy."""


class Line:
    """What such fills change: a book, a ledger and a symbol's total; a strategy's book and ledger if they name one."""

    __slots__ = (
        *("account", "count", "currency", "dirty", "key", "meant", "number", "position", "quote", "segment"),
        *("sign", "strategy_account", "strategy_position", "symbol", "tail", "things", "turnover", "volume"),
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
        self.position, self.account, self.symbol = things
        self.strategy_position: Position | None = of_strategy[0] if of_strategy else None
        self.strategy_account: Account | None = of_strategy[1] if of_strategy else None
        self.things = (*things, *(of_strategy or ()))
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
        at = entry.at
        price = exact(entry.price)
        quantity = exact(entry.quantity)
        if self.sign < 0:
            quantity = -quantity
        fee = exact(entry.fee) if entry.fee else ZERO
        book = self.position.state
        book.currency = self.currency
        gross, fifo, closed, seconds = book.fill(quantity, price, fee, at)
        net = gross - fee
        net_fifo = net if fifo is gross else fifo - fee
        total = self.symbol.state
        total.realized += net
        total.fifo += net_fifo
        ledger = self.account.state
        ledger.realize(net, net_fifo, fee)
        if closed is not None:
            ledger.close(closed, seconds)
        if entry.reported is not None:
            ledger.reported = (ledger.reported or ZERO) + exact(entry.reported)
        if self.strategy_position is not None and self.strategy_account is not None:
            book = self.strategy_position.state
            book.currency = self.currency
            gross, fifo, closed, seconds = book.fill(quantity, price, fee, at)
            ledger = self.strategy_account.state
            ledger.realize(gross - fee, fifo - fee, fee)
            if closed is not None:
                ledger.close(closed, seconds)

    def settle(self) -> None:
        self.dirty = False
        t_ms = self.meant
        if self.number:
            self.count.add(t_ms, self.number)
            self.volume.add(t_ms, self.turnover)
            self.number, self.turnover = 0, 0.0
        if self.quote is not None:
            self.position.holdings.marks.changed[self.quote] = t_ms
        for thing in self.things:
            thing.touch(t_ms)
