"""What a query is asked with: parameters of the address and of a form, each checked and said what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from aiohttp import web

__all__ = ["Parameters", "Refused", "bad", "limit", "moment", "one", "parameters", "required", "seconds_of"]

_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}

_MAX_DIGITS = 18
"""Digits of a whole number: Python refuses to read thousands of them."""

Parameters: TypeAlias = Mapping[str, list[str]]


class Refused(Exception):
    """A request that has no answer: HTTP status, Prometheus's kind of error, and why."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


async def parameters(request: web.Request) -> Parameters:
    """Those of the address and, of a POST, of its form."""
    given: dict[str, list[str]] = {}
    for name, value in request.query.items():
        given.setdefault(name, []).append(value)
    if request.method == "POST":
        if request.content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
            raise Refused(400, "bad_data", "expected a form (application/x-www-form-urlencoded)")
        try:
            form = await request.post()
        except (ValueError, LookupError, AssertionError) as error:  # what aiohttp raises on a form that is none
            raise Refused(400, "bad_data", f"the form cannot be read: {str(error)[:200]}") from None
        for name, field in form.items():
            if isinstance(field, str):
                given.setdefault(name, []).append(field)
    return given


def one(given: Parameters, name: str) -> str | None:
    values = given.get(name)
    return values[0] if values and values[0] else None


def required(given: Parameters, name: str) -> str:
    value = one(given, name)
    if value is None:
        raise bad(name, "is missing")
    return value


def bad(name: str, reason: str) -> Refused:
    return Refused(
        400, "bad_data", f"invalid parameter {name!r}: {reason if len(reason) <= 500 else reason[:500] + '…'}"
    )


def moment(given: Parameters, name: str, default: int | None = None) -> int:
    """Milliseconds out of Unix seconds or RFC 3339."""
    text = one(given, name)
    if text is None:
        if default is None:
            raise bad(name, "is missing")
        return default
    try:
        at = float(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise bad(name, f"cannot parse {text[:40]!r} to a valid timestamp") from None
        at = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(at) or abs(at) > 9e12:
        raise bad(name, f"cannot parse {text[:40]!r} to a valid timestamp")
    return round(at * 1000)


def seconds_of(text: str, name: str) -> float:
    """Seconds out of a number or a duration such as 1h30m."""
    try:
        duration = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(n + unit for n, unit in parts) != text:
            raise bad(name, f"cannot parse {text[:40]!r} to a valid duration") from None
        duration = sum(float(n) * _UNITS[unit] for n, unit in parts)
    if not math.isfinite(duration) or abs(duration) > 9e12:
        raise bad(name, f"cannot parse {text[:40]!r} to a valid duration")
    return duration


def limit(given: Parameters) -> int:
    text = one(given, "limit")
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise bad("limit", f"expected a number of 0 or more, got {text[:40]!r}")
    return int(text)
