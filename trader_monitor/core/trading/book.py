"""A position from fills: average-cost netting, with partial closes and flips, and the round trips that end."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from trader_monitor.core.trading.decimals import ZERO

__all__ = ["Book", "Filled"]


class Filled(NamedTuple):
    """What a fill did: the gross P&L that it realised, and the net result of the round trip that it ended."""

    gross: Decimal
    closed: Decimal | None


_OPENED = Filled(ZERO, None)


class Book(Struct, array_like=True):
    """One instrument's net position in one account.

    `cost` is what the open quantity cost, signed as the quantity is. `trip` is the open round trip's result so
    far: what partial closes realised, less the fees. A round trip runs from flat to flat, or to a flip; a
    flipping fill's fee is shared between the trip that it ends and the one that it begins, by quantity.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    trip: Decimal = ZERO

    def fill(self, quantity: Decimal, price: Decimal, fee: Decimal) -> Filled:
        """Takes a fill; `quantity` is signed (a sale is negative)."""
        held = self.quantity
        if not held:
            self.quantity = quantity
            self.cost = quantity * price
            self.trip = -fee
            return _OPENED
        if (held > 0) == (quantity > 0):
            self.quantity = held + quantity
            self.cost += quantity * price
            self.trip -= fee
            return _OPENED
        left = held + quantity
        if not left:
            gross = -(self.cost + quantity * price)
            closed = self.trip + gross - fee
            self.quantity = self.cost = self.trip = ZERO
            return Filled(gross, closed)
        if (left > 0) == (held > 0):
            released = self.cost * -quantity / held
            gross = -(released + quantity * price)
            self.quantity = left
            self.cost -= released
            self.trip += gross - fee
            return Filled(gross, None)
        gross = held * price - self.cost
        share = fee * held / -quantity
        closed = self.trip + gross - share
        self.quantity = left
        self.cost = left * price
        self.trip = share - fee
        return Filled(gross, closed)

    @property
    def entry_price(self) -> Decimal | None:
        """The average cost per unit; None when flat."""
        return self.cost / self.quantity if self.quantity else None
