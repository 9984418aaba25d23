"""Splits: told from a bot's own report of its position, since no fill says that one share has become two."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from trader_monitor.core.trading.positions.corrections import Ratio

__all__ = ["split_ratio"]

SIMPLE = 100
"""Neither number of a split's ratio is larger: 2:1, 3:2, 11:10, 1:100."""

TOLERANCE = Decimal("0.001")
"""By so much of it may the reported cost differ: entry prices are rounded to the cent."""


def split_ratio(held: Decimal, costs: tuple[Decimal, ...], reported: Decimal, entry_price: Decimal) -> Ratio | None:
    """New units for old ones, if the report is of the same cost in so many units; None if it is not.

    `costs` is what `held` cost by each method. Who bought or sold has another cost, so that a fill that has not come
    yet is no split. Where a fraction of a share was paid out in cash the ratio is not simple, and this is none.
    """
    if not held or not reported or (held > 0) != (reported > 0):
        return None
    ratio = Fraction(reported) / Fraction(held)
    if ratio == 1 or max(ratio.numerator, ratio.denominator) > SIMPLE:
        return None
    value = reported * entry_price
    if any(cost and abs(value - cost) <= TOLERANCE * abs(cost) for cost in costs):
        return ratio.numerator, ratio.denominator
    return None
