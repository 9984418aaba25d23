"""What the fields of an event may hold beyond their types: signs, ratios, times, names and sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from math import isfinite
from typing import Any, NamedTuple

from trader_monitor.core import facts

__all__ = ["MAX_LABELS", "MAX_LABEL_VALUE", "MAX_NAME", "Fault", "Window", "faults", "plain", "sound", "time_fault"]

MAX_NAME = 512
"""Characters of a name: a source, a symbol, an endpoint …"""

MAX_LABELS = 32
MAX_LABEL_VALUE = 1024
MAX_CONTEXT = 64
MAX_FEATURES = 2_000
MAX_FEATURE_NAME = 256
MAX_CATEGORY = 128
FLOAT32_MAX = 3.4028234663852886e38
"""Features are kept as float32: what is larger would be infinite."""

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_PREFIXES = ("monitor_", "host_")
_OWN_NAMES = ("ALERTS", "collector_up", "collector_duration_seconds")
_YEAR = 365.25 * 86400.0
_Y2000 = 946_684_800.0
_PER_SECOND = ((1e9, "nanoseconds"), (1e6, "microseconds"), (1e3, "milliseconds"))


class Fault(NamedTuple):
    """What is wrong, and where in the event."""

    path: str
    error: str


class Window(NamedTuple):
    """When an event may have happened: Unix seconds; `now` is between them. `reserved` names our own metrics."""

    now: float
    oldest: float
    newest: float
    reserved: Container[str] = ()


def time_fault(at: float, window: Window) -> str | None:
    """What is wrong with an event's time, if anything is."""
    if window.oldest <= at <= window.newest:
        return None
    if not isfinite(at):
        return f"expected a finite number, got {shown(at)}"
    for factor, unit in _PER_SECOND:
        if at > 0 and abs(at / factor - window.now) < 30 * _YEAR:
            return f"looks like {unit}: expected Unix seconds or RFC 3339, got {at:.0f}"
    if at > window.newest:
        return f"is {_span(at - window.now)} in the future: at most {_span(window.newest - window.now)} is accepted"
    return f"is {_span(window.now - at)} old: older than the retention of {_span(window.now - window.oldest)}"


