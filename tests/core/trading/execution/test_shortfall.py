"""Implementation shortfall and market impact, by hand and in exact decimals."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.trading.execution.orders import CANCELLED, FILLED, REJECTED, Ticket
from trader_monitor.core.trading.execution.shortfall import BENCHMARKS, UNMEASURED, Unmeasured, impact_of, shortfall_of


def ticket(**more: Any) -> Ticket:
    given: dict[str, Any] = {"exchange": "e", "symbol": "S", "sign": 1.0, "end": FILLED}
    return Ticket(**given | more)


# Decision at 10.00 for 1,000 shares, 800 of them bought at 10.10 on average for 8 of fees, the close at 10.50: the
# paper portfolio has made 500, the real one 800 x 0.40 - 8 = 312; the difference of 188 is 1.88 % of 10,000.
PEROLD = ticket(mid=10.0, quantity=1_000.0, filled=800.0, paid=8_080.0, fees=8.0, end=CANCELLED, end_mid=10.5)


@pytest.mark.parametrize(
    ("sentence", "given", "expected"),
    [
        ("paper less real portfolio", PEROLD, ("market", 188 / 10_000)),
        ("a buy above its decision is a cost", ticket(mid=10.0, filled=2.0, paid=20.2), ("market", 0.01)),
        ("a sale above its decision is a gain", ticket(mid=10.0, filled=2.0, paid=20.2, sign=-1.0), ("market", -0.01)),
        ("fees are a cost of either", ticket(mid=10.0, filled=2.0, paid=20.0, fees=0.2, sign=-1.0), ("market", 0.01)),
        ("what the bot expected comes first", ticket(expected=10.1, mid=9.0, filled=2.0, paid=20.2), ("expected", 0.0)),
        ("the order's own price comes last", ticket(limit=10.0, filled=2.0, paid=19.8), ("order", -0.01)),
        (
            "a rejected order costs what the market ran away",
            ticket(mid=10.0, quantity=5.0, end=REJECTED, end_mid=10.2),
            ("market", 0.02),
        ),
        (
            "a cancelled sale in a rising market was a stroke of luck",
            ticket(mid=10.0, quantity=5.0, end=CANCELLED, end_mid=10.2, sign=-1.0),
            ("market", -0.02),
        ),
        (
            "more filled than ordered is measured on what was filled",
            ticket(mid=10.0, quantity=1.0, filled=2.0, paid=20.2),
            ("market", 0.01),
        ),
        (
            "a negative price is measured by its size",
            ticket(mid=-10.0, filled=1.0, paid=-9.9),
            ("market", 0.01),
        ),
    ],
)
def test_shortfall(sentence: str, given: Ticket, expected: tuple[str, float]) -> None:
    found = shortfall_of(given)
    assert not isinstance(found, Unmeasured), sentence
    benchmark, ratio = found
    assert BENCHMARKS[benchmark] == expected[0], sentence
    assert ratio == pytest.approx(expected[1], abs=1e-12), sentence


def test_a_fee_is_a_share_of_what_the_multiplier_makes_of_the_price() -> None:
    """One contract of 50 units a point, bought at 100.2 instead of 100 for 5: 10 + 5 of 5,000."""
    found = shortfall_of(ticket(mid=100.0, filled=1.0, paid=100.2, fees=5.0), 50.0)
    assert not isinstance(found, Unmeasured)
    assert found[1] == pytest.approx(15 / 5_000)
    assert isinstance(shortfall_of(ticket(mid=100.0, filled=1.0, paid=100.2), 0.0), Unmeasured)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (ticket(filled=1.0, paid=10.0), "no price is known at the decision"),
        (ticket(mid=0.0, expected=0.0, limit=0.0, filled=1.0), "no price is known at the decision"),
        (ticket(mid=10.0), "not all fills or no quantity were reported"),
        (ticket(mid=10.0, quantity=3.0, filled=1.0, paid=10.0), "not all fills or no quantity were reported"),
        (
            ticket(mid=10.0, quantity=3.0, filled=1.0, reported=2.0, end=CANCELLED, end_mid=1.0),
            "not all fills or no quantity were reported",
        ),
        (
            ticket(mid=10.0, quantity=3.0, filled=1.0, paid=10.0, end=CANCELLED),
            "the market's price at the end of an unfilled part is not known",
        ),
    ],
)
def test_what_cannot_be_measured_says_why(given: Ticket, reason: str) -> None:
    found = shortfall_of(given)
    assert isinstance(found, Unmeasured)
    assert UNMEASURED[found.reason] == reason


@given(
    st.sampled_from([1, -1]),
    st.lists(st.tuples(st.integers(1, 50), st.integers(900, 1_100)), max_size=5),
    st.integers(0, 50),
    st.integers(900, 1_100),
    st.integers(900, 1_100),
    st.integers(0, 40),
)
def test_it_is_the_paper_portfolio_less_the_real_one(
    sign: int, fills: list[tuple[int, int]], unfilled: int, decision: int, close: int, fees: int
) -> None:
    filled = sum(quantity for quantity, _ in fills)
    quantity = filled + unfilled
    if not quantity:
        return
    paper = D(sign * quantity * (close - decision))
    real = D(sum(sign * q * (close - price) for q, price in fills) - fees)
    found = shortfall_of(
        ticket(
            sign=float(sign),
            mid=float(decision),
            quantity=float(quantity),
            filled=float(filled),
            paid=float(sum(q * price for q, price in fills)),
            fees=float(fees),
            end=CANCELLED if unfilled else FILLED,
            end_mid=float(close),
        )
    )
    assert not isinstance(found, Unmeasured)
    assert found[1] == pytest.approx(float((paper - real) / (quantity * decision)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("sentence", "given", "after", "expected"),
    [
        ("the market rose after a buy", ticket(mid=100.0), 100.1, 0.001),
        ("it rose after a sale", ticket(mid=100.0, sign=-1.0), 100.1, -0.001),
        ("it did not move", ticket(mid=100.0), 100.0, 0.0),
        ("no price before", ticket(limit=100.0), 100.0, None),
        ("no price after", ticket(mid=100.0), None, None),
    ],
)
def test_impact(sentence: str, given: Ticket, after: float | None, expected: float | None) -> None:
    found = impact_of(given, after)
    if expected is None:
        assert isinstance(found, Unmeasured), sentence
        assert "no market price" in UNMEASURED[found.reason]
    else:
        assert found == pytest.approx(expected, abs=1e-12), sentence
