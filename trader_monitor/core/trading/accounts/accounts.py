"""Accounts and positions as the bots report them: equity, cash, margin, returns, drawdown, and what they hold."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Account, Position
from trader_monitor.core.figure import Pairs
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.accounts.curve import WINDOWS, Curve, CurveKept
from trader_monitor.core.trading.accounts.drawdown import DRAWDOWNS, Reading, drawdowns
from trader_monitor.core.trading.accounts.equity import EquityBefore
from trader_monitor.core.trading.accounts.exposure import Exposures, HeldKept
from trader_monitor.core.trading.marks import Marks

__all__ = ["AccountKey", "Accounts", "account_labels"]

AccountKey: TypeAlias = tuple[str, str | None, str | None]
"""Source, account, currency."""


def account_labels(key: AccountKey) -> Pairs:
    source, account, currency = key
    return (("source", source), ("account", account or ""), ("currency", currency or ""))


class AccountsKept(Struct):
    """What a snapshot keeps of the accounts; `curves` of one that was written before there was an index."""

    curves: list[tuple[AccountKey, EquityBefore]] = []
    accounts: list[tuple[AccountKey, CurveKept]] = []
    reporting: list[tuple[str, str | None]] = []
    held: list[HeldKept] = []


class _Shown:
    """An account whose report changes its series: some at once, some at the step's end."""

    __slots__ = ("accounts", "curve", "dirty", "equity", "key", "meant", "readings", "result")

    def __init__(self, accounts: Accounts, key: AccountKey, curve: Curve) -> None:
        self.accounts = accounts
        self.key = key
        self.curve = curve
        self.equity = accounts.equity.cell(key)
        self.result = accounts.result.cell(key)
        self.readings: tuple[Reading | None, ...] = (None,) * len(DRAWDOWNS)
        self.meant = 0
        self.dirty = False

    def touch(self, t_ms: int) -> None:
        self.meant = max(self.meant, t_ms)
        if not self.dirty:
            self.dirty = True
            self.accounts.tally.pending.append(self)

    def settle(self) -> None:
        self.dirty = False
        self.accounts.show(self)


