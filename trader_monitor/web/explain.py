"""The careful way through the border: finds what is wrong with an event that the fast way refused, and where.

Also what the fast way cannot take: times as text, and keys that may be there twice.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from trader_monitor.core.facts import EVENT_TYPES, Event
from trader_monitor.web.cut import brackets
from trader_monitor.web.fields import Fault, shown

__all__ = ["KINDS", "MAX_DEPTH", "duplicate_key", "event_from", "explain", "timed"]

MAX_DEPTH = 8
KINDS: dict[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in EVENT_TYPES}
_MOMENTS = ("at", "exchange_at", "predicted_at", "resets_at")
MAX_NESTED = 1000
"""Objects and arrays of an event whose faults are looked for."""
_MAX_HINTS = 10
MAX_FAULTS = 100
"""Faults of one event that are told."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What may be half of a surrogate pair, as JSON writes it."""
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_MAX_DIGITS = 400


class _Odd(msgspec.Struct, gc=False):
    """A number that JSON writers write and that is none: NaN, 1e999, ten thousand digits."""

    text: str


class _Pairs(list[tuple[str, Any]]):
    """An object in which a key comes twice."""


def explain(line: bytes, most: int = MAX_FAULTS) -> Event | list[Fault]:
    """The event, or the first faults that were found in it (of each field one)."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return [Fault("$", f"expected UTF-8, got the byte 0x{line[error.start]:02x} at {error.start + 1}")]
    deep, nested = brackets(line)
    if deep > MAX_DEPTH:
        return [Fault("$", f"nested more than {MAX_DEPTH} deep")]
    if nested > MAX_NESTED:
        return [Fault("$", f"expected an event, got {nested:,} objects and arrays")]
    try:
        tree, is_odd = _parse(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if isinstance(error, RecursionError):
            return [Fault("$", f"nested more than {MAX_DEPTH} deep")]
        return [Fault("$", f"expected JSON: {_lowered(error.msg)} at character {error.pos + 1}")]
    found = list(islice(_odd("$", tree), most)) if is_odd else []
    return found or event_from(tree, most)


def timed(line: bytes) -> Event | None:
    """The event, where nothing but times as text kept it from the fast way."""
    if line.count(b"[") + line.count(b"{") > MAX_NESTED:
        return None
    try:
        value = msgspec.json.decode(line)
        if not isinstance(value, dict) or not any(isinstance(value.get(name), str) for name in _MOMENTS):
            return None
        for name in _MOMENTS:
            if isinstance(value.get(name), str):
                value[name] = _moment(value[name])
        event: Event = msgspec.convert(value, KINDS[value["type"]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, KeyError, TypeError):
        return None
    return event


def event_from(value: object, most: int = MAX_FAULTS) -> Event | list[Fault]:
    """An event from plain values that hold no odd number; times may be text."""
    if not isinstance(value, dict):
        return [Fault("$", f"expected an object, got {_named(value)}")]
    if "type" not in value:
        return [Fault("$.type", f"expected one of {', '.join(KINDS)}; it is missing")]
    kind = KINDS.get(value["type"]) if isinstance(value["type"], str) else None
    if kind is None:
        hint = _closest(value["type"], KINDS)
        return [Fault("$.type", f"expected one of {', '.join(KINDS)}, got {_named(value['type'])}{hint}")]
    found: list[Fault] = []
    fields = dict(value)
    for name in _MOMENTS:
        if isinstance(fields.get(name), str):
            moment = _moment(fields[name])
            if moment is None:
                expected = "expected Unix seconds or RFC 3339 with an offset"
                found.append(Fault(f"$.{name}", f"{expected}, got {_named(fields[name])}"))
            fields[name] = moment or 0.0
    wanted = _fields(kind)
    for name in fields:
        if len(found) >= most:
            return found
        if name not in wanted and name != "type":
            hint = _closest(name, wanted) if len(found) < _MAX_HINTS else ""
            found.append(Fault(f"$.{shown(name)[1:-1]}", f"unknown field of {value['type']}{hint}"))
    for name, (hint_type, required) in wanted.items():
        if name not in fields:
            if required:
                found.append(Fault(f"$.{name}", f"expected {_wanted(hint_type)}; it is missing"))
            continue
        found += _mismatch(f"$.{name}", fields[name], hint_type, optional=not required)
    if found:
        return found
    try:
        event: Event = msgspec.convert({k: v for k, v in fields.items() if v is not None}, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        message, _, path = str(error).partition(" - at `")
        return [Fault(path.rstrip("`") or "$", message)]
    return event


def duplicate_key(line: bytes) -> Fault | None:
    """The first key that comes twice in one object of an event that is otherwise right."""
    tree, is_odd = _parse(line.decode())
    return next(_odd("$", tree), None) if is_odd else None


def _parse(text: str) -> tuple[Any, bool]:
    """What the text says, and whether there may be anything odd in it.

    Raises JSONDecodeError, and RecursionError for what is nested too deeply.
    """
    is_odd = _HALF.search(text) is not None

    def odd(number: str) -> _Odd:
        nonlocal is_odd
        is_odd = True
        return _Odd(number)

    def collected(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Pairs:
        nonlocal is_odd
        built = dict(pairs)
        if len(built) == len(pairs):
            return built
        is_odd = True
        return _Pairs(pairs)

    tree = json.loads(
        text,
        object_pairs_hook=collected,
        parse_constant=odd,
        parse_float=lambda number: float(number) if isfinite(float(number)) else odd(number),
        parse_int=lambda number: int(number) if len(number) <= _MAX_DIGITS else odd(number),
    )
    return tree, is_odd


def _odd(path: str, value: Any) -> Iterator[Fault]:
    """Faults that JSON has and plain values have not: odd numbers, keys twice, halves of surrogate pairs."""
    match value:
        case _Pairs() | dict():
            seen: set[str] = set()
            for key, inner in value.items() if isinstance(value, dict) else value:
                where = f"{path}.{shown(key)[1:-1]}"
                if _SURROGATE.search(key):
                    yield Fault(path, f"half of a surrogate pair in the key {shown(key)}")
                if key in seen:
                    yield Fault(where, "the key comes twice")
                seen.add(key)
                yield from _odd(where, inner)
        case list():
            for index, inner in enumerate(value):
                yield from _odd(f"{path}[{index}]", inner)
        case _Odd():
            yield Fault(path, f"expected a finite number, got {shown_number(value.text)}")
        case str() if _SURROGATE.search(value):
            yield Fault(path, "half of a surrogate pair: the text is not Unicode")


def shown_number(text: str) -> str:
    return text if len(text) <= 40 else f"a number of {len(text):,} characters"


def _moment(text: str) -> float | None:
    if len(text) > 40 or not _RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def _fields(kind: type[Event]) -> dict[str, tuple[Any, bool]]:
    """The fields of a type: what each holds, and whether it must be there."""
    known = _KNOWN.get(kind)
    if known is None:
        hints = get_type_hints(kind)
        known = _KNOWN[kind] = {
            field.name: (hints[field.name], field.required) for field in msgspec.structs.fields(kind)
        }
    return known


_KNOWN: dict[type[Event], dict[str, tuple[Any, bool]]] = {}


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _mismatch(path: str, value: Any, hint: Any, *, optional: bool) -> list[Fault]:
    """What is wrong with a value's type. null is taken for an optional field that is left out."""
    if value is None and optional:
        return []
    options = _options(hint)
    if isinstance(value, dict):
        for option in options:
            if get_origin(option) is dict:
                inner = get_args(option)[1]
                fitting = _options(inner)
                bad = ((key, item) for key, item in value.items() if not any(_fits(item, each) for each in fitting))
                nested = (_mismatch(f"{path}.{key}", item, inner, optional=False) for key, item in bad)
                return [fault for faults in islice(nested, MAX_FAULTS) for fault in faults]
    if any(_fits(value, option) for option in options):
        return []
    names = next((get_args(option) for option in options if get_origin(option) is Literal), ())
    return [Fault(path, f"expected {_wanted(hint)}, got {_named(value)}{_closest(value, names)}")]


def _fits(value: Any, option: Any) -> bool:
    if get_origin(option) is Literal:
        return isinstance(value, str) and value in get_args(option)
    if isinstance(value, bool):
        return option is bool
    if option is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1023)
    return isinstance(option, type) and isinstance(value, option)


def _wanted(hint: Any) -> str:
    names = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            names.append("one of " + ", ".join(get_args(option)))
        elif get_origin(option) is dict:
            names.append(f"an object of {_PLURALS.get(get_args(option)[1], 'plain values')}")
        elif option is not types.NoneType:
            names.append(_WORDS.get(option, "a value"))
    return " or ".join(names)


_PLURALS = {str: "texts", float | str | None: "numbers, texts or null"}
_WORDS = {float: "a finite number", str: "a text", bool: "true or false", int: "an integer"}


def _named(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {shown(value)}"
        case dict():
            return "an object"
        case list():
            return "an array"
        case int() if value.bit_length() > 128:
            return "a number that is too large"
        case int() | float():
            return shown(value)
        case _:
            return "something that JSON has not"


def _closest(word: object, among: Any) -> str:
    """ ", did you mean …?" where there is something like it."""
    if not isinstance(word, str) or len(word) > 40:
        return ""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), list(among), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
