"""Reported equity: drawdown from the peak with the flows removed."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.trading.equity import Equity

CASES = [
    ("Falling from the first report is a drawdown.", [(100, None), (75, None)], 0.25, 0.25, -25),
    ("The worst stays after a recovery.", [(100, None), (75, None), (120, None)], 0.0, 0.25, 20),
    ("A withdrawal is not a loss.", [(100, None), (60, -40)], 0.0, 0.0, 0),
    ("A deposit is not a gain.", [(100, None), (200, 100), (150, None)], 0.25, 0.25, -50),
    ("A loss and a deposit at once: the loss is seen.", [(100, None), (150, 100)], 0.5, 0.5, -50),
    ("A deposit does not hide how deep the account is.", [(100, None), (50, None), (100, 50)], 0.5, 0.5, -50),
    ("Owing money is more than everything lost.", [(100, None), (-20, None)], 1.2, 1.2, -120),
    ("After ruin a deposit begins anew.", [(100, None), (0, None), (100, 100), (90, None)], 0.1, 1.0, -110),
    ("Without a positive peak there is nothing to fall from.", [(0, None), (-5, None)], None, None, -5),
]


@pytest.mark.parametrize(("sentence", "reports", "drawdown", "worst", "result"), CASES, ids=[c[0] for c in CASES])
def test_drawdown(
    sentence: str, reports: list[Any], drawdown: float | None, worst: float | None, result: float
) -> None:
    curve = Equity()
    for at, (equity, flow) in enumerate(reports):
        assert curve.report(float(at), float(equity), flow)
    near = pytest.approx(drawdown, abs=1e-12) if drawdown is not None else None
    assert curve.drawdown == near, sentence
    assert curve.drawdown_max == (pytest.approx(worst, abs=1e-12) if worst is not None else None), sentence
    assert curve.result == result, sentence


def test_a_late_report_is_no_new_peak() -> None:
    curve = Equity()
    curve.report(10.0, 100.0, None)
    assert not curve.report(5.0, 1000.0, None)
    assert curve.peak == 1.0
    assert curve.newest == 100


def test_before_the_first_report_there_is_no_result() -> None:
    assert Equity().result is None
