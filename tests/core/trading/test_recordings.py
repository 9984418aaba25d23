"""Real bots' recordings end at the figures that the bots themselves arrived at, however they are batched."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path

import pytest

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Account, Fact, Now, Trade
from trader_monitor.core.series import SeriesStore

DATA = Path(__file__).parent.parent.parent / "data"


def recorded(name: str) -> Iterator[Trade | Account]:
    """Fills and account states, in the recorded order and at the recorded times."""
    trader = ""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            event = json.loads(line)
            trader = event.get("trader_id", trader)
            if event["type"] == "OrderFilled":
                yield Trade(
                    at=event["ts_event"] / 1e9,
                    id=event["event_id"],
                    source=event["trader_id"],
                    account=event["account_id"],
                    strategy=event["strategy_id"],
                    symbol=event["instrument_id"],
                    side=event["order_side"].lower(),
                    quantity=float(event["last_qty"]),
                    price=float(event["last_px"]),
                    fee=float(event["commission"].split()[0]),
                    currency=event["currency"],
                )
            elif event["type"] == "AccountState":
                (balance,) = event["balances"]
                yield Account(
                    at=event["ts_event"] / 1e9,
                    id=event["event_id"],
                    source=trader,
                    account=event["account_id"],
                    equity=float(balance["total"]),
                    currency=balance["currency"],
                )


def folded(facts: list[Fact], size: int) -> Board:
    board = Board(SeriesStore())
    for first in range(0, len(facts), size):
        board.fold_many(facts[first : first + size], Now(facts[first].at, 0.0))
    return board


def newest(board: Board, name: str) -> dict[str, float]:
    """The newest value of every series of that name, by its result label (or none)."""
    found = {}
    for sid in board.series.sids():
        labels = dict(board.series.labels_of(sid))
        if labels["__name__"] == name:
            found[labels.get("result", "")] = float(board.series.last_v[sid])
    return found


@pytest.mark.parametrize("size", [1, 7, 500, 100_000])
def test_the_google_recording(size: int) -> None:
    each_twice = list(recorded("nautilus_goog_daily"))
    distinct = list({fact.id: fact for fact in each_twice}.values())
    assert len(each_twice) == 162 * 3
    board = folded([*distinct], size)
    (ledger,) = board.trading.ledgers.values()
    (curve,) = board.trading.curves.values()
    assert (ledger.realized, ledger.fees, ledger.fills) == (D("74358.00"), D(0), 162)
    assert (ledger.wins, ledger.losses, ledger.flats) == (31, 50, 0)
    assert f"{ledger.win_ratio:.2%}" == "38.27%"
    assert f"{ledger.profit_factor:.3f}" == "1.789"
    assert f"{curve.equity.drawdown_max:.2%}" == "13.84%"
    assert newest(board, "pnl_realized") == {"": 74_358.0}
    assert newest(board, "pnl_realized_symbol") == {"": 74_358.0}
    assert newest(board, "account_pnl") == {"": 74_358.0}
    assert newest(board, "trades_closed_total") == {"win": 31, "loss": 50, "flat": 0}
    assert newest(board, "position_quantity") == {"": 0.0}
    assert board.counts == {"trade": 162, "account": 162}


@pytest.mark.parametrize("size", [1, 500])
def test_the_overleveraged_recording(size: int) -> None:
    board = folded(list({fact.id: fact for fact in recorded("nautilus_eurusd_overleveraged")}.values()), size)
    (ledger,) = board.trading.ledgers.values()
    (curve,) = board.trading.curves.values()
    assert round(ledger.realized, 2) == D("125877.43")
    assert (ledger.fees, ledger.fills, ledger.closed) == (D("37926.90"), 1628, 407)
    assert curve.equity.result == D("125877.46"), "its own account rounds each position to the cent"
    assert f"{curve.equity.drawdown_max:.2%}" == "57.47%"
    assert newest(board, "account_pnl") == {"": 125_877.46}
