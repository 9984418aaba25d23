"""The border: bytes that anybody sent become events that everything behind may trust, or faults with their paths.

The fast way decodes a line straight into its fact and counts the colons, which tells whether a key came twice;
whatever is refused there goes the careful way, which says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias, Union

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from trader_monitor.core.facts import EVENT_TYPES, Event, Prediction, Sample, Trade
from trader_monitor.web.cut import TooMany, Torn
from trader_monitor.web.explain import duplicate_key, event_from, explain, timed
from trader_monitor.web.fields import Fault, Window, faults, plain, sound
from trader_monitor.web.packed import Malformed, array_of, faults_in, map_size, pieces

__all__ = [
    "MAX_EVENT",
    "MAX_EVENTS",
    "MAX_LISTED",
    "Border",
    "Format",
    "LineError",
    "TooMany",
    "numbered_items",
    "numbered_lines",
    "numbered_pieces",
]

MAX_EVENT = 64 << 10
"""Bytes of one event."""

MAX_EVENTS = 10_000
"""Events of one request: more of them would keep everything else waiting."""

MAX_LISTED = 100
"""Errors that an answer lists."""

Piece: TypeAlias = tuple[bytes, list[Fault] | None]
"""An event's bytes and what a scan found in them; None where they were not scanned."""

Format: TypeAlias = Literal["json", "ndjson", "msgpack"]

_EVENT: Any = Union[EVENT_TYPES]  # noqa: UP007 - a tuple of types is unpacked
_FROM_JSON = msgspec.json.Decoder(_EVENT)
_FROM_MSGPACK = msgspec.msgpack.Decoder(_EVENT)
_ANYTHING = msgspec.msgpack.Decoder()
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_PACKED_ARRAY = msgspec.msgpack.Decoder(list[msgspec.Raw])
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_KEYS = {kind: len(kind.__struct_fields__) + 1 for kind in EVENT_TYPES}
_NESTING = (Sample, Prediction)
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


class LineError(Struct, frozen=True):
    """One fault of one event; `line` counts from 1, in an array too."""

    line: int
    path: str
    error: str


def _never() -> bool:
    return False


class Border:
    """One request's passage. `take` may be called for its pieces in turn.

    `enough` ends a turn early: it is asked after each event that took longer than a small one that is right, since
    what is looked into with care is a hundred times slower.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.facts: list[Event] = []
        self.lines: list[int] = []
        """Where each fact stood."""
        self.errors: list[LineError] = []
        self.refused = 0
        """Events that were refused, listed or not."""
        self._pieces = 0

    def take(self, numbered: Iterable[tuple[int, bytes]], enough: Callable[[], bool] = _never) -> bool:
        """Takes events in JSON; whether there were any. What cannot be read is the last error."""
        before = len(self.facts) + self.refused
        try:
            self._take(numbered, enough)
        except Torn as error:
            self._refuse(error.number, [Fault("$", str(error))])
            return False
        return len(self.facts) + self.refused > before

    def _take(self, numbered: Iterable[tuple[int, bytes]], enough: Callable[[], bool]) -> None:
        facts, lines, window = self.facts, self.lines, self.window
        decode = _FROM_JSON.decode
        for number, line in numbered:
            if len(line) > MAX_EVENT:
                self._refuse(number, [_too_large(line)])
                continue
            event: Event | None
            try:
                event = decode(line)
            except _REFUSED:
                event = None
            if event is None or (line.count(b":") != _keys(event) and _may_repeat(line, event)):
                self._take_carefully(number, line, event)
                if enough():
                    return
                continue
            is_plain = plain(line)
            if not (is_plain and type(event) is Trade and sound(event, window)):
                found = faults(event, window, is_plain=is_plain)
                if found:
                    self._refuse(number, found)
                    if enough():
                        return
                    continue
            facts.append(event)
            lines.append(number)
            if not is_plain and enough():
                return

    def _take_carefully(self, number: int, line: bytes, event: Event | None) -> None:
        """Takes a line that the fast way refused, or whose event may have had a key twice."""
        result = event or timed(line) or explain(line, self._room())
        if not isinstance(result, list):
            twice = duplicate_key(line) if _may_repeat(line, result) else None
            result = [twice] if twice is not None else faults(result, self.window) or result
        if isinstance(result, list):
            self._refuse(number, result)
            return
        self.facts.append(result)
        self.lines.append(number)

    def take_packed(self, numbered: Iterable[tuple[int, Piece | None]], enough: Callable[[], bool] = _never) -> bool:
        """The same for events in MessagePack; whether there is more. None is a piece whose end is still looked for."""
        try:
            for number, piece in numbered:
                if piece is not None:
                    self._pieces = number
                    self._take_piece(number, *piece)
                if enough():
                    return True
        except Malformed as error:
            self._refuse(self._pieces + 1, [Fault("$", f"expected MessagePack: {error}")])
        return False

    def _take_piece(self, number: int, piece: bytes, found: list[Fault] | None) -> None:
        result: Event | list[Fault]
        if len(piece) > MAX_EVENT:
            result = [_too_large(piece)]
        elif found:
            result = found
        else:
            result = _unpacked(piece, self._room(), scanned=found is not None)
        if not isinstance(result, list):
            result = faults(result, self.window) or result
        if isinstance(result, list):
            self._refuse(number, result)
            return
        self.facts.append(result)
        self.lines.append(number)

    def _refuse(self, number: int, found: list[Fault]) -> None:
        self.refused += 1
        room = MAX_LISTED - len(self.errors)
        self.errors += [LineError(number, path[:200], error) for path, error in found[:room]]

    def _room(self) -> int:
        """How many faults of the next event are worth looking for."""
        return max(1, MAX_LISTED - len(self.errors))


def numbered_lines(body: bytes) -> list[tuple[int, bytes]]:
    """NDJSON's lines that hold something. Raises TooMany."""
    if body.count(b"\n") > 2 * MAX_EVENTS:
        raise TooMany
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line and not line.isspace()]
    if len(lines) > MAX_EVENTS:
        raise TooMany
    return lines


