"""Market-data streams: three ages, and a lateness against the rhythm that each stream is known by."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.facts import MarketData
from trader_monitor.core.figure import Figure
from trader_monitor.core.trading.exchanges.streams import WARM, Rhythm, SecondsOpen, Stream, stream_figures

T0 = 1_700_006_400.0
"""A full hour: 00:00 UTC."""

HOUR = 3600.0


def frame(at: float, **more: Any) -> MarketData:
    return MarketData(at=at, exchange="e", symbol="S", **more)


def learned(times: list[float]) -> Rhythm:
    rhythm = Rhythm()
    for before, at in pairwise(times):
        rhythm.take(at, at - before)
    return rhythm


def every(seconds: float, hours: float, begin: float = T0) -> list[float]:
    return [begin + n * seconds for n in range(int(hours * HOUR / seconds) + 1)]


def figures(stream: Stream, now: float, market: SecondsOpen | None = None) -> dict[str, Figure]:
    found = stream_figures({("e", "S", None): stream}, now, {} if market is None else {"e": market})
    return {figure.name.removeprefix("market_data_"): figure for figure in found}


@pytest.mark.parametrize(
    ("sentence", "times", "at", "expected"),
    [
        ("nothing is known of a stream that has just begun", every(1.0, 0.005), T0, None),
        ("thirty intervals are enough", every(1.0, 31 / HOUR), T0 + 30, 1.0),
        ("a bar a minute", every(60.0, 3.0), T0 + 3 * HOUR, 60.0),
        ("a bar an hour is learned over days", every(HOUR, 80.0), T0 + 80 * HOUR, HOUR),
        ("frames of one moment are no rhythm of nothing", [T0] * 60, T0, 0.001),
    ],
)
def test_the_rhythm(sentence: str, times: list[float], at: float, expected: float | None) -> None:
    assert learned(times).expected(at) == (None if expected is None else pytest.approx(expected)), sentence


def test_a_stream_that_comes_in_bursts_is_known_by_its_pauses() -> None:
    """A thousand frames within a second, then 30 s of nothing: the 99th percentile of its intervals is 1 ms."""
    times = [T0 + 31.0 * burst + n / 1000.0 for burst in range(110) for n in range(1000)]
    assert np.percentile(np.diff(times), 99) < 0.01
    assert learned(times).expected(T0 + HOUR) == pytest.approx(30.001)


@pytest.mark.parametrize("gaps", [1, 2, 3])
def test_restarts_and_outages_do_not_poison_it(gaps: int) -> None:
    times = [
        at for at in every(1.0, 1.0) if not any(600.0 * n < at - T0 < 600.0 * n + 300.0 for n in range(1, gaps + 1))
    ]
    assert max(np.diff(times)) == 300.0
    assert learned([*times, T0 + HOUR + 1]).expected(T0 + HOUR + 2) == 1.0


def test_one_bad_hour_moves_it_a_quarter_of_the_way_in_logarithms() -> None:
    good, bad = every(1.0, 1.0), every(60.0, 1.0, T0 + HOUR)
    rhythm = learned([*good, *bad[1:], T0 + 2 * HOUR + 60])
    assert rhythm.expected(T0 + 2 * HOUR) == pytest.approx(60.0**0.25)


def test_hours_of_the_day_are_known_apart() -> None:
    """A frame every two seconds from 8 to 16 UTC, one every hundred at night: in twelve days each hour has its own."""
    times: list[float] = []
    for hour in range(288):
        times += every(2.0 if 8 <= hour % 24 < 16 else 100.0, 1.0, T0 + hour * HOUR)[:-1]
    rhythm = learned([*times, T0 + 288 * HOUR])
    assert rhythm.expected(T0 + 12 * HOUR) == pytest.approx(2.0, rel=0.1)
    assert rhythm.expected(T0 + 288 * HOUR) == pytest.approx(100.0, rel=0.1)
    assert len(rhythm.hours) == 24


def test_an_hour_of_the_day_that_is_not_known_goes_by_the_usual() -> None:
    rhythm = learned(every(1.0, 2.0))
    assert rhythm.expected(T0 + 20 * HOUR) == 1.0


@given(st.lists(st.floats(0.0, 5_000.0), max_size=150), st.integers(0, 150))
@settings(max_examples=60, deadline=None)
def test_a_restart_of_the_daemon_changes_nothing(intervals: list[float], restart: int) -> None:
    times = (T0 + np.cumsum([0.0, *intervals])).tolist()
    whole, stream = Stream(), Stream()
    for number, at in enumerate(times):
        if number == restart % len(times):
            stream = msgspec.msgpack.decode(msgspec.msgpack.encode(stream), type=Stream)
        whole.take(frame(at, price=1.0))
        stream.take(frame(at, price=1.0))
    assert stream == whole
    hours = np.array(times[1:]) // HOUR
    assert whole.rhythm.seen == len(intervals)
    if len(intervals) >= WARM and len(set(hours.tolist())) == 1:
        fourth = sorted(np.diff(times))[-4]
        assert whole.rhythm.expected(times[-1]) == pytest.approx(max(0.001, fourth))


def test_ages_and_lateness() -> None:
    stream = Stream()
    for n in range(60):
        stream.take(frame(T0 + n, price=5.0 if n < 40 else 6.0, exchange_at=T0 + n - 0.5))
    stream.take(frame(T0 + 60, exchange_at=T0))
    assert not stream.take(frame(T0 + 30, price=9.0)), "a late one changes nothing"
    found = figures(stream, T0 + 63)
    assert {name: figure.value for name, figure in found.items()} == {
        "frame_age_seconds": 3.0,
        "exchange_age_seconds": 4.5,
        "change_age_seconds": 23.0,
        "expected_interval_seconds": 1.0,
        "lateness_ratio": 3.0,
    }
    assert found["frame_age_seconds"].measured
    assert found["frame_age_seconds"].labels == (("exchange", "e"), ("symbol", "S"))
    assert (found["lateness_ratio"].n, found["lateness_ratio"].interval) == (60, None)
    assert found["lateness_ratio"].reason_open


def test_what_is_not_known_is_missing_and_says_why() -> None:
    stream = Stream()
    for n in range(5):
        stream.take(frame(T0 + n, bid=1.0))
    found = figures(stream, T0 + 3.0)
    assert (found["exchange_age_seconds"].value, found["exchange_age_seconds"].reason) == (
        None,
        "no frame told the venue's time",
    )
    assert found["frame_age_seconds"].value == 0.0, "a clock that is behind makes no age below zero"
    for name in ("expected_interval_seconds", "lateness_ratio"):
        assert (found[name].value, found[name].reason) == (None, "4 of 30 intervals seen")


def test_staleness_counts_market_time() -> None:
    """The market closed a minute after the last frame and opens again ten hours later."""

    def seconds_open(begin: float, end: float) -> float:
        return min(end, T0 + 160.0) - begin

    stream = Stream()
    for n in range(101):
        stream.take(frame(T0 + n, price=1.0))
    night = T0 + 10 * HOUR
    found = figures(stream, night, seconds_open)
    assert found["frame_age_seconds"].value == 60.0
    assert found["lateness_ratio"].value == 60.0
    assert "market was open" in found["frame_age_seconds"].convention
    assert figures(stream, night)["frame_age_seconds"].value == 10 * HOUR - 100.0
    assert figures(stream, T0 + 100, seconds_open)["frame_age_seconds"].value == 0.0


def test_a_stream_that_was_silent_for_a_month_has_no_figures() -> None:
    stream = Stream()
    stream.take(frame(T0))
    assert figures(stream, T0 + 30 * 24 * HOUR)
    assert not figures(stream, T0 + 30 * 24 * HOUR + 1)


def test_the_channel_is_a_label_where_there_is_one() -> None:
    stream = Stream()
    stream.take(frame(T0))
    found = list(stream_figures({("e", "S", "book"): stream}, T0, {}))
    assert {figure.labels for figure in found} == {(("exchange", "e"), ("symbol", "S"), ("channel", "book"))}


@pytest.mark.parametrize(
    ("sentence", "given", "expected"),
    [
        ("the middle of bid and ask", {"bid": 1.0, "ask": 2.0, "price": 9.0}, 1.5),
        ("the last price where one of them is not known", {"bid": 1.0, "price": 9.0}, 9.0),
        ("nothing where nothing is known", {}, None),
    ],
)
def test_the_price_of_a_stream(sentence: str, given: dict[str, float], expected: float | None) -> None:
    stream = Stream()
    stream.take(frame(T0, **given))
    assert stream.mid == expected, sentence


def test_a_stream_of_an_older_snapshot_loads_and_learns() -> None:
    stream = msgspec.msgpack.decode(msgspec.msgpack.encode([T0, None, T0, 5.0, None, None]), type=Stream)
    stream.take(frame(T0 + 2, price=5.0))
    assert (stream.frame_at, stream.changed_at, stream.rhythm.seen) == (T0 + 2, T0, 1)