class Accounts:
    """The equity curves by account, and the newest reports of positions.

    A curve is kept where the account's series is, so that a flood of account names leaves nothing behind.
    """

    def __init__(self, tally: Tally, marks: Marks | None = None) -> None:
        self.tally = tally
        self.curves: dict[AccountKey, Curve] = {}
        self._shown: dict[AccountKey, _Shown] = {}
        money = ("source", "account", "currency")
        where = ("source", "account", "exchange", "symbol")
        self.exposures = Exposures(tally, self.equity_of)
        self._marks = marks
        self._currencies: dict[tuple[str, str | None], list[AccountKey]] = {}
        report, state = tally.report, tally.state
        self.equity = report("account_equity", "Equity as reported.", *money)
        self._cash = report("account_cash", "Cash as reported.", *money)
        self._used = report("account_margin_used", "Margin in use as reported.", *money)
        self._limit = report("account_margin_limit", "Margin allowed as reported.", *money)
        self._use = report("account_margin_use_ratio", "Margin in use by margin allowed.", *money)
        self.result = report("account_pnl", "Reported equity less the first and less the flows.", *money)
        self._return = report(
            "account_return_ratio",
            "Growth of equity over the window, flows removed; day, week and month so far (UTC).",
            *(*money, "window"),
        )
        self._drawdown = report("account_drawdown_ratio", "Reported equity below its peak, flows removed.", *money)
        self._falls = [
            (report if name == "account_drawdown_seconds" else state)(name, help, *money)
            for name, help in DRAWDOWNS.items()
        ]
        self._late = tally.counter("account_late_flows_total", "Flows that came after a newer report.", *money)
        self._quantity = report("position_reported_quantity", "Position as reported, signed.", *where)
        self._unrealized = report("position_unrealized_pnl", "Unrealised P&L as reported.", *where, "currency")
        self._notional = report("position_notional", "Signed value of the position at its mark.", *where, "currency")

    def fold(self, account: Account, t_ms: int) -> None:
        """Equity, cash, margin and drawdown are written at the report's own time, so that a dip within a batch is seen;
        what follows from the curve is written once per step.
        """
        key = (account.source, account.account, account.currency)
        shown = self._shown.get(key)
        if shown is None:
            shown = self._open(key)
        shown.equity.place(t_ms, account.equity)
        self._cash.place(key, t_ms, account.cash)
        used, limit = account.margin_used, account.margin_limit
        if used is not None:
            self._used.place(key, t_ms, used)
        if limit is not None:
            self._limit.place(key, t_ms, limit)
            if used is not None and limit > 0:
                self._use.place(key, t_ms, used / limit)
                shown.curve.margin_use = used / limit
        if shown.curve.report(account.at, account.equity, account.external_flow):
            state = shown.curve.equity
            shown.result.place(t_ms, float(state.result or 0))
            if state.drawdown is not None:
                self._drawdown.place(key, t_ms, state.drawdown)
                shown.touch(t_ms)
            self.exposures.touch(*key, t_ms)
        elif account.external_flow:
            self._late.add(key, t_ms)

    def _open(self, key: AccountKey) -> _Shown:
        shown = _Shown(self, key, self.curves.get(key) or Curve())
        if shown.equity.sid >= 0:
            self._shown[key] = shown
            if key not in self.curves:
                self._keep(key, shown.curve)
        return shown

    def _keep(self, key: AccountKey, curve: Curve) -> None:
        self.curves[key] = curve
        self._currencies.setdefault((key[0], key[1]), []).append(key)

    def alone(self, key: AccountKey) -> bool:
        """Whether the account's equity is reported in no other currency."""
        return len(self._currencies[key[:2]]) == 1

    def equity_of(self, source: str, account: str | None, currency: str | None) -> float | None:
        """The newest equity in that currency. Where none is named and the account has only one, it is meant."""
        key = (source, account, currency)
        if key not in self.curves and currency is None and len(named := self._currencies.get(key[:2], [])) == 1:
            (key,) = named
        curve = self.curves.get(key)
        return None if curve is None else float(curve.equity.newest)

    def show(self, shown: _Shown) -> None:
        """Writes what follows from the curve."""
        key, curve, t_ms = shown.key, shown.curve, shown.meant
        readings = drawdowns(curve.equity)
        for family, reading, before in zip(self._falls, readings, shown.readings, strict=True):
            if reading.value is None:
                if before is None or before.value is not None:
                    family.end(key, t_ms)
            elif not family.standing:
                family.place(key, t_ms, reading.value)
            else:
                family.cell(key).stand(t_ms, reading.value)
        shown.readings = readings
        for window, value in zip(WINDOWS, curve.returns(), strict=True):
            named = (*key, window)
            if value is not None:
                self._return.place(named, t_ms, value)
            elif named in self._return.cells:
                self._return.end(named, t_ms)

    def fold_position(self, position: Position, t_ms: int) -> None:
        """What the bot says that it holds; what its fills add up to is `position_quantity`."""
        where = (position.source, position.account, position.exchange, position.symbol)
        quantity = self._quantity.cell(where)
        quantity.place(t_ms, position.quantity)
        if quantity.sid < 0:
            return
        valued = (*where, position.currency)
        self._unrealized.place(valued, t_ms, position.unrealized_pnl)
        price = position.mark_price
        if price is None:
            price = None if self._marks is None else self._marks.price(position.exchange, position.symbol)
        else:
            multiplier = 1.0 if position.multiplier is None else position.multiplier
            self._notional.place(valued, t_ms, position.quantity * price * multiplier)
        self.exposures.report(position, price, t_ms)

    def dump(self) -> bytes:
        accounts = [(key, curve.dump()) for key, curve in self.curves.items()]
        reporting, held = self.exposures.kept()
        return pack(AccountsKept(accounts=accounts, reporting=reporting, held=held))

    def load(self, raw: bytes) -> None:
        kept: AccountsKept = unpack(raw, AccountsKept)
        for key, before in kept.curves:
            self._keep(key, Curve(before.now()))
        for key, curve in kept.accounts:
            self._keep(key, Curve.load(curve))
        self.exposures.restore(kept.reporting, kept.held)
