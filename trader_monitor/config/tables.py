"""The configuration as frozen values. Every default stands here, and nowhere else.

Tables compare by value, so that a reload can tell what has changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct, field

from trader_monitor.config.values import Duration, Listen, Secret, Size
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.facts import Severity
from trader_monitor.core.trading.accounts.terms import Limits, Terms
from trader_monitor.runtime.registry import Plugin

if TYPE_CHECKING:
    from trader_monitor.core.models.performance.given import Given, Name

__all__ = [
    "AccountTerms",
    "ActionTable",
    "BaselinePerformance",
    "ChannelTable",
    "CheckTable",
    "CollectorTable",
    "Config",
    "ExchangeTable",
    "Http",
    "Ingest",
    "Live",
    "Logging",
    "Models",
    "Performance",
    "Rule",
    "RuleTable",
    "Store",
    "Trading",
]

Every = Annotated[Duration, Meta(ge=1.0, le=86400.0)]
Within = Annotated[Duration, Meta(gt=0.0, le=3600.0)]
Days = Annotated[Duration, Meta(ge=3600.0)]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Delay = Annotated[Duration, Meta(ge=0.0, le=30 * 86400.0)]


class Http(Struct, frozen=True, kw_only=True):
    """`[http]`: the page, the API and `/metrics`."""

    listen: Listen = Listen("127.0.0.1", 8008)
    tokens: tuple[Secret, ...] = ()


class Live(Struct, frozen=True, kw_only=True):
    """`[live]`: the WebSocket feed. `origins` may connect from a browser besides the daemon's own page."""

    listen: Listen = Listen("127.0.0.1", 8009)
    origins: tuple[str, ...] = ()


class Ingest(Struct, frozen=True, kw_only=True):
    """`[ingest]`: what bots send. `max_ahead` is how far an event's time may lie in the future."""

    socket: Path | None = None
    max_body: Annotated[Size, Meta(ge=1024, le=1 << 30)] = Size(8 << 20)
    max_ahead: Annotated[Duration, Meta(ge=0.0, le=86400.0)] = Duration(60.0)


class Store(Struct, frozen=True, kw_only=True):
    """`[store]`: `retention` is of facts; `raw`, `minute` and `quarter` (of an hour) are of samples, by tier."""

    path: Path = Path("var/trader_monitor.db")
    retention: Days = Duration(90 * 86400.0)
    raw: Days = Duration(7 * 86400.0)
    minute: Days = Duration(30 * 86400.0)
    quarter: Days = Duration(365 * 86400.0)
    max_series: Annotated[int, Meta(ge=100, le=10_000_000)] = 50_000


