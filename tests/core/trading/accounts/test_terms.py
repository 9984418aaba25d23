"""Terms: whose limit is whose."""

from __future__ import annotations

import pytest

from trader_monitor.core.trading.accounts.terms import LIMITS, Limits, Terms

TERMS = Terms(
    limits=(
        Limits(source="hedge", max_leverage=3.0),
        Limits(account="main", currency="USD", max_leverage=2.0, max_drawdown=0.1),
        Limits(max_leverage=1.0, max_daily_loss=0.02),
    )
)


@pytest.mark.parametrize(
    ("sentence", "name", "whose", "value"),
    [
        ("The first that concerns the account and sets the limit counts.", "max_leverage", ("hedge", "main", "USD"), 3),
        ("What the first does not set, the next may.", "max_drawdown", ("hedge", "main", "USD"), 0.1),
        ("A limit of another currency's account is not meant.", "max_leverage", ("bot", "main", "EUR"), 1),
        ("An account without a name is only meant by what is for all.", "max_leverage", ("bot", None, "USD"), 1),
        ("What nobody sets is no limit.", "max_var", ("hedge", "main", "USD"), None),
    ],
)
def test_a_limit(sentence: str, name: str, whose: tuple[str, str | None, str | None], value: float | None) -> None:
    assert TERMS.limit(name, *whose) == value, sentence


def test_without_limits_everything_is_allowed() -> None:
    assert {Terms().limit(name, "bot", None, None) for name in LIMITS} == {None}
    assert len(LIMITS) == 9
