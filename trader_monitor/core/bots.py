"""What bots say of themselves: heartbeats, metrics of their own, and the requests that their APIs served."""

from __future__ import annotations

from trader_monitor.core.facts import Heartbeat, HttpRequest, Sample
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Cell, Tally

__all__ = ["Bots"]

_STATES = ("running", "paused", "stopped", "warming_up")


class Bots:
    """The newest heartbeat by source, and the cells of free samples."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.heartbeats: dict[str, Heartbeat] = {}
        self._samples: dict[tuple[str, ...], Cell] = {}
        state = tally.state
        self._beat = state("heartbeat_timestamp_seconds", "When the bot last showed life.", "source")
        self._interval = state("heartbeat_interval_seconds", "The next sign of life is due within.", "source")
        self._state = state("heartbeat_state", "1 for the state that the bot is in.", "source", "state")
        where = ("source", "endpoint")
        self._requests = tally.counter("http_requests_total", "Requests served.", *where, "method", "status")
        self._duration = tally.histogram("http_request_duration_seconds", "Duration of requests.", *where)

    def fold_heartbeat(self, beat: Heartbeat, t_ms: int) -> None:
        """A beat older than the newest changes nothing."""
        before = self.heartbeats.get(beat.source)
        if before is not None and beat.at < before.at:
            return
        if before is not None or len(self.heartbeats) < self._tally.series.max_series:
            self.heartbeats[beat.source] = beat
        self._beat.write((beat.source,), t_ms, beat.at)
        self._interval.write((beat.source,), t_ms, beat.interval_seconds)
        if beat.state is not None:
            for state in _STATES:
                self._state.write((beat.source, state), t_ms, float(state == beat.state))

    def fold_sample(self, sample: Sample, t_ms: int) -> None:
        """Written at its own time, event by event."""
        key = (sample.name, sample.source or "", *sample.labels.keys(), *sample.labels.values())
        cell = self._samples.get(key)
        if cell is None:
            cell = self._open(key, sample)
        cell.place(t_ms, sample.value)

    def fold_http_request(self, request: HttpRequest, t_ms: int) -> None:
        key = (request.source, request.endpoint, request.method, str(request.status))
        self._requests.add(key, t_ms)
        self._duration.observe((request.source, request.endpoint), t_ms, request.duration_seconds)

    def _open(self, key: tuple[str, ...], sample: Sample) -> Cell:
        series: SeriesStore = self._tally.series
        named = {**sample.labels, "__name__": sample.name}
        if sample.source:
            named["source"] = sample.source
        labels = tuple(sorted((name, value) for name, value in named.items() if value))
        cell = self._tally.cell(labels, standing=False)
        if cell.sid >= 0:
            if len(self._samples) > series.max_series:
                self._samples.clear()
            self._samples[key] = cell
            if sample.kind or sample.help or sample.unit or sample.name not in series.metadata:
                series.describe(sample.name, sample.kind or "gauge", sample.help or "", sample.unit or "")
        return cell
