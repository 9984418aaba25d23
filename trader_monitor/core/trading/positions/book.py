"""A position from fills: netting by average cost and by FIFO side by side, and the round trips that end.

Both methods share the position and its round trips: what a trip from flat to flat earned is the same by either. They
differ in what a partial close realises, and by as much the other way in what is left unrealised.
"""

from __future__ import annotations

from copy import copy
from decimal import Decimal
from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.trading.decimals import ZERO
from trader_monitor.core.trading.positions.lots import MOST_LOTS, Lot, merge, release, scale

__all__ = ["Book", "Filled"]

Filled: TypeAlias = tuple[Decimal, Decimal, Decimal | None, float]
"""What a fill did: the gross P&L that it realised by average cost and by FIFO, the net result of the round trip that
it ended (None where it ended none), and for how many seconds that trip was held. In money: multiplied."""

_OPENED: Filled = (ZERO, ZERO, None, 0.0)


class Book(Struct, array_like=True):
    """One instrument's net position in one account, or in one strategy of it.

    `cost` is what the open quantity cost by average, signed as the quantity is and in price times quantity; by FIFO it
    cost `excess` more, which only partial closes change. `multiplier` makes it money (None is 1). `trip` is the open
    round trip's result so far, in money: what partial closes realised, less the fees. A round trip runs from flat to
    flat, or to a flip; a flipping fill's fee is shared between the trip that it ends and the one that it begins, by
    quantity.

    `currency` is that of the newest fill; marks from before `split_at` are those of other units. Some 1 KiB, and 330
    bytes per lot, of which there are `MOST_LOTS` at most; `merged` counts those that were merged beyond.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    trip: Decimal = ZERO
    lots: list[Lot] = []
    excess: Decimal = ZERO
    multiplier: Decimal | None = None
    opened_at: float = 0.0
    newest_at: float = 0.0
    currency: str | None = None
    merged: int = 0
    split_at: float = 0.0

    def fill(self, quantity: Decimal, price: Decimal, fee: Decimal, at: float = 0.0) -> Filled:
        """Takes a fill; `quantity` is signed (a sale is negative). `at` is not before the newest fill's."""
        self.newest_at = at
        held = self.quantity
        paid = quantity * price
        if not held:
            self.quantity = quantity
            self.cost = paid
            self.lots.append((quantity, price))
            self.trip = -fee
            self.opened_at = at
            return _OPENED
        if (held > ZERO) == (quantity > ZERO):
            self.quantity = held + quantity
            self.cost += paid
            self.lots.append((quantity, price))
            if len(self.lots) > MOST_LOTS:
                merge(self.lots)
                self.merged += 1
            self.trip -= fee
            return _OPENED
        left = held + quantity
        multiplier = self.multiplier
        if left and (left > ZERO) == (held > ZERO):
            gross, fifo = self._reduce(quantity, paid)
            self.quantity = left
            if multiplier is not None:
                gross, fifo = gross * multiplier, fifo * multiplier
            self.trip += gross - fee
            return gross, fifo, None, 0.0
        if left:
            paid = -held * price
        gross = fifo = -(self.cost + paid)
        if self.excess:
            fifo = gross - self.excess
            self.excess = ZERO
        if multiplier is not None:
            gross, fifo = gross * multiplier, fifo * multiplier
        seconds = at - self.opened_at
        self.lots.clear()
        self.quantity = left
        if not left:
            closed = self.trip + gross - fee
            self.cost = self.trip = ZERO
            return gross, fifo, closed, seconds
        share = fee * held / -quantity
        closed = self.trip + gross - share
        self.cost = left * price
        self.lots.append((left, price))
        self.trip = share - fee
        self.opened_at = at
        return gross, fifo, closed, seconds

    def _reduce(self, quantity: Decimal, paid: Decimal) -> tuple[Decimal, Decimal]:
        """Takes `quantity`, less than is held, from the cost; what it earned by average and by FIFO, not multiplied."""
        if len(self.lots) == 1 and not self.excess:
            held, price = self.lots[0]
            released = -quantity * price
            self.lots[0] = (held + quantity, price)
            self.cost -= released
            gross = -(released + paid)
            return gross, gross
        average = self.cost * -quantity / self.quantity
        oldest = release(self.lots, -quantity)
        self.excess += average - oldest
        self.cost -= average
        return -(average + paid), -(oldest + paid)

    def split(self, ratio: tuple[int, int], at: float) -> None:
        """`ratio` new units for old ones: the cost stays, so that nothing is earned or lost."""
        self.newest_at = self.split_at = max(at, self.newest_at)
        self.quantity = self.quantity * ratio[0] / ratio[1]
        scale(self.lots, ratio)

    def worth(self, price: Decimal) -> tuple[Decimal, Decimal]:
        """Unrealised P&L at `price`, by average cost and by FIFO, in money."""
        value = self.quantity * price
        average = value - self.cost
        fifo = average - self.excess
        if self.multiplier is not None:
            return average * self.multiplier, fifo * self.multiplier
        return average, fifo

    def copied(self) -> Book:
        """The same state, which later fills do not change."""
        twin = copy(self)
        twin.lots = self.lots.copy()
        return twin

    @property
    def lots_cost(self) -> Decimal:
        """What the open quantity cost by FIFO, as `cost` by average."""
        return self.cost + self.excess

    @property
    def entry_price(self) -> Decimal | None:
        """The average cost per unit; None when flat."""
        return self.cost / self.quantity if self.quantity else None
