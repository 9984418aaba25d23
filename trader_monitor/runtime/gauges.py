"""Gauges of the store: set every second or so, for the `monitor` collector and the status page."""

from __future__ import annotations

from trader_monitor.runtime.journal import Journal

__all__ = ["measure"]

QUANTILES = ("0.5", "0.99")


def measure(journal: Journal) -> None:
    """Sets `monitor_store_*`, `monitor_journal_*`, `monitor_commit*` and `monitor_samples_*`."""
    meters, store, series = journal.meters, journal.store, journal.board.series
    meters.set("monitor_commits_total", float(store.commits))
    meters.set("monitor_store_bytes", float(store.size()))
    meters.set("monitor_store_owed", float(journal.owed))
    meters.set("monitor_journal_queue_bytes", float(journal.queued_bytes))
    meters.set("monitor_journal_seq", float(journal.seq))
    meters.set("monitor_samples_lost_total", float(series.lost))
    meters.set("monitor_predictions_unlisted_total", float(journal.pen.schemas.unlisted))
    seconds = sorted(store.commit_seconds)
    for quantile in QUANTILES if seconds else ():
        at = min(int(float(quantile) * len(seconds)), len(seconds) - 1)
        meters.set("monitor_commit_seconds", seconds[at], quantile=quantile)
