"""Accounts as the board has them: which series they become, what ends them, and what is kept."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Account, Fact, MarketData, Now, Position, Trade
from trader_monitor.core.samples import is_stale
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.trading.accounts.equity import EquityBefore
from trader_monitor.core.trading.accounts.sums import Exposure

NOON = 1_772_625_600.0


def folded(*facts: Fact, board: Board | None = None) -> Board:
    board = Board(SeriesStore()) if board is None else board
    for fact in facts:
        board.fold(fact, Now(fact.at, 0.0))
    return board


def newest(board: Board, prefix: str) -> dict[str, float]:
    """The newest value of every series that is known, by its name and window."""
    found = {}
    for sid in board.series.sids():
        labels, value = dict(board.series.labels_of(sid)), float(board.series.last_v[sid])
        if labels["__name__"].startswith(prefix) and not is_stale(value):
            found[labels["__name__"] + labels.get("window", "")] = value
    return found


def account(seconds: float, equity: float, **rest: Any) -> Account:
    return Account(at=NOON + seconds, source="bot", account="main", currency="USD", equity=equity, **rest)


def trade(seconds: float, side: Any, quantity: float, price: float, **rest: Any) -> Trade:
    fields = {"source": "bot", "account": "main", "currency": "USD", "exchange": "x", "symbol": "BTC"} | rest
    return Trade(at=NOON + seconds, side=side, quantity=quantity, price=price, **fields)


def test_what_a_report_becomes() -> None:
    board = folded(
        account(-3_600, 100.0),
        account(0, 150.0, external_flow=100.0, cash=20.0, margin_used=30.0, margin_limit=120.0),
    )
    assert newest(board, "account_") == {
        "account_equity": 150.0,
        "account_cash": 20.0,
        "account_margin_used": 30.0,
        "account_margin_limit": 120.0,
        "account_margin_use_ratio": 0.25,
        "account_pnl": -50.0,
        "account_return_ratio1h": -0.5,
        "account_return_ratioday": -0.5,
        "account_return_ratioweek": -0.5,
        "account_return_ratiomonth": -0.5,
        "account_return_ratiototal": -0.5,
        "account_drawdown_ratio": 0.5,
        "account_drawdown_seconds": 3_600.0,
        "account_drawdown_peak_timestamp_seconds": NOON - 3_600,
        "account_drawdown_trough_timestamp_seconds": NOON,
        "account_drawdown_max_ratio": 0.5,
        "account_drawdown_max_seconds": 3_600.0,
        "account_drawdown_max_peak_timestamp_seconds": NOON - 3_600,
        "account_drawdown_max_trough_timestamp_seconds": NOON,
    }


def test_what_ends_with_the_drawdown_and_what_comes() -> None:
    board = folded(account(0, 100.0), account(10, 75.0), account(40, 100.0))
    found = newest(board, "account_drawdown")
    assert "account_drawdown_trough_timestamp_seconds" not in found, "at its peak it has no trough"
    assert found["account_drawdown_recovery_seconds"] == 30.0
    folded(account(50, 50.0), board=board)
    assert "account_drawdown_recovery_seconds" not in newest(board, "account_drawdown"), (
        "a deeper one has not recovered"
    )


def test_a_window_that_has_no_return_any_more_ends_at_once() -> None:
    board = folded(account(0, 100.0), account(3_600, 110.0))
    assert newest(board, "account_return")["account_return_ratio1h"] == pytest.approx(0.1)
    folded(account(9_000, 120.0), board=board)
    assert "account_return_ratio1h" not in newest(board, "account_return"), "nothing was reported an hour ago"


def test_a_dip_within_a_batch_is_seen() -> None:
    board = Board(SeriesStore())
    board.fold_many([account(0, 100.0), account(1, 60.0), account(2, 100.0)], Now(NOON + 2, 0.0))
    (sid,) = (
        sid for sid in board.series.sids() if dict(board.series.labels_of(sid))["__name__"] == "account_drawdown_ratio"
    )
    _, values = board.series.head(sid)
    assert values.tolist() == [0.0, 0.4, 0.0]


def test_a_late_flow_is_counted_and_a_late_report_is_not() -> None:
    board = folded(account(0, 100.0), account(10, 200.0), account(5, 150.0), account(6, 200.0, external_flow=100.0))
    found = newest(board, "account_")
    assert found["account_late_flows_total"] == 1.0
    assert found["account_pnl"] == 100.0, "as of the newest report"
    folded(account(20, 210.0), board=board)
    assert newest(board, "account_pnl") == {"account_pnl": 10.0}


def test_margin_of_which_nothing_is_allowed_has_no_share() -> None:
    assert "account_margin_use_ratio" not in newest(
        folded(account(0, 1.0, margin_used=1.0, margin_limit=0.0)), "account"
    )


def test_a_flood_of_accounts_leaves_nothing_behind() -> None:
    board = Board(SeriesStore(max_series=60))
    for number in range(500):
        board.fold(Account(at=NOON + number, source=f"bot{number}", equity=1.0), Now(NOON + number, 0.0))
    assert len(board.trading.curves) < 60


def test_positions_from_fills_are_exposed_at_the_market_s_price_until_the_bot_reports_its_own() -> None:
    board = folded(account(0, 1_000.0), trade(1, "buy", 2.0, 100.0), trade(2, "sell", 5.0, 110.0, symbol="ETH"))
    exposures = board.accounts.exposures
    found = exposures.of("bot", "main", "USD")
    assert found is not None
    assert (found.gross, found.net, found.positions) == (750.0, -350.0, 2)
    assert newest(board, "exposure_leverage") == {"exposure_leverage_ratio": 0.75}
    folded(MarketData(at=NOON + 5, exchange="x", symbol="BTC", price=200.0), board=board)
    assert newest(board, "exposure_long") == {"exposure_long": 400.0}, "the market moved"
    folded(trade(6, "buy", 5.0, 100.0, symbol="ETH"), board=board)
    assert newest(board, "exposure_short") == {"exposure_short": 0.0}
    report = Position(
        at=NOON + 9,
        source="bot",
        account="main",
        exchange="x",
        symbol="BTC",
        quantity=2.0,
        mark_price=50.0,
        currency="USD",
    )
    folded(report, trade(10, "buy", 1.0, 100.0), board=board)
    assert exposures.of("bot", "main", "USD") == Exposure(100.0, 100.0, 100.0, 0.0, 1, 0, 1.0, 1.0)


def test_a_multiplier_counts_for_fills_too() -> None:
    report = Position(
        at=NOON - 9, source="bot", account="main", exchange="x", symbol="ES", quantity=0.0, multiplier=50.0
    )
    board = folded(report, trade(0, "buy", 2.0, 10.0, symbol="ES", account="other"))
    found = board.accounts.exposures.of("bot", "other", "USD")
    assert found is not None
    assert found.gross == 20.0, "of the account that it was reported for"


def test_an_older_snapshot_s_curves_go_on() -> None:
    board = Board(SeriesStore())
    before = EquityBefore(NOON, D(100), D(90), D(0), 120.0, 0.25, 0.4)
    raw = msgspec.msgpack.encode({"curves": [(("bot", "main", "USD"), before)]})
    board.accounts.load(raw)
    folded(account(60, 120.0), board=board)
    found = newest(board, "account_")
    assert (found["account_drawdown_ratio"], found["account_drawdown_max_ratio"]) == (0.0, 0.4)
    assert found["account_pnl"] == 20.0
    assert found["account_return_ratiototal"] == pytest.approx(120 / 90 - 1), "since the index began"


facts = st.lists(
    st.one_of(
        st.builds(
            account,
            st.integers(0, 400).map(lambda n: n * 300.0),
            st.integers(-5, 200).map(float),
            external_flow=st.none() | st.integers(-50, 80).map(float),
        ),
        st.builds(
            Position,
            at=st.integers(0, 400).map(lambda n: NOON + n * 300.0),
            source=st.just("bot"),
            account=st.just("main"),
            symbol=st.sampled_from("AB"),
            quantity=st.integers(-5, 5).map(float),
            mark_price=st.none() | st.integers(0, 50).map(float),
            currency=st.sampled_from(["USD", None]),
            sector=st.sampled_from(["tech", None]),
        ),
    ),
    max_size=40,
    unique_by=lambda fact: fact.at,
)


@settings(max_examples=60, deadline=None)
@given(facts, st.integers(1, 15))
def test_how_reports_are_batched_changes_nothing_in_the_end(facts: list[Any], size: int) -> None:
    now = Now(NOON + 400 * 300.0, 0.0)
    whole, pieces = Board(SeriesStore()), Board(SeriesStore())
    whole.fold_many(facts, now)
    for first in range(0, len(facts), size):
        pieces.fold_many(facts[first : first + size], now)
        pieces = Board.load(pieces.dump(), pieces.series, pieces.ids)
    assert pieces.trading.curves == whole.trading.curves
    assert dict(pieces.accounts.exposures.holders()) == dict(whole.accounts.exposures.holders())
    found = newest(pieces, "account_")
    for name, value in newest(whole, "account_").items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
