"""Terms: by which conventions a desk wants its figures, and which limits it has set itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["LIMITS", "Limits", "Sessions", "Terms"]

Sessions: TypeAlias = Callable[[date], bool]
"""Whether a day (UTC) is a session. It gives the same answer for the same day, for as long as it lives."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account may do; None is no limit. `source`, `account` and `currency` say for whom; None is for all.

    Money is in the account's currency. Losses, falls and shares are ratios: 0.2 is a fifth.
    """

    source: str | None = None
    account: str | None = None
    currency: str | None = None
    max_gross_exposure: float | None = None
    """Money: longs and shorts added up."""
    max_net_exposure: float | None = None
    """Money: longs less shorts, whichever way."""
    max_leverage: float | None = None
    """Gross exposure by equity."""
    max_position_share: float | None = None
    """The largest position in gross exposure."""
    max_positions: float | None = None
    max_margin_use: float | None = None
    """Margin used by margin allowed."""
    max_drawdown: float | None = None
    """Equity below its peak, flows removed."""
    max_daily_loss: float | None = None
    """The loss of the UTC day so far."""
    max_var: float | None = None
    """Historical one-day value at risk at 95 %, as a share of equity."""

    def concern(self, source: str, account: str | None, currency: str | None) -> bool:
        """Whether they are for that account."""
        return self.source in (None, source) and self.account in (None, account) and self.currency in (None, currency)


LIMITS: tuple[str, ...] = tuple(name for name in Limits.__struct_fields__ if name.startswith("max_"))
"""The names of all limits."""


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conventions; each is named at the figures that follow it.

    `silent_days` says what a day is on which an account reported nothing. `merged`: its change belongs to the next
    day with a report, for a bot that was away. `flat`: nothing happened, for a bot that reports what changes.
    """

    annualisation: int = 365
    """Daily returns in a year: 365 where trading never ceases, 252 for equities."""
    risk_free: float = 0.0
    """Annual, effective; converted to a day as (1 + risk_free) ** (1 / annualisation) - 1."""
    minimum_days: int = 30
    """Daily returns that an annualised figure needs."""
    var_window_days: int = 250
    """The newest daily returns that value at risk is estimated from."""
    silent_days: Literal["merged", "flat"] = "merged"
    limits: tuple[Limits, ...] = ()

    def limit(self, name: str, source: str, account: str | None, currency: str | None) -> float | None:
        """The limit of that name (`LIMITS`) for an account: of the first `limits` that concern it and set it."""
        for limits in self.limits:
            if limits.concern(source, account, currency):
                value: float | None = getattr(limits, name)
                if value is not None:
                    return value
        return None
