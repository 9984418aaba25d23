"""Exposure: what the open positions are worth, by account, symbol, sector and exchange, each currency by itself.

A bot's own position reports count; an account that has never reported one is taken from its fills. What is flat says
0 and not nothing, because an alert about it ends only where its condition is known to be false. Its series end when
its positions are in another currency or sector, or are forgotten to make room for others.

Memory: some 900 bytes per position, for no more positions than there may be series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from trader_monitor.core.facts import Position
from trader_monitor.core.tally import Family, Key, Tally
from trader_monitor.core.trading.accounts.sums import SCALE, AccountSum, Exposure, HoldingKey, Sum

__all__ = ["Exposure", "Exposures", "HeldKept", "HoldingKey"]

EquityOf: TypeAlias = Callable[[str, str | None, str | None], float | None]
"""The equity of an account (source, account) in a currency, or None."""

_MOST = 1e30
"""A value beyond it is no price's doing; the position counts as not priced."""


class HeldKept(Struct, array_like=True):
    """One position as a snapshot keeps it; `at` is None for one from fills."""

    key: HoldingKey
    at: float | None
    quantity: float
    value: float | None
    currency: str | None
    sector: str | None


class _Held:
    """One position; `amount` is its value in units of 2^-60, 0 where it has no price or is flat."""

    __slots__ = ("amount", "at", "currency", "key", "quantity", "sector", "sums", "value")

    def __init__(self, key: HoldingKey) -> None:
        self.key = key
        self.at: float | None = None
        self.quantity = 0.0
        self.value: float | None = None
        self.amount = 0
        self.currency: str | None = None
        self.sector: str | None = None
        self.sums: tuple[()] | tuple[AccountSum, *tuple[Sum, ...]] = ()
        """Where it belongs, its account first."""


