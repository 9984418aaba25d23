"""Uptime: shares of time against sums by hand and against a walk over every second."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.figure import Figure
from trader_monitor.core.trading.exchanges.uptime import (
    CONNECTED,
    DEGRADED,
    DISCONNECTED,
    Link,
    LinkKept,
    uptime_figures,
)

DATA = Path(__file__).parents[3] / "data"
T0 = 1_700_006_400_000
MINUTE, AN_HOUR = 60_000, 3_600_000
C, H, D = CONNECTED, DEGRADED, DISCONNECTED


def link_of(*reports: tuple[int, int]) -> Link:
    (first, state), *rest = reports
    link = Link(T0 + first, state)
    for t, later in rest:
        link.report(T0 + t, later)
    return link


def again(link: Link) -> Link:
    return Link.load(msgspec.msgpack.decode(msgspec.msgpack.encode(link.dump()), type=LinkKept))


def values(link: Link, now: int) -> dict[tuple[str, str], float | None]:
    found: dict[tuple[str, str], float | None] = {}
    for figure in link.figures((("exchange", "e"),), T0 + now):
        name = figure.name.removeprefix("exchange_").removesuffix("_ratio")
        found[name, dict(figure.labels).get("window", "")] = figure.value
    return found


@pytest.mark.parametrize(
    ("sentence", "reports", "now", "expected"),
    [
        (
            "time before the first report is not counted",
            [(0, C)],
            MINUTE,
            {("connected", "total"): 1.0, ("connected", "7d"): 1.0, ("disconnects", "total"): 0.0},
        ),
        (
            "a quarter down, and still down",
            [(0, C), (45 * MINUTE, D)],
            60 * MINUTE - 1,
            {("connected", "total"): pytest.approx(0.75, abs=1e-6), ("disconnected_seconds", ""): 899.999},
        ),
        (
            "degraded counts apart",
            [(0, C), (10 * MINUTE, H), (20 * MINUTE, D)],
            40 * MINUTE,
            {
                ("connected", "1h"): 0.25,
                ("degraded", "1h"): 0.25,
                ("connected", "total"): 0.25,
                ("degraded", "total"): 0.25,
                ("disconnects", "1h"): 1.0,
            },
        ),
        (
            "the same state again changes nothing",
            [(0, C), (MINUTE, C), (2 * MINUTE, D), (3 * MINUTE, D)],
            4 * MINUTE,
            {("connected", "total"): 0.5, ("disconnects", "total"): 1.0, ("disconnected_seconds", ""): 120.0},
        ),
        (
            "a state stands for weeks without a report",
            [(0, D), (AN_HOUR, C)],
            30 * 24 * AN_HOUR,
            {("connected", "24h"): 1.0, ("connected", "7d"): 1.0, ("connected", "total"): pytest.approx(719 / 720)},
        ),
        (
            "an outage of a day is seen in each window as far as it reaches",
            [(0, C), (6 * 24 * AN_HOUR, D), (7 * 24 * AN_HOUR, C)],
            7 * 24 * AN_HOUR + AN_HOUR - 1,
            {
                ("connected", "1h"): 1.0,
                ("connected", "24h"): pytest.approx(1 / 24, abs=1e-6),
                ("connected", "7d"): pytest.approx((168 - 24) / 168, abs=1e-6),
                ("disconnects", "24h"): 0.0,
                ("disconnects", "7d"): 1.0,
            },
        ),
        (
            "without any time there is no share",
            [(0, C)],
            0,
            {("connected", "1h"): None, ("degraded", "total"): None, ("disconnects", "1h"): 0.0},
        ),
        (
            "a clock that went back makes no time",
            [(MINUTE, C), (0, D)],
            0,
            {("connected", "total"): None, ("disconnects", "total"): 1.0, ("disconnected_seconds", ""): 0.0},
        ),
    ],
)
def test_shares_of_time(
    sentence: str, reports: list[tuple[int, int]], now: int, expected: dict[tuple[str, str], float | None]
) -> None:
    for link in (link_of(*reports), again(link_of(*reports))):
        found = values(link, now)
        assert {key: found[key] for key in expected} == expected, sentence


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from([C, H, D])), max_size=25),
    st.integers(0, 500),
    st.integers(0, 25),
)
@settings(max_examples=60, deadline=None)
def test_every_window_is_the_sum_over_its_minutes(steps: list[tuple[int, int]], wait: int, restart: int) -> None:
    """Changes at full minutes; the oracle walks over each minute of the window."""
    link, t = Link(T0, C), 0
    states = [C]
    for number, (minutes, state) in enumerate(steps):
        if number == restart % len(steps):
            link = again(link)
        states += [states[-1]] * (minutes - 1) + [state]
        t += minutes
        link.report(T0 + t * MINUTE, state)
        list(link.figures((), T0 + t * MINUTE))
    states += [states[-1]] * wait
    now = len(states) - 1
    found = values(link, now * MINUTE)
    for window, step, cells in (("1h", 5, 12), ("24h", 60, 24), ("7d", 60, 168)):
        begin = max(0, (now // step - cells + 1) * step)
        known = states[begin:now]
        for name, state in (("connected", C), ("degraded", H)):
            share = known.count(state) / len(known) if known else None
            assert found[name, window] == (None if share is None else pytest.approx(share, abs=1e-9))
        changes = sum(a != D and b == D for a, b in pairwise(states))
        assert found["disconnects", "total"] == changes
        began = sum(states[i] == D and states[i - 1] != D for i in range(max(1, begin), now + 1))
        assert found["disconnects", window] == began


def test_a_real_exchange_that_failed_in_four_ways() -> None:
    """The timeline of a stub exchange that a freqtrade bot traded on: 40 s of 429, 40 s of maintenance, 60 s slow and

    60 s without an answer, in ten minutes. Slow and limited are degraded, maintenance and silence are down.
    """
    state_of = {"ok": C, "429": H, "slow": H, "maint": D, "hang": D}
    lines = [json.loads(line) for line in (DATA / "freqtrade_exchange_chaos_timeline.jsonl").read_text().splitlines()]
    changes = [(int(line["ts"] * 1000), state_of[line["mode"]]) for line in lines]
    link = Link(*changes[0])
    for t_ms, state in changes[1:]:
        link.report(t_ms, state)
    end_ms = changes[-1][0]
    found: dict[tuple[str, str | None], Figure] = {
        (figure.name, dict(figure.labels).get("window")): figure for figure in link.figures((), end_ms)
    }
    # 180.195 s ok, 40.083 limited, 80.038 ok, 40.066 maintenance, 80.033 ok, 60.037 slow, 60.044 ok, 60.039 hanging
    assert end_ms - changes[0][0] == 600_535
    connected, degraded = (180_195 + 80_038 + 80_034 + 60_044), (40_083 + 60_037)
    for window in ("1h", "24h", "7d", "total"):
        assert found["exchange_connected_ratio", window].value == pytest.approx(connected / 600_535, abs=5e-6)
        assert found["exchange_degraded_ratio", window].value == pytest.approx(degraded / 600_535, abs=5e-6)
        assert found["exchange_disconnects", window].value == 2
    assert found["exchange_disconnected_seconds", None].value == 0.0
    assert found["exchange_connected_ratio", "total"].n == 9
    assert found["exchange_connected_ratio", "total"].measured


def test_labels_are_what_names_the_connection() -> None:
    found = list(uptime_figures({("e", None, "bot"): Link(T0, C)}, T0 + 1))
    assert {figure.labels[:2] for figure in found} == {(("exchange", "e"), ("source", "bot"))}


def test_memory_is_bounded_however_often_it_flaps() -> None:
    link = Link(T0, C)
    for n in range(1, 5_000):
        link.report(T0 + n * 7 * MINUTE, D if n % 2 else C)
    kept = link.dump()
    assert len(kept.rolling.fives) + len(kept.rolling.hours) <= 12 + 169
    assert len(msgspec.msgpack.encode(kept)) < 12_000
