"""The fields of the typed calls, for type checkers and editors; the wire contract is the source.

At run time these say nothing: whatever is wrong with a call is counted, never raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Required, TypedDict

from trader_monitor.core.facts import Scalar, Side

__all__ = [
    "AccountFields",
    "ConnectionFields",
    "DecisionFields",
    "HeartbeatFields",
    "HttpRequestFields",
    "MarketDataFields",
    "OrderFields",
    "OutcomeFields",
    "PositionFields",
    "PredictionFields",
    "RateLimitFields",
    "RequestFields",
    "SampleFields",
    "TradeFields",
]


class _Common(TypedDict, total=False):
    """`at` is now unless given, `id` is made, `context` is kept and shown but not judged."""

    at: float
    id: str
    context: dict[str, Scalar]


class _Sourced(_Common, total=False):
    """`source` is the monitor's unless given."""

    source: str


class TradeFields(_Sourced, total=False):
    symbol: Required[str]
    side: Required[Side]
    quantity: Required[float]
    price: Required[float]
    exchange: str | None
    account: str | None
    strategy: str | None
    order_id: str | None
    fee: float | None
    currency: str | None
    realized_pnl: float | None
    execution_seconds: float | None
    expected_price: float | None
    liquidity: Literal["maker", "taker"] | None
    corrects: str | None
    cancelled: bool | None


class OrderFields(_Sourced, total=False):
    order_id: Required[str]
    symbol: Required[str]
    side: Required[Side]
    status: Required[Literal["submitted", "accepted", "partially_filled", "filled", "cancelled", "rejected", "expired"]]
    exchange: str | None
    account: str | None
    strategy: str | None
    quantity: float | None
    price: float | None
    filled_quantity: float | None
    reason: str | None
    latency_seconds: float | None


class PositionFields(_Sourced, total=False):
    symbol: Required[str]
    quantity: Required[float]
    account: str | None
    exchange: str | None
    entry_price: float | None
    mark_price: float | None
    unrealized_pnl: float | None
    multiplier: float | None
    sector: str | None
    currency: str | None


class AccountFields(_Sourced, total=False):
    equity: Required[float]
    account: str | None
    cash: float | None
    margin_used: float | None
    margin_limit: float | None
    currency: str | None
    external_flow: float | None


class RequestFields(_Sourced, total=False):
    exchange: Required[str]
    endpoint: Required[str]
    latency_seconds: Required[float]
    ok: Required[bool]
    status: int | None
    error: str | None


class RateLimitFields(_Sourced, total=False):
    exchange: Required[str]
    remaining: Required[float]
    limit: float | None
    resets_at: float | None
    scope: str | None


class ConnectionFields(_Sourced, total=False):
    exchange: Required[str]
    state: Required[Literal["connected", "disconnected", "degraded"]]
    reason: str | None
    channel: str | None


class MarketDataFields(_Sourced, total=False):
    exchange: Required[str]
    symbol: Required[str]
    price: float | None
    bid: float | None
    ask: float | None
    exchange_at: float | None
    channel: str | None


class DecisionFields(_Sourced, total=False):
    action: Required[str]
    symbol: str | None
    confidence: float | None
    latency_seconds: float | None
    consensus: float | None
    outcome: Literal["correct", "wrong"] | None
    failed: bool | None
    error: str | None


class PredictionFields(_Sourced, total=False):
    model: Required[str]
    version: Required[str]
    output: Required[float | str]
    subject: str | None
    features: Mapping[str, float | str | None] | None
    label: str | None
    probability: float | None
    confidence: float | None
    horizon_seconds: float | None


class OutcomeFields(_Sourced, total=False):
    actual: Required[float | str]
    prediction_id: str | None
    model: str | None
    subject: str | None
    predicted_at: float | None
    version: str | None


class HeartbeatFields(_Sourced, total=False):
    interval_seconds: float | None
    state: Literal["running", "paused", "stopped", "warming_up"] | None


class SampleFields(_Sourced, total=False):
    name: Required[str]
    value: Required[float]
    labels: dict[str, str]
    kind: Literal["gauge", "counter"] | None
    help: str | None
    unit: str | None


class HttpRequestFields(_Sourced, total=False):
    endpoint: Required[str]
    method: Required[str]
    status: Required[int]
    duration_seconds: Required[float]
