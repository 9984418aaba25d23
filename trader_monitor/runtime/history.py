"""Stub while being written."""

from __future__ import annotations

import sqlite3

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import SeriesStore


def load_heads(db: sqlite3.Connection, series: SeriesStore, labels: dict[int, Labels], wall: float) -> None:
    return None
