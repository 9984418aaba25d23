"""Is all well, and since when: the one judgement that the page, the feed and the command line show.

Read off the board, the supervised children and the journal; nothing is remembered here, so that every reader
comes to the same answer, after a restart too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from trader_monitor.core.board import Board
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried, CheckResult, Labels, Now, Severity

if TYPE_CHECKING:
    from trader_monitor.core.series import SeriesStore
    from trader_monitor.runtime.env import Env
    from trader_monitor.runtime.meters import Meters
    from trader_monitor.runtime.supervisor import ChildStatus

__all__ = [
    "ChannelView",
    "CheckView",
    "ChildView",
    "State",
    "Status",
    "Verdict",
    "check_views",
    "child_views",
    "judge",
    "status",
]

State: TypeAlias = Literal["ok", "warning", "error", "critical", "emergency"]

LARGEST = 5
ACCEPTED = "monitor_events_accepted_total"
RANK: dict[State | Severity, int] = {"info": 0, "ok": 0, "warning": 1, "error": 2, "critical": 3, "emergency": 4}


class ChildView(Struct, frozen=True, kw_only=True):
    """A supervised child; times are Unix seconds."""

    name: str
    state: str
    essential: bool
    restarts: int
    since: float | None = None
    last_cause: str | None = None
    parked_until: float | None = None


class CheckView(Struct, frozen=True, kw_only=True):
    """A check's newest result with its breaker; `ok` is None where the question could not be asked."""

    name: str
    type: str
    ok: bool | None
    breaker: str
    failures: int
    message: str
    at: float
    seconds: float
    since: float | None = None
    value: float | None = None
    retry_at: float | None = None


class ChannelView(Struct, frozen=True, kw_only=True):
    """A channel of notices; `due` is how many transitions it has yet to tell, `retry_at` before when it tells none,
    `reason` why the last attempt failed, until one succeeds."""

    name: str
    type: str
    breaker: str
    due: int
    last_delivered_at: float | None = None
    retry_at: float | None = None
    reason: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """The worst that is wrong now, in words, and since when this has been so (Unix seconds)."""

    state: State
    since: float
    headline: str
    others: int = 0


class Firing(Struct, frozen=True, kw_only=True):
    firing: dict[Severity, int]
    pending: int


class IngestView(Struct, frozen=True, kw_only=True):
    events_total: float
    per_second: float
    duplicates_total: float
    refused_total: float


class StoreView(Struct, frozen=True, kw_only=True):
    path: str
    bytes: int
    seq: int
    degraded: str | None
    commits_total: float
    commit_seconds_p99: float


class RefusedView(Struct, frozen=True, kw_only=True):
    """Label sets of one metric that found no room; "" stands for all metrics that are not told apart."""

    metric: str
    refused: int
    last: dict[str, str]


class HolderView(Struct, frozen=True, kw_only=True):
    metric: str
    series: int


class SeriesView(Struct, frozen=True, kw_only=True):
    """`count` may go beyond `max`, by at most `reserve`: the daemon's own. Who was refused, and who has the room
    that there is, is told where something was refused.
    """

    count: int
    max: int
    reserve: int
    refused: int
    by_metric: tuple[RefusedView, ...] | UnsetType = UNSET
    largest: tuple[HolderView, ...] | UnsetType = UNSET


class LiveView(Struct, frozen=True, kw_only=True):
    clients: int
    address: str


class Status(Struct, frozen=True, kw_only=True):
    """What `GET /v1/status` answers; the feed's heartbeat is the same without children and checks."""

    version: str
    started_at: float
    now: float
    uptime_seconds: float
    state: State
    since: float
    headline: str
    others: int
    channels: tuple[ChannelView, ...]
    alerts: Firing
    ingest: IngestView
    store: StoreView
    series: SeriesView
    live: LiveView
    children: tuple[ChildView, ...] | UnsetType = UNSET
    checks: tuple[CheckView, ...] | UnsetType = UNSET


class Trouble(Struct, frozen=True):
    """One thing that is wrong."""

    state: State
    since: float
    text: str


