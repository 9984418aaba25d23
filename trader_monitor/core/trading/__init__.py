"""Trading: positions and realised P&L from fills, reported equity, exchanges and agents."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from trader_monitor.core.facts import Trade
from trader_monitor.core.trading.accounts.accounts import AccountKey
from trader_monitor.core.trading.accounts.curve import Curve
from trader_monitor.core.trading.positions.book import Book
from trader_monitor.core.trading.positions.fills import BookKey, LedgerKey, StrategyLedgerKey
from trader_monitor.core.trading.positions.ledger import Ledger

__all__ = ["AccountKey", "Book", "BookKey", "Curve", "Ledger", "LedgerKey", "Trading"]


class Trading(NamedTuple):
    """What readers see of it: live collections, not to be written to. `latest` are the last trades, oldest first."""

    books: dict[BookKey, Book]
    ledgers: dict[LedgerKey, Ledger]
    curves: dict[AccountKey, Curve]
    latest: deque[Trade]
    strategies: dict[StrategyLedgerKey, Ledger]