def numbered_items(body: bytes) -> Iterator[tuple[int, bytes]] | None:
    """One JSON object, or the objects of one array; None for an array that must be cut apart. Raises TooMany."""
    if body.lstrip()[:1] != b"[":
        return iter([(1, body)])
    if body.count(b",") <= 16 * MAX_EVENTS and body.count(b"{") <= 4 * MAX_EVENTS:
        try:
            items = _ARRAY.decode(body)
        except _REFUSED:
            return None
        if len(items) > MAX_EVENTS:
            raise TooMany
        return enumerate(map(bytes, items), 1)
    return None


def numbered_pieces(body: bytes) -> Iterator[tuple[int, Piece | None]]:
    """MessagePack's events, found as they are asked for. Raises TooMany, and Malformed.

    Those of an array are cut apart in one go, without a look inside; others are scanned one after the other. Now
    and then, while a long one's end is looked for, None comes in its place.
    """
    array = array_of(body)
    if array is not None and array.promised > MAX_EVENTS:
        raise TooMany
    if array is not None:
        try:
            items = _PACKED_ARRAY.decode(body)
        except _REFUSED:
            pass  # the scan says where it is wrong
        else:
            yield from ((number, (bytes(item), None)) for number, item in enumerate(items, 1))
            return
    number = 1
    for piece in pieces(body):
        if number > MAX_EVENTS:
            raise TooMany
        yield number, piece
        number += piece is not None


def _keys(event: Event) -> int:
    """How many keys the event has if no field was written as null."""
    kind = type(event)
    keys: int = _KEYS[kind] - astuple(event).count(None)
    if event.context is not None:
        keys += len(event.context)
    if kind in _NESTING:
        if isinstance(event, Sample):
            keys += len(event.labels) or -1
        elif isinstance(event, Prediction) and event.features is not None:
            keys += len(event.features)
    return keys


def _may_repeat(line: bytes, event: Event) -> bool:
    """There are more colons than keys: whether that may be because a key comes twice, and not of colons in texts."""
    return line.count(b'":') != _keys(event) or _SPACED_COLON.search(line) is not None


def _unpacked(piece: bytes, most: int, *, scanned: bool) -> Event | list[Fault]:
    """One event. Its map says how many entries it has: as many as it has keys, unless one comes twice."""
    try:
        event: Event = _FROM_MSGPACK.decode(piece)
    except _REFUSED:
        event_or_faults: Event | list[Fault] | None = None
    else:
        if scanned or (event.context is None and type(event) not in _NESTING and map_size(piece) == _keys(event)):
            return event
        event_or_faults = event
    if not scanned:
        try:
            found = faults_in(piece)
        except Malformed as error:
            return [Fault("$", f"expected MessagePack: {error}")]
        if found:
            return found
    return _explain_packed(piece, most) if event_or_faults is None else event_or_faults


def _explain_packed(piece: bytes, most: int) -> Event | list[Fault]:
    try:
        value = _ANYTHING.decode(piece)
    except _REFUSED as error:
        return [Fault("$", f"expected MessagePack: {error}")]
    return event_from(value, most)


def _too_large(line: bytes) -> Fault:
    return Fault("$", f"expected at most {MAX_EVENT >> 10} KiB an event, got {len(line) / 1024:,.0f}")