def _alert_troubles(alerts: Iterable[AlertChanged]) -> Iterable[Trouble]:
    for alert in alerts:
        if alert.state == "firing" and alert.severity != "info":
            yield Trouble(alert.severity, alert.fired_at or alert.active_at, alert.summary or alert.rule)


def judge(board: Board, children: Sequence[ChildView], degraded: str | None, began: float, now: Now) -> Verdict:
    """The worst trouble speaks; among equals the oldest. `began` is when the daemon did (Unix seconds).

    A breaker or a child counts besides the alerts, so that a house without rules is still honest.
    """
    troubles = list(_alert_troubles(board.alerts.values()))
    named = {a.labels.get("check") for a in board.alerts.values() if a.state == "firing"}
    well_since = began
    for check in board.checks.values():
        changed = _wall(check.breaker.since, now)
        if check.breaker.state == "closed":
            if check.breaker.generation:
                well_since = max(well_since, changed)
        elif check.check not in named:
            since = since_run(board, (("__name__", "check_up"), ("check", check.check)), 0.0)
            troubles.append(Trouble("warning", since or changed, f"The check {check.check} fails"))
    troubles += [
        Trouble("critical" if child.essential else "error", child.since or began, f"{child.name} is parked")
        for child in children
        if child.state == "parked"
    ]
    if degraded:
        since = since_run(board, (("__name__", "monitor_store_degraded"),), 1.0)
        troubles.append(Trouble("critical", since or now.wall, f"The store: {degraded}"))
    if troubles:
        worst = max(troubles, key=lambda t: (RANK[t.state], -t.since))
        return Verdict(state=worst.state, since=worst.since, headline=worst.text, others=len(troubles) - 1)
    for ended in (*board.alerts.values(), *board.alert_history):
        if ended.state == "resolved" and ended.resolved_at is not None and ended.severity != "info":
            well_since = max(well_since, ended.resolved_at)
    return Verdict(state="ok", since=min(well_since, now.wall), headline="All well")


def since_run(board: Board, labels: Labels, value: float) -> float | None:
    """When a series' present run of `value` began (Unix seconds), as far as memory reaches; None if it has none.

    A breaker cannot say how long its check has failed: each trial renews its `since`.
    """
    t, v = board.series.head(board.series.find(labels))
    if not len(t) or v[-1] != value:
        return None
    others = np.flatnonzero(v != value)
    return float(t[others[-1] + 1 if len(others) else 0]) / 1000.0


def per_second(board: Board, counter: str, present: float, now: Now) -> float:
    """How fast a counter of ours grows: since its newest collection that is at least five seconds old."""
    t, v = board.series.head(board.series.find((("__name__", counter),)))
    older = int(np.searchsorted(t, (now.wall - 5.0) * 1000.0, side="right")) - 1
    if older < 0 or present < v[older]:
        return 0.0
    return (present - float(v[older])) / max(5.0, now.wall - float(t[older]) / 1000.0)


def _wall(mono: float, now: Now) -> float:
    return now.wall - max(0.0, now.mono - mono)


def child_views(children: Iterable[ChildStatus]) -> tuple[ChildView, ...]:
    return tuple(
        ChildView(
            name=child.name,
            state=child.state,
            essential=child.essential,
            restarts=child.restarts,
            since=child.since,
            last_cause=child.last_cause,
            parked_until=child.parked_until,
        )
        for child in children
    )


def check_view(result: CheckResult, type: str, now: Now) -> CheckView:
    breaker = result.breaker
    waiting = breaker.retry_at > now.mono
    return CheckView(
        name=result.check,
        type=type,
        ok=result.ok,
        breaker=breaker.state,
        failures=breaker.failures,
        message=result.message,
        at=result.at,
        since=_wall(breaker.since, now) if breaker.generation else None,
        seconds=result.seconds,
        value=result.value,
        retry_at=now.wall + breaker.retry_at - now.mono if waiting else None,
    )


def check_views(results: Iterable[CheckResult], types: Mapping[str, str], now: Now) -> tuple[CheckView, ...]:
    return tuple(check_view(result, types.get(result.check, ""), now) for result in results)


