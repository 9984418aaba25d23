"""Marks: which price counts, for how long a better source is waited for, and what there is no room for."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Fact, MarketData, Now, Position, Trade
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.trading.marks import Marks

T0 = 1_700_000_000.0


def tick(at: float, **more: Any) -> MarketData:
    return MarketData(at=T0 + at, exchange="e", symbol="S", **more)


def report(at: float, mark: float | None, **more: Any) -> Position:
    given: dict[str, Any] = {"exchange": "e", "symbol": "S"} | more
    return Position(at=T0 + at, source="b", quantity=1.0, mark_price=mark, **given)


def fill(at: float, price: float, exchange: str | None = "e") -> Trade:
    return Trade(at=T0 + at, source="b", exchange=exchange, symbol="S", side="buy", quantity=1.0, price=price)


def marked(*facts: Fact) -> Marks:
    board = Board(SeriesStore())
    for fact in facts:
        board.fold(fact, Now(T0 + 1_000, 0.0))
    return Board.load(board.dump(), board.series).marks


CASES: list[tuple[str, list[Fact], float | None]] = [
    ("Nothing is known.", [], None),
    ("The last fill, where there is nothing better.", [fill(0, 5.0), fill(1, 6.0)], 6.0),
    ("A fill that comes late is no newer price.", [fill(1, 6.0), fill(0, 5.0)], 6.0),
    ("A bot's mark before a fill.", [report(0, 7.0), fill(1, 6.0)], 7.0),
    ("The market's price before a bot's mark.", [tick(0, price=8.0), report(1, 7.0), fill(2, 6.0)], 8.0),
    ("The middle, where no price is told.", [tick(0, bid=9.0, ask=11.0)], 10.0),
    ("A bid alone is no price.", [fill(0, 6.0), tick(1, bid=9.0)], 6.0),
    ("A fill, where the market's price is a minute old.", [tick(0, price=8.0), fill(61, 6.0)], 6.0),
    ("The market's price again, as soon as it comes.", [tick(0, price=8.0), fill(61, 6.0), tick(62, price=9.0)], 9.0),
    ("The market's, if it is hardly older than the fill.", [fill(30, 6.0), tick(0, price=8.0)], 8.0),
    ("Not the market's, if it is much older.", [fill(90, 6.0), tick(0, price=8.0)], 6.0),
    ("A report without a mark says nothing.", [fill(0, 6.0), report(1, None)], 6.0),
]


@pytest.mark.parametrize(("sentence", "facts", "price"), CASES, ids=[c[0] for c in CASES])
def test_the_best_price_counts(sentence: str, facts: list[Fact], price: float | None) -> None:
    assert marked(*facts).price("e", "S") == price, sentence


def test_where_no_exchange_is_named_the_best_of_all_counts() -> None:
    marks = marked(fill(0, 6.0, None), tick(1, price=8.0), fill(2, 7.0, "other"))
    assert (marks.price(None, "S"), marks.price("other", "S"), marks.price(None, "T")) == (8.0, 7.0, None)


def test_whoever_names_no_exchange_is_valued_at_the_market_all_the_same() -> None:
    board = Board(SeriesStore())
    board.fold(fill(0, 6.0, None), Now(T0 + 1, 0.0))
    board.fold(tick(1, price=8.0), Now(T0 + 3, 0.0))
    sid = board.series.find((("__name__", "pnl_unrealized"), ("source", "b")))
    assert board.series.last_v[sid] == 2.0


def test_beyond_the_room_there_is_no_mark_and_those_that_are_known_go_on() -> None:
    marks = Marks(2)
    for symbol in ("A", "B", "C"):
        marks.fold_position(report(0, 5.0, symbol=symbol, multiplier=10.0), 0)
        marks.fold_market_data(MarketData(at=T0, exchange="f", symbol=symbol, price=1.0), 0)
    marks.fold_position(report(1, 6.0, symbol="A", multiplier=20.0), 0)
    assert (marks.price("e", "A"), marks.price("e", "C"), marks.price(None, "C")) == (6.0, None, None)
    assert marks.multiplier("b", None, "e", "A") == 20.0
    assert marks.multiplier("b", None, "e", "C") == 1.0
    again = Marks(1)
    again.load(marks.dump())
    assert [again.price(exchange, "A") for exchange in ("e", "f")] == [6.0, None]