def _span(seconds: float) -> str:
    if seconds >= 1e6 * _YEAR:
        return "more than a million years"
    for size, unit in ((_YEAR, "years"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


class _Rule(NamedTuple):
    field: str
    holds: Callable[[Any], bool]
    wanted: str


def _positive(field: str) -> _Rule:
    return _Rule(field, lambda value: 0 < value < _INFINITY, "a positive number")


def _not_negative(field: str) -> _Rule:
    return _Rule(field, lambda value: 0 <= value < _INFINITY, "a number of at least 0")


def _ratio(field: str) -> _Rule:
    return _Rule(field, lambda value: 0 <= value <= 1, "a ratio from 0 to 1")


def _status(field: str) -> _Rule:
    return _Rule(field, lambda value: 100 <= value <= 599, "an HTTP status from 100 to 599")


def _finite(field: str) -> _Rule:
    return _Rule(field, isfinite, "a finite number")


def _name(field: str) -> _Rule:
    return _Rule(field, lambda value: 0 < len(value) <= MAX_NAME, f"a text of 1 to {MAX_NAME} characters")


def _text(field: str) -> _Rule:
    return _Rule(field, lambda value: len(value) <= 4 * MAX_NAME, f"a text of at most {4 * MAX_NAME} characters")


def _output(field: str) -> _Rule:
    def holds(value: float | str) -> bool:
        return 0 < len(value) <= MAX_NAME if isinstance(value, str) else isfinite(value)

    return _Rule(field, holds, "a finite number or a short text")


def _moment(field: str) -> _Rule:
    return _Rule(field, lambda value: _Y2000 <= value <= 2 * _Y2000 + 40 * _YEAR, "a time in Unix seconds or RFC 3339")


_INFINITY = float("inf")
_OF_TYPE: dict[type, tuple[_Rule, ...]] = {
    facts.Trade: (
        *map(_name, ("source", "symbol", "exchange", "account", "strategy", "order_id", "currency", "corrects")),
        *map(_positive, ("quantity",)),
        *map(_finite, ("price", "fee", "realized_pnl", "expected_price")),
        _not_negative("execution_seconds"),
    ),
    facts.Order: (
        *map(_name, ("source", "order_id", "symbol", "exchange", "account", "strategy")),
        *map(_not_negative, ("quantity", "filled_quantity", "latency_seconds")),
        _finite("price"),
        _text("reason"),
    ),
    facts.Position: (
        *map(_name, ("source", "symbol", "account", "exchange", "sector", "currency")),
        *map(_finite, ("quantity", "entry_price", "mark_price", "unrealized_pnl")),
        _positive("multiplier"),
    ),
    facts.Account: (
        *map(_name, ("source", "account", "currency")),
        *map(_finite, ("equity", "cash", "external_flow")),
        *map(_not_negative, ("margin_used", "margin_limit")),
    ),
    facts.Request: (
        *map(_name, ("exchange", "endpoint", "source")),
        _not_negative("latency_seconds"),
        _status("status"),
        _text("error"),
    ),
    facts.RateLimit: (
        *map(_name, ("exchange", "scope", "source")),
        *map(_not_negative, ("remaining", "limit")),
        _moment("resets_at"),
    ),
    facts.Connection: (*map(_name, ("exchange", "source", "channel")), _text("reason")),
    facts.MarketData: (
        *map(_name, ("exchange", "symbol", "channel", "source")),
        *map(_finite, ("price", "bid", "ask")),
        _moment("exchange_at"),
    ),
    facts.Decision: (
        *map(_name, ("source", "action", "symbol")),
        *map(_ratio, ("confidence", "consensus")),
        _not_negative("latency_seconds"),
        _text("error"),
    ),
    facts.Prediction: (
        *map(_name, ("model", "version", "source", "subject", "label")),
        _output("output"),
        *map(_ratio, ("probability", "confidence")),
        _not_negative("horizon_seconds"),
    ),
    facts.Outcome: (
        *map(_name, ("prediction_id", "model", "subject", "version", "source")),
        _output("actual"),
        _moment("predicted_at"),
    ),
    facts.Heartbeat: (_name("source"), _positive("interval_seconds")),
    facts.Sample: (_finite("value"), *map(_name, ("source", "unit")), _text("help")),
    facts.HttpRequest: (
        *map(_name, ("endpoint", "method", "source")),
        _status("status"),
        _not_negative("duration_seconds"),
    ),
}

_RULES = {kind: (_name("id"), *rules) for kind, rules in _OF_TYPE.items()}
_SIGNS = {
    kind: tuple(
        rule for rule in rules if rule.wanted.startswith(("a positive", "a number of", "a ratio", "an HTTP", "a time"))
    )
    for kind, rules in _OF_TYPE.items()
}


def plain(line: bytes) -> bool:
    """Whether a line of JSON is so short that no text in it can be too long, and holds no empty text.

    Numbers that were decoded from JSON are finite; so of such an event only signs and ratios are left to check.
    """
    return len(line) <= MAX_NAME and b'""' not in line


def sound(trade: facts.Trade, window: Window) -> bool:
    """Whether nothing can be wrong with a trade from a plain line: most events are that, and there are many."""
    return (
        window.oldest <= trade.at <= window.newest
        and trade.quantity > 0
        and trade.execution_seconds is None
        and trade.context is None
        and trade.corrects is None
        and trade.cancelled is None
        and -_INFINITY < trade.quantity * trade.price < _INFINITY
    )


def faults(fact: facts.Event, window: Window, *, is_plain: bool = False) -> list[Fault]:
    """All that is wrong with an event whose types are right; mostly nothing. For `is_plain` see `plain`."""
    found: list[Fault] = []
    if not window.oldest <= fact.at <= window.newest:
        found.append(Fault("$.at", time_fault(fact.at, window) or ""))
    kind = type(fact)
    for field, holds, wanted in (_SIGNS if is_plain else _RULES)[kind]:
        value = getattr(fact, field)
        if value is not None and not holds(value):
            found.append(Fault(f"$.{field}", f"expected {wanted}, got {shown(value)}"))
    if fact.context is not None:
        found += _context(fact.context)
    more = _FURTHER.get(kind)
    if more is not None:
        found += more(fact, window)
    return found


def shown(value: object) -> str:
    """A value in a message: short, and harmless on a terminal."""
    text = ascii(value) if isinstance(value, str) else str(value)
    if isinstance(value, float) and not isfinite(value):
        text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text):,} characters)"


