"""The series of positions and P&L. What has no method in its name is by average cost; `_fifo` is the same by FIFO.

Realised P&L is net of fees, in the currency of the fills. The methods are metrics of their own, and no label, so that
a sum over one does not count a position twice; so are the strategies' books, which are parts of their accounts'.
"""

from __future__ import annotations

from trader_monitor.core.tally import Tally

__all__ = ["Metrics"]

_WHERE = ("source", "account", "exchange", "symbol")
_MONEY = ("source", "account", "currency")
_STRATEGY = (*_MONEY, "strategy")


class Metrics:
    """All families that fills write."""

    def __init__(self, tally: Tally) -> None:
        state, counter = tally.state, tally.counter
        symbol = ("source", "account", "symbol", "currency")
        valued = (*_WHERE, "currency")
        self.count = counter("trade_fills_total", "Fills.", *_WHERE, "side")
        self.volume = counter("trade_volume_total", "Quote notional of fills.", *_WHERE, "side", "currency")
        self.fees = counter("trade_fees_total", "Fees paid, less rebates.", *_MONEY)
        self.realized = state("pnl_realized", "Realised P&L from fills, net of fees.", *_MONEY)
        self.realized_fifo = state("pnl_realized_fifo", "Realised P&L from fills by FIFO, net of fees.", *_MONEY)
        self.realized_symbol = state("pnl_realized_symbol", "Realised P&L by symbol, net of fees.", *symbol)
        self.realized_symbol_fifo = state(
            "pnl_realized_symbol_fifo", "Realised P&L by symbol and FIFO, net of fees.", *symbol
        )
        self.unrealized = state("pnl_unrealized", "Unrealised P&L of what fills left open, at the mark.", *_MONEY)
        self.unrealized_fifo = state("pnl_unrealized_fifo", "Unrealised P&L by FIFO, at the mark.", *_MONEY)
        self.unrealized_symbol = state("pnl_unrealized_symbol", "Unrealised P&L by symbol, at the mark.", *valued)
        self.unrealized_symbol_fifo = state(
            "pnl_unrealized_symbol_fifo", "Unrealised P&L by symbol and FIFO, at the mark.", *valued
        )
        self.reported = state("pnl_realized_reported", "Realised P&L as the fills themselves say.", *_MONEY)
        self.drawdown = state("pnl_drawdown", "Realised P&L below its peak, in money.", *_MONEY)
        self.drawdown_max = state("pnl_drawdown_max", "Deepest fall of realised P&L from a peak.", *_MONEY)
        self.closed = counter("trades_closed_total", "Round trips that ended.", "source", "account", "result")
        self.win_ratio = state("trade_win_ratio", "Won round trips in all that ended.", "source", "account")
        self.profit_factor = state("trade_profit_factor", "Gross profit by gross loss of round trips.", *_MONEY)
        self.quantity = state("position_quantity", "Net position from fills, signed.", *_WHERE)
        self.unreconciled = tally.report(
            "position_unreconciled_quantity", "Position as reported less that from fills, at the report.", *_WHERE
        )
        self.merged = counter("position_lots_merged_total", "Lots that were merged, as there are too many.", *_WHERE)
        self.strategy_quantity = state(
            "strategy_position_quantity", "Net position of a strategy from its fills, signed.", *_WHERE, "strategy"
        )
        self.strategy_realized = state(
            "strategy_pnl_realized", "Realised P&L of a strategy's fills, net of fees.", *_STRATEGY
        )
        self.strategy_realized_fifo = state(
            "strategy_pnl_realized_fifo", "Realised P&L of a strategy's fills by FIFO, net of fees.", *_STRATEGY
        )
        self.strategy_unrealized = state(
            "strategy_pnl_unrealized", "Unrealised P&L of a strategy, at the mark.", *_STRATEGY
        )
        self.strategy_unrealized_fifo = state(
            "strategy_pnl_unrealized_fifo", "Unrealised P&L of a strategy by FIFO, at the mark.", *_STRATEGY
        )
        self.strategy_fees = counter("strategy_fees_total", "Fees of a strategy, less rebates.", *_STRATEGY)
        self.history = counter(
            "pnl_history_changes_total",
            "Times that past P&L turned out to have been another, or could not be put right.",
            *("source", "account", "symbol", "reason"),
        )
        self.execution = tally.histogram("trade_execution_seconds", "Order to fill.", "source", "exchange")
        self.slippage = tally.report(
            "trade_slippage_ratio",
            "Fill price against the expected one, positive when worse.",
            *("source", "exchange", "symbol"),
        )
