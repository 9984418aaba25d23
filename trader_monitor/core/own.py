"""The daemon's own facts on the board: collections, checks, alerts, notices, channels, recovery, deaths of children."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import structs

from trader_monitor.core import breaker
from trader_monitor.core.facts import (
    ActionStep,
    AlertChanged,
    ChannelTried,
    CheckResult,
    ChildDied,
    Labels,
    NoticeSent,
    Now,
    Own,
    Samples,
)
from trader_monitor.core.series import STALE
from trader_monitor.core.tally import Tally

__all__ = ["OwnFacts"]


class OwnFacts:
    """The newest of each, the histories, and their series. Folding a decision is an assignment."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.checks: dict[str, CheckResult] = {}
        self.alerts: dict[str, AlertChanged] = {}
        self.alert_history: deque[AlertChanged] = deque(maxlen=1000)
        self.notices: dict[tuple[str, str], NoticeSent] = {}
        self.channels: dict[str, ChannelTried] = {}
        """What last changed a channel's breaker; a channel that never failed has none."""
        self.tries: dict[tuple[str, str], ChannelTried] = {}
        """The newest failure of each notice that waits for another attempt, by channel and fingerprint."""
        self.incidents: dict[str, tuple[ActionStep, ...]] = {}
        self.steps: deque[ActionStep] = deque(maxlen=1000)
        self.deaths: deque[ChildDied] = deque(maxlen=200)
        self.parked: dict[str, float] = {}
        """When a parked child may run again, in wall time, by its name."""
        self._collected: dict[str, tuple[int, tuple[int, ...]]] = {}
        tally.series.describe("ALERTS", "gauge", "Alerts that are pending or firing.")
        tally.own.add("ALERTS")
        state, counter = partial(tally.state, own=True), partial(tally.counter, own=True)
        self._up = state("check_up", "1 where the check passed, 0 where it failed.", "check")
        self._seconds = state("check_duration_seconds", "Duration of the last probe.", "check")
        self._breaker = state("check_breaker_open", "0 closed, 0.5 half-open, 1 open.", "check")
        self._line = state("monitor_channel_breaker_open", "0 closed, 0.5 half-open, 1 open.", "channel")
        self._value = state("check_value", "What the check measured.", "check")
        self._exhausted = state("recovery_exhausted", "1 where every rung was tried in vain.", "check")
        self._steps = counter("recovery_steps_total", "Steps of recovery.", "check", "action", "phase")
        self._parked = state("monitor_child_parked", "1 while the child is parked.", "child")
        self._deaths = counter("monitor_child_deaths_total", "Deaths of children.", "child")

    def folds(self) -> dict[type[Own], Callable[[Any, int], None]]:
        """Which fact is folded how."""
        return {
            Samples: self._fold_samples,
            CheckResult: self._fold_check,
            AlertChanged: self._fold_alert,
            NoticeSent: self._fold_notice,
            ChannelTried: self._fold_channel,
            ActionStep: self._fold_step,
            ChildDied: self._fold_death,
        }

    def _fold_samples(self, samples: Samples, t_ms: int) -> None:
        """A series that the origin's last collection had and this one has not ends here, as in Prometheus."""
        series = self._tally.series
        for name, (kind, help) in samples.kinds.items():
            series.describe(name, kind, help)
        labels, own = samples.labels, samples.own
        sids = (*(series.intern(each, own=True) for each in labels[:own]), *map(series.intern, labels[own:]))
        before_ms, before = self._collected.get(samples.origin, (0, ()))
        if before != sids and t_ms > before_ms:
            gone = set(before).difference(sids)
            series.append_many(tuple(gone), t_ms, (STALE,) * len(gone))
        series.append_many(sids, t_ms, samples.values)
        if t_ms == before_ms:
            sids = tuple({*before, *sids})
        self._collected[samples.origin] = (max(t_ms, before_ms), sids)

    def _fold_check(self, result: CheckResult, t_ms: int) -> None:
        """A question that could not be asked says nothing about its object: the series ends until it can."""
        self.checks[result.check] = result
        key = (result.check,)
        if result.ok is None:
            self._up.end(key, t_ms)
        else:
            self._up.write(key, t_ms, float(result.ok))
        if result.value is None:
            self._value.end(key, t_ms)
        else:
            self._value.write(key, t_ms, result.value)
        self._seconds.write(key, t_ms, result.seconds)
        self._breaker.write(key, t_ms, breaker.level(result.breaker))
        if result.ok and result.breaker.state == "closed" and result.check in self.incidents:
            self._exhausted.write(key, t_ms, 0.0)

    def _fold_alert(self, alert: AlertChanged, t_ms: int) -> None:
        before = self.alerts.get(alert.fingerprint)
        self.alerts[alert.fingerprint] = alert
        self.alert_history.append(alert)
        if before is not None and before.state != alert.state and before.state != "resolved":
            self._tally.cell(_alert_labels(before), standing=True).end(t_ms)
        if alert.state != "resolved":
            self._tally.cell(_alert_labels(alert), standing=True).write(t_ms, 1.0)

    def _fold_notice(self, notice: NoticeSent, t_ms: int) -> None:
        key = notice.channel, notice.fingerprint
        self.notices[key] = notice
        self.tries.pop(key, None)

    def _fold_channel(self, tried: ChannelTried, t_ms: int) -> None:
        self._line.write((tried.channel,), t_ms, breaker.level(tried.breaker))
        if tried.outcome == "gone":
            self.channels.pop(tried.channel, None)
            for key in [key for key in self.tries if key[0] == tried.channel]:
                del self.tries[key]
            return
        self.channels[tried.channel] = tried
        if tried.outcome == "failed":
            self.tries[tried.channel, tried.fingerprint] = tried

    def _fold_step(self, step: ActionStep, t_ms: int) -> None:
        self.steps.append(step)
        before = self.incidents.get(step.check, ())
        same = bool(before) and before[0].incident == step.incident
        self.incidents[step.check] = (*before, step) if same else (step,)
        self._steps.add((step.check, step.action, step.phase), t_ms)
        self._exhausted.write((step.check,), t_ms, float(step.phase == "exhausted"))

    def _fold_death(self, death: ChildDied, t_ms: int) -> None:
        self.deaths.append(death)
        self._deaths.add((death.child,), t_ms)
        parked = death.decision == "park"
        self._parked.write((death.child,), t_ms, float(parked))
        if parked:
            self.parked[death.child] = death.at + death.delay
        else:
            self.parked.pop(death.child, None)

    def unpark(self, now: Now) -> None:
        """A child whose cool-off is over runs again."""
        if not self.parked:
            return
        for child in [child for child, until in self.parked.items() if now.wall >= until]:
            del self.parked[child]
            self._parked.write((child,), int(now.wall * 1000.0 + 0.5), 0.0)

    def rebase(self, now: Now) -> None:
        """See `Board.rebase`."""
        mono = now.mono
        for fingerprint, alert in self.alerts.items():
            cleared = None if alert.cleared_mono is None else mono
            self.alerts[fingerprint] = structs.replace(alert, mono=mono, cleared_mono=cleared)
        for name, result in self.checks.items():
            self.checks[name] = structs.replace(
                result, breaker=breaker.rebase(result.breaker, result.breaker.since, now)
            )
        for channel, tried in self.channels.items():
            self.channels[channel] = _rebased(tried, now)
        for key, tried in self.tries.items():
            self.tries[key] = _rebased(tried, now)
        for check, steps in self.incidents.items():
            self.incidents[check] = tuple(structs.replace(step, mono=mono) for step in steps)
        for index, step in enumerate(self.steps):
            self.steps[index] = structs.replace(step, mono=mono)


def _rebased(tried: ChannelTried, now: Now) -> ChannelTried:
    """What was left to wait when it was written, is waited again."""
    return structs.replace(
        tried,
        mono=now.mono,
        breaker=breaker.rebase(tried.breaker, tried.mono, now),
        retry_at=now.mono + max(0.0, tried.retry_at - tried.mono),
    )


def _alert_labels(alert: AlertChanged) -> Labels:
    labels = {**alert.labels, "__name__": "ALERTS", "alertstate": alert.state}
    return tuple(sorted((name, value) for name, value in labels.items() if value))
