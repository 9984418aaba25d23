"""An account's reported equity as money and as one growth index, with deposits and withdrawals removed.

The index is time-weighted: the chain of the growth between one report and the next, each less the flow that is
reported with the second. So a flow counts as made at its report, after all that was gained or lost since the
report before. The first report is the starting balance: a loss after it is a loss from the peak.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, field

from trader_monitor.core.trading.decimals import ZERO, exact

__all__ = ["Equity", "EquityBefore", "Fall"]

ROUNDING = 1e-12
"""Below its peak by no more than this share, the index is at its peak: a flow's scaling rounds in the last digits."""

_MOST = 1e100
_LEAST = 1e-100


class Fall(Struct, array_like=True):
    """A fall from a peak, until the peak is reached again. Times are Unix seconds, 0 where they are not known."""

    depth: float = 0.0
    """The deepest so far as a ratio of the peak; above 1 the account owed."""
    peak_at: float = 0.0
    trough_at: float = 0.0
    ended_at: float | None = None
    """When the peak was reached again or, not `recovered`, when the account began anew after ruin."""
    recovered: bool = False

    def duration(self, now: float) -> float | None:
        """Seconds from the peak to the end, or to `now` while it lasts; None where the peak's time is not known."""
        return (now if self.ended_at is None else self.ended_at) - self.peak_at if self.peak_at else None

    @property
    def recovery(self) -> float | None:
        """Seconds from the trough to the new peak; None while under water, after ruin, or where not known."""
        return self.ended_at - self.trough_at if self.recovered and self.ended_at and self.trough_at else None


class Equity(Struct, array_like=True):
    """One account in one currency; some 700 bytes.

    `growth` is the index: equity by `unit`, the money that one unit of it costs, which a flow scales as it scales
    the account. `unit` is 0 while nothing is invested: after all was withdrawn the index waits, and what then
    comes, named a flow or not, is taken for a deposit. Equity of zero or below by losses is ruin: the index is zero
    or below, and a deposit that makes equity positive begins a new one, at 1. Ruin that ends without a flow was
    a bad report or a recovery: the old index goes on.
    """

    at: float = 0.0
    first: Decimal | None = None
    newest: Decimal = ZERO
    flows: Decimal = ZERO
    unit: float = 0.0
    growth: float = 1.0
    peak: float = 1.0
    began: float | None = None
    """When the index began; None before the first positive equity."""
    origin: float = 1.0
    """The index when it began."""
    drawdown: float | None = None
    """The index below its peak as a ratio of it; None while it has not begun."""
    fall: Fall = field(default_factory=Fall)
    """The present one; its depth is 0 at a peak."""
    past: Fall | None = None
    """The deepest of those that ended."""
    late_flows: int = 0

    def report(self, at: float, equity: float, flow: float | None) -> bool:
        """Takes a report. One that is older than the newest changes nothing (False): it came too late to be a peak.

        A late flow still counts in `flows` and so in `result`, because nobody will report it again. The index has
        taken it for gain or loss by then and keeps it; `late_flows` says how often. The first report's flow is part
        of the starting balance.
        """
        if self.first is None:
            self.first = self.newest = exact(equity)
            self.at = at
            if equity > 0:
                self._begin(at, equity)
            return True
        if flow:
            self.flows += exact(flow)
        if at < self.at:
            self.late_flows += 1 if flow else 0
            return False
        self.at = at
        self.newest = exact(equity)
        if self.began is None:
            if equity > 0:
                self._begin(at, equity)
        elif self.unit:
            self._grow(at, (equity - flow if flow else equity) / self.unit)
            if flow:
                self._scale(at, equity)
        else:
            self._grow(at, self.growth)
            self._scale(at, equity)
        return True

    def _begin(self, at: float, equity: float) -> None:
        self._end_fall(at, recovered=False)
        self.began = at
        self.unit = equity
        self.growth = self.peak = self.origin = 1.0
        self.drawdown = 0.0

    def _grow(self, at: float, growth: float) -> None:
        growth = self.growth = min(max(growth, -_MOST), _MOST)
        fall = self.fall
        if growth >= self.peak * (1.0 - ROUNDING):
            if fall.depth:
                self._end_fall(at, recovered=True)
            else:
                fall.peak_at = fall.trough_at = at
            self.peak = max(self.peak, growth)
            self.drawdown = 0.0
        else:
            depth = self.drawdown = 1.0 - growth / self.peak
            if depth > fall.depth:
                fall.depth = depth
                fall.trough_at = at

    def _scale(self, at: float, equity: float) -> None:
        """After a flow the same index stands for another sum."""
        if self.growth > _LEAST:
            unit = equity / self.growth
            self.unit = unit if 0.0 < unit < _MOST * _MOST else 0.0
        elif equity > 0:
            self._begin(at, equity)

    def _end_fall(self, at: float, *, recovered: bool) -> None:
        fall = self.fall
        if fall.depth:
            fall.ended_at = at
            fall.recovered = recovered
            if self.past is None or fall.depth > self.past.depth:
                self.past = fall
        self.fall = Fall(peak_at=at, trough_at=at)

    @property
    def worst(self) -> Fall:
        """The deepest fall, the present one included."""
        return self.fall if self.past is None or self.fall.depth > self.past.depth else self.past

    @property
    def drawdown_max(self) -> float | None:
        return None if self.drawdown is None else self.worst.depth

    @property
    def result(self) -> Decimal | None:
        """Equity less the first equity less the flows."""
        return None if self.first is None else self.newest - self.first - self.flows


class EquityBefore(Struct, array_like=True):
    """What a snapshot kept of a curve before there was an index; `peak` is money, scaled by the flows."""

    at: float = 0.0
    first: Decimal | None = None
    newest: Decimal = ZERO
    flows: Decimal = ZERO
    peak: float = 0.0
    drawdown: float | None = None
    drawdown_max: float | None = None

    def now(self) -> Equity:
        """The same with an index that begins here; when the falls were is not known any more."""
        equity = Equity(at=self.at, first=self.first, newest=self.newest, flows=self.flows)
        if self.drawdown is not None and self.peak > 0:
            growth = float(self.newest) / self.peak
            equity.unit, equity.growth, equity.origin, equity.began = self.peak, growth, growth, self.at
            equity.drawdown = self.drawdown
            equity.fall = Fall(depth=max(0.0, self.drawdown))
            equity.past = Fall(depth=self.drawdown_max or 0.0)
        return equity
