"""How numbers, moments and names are written in a report, whatever its format."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["clean", "count", "moment", "number", "percent", "probability"]


def clean(text: str) -> str:
    """On one line, without characters that a terminal or a browser would obey."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits, few of them where the number is large."""
    if value is None:
        return "–"
    if value != 0.0 and (abs(value) >= 1e6 or abs(value) < 0.5 * 10.0**-digits):
        return f"{value:.3g}"
    return f"{value:,.{digits}f}" if abs(value) < 1000.0 else f"{value:,.0f}"


def probability(value: float | None) -> str:
    """As far as it can be trusted: below a thousandth only that it is."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100.0:.1f} %"


def count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def moment(at: float | None) -> str:
    """In UTC: a report is read in other places than where it was made."""
    if at is None:
        return "–"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return str(at)