def check_types(env: Env) -> dict[str, str]:
    """Each configured check's plugin, by the check's name."""
    return {name: table.plugin.name for name, table in env.config().checks.items()}


@cache
def _version() -> str:
    """Read from the installation once: that takes a millisecond."""
    return version("trader-monitor")


def status(env: Env, *, whole: bool = True) -> Status:
    """The present status; children and checks are left out unless `whole`."""
    board, meters, config = env.board, env.meters, env.config()
    now = env.clock.now()
    children = child_views(env.children())
    verdict = judge(board, children, env.journal.degraded, env.began.wall, now)
    alerts = list(board.alerts.values())
    firing: dict[Severity, int] = {}
    for alert in alerts:
        if alert.state == "firing":
            firing[alert.severity] = firing.get(alert.severity, 0) + 1
    return Status(
        version=_version(),
        started_at=env.began.wall,
        now=now.wall,
        uptime_seconds=now.mono - env.began.mono,
        state=verdict.state,
        since=verdict.since,
        headline=verdict.headline,
        others=verdict.others,
        channels=channel_views(env),
        alerts=Firing(firing=firing, pending=sum(alert.state == "pending" for alert in alerts)),
        ingest=IngestView(
            events_total=meters.get(ACCEPTED),
            per_second=per_second(board, ACCEPTED, meters.get(ACCEPTED), now),
            duplicates_total=meters.get("monitor_events_duplicate_total"),
            refused_total=_total(meters, "monitor_events_refused_total"),
        ),
        store=StoreView(
            path=str(config.store.path),
            bytes=int(meters.get("monitor_store_bytes")),
            seq=env.journal.seq,
            degraded=env.journal.degraded,
            commits_total=meters.get("monitor_commits_total"),
            commit_seconds_p99=meters.get("monitor_commit_seconds", quantile="0.99"),
        ),
        series=_series_view(board.series, whole),
        live=LiveView(clients=int(meters.get("monitor_live_clients")), address=str(config.live.listen)),
        children=children if whole else UNSET,
        checks=check_views(board.checks.values(), check_types(env), now) if whole else UNSET,
    )


def _series_view(series: SeriesStore, whole: bool) -> SeriesView:
    told = whole and series.refused > 0
    refusals = sorted(series.refusals.by_metric.items(), key=lambda each: -each[1].number)
    refused = tuple(RefusedView(metric=metric, refused=one.number, last=dict(one.labels)) for metric, one in refusals)
    largest = tuple(
        HolderView(metric=metric, series=number) for metric, number in series.largest(LARGEST if told else 0)
    )
    return SeriesView(
        count=len(series),
        max=series.max_series,
        reserve=series.reserve,
        refused=series.refused,
        by_metric=refused if told else UNSET,
        largest=largest if told else UNSET,
    )


def _total(meters: Meters, name: str) -> float:
    """A counter over all its labels."""
    return sum(value for labels, value in meters.values.items() if labels[0][1] == name)


def channel_views(env: Env) -> tuple[ChannelView, ...]:
    delivered: dict[str, float] = {}
    for (channel, _), notice in env.board.notices.items():
        if notice.outcome == "delivered":
            delivered[channel] = max(delivered.get(channel, 0.0), notice.at)
    now = env.clock.now()
    return tuple(
        _channel_view(
            name,
            table.plugin.name,
            env.board.channels.get(name),
            int(env.meters.get("monitor_channel_due", channel=name)),
            delivered.get(name),
            now,
        )
        for name, table in env.config().channels.items()
    )


def _channel_view(
    name: str, type: str, tried: ChannelTried | None, due: int, delivered: float | None, now: Now
) -> ChannelView:
    breaker = Breaker() if tried is None else tried.breaker
    waiting = breaker.retry_at > now.mono
    return ChannelView(
        name=name,
        type=type,
        breaker=breaker.state,
        due=due,
        last_delivered_at=delivered,
        retry_at=now.wall + breaker.retry_at - now.mono if waiting else None,
        reason="" if tried is None else tried.reason,
    )
