"""Facts: everything that enters the program, as frozen, typed, timestamped records.

Three kinds, one base. What bots report (the wire contract, fourteen types), what we measure (`Samples`,
`CheckResult`), what we decided and did (`AlertChanged`, `NoticeSent`, …). A decision carries the whole state that
it leads to, so that folding it is an assignment and replaying it needs no configuration.

`at` is Unix time in seconds (UTC). Numbers are finite; `Samples` alone may hold NaN and infinities, as targets do.
This module is all that `trader_monitor.client` sees of the daemon: it imports msgspec and nothing else.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct, field

__all__ = [
    "EVENT_TYPES",
    "Account",
    "ActionStep",
    "AlertChanged",
    "AlertState",
    "Breaker",
    "ChannelTried",
    "CheckResult",
    "ChildDied",
    "Connection",
    "Decision",
    "Event",
    "Fact",
    "Heartbeat",
    "HttpRequest",
    "Labels",
    "MarketData",
    "NoticeSent",
    "Now",
    "Order",
    "Outcome",
    "Position",
    "Prediction",
    "RateLimit",
    "Request",
    "Sample",
    "Samples",
    "Severity",
    "Trade",
]

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""A label set, sorted by name, `__name__` included: the identity of a series."""

Scalar: TypeAlias = str | float | int | bool | None
Side: TypeAlias = Literal["buy", "sell"]


class Now(NamedTuple):
    """The present, as an argument: `wall` in Unix seconds, `mono` in seconds of the monotonic clock."""

    wall: float
    mono: float


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """What a bot reports. `id` is the sender's idempotency key; `context` is kept and shown, never judged."""

    at: float
    id: str | None = None
    context: dict[str, Scalar] | None = None


class Trade(Event, frozen=True, kw_only=True, tag="trade"):
    """A fill. `quantity` is positive, `fee` in `currency` (a rebate is negative).

    `corrects` is the id of the source's earlier trade in whose place it stands; `cancelled`: that one was none."""

    source: str
    symbol: str
    side: Side
    quantity: float
    price: float
    exchange: str | None = None
    account: str | None = None
    strategy: str | None = None
    order_id: str | None = None
    fee: float | None = None
    currency: str | None = None
    realized_pnl: float | None = None
    execution_seconds: float | None = None
    expected_price: float | None = None
    liquidity: Literal["maker", "taker"] | None = None
    corrects: str | None = None
    cancelled: bool | None = None


class Order(Event, frozen=True, kw_only=True, tag="order"):
    """A change of an order's status."""

    source: str
    order_id: str
    symbol: str
    side: Side
    status: Literal["submitted", "accepted", "partially_filled", "filled", "cancelled", "rejected", "expired"]
    exchange: str | None = None
    account: str | None = None
    strategy: str | None = None
    quantity: float | None = None
    price: float | None = None
    filled_quantity: float | None = None
    reason: str | None = None
    latency_seconds: float | None = None


class Position(Event, frozen=True, kw_only=True, tag="position"):
    """A position as the bot sees it; `quantity` is signed (short is negative)."""

    source: str
    symbol: str
    quantity: float
    account: str | None = None
    exchange: str | None = None
    entry_price: float | None = None
    mark_price: float | None = None
    unrealized_pnl: float | None = None
    multiplier: float | None = None
    sector: str | None = None
    currency: str | None = None


class Account(Event, frozen=True, kw_only=True, tag="account"):
    """An account's reported state; `external_flow` is deposits less withdrawals since the last report."""

    source: str
    equity: float
    account: str | None = None
    cash: float | None = None
    margin_used: float | None = None
    margin_limit: float | None = None
    currency: str | None = None
    external_flow: float | None = None


class Request(Event, frozen=True, kw_only=True, tag="request"):
    """One call of an exchange's API."""

    exchange: str
    endpoint: str
    latency_seconds: float
    ok: bool
    source: str | None = None
    status: int | None = None
    error: str | None = None


class RateLimit(Event, frozen=True, kw_only=True, tag="rate_limit"):
    """What an exchange still allows."""

    exchange: str
    remaining: float
    limit: float | None = None
    resets_at: float | None = None
    scope: str | None = None
    source: str | None = None


class Connection(Event, frozen=True, kw_only=True, tag="connection"):
    """A connection to an exchange changed its state."""

    exchange: str
    state: Literal["connected", "disconnected", "degraded"]
    source: str | None = None
    reason: str | None = None
    channel: str | None = None


class MarketData(Event, frozen=True, kw_only=True, tag="market_data"):
    """A market-data frame; `exchange_at` is the venue's own time of it."""

    exchange: str
    symbol: str
    price: float | None = None
    bid: float | None = None
    ask: float | None = None
    exchange_at: float | None = None
    channel: str | None = None
    source: str | None = None


class Decision(Event, frozen=True, kw_only=True, tag="decision"):
    """An agent decided; `consensus` is agents agreeing / agents asked."""

    source: str
    action: str
    symbol: str | None = None
    confidence: float | None = None
    latency_seconds: float | None = None
    consensus: float | None = None
    outcome: Literal["correct", "wrong"] | None = None
    failed: bool | None = None
    error: str | None = None


class Prediction(Event, frozen=True, kw_only=True, tag="prediction"):
    """A model's output for one subject. A feature is a number (kept as float32), a category, or None: not a number."""

    model: str
    version: str
    output: float | str
    source: str | None = None
    subject: str | None = None
    features: dict[str, float | str | None] | None = None
    label: str | None = None
    probability: float | None = None
    confidence: float | None = None
    horizon_seconds: float | None = None


