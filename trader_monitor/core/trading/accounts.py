"""Accounts and positions as the bots report them: equity, cash, margin, drawdown, and what they hold."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Account, Position
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.equity import Equity

__all__ = ["AccountKey", "Accounts"]

AccountKey: TypeAlias = tuple[str, str | None, str | None]
"""Source, account, currency."""


class AccountsKept(Struct):
    """What a snapshot keeps of the accounts."""

    curves: list[tuple[AccountKey, Equity]] = []


class Accounts:
    """The equity curves by account, and the newest reports of positions."""

    def __init__(self, tally: Tally) -> None:
        self._max = tally.series.max_series
        self.curves: dict[AccountKey, Equity] = {}
        money = ("source", "account", "currency")
        where = ("source", "account", "exchange", "symbol")
        report = tally.report
        self._equity = report("account_equity", "Equity as reported.", *money)
        self._cash = report("account_cash", "Cash as reported.", *money)
        self._used = report("account_margin_used", "Margin in use as reported.", *money)
        self._limit = report("account_margin_limit", "Margin allowed as reported.", *money)
        self._result = report("account_pnl", "Reported equity less the first and less the flows.", *money)
        self._drawdown = report("account_drawdown_ratio", "Reported equity below its peak, flows removed.", *money)
        self._drawdown_max = tally.state(
            "account_drawdown_max_ratio", "Deepest fall of reported equity from a peak, flows removed.", *money
        )
        self._quantity = report("position_reported_quantity", "Position as reported, signed.", *where)
        self._unrealized = report("position_unrealized_pnl", "Unrealised P&L as reported.", *where, "currency")
        self._notional = report("position_notional", "Signed value of the position at its mark.", *where, "currency")

    def fold(self, account: Account, t_ms: int) -> None:
        """Each report is written at its own time, so that a dip within a batch is seen."""
        key = (account.source, account.account, account.currency)
        self._equity.place(key, t_ms, account.equity)
        self._cash.place(key, t_ms, account.cash)
        self._used.place(key, t_ms, account.margin_used)
        self._limit.place(key, t_ms, account.margin_limit)
        curve = self.curves.get(key)
        if curve is None:
            curve = Equity()
            if len(self.curves) < self._max:
                self.curves[key] = curve
        if not curve.report(account.at, account.equity, account.external_flow):
            return
        self._drawdown.place(key, t_ms, curve.drawdown)
        self._drawdown_max.write(key, t_ms, curve.drawdown_max)
        self._result.place(key, t_ms, float(curve.result or 0))

    def fold_position(self, position: Position, t_ms: int) -> None:
        """What the bot says that it holds; what its fills add up to is `position_quantity`."""
        where = (position.source, position.account, position.exchange, position.symbol)
        self._quantity.place(where, t_ms, position.quantity)
        valued = (*where, position.currency)
        self._unrealized.place(valued, t_ms, position.unrealized_pnl)
        if position.mark_price is not None:
            multiplier = 1.0 if position.multiplier is None else position.multiplier
            self._notional.place(valued, t_ms, position.quantity * position.mark_price * multiplier)

    def dump(self) -> bytes:
        return pack(AccountsKept(list(self.curves.items())))

    def load(self, raw: bytes) -> None:
        kept: AccountsKept = unpack(raw, AccountsKept)
        self.curves.update(kept.curves)
