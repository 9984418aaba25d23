"""The growth index over time: windows, calendar periods, and the same figures however the reports come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trader_monitor.core.snapshot import SnapshotError
from trader_monitor.core.trading.accounts.curve import DAY, DAYS_KEPT, ROLLING, WINDOWS, Curve, CurveKept
from trader_monitor.core.trading.accounts.equity import Equity


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def curve_of(*reports: tuple[str, float, float | None]) -> Curve:
    curve = Curve()
    for when, equity, flow in reports:
        curve.report(at(when), equity, flow)
    return curve


# 2026-03-04 is a Wednesday.
FULL = (
    ("2026-02-20 12:00", 50.0, None),
    ("2026-02-28 23:59", 80.0, None),
    ("2026-03-01 12:00", 100.0, None),
    ("2026-03-02 00:00", 110.0, None),
    ("2026-03-03 12:00", 125.0, None),
    ("2026-03-03 23:00", 200.0, None),
    ("2026-03-04 11:00", 160.0, None),
    ("2026-03-04 12:00", 180.0, None),
)
CASES: list[tuple[str, Any, dict[str, float]]] = [
    (
        "Each window has its own base.",
        FULL,
        {
            "1h": 180 / 160,
            "24h": 180 / 125,
            "day": 180 / 200,
            "week": 180 / 100,
            "month": 180 / 80,
            "total": 180 / 50,
        },
    ),
    (
        "A report at midnight belongs to the new day.",
        (("2026-03-03 12:00", 100.0, None), ("2026-03-04 00:00", 50.0, None), ("2026-03-04 01:00", 60.0, None)),
        {"1h": 1.2, "day": 0.6, "week": 0.6, "month": 0.6, "total": 0.6},
    ),
    (
        "An account younger than the period counts from its starting balance.",
        (("2026-03-04 12:00", 100.0, None), ("2026-03-04 12:30", 90.0, None)),
        {"day": 0.9, "week": 0.9, "month": 0.9, "total": 0.9},
    ),
    (
        "A deposit in the window is no return.",
        (("2026-03-04 11:00", 100.0, None), ("2026-03-04 11:30", 310.0, 200.0), ("2026-03-04 12:00", 341.0, None)),
        {"1h": 1.21, "day": 1.21, "week": 1.21, "month": 1.21, "total": 1.21},
    ),
    (
        "A window that begins at nothing has no return.",
        (("2026-03-03 23:00", 100.0, None), ("2026-03-03 23:30", -5.0, None), ("2026-03-04 00:30", 80.0, None)),
        {"week": 0.8, "month": 0.8, "total": 0.8},
    ),
    (
        "A loss of more than everything is one.",
        (("2026-03-04 11:00", 100.0, None), ("2026-03-04 12:00", -20.0, None)),
        {"1h": -0.2, "day": -0.2, "week": -0.2, "month": -0.2, "total": -0.2},
    ),
    ("An account without money has no return.", (("2026-03-04 11:00", 0.0, None),), {}),
]


@pytest.mark.parametrize(("sentence", "reports", "known"), CASES, ids=[c[0] for c in CASES])
def test_returns(sentence: str, reports: Any, known: dict[str, float]) -> None:
    curve = curve_of(*reports)
    found = {name: value for name, value in zip(WINDOWS, curve.returns(), strict=True) if value is not None}
    assert found == {name: pytest.approx(growth - 1.0) for name, growth in known.items()}, sentence
    for window in set(WINDOWS) - set(found):
        assert curve.why(window)


@pytest.mark.parametrize(
    ("window", "reports", "reason"),
    [
        ("24h", CASES[2][1], "the curve reaches back 30 min, 24h are needed"),
        ("7d", CASES[1][1], "the curve reaches back 13 h, 7d are needed"),
        ("7d", FULL, "nothing was reported between 7d and 8.75 d ago"),
        ("1h", CASES[4][1], "equity was zero or below when the window began"),
        ("day", CASES[4][1], "equity was zero or below when the window began"),
        ("total", CASES[6][1], "equity has not been above zero yet"),
    ],
)
def test_why_there_is_no_return(window: str, reports: Any, reason: str) -> None:
    assert curve_of(*reports).why(window) == reason


class Point(NamedTuple):
    at: int
    growth: Fraction


def linked(reports: list[tuple[int, int, int | None]]) -> tuple[list[Point], bool]:
    """All that was reported in order of arrival, as points of the newest index; whether there is one.

    By subperiods between flows: each grows from what it began with to what it ended with before the next flow.
    """
    points: list[Point] = []
    newest, base, chained, begun = -1, Fraction(0), Fraction(1), False
    for number, (when, equity, flow) in enumerate(reports):
        if when < newest:
            continue
        newest = when
        moved = (flow or 0) if number else 0
        if not begun or (moved and base and chained * (equity - moved) / base <= 0 < equity):
            if equity > 0:
                points, base, chained, begun = [Point(when, Fraction(1))], Fraction(equity), Fraction(1), True
            continue
        growth = chained * (equity - moved) / base if base else chained
        points.append(Point(when, growth))
        if (moved or not base) and growth > 0:
            base, chained = Fraction(max(equity, 0)), growth
    return points, begun


def batch(points: list[Point]) -> dict[str, float | None]:
    """The returns over all windows from the whole list."""
    end = points[-1]
    bases: dict[str, Fraction | None] = {}
    for name, (length, cell) in ROLLING.items():
        held = [p for p in points if ceil(p.at / cell) <= ceil((end.at - length) / cell)]
        fresh = held and ceil(held[-1].at / cell) * cell >= end.at - 1.25 * length
        bases[name] = held[-1].growth if fresh else None
    midnight = datetime.fromtimestamp(end.at, UTC).replace(hour=0, minute=0, second=0)
    for name, since in (
        ("day", midnight),
        ("week", midnight - timedelta(days=midnight.weekday())),
        ("month", midnight.replace(day=1)),
    ):
        before = [p for p in points if p.at < since.timestamp()]
        bases[name] = before[-1].growth if before else points[0].growth
    bases["total"] = points[0].growth
    return {n: None if b is None or b <= 0 else float(end.growth / b) - 1.0 for n, b in bases.items()}


def falls(points: list[Point]) -> list[tuple[float, int, int, int | None]]:
    """Depth, peak, trough and end of every fall, in order."""
    found: list[tuple[float, int, int, int | None]] = []
    peak, deepest, trough = points[0], Fraction(0), 0
    for point in points:
        if point.growth >= peak.growth:
            if deepest:
                found.append((float(deepest), peak.at, trough, point.at))
            peak, deepest = point, Fraction(0)
        elif 1 - point.growth / peak.growth > deepest:
            deepest, trough = 1 - point.growth / peak.growth, point.at
    if deepest:
        found.append((float(deepest), peak.at, trough, None))
    return found


gaps = st.sampled_from([0, 1, 30, 60, 599, 900, 3_600, 3_601, 40_000, 86_400, 200_000, 700_000, -5, -4_000])
reported = st.tuples(gaps, st.integers(1, 300) | st.integers(-30, 30), st.none() | st.integers(-60, 120))


@example([(0, 1, None), (0, 0, -1), (1, 2, None), (0, 1, None)], 0, 1_700_000_000)  # at its peak while all is withdrawn
@given(st.lists(reported, min_size=1, max_size=40), st.integers(0, 40), st.integers(1_700_000_000, 1_710_000_000))
def test_report_by_report_is_the_same_as_all_at_once(
    changes: list[tuple[int, int, int | None]], cut: int, start: int
) -> None:
    reports, when = [], start
    for gap, equity, flow in changes:
        when += gap
        reports.append((when, equity, flow))
    curve = Curve()
    for number, (when, equity, flow) in enumerate(reports):
        if number == cut:
            curve = Curve.load(msgspec.msgpack.decode(msgspec.msgpack.encode(curve.dump()), type=CurveKept))
        curve.report(float(when), float(equity), None if flow is None else float(flow))
    points, begun = linked(reports)
    assert (curve.equity.began is not None) == begun
    if not begun:
        assert set(curve.returns()) == {None}
        return
    assert curve.equity.began == points[0].at
    assert curve.equity.growth == pytest.approx(float(points[-1].growth), rel=1e-9, abs=1e-9)
    for value, expected in zip(curve.returns(), batch(points).values(), strict=True):
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9))
    peak = max(point.growth for point in points)
    assert curve.equity.drawdown == pytest.approx(float(1 - points[-1].growth / peak), abs=1e-9)
    told = falls(points)
    deepest = max((fall[0] for fall in told), default=0.0)
    assert (curve.equity.drawdown_max or 0.0) >= deepest - 1e-9
    if curve.equity.past is None and told:
        (fall,) = told
        present = curve.equity.fall
        assert present.depth == pytest.approx(fall[0], abs=1e-9)
        assert (present.peak_at, present.trough_at) == fall[1:3]
    daily = {int(point.at // DAY): float(point.growth) for point in points[1:]}
    days, closes = curve.daily()
    assert days.tolist() == list(daily)
    assert closes.tolist() == pytest.approx(list(daily.values()), rel=1e-9, abs=1e-9)


def test_memory_is_bounded_and_what_is_forgotten_leaves_the_index() -> None:
    curve = Curve()
    for day in range(3 * DAYS_KEPT):
        curve.report(float(day * DAY), 100.0 + day, None)
    assert DAYS_KEPT <= len(curve.days) <= DAYS_KEPT * 5 // 4
    assert curve.days[-1] == 3 * DAYS_KEPT - 1
    assert curve.open == pytest.approx(1.0 + (curve.days[0] - 1) / 100.0), "the close before the first that is kept"
    assert dict(zip(WINDOWS, curve.returns(), strict=True))["total"] == pytest.approx((3 * DAYS_KEPT - 1) / 100.0)
    held = sum(a.itemsize * len(a) for grid in curve.grids for a in (grid.cells, grid.closes))
    assert held + 12 * len(curve.days) <= 41_500
    for second in range(0, 3 * 86_400, 30):
        curve.report(3.0 * DAYS_KEPT * DAY + second, 100.0, None)
    assert all(len(grid.cells) <= grid.keep * 5 // 4 for grid in curve.grids)


def test_a_curve_is_what_it_was_after_a_restart() -> None:
    curve = curve_of(*FULL)
    again = Curve.load(curve.dump())
    assert again == curve
    assert again.returns() == curve.returns()
    again.report(at("2026-03-04 13:00"), 190.0, None)
    assert again != curve
    assert curve != "a curve"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("days", b"123"),
        ("days", b"12345678"),
        ("cells", []),
        ("closes", [b"", b"", b"1"]),
        ("closes", [b"12345678"] * 3),
    ],
)
def test_a_damaged_snapshot_is_refused(field: str, value: Any) -> None:
    kept = curve_of(*CASES[2][1]).dump()
    setattr(kept, field, value)
    if field == "closes" and value == [b"12345678"] * 3:
        kept.cells = [b"", b"", b""]
    with pytest.raises(SnapshotError, match="damaged"):
        Curve.load(kept)


def test_a_curve_that_is_kept_without_its_past_begins_at_the_present() -> None:
    curve = Curve(
        Equity(at=1_000.0, first=D(90), unit=100.0, growth=0.8, peak=1.0, began=1_000.0, origin=0.8, drawdown=0.2)
    )
    curve.report(4_600.0, 60.0, None)
    assert dict(zip(WINDOWS, curve.returns(), strict=True))["1h"] == pytest.approx(0.6 / 0.8 - 1)
