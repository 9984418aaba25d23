"""Real bots' recordings end at the figures that the bots themselves arrived at, however they are batched."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path

import numpy as np
import pytest

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Account, Fact, Now, Trade
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.trading.accounts.curve import DAY
from trader_monitor.core.trading.accounts.figures import figures
from trader_monitor.core.trading.accounts.performance import performance
from trader_monitor.core.trading.accounts.returns import daily_returns
from trader_monitor.core.trading.accounts.terms import Terms

DATA = Path(__file__).parents[3] / "data"


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


PROGRAM = {
    "nautilus_goog_daily": (0.5251343766518731, 1.5293253574763537, 0.09353665270138732, 0.00019491790400970544),
    "nautilus_eurusd_overleveraged": (1.3188352673498493, 2.697663154308332, 1.3232373391386785, 0.006925127261628024),
}
"""Sharpe, Sortino, volatility (252 days a year) and mean daily return as the recorded program itself gave them."""


@pytest.mark.parametrize(
    ("sentence", "name", "days", "before", "without"),
    [
        (
            "It counts from the first bar, 28 days before the first account state, and all days of the calendar.",
            "nautilus_goog_daily",
            3088,
            28,
            0,
        ),
        (
            "Its first balance is the first day's close, so that the loss of the first day is not counted.",
            "nautilus_eurusd_overleveraged",
            295,
            0,
            1,
        ),
    ],
)
def test_the_program_s_own_statistics(sentence: str, name: str, days: int, before: int, without: int) -> None:
    """Both are of realised balances alone, which is what the recorded account states hold, and of silent days as 0."""
    board = folded(list({fact.id: fact for fact in recorded(name)}.values()), 500)
    ((key, curve),) = board.trading.curves.items()
    terms = Terms(annualisation=252, silent_days="flat")
    now = (curve.equity.at // DAY + 1) * DAY
    told = {figure.name: figure for figure in figures(key, curve, terms, now)}
    assert told["account_sharpe_ratio"].n == days
    ours = daily_returns(curve, int(now // DAY), None, "flat").returns
    theirs = np.concatenate([np.zeros(before), ours[without:]])
    found = performance(theirs, annualisation=252)
    values = (found.sharpe.value, found.sortino.value, found.volatility.value, float(theirs.mean()))
    assert values == pytest.approx(PROGRAM[name], rel=1e-9), sentence
    sharpe = told["account_sharpe_ratio"]
    assert sharpe.value == pytest.approx(PROGRAM[name][0], rel=0.01), "what remains of the difference is small"
    assert sharpe.interval is not None
    assert sharpe.interval.low < 0 < sharpe.interval.high, "and far smaller than what nobody can know"
