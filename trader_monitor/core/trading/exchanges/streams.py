"""Market-data streams: their three ages, and the rhythm that each is known by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from trader_monitor.core.facts import MarketData
from trader_monitor.core.figure import Figure, Pairs, exact, missing, sampled
from trader_monitor.core.tally import ASLEEP_AFTER_MS

__all__ = ["WARM", "Instrument", "InstrumentKey", "Rhythm", "SecondsOpen", "Stream", "StreamKey", "stream_figures"]

StreamKey: TypeAlias = tuple[str, str, str | None]
"""Exchange, symbol, channel."""

InstrumentKey: TypeAlias = tuple[str, str]
"""Exchange, symbol."""

SecondsOpen: TypeAlias = Callable[[float, float], float]
"""How many seconds of the time between two moments the market was open."""

WARM = 30
"""Intervals that a rhythm is learned from at least."""

GAPS = 3
"""The longest intervals of each period that are taken for gaps: outages, restarts, the night."""

NEWEST_WEIGHT = 0.25
SHORTEST = 0.001


class Rhythm(Struct, array_like=True):
    """How long a stream's usual pauses are, learned from the intervals between its frames.

    The pause that is usual in a period is the fourth longest of its intervals: three may be gaps, and unlike a
    percentile of the intervals it does not take a stream that sends in bursts for a fast one. A period is an hour, or
    as many as it takes to see thirty intervals. Each moves what is known for its hour of the day (UTC), and for any
    hour, a quarter of the way in logarithms, so that one bad hour of many gaps moves a pause of 1 s to 2.8 s where it
    saw 60 s.
    Memory: 29 numbers at most, some 1.5 KB.
    """

    hour: int = 0
    since: int = 0
    intervals: int = 0
    longest: list[float] = field(default_factory=lambda: [0.0] * (GAPS + 1))
    seen: int = 0
    usual: float | None = None
    hours: dict[int, float] = field(default_factory=dict)

    def take(self, at: float, interval: float) -> None:
        """A frame came `interval` seconds after the one before."""
        hour = int(at // 3600.0)
        if hour != self.hour:
            self._turn(hour)
        self.intervals += 1
        self.seen += 1
        longest = self.longest
        if interval > longest[0]:
            longest[0] = interval
            longest.sort()

    def expected(self, now: float) -> float | None:
        """The longest pause that is usual at this hour of the day, else at any; None before thirty intervals."""
        known = self.hours.get(int(now // 3600.0) % 24, self.usual)
        if known is None and self.intervals >= WARM:
            return max(SHORTEST, self.longest[0])
        return known

    def _turn(self, hour: int) -> None:
        if self.intervals >= WARM:
            pause = max(SHORTEST, self.longest[0])
            if self.since == self.hour:
                self.hours[self.hour % 24] = _moved(self.hours.get(self.hour % 24, self.usual), pause)
            self.usual = _moved(self.usual, pause)
            self.intervals = 0
            self.longest = [0.0] * (GAPS + 1)
        if not self.intervals:
            self.since = hour
        self.hour = hour


class Stream(Struct, array_like=True):
    """A market-data stream: when its last frame came, the venue's time of it, and when a value last changed."""

    frame_at: float = 0.0
    exchange_at: float | None = None
    changed_at: float = 0.0
    price: float | None = None
    bid: float | None = None
    ask: float | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)

    def take(self, frame: MarketData) -> bool:
        """A frame older than the newest changes nothing (False). A price that is left out has not changed."""
        at, before = frame.at, self.frame_at
        if at < before:
            return False
        price = self.price if frame.price is None else frame.price
        bid = self.bid if frame.bid is None else frame.bid
        ask = self.ask if frame.ask is None else frame.ask
        if not before:
            self.changed_at = at
        else:
            self.rhythm.take(at, at - before)
            if price != self.price or bid != self.bid or ask != self.ask:
                self.changed_at = at
        self.frame_at = at
        self.price, self.bid, self.ask = price, bid, ask
        if frame.exchange_at is not None and frame.exchange_at >= (self.exchange_at or 0.0):
            self.exchange_at = frame.exchange_at
        return True

    @property
    def mid(self) -> float | None:
        """The middle of bid and ask, else the last price."""
        if self.bid is not None and self.ask is not None:
            return 0.5 * (self.bid + self.ask)
        return self.price


class Instrument(Struct, array_like=True):
    """An instrument's newest price on any channel."""

    at_ms: int = 0
    price: float | None = None


_AGES = (
    ("frame_age", "of the last frame"),
    ("exchange_age", "by the venue's own time of its last frame"),
    ("change_age", "of the last change of a price"),
)
_WALL = "age {}; wall time"
_OPEN = "age {}; seconds in which the market was open"
_EXPECTED = "the usual longest pause: fourth longest interval of an hour, by hour of the day (UTC), newest hour 1/4"
_LATE = "age of the last frame by the usual longest pause at this hour of the day"
_NO_INTERVAL = "a blend of order statistics over hours"


def stream_figures(
    streams: Mapping[StreamKey, Stream], now: float, market_time: Mapping[str, SecondsOpen]
) -> Iterator[Figure]:
    """The ages of each stream at `now` and its lateness; by exchange `market_time` says what time counts, else all."""
    warming = [f"{seen} of {WARM} intervals seen" for seen in range(WARM)]
    wall, open = [tuple(text.format(of) for _, of in _AGES) for text in (_WALL, _OPEN)]
    for (exchange, symbol, channel), stream in streams.items():
        if now - stream.frame_at > ASLEEP_AFTER_MS / 1000.0:
            continue
        labels: Pairs = (("exchange", exchange), ("symbol", symbol))
        if channel:
            labels = (*labels, ("channel", channel))
        seconds_open = market_time.get(exchange)
        conventions = wall if seconds_open is None else open
        n = stream.rhythm.seen + 1
        frame_age = 0.0
        for (age_of, _), at, convention in zip(
            _AGES, (stream.frame_at, stream.exchange_at, stream.changed_at), conventions, strict=True
        ):
            name = f"market_data_{age_of}_seconds"
            if at is None:
                yield missing(name, labels, n, convention, "no frame told the venue's time")
                continue
            age = max(0.0, now - at)
            if seconds_open is not None and age:
                age = seconds_open(at, now)
            if age_of == "frame_age":
                frame_age = age
            yield exact(name, labels, age, n, convention)
        expected, seen = stream.rhythm.expected(now), stream.rhythm.seen
        if expected is None:
            yield missing("market_data_expected_interval_seconds", labels, seen, _EXPECTED, warming[seen])
            yield missing("market_data_lateness_ratio", labels, seen, _LATE, warming[seen])
        else:
            yield sampled(
                "market_data_expected_interval_seconds", labels, expected, seen, _EXPECTED, None, open=_NO_INTERVAL
            )
            yield sampled(
                "market_data_lateness_ratio", labels, frame_age / expected, seen, _LATE, None, open=_NO_INTERVAL
            )


def _moved(known: float | None, pause: float) -> float:
    return pause if known is None else known * (pause / known) ** NEWEST_WEIGHT