def _context(context: dict[str, facts.Scalar]) -> list[Fault]:
    found: list[Fault] = []
    if len(context) > MAX_CONTEXT:
        return [Fault("$.context", f"expected at most {MAX_CONTEXT} entries, got {len(context):,}")]
    for key, value in context.items():
        if isinstance(value, float) and not isfinite(value):
            found.append(Fault(f"$.context.{key}", f"expected a finite number, got {shown(value)}"))
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            found.append(Fault(f"$.context.{key}", "expected an integer of 64 bits; send larger ones as text"))
    return found


def _trade(trade: facts.Trade, window: Window) -> list[Fault]:
    if isfinite(trade.price) and trade.quantity < _INFINITY and not isfinite(trade.quantity * trade.price):
        return [Fault("$.quantity", "quantity times price is not a finite number")]
    if trade.cancelled and trade.corrects is None:
        return [Fault("$.corrects", "expected the id of the trade that is cancelled; it is missing")]
    if trade.corrects is not None and trade.corrects == trade.id:
        return [Fault("$.corrects", "a trade cannot correct itself: a correction has an id of its own")]
    return []


def _prediction(prediction: facts.Prediction, window: Window) -> list[Fault]:
    features = prediction.features or {}
    if len(features) > MAX_FEATURES:
        return [Fault("$.features", f"expected at most {MAX_FEATURES:,} features, got {len(features):,}")]
    if not features or _is_plain(features):
        return []
    found = []
    for name, value in features.items():
        if not 0 < len(name) <= MAX_FEATURE_NAME:
            wanted = f"expected names of 1 to {MAX_FEATURE_NAME} characters"
            found.append(Fault("$.features", f"{wanted}, got {shown(name)}"))
        if isinstance(value, str):
            if len(value) > MAX_CATEGORY:
                wanted = f"expected a category of at most {MAX_CATEGORY} characters"
                found.append(Fault(f"$.features.{name}", f"{wanted}, got {len(value):,}"))
        elif value is not None and not -FLOAT32_MAX <= value <= FLOAT32_MAX:
            wanted = "a number within float32 (3.4e38)" if isfinite(value) else "a finite number, or null"
            found.append(Fault(f"$.features.{name}", f"expected {wanted}, got {shown(value)}"))
    return found


def _is_plain(features: dict[str, float | str | None]) -> bool:
    """Whether all are numbers, and all right: looked at together, because there are hundreds."""
    values: Any = features.values()
    try:
        return (
            isfinite(sum(values))
            and min(values) >= -FLOAT32_MAX
            and max(values) <= FLOAT32_MAX
            and max(map(len, features)) <= MAX_FEATURE_NAME
            and "" not in features
        )
    except TypeError:
        return False


def _outcome(outcome: facts.Outcome, window: Window) -> list[Fault]:
    if outcome.prediction_id is not None:
        return []
    missing = [field for field in ("model", "subject", "predicted_at") if getattr(outcome, field) is None]
    if not missing:
        return []
    return [Fault(f"$.{missing[0]}", "expected prediction_id, or model, subject and predicted_at")]


def _sample(sample: facts.Sample, window: Window) -> list[Fault]:
    found = []
    name = sample.name
    if len(name) > MAX_NAME or not _METRIC.fullmatch(name):
        found.append(Fault("$.name", f"expected a metric name of letters, digits, _ and :, got {shown(name)}"))
    elif name in window.reserved or name in _OWN_NAMES or name.startswith(_OWN_PREFIXES):
        found.append(Fault("$.name", f"{name} is written by the monitor itself: choose another name"))
    labels = sample.labels
    if len(labels) > MAX_LABELS:
        found.append(Fault("$.labels", f"expected at most {MAX_LABELS} labels, got {len(labels):,}"))
        return found
    for label, value in labels.items():
        if len(label) > MAX_NAME or not _LABEL.fullmatch(label):
            found.append(Fault("$.labels", f"expected label names of letters, digits and _, got {shown(label)}"))
        elif label.startswith("__"):
            found.append(Fault(f"$.labels.{label}", "label names that begin with __ are reserved"))
        elif label == "source" and sample.source is not None:
            found.append(Fault("$.labels.source", "the event's own source is this label already"))
        if len(value) > MAX_LABEL_VALUE:
            found.append(
                Fault(f"$.labels.{label[:40]}", f"expected at most {MAX_LABEL_VALUE} characters, got {len(value):,}")
            )
    return found


_FURTHER: dict[type, Callable[[Any, Window], list[Fault]]] = {
    facts.Trade: _trade,
    facts.Prediction: _prediction,
    facts.Outcome: _outcome,
    facts.Sample: _sample,
}
