"""Reported equity: growth and drawdown from the peak with the flows removed."""

from __future__ import annotations

import math
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.trading.accounts.drawdown import DRAWDOWNS, drawdowns
from trader_monitor.core.trading.accounts.equity import Equity, EquityBefore

CASES = [
    ("Falling from the first report is a drawdown.", [(100, None), (75, None)], 0.25, 0.25, -25, 0.75),
    ("The worst stays after a recovery.", [(100, None), (75, None), (120, None)], 0.0, 0.25, 20, 1.2),
    ("A withdrawal is not a loss.", [(100, None), (60, -40)], 0.0, 0.0, 0, 1.0),
    ("A deposit is not a gain.", [(100, None), (200, 100), (150, None)], 0.25, 0.25, -50, 0.75),
    ("A loss and a deposit at once: the loss is seen.", [(100, None), (150, 100)], 0.5, 0.5, -50, 0.5),
    ("A deposit does not hide how deep the account is.", [(100, None), (50, None), (100, 50)], 0.5, 0.5, -50, 0.5),
    ("Owing money is more than everything lost.", [(100, None), (-20, None)], 1.2, 1.2, -120, -0.2),
    ("After ruin a deposit begins anew.", [(100, None), (0, None), (100, 100), (90, None)], 0.1, 1.0, -110, 0.9),
    ("A deposit that leaves it ruined begins nothing.", [(100, None), (-50, None), (-20, 30)], 1.5, 1.5, -150, -0.5),
    ("Ruin that goes by itself was none: the index goes on.", [(100, None), (0, None), (110, None)], 0.0, 1.0, 10, 1.1),
    ("Without a positive peak there is nothing to fall from.", [(0, None), (-5, None)], None, None, -5, 1.0),
    ("An account that is filled later begins then.", [(0, None), (100, 100), (80, None)], 0.2, 0.2, -20, 0.8),
    ("The first report's flow is part of the starting balance.", [(100, 100), (90, None)], 0.1, 0.1, -10, 0.9),
    ("Gains are compounded over flows.", [(100, None), (160, 40), (320, None)], 0.0, 0.0, 180, 2.4),
    (
        "After all was withdrawn the record waits, and goes on with the next deposit.",
        [(100, None), (80, None), (0, -80), (0, None), (50, 50), (40, None)],
        0.36,
        0.36,
        -30,
        0.64,
    ),
    ("What comes unnamed into an empty account is a deposit.", [(100, None), (0, -100), (50, None)], 0.0, 0.0, 50, 1.0),
]


@pytest.mark.parametrize(
    ("sentence", "reports", "drawdown", "worst", "result", "growth"), CASES, ids=[c[0] for c in CASES]
)
def test_growth_and_drawdown(
    sentence: str, reports: list[Any], drawdown: float | None, worst: float | None, result: float, growth: float
) -> None:
    curve = Equity()
    for at, (equity, flow) in enumerate(reports):
        assert curve.report(float(at), float(equity), flow)
    near = pytest.approx(drawdown, abs=1e-12) if drawdown is not None else None
    assert curve.drawdown == near, sentence
    assert curve.drawdown_max == (pytest.approx(worst, abs=1e-12) if worst is not None else None), sentence
    assert curve.result == result, sentence
    assert curve.growth == pytest.approx(growth, abs=1e-12), sentence


def test_a_late_report_is_no_new_peak() -> None:
    curve = Equity()
    curve.report(10.0, 100.0, None)
    assert not curve.report(5.0, 1000.0, None)
    assert curve.peak == 1.0
    assert curve.newest == 100
    assert curve.late_flows == 0


def test_a_late_flow_corrects_the_result_and_leaves_the_index() -> None:
    curve = Equity()
    curve.report(10.0, 100.0, None)
    curve.report(20.0, 200.0, None)
    assert not curve.report(15.0, 200.0, 100.0)
    assert curve.result == 0, "money is right in the end"
    assert (curve.growth, curve.late_flows) == (2.0, 1), "the index took it for gain by then, and says how often"


def test_before_the_first_report_there_is_no_result() -> None:
    assert Equity().result is None