class Logging(Struct, frozen=True, kw_only=True):
    """`[logging]`: to stdout; `auto` is colours on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Models(Struct, frozen=True, kw_only=True):
    """`[models]`: a run of drift is made of the last `window` predictions, each time that `step` new ones have come
    (none given: a whole window), and once a day where any came. `important` features, by model, make drift severe.
    With `audit` every prediction gets an entry in the audit."""

    audit: bool = False
    every: Every = Duration(60.0)
    window: Annotated[int, Meta(ge=1_000, le=10_000)] = 1_000
    step: Annotated[int, Meta(ge=100, le=10_000)] | None = None
    important: dict[str, tuple[str, ...]] = field(default_factory=dict)


class CollectorTable(Struct, frozen=True, kw_only=True):
    """`[collectors.NAME]`"""

    name: str
    plugin: Plugin
    every: Every = Duration(15.0)
    timeout: Within = Duration(10.0)
    options: Struct


class CheckTable(Struct, frozen=True, kw_only=True):
    """`[checks.NAME]`: `trip_after` failures in a row open the breaker; `recover` is the ladder of actions."""

    name: str
    plugin: Plugin
    every: Every = Duration(15.0)
    timeout: Within = Duration(10.0)
    trip_after: Annotated[int, Meta(ge=1, le=1000)] = 3
    cooldown: Every = Duration(30.0)
    recover: tuple[str, ...] = ()
    options: Struct


class ActionTable(Struct, frozen=True, kw_only=True):
    """`[actions.NAME]`: a rehearsal unless `armed`; `after` names actions that must stand before it in a ladder."""

    name: str
    plugin: Plugin
    armed: bool = False
    per_hour: Annotated[int, Meta(ge=1, le=1000)] = 3
    timeout: Within = Duration(30.0)
    after: tuple[str, ...] = ()
    options: Struct


class ChannelTable(Struct, frozen=True, kw_only=True):
    """`[channels.NAME]`: tells of alerts from `min_severity` up; a firing one again every `repeat`. One that fails is
    left alone for `cooldown` at a time."""

    name: str
    plugin: Plugin
    min_severity: Severity = "info"
    repeat: Annotated[Duration, Meta(ge=60.0)] | None = None
    cooldown: Annotated[Duration, Meta(ge=1.0)] = Duration(15.0)
    options: Struct


class AccountTerms(Struct, frozen=True, kw_only=True):
    """`[[trading.accounts]]`: other conventions for the accounts that `source`, `account` and `currency` name."""

    source: str | None = None
    account: str | None = None
    currency: str | None = None
    annualisation: Annotated[int, Meta(ge=1, le=366)] | None = None
    risk_free: Annotated[float, Meta(gt=-1.0, le=10.0)] | None = None
    silent_days: Literal["merged", "flat"] | None = None
    calendar: str | None = None

    def concern(self, source: str, account: str | None, currency: str | None) -> bool:
        """Whether they are for that account."""
        return self.source in (None, source) and self.account in (None, account) and self.currency in (None, currency)


class Trading(Struct, frozen=True, kw_only=True):
    """`[trading]`: by which conventions figures are made, and the limits that they are held against.

    Of `accounts` and of `limits` the first that concern an account and say something count.
    """

    annualisation: Annotated[int, Meta(ge=1, le=366)] = 365
    risk_free: Annotated[float, Meta(gt=-1.0, le=10.0)] = 0.0
    minimum_days: Annotated[int, Meta(ge=2, le=1000)] = 30
    var_window_days: Annotated[int, Meta(ge=20, le=1500)] = 250
    silent_days: Literal["merged", "flat"] = "merged"
    calendar: str | None = None
    accounts: tuple[AccountTerms, ...] = ()
    limits: tuple[Limits, ...] = ()

    def terms(self, source: str, account: str | None, currency: str | None) -> Terms:
        """The conventions for an account."""
        return Terms(
            annualisation=self._chosen("annualisation", source, account, currency),
            risk_free=self._chosen("risk_free", source, account, currency),
            minimum_days=self.minimum_days,
            var_window_days=self.var_window_days,
            silent_days=self._chosen("silent_days", source, account, currency),
            limits=self.limits,
        )

    def calendar_of(self, source: str, account: str | None, currency: str | None) -> str | None:
        """The name of the calendar whose sessions are its days; None for every day."""
        name: str | None = self._chosen("calendar", source, account, currency)
        return name

    def _chosen(self, name: str, source: str, account: str | None, currency: str | None) -> Any:
        for own in self.accounts:
            if own.concern(source, account, currency) and (value := getattr(own, name)) is not None:
                return value
        return getattr(self, name)


class BaselinePerformance(Struct, frozen=True, kw_only=True):
    """`[[performance.baselines]]`: what a model (one version of it, or any) is held to, from a validation: shares
    of `rows` rows, or, where nobody knows how many, exact ones."""

    model: str
    version: str = ""
    f1: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    accuracy: Share | None = None
    roc_auc: Share | None = None
    hit: Share | None = None
    rows: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    provenance: str = "given"

    def given(self) -> Given:
        from trader_monitor.core.models.performance.given import Given  # numpy's part of a start, for those who need it

        names: tuple[Name, ...] = ("f1", "precision", "recall", "accuracy", "roc_auc", "hit")
        scores = {name: float(value) for name in names if (value := getattr(self, name)) is not None}
        return Given(scores=scores, n=self.rows, provenance=self.provenance)


class Performance(Struct, frozen=True, kw_only=True):
    """`[performance]`: models are judged by their outcomes each `every`. The first outcomes of a version, so many as
    `first`, make its baseline where none is given. `alpha` is the probability of ever finding a concept drift that is
    none. `positive` names a model's positive label, by model."""

    every: Every = Duration(300.0)
    first: Annotated[int, Meta(ge=100, le=100_000)] = 500
    alpha: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.05
    positive: dict[str, str] = field(default_factory=dict)
    baselines: tuple[BaselinePerformance, ...] = ()


class ExchangeTable(Struct, frozen=True, kw_only=True):
    """`[exchanges.NAME]`: an exchange as bots name it; the calendar counts its market time."""

    calendar: str


class RuleTable(Struct, frozen=True, kw_only=True):
    """`[rules.NAME]` as it is written; `enabled = false` takes one out, a builtin one too."""

    expr: str
    for_: Delay = field(default=Duration(0.0), name="for")
    keep_firing_for: Delay = Duration(0.0)
    clear: str | None = None
    severity: Severity = "warning"
    labels: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    runbook: str | None = None
    during: str | None = None
    enabled: bool = True


class Config(Struct, frozen=True, kw_only=True):
    """All of it. `file` is where it came from; `calendars` are those that are named anywhere."""

    file: Path | None = None
    http: Http = Http()
    live: Live = Live()
    ingest: Ingest = Ingest()
    store: Store = Store()
    logging: Logging = Logging()
    trading: Trading = Trading()
    models: Models = Models()
    performance: Performance = Performance()
    collectors: dict[str, CollectorTable] = field(default_factory=dict)
    checks: dict[str, CheckTable] = field(default_factory=dict)
    actions: dict[str, ActionTable] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    calendars: dict[str, Calendar] = field(default_factory=dict)
    exchanges: dict[str, ExchangeTable] = field(default_factory=dict)
    channels: dict[str, ChannelTable] = field(default_factory=dict)
