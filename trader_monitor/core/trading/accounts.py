"""Accounts and positions as the bots report them: equity, cash, margin, returns, drawdown, and what they hold."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Account, Position
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.curve import WINDOWS, Curve, CurveKept
from trader_monitor.core.trading.equity import EquityBefore

__all__ = ["AccountKey", "Accounts"]

AccountKey: TypeAlias = tuple[str, str | None, str | None]
"""Source, account, currency."""


class AccountsKept(Struct):
    """What a snapshot keeps of the accounts; `curves` of one that was written before there was an index."""

    curves: list[tuple[AccountKey, EquityBefore]] = []
    accounts: list[tuple[AccountKey, CurveKept]] = []


class Accounts:
    """The equity curves by account, and the newest reports of positions.

    A curve is kept where the account's series is, so that a flood of account names leaves nothing behind.
    """

    def __init__(self, tally: Tally) -> None:
        self.curves: dict[AccountKey, Curve] = {}
        money = ("source", "account", "currency")
        where = ("source", "account", "exchange", "symbol")
        report, state = tally.report, tally.state
        self._equity = report("account_equity", "Equity as reported.", *money)
        self._cash = report("account_cash", "Cash as reported.", *money)
        self._used = report("account_margin_used", "Margin in use as reported.", *money)
        self._limit = report("account_margin_limit", "Margin allowed as reported.", *money)
        self._use = report("account_margin_use_ratio", "Margin in use by margin allowed.", *money)
        self._result = report("account_pnl", "Reported equity less the first and less the flows.", *money)
        self._return = report(
            "account_return_ratio",
            "Growth of equity over the window, flows removed; day, week and month so far (UTC).",
            *(*money, "window"),
        )
        self._drawdown = report("account_drawdown_ratio", "Reported equity below its peak, flows removed.", *money)
        self._drawdown_max = state(
            "account_drawdown_max_ratio", "Deepest fall of reported equity from a peak, flows removed.", *money
        )
        self._under = report("account_drawdown_seconds", "Time since the peak, 0 at a peak.", *money)
        self._under_max = state(
            "account_drawdown_max_seconds", "How long the deepest fall has lasted, from peak to new peak.", *money
        )
        self._recovery = state(
            "account_drawdown_recovery_seconds", "The deepest fall's time from trough to new peak.", *money
        )
        self._late = tally.counter("account_late_flows_total", "Flows that came after a newer report.", *money)
        self._quantity = report("position_reported_quantity", "Position as reported, signed.", *where)
        self._unrealized = report("position_unrealized_pnl", "Unrealised P&L as reported.", *where, "currency")
        self._notional = report("position_notional", "Signed value of the position at its mark.", *where, "currency")

    def fold(self, account: Account, t_ms: int) -> None:
        """Each report is written at its own time, so that a dip within a batch is seen."""
        key = (account.source, account.account, account.currency)
        equity = self._equity.cell(key)
        equity.place(t_ms, account.equity)
        self._cash.place(key, t_ms, account.cash)
        used, limit = account.margin_used, account.margin_limit
        self._used.place(key, t_ms, used)
        self._limit.place(key, t_ms, limit)
        if used is not None and limit is not None and limit > 0:
            self._use.place(key, t_ms, used / limit)
        curve = self.curves.get(key)
        if curve is None:
            curve = Curve()
            if equity.sid >= 0:
                self.curves[key] = curve
        if not curve.report(account.at, account.equity, account.external_flow):
            if account.external_flow:
                self._late.add(key, t_ms)
            return
        self._result.place(key, t_ms, float(curve.equity.result or 0))
        if curve.equity.began is not None:
            self._show(key, curve, t_ms)

    def _show(self, key: AccountKey, curve: Curve, t_ms: int) -> None:
        state = curve.equity
        worst = state.worst
        self._drawdown.place(key, t_ms, state.drawdown)
        self._drawdown_max.write(key, t_ms, worst.depth)
        self._under.place(key, t_ms, state.fall.duration(state.at))
        self._under_max.write(key, t_ms, worst.duration(state.at))
        if worst.recovery is not None:
            self._recovery.write(key, t_ms, worst.recovery)
        elif worst is state.fall:
            self._recovery.end(key, t_ms)
        for window, value in zip(WINDOWS, curve.returns(), strict=True):
            named = (*key, window)
            if value is not None:
                self._return.place(named, t_ms, value)
            elif named in self._return.cells:
                self._return.end(named, t_ms)

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
        return pack(AccountsKept(accounts=[(key, curve.dump()) for key, curve in self.curves.items()]))

    def load(self, raw: bytes) -> None:
        kept: AccountsKept = unpack(raw, AccountsKept)
        self.curves.update((key, Curve(before.now())) for key, before in kept.curves)
        self.curves.update((key, Curve.load(curve)) for key, curve in kept.accounts)
