"""Logs: JSON lines on stdout, colours on a terminal; libraries that use `logging` read the same.

A record has `timestamp` (ISO 8601, UTC), `level`, `logger`, `message`, `trace_id` where there is one, `context`
(whatever else was said) and `exception`. Text from outside cannot forge lines, move the cursor or reverse the
reading direction, and secrets are concealed by type and by value.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from trader_monitor.config.values import Secret
from trader_monitor.runtime.sink import Sink
from trader_monitor.runtime.trace import current_trace

# structlog.dev imports rich where it is installed: 4 MB that the daemon never uses. Hidden for this moment only.
_hidden = [name for name in ("rich", "better_exceptions") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]
try:
    import structlog
    import structlog.dev
finally:
    for _name in _hidden:
        sys.modules.pop(_name, None)

__all__ = ["Format", "Level", "dropped", "flush", "open_log"]

Format: TypeAlias = Literal["auto", "json", "console"]
Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

LONGEST_TEXT = 8192
MOST_ITEMS = 100
DEEPEST = 5
SHORTEST_SECRET = 6
FLUSH_WITHIN = 1.0

# C0, DEL, C1; zero-width and bidirectional controls; line and paragraph separators; surrogates; tags.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_CHATTY = ("aiohttp.access", "asyncio", "websockets")

_sink: Sink | None = None


def open_log(
    level: Level = "info", format: Format = "auto", *, secrets: Iterable[Secret] = (), descriptor: int = 1
) -> Sink:
    """Sets logging up for this process, or anew (on a reload). `secrets` are concealed wherever they occur."""
    global _sink
    terminal = os.isatty(descriptor)
    console = format == "console" or (format == "auto" and terminal)
    colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    record = _Record(secrets, _Console(colours) if console else _render_json)
    if _sink is None or _sink.closed or not _sink.serves(descriptor):
        _sink = Sink(descriptor, record.gap)
    sink = _sink
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, record],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="trader_monitor", *_: _Output(name, sink),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(record, sink))
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    return sink


def dropped() -> int:
    """How many lines were dropped because nobody read them in time."""
    return 0 if _sink is None else _sink.dropped


@atexit.register
def flush(within: float = FLUSH_WITHIN) -> None:
    """Waits at most so many seconds until the lines are out."""
    if _sink is not None:
        _sink.flush(within)


class _Output:
    """What structlog calls a logger: its methods take a rendered line."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = self.msg = sink.write


class _Record:
    """The last processor: gives a record its shape, makes it safe and renders it."""

    def __init__(self, secrets: Iterable[Secret], render: Any) -> None:
        self._render = render
        values = {secret.reveal() for secret in secrets}
        known = sorted((v for v in values if len(v) >= SHORTEST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
        now = datetime.now(UTC)
        return self.render(now, "error" if method == "exception" else method, logger.name, event)

    def gap(self, dropped: int) -> bytes:
        event = {"event": "log lines were dropped: nobody read them in time", "dropped": dropped}
        return self.render(datetime.now(UTC), "warning", __name__, event)

    def render(self, at: datetime, level: str, name: str, event: MutableMapping[str, Any]) -> bytes:
        """The line as bytes; it never raises, whatever is logged."""
        try:
            line = self._line(at, level, name, event)
        except Exception as error:  # foreign __str__, a mapping that changes meanwhile: the record still counts
            text = f"a record could not be rendered: {type(error).__name__}"
            line = self._line(at, level, name, {"event": text})
        return line.encode("utf-8", "backslashreplace") + b"\n"

    def _line(self, at: datetime, level: str, name: str, event: MutableMapping[str, Any]) -> str:
        message = event.pop("event", "")
        error = _error(event.pop("exc_info", None))
        stack = event.pop("stack_info", None)
        record: dict[str, Any] = {
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "logger": name,
            "message": self._plain(message if isinstance(message, str) else str(message)),
        }
        if trace_id := self._plain(event.pop("trace_id", None) or current_trace()):
            record["trace_id"] = trace_id
        if event:
            record["context"] = {self._text(str(key)): self._plain(value) for key, value in event.items()}
        if error is not None:
            record["exception"] = self._text(_traceback(error), 4 * LONGEST_TEXT)
        if isinstance(stack, str):
            record["stack"] = self._text(stack, 4 * LONGEST_TEXT)
        line: str = self._render(record)
        return line

    def _plain(self, value: object, depth: int = 0) -> Any:
        match value:
            case None | bool():
                return value
            case int() if abs(value) < 1 << 64:
                return int(value)
            case str():
                return self._text(str(value))
            case float():
                return value if value - value == 0 else str(value)
            case Secret():
                return "[secret]"
            case dict() if depth < DEEPEST:
                items = list(value.items())[:MOST_ITEMS]
                return {self._text(str(k)): self._plain(v, depth + 1) for k, v in items}
            case list() | tuple() | set() | frozenset() if depth < DEEPEST:
                return [self._plain(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
            case _:
                try:
                    return self._text(str(value))
                except Exception:  # foreign __str__
                    return f"<{type(value).__name__}>"

    def _text(self, text: str, longest: int = LONGEST_TEXT) -> str:
        if self._known is not None:
            text = self._known.sub("[secret]", text)
        return text if len(text) <= longest else f"{text[:longest]}… (+{len(text) - longest})"


class _Bridge(logging.Handler):
    """Brings the records of `logging` into the same shape."""

    def __init__(self, record: _Record, sink: Sink) -> None:
        super().__init__()
        self._record = record
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # a library's wrong format string must not cost its message
            message = f"{record.msg} {record.args}"
        event = {"event": message, "exc_info": record.exc_info, "stack_info": record.stack_info}
        level = record.levelname.lower()
        self._sink.write(self._record.render(datetime.fromtimestamp(record.created, UTC), level, record.name, event))


class _Console:
    """For eyes: structlog's renderer, with tracebacks indented so that none can pass for a line of its own."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours
        self._renderer = structlog.dev.ConsoleRenderer(colors=colours, repr_native_str=True, pad_event_to=0)

    def __call__(self, record: dict[str, Any]) -> str:
        event = {_escape(key): _escape_all(value) for key, value in record.get("context", {}).items()}
        event |= {key: _escape(record[key]) for key in ("timestamp", "level", "logger")}
        event["event"] = _escape(record["message"])
        if "trace_id" in record:
            event["trace_id"] = _escape(str(record["trace_id"]))[:8]
        blocks = [record[key] for key in ("exception", "stack") if key in record]
        line = self._renderer(None, record["level"], event)
        indented = ["    | " + _escape(part) for block in blocks for part in block.splitlines()]
        return "\n".join((str(line).rstrip(), *indented))


def _render_json(record: dict[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(_escaped, text)


def _escape(text: str) -> str:
    return _UNSAFE.sub(_escaped, text)


def _escape_all(value: Any) -> Any:
    """Strings are rendered by `repr`, which escapes; what lies deeper is rendered by `repr` as well."""
    return value if isinstance(value, str | int | float | bool | None) else _escape(repr(value))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def _error(given: Any) -> BaseException | None:
    """What `exc_info` may be: an exception, a tuple of three, or True for the present one."""
    match given:
        case BaseException():
            return given
        case (_, BaseException() as error, _):
            return error
        case None | False:
            return None
        case _:
            return sys.exception()


def _traceback(error: BaseException) -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:  # an exception's own __str__ is foreign code
        return type(error).__name__
