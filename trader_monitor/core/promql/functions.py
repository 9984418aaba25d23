"""Functions of instant vectors, element by element: mathematics, trigonometry, clamping and the calendar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from trader_monitor.core.samples import Floats

__all__ = ["CALENDAR", "ELEMENTWISE", "clamp", "clamp_max", "clamp_min", "round_to"]

Dates: TypeAlias = np.ndarray[Any, Any]
Elementwise: TypeAlias = Callable[[Floats], Floats]


def _sgn(values: Floats) -> Floats:
    return np.where(values == 0, values, np.sign(values))


ELEMENTWISE: dict[str, Elementwise] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": _sgn,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": lambda v: v * 180.0 / np.pi,
    "rad": lambda v: v * np.pi / 180.0,
}


def round_to(values: Floats, nearest: Floats) -> Floats:
    """To the nearest multiple, halves up. Divided by the inverse, which keeps 0.1 exact."""
    inverse = 1.0 / nearest
    return np.floor(values * inverse + 0.5) / inverse


def clamp(values: Floats, low: Floats, high: Floats) -> Floats:
    return clamp_min(clamp_max(values, high), low)


def clamp_min(values: Floats, low: Floats) -> Floats:
    """The larger of the two. Infinity is larger than NaN, as IEEE 754's maximum has it and Go's."""
    return np.where((values == np.inf) | (low == np.inf), np.inf, np.maximum(values, low))


def clamp_max(values: Floats, high: Floats) -> Floats:
    """The smaller of the two; -infinity is smaller than NaN."""
    return np.where((values == -np.inf) | (high == -np.inf), -np.inf, np.minimum(values, high))


def _seconds(values: Floats) -> tuple[Dates, Dates]:
    """Whole seconds since 1970 as a date, and where the value is none (NaN, infinite, beyond all calendars)."""
    bad = ~(np.abs(values) < 1e11)
    whole = np.where(bad, 0, np.trunc(values)).astype(np.int64)
    return whole.astype("datetime64[s]"), bad


def _calendar(part: Callable[[Dates], Dates]) -> Elementwise:
    def call(values: Floats) -> Floats:
        date, bad = _seconds(values)
        return np.where(bad, np.nan, part(date).astype(np.float64))

    return call


def _days(date: Dates) -> Dates:
    return date.astype("datetime64[D]")


def _month_length(date: Dates) -> Dates:
    month = date.astype("datetime64[M]")
    return np.asarray(
        (month + np.timedelta64(1, "M")).astype("datetime64[D]") - month.astype("datetime64[D]"), np.int64
    )


CALENDAR: dict[str, Elementwise] = {
    "minute": _calendar(lambda d: d.astype(np.int64) // 60 % 60),
    "hour": _calendar(lambda d: d.astype(np.int64) // 3600 % 24),
    "day_of_week": _calendar(lambda d: (_days(d).astype(np.int64) + 4) % 7),
    "day_of_month": _calendar(
        lambda d: (_days(d) - d.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1
    ),
    "day_of_year": _calendar(
        lambda d: (_days(d) - d.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
    ),
    "days_in_month": _calendar(_month_length),
    "month": _calendar(lambda d: d.astype("datetime64[M]").astype(np.int64) % 12 + 1),
    "year": _calendar(lambda d: d.astype("datetime64[Y]").astype(np.int64) + 1970),
}