FALLS: list[tuple[str, list[Any], dict[str, Any]]] = [
    (
        "At a peak nothing is under water.",
        [(10, 100, None), (20, 110, None)],
        {
            "account_drawdown_seconds": 0.0,
            "account_drawdown_peak_timestamp_seconds": 20.0,
            "account_drawdown_max_ratio": 0.0,
        },
    ),
    (
        "While it is under water the time counts, and there is no recovery.",
        [(10, 100, None), (20, 80, None), (30, 60, None), (40, 90, None)],
        {
            "account_drawdown_seconds": 30.0,
            "account_drawdown_peak_timestamp_seconds": 10.0,
            "account_drawdown_trough_timestamp_seconds": 30.0,
            "account_drawdown_max_ratio": 0.4,
            "account_drawdown_max_seconds": 30.0,
            "account_drawdown_max_peak_timestamp_seconds": 10.0,
            "account_drawdown_max_trough_timestamp_seconds": 30.0,
        },
    ),
    (
        "It ends where the peak is reached again.",
        [(10, 100, None), (20, 75, None), (35, 100, None), (50, 120, None), (60, 110, None)],
        {
            "account_drawdown_seconds": 10.0,
            "account_drawdown_peak_timestamp_seconds": 50.0,
            "account_drawdown_trough_timestamp_seconds": 60.0,
            "account_drawdown_max_ratio": 0.25,
            "account_drawdown_max_seconds": 25.0,
            "account_drawdown_max_peak_timestamp_seconds": 10.0,
            "account_drawdown_max_trough_timestamp_seconds": 20.0,
            "account_drawdown_recovery_seconds": 15.0,
        },
    ),
    (
        "A flow while under water neither ends nor deepens it, though the last digits round.",
        [(10, 0.3, None), (20, 0.1, None), (30, 0.2, 0.1), (40, 0.6, None), (50, 0.61, None)],
        {
            "account_drawdown_seconds": 0.0,
            "account_drawdown_peak_timestamp_seconds": 50.0,
            "account_drawdown_max_ratio": pytest.approx(2 / 3),
            "account_drawdown_max_seconds": 30.0,
            "account_drawdown_max_peak_timestamp_seconds": 10.0,
            "account_drawdown_max_trough_timestamp_seconds": 20.0,
            "account_drawdown_recovery_seconds": 20.0,
        },
    ),
    (
        "Ruin is not recovered from: the account began anew.",
        [(10, 100, None), (20, 0, None), (30, 50, 50)],
        {
            "account_drawdown_seconds": 0.0,
            "account_drawdown_peak_timestamp_seconds": 30.0,
            "account_drawdown_max_ratio": 1.0,
            "account_drawdown_max_seconds": 20.0,
            "account_drawdown_max_peak_timestamp_seconds": 10.0,
            "account_drawdown_max_trough_timestamp_seconds": 20.0,
        },
    ),
    ("Nothing is known of an account without money.", [(10, 0, None)], {}),
]


@pytest.mark.parametrize(("sentence", "reports", "known"), FALLS, ids=[f[0] for f in FALLS])
def test_how_long_a_fall_lasts(sentence: str, reports: list[Any], known: dict[str, Any]) -> None:
    curve = Equity()
    for at, equity, flow in reports:
        curve.report(float(at), float(equity), flow)
    readings = dict(zip(DRAWDOWNS, drawdowns(curve), strict=True))
    assert {name: value for name, (value, _) in readings.items() if value is not None} == known, sentence
    assert all(bool(reason) == (value is None) for value, reason in readings.values())


def test_why_there_is_no_recovery() -> None:
    def why(*reports: tuple[float, float, float | None]) -> str:
        curve = Equity()
        for report in reports:
            curve.report(*report)
        return drawdowns(curve)[-1].reason

    assert why((1.0, 100.0, None)) == "there has been no drawdown"
    assert why((1.0, 100.0, None), (2.0, 50.0, None)) == "it has not recovered"
    ruin = (1.0, 100.0, None), (2.0, 0.0, None), (3.0, 50.0, 50.0)
    assert why(*ruin) == "the account began anew after ruin"
    assert why((1.0, 0.0, None)) == "equity has not been above zero yet"


def test_a_smaller_fall_does_not_replace_the_deepest() -> None:
    curve = Equity()
    for at, equity in enumerate((100.0, 50.0, 100.0, 90.0, 100.0, 95.0)):
        curve.report(float(at), equity, None)
    assert curve.drawdown == pytest.approx(0.05)
    assert curve.drawdown_max == 0.5
    assert (curve.worst.peak_at, curve.worst.trough_at, curve.worst.recovery) == (0.0, 1.0, 1.0)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, st.none() | numbers), max_size=12))
def test_no_report_leads_to_a_number_that_is_none(reports: list[tuple[float, float | None]]) -> None:
    curve = Equity()
    for at, (equity, flow) in enumerate(reports):
        curve.report(float(at + 1), equity, flow)
        assert all(math.isfinite(number) for number in (curve.growth, curve.peak, curve.unit))
        assert curve.drawdown is None or (math.isfinite(curve.drawdown) and curve.drawdown >= 0)
        assert (curve.drawdown_max or 0) >= (curve.drawdown or 0)


BEFORE = [
    (
        "A curve below its peak goes on from there.",
        EquityBefore(9.0, D(100), D(90), D(20), 120.0, 0.25, 0.4),
        0.75,
        0.4,
    ),
    ("A ruined one stays ruined.", EquityBefore(9.0, D(100), D(-6), D(0), 120.0, 1.05, 1.05), -0.05, 1.05),
    ("One that never had money has no index.", EquityBefore(9.0, D(0), D(-5), D(0)), 1.0, None),
]


@pytest.mark.parametrize(("sentence", "kept", "growth", "worst"), BEFORE, ids=[b[0] for b in BEFORE])
def test_what_an_older_snapshot_kept(sentence: str, kept: EquityBefore, growth: float, worst: float | None) -> None:
    raw = msgspec.msgpack.encode(kept)
    curve = msgspec.msgpack.decode(raw, type=EquityBefore).now()
    assert curve.growth == pytest.approx(growth), sentence
    assert (curve.drawdown, curve.drawdown_max) == (kept.drawdown, worst), sentence
    assert curve.result == kept.newest - (kept.first or 0) - kept.flows
    before = drawdowns(curve)
    if worst is not None:
        assert {reading.reason for reading in before if reading.value is None} == {"it was before times were recorded"}
        curve.report(10.0, 130.0, None)
        assert curve.drawdown == 0.0, "a new peak is a new peak"
        assert curve.growth == pytest.approx(130 / 120)
        assert drawdowns(curve)[1].value == 10.0
