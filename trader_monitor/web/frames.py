"""Frames of the live feed: what topics there are, how a delta becomes bytes, and which ones can be had again.

Pure. A message is encoded once, WebSocket header included, and the same bytes go to every client.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

__all__ = ["ALL", "TOPICS", "Frame", "Recent", "Topics", "UnknownTopic", "encode", "pack", "parse_topics", "wire"]

TOPICS = ("metrics", "alerts", "checks", "trades", "children")
MAX_FRAME = 32 * 1024
"""Bytes that a delta should not exceed: half of what is ever buffered for a client."""

_FAMILY = re.compile(r"[a-zA-Z:][a-zA-Z0-9:]{0,63}")
_MAX_TOPICS = 64


class UnknownTopic(ValueError):
    """A client asked for a topic that there is not."""


class Frame(NamedTuple):
    """One delta, ready to be written: `family` is the first word of the metrics' names, empty elsewhere."""

    seq: int
    topic: str
    family: str
    wire: bytes


class Topics(NamedTuple):
    """What a client wants: whole topics, and single families of the metrics."""

    whole: frozenset[str]
    families: frozenset[str] = frozenset()

    def takes(self, topic: str, family: str = "") -> bool:
        return topic in self.whole or (topic == "metrics" and family in self.families)

    @property
    def metrics(self) -> bool:
        return "metrics" in self.whole or bool(self.families)

    def names(self) -> list[str]:
        return [t for t in TOPICS if t in self.whole] + [f"metrics.{family}" for family in sorted(self.families)]


ALL = Topics(frozenset(TOPICS))


def parse_topics(text: str | None) -> Topics:
    """Reads "alerts,checks,metrics.host"; nothing asks for all. Raises UnknownTopic, naming it."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if not words:
        return ALL
    if len(words) > _MAX_TOPICS:
        raise UnknownTopic(f"more than {_MAX_TOPICS} topics")
    whole: set[str] = set()
    families: set[str] = set()
    for word in words:
        topic, dot, family = word.partition(".")
        if topic not in TOPICS or (dot and (topic != "metrics" or not _FAMILY.fullmatch(family))):
            raise UnknownTopic(f"unknown topic {word[:20]!r}: there are {', '.join(TOPICS)}, metrics.FAMILY")
        if dot:
            families.add(family)
        else:
            whole.add(topic)
    return Topics(frozenset(whole), frozenset() if "metrics" in whole else frozenset(families))


_json = msgspec.json.Encoder()


def encode(message: object) -> bytes:
    """JSON; NaN, infinities and the staleness marker become null."""
    return _json.encode(message)


def wire(payload: bytes) -> bytes:
    """A whole, unfragmented, unmasked text frame (RFC 6455, 5.2): what a server sends."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def pack(frames: Iterable[Frame], topics: Topics) -> list[bytes]:
    """The frames that `topics` takes, in order, joined into as few writes as stay below `MAX_FRAME`."""
    writes: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for frame in frames:
        if not topics.takes(frame.topic, frame.family):
            continue
        if held and size + len(frame.wire) > MAX_FRAME:
            writes.append(b"".join(held))
            held, size = [], 0
        held.append(frame.wire)
        size += len(frame.wire)
    if held:
        writes.append(held[0] if len(held) == 1 else b"".join(held))
    return writes


class Recent:
    """The newest frames, bounded by count and by bytes: what a client that was away can have again."""

    def __init__(self, seq: int, *, max_frames: int = 8192, max_bytes: int = 4 << 20) -> None:
        self.seq = seq
        """The newest frame's number; the next frame has the next."""
        self.size = 0
        self._frames: deque[Frame] = deque()
        self._max_frames = max_frames
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self.seq = frame.seq
        self.size += len(frame.wire)
        while len(self._frames) > self._max_frames or (self.size > self._max_bytes and self._frames):
            self.size -= len(self._frames.popleft().wire)

    def forget(self) -> None:
        """Nobody can resume from before this moment."""
        self._frames.clear()
        self.size = 0

    def after(self, seq: int) -> list[Frame] | None:
        """The frames behind number `seq`; None where some of them are gone or it was never given out."""
        if seq == self.seq:
            return []
        if not self._frames or not self._frames[0].seq - 1 <= seq < self.seq:
            return None
        return list(islice(reversed(self._frames), self.seq - seq))[::-1]
