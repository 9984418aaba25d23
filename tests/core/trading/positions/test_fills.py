"""Positions and P&L through the board: methods side by side, strategies, history that changes, and bad input."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.test_board import newest
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Fact, MarketData, Now, Order, Position, Trade
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.snapshot import SnapshotError
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.marks import Marks
from trader_monitor.core.trading.positions import corrections, lots
from trader_monitor.core.trading.positions.fills import Fills

T0 = 1_700_000_000.0
WHERE = "{account=a,exchange=e,source=b,symbol=S}"
MONEY = "{account=a,currency=USD,source=b}"
SYMBOL = "{account=a,currency=USD,exchange=e,source=b,symbol=S}"


def trade(at: float, quantity: float, price: float, **more: Any) -> Trade:
    """A fill at T0 + `at`; a negative quantity is a sale."""
    given = {"source": "b", "account": "a", "exchange": "e", "symbol": "S", "currency": "USD"} | more
    return Trade(
        at=T0 + at, side="buy" if quantity > 0 else "sell", quantity=float(abs(quantity)), price=price, **given
    )


def report(at: float, quantity: float, **more: Any) -> Position:
    given = {"source": "b", "account": "a", "exchange": "e", "symbol": "S"} | more
    return Position(at=T0 + at, quantity=quantity, **given)


def board_of(*facts: Fact, size: int = 0) -> Board:
    """One batch, or batches of `size`, each of them ten seconds after the one before."""
    board = Board(SeriesStore())
    size = size or max(len(facts), 1)
    for number, first in enumerate(range(0, len(facts), size)):
        board.fold_many(facts[first : first + size], Now(T0 + 1_000 + 10 * number, 0.0))
    return board


def changes(board: Board) -> dict[str, float]:
    """How often history changed, by reason."""
    found = {}
    for name, value in newest(board).items():
        if name.startswith("pnl_history_changes_total"):
            found[name.split("reason=")[1].split(",")[0].rstrip("}")] = value
    return found


def test_both_methods_stand_side_by_side() -> None:
    """Bought at 10 and at 20, one sold at 30: by average 15 was earned, by FIFO 20; 40 is the mark."""
    board = board_of(
        trade(0, 1, 10.0),
        trade(1, 1, 20.0),
        trade(2, -1, 30.0, fee=0.5),
        MarketData(at=T0 + 3, exchange="e", symbol="S", price=40.0),
    )
    series = newest(board)
    assert (series[f"pnl_realized{MONEY}"], series[f"pnl_realized_fifo{MONEY}"]) == (14.5, 19.5)
    assert (series[f"pnl_unrealized{MONEY}"], series[f"pnl_unrealized_fifo{MONEY}"]) == (25.0, 20.0)
    assert (series[f"pnl_unrealized_symbol{SYMBOL}"], series[f"pnl_unrealized_symbol_fifo{SYMBOL}"]) == (25.0, 20.0)
    of = "{account=a,currency=USD,source=b,symbol=S}"
    assert (series[f"pnl_realized_symbol{of}"], series[f"pnl_realized_symbol_fifo{of}"]) == (14.5, 19.5)
    board.fold(trade(4, -1, 40.0), Now(T0 + 2_000, 0.0))
    series = newest(board)
    assert series[f"pnl_realized{MONEY}"] == series[f"pnl_realized_fifo{MONEY}"] == 39.5, "flat, they agree"
    assert series[f"pnl_unrealized{MONEY}"] == series[f"pnl_unrealized_fifo{MONEY}"] == 0


def test_a_strategy_has_a_book_of_its_own_beside_the_account_s() -> None:
    """One buys what the other sells: the account is flat, they are not."""
    board = board_of(trade(0, 2, 10.0, strategy="up", fee=1.0), trade(1, -2, 12.0, strategy="down"))
    series = newest(board)
    assert series[f"position_quantity{WHERE}"] == 0
    assert series[f"pnl_realized{MONEY}"] == 3
    for strategy, quantity, realized, unrealized in (("up", 2, -1, 4), ("down", -2, 0, 0)):
        money = f"{{account=a,currency=USD,source=b,strategy={strategy}}}"
        where = f"{{account=a,exchange=e,source=b,strategy={strategy},symbol=S}}"
        assert series[f"strategy_position_quantity{where}"] == quantity
        assert series[f"strategy_pnl_realized{money}"] == series[f"strategy_pnl_realized_fifo{money}"] == realized
        assert series[f"strategy_pnl_unrealized{money}"] == unrealized
    assert series["strategy_fees_total{account=a,currency=USD,source=b,strategy=up}"] == 1


def test_a_multiplier_makes_points_money_and_its_late_arrival_changes_history() -> None:
    before = [report(0, 0.0, multiplier=50.0), trade(1, 1, 100.0, fee=2.0), trade(2, -1, 101.0, fee=2.0)]
    after = [trade(1, 1, 100.0, fee=2.0), trade(2, -1, 101.0, fee=2.0), report(3, 0.0, multiplier=50.0)]
    for facts, said in ((before, {}), (after, {"multiplier": 1})):
        board = board_of(*facts)
        assert newest(board)[f"pnl_realized{MONEY}"] == newest(board)[f"pnl_realized_fifo{MONEY}"] == 46
        assert changes(board) == said
    board.fold_many([trade(4, 2, 100.0), report(5, 2.0, multiplier=10.0, mark_price=103.0)], Now(T0 + 2_000, 0.0))
    assert newest(board)[f"pnl_unrealized{MONEY}"] == 60
    assert newest(board)[f"pnl_realized{MONEY}"] == 6


LATE = [
    ("A buy that comes after its sale.", [(0, 1, 10.0), (2, -2, 12.0), (1, 1, 11.0)]),
    ("One before all others.", [(1, 1, 10.0), (2, -1, 12.0), (0, 3, 5.0)]),
    ("Two in the wrong order.", [(3, -1, 12.0), (2, 1, 11.0), (1, 1, 10.0)]),
]


@pytest.mark.parametrize(("sentence", "fills"), LATE, ids=[c[0] for c in LATE])
@pytest.mark.parametrize("size", [0, 1])
def test_a_late_fill_is_told_where_it_belongs(sentence: str, fills: list[Any], size: int) -> None:
    late = board_of(*(trade(*fill) for fill in fills), size=size)
    sorted_ = board_of(*(trade(*fill) for fill in sorted(fills)))
    assert late.trading.books == sorted_.trading.books, sentence
    assert late.trading.ledgers == sorted_.trading.ledgers, sentence
    assert changes(late) == {"late": len(fills) - 2 if sentence[0] != "T" else 2}
    assert changes(sorted_) == {}


CORRECTIONS = [
    ("A price was wrong.", trade(5, 1, 11.0, id="9", corrects="1"), [(0, 1, 11.0), (1, -1, 12.0)], "corrected"),
    ("The side was wrong.", trade(5, -1, 10.0, id="9", corrects="1"), [(0, -1, 10.0), (1, -1, 12.0)], "corrected"),
    ("There was no such fill.", trade(5, 1, 1.0, id="9", corrects="1", cancelled=True), [(1, -1, 12.0)], "cancelled"),
    ("The other one was none.", trade(5, 1, 1.0, id="9", corrects="2", cancelled=True), [(0, 1, 10.0)], "cancelled"),
]


@pytest.mark.parametrize(("sentence", "correction", "instead", "reason"), CORRECTIONS, ids=[c[0] for c in CORRECTIONS])
@pytest.mark.parametrize("size", [0, 1])
def test_a_correction_takes_the_place_of_what_it_corrects(
    sentence: str, correction: Trade, instead: list[Any], reason: str, size: int
) -> None:
    board = board_of(trade(0, 1, 10.0, id="1", fee=0.1), trade(1, -1, 12.0, id="2", fee=0.1), correction, size=size)
    fees = {10.0: 0.1, 12.0: 0.1}
    right = board_of(*(trade(*fill, fee=fees.get(fill[2]) if fill[1] * fill[2] != -10 else None) for fill in instead))
    assert board.trading.books == right.trading.books, sentence
    assert board.trading.ledgers == right.trading.ledgers, sentence
    assert changes(board) == {reason: 1}
    kept = {name: value for name, value in newest(board).items() if name.startswith(("pnl_", "trade_", "trades_"))}
    wanted = {name: value for name, value in newest(right).items() if name.startswith(("pnl_", "trade_", "trades_"))}
    # What came is counted as it came, and the last price that was heard of is the mark.
    counted = ("pnl_history", "trade_fills", "trade_volume", "pnl_unrealized")
    for name in (name for name in kept if not name.startswith(counted)):
        assert kept[name] == wanted.get(name), name


def test_a_correction_is_known_by_the_first_id_and_by_the_newest() -> None:
    first, second = trade(5, 1, 11.0, id="8", corrects="1"), trade(6, 1, 12.0, id="9", corrects="1")
    third = trade(7, 1, 13.0, id="10", corrects="9")
    board = board_of(trade(0, 1, 10.0, id="1"), first, second, third)
    assert board.trading.books["b", "a", "e", "S"].cost == D(13)
    assert changes(board) == {"corrected": 3}


def test_a_correction_may_name_another_symbol_and_another_account() -> None:
    board = board_of(
        trade(0, 1, 10.0, id="1"),
        trade(1, 1, 20.0, symbol="T"),
        trade(2, 1, 10.0, id="2", corrects="1", symbol="T"),
        trade(3, 5, 7.0, id="3", account="other"),
        trade(4, 5, 7.0, id="4", account="a", corrects="3"),
    )
    quantities = {key[1:4:2]: book.quantity for key, book in board.trading.books.items()}
    assert quantities == {("a", "S"): 5, ("a", "T"): 2, ("other", "S"): 0}
    assert [q for q, _ in board.trading.books["b", "a", "e", "T"].lots] == [1, 1]
    assert board.trading.books["b", "a", "e", "T"].lots[0] == (D(1), D(10)), "at the time of what it corrects"


def test_what_nobody_remembers_is_not_corrected_and_said_so() -> None:
    board = board_of(
        trade(0, 1, 10.0, id="1"),
        trade(1, 1, 99.0, id="2", corrects="never"),
        trade(2, 1, 1.0, id="3", cancelled=True),
    )
    assert board.trading.books["b", "a", "e", "S"].quantity == 1
    assert changes(board) == {"too_late": 2}


def test_a_fill_from_before_the_tail_is_booked_at_the_present_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "SEGMENT", 4)
    board = board_of(*(trade(10 + n, 1, 10.0, id=str(n)) for n in range(12)), size=1)
    board.fold_many([trade(0, -1, 20.0), trade(1, 1, 1.0, id="x", corrects="0")], Now(T0 + 2_000, 0.0))
    assert changes(board) == {"too_late": 2}
    assert board.trading.ledgers["b", "a", "USD"].realized == 10, "sold as the newest"
    (tail,) = board._fills.holdings.tails.values()
    assert len(tail.older) + len(tail.newer) <= 2 * 4


def test_what_moves_to_a_book_whose_tail_begins_later_is_booked_there_at_the_present(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corrections, "SEGMENT", 4)
    others = [trade(5 + n, 1, 10.0, symbol="T") for n in range(9)]
    moved = trade(50, 1, 11.0, id="y", corrects="x", symbol="T")
    board = board_of(*others, trade(0, 1, 10.0, id="x"), moved, size=1)
    book = board.trading.books["b", "a", "e", "T"]
    assert (book.quantity, book.newest_at, book.lots[-1]) == (D(10), T0 + 13, (D(1), D(11)))
    assert board.trading.books["b", "a", "e", "S"].quantity == 0
    assert changes(board) == {"corrected": 1}


def test_a_split_books_neither_gain_nor_loss() -> None:
    board = board_of(
        trade(0, 10, 90.0, strategy="s", fee=1.0),
        MarketData(at=T0 + 1, exchange="e", symbol="S", price=99.0),
    )
    worth = newest(board)[f"pnl_unrealized{MONEY}"]
    board.fold(report(2, 30.0, entry_price=30.0), Now(T0 + 1_100, 0.0))
    series = newest(board)
    assert (worth, series[f"pnl_unrealized{MONEY}"]) == (90, 90), "the old mark is of other shares"
    assert (series[f"position_quantity{WHERE}"], series[f"pnl_realized{MONEY}"]) == (30, -1)
    assert series["strategy_position_quantity{account=a,exchange=e,source=b,strategy=s,symbol=S}"] == 30
    assert series[f"position_unreconciled_quantity{WHERE}"] == 0
    assert changes(board) == {"split": 1}
    tick = MarketData(at=T0 + 3, exchange="e", symbol="S", price=34.0)
    board.fold_many([tick, trade(4, -15, 34.0)], Now(T0 + 1_200, 0.0))
    series = newest(board)
    assert series[f"pnl_realized{MONEY}"] == series[f"pnl_realized_fifo{MONEY}"] == 59
    assert series[f"pnl_unrealized{MONEY}"] == pytest.approx(60, abs=1e-12)
    again = Board.load(board.dump(), SeriesStore())
    for either in (board, again):
        either.fold(trade(1.5, 1, 60.0), Now(T0 + 1_300, 0.0))
    assert again.trading.books == board.trading.books, "a late fill from before the split is of the old shares"
    assert board.trading.books["b", "a", "e", "S"].quantity == 18


NO_SPLITS = [
    ("Another fill is on its way.", report(2, 20.0, entry_price=90.0), 10),
    ("Half of it was sold.", report(2, 5.0, entry_price=90.0), -5),
    ("The other side.", report(2, -10.0, entry_price=90.0), -20),
    ("Flat.", report(2, 0.0, entry_price=0.0), -10),
    ("No price.", report(2, 20.0), 10),
    ("No simple ratio.", report(2, 10.11, entry_price=89.02), 0.11),
    ("As we have it.", report(2, 10.0, entry_price=90.0), 0),
]


@pytest.mark.parametrize(("sentence", "said", "difference"), NO_SPLITS, ids=[c[0] for c in NO_SPLITS])
def test_any_other_difference_is_shown_and_changes_nothing(sentence: str, said: Position, difference: float) -> None:
    board = board_of(trade(0, 10, 90.0), said)
    series = newest(board)
    assert series[f"position_unreconciled_quantity{WHERE}"] == pytest.approx(difference), sentence
    assert (series[f"position_quantity{WHERE}"], changes(board)) == (10, {})


def test_a_report_of_what_was_never_traded_or_from_before_the_newest_fill_says_nothing() -> None:
    board = board_of(report(0, 7.0, multiplier=5.0, symbol="T", mark_price=3.0), trade(9, 1, 1.0), report(8, 2.0))
    assert not any(name.startswith("position_unreconciled") for name in newest(board))
    assert list(board.trading.books) == [("b", "a", "e", "S")]
    assert board.marks.multiplier("b", "a", "e", "T") == 5


def test_a_sale_of_more_than_is_held_flips_the_position() -> None:
    board = board_of(trade(0, 1, 10.0), trade(60, -3, 12.0, fee=0.3), trade(90, 2, 11.0))
    ledger = board.trading.ledgers["b", "a", "USD"]
    assert (ledger.realized, ledger.fifo, ledger.closed) == (D("3.7"), D("3.7"), 2)
    assert (ledger.trips.held_us, ledger.profit) == (90_000_000, D("3.7"))
    assert newest(board)[f"position_quantity{WHERE}"] == 0


def test_a_fill_before_its_order_counts_as_after_it() -> None:
    order = Order(at=T0, source="b", order_id="o", symbol="S", side="buy", status="submitted", account="a")
    fill = trade(1, 1, 10.0, order_id="o")
    one, other = board_of(order, fill), board_of(fill, order)
    assert one.trading.books == other.trading.books
    assert one.trading.ledgers == other.trading.ledgers


PRICES = [
    ("What expires worthless.", 5.0, 0.0, -5),
    ("From nothing.", 0.0, 2.0, 2),
    ("Below zero.", -3.0, -37.5, -34.5),
]


@pytest.mark.parametrize(("sentence", "bought", "sold", "earned"), PRICES, ids=[c[0] for c in PRICES])
def test_prices_of_zero_and_below_are_prices(sentence: str, bought: float, sold: float, earned: float) -> None:
    board = board_of(trade(0, 2, bought), MarketData(at=T0 + 1, exchange="e", symbol="S", price=sold))
    assert newest(board)[f"pnl_unrealized{MONEY}"] == 2 * earned, sentence
    board.fold(trade(2, -2, sold, expected_price=0.0), Now(T0 + 2_000, 0.0))
    assert newest(board)[f"pnl_realized{MONEY}"] == newest(board)[f"pnl_realized_fifo{MONEY}"] == 2 * earned


def test_two_bots_on_one_account_have_their_own_books_and_the_account_is_their_sum() -> None:
    board = board_of(
        trade(0, 2, 10.0),
        trade(1, -1, 13.0, source="c"),
        trade(2, -2, 12.0),
        trade(3, 1, 12.0, source="c"),
        trade(4, 5, 12.0, source="c"),
    )
    books = board.trading.books
    assert {key[0]: book.quantity for key, book in books.items()} == {"b": 0, "c": 5}
    assert {key[0]: ledger.realized for key, ledger in board.trading.ledgers.items()} == {"b": 4, "c": 1}
    held = sum(value for name, value in newest(board).items() if name.startswith("position_quantity{account=a,"))
    made = sum(value for name, value in newest(board).items() if name.startswith("pnl_realized{account=a,"))
    assert (held, made) == (5, 5)


def test_lots_are_bounded_and_merging_them_is_said() -> None:
    number = lots.MOST_LOTS + 10
    board = board_of(*(trade(n, 1, float(n)) for n in range(number)), size=50)
    book = board.trading.books["b", "a", "e", "S"]
    assert (len(book.lots), book.merged) == (lots.MOST_LOTS, 10)
    assert newest(board)[f"position_lots_merged_total{WHERE}"] == 10
    assert sum(quantity * price for quantity, price in book.lots) == book.cost == sum(range(number))
    assert book.lots[0] == (D(11), D(5)), "0 to 10, at their average"


def test_under_load_what_nobody_waits_for_is_written_once_a_second() -> None:
    board = Board(SeriesStore())
    many = [trade(n / 1000, 1, 10.0, symbol=f"S{n}") for n in range(300)]
    board.fold_many(many, Now(T0 + 1_000, 0.0))
    first = newest(board)
    more = [trade(1 + n / 1000, -1, 11.0, symbol=f"S{n}") for n in range(300)]
    board.fold_many(more, Now(T0 + 1_000.5, 0.0))
    assert newest(board)[f"pnl_realized{MONEY}"] == 300, "at once"
    assert newest(board)[f"pnl_realized_fifo{MONEY}"] == first[f"pnl_realized_fifo{MONEY}"] == 0
    board.fold_many((), Now(T0 + 1_001, 0.0))
    assert newest(board)[f"pnl_realized_fifo{MONEY}"] == 300


def test_partial_closes_are_multiplied_too() -> None:
    start = report(0, 0.0, multiplier=10.0)
    board = board_of(trade(0, 1, 1.0), start, trade(1, 1, 3.0), trade(2, -1, 4.0), report(3, 1.0, multiplier=10.0))
    ledger = board.trading.ledgers["b", "a", "USD"]
    assert (ledger.realized, ledger.fifo, changes(board)) == (D(20), D(30), {})


def test_a_second_split_and_one_when_the_tail_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "SEGMENT", 2)
    splits = [report(2, 4.0, entry_price=6.0), report(3, 2.0, entry_price=12.0), report(4, 20.0, entry_price=1.2)]
    board = board_of(trade(0, 1, 10.0), trade(1, 1, 14.0), *splits, size=1)
    book = board.trading.books["b", "a", "e", "S"]
    assert (book.quantity, book.cost, book.lots) == (D(20), D(24), [(D(10), D(1)), (D(10), D("1.4"))])
    assert changes(board) == {"split": 3}


def test_late_fills_may_fill_the_tail_before_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "SEGMENT", 4)
    fills = [trade(at, 1 if at % 2 else -2, 10.0 + at) for at in (0, 3, 1, 4, 2, 5, 7, 6, 8)]
    board, right = board_of(*fills), board_of(*sorted(fills, key=lambda fill: fill.at))
    assert board.trading.books == right.trading.books
    assert board.trading.ledgers["b", "a", "USD"].realized == right.trading.ledgers["b", "a", "USD"].realized


def test_without_room_for_a_mark_all_else_goes_on() -> None:
    tally = Tally(SeriesStore())
    fills = Fills(tally, Marks(0))
    for number, fill in enumerate((trade(0, 1, 10.0), trade(1, -1, 12.0), trade(2, 1, 5.0))):
        fills.fold(fill, number)
    tally.settle()
    assert list(fills.revaluing(0)) == []
    assert fills.ledgers["b", "a", "USD"].realized == 2


def test_a_book_is_valued_in_the_currency_of_its_newest_fill() -> None:
    more: dict[str, Any] = {"strategy": "x", "realized_pnl": 0.5, "execution_seconds": 0.1, "expected_price": 9.0}
    board = board_of(trade(0, 1, 10.0, **more), trade(1, 1, 12.0, **more | {"currency": "EUR"}), size=1)
    series = newest(board)
    assert series["pnl_unrealized{account=a,currency=EUR,source=b}"] == 2
    assert series[f"pnl_unrealized{MONEY}"] == 0
    assert f"pnl_unrealized_symbol{SYMBOL}" not in series
    assert series["strategy_pnl_unrealized{account=a,currency=EUR,source=b,strategy=x}"] == 2
    assert series[f"pnl_realized_reported{MONEY}"] == 0.5


def test_a_flood_of_sources_leaves_nothing_behind_where_the_board_is_full() -> None:
    board = Board(SeriesStore(max_series=40))
    for number in range(100):
        for source in (f"s{number}", "s0"):
            fill = trade(number, 1, 1.0, source=source, strategy="x", account=source)
            board.fold_many([fill, msgspec.structs.replace(fill, side="sell")], Now(T0 + 1_000 + number, 0.0))
    holdings = board._fills.holdings
    for kept in (holdings.lines, holdings.positions, holdings.accounts, holdings.symbols, holdings.tails):
        assert len(kept) <= 80
    assert len(holdings.books) + len(holdings.strategy_books) == len(holdings.positions)
    assert holdings.ledgers["s0", "s0", "USD"].fills == 202
    again = Board.load(board.dump(), SeriesStore(max_series=40))
    assert again.trading.ledgers == board.trading.ledgers


def test_what_older_versions_kept_is_read() -> None:
    """Books had three fields and ledgers twelve: what was held becomes one lot at its average."""
    key, flat, money = ("b", "a", "e", "S"), ("b", "a", "e", "T"), ("b", "a", "USD")
    ledger = [D(-7), D(3), True, 4, D(5), D(12), 1, 1, 0, D(5), D(9), None]
    books = [(key, [D(3), D(36), D(-1)]), (flat, [D(0), D(0), D(0)]), (("b", "other", None, "S"), [D(1), D(2), D(0)])]
    older = [books, [(money, ledger)], [(("b", "a", "S", "USD"), D(-7))]]
    tally = Tally(SeriesStore())
    fills = Fills(tally, Marks(10))
    fills.load(msgspec.msgpack.encode(older))
    book, kept = fills.books[key], fills.ledgers[money]
    assert (book.lots, book.lots_cost, book.currency) == ([(D(3), D(12))], D(36), "USD")
    assert [kept.fifo, kept.drawdown, kept.trips.number] == [-7, 12, 0]
    fills.fold_position(report(0, 3.0, entry_price=12.0, multiplier=1.0), 0)
    fills.fold(trade(1, -1, 10.0), 1)
    assert [kept.realized, kept.fifo, kept.drawdown_max, book.quantity] == [-9, -9, 14, 2]
    again = Fills(tally, Marks(10))
    again.load(fills.dump())
    assert again.dump() == fills.dump()
    with pytest.raises(SnapshotError):
        fills.load(b"\xc1")


class Naive:
    """Both methods over exact fractions: a list of lots, and a quantity with its cost."""

    def __init__(self) -> None:
        self.lots: list[list[Fraction]] = []
        self.fifo = self.average = Fraction(0)
        self.held = self.cost = Fraction(0)

    def fill(self, quantity: Fraction, price: Fraction, fee: Fraction) -> None:
        self.fifo -= fee
        self.average -= fee
        closing = min(abs(quantity), abs(self.held)) if self.held * quantity < 0 else Fraction(0)
        sign = 1 if self.held > 0 else -1
        if closing:
            part = self.cost * closing / abs(self.held)
            self.average += sign * closing * price - part
            self.cost -= part
        rest = closing
        while rest:
            taken = min(rest, abs(self.lots[0][0]))
            self.fifo += sign * taken * (price - self.lots[0][1])
            self.lots[0][0] -= sign * taken
            rest -= taken
            if not self.lots[0][0]:
                del self.lots[0]
        self.held += quantity
        opened = quantity + sign * closing
        if opened:
            self.lots.append([opened, price])
            self.cost += opened * price


FILLS = st.lists(
    st.builds(
        trade,
        at=st.integers(0, 30).map(float),
        quantity=st.integers(-40, 40).filter(bool).map(lambda n: n / 10),
        price=st.integers(-200, 900).map(lambda n: n / 100),
        fee=st.none() | st.integers(-5, 9).map(lambda n: n / 100),
        strategy=st.sampled_from([None, "x", "y"]),
    ),
    max_size=40,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILLS)
def test_any_fills_in_any_order_come_to_what_exact_fractions_say(fills: list[Trade]) -> None:
    board = board_of(*fills, size=7)
    for strategy in (None, "x", "y"):
        naive = Naive()
        those = [fill for fill in fills if strategy in (None, fill.strategy)]
        for fill in sorted(those, key=lambda fill: fill.at):
            quantity = Fraction(D(repr(fill.quantity))) * (1 if fill.side == "buy" else -1)
            naive.fill(quantity, Fraction(D(repr(fill.price))), Fraction(D(repr(fill.fee or 0.0))))
        if not those:
            continue
        rooms = board._fills
        key = ("b", "a", "e", "S")
        book = rooms.books[key] if strategy is None else rooms.strategy_books[(*key, strategy)]
        money = ("b", "a", "USD")
        ledger = rooms.ledgers[money] if strategy is None else rooms.strategy_ledgers[(*money, strategy)]
        assert Fraction(book.quantity) == naive.held
        assert [(Fraction(q), Fraction(p)) for q, p in book.lots] == [(q, p) for q, p in naive.lots]
        for ours, exact in (
            (ledger.realized, naive.average),
            (ledger.fifo, naive.fifo),
            (book.cost, naive.cost),
            (book.lots_cost, sum((q * p for q, p in naive.lots), Fraction(0))),
        ):
            assert abs(Fraction(ours) - exact) < Fraction(1, 10**20)
        assert abs(Fraction(ledger.profit - ledger.loss + book.trip) - naive.average) < Fraction(1, 10**20)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILLS, st.integers(1, 9), st.data())
def test_batches_and_reloads_change_not_a_digit(fills: list[Trade], size: int, data: st.DataObject) -> None:
    facts: list[Trade] = []
    for number, fill in enumerate(fills):
        corrects = data.draw(st.none() | st.integers(0, number).map(str))
        if corrects == str(number):
            corrects = None
        cancelled = data.draw(st.none() | st.just(True)) if corrects is not None else None
        facts.append(msgspec.structs.replace(fill, id=f"{number}", corrects=corrects, cancelled=cancelled))
    whole = board_of(*facts)
    pieces = Board(SeriesStore())
    for first in range(0, len(facts), size):
        pieces.fold_many(facts[first : first + size], Now(T0 + 1_000, 0.0))
        pieces = Board.load(pieces.dump(), pieces.series, pieces.ids)
    assert pieces.trading.books == whole.trading.books
    assert pieces.trading.ledgers == whole.trading.ledgers
    assert pieces._fills.strategy_books == whole._fills.strategy_books
    assert pieces._fills.strategy_ledgers == whole._fills.strategy_ledgers
    assert changes(pieces) == changes(whole)
