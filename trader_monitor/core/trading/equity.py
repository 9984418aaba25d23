"""An account's reported equity: its result and its drawdown from the peak, with deposits and withdrawals removed."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from trader_monitor.core.trading.decimals import ZERO, exact

__all__ = ["Equity"]


class Equity(Struct, array_like=True):
    """The curve so far. A flow scales the peak as it scales the account, so that it is neither gain nor loss.

    `drawdown` and `drawdown_max` are ratios of the peak (0.25 is a quarter lost; above 1 the account owes).
    None where there was no positive peak to fall from. `result` is equity less the first equity less the flows.
    """

    at: float = 0.0
    first: Decimal | None = None
    newest: Decimal = ZERO
    flows: Decimal = ZERO
    peak: float = 0.0
    drawdown: float | None = None
    drawdown_max: float | None = None

    def report(self, at: float, equity: float, flow: float | None) -> bool:
        """Takes a report. One that is older than the newest changes nothing (False): it came too late to be a peak.

        A late flow still counts, because nobody will report it again.
        """
        if self.first is None:
            self.first = self.newest = exact(equity)
            self.at = at
            self._fall(equity)
            return True
        if flow:
            self.flows += exact(flow)
        if at < self.at:
            return False
        self.at = at
        self.newest = exact(equity)
        before = equity - flow if flow else equity
        self._fall(before)
        if flow:
            # An account that had nothing begins anew; the worst of its past stays on record.
            self.peak = self.peak * (equity / before) if before > 0 else equity
            self._fall(equity)
        return True

    def _fall(self, equity: float) -> None:
        if equity > self.peak:
            self.peak = equity
        if self.peak > 0:
            self.drawdown = 1.0 - equity / self.peak
            self.drawdown_max = max(self.drawdown_max or 0.0, self.drawdown)

    @property
    def result(self) -> Decimal | None:
        return None if self.first is None else self.newest - self.first - self.flows
