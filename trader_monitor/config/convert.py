"""TOML values into typed, frozen values, by the type hints of structs. No error hides another."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from trader_monitor.config.errors import Place, Report, among, close_to
from trader_monitor.config.values import ClockTime, Duration, Listen, Secret, Size
from trader_monitor.runtime.options import OptionError

__all__ = ["WRONG", "Converter"]

S = TypeVar("S", bound=msgspec.Struct)


class _Wrong:
    """What a conversion gives after it has reported."""


WRONG: Final = _Wrong()
_INT64 = 1 << 63
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@:]*:[^/?#\s@]+@", re.IGNORECASE)
_NOUNS: Final[dict[Any, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    date: "a date such as 2026-01-31",
}


class Converter:
    """Reads values against type hints; relative paths are taken from `base`."""

    def __init__(self, report: Report, base: Path) -> None:
        self.report = report
        self.base = base

    def struct(
        self,
        kind: type[S],
        value: object,
        path: Place,
        *,
        also: Mapping[str, Any] | None = None,
        names: Collection[str] = (),
    ) -> S | _Wrong:
        """A struct out of a TOML table. `also` holds values that another reader took from it, for fields of the same
        name; `names` are the other keys that may stand in the table, for the did-you-mean."""
        if not isinstance(value, dict):
            self.report.wrong(path, "expected a table", value=value)
            return WRONG
        also = also or {}
        fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                self.report.wrong((*path, key), "unknown key", hint=among(key, {*fields, *names}, "keys"))
        arguments: dict[str, Any] = {}
        keys = {field.name: key for key, field in fields.items()}
        sound = True
        for key, field in fields.items():
            if key in also and not isinstance(also[key], _Wrong):
                arguments[field.name] = also[key]
            elif key in value:
                arguments[field.name] = read = self.value(field.type, value[key], (*path, key))
                sound = sound and not isinstance(read, _Wrong)
            elif field.required:
                self.report.wrong((*path, key), "is missing")
                sound = False
        if not sound:
            return WRONG
        try:
            return kind(**arguments)
        except OptionError as error:
            for fault in error.faults:
                way = (keys[str(fault.way[0])], *fault.way[1:])
                self.report.wrong((*path, *way), fault.expected, value=self._written(kind, value, way))
        except (ValueError, TypeError) as error:
            self.report.wrong(path, str(error))
        return WRONG

    def _written(self, kind: type[msgspec.Struct], table: object, way: Place) -> object:
        """What stands in the table there, if it can be shown: never where a secret may stand."""
        field = next(field for field in msgspec.structs.fields(kind) if field.encode_name == way[0])
        if _takes_secret(field.type):
            return None
        found: Any = table
        for part in way:
            try:
                found = found[part]
            except (LookupError, TypeError):
                return None
        return found

    def value(self, hint: Any, value: object, path: Place) -> Any:
        """A value of the hinted type, or WRONG after the report says why."""
        origin = get_origin(hint)
        if origin is Annotated:
            inner, *notes = get_args(hint)
            return self._bounded(self.value(inner, value, path), notes, value, path)
        if origin in (Union, types.UnionType):
            return self._union(get_args(hint), value, path)
        if origin is Literal:
            return self._choice(get_args(hint), value, path)
        if hint in (tuple, list) or origin in (tuple, list):
            return self._array(hint, value, path)
        if hint is dict or origin in (dict, Mapping):
            return self._mapping(hint, value, path)
        if hint in (ClockTime, Duration, Size, Listen):
            return self._parsed(hint, value, path, value)
        if hint is Secret:
            return self._parsed(Secret, value, path, None)
        if hint is Path:
            return self._file(value, path)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, value, path)
        if isinstance(hint, typing.TypeVar) or hint in (Any, object):
            return value
        return self._scalar(hint, value, path)

    def _scalar(self, hint: Any, value: object, path: Place) -> Any:
        if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INT64:
            return float(value)
        if type(value) is not hint:
            if isinstance(value, dict) and hint is str and set(value) & {"env", "file", "credential"}:
                self.report.wrong(path, "expected a string: this is not a secret, write it out")
            else:
                self.report.wrong(path, f"expected {_NOUNS.get(hint, hint)}", value=value, hint=_repair(hint, value))
            return WRONG
        if isinstance(value, float) and not math.isfinite(value):
            self.report.wrong(path, "expected a finite number", value=str(value))
            return WRONG
        if isinstance(value, int) and abs(value) >= _INT64:
            self.report.wrong(path, "expected an integer of 64 bits", value=value)
            return WRONG
        if isinstance(value, str) and _PASSWORD.search(value):
            self.report.wrong(path, "holds a plain password", hint='give it as { env = "NAME" } or { file = "PATH" }')
            return WRONG
        return value

    def _parsed(self, hint: Any, value: object, path: Place, show: object) -> Any:
        try:
            return hint.parse(value)
        except ValueError as error:
            self.report.wrong(path, str(error), value=show)
            return WRONG

    def _file(self, value: object, path: Place) -> Any:
        if not isinstance(value, str) or not value or "\0" in value:
            self.report.wrong(path, "expected a path", value=value)
            return WRONG
        return self.base / Path(value).expanduser()

    def _union(self, members: tuple[Any, ...], value: object, path: Place) -> Any:
        real = [member for member in members if member is not type(None)]
        if len(real) == 1:
            return self.value(real[0], value, path)
        if Secret in real and isinstance(value, dict):
            return self.value(Secret, value, path)
        tries = []
        for member in real:
            trial = Converter(Report(), self.base)
            read = trial.value(member, value, path)
            if not trial.report.found:
                return read
            tries.append(trial.report.found)
        # A plain password is a password whatever else the value might have been.
        chosen = next((t for t in tries if "password" in t[0][1].expected), None)
        if chosen is not None:
            self.report.found += chosen
        else:
            wanted = " or ".join(dict.fromkeys(t[0][1].expected.removeprefix("expected ") for t in tries))
            self.report.wrong(path, f"expected {wanted}", value=None if Secret in real else value)
        return WRONG

    def _choice(self, choices: tuple[Any, ...], value: object, path: Place) -> Any:
        if any(type(value) is type(choice) and value == choice for choice in choices):
            return value
        wanted = ", ".join(str(choice) for choice in choices)
        self.report.wrong(path, f"expected one of {wanted}", value=value, hint=close_to(value, map(str, choices)))
        return WRONG

    def _array(self, hint: Any, value: object, path: Place) -> Any:
        arguments = get_args(hint)
        inner = arguments[0] if arguments else str
        if not isinstance(value, list):
            repair = "put it in brackets" if type(value) is inner else ""
            self.report.wrong(path, "expected an array", value=None if inner is Secret else value, hint=repair)
            return WRONG
        if get_origin(hint) is tuple and Ellipsis not in arguments:
            if len(value) != len(arguments):
                self.report.wrong(path, f"expected {len(arguments)} values", value=value)
                return WRONG
            read = [self.value(arguments[i], item, (*path, i)) for i, item in enumerate(value)]
        else:
            read = [self.value(inner, item, (*path, i)) for i, item in enumerate(value)]
        if any(isinstance(item, _Wrong) for item in read):
            return WRONG
        return read if (get_origin(hint) or hint) is list else tuple(read)

    def _mapping(self, hint: Any, value: object, path: Place) -> Any:
        _, inner = get_args(hint) or (str, str)
        if not isinstance(value, dict):
            self.report.wrong(path, "expected a table", value=None if inner is Secret else value)
            return WRONG
        read = {key: self.value(inner, item, (*path, key)) for key, item in value.items()}
        return WRONG if any(isinstance(item, _Wrong) for item in read.values()) else read

    def _bounded(self, read: Any, notes: list[Any], value: object, path: Place) -> Any:
        if isinstance(read, _Wrong):
            return read
        for meta in notes:
            if not isinstance(meta, msgspec.Meta) or (broken := _breach(meta, read)) is None:
                continue
            self.report.wrong(path, broken, value=None if isinstance(read, Secret) else value)
            return WRONG
        return read


def _takes_secret(hint: Any) -> bool:
    return hint is Secret or any(map(_takes_secret, get_args(hint)))


def _breach(meta: msgspec.Meta, read: Any) -> str | None:
    """What of the constraints does not hold, in words."""
    is_duration = isinstance(read, Duration)

    def words(limit: float) -> str:
        return f"{limit:g}s" if is_duration else f"{limit:g}" if isinstance(limit, float) else str(limit)

    if meta.ge is not None and not read >= meta.ge:
        return f"expected at least {words(meta.ge)}"
    if meta.gt is not None and not read > meta.gt:
        return f"expected more than {words(meta.gt)}"
    if meta.le is not None and not read <= meta.le:
        return f"expected at most {words(meta.le)}"
    if meta.lt is not None and not read < meta.lt:
        return f"expected less than {words(meta.lt)}"
    if meta.min_length is not None and len(read) < meta.min_length:
        return "must not be empty" if meta.min_length == 1 else f"expected a length of at least {meta.min_length}"
    if meta.max_length is not None and len(read) > meta.max_length:
        return f"expected a length of at most {meta.max_length}"
    if meta.pattern is not None and not re.search(meta.pattern, read):
        return meta.description or f"expected to match {meta.pattern}"
    return None


def _repair(hint: Any, value: object) -> str:
    """How the same value would be written right."""
    if not isinstance(value, str):
        return ""
    if hint is bool and value.lower() in {"true", "false"}:
        return f"write {value.lower()} without quotes"
    if hint is date and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return f"write {value} without quotes"
    if hint in (int, float) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value):
        return f"write {value} without quotes"
    return ""
