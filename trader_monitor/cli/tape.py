"""A recording as a sequence of events: one JSON object per line, plain or gzip, ours or NautilusTrader's."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from trader_monitor.cli.nautilus import NautilusError, NautilusTape
from trader_monitor.cli.outcome import Exit, Failure

__all__ = ["Format", "Length", "Recorded", "Tape", "stamped"]

Format: TypeAlias = Literal["nautilus", "events"]
LINE_LIMIT: Final = 1 << 20


class Recorded(NamedTuple):
    """An event of the recording: its line, the Unix seconds at which it happened, and all of it but `at`."""

    line: int
    at: float
    event: dict[str, Any]


class Length(NamedTuple):
    """How much there is: events, and seconds from the first to the last, each pause cut to the longest allowed."""

    events: int
    seconds: float
    skipped: dict[str, int]


class Tape:
    """A recording on disk. Iterating reads it from the beginning, line by line. What is wrong raises Failure."""

    def __init__(self, path: Path, format: Format | None = None) -> None:
        self.path = path
        self.format: Format = format or self._guess()
        self._skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Recorded]:
        return self._nautilus() if self.format == "nautilus" else self._events()

    def length(self, longest_pause: float = float("inf")) -> Length:
        """Reads everything once, so that a broken recording is known before its first event is sent."""
        count, seconds, before = 0, 0.0, None
        for recorded in self:
            count += 1
            if before is not None:
                seconds += min(longest_pause, max(0.0, recorded.at - before))
            before = recorded.at
        return Length(count, seconds, dict(self._skipped))

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with self._open() as file:
                number = 0
                while line := file.readline(LINE_LIMIT + 1):
                    number += 1
                    if len(line) > LINE_LIMIT:
                        raise self._wrong(number, "is longer than 1 MiB")
                    if line.isspace():
                        continue
                    yield number, self._object(number, line)
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Failure(f"cannot read {self.path}: {reason}", Exit.USAGE) from None

    @contextmanager
    def _open(self) -> Iterator[BufferedReader | gzip.GzipFile]:
        with self.path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked

    def _object(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._wrong(number, f"is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise self._wrong(number, "is not a JSON object")
        return value

    def _guess(self) -> Format:
        for _, message in self._lines():
            return "nautilus" if "ts_init" in message or "ts_event" in message else "events"
        raise Failure(f"{self.path} is empty", Exit.USAGE)

    def _nautilus(self) -> Iterator[Recorded]:
        tape = NautilusTape()
        for number, message in self._lines():
            try:
                for at, event in tape.events(message):
                    yield Recorded(number, at, event)
            except NautilusError as error:
                raise self._wrong(number, str(error)) from None
        self._skipped = tape.skipped

    def _events(self) -> Iterator[Recorded]:
        """Our own events. One without an id gets one of its content, so that a second play is harmless."""
        seen: Counter[bytes] = Counter()
        for number, event in self._lines():
            at = self._time(number, event.pop("at", None))
            if event.get("id") is None:
                content = hashlib.sha256(json.dumps([at, event], sort_keys=True).encode()).digest()[:10]
                event["id"] = f"play-{content.hex()}-{seen[content]}"
                seen[content] += 1
            yield Recorded(number, at, event)

    def _time(self, number: int, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise self._wrong(number, "has no time `at` (Unix seconds or RFC 3339)") from None

    def _wrong(self, number: int, what: str) -> Failure:
        return Failure(f"{self.path}, line {number}: {what}", Exit.USAGE)


def stamped(recorded: Recorded, now: float) -> dict[str, Any]:
    """The event as it is sent at `now`; the time at which it really happened goes into its context."""
    try:
        happened = datetime.fromtimestamp(recorded.at, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        happened = str(recorded.at)
    context = recorded.event.get("context")
    kept = context if isinstance(context, dict) else {}
    return {**recorded.event, "at": now, "context": {**kept, "recorded_at": happened}}
