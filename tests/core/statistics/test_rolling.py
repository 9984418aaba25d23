"""Rolling sums: what is in a window is what the events' times say, however late they come."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.statistics.rolling import DAY, HOUR, HOURS_OF_A_WEEK, WEEK, Cell, Rolling, RollingKept, Window

FIVE, AN_HOUR = 300_000, 3_600_000
T0 = 1_700_000_000_000 // (24 * AN_HOUR) * 24 * AN_HOUR
"""A midnight."""


def add(rolling: Rolling, t_ms: int, key: int, value: float) -> None:
    cell = rolling.cell(t_ms)
    cell[key] = cell.get(key, 0.0) + value


def again(rolling: Rolling, hours: int = 24) -> Rolling:
    raw = msgspec.msgpack.encode(rolling.dump())
    return Rolling.load(msgspec.msgpack.decode(raw, type=RollingKept), hours)


@pytest.mark.parametrize(
    ("sentence", "times", "now", "window", "expected"),
    [
        ("nothing was counted yet", [], 0, HOUR, 0),
        ("what has just happened counts", [0], 0, HOUR, 1),
        ("the present five minutes and the eleven before make the hour", [0], 11 * FIVE + FIVE - 1, HOUR, 1),
        ("an hour later it is gone", [0], 12 * FIVE, HOUR, 0),
        ("and still of the day", [0], 12 * FIVE, DAY, 1),
        ("the present hour and the 23 before make the day", [0], 24 * AN_HOUR - 1, DAY, 1),
        ("a day later it is gone", [0], 24 * AN_HOUR, DAY, 0),
        ("time without events ends a window as time with events does", [0, 30 * AN_HOUR], 30 * AN_HOUR, DAY, 1),
        ("one that is ten minutes late counts", [20 * 60_000, 10 * 60_000], 20 * 60_000, HOUR, 2),
        ("one that is two hours late counts for the day", [3 * AN_HOUR, AN_HOUR], 3 * AN_HOUR, DAY, 2),
        ("and not for the hour", [3 * AN_HOUR, AN_HOUR], 3 * AN_HOUR, HOUR, 1),
        ("one that is older than every window goes nowhere", [40 * AN_HOUR, 0], 40 * AN_HOUR, DAY, 1),
        ("a clock that went back looks at the newest events all the same", [5 * AN_HOUR], 0, HOUR, 1),
        ("two late ones of one cell are both kept", [AN_HOUR, 0, 1, FIVE], AN_HOUR, DAY, 4),
    ],
)
def test_windows(sentence: str, times: list[int], now: int, window: Window, expected: float) -> None:
    rolling = Rolling()
    for t in times:
        add(rolling, T0 + t, 7, 1.0)
    assert rolling.total(window, T0 + now).get(7, 0.0) == expected, sentence
    assert again(rolling).total(window, T0 + now).get(7, 0.0) == expected, sentence


def test_a_sum_is_the_caller_s_own() -> None:
    rolling = Rolling()
    add(rolling, T0, 1, 1.0)
    rolling.total(HOUR, T0)[1] = 9.0
    assert rolling.total(HOUR, T0) == {1: 1.0}


def test_a_late_cell_to_which_nothing_was_added_is_none() -> None:
    rolling = Rolling()
    add(rolling, T0 + AN_HOUR, 1, 1.0)
    rolling.cell(T0)
    assert rolling.total(DAY, T0 + AN_HOUR) == {1: 1.0}
    assert not rolling.dump().hours


def test_an_empty_one_survives_a_restart() -> None:
    rolling = again(Rolling())
    add(rolling, T0, 1, 1.0)
    assert rolling.total(DAY, T0) == {1: 1.0}
    assert not rolling.asleep(T0 + 30 * 24 * AN_HOUR)
    assert rolling.asleep(T0 + 30 * 24 * AN_HOUR + 1)


EVENTS = st.lists(
    st.tuples(st.integers(0, 60 * 12), st.integers(0, 3), st.floats(-1e6, 1e6)),
    max_size=60,
)


def expected(events: list[tuple[int, int, float]], window: Window, now_ms: int, hours: int) -> Cell:
    """By the definition: cells of the window, of events that were not too late when they came."""
    found: Cell = {}
    end_ms = max([now_ms, *(T0 + five * FIVE for five, _, _ in events)])
    newest = 0
    for five, key, value in events:
        t_ms = T0 + five * FIVE
        newest = max(newest, t_ms)
        in_time = t_ms // AN_HOUR > newest // AN_HOUR - hours
        if in_time and t_ms // window.step_ms > end_ms // window.step_ms - window.cells:
            found[key] = found.get(key, 0.0) + value
    return found


@given(EVENTS, st.integers(0, 60 * 12), st.integers(0, 60), st.sampled_from([HOUR, DAY, WEEK]))
@settings(max_examples=100, deadline=None)
def test_event_by_event_in_any_order_with_a_restart_is_the_batch(
    events: list[tuple[int, int, float]], now: int, restart: int, window: Window
) -> None:
    hours = HOURS_OF_A_WEEK if window is WEEK else 24
    rolling = Rolling(hours)
    for number, (five, key, value) in enumerate(events):
        if number == restart % len(events):
            rolling = again(rolling, hours)
        add(rolling, T0 + five * FIVE, key, value)
        if number % 7 == 0:
            rolling.total(window, T0 + five * FIVE)
    now_ms = T0 + now * FIVE
    found = rolling.total(window, now_ms)
    assert found == pytest.approx(expected(events, window, now_ms, hours), rel=1e-9, abs=1e-6)


@given(EVENTS)
@settings(max_examples=30, deadline=None)
def test_memory_is_bounded_by_the_cells_of_the_windows(events: list[tuple[int, int, float]]) -> None:
    rolling = Rolling()
    for five, key, value in events:
        add(rolling, T0 + five * FIVE * 7, key, value)
    kept = rolling.dump()
    assert len(kept.fives) <= 12
    assert len(kept.hours) <= 25
    assert all(len(raw) <= 4 * 12 for raw in kept.fives.values())
