"""Notice: what a channel is told; and which notices are due, by comparing the alerts with what was sent.

There is no outbox. A notice is due while the board holds a transition that the channel has not been told:

- each firing and each resolution is told, in order; a pending alert is nobody's business yet;
- a channel hears of alerts of its `min_severity` and above; who was told of a firing is told of its end, even
  if the channel was made stricter in between;
- an alert that fired and ended while the channel was out of reach is still told, twice: that it fired (marked
  `late`), then that it ended, because a receiver that pairs the two would drop an end without a beginning;
- transitions that the board's history has already let go are superseded by the alert's newest firing and end.

All of this is derived from journalled facts, so a restart in the middle of an incident forgets nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from trader_monitor.core.alerts.rule import severity_rank
from trader_monitor.core.facts import AlertChanged, ChannelTried, NoticeSent, Now, Severity

__all__ = ["KEEP_RESOLVED", "Notice", "Route", "Told", "next_notice", "notices_due", "owed", "prune", "reminder"]

KEEP_RESOLVED = 900.0
"""Seconds for which a resolved alert stays on the board: so that a relapse counts on, and the page shows it."""


class Route(Struct, frozen=True):
    """A channel as routing sees it."""

    channel: str
    min_severity: Severity = "info"
    repeat: float | None = None
    """Seconds after which a firing alert is told again."""

    def wants(self, alert: AlertChanged) -> bool:
        return severity_rank(alert.severity) >= severity_rank(self.min_severity)


class Notice(Struct, frozen=True, kw_only=True):
    """One transition of one alert, for one channel; (fingerprint, transition) names it."""

    channel: str
    alert: AlertChanged
    transition: int
    state: Literal["firing", "resolved"]
    late: bool = False
    """Told as firing although it has ended since; the resolution follows."""
    repeats: NoticeSent | None = None
    """The earlier notice of the same transition, where this is a reminder."""
    test: bool = False
    done: str = ""
    """What was done about it, where the alert is about a check that has a ladder of actions."""
    answer: str = ""
    """What that check was answered last, where the alert is about a check."""
    external_url: str = ""
    """Where the daemon's page is, for links back."""

    @property
    def key(self) -> str:
        """The same for every attempt at this notice, and for no other: receivers may drop repetitions."""
        reminder = f"-{int(self.repeats.at)}" if self.repeats else ""
        return f"{self.alert.fingerprint}-{self.transition}{reminder}"


class Told(Protocol):
    """The part of the board that is compared."""

    @property
    def alerts(self) -> dict[str, AlertChanged]: ...
    @property
    def alert_history(self) -> Iterable[AlertChanged]: ...
    @property
    def notices(self) -> dict[tuple[str, str], NoticeSent]: ...
    @property
    def tries(self) -> dict[tuple[str, str], ChannelTried]: ...


def owed(route: Route, alert: AlertChanged, sent: NoticeSent | None, past: Iterable[AlertChanged] = ()) -> list[Notice]:
    """What the channel has still to be told of this alert, in order.

    `sent` is the newest that it was told of this fingerprint, `past` what is remembered of its transitions.
    """
    told = sent.transition if sent else 0
    if told > alert.transition:
        # Of another life: the clock was set back, and this one's numbers began lower. It says nothing about this.
        told, sent = 0, None
    due: dict[int, tuple[AlertChanged, Literal["firing", "resolved"]]] = {}
    if sent is not None and sent.state == "firing" and alert.transition > told:
        due[told + 1] = alert, "resolved"
    fired = alert.fired_transition
    if fired:
        due[fired] = alert, "firing"
        if alert.transition > fired:
            due[fired + 1] = alert, "resolved"
    for change in past:
        if change.state == "firing":
            due[change.transition] = change, "firing"
        elif change.state == "resolved" and change.transition - 1 in {told, *due}:
            due[change.transition] = change, "resolved"
    wanted = route.wants(alert)
    reached = sent is not None and sent.state == "firing" and sent.outcome == "delivered"
    return [
        Notice(
            channel=route.channel,
            alert=change,
            transition=number,
            state=state,
            late=state == "firing" and alert.transition > number,
        )
        for number, (change, state) in sorted(due.items())
        if told < number <= alert.transition and (wanted or (reached and number == told + 1))
    ]


def reminder(route: Route, alert: AlertChanged, sent: NoticeSent, now: Now) -> Notice | None:
    """The same notice once more, where the alert still fires and the channel wants to be reminded."""
    if (
        route.repeat is None
        or alert.state != "firing"
        or sent.transition != alert.transition
        or sent.outcome != "delivered"
        or now.wall - sent.at < route.repeat
    ):
        return None
    return Notice(channel=route.channel, alert=alert, transition=alert.transition, state="firing", repeats=sent)


def next_notice(board: Told, route: Route, fingerprint: str, now: Now) -> Notice | None:
    """The next notice that is due for one alert."""
    alert = board.alerts.get(fingerprint)
    if alert is None or not alert.fired_transition:
        return None
    sent = board.notices.get((route.channel, fingerprint))
    if sent is not None and sent.transition == alert.transition:
        return reminder(route, alert, sent, now)
    if not owed(route, alert, sent):
        return None
    past = [change for change in board.alert_history if change.fingerprint == fingerprint]
    return owed(route, alert, sent, past)[0]


def notices_due(board: Told, route: Route, now: Now, busy: Collection[str] = ()) -> list[Notice]:
    """The next notice of every alert that owes the channel one, the worst severity and the oldest first.

    Those whose fingerprint is in `busy` are left out: theirs is under way.
    """
    due: list[Notice] = []
    notices, channel = board.notices, route.channel
    past: Mapping[str, list[AlertChanged]] | None = None
    for fingerprint, alert in board.alerts.items():
        sent = notices.get((channel, fingerprint))
        if fingerprint in busy:
            continue
        if sent is not None and sent.transition == alert.transition:
            if route.repeat is not None and (again := reminder(route, alert, sent, now)):
                due.append(again)
            continue
        if not alert.fired_transition or (sent is None and not route.wants(alert)):
            continue
        if not owed(route, alert, sent):
            continue
        if past is None:
            past = _by_fingerprint(board.alert_history)
        due.append(owed(route, alert, sent, past.get(fingerprint, ()))[0])
    due.sort(key=lambda notice: (-severity_rank(notice.alert.severity), notice.alert.at))
    return due


def prune(board: Told, routes: Iterable[Route], now: Now) -> list[str]:
    """Takes the alerts away that ended 15 minutes ago and that every channel was told of; returns which.

    Their notices and what failed of them go with them, so that a later life of the same fingerprint begins with
    an empty slate.
    """
    routes = tuple(routes)
    gone = [
        fingerprint
        for fingerprint, alert in board.alerts.items()
        if alert.state == "resolved"
        and now.mono >= (alert.cleared_mono if alert.cleared_mono is not None else alert.mono) + KEEP_RESOLVED
        and not any(owed(route, alert, board.notices.get((route.channel, fingerprint))) for route in routes)
    ]
    if gone:
        leaving = set(gone)
        for fingerprint in gone:
            del board.alerts[fingerprint]
        for slate in (board.notices, board.tries):
            for key in [key for key in slate if key[1] in leaving]:
                del slate[key]
    return gone


def _by_fingerprint(history: Iterable[AlertChanged]) -> dict[str, list[AlertChanged]]:
    found: dict[str, list[AlertChanged]] = {}
    for change in history:
        if change.state != "pending":
            found.setdefault(change.fingerprint, []).append(change)
    return found