class Exposures:
    """All positions and their sums."""

    def __init__(self, tally: Tally, equity_of: EquityOf) -> None:
        self.tally = tally
        self._equity_of = equity_of
        self._held: dict[HoldingKey, _Held] = {}
        self._reporting: dict[tuple[str, str | None], None] = {}
        """Accounts (source, account) that have reported a position."""
        self._from_fills: dict[tuple[str, str | None], set[HoldingKey]] = {}
        """The positions of the others."""
        self._open = 0
        self._accounts: dict[Key, AccountSum] = {}
        self._groups: dict[tuple[str, Key], Sum] = {}
        money = ("source", "account", "currency")
        state = tally.state
        self._of_account = (
            state("exposure_gross", "Positions at their marks, longs and shorts added up.", *money),
            state("exposure_net", "Positions at their marks, longs less shorts.", *money),
            state("exposure_long", "Long positions at their marks.", *money),
            state("exposure_short", "Short positions at their marks, positive.", *money),
            state("exposure_positions", "Open positions.", *money),
            state("exposure_unpriced_positions", "Open positions without a known price.", *money),
            state("exposure_largest_ratio", "The largest position in gross exposure.", *money),
            state("exposure_herfindahl_ratio", "Sum of squared shares in gross exposure.", *money),
        )
        """In the order of `Exposure`."""
        self._leverage = state("exposure_leverage_ratio", "Gross exposure by equity.", *money)
        self.of_group: dict[str, tuple[Family, Family]] = {
            name: (
                state(f"exposure_gross_{name}", f"Gross exposure by {name}.", *names),
                state(f"exposure_net_{name}", f"Net exposure by {name}, longs less shorts.", *names),
            )
            for name, names in (
                ("symbol", ("symbol", "currency")),
                ("sector", ("source", "account", "sector", "currency")),
                ("exchange", ("source", "account", "exchange", "currency")),
            )
        }

    def report(self, position: Position, price: float | None, t_ms: int) -> None:
        """A bot's own report, valued at `price`, its mark or the market's. One older than the newest changes nothing.

        With its first report an account's positions from fills no longer count.
        """
        key = (position.source, position.account, position.exchange, position.symbol)
        owner = (position.source, position.account)
        if owner not in self._reporting:
            if len(self._reporting) >= self.tally.series.max_series:
                return
            self._reporting[owner] = None
            for other in list(self._from_fills.get(owner, ())):
                self._drop(self._held[other], t_ms)
            self._from_fills.pop(owner, None)
        found = self._find(key, t_ms)
        if found is None or (found.at is not None and position.at < found.at):
            return
        found.at = position.at
        value = None
        if price is not None:
            value = position.quantity * price * (1.0 if position.multiplier is None else position.multiplier)
        currency, sector = position.currency, position.sector
        if not position.quantity:
            currency, sector = currency or found.currency, sector or found.sector
        self._place(found, position.quantity, value, currency, sector, t_ms)

    def hold(self, key: HoldingKey, quantity: float, value: float | None, currency: str | None, t_ms: int) -> None:
        """A position from fills: signed quantity, signed value at the mark or None; unless the bot reports its own."""
        owner = (key[0], key[1])
        if owner not in self._reporting and (held := self._find(key, t_ms)) is not None:
            self._from_fills.setdefault(owner, set()).add(key)
            self._place(held, quantity, value, currency, None, t_ms)

    def touch(self, source: str, account: str | None, currency: str | None, t_ms: int) -> None:
        """The account's equity changed."""
        for key in {(source, account, currency), (source, account, None)}:
            if (found := self._accounts.get(key)) is not None:
                found.touch(t_ms)

    def of(self, source: str, account: str | None, currency: str | None) -> Exposure | None:
        """The account's exposure in the currency; None where it has never had a position in it."""
        found = self._accounts.get((source, account, currency))
        return None if found is None else found.exposure()

    def holders(self) -> Iterator[tuple[tuple[str, str | None, str | None], Exposure]]:
        """Every account (source, account, currency) that has positions, flat ones too, with its exposure."""
        for (source, account, currency), whole in self._accounts.items():
            yield (str(source), account, currency), whole.exposure()

    def _find(self, key: HoldingKey, t_ms: int) -> _Held | None:
        """The position, new if need be; None where there is no room for one more."""
        held = self._held.get(key)
        if held is None:
            most = self.tally.series.max_series
            if len(self._held) >= most:
                if self._open > most - max(1, most // 10):
                    return None
                for flat in [held for held in self._held.values() if not held.quantity]:
                    self._drop(flat, t_ms)
            held = self._held[key] = _Held(key)
        return held

    def _drop(self, held: _Held, t_ms: int) -> None:
        """Forgets a position, and what only it belonged to."""
        self._place(held, 0.0, None, held.currency, held.sector, t_ms)
        for total in held.sums:
            total.members -= 1
        del self._held[held.key]
        self._from_fills.get(held.key[:2], set()).discard(held.key)

    def _place(
        self,
        held: _Held,
        quantity: float,
        value: float | None,
        currency: str | None,
        sector: str | None,
        t_ms: int | None,
    ) -> None:
        """Counts the position where it belongs, and no longer where it was; without a time nothing is written."""
        before, key, had, was = held.sums, held.key, held.amount, bool(held.quantity)
        if value is not None and not abs(value) <= _MOST:
            value = None
        size = None if value is None or not quantity else int(abs(value) * SCALE)
        amount = held.amount = 0 if size is None else size if value is not None and value > 0 else -size
        if not before or (currency, sector) != (held.currency, held.sector):
            sums = held.sums = self._sums_of(key, currency, sector)
        else:
            sums = before
        held.quantity, held.value, held.currency, held.sector = quantity, value, currency, sector
        opened = bool(quantity)
        self._open += opened - was
        if sums is before:
            for total in sums:
                total.add(amount - had, abs(amount) - abs(had), opened - was, t_ms)
        else:
            for total in before:
                total.members -= 1
                total.add(-had, -abs(had), -was, t_ms)
            for total in sums:
                total.members += 1
                total.add(amount, abs(amount), opened, t_ms)
            if before:
                before[0].resize(key, None)
        sums[0].resize(key, size)

    def _sums_of(
        self, key: HoldingKey, currency: str | None, sector: str | None
    ) -> tuple[AccountSum, *tuple[Sum, ...]]:
        source, account, exchange, symbol = key
        own: Key = (source, account, currency)
        whole = self._accounts.get(own)
        if whole is None:
            whole = self._accounts[own] = AccountSum(self, "account", own)
        wanted: list[tuple[str, Key]] = [("symbol", (symbol, currency))]
        if sector:
            wanted.append(("sector", (source, account, sector, currency)))
        if exchange:
            wanted.append(("exchange", (source, account, exchange, currency)))
        groups = []
        for name in wanted:
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = Sum(self, *name)
            groups.append(group)
        return (whole, *groups)

    def show(self, account: AccountSum) -> None:
        """Writes an account's series."""
        key, t_ms = account.key, account.meant
        if not account.members:
            for family in (*self._of_account, self._leverage):
                family.end(key, t_ms)
            del self._accounts[key]
            return
        exposure = account.exposure()
        for family, value in zip(self._of_account, exposure, strict=True):
            family.cell(key).stand(t_ms, float(value))
        equity = self._equity_of(str(key[0]), key[1], key[2])
        if equity is not None and equity > 0:
            self._leverage.cell(key).stand(t_ms, exposure.gross / equity)
        else:
            self._leverage.end(key, t_ms)

    def forget(self, total: Sum) -> None:
        """Nothing is open there any more."""
        del self._groups[total.family, total.key]

    def kept(self) -> tuple[list[tuple[str, str | None]], list[HeldKept]]:
        """The accounts that report positions, and the positions."""
        held = [HeldKept(h.key, h.at, h.quantity, h.value, h.currency, h.sector) for h in self._held.values()]
        return list(self._reporting), held

    def restore(self, reporting: list[tuple[str, str | None]], kept: list[HeldKept]) -> None:
        """Takes what was kept; nothing is written, as the series go on from where they were."""
        self._reporting.update(dict.fromkeys(reporting))
        for key, at, quantity, value, currency, sector in map(astuple, kept):
            held = self._held[key] = _Held(key)
            held.at = at
            if at is None:
                self._from_fills.setdefault(key[:2], set()).add(key)
            self._place(held, quantity, value, currency, sector, None)
