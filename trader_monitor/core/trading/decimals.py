"""Money and quantities as exact decimals: the number that the bot wrote, not the binary one nearest to it.

0.1 + 0.2 - 0.3 must be flat, and 1,628 fills must add up to the cent. `Decimal(repr(x))` is the shortest decimal
that reads back as `x`, which is what was on the wire for any number of up to 15 digits. Sums and products carry
28 digits.
"""

from __future__ import annotations

from decimal import Decimal

__all__ = ["ZERO", "exact"]

ZERO = Decimal(0)


def exact(number: float) -> Decimal:
    """The decimal that `number` was written as. Remembering the last thousands takes longer than this does."""
    return Decimal(repr(number))
