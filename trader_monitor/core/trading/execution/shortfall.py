"""What trading cost against the price at the decision: implementation shortfall and market impact of one order.

With s = 1 for a buy and -1 for a sale, Q the order's quantity, fills of quantity q and price p, fees F, P0 the price at
the decision and PN the market's price when the order ended:

    shortfall = (s sum q (p - P0) + F / m + s (Q - sum q) (PN - P0)) / (Q |P0|)

the paper portfolio's result less the real one's, as a share of the paper portfolio (Perold 1988, with the parts of
Wagner and Edwards 1993: execution, fees, opportunity). P0 is what the bot expected (its first fill's expected_price),
else the market's price when the order was first heard of, else the order's own price. Fees are taken to be in the
quote currency, of which a point of the instrument is worth m (its multiplier).

    impact = s (P1 - P0) / |P0|

with P0 the market's price when the order was first heard of and P1 thirty seconds after its end. Positive is worse, in
both. Each order counts once in a mean, so that no currency weighs more than another.
"""

from __future__ import annotations

from typing import NamedTuple

from trader_monitor.core.trading.execution.orders import Ticket

__all__ = ["BENCHMARKS", "UNMEASURED", "Unmeasured", "impact_of", "shortfall_of"]

BENCHMARKS = ("expected", "market", "order")
"""Whose price at the decision it is."""

UNMEASURED = (
    "no price is known at the decision",
    "the market's price at the end of an unfilled part is not known",
    "not all fills or no quantity were reported",
    "no market price is known before the order and within 30 s after it",
)


class Unmeasured(NamedTuple):
    """Why an order has no such figure: an index of UNMEASURED."""

    reason: int


NO_DECISION, NO_END, NO_FILLS, NO_MARKET = (Unmeasured(reason) for reason in range(4))


def shortfall_of(ticket: Ticket, multiplier: float = 1.0) -> tuple[int, float] | Unmeasured:
    """Which benchmark the price at the decision is, and the shortfall as a ratio of the paper portfolio."""
    if ticket.expected:
        benchmark, decision = 0, ticket.expected
    elif ticket.mid:
        benchmark, decision = 1, ticket.mid
    elif ticket.limit:
        benchmark, decision = 2, ticket.limit
    else:
        return NO_DECISION
    quantity = max(ticket.quantity or ticket.reported, ticket.filled)
    rounding = 1e-9 * quantity
    wanted = quantity if ticket.end == 0 else ticket.reported
    paper = quantity * abs(decision)
    if not paper or not multiplier or ticket.filled + rounding < wanted:
        return NO_FILLS
    unfilled = quantity - ticket.filled if quantity - ticket.filled > rounding else 0.0
    cost = ticket.sign * (ticket.paid - ticket.filled * decision) + ticket.fees / abs(multiplier)
    if unfilled:
        if ticket.end_mid is None:
            return NO_END
        cost += ticket.sign * unfilled * (ticket.end_mid - decision)
    return benchmark, cost / paper


def impact_of(ticket: Ticket, after: float | None) -> float | Unmeasured:
    """The move of the market from before the order to `after` it, signed by its side."""
    if not ticket.mid or after is None:
        return NO_MARKET
    return ticket.sign * (after - ticket.mid) / abs(ticket.mid)
