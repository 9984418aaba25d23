"""Court: one rule, its active alerts, and what follows for them from a look at the series.

The condition is evaluated at all moments at once. Label sets for which it holds, and alerts that are active
without, are then led through the moments one by one. Whether a condition that does not hold is false or merely
without data is asked only where an alert may end by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from trader_monitor.core.alerts.fingerprint import fingerprint
from trader_monitor.core.alerts.lifecycle import Reading, advance, deadline, retire
from trader_monitor.core.alerts.rule import CompiledRule
from trader_monitor.core.alerts.session import over
from trader_monitor.core.calendar.calendar import Calendar, OutsideTable
from trader_monitor.core.calendar.closures import Closures
from trader_monitor.core.facts import AlertChanged, Labels, Now
from trader_monitor.core.promql import Matrix
from trader_monitor.core.series import SeriesStore, Times

__all__ = ["MAX_ALERTS", "Alerts", "Cause", "Court"]

MAX_ALERTS = 1000
"""Active alerts that one rule may have; more label sets are counted, not raised."""
_MAX_CELLS = 250_000
_LOOKBACK_MS = 300_000
_AHEAD_MS = 600_000
"""A sample from further in the future than this is not waited for."""
_MAX_REMEMBERED = 20_000

Cause: TypeAlias = Literal["error", "duplicate", "limit", "calendar"]


class Alerts(Protocol):
    """The part of the board that is judged."""

    @property
    def series(self) -> SeriesStore: ...
    @property
    def alerts(self) -> dict[str, AlertChanged]: ...
    @property
    def closures(self) -> Closures: ...


class _Evidence(NamedTuple):
    """What is known, or cleared; `speaks` are the rows that are present at any moment."""

    frame: Matrix
    speaks: frozenset[int]

    @classmethod
    def of(cls, frame: Matrix) -> _Evidence:
        return cls(frame, frozenset(np.flatnonzero(frame.present.any(axis=1)).tolist()))


class Court:
    """One rule and its active alerts. `fail` is told of label sets that could not become alerts of their own."""

    def __init__(
        self,
        compiled: CompiledRule,
        max_alerts: int,
        fail: Callable[[str, Cause, str, Now], None],
    ) -> None:
        self.compiled = compiled
        self.deadline = float("inf")
        """The monotonic time at which time alone may move one of the alerts on."""
        self.selectors = (*compiled.condition.selectors, *(compiled.clear.selectors if compiled.clear else ()))
        self._max_alerts = max_alerts
        self._fail = fail
        self._lookback_ms = max(compiled.condition.lookback_ms, _LOOKBACK_MS)
        self._active: dict[str, AlertChanged] = {}
        self._decided: dict[str, int] = {}
        """The moment (ms) that each alert's last transition was about: earlier ones are over for it."""
        self._horizon = 0
        self._identities: dict[Labels, tuple[str, dict[str, str]]] = {}
        self._places: dict[int, tuple[tuple[Labels, ...], dict[Labels, int]]] = {}
        self._keys: dict[str, Labels] = {}
        self._dropped = frozenset({"__name__", *compiled.static})
        self._settled: tuple[tuple[Labels, ...], np.ndarray[tuple[int], np.dtype[np.bool_]]] | None = None

    def adopt(self, active: Mapping[str, AlertChanged]) -> None:
        self._active = dict(active)
        self._settled = None
        self.plan_deadline(float("-inf"))

    def disown(self, fingerprints: Iterable[str]) -> None:
        for gone in fingerprints:
            self._active.pop(gone, None)

    def judge(self, board: Alerts, times_ms: Sequence[int], now: Now) -> list[AlertChanged]:
        times = self._moments(board.series, times_ms, now)
        if self.compiled.during is None:
            return self._judged(board, times, now)
        calendar = board.closures.of(self.compiled.during)
        try:
            return self._in_session(calendar, board, times, now)
        except OutsideTable as unknown:
            self._fail(self.compiled.rule.name, "calendar", str(unknown), now)
            return self._judged(board, times, now)

    def _in_session(self, calendar: Calendar, board: Alerts, times: Times, now: Now) -> list[AlertChanged]:
        """The moments at which the market is open, and an end to everything where it is not open now. A sample that
        comes late is judged all the same. Raises OutsideTable before anything has changed."""
        is_open = calendar.open_at(now.wall)
        within = [calendar.open_at(min(t / 1000, now.wall)) for t in times.tolist()]
        out = over(calendar, self._active, now) if is_open else []
        if out:
            self.disown(alert.fingerprint for alert in out)
            self._settled, self.deadline = None, now.mono  # then anew, on a board that has heard of it
            return out
        if any(within):
            out = self._judged(board, times[np.array(within)], now)
        if not is_open:
            reason = board.closures.why(calendar, now.wall)
            out += [retire(alert, now, reason) for alert in self._active.values()]
            self._active.clear()
            self._settled = None
            self.plan_deadline(now.mono)
        return out

    def _judged(self, board: Alerts, times: Times, now: Now) -> list[AlertChanged]:
        """What follows from the condition at these moments."""
        frame = self.compiled.condition.evaluate(board.series, times)
        settled = self._settled
        if settled is not None and settled[0] is frame.labels and bool((frame.present == settled[1][:, None]).all()):
            return []
        self._settled = None
        if len(self._decided) > 4 * self._max_alerts:
            self._decided = {one: at for one, at in self._decided.items() if one in self._active}
            self._keys.clear()
        out: list[AlertChanged] = []
        holding = self._holding(frame, now)
        silent = [one for one in self._active if one not in holding]
        evidence = self._evidence(board.series, times, frame, holding, silent)
        for one in silent:
            self._walk(one, self._active[one].labels, _NOWHERE, frame, evidence, times, board, now, out)
        for one, (labels, rows) in holding.items():
            self._walk(one, labels, rows, frame, evidence, times, board, now, out)
        self.plan_deadline(now.mono)
        last = frame.present[:, -1] if len(times) else np.zeros(len(frame.labels), np.bool_)
        if len(self._active) == int(last.sum()) and all(
            alert.state == "firing" and alert.cleared_mono is None for alert in self._active.values()
        ):
            self._settled = frame.labels, last.copy()
        return out

    def _moments(self, series: SeriesStore, times_ms: Sequence[int], now: Now) -> Times:
        """When to judge, ascending: at the samples that still count, and at present.

        A sample from a clock that is ahead is judged at its own time, unless the rule reads the clock: then it
        waits until the daemon's own has come so far.
        """
        present = int(now.wall * 1000 + 0.5)
        oldest, latest = present - self._lookback_ms, present + _AHEAD_MS
        if self.compiled.condition.time_driven:
            moments = [t for t in times_ms if oldest < t < present]
        else:
            moments = [t for t in times_ms if oldest < t <= latest]
            self._horizon = max(self._horizon if self._horizon <= latest else 0, *moments, 0)
            present = max(present, self._horizon)
        if not moments:
            return np.array([present], np.int64)
        rows = max((len(series.select(selector)) for selector in self.selectors), default=1)
        room = max(2, _MAX_CELLS // max(rows, 1))
        return np.array(sorted({*moments[-room:], present})[-room:], np.int64)

    def _holding(self, frame: Matrix, now: Now) -> dict[str, tuple[dict[str, str], list[int]]]:
        """The label sets for which the condition holds at some moment, with the rows that say so."""
        found: dict[str, tuple[dict[str, str], list[int]]] = {}
        for row in np.flatnonzero(frame.present.any(axis=1)).tolist():
            one, labels = self._identity(frame.labels[row])
            other = found.get(one)
            if other is None:
                found[one] = labels, [row]
                continue
            other[1].append(row)
            if (frame.present[other[1]].sum(axis=0) > 1).any():
                self._fail(self.compiled.rule.name, "duplicate", f"two series make one alert: {labels}", now)
        return found

    def _identity(self, labels: Labels) -> tuple[str, dict[str, str]]:
        known = self._identities.get(labels)
        if known is None:
            if len(self._identities) >= _MAX_REMEMBERED:
                self._identities.clear()
            merged = self.compiled.labels(labels)
            known = self._identities[labels] = fingerprint(merged), merged
        return known

    def _evidence(
        self,
        series: SeriesStore,
        times: Times,
        frame: Matrix,
        holding: Mapping[str, tuple[dict[str, str], list[int]]],
        silent: Sequence[str],
    ) -> tuple[_Evidence | None, _Evidence | None]:
        """What is known, and what is cleared; asked only where an alert may end."""
        wavering = silent or any(not frame.present[rows].any(axis=0).all() for _, rows in holding.values())
        if not wavering:
            return None, None
        clear = self.compiled.clear
        known = _Evidence.of(self.compiled.known.evaluate(series, times))
        return known, _Evidence.of(clear.evaluate(series, times)) if clear else None

    def _walk(
        self,
        one: str,
        labels: Mapping[str, str],
        rows: list[int],
        frame: Matrix,
        evidence: tuple[_Evidence | None, _Evidence | None],
        times: Times,
        board: Alerts,
        now: Now,
        out: list[AlertChanged],
    ) -> None:
        """Leads one alert through the moments, in order; those before its last transition are over."""
        known, cleared = (self._row(at, of, one, labels) for at, of in enumerate(evidence))
        if not rows and known is None and cleared is None:
            return
        alert = board.alerts.get(one) or self._active.get(one)
        columns = len(times)
        first = 0
        if alert is not None:
            decided = self._decided.get(one, int(alert.at * 1000 + 0.5))
            first = min(int(np.searchsorted(times, decided, "right")), columns - 1)
        for column in range(first, columns):
            row = next((row for row in rows if frame.present[row, column]), None)
            if row is not None:
                reading = Reading(True, float(frame.values[row, column]))
            elif alert is None or alert.state == "resolved":
                continue
            else:
                value = _at(known, column)
                reading = Reading(None if value is None else False, value, _at(cleared, column) is not None)
            if (alert is None or alert.state == "resolved") and len(self._active) >= self._max_alerts:
                self._fail(self.compiled.rule.name, "limit", f"more than {self._max_alerts} alerts", now)
                return
            change = advance(self.compiled, one, labels, alert, reading, now)
            if change is None:
                continue
            out.append(change)
            alert = change
            self._decided[one] = int(times[column])
            if change.state == "resolved":
                self._active.pop(one, None)
            else:
                self._active[one] = change

    def _row(
        self, at: int, evidence: _Evidence | None, one: str, labels: Mapping[str, str]
    ) -> tuple[Matrix, int] | None:
        """Where an alert's labels stand in a frame of evidence, if that has anything to say about them."""
        if evidence is None:
            return None
        frame = evidence.frame
        places = self._places.get(at)
        if places is None or places[0] is not frame.labels:
            found = {self._key(row): at for at, row in enumerate(frame.labels)}
            places = self._places[at] = frame.labels, found
        key = self._keys.get(one)
        if key is None:
            key = self._keys[one] = self._key(sorted(labels.items()))
        row = places[1].get(key)
        return (frame, row) if row is not None and row in evidence.speaks else None

    def _key(self, labels: Iterable[tuple[str, str]]) -> Labels:
        """What of a label set the series decides, not the rule."""
        return tuple(pair for pair in labels if pair[0] not in self._dropped)

    def plan_deadline(self, after: float) -> None:
        deadlines = (deadline(self.compiled, alert) for alert in self._active.values())
        self.deadline = min((at for at in deadlines if at is not None and at > after), default=float("inf"))


_NOWHERE: list[int] = []


def _at(place: tuple[Matrix, int] | None, column: int) -> float | None:
    if place is None:
        return None
    frame, row = place
    return float(frame.values[row, column]) if frame.present[row, column] else None
