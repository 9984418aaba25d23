"""Headroom of a rate limit: what is left of it, and when it is used up if calls go on as they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from trader_monitor.core.facts import RateLimit
from trader_monitor.core.figure import Figure, Pairs, exact, missing, sampled, told

__all__ = ["Allowance", "ScopeKey", "headroom_figures"]

ScopeKey: TypeAlias = tuple[str, str | None, str | None]
"""Exchange, scope, source: bots with keys of their own have limits of their own."""

REPORTS = 16
"""The newest reports of the present reset window that the rate of consumption is taken from."""

FEWEST = 3
STALE_SECONDS = 300.0

_LEFT = "remaining / limit at the last report"
_USED_UP = (
    "remaining / rate, less the time since the last report; rate: first to last of the newest 16 reports in one window"
)
_NO_INTERVAL = "extrapolated from the reports' endpoints"


class Allowance(Struct, array_like=True):
    """One limit. A reset window ends at its resets_at, or where more remains than before. Memory: some 1.5 KB."""

    reports: list[tuple[float, float]] = field(default_factory=list)
    """Time and remaining, oldest first, within the present window."""
    limit: float | None = None
    resets_at: float | None = None

    def take(self, report: RateLimit, at: float) -> None:
        """A report older than the newest changes nothing: its window may be over."""
        reports = self.reports
        if reports:
            newest_at, remaining = reports[-1]
            if at < newest_at:
                return
            if report.remaining > remaining or (self.resets_at is not None and newest_at < self.resets_at <= at):
                reports.clear()
        reports.append((at, report.remaining))
        if len(reports) > REPORTS:
            del reports[0]
        if report.limit is not None:
            self.limit = report.limit
        self.resets_at = report.resets_at

    def figures(self, labels: Pairs, now: float) -> Iterator[Figure]:
        n = len(self.reports)
        at, remaining = self.reports[-1]
        old = self._old(at, now)
        name = "exchange_rate_limit_headroom_ratio"
        if old or not self.limit:
            yield missing(name, labels, n, _LEFT, old or "no report told the limit")
        else:
            yield exact(name, labels, remaining / self.limit, n, _LEFT)
        name = "exchange_rate_limit_exhaustion_seconds"
        first_at, first = self.reports[0]
        if old:
            yield missing(name, labels, n, _USED_UP, old)
        elif remaining <= 0.0:
            yield exact(name, labels, 0.0, n, _USED_UP)
        elif n < FEWEST or at <= first_at:
            yield missing(name, labels, n, _USED_UP, f"fewer than {FEWEST} reports at different times in this window")
        elif first <= remaining:
            yield missing(name, labels, n, _USED_UP, "it is not falling")
        else:
            left = max(0.0, at + remaining * (at - first_at) / (first - remaining) - now)
            if self.resets_at is not None and now + left >= self.resets_at:
                yield missing(name, labels, n, _USED_UP, "it renews before it is used up")
            else:
                yield sampled(name, labels, left, n, _USED_UP, None, open=_NO_INTERVAL)

    def _old(self, at: float, now: float) -> str:
        """Why the last report says nothing of the present, or nothing."""
        if self.resets_at is not None and at < self.resets_at <= now:
            return "it was renewed after the last report"
        return "the last report is more than 5 min old" if now - at > STALE_SECONDS else ""


def headroom_figures(allowances: Mapping[ScopeKey, Allowance], now: float) -> Iterator[Figure]:
    for (exchange, scope, source), allowance in allowances.items():
        yield from allowance.figures(told(exchange=exchange, scope=scope, source=source), now)
