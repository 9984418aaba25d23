"""Average-cost netting: one sentence per case, and what must hold for any sequence of fills."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.trading.decimals import exact
from trader_monitor.core.trading.positions.book import Book
from trader_monitor.core.trading.positions.ledger import Ledger

CASES = [
    ("A long is closed at a profit.", [(1, 100, 0), (-1, 110, 0)], 0, 10, [10]),
    ("A short is closed at a profit.", [(-1, 100, 0), (1, 90, 0)], 0, 10, [10]),
    ("A short is closed at a loss.", [(-1, 100, 0), (1, 110, 0)], 0, -10, [-10]),
    ("Adding averages the cost.", [(1, 100, 0), (1, 200, 0), (-2, 160, 0)], 0, 20, [20]),
    ("A partial close realises its part and leaves the average.", [(2, 100, 0), (-1, 130, 0)], 1, 30, []),
    (
        "Partial closes are one round trip.",
        [(2, 100, 0), (-1, 130, 0), (-1, 80, 0)],
        0,
        10,
        [10],
    ),
    ("Fees of both sides count.", [(1, 100, 1), (-1, 110, 2)], 0, 10, [7]),
    ("A rebate is a negative fee.", [(1, 100, -1), (-1, 100, 0)], 0, 0, [1]),
    ("A flip ends one round trip and begins another.", [(1, 100, 0), (-3, 110, 0)], -2, 10, [10]),
    (
        "A flipping fill's fee is shared by quantity.",
        [(1, 100, 0), (-3, 110, 3), (2, 110, 0)],
        0,
        10,
        [9, -2],
    ),
    ("A flat result is neither.", [(1, 100, 0), (-1, 100, 0)], 0, 0, [0]),
    ("Tenths add up to flat.", [("0.1", 7, 0), ("0.2", 7, 0), ("-0.3", 7, 0)], 0, 0, [0]),
    ("Negative prices exist (oil in April 2020).", [(1, -37, 0), (-1, -30, 0)], 0, 7, [7]),
]


@pytest.mark.parametrize(("sentence", "fills", "quantity", "gross", "closed"), CASES, ids=[c[0] for c in CASES])
def test_netting(sentence: str, fills: list[Any], quantity: Any, gross: int, closed: list[int]) -> None:
    book = Book()
    done = [book.fill(D(q), D(p), D(f)) for q, p, f in fills]
    assert book.quantity == D(quantity), sentence
    assert sum(fill[0] for fill in done) == gross, sentence
    assert [result for _, _, result, _ in done if result is not None] == closed, sentence


numbers = st.decimals(min_value="0.01", max_value="10000", places=2)
fills = st.lists(
    st.tuples(numbers, st.booleans(), numbers, st.decimals(min_value="-5", max_value="5", places=2)),
    min_size=1,
    max_size=40,
)


@given(fills)
def test_money_is_conserved_by_any_sequence_of_fills(fills: list[tuple[D, bool, D, D]]) -> None:
    book, ledger = Book(), Ledger()
    cash = paid = results = D(0)
    for size, buy, price, fee in fills:
        quantity = size if buy else -size
        cash -= quantity * price
        paid += fee
        gross, fifo, closed, _ = book.fill(quantity, price, fee)
        ledger.realize(gross - fee, fifo - fee, fee)
        if closed is not None:
            ledger.close(closed)
            results += closed
    assert book.quantity == sum(size if buy else -size for size, buy, _, _ in fills)
    assert abs(ledger.realized - (cash + book.cost - paid)) < D("1e-9")
    assert abs(ledger.realized - (results + book.trip)) < D("1e-9")
    assert abs(ledger.profit - ledger.loss - results) < D("1e-9")
    assert ledger.peak >= ledger.realized
    assert ledger.drawdown_max >= ledger.drawdown >= 0
    if not book.quantity:
        assert not book.cost
        assert not book.trip
    else:
        assert book.entry_price is not None
        assert min(p for _, _, p, _ in fills) <= round(book.entry_price, 9) <= max(p for _, _, p, _ in fills)


@given(fills)
def test_the_open_side_decides_the_sign_of_the_cost(fills: list[tuple[D, bool, D, D]]) -> None:
    book = Book()
    for size, buy, price, fee in fills:
        book.fill(size if buy else -size, price, fee)
        assert (book.cost > 0) == (book.quantity > 0)


def test_a_number_is_the_decimal_that_was_written() -> None:
    assert exact(0.1) + exact(0.2) - exact(0.3) == 0
    assert str(exact(1e-8) * 3) == "3E-8"


def test_ratios_are_null_until_there_is_something_to_divide() -> None:
    ledger = Ledger()
    assert (ledger.win_ratio, ledger.profit_factor) == (None, None)
    ledger.close(D(5))
    assert (ledger.win_ratio, ledger.profit_factor) == (1.0, None), "no loss yet: no factor"
    ledger.close(D(-2))
    ledger.close(D(0))
    assert (ledger.win_ratio, ledger.profit_factor, ledger.closed) == (1 / 3, 2.5, 3)