class Outcome(Event, frozen=True, kw_only=True, tag="outcome"):
    """What really happened: by `prediction_id`, or by (`model`, `subject`, `predicted_at`)."""

    actual: float | str
    prediction_id: str | None = None
    model: str | None = None
    subject: str | None = None
    predicted_at: float | None = None
    version: str | None = None
    source: str | None = None


class Heartbeat(Event, frozen=True, kw_only=True, tag="heartbeat"):
    """A bot is alive, and promises the next sign of life within `interval_seconds`."""

    source: str
    interval_seconds: float | None = None
    state: Literal["running", "paused", "stopped", "warming_up"] | None = None


class Sample(Event, frozen=True, kw_only=True, tag="sample"):
    """Any other metric of a bot's."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)
    kind: Literal["gauge", "counter"] | None = None
    help: str | None = None
    unit: str | None = None
    source: str | None = None


class HttpRequest(Event, frozen=True, kw_only=True, tag="http_request"):
    """One request that a bot's own API served."""

    endpoint: str
    method: str
    status: int
    duration_seconds: float
    source: str | None = None


class Own(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A fact of the daemon's own, measured, decided or done; it never crosses the border."""

    at: float


class Samples(Own, frozen=True, kw_only=True, tag="samples"):
    """One collection's readings, all at `at`: labels and as many values; the first `own` are of the daemon or its host.

    `kinds` holds the Prometheus type and the help text by metric name, for those that are new or have changed.
    """

    origin: str
    labels: tuple[Labels, ...]
    values: tuple[float, ...]
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    own: int = 0


class Breaker(Struct, frozen=True):
    """The one breaker's state, for checks and for channels; the transitions are in `core.breaker`.

    `since` and `retry_at` are monotonic seconds; `generation` lets the result of an older attempt change nothing.
    """

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: int = 0
    since: float = 0.0
    retry_at: float = 0.0
    opened: int = 0
    generation: int = 0


class CheckResult(Own, frozen=True, kw_only=True, tag="check_result"):
    """A probe was made. `ok` is None where the question could not be asked (no data)."""

    check: str
    ok: bool | None
    breaker: Breaker
    seconds: float
    message: str = ""
    value: float | None = None


Severity: TypeAlias = Literal["info", "warning", "error", "critical", "emergency"]
AlertState: TypeAlias = Literal["pending", "firing", "resolved"]


class AlertChanged(Own, frozen=True, kw_only=True, tag="alert_changed"):
    """An alert's transition, with the whole state that it leads to.

    `fingerprint` is the hash of `labels`, alertname and severity included. `transition` counts upward without end, so
    that (fingerprint, transition) names one notice due. `mono` is when the present condition began (monotonic),
    `cleared_mono` when it ceased, while `keep_firing_for` runs. `fired_transition` numbers the newest firing, of an
    earlier episode too: what a channel out of reach has still to be told. `trace_id` is that of the episode's cause.
    """

    fingerprint: str
    rule: str
    state: AlertState
    transition: int
    severity: Severity
    labels: dict[str, str]
    summary: str
    active_at: float
    mono: float
    value: float | None = None
    fired_at: float | None = None
    fired_value: float | None = None
    resolved_at: float | None = None
    resolved_value: float | None = None
    cleared_mono: float | None = None
    fired_transition: int = 0
    runbook: str | None = None
    reason: str = ""
    trace_id: str = ""


class NoticeSent(Own, frozen=True, kw_only=True, tag="notice_sent"):
    """A channel took a notice, or refused it for good: that transition needs telling there no more."""

    channel: str
    fingerprint: str
    transition: int
    state: Literal["firing", "resolved"]
    outcome: Literal["delivered", "refused"]
    attempts: int = 1
    seconds: float = 0.0
    receipt: str = ""


class ChannelTried(Own, frozen=True, kw_only=True, tag="channel_tried"):
    """The line to a channel: its breaker and, of a notice that failed, why, and when to try again (monotonic seconds).
    A `trial` is written before it is made, as an action is; `gone`: the channel is no longer configured."""

    channel: str
    outcome: Literal["trial", "failed", "answered", "gone"]
    breaker: Breaker
    mono: float
    fingerprint: str = ""
    transition: int = 0
    attempts: int = 0
    retry_at: float = 0.0
    reason: str = ""


class ActionStep(Own, frozen=True, kw_only=True, tag="action_step"):
    """One step of a recovery: who acted, why, and with what outcome.

    `incident` names the check's outage, `rung` the ladder's step (0 is the first). `started` is written before
    the action runs, so that a crash in the middle is seen and the budget stays spent.
    """

    incident: str
    check: str
    action: str
    rung: int
    phase: Literal["started", "succeeded", "failed", "dry_run", "over_budget", "verified", "not_verified", "exhausted"]
    who: str
    why: str
    mono: float
    outcome: str = ""
    seconds: float = 0.0


class ChildDied(Own, frozen=True, kw_only=True, tag="child_died"):
    """A supervised child ended against its promise."""

    child: str
    cause: str
    decision: Literal["restart", "park", "escalate"]
    delay: float
    restarts: int
    trace_id: str = ""


EVENT_TYPES: tuple[type[Event], ...] = tuple(Event.__subclasses__())
"""The fourteen kinds of the wire contract, in the order above."""

OWN_TYPES: tuple[type[Own], ...] = tuple(Own.__subclasses__())

Fact: TypeAlias = Event | Own
