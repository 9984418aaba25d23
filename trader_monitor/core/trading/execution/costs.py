"""The figures of execution: how orders end, how long they and their fills take, and what they cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from trader_monitor.core.figure import Figure, Pairs, exact, missing, sampled
from trader_monitor.core.statistics.intervals import around
from trader_monitor.core.statistics.percentiles import CONVENTION, Sketch, Sketches
from trader_monitor.core.statistics.rolling import DAY, HOUR, Cell
from trader_monitor.core.statistics.shares import mean, mean_of, merged, share
from trader_monitor.core.trading.execution.execution import (
    CURRENCIES,
    IMPACT,
    LATENCY,
    SECONDS,
    SHORTFALL,
    SLIPPAGE,
    UNMEASURED_FROM,
    WEIGHTED,
    Execution,
)
from trader_monitor.core.trading.execution.orders import CANCELLED, EXPIRED, FILLED, REJECTED
from trader_monitor.core.trading.execution.shortfall import BENCHMARKS, UNMEASURED

__all__ = ["execution_figures"]

_RATES = (("order_fill_ratio", FILLED), ("order_reject_ratio", REJECTED), ("order_cancel_ratio", CANCELLED))
_ENDED = {
    "order_fill_ratio": "orders filled in full / orders that ended (filled, rejected, cancelled, expired)",
    "order_reject_ratio": "orders rejected / orders that ended (filled, rejected, cancelled, expired)",
    "order_cancel_ratio": "orders cancelled, partly filled ones too / orders that ended (filled, rejected, cancelled, "
    "expired)",
}
_NO_ORDER = "no order ended in this window"
_WEIGHTED = (
    "(price - expected) / expected, a sale's negated: positive is worse; weight quantity x expected; 1 bp = 1e-4"
)
_FILLS = f"(price - expected) / expected, a sale's negated: positive is worse; per fill; {CONVENTION}"
_SHORTFALL = (
    "(s sum q (p - P0) + fees / multiplier + s (Q - sum q) (P end - P0)) / (Q P0), mean over orders (Perold 1988); "
    "P0: {}"
)
_DECISION = {
    "expected": "expected price of the first fill",
    "market": "market when the order was first heard of, at most 30 s old",
    "order": "the order's own price",
}
_SHORTFALLS = tuple(_SHORTFALL.format(_DECISION[name]) for name in BENCHMARKS)
_IMPACT = "s (P after - P0) / P0, mean over orders with fills; P0: market before the order, P after: 30 s after its end"


def execution_figures(execution: Execution, now_ms: int) -> Iterator[Figure]:
    """Per source over an hour, a day and in all; per source and exchange over a day."""
    sources: dict[str, list[str | None]] = {}
    for (source, exchange), route in execution.routes.items():
        if not route.rolling.asleep(now_ms):
            sources.setdefault(source, []).append(exchange)
    still_open = Counter(source for source, _ in execution.orders.open)
    for source, exchanges in sources.items():
        of: Pairs = (("source", source),)
        routes = [execution.routes[source, exchange] for exchange in exchanges]
        day = [route.rolling.total(DAY, now_ms) for route in routes]
        whole = merged(day)
        sketches = Sketches(whole)
        labels: Pairs = (*of, ("window", DAY.name))
        yield from _window(labels, whole, sketches)
        yield from _costs(execution, labels, whole, sketches)
        for exchange, cell in zip(exchanges, day, strict=True):
            if exchange:
                theirs = sketches if cell is whole else Sketches(cell)
                labels = (*of, ("exchange", exchange), ("window", DAY.name))
                yield from _window(labels, cell, theirs)
                yield from _costs(execution, labels, cell, theirs)
        hour = merged([route.rolling.total(HOUR, now_ms) for route in routes])
        yield from _window((*of, ("window", HOUR.name)), hour, Sketches(hour))
        in_all = zip(*(route.ended for route in routes), strict=True)
        ended = {end: float(sum(numbers)) for end, numbers in enumerate(in_all)}
        yield from _rates((*of, ("window", "total")), ended)
        number = still_open[source]
        yield exact("orders_open", of, float(number), number, "orders of which no final status was reported")
    forgotten = execution.orders.forgotten
    if forgotten:
        yield exact("orders_forgotten", (), float(forgotten), forgotten, "open orders that gave way to newer ones")


def _window(labels: Pairs, cell: Cell, sketches: Sketches) -> Iterator[Figure]:
    yield from _rates(labels, cell)
    yield from sketches.of(LATENCY).figures(
        "order_latency_quantile_seconds", labels, CONVENTION, "no report of an order told its latency in this window"
    )
    yield from sketches.of(SECONDS).figures(
        "trade_execution_quantile_seconds", labels, CONVENTION, "no fill told its execution time in this window"
    )


def _rates(labels: Pairs, cell: Cell) -> Iterator[Figure]:
    ended = int(sum(cell.get(end, 0.0) for end in (FILLED, REJECTED, CANCELLED, EXPIRED)))
    for name, end in _RATES:
        yield share(name, labels, int(cell.get(end, 0.0)), ended, _ENDED[name], _NO_ORDER)


def _costs(execution: Execution, labels: Pairs, cell: Cell, sketches: Sketches) -> Iterator[Figure]:
    yield from _slippage(execution, labels, cell, sketches.of(SLIPPAGE))
    none, unmeasured = "no order was settled in this window", []
    for reason, words in enumerate(UNMEASURED):
        if number := int(cell.get(UNMEASURED_FROM + reason, 0.0)):
            unmeasured.append(f"{number} orders: {words}")
    why = "; ".join(unmeasured[:3]) or none
    measured = False
    for benchmark, name in enumerate(BENCHMARKS):
        sample = mean_of(cell, SHORTFALL + 3 * benchmark)
        if sample.n:
            measured = True
            named = (*labels, ("benchmark", name))
            yield mean("order_shortfall_ratio", named, sample, _SHORTFALLS[benchmark], why)
    if not measured:
        yield missing("order_shortfall_ratio", labels, 0, _SHORTFALLS[1], why)
    yield mean("order_impact_ratio", labels, mean_of(cell, IMPACT), _IMPACT, unmeasured[-1] if unmeasured else none)


def _slippage(execution: Execution, labels: Pairs, cell: Cell, sketch: Sketch) -> Iterator[Figure]:
    empty = "no fill told the price that it expected in this window"
    yield from sketch.figures("trade_slippage_quantile_ratio", labels, _FILLS, empty, (0.95,))
    if not sketch.n:
        yield missing("trade_slippage_mean_ratio", labels, 0, _WEIGHTED, empty)
        return
    weighted = False
    for currency, number in execution.currencies.items():
        key = WEIGHTED + 6 * number
        if key in cell:
            weighted = True
            named = (*labels, ("currency", currency)) if currency else labels
            n, *sums = (cell[key + offset] for offset in range(6))
            yield _weighted(named, int(n), *sums)
    if not weighted:
        why = f"its currencies came after {CURRENCIES} others"
        yield missing("trade_slippage_mean_ratio", labels, sketch.n, _WEIGHTED, why)


def _weighted(
    labels: Pairs, n: int, weight: float, product: float, weight2: float, cross: float, product2: float
) -> Figure:
    """The weighted mean sum w x / sum w, with the linearised interval of a ratio (Cochran 1977, 6.4)."""
    if not weight:
        return missing("trade_slippage_mean_ratio", labels, n, _WEIGHTED, "the fills have no weight")
    value = product / weight
    spread = product2 - 2.0 * value * cross + value * value * weight2
    interval, open = None, "one observation has no spread" if n < 2 else "all observations are equal"
    if n > 1 and spread > 1e-12 * product2:
        error = math.sqrt(spread * n / (n - 1)) / weight
        interval, open = around(value, error, "normal, linearised ratio"), ""
    return sampled("trade_slippage_mean_ratio", labels, value, n, _WEIGHTED, interval, open=open)
