"""Numbers as Prometheus writes them: the shortest digits that come back to the same value."""

from __future__ import annotations

import math

__all__ = ["parsed", "shown"]


def shown(value: float) -> str:
    """Without an exponent: `1`, `0.25`, `100000000000000000000`, `NaN`, `+Inf`, `-Inf`."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" not in text:
        return text
    return _plain(text)


def _plain(text: str) -> str:
    """`1.5e-07` written out."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return sign + digits + "0" * (point - len(digits))  # an exponent is written from 1e16 on: all digits are whole


def parsed(text: str) -> float:
    """A number as bucket bounds (`le`) are written. Raises ValueError."""
    if text != text.strip() or "_" in text:
        raise ValueError(f"not a number: {text!r}")
    return float(text)
