"""What an account, or a strategy of it, has realised from its fills: P&L net of fees, round trips, drawdown."""

from __future__ import annotations

from copy import copy
from decimal import Decimal

from msgspec import Struct, field

from trader_monitor.core.trading.decimals import ZERO
from trader_monitor.core.trading.positions.trips import Trips

__all__ = ["Ledger"]


class Ledger(Struct, array_like=True):
    """One account, or one strategy of it, in one currency. All money is in that currency; some 2 KiB.

    `realized` is by average cost. `peak` begins at zero, with nothing realised
    yet; `drawdown_max` is the deepest fall below a peak.
    `profit` and `loss` are the sums of the won and of the lost round trips (both positive), net of fees.
    `reported` adds up what the bot itself says that its fills realised; None while it says nothing.
    """

    realized: Decimal = ZERO
    fees: Decimal = ZERO
    charged: bool = False
    """Whether any fill had a fee or a rebate; they may add up to nothing."""
    fills: int = 0
    peak: Decimal = ZERO
    drawdown_max: Decimal = ZERO
    wins: int = 0
    losses: int = 0
    flats: int = 0
    profit: Decimal = ZERO
    loss: Decimal = ZERO
    reported: Decimal | None = None
    trips: Trips = field(default_factory=Trips)
    excess: Decimal = ZERO
    """What FIFO has realised more."""
    floor: Decimal = ZERO
    """Where realised P&L would be deeper below its peak than ever."""

    def realize(self, net: Decimal, net_fifo: Decimal, fee: Decimal) -> None:
        """Books a fill's P&L, net of its fee (a rebate is negative)."""
        self.fills += 1
        if fee:
            self.fees += fee
            if not self.charged:
                self.charged = True
        elif not net and net_fifo is net:
            return
        if net_fifo is not net:
            self.excess += net_fifo - net
        realized = self.realized = self.realized + net
        if realized < self.floor:
            self.floor = realized
            self.drawdown_max = self.peak - realized
        elif realized > self.peak:
            self.peak = realized
            self.floor = realized - self.drawdown_max

    def close(self, result: Decimal, seconds: float = 0.0) -> None:
        """Counts a round trip by its net result; it was held for `seconds`."""
        self.trips.end(result, seconds)
        if result > 0:
            self.wins += 1
            self.profit += result
        elif result < 0:
            self.losses += 1
            self.loss -= result
        else:
            self.flats += 1

    def copied(self) -> Ledger:
        """The same state, which later fills do not change."""
        twin = copy(self)
        twin.trips = self.trips.copied()
        return twin

    @property
    def fifo(self) -> Decimal:
        """Realised P&L by FIFO."""
        return self.realized + self.excess

    @property
    def drawdown(self) -> Decimal:
        """How far realised P&L is below its peak."""
        return self.peak - self.realized

    @property
    def closed(self) -> int:
        """Round trips that ended."""
        return self.wins + self.losses + self.flats

    @property
    def win_ratio(self) -> float | None:
        """Won round trips in all that ended; None before the first."""
        closed = self.closed
        return self.wins / closed if closed else None

    @property
    def profit_factor(self) -> float | None:
        """Gross profit by gross loss; None while nothing was lost."""
        return float(self.profit / self.loss) if self.loss else None
