"""Lots: what an open position was bought (or sold short) at, oldest first. First in, first out.

A lot is its signed quantity and its price; all lots of a position have one sign. Sums and products only: FIFO
rounds nothing, except where lots had to be merged or were split.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from trader_monitor.core.trading.decimals import ZERO

__all__ = ["MOST_LOTS", "Lot", "merge", "release", "scale"]

Lot: TypeAlias = tuple[Decimal, Decimal]
"""Quantity, price."""

MOST_LOTS = 256
"""A position has no more lots than this, 330 bytes each: the two oldest become one at their average."""


def merge(lots: list[Lot]) -> None:
    """Makes one lot of the two oldest, at their average."""
    (first, paid), (second, paid_later) = lots[:2]
    both = first + second
    lots[:2] = [(both, (first * paid + second * paid_later) / both)]


def release(lots: list[Lot], quantity: Decimal) -> Decimal:
    """Takes `quantity` (of the lots' sign) from the oldest lots, and says what it cost."""
    released = ZERO
    while lots and quantity:
        held, price = lots[0]
        left = held - quantity
        if left and (left > ZERO) == (held > ZERO):
            lots[0] = (left, price)
            return released + quantity * price
        released += held * price
        del lots[0]
        quantity -= held
    return released


def scale(lots: list[Lot], ratio: tuple[int, int]) -> None:
    """After a split of `ratio` new units for old ones: more units, each at less, at the same cost."""
    new, old = ratio
    lots[:] = [(quantity * new / old, price * old / new) for quantity, price in lots]
