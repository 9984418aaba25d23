"""Requests: how often the calls of an exchange's API fail, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from trader_monitor.core.facts import Request
from trader_monitor.core.figure import Figure, Pairs
from trader_monitor.core.statistics.percentiles import CONVENTION, Sketches, bucket, sketch_key
from trader_monitor.core.statistics.rolling import DAY, HOUR, Cell, Rolling, RollingKept
from trader_monitor.core.statistics.shares import merged, share

__all__ = ["OTHERS", "EndpointKey", "Requests"]

EndpointKey: TypeAlias = tuple[str, str]
"""Exchange, endpoint."""

CALLS, ERRORS = 0, 1
LATENCY = 1

MOST_ENDPOINTS = 512
OTHERS = "(others)"
"""Where the calls of further endpoints are counted: of an exchange, or where exchanges are too many, of all others."""

_LATENCY = sketch_key(LATENCY)
_FAILED = "failed calls / calls"
_NONE = "no call in this window"


class Requests:
    """Calls by endpoint in rolling sums; an exchange's figures are of its endpoints' added sums.

    Memory: at most 512 endpoints and an `OTHERS` for each of 256 exchanges; one with twenty calls a minute takes some
    70 KB, at most 500 KB where its latencies fall into every bucket in every five minutes.
    """

    def __init__(self) -> None:
        self.endpoints: dict[EndpointKey, Rolling] = {}

    def fold(self, request: Request, t_ms: int) -> None:
        rolling = self.endpoints.get((request.exchange, request.endpoint))
        if rolling is None:
            rolling = self._open(request.exchange, request.endpoint)
        cell = rolling.current if rolling.begin_ms <= t_ms < rolling.end_ms else rolling.cell(t_ms)
        cell[CALLS] = cell.get(CALLS, 0.0) + 1.0
        if not request.ok:
            cell[ERRORS] = cell.get(ERRORS, 0.0) + 1.0
        key = _LATENCY + bucket(request.latency_seconds)
        cell[key] = cell.get(key, 0.0) + 1.0

    def _open(self, exchange: str, endpoint: str) -> Rolling:
        key = (exchange, endpoint)
        if len(self.endpoints) >= MOST_ENDPOINTS:
            key = (exchange, OTHERS)
            if len(self.endpoints) >= MOST_ENDPOINTS + 255 and key not in self.endpoints:
                key = (OTHERS, OTHERS)
        return self.endpoints.setdefault(key, Rolling())

    def figures(self, now_ms: int) -> Iterator[Figure]:
        exchanges: dict[str, list[str]] = {}
        for (exchange, endpoint), rolling in self.endpoints.items():
            if not rolling.asleep(now_ms):
                exchanges.setdefault(exchange, []).append(endpoint)
        for window in (HOUR, DAY):
            for exchange, endpoints in exchanges.items():
                cells = []
                for endpoint in endpoints:
                    cell = self.endpoints[exchange, endpoint].total(window, now_ms)
                    labels = (("exchange", exchange), ("endpoint", endpoint), ("window", window.name))
                    yield from _figures(labels, cell)
                    cells.append(cell)
                yield from _figures((("exchange", exchange), ("window", window.name)), merged(cells))

    def dump(self) -> list[tuple[EndpointKey, RollingKept]]:
        return [(key, rolling.dump()) for key, rolling in self.endpoints.items()]

    def load(self, kept: list[tuple[EndpointKey, RollingKept]]) -> None:
        self.endpoints.update((key, Rolling.load(rolling)) for key, rolling in kept)


def _figures(labels: Pairs, cell: Cell) -> Iterator[Figure]:
    calls = int(cell.get(CALLS, 0.0))
    yield share("exchange_error_ratio", labels, int(cell.get(ERRORS, 0.0)), calls, _FAILED, _NONE)
    yield from Sketches(cell).of(LATENCY).figures("exchange_request_quantile_seconds", labels, CONVENTION, _NONE)
