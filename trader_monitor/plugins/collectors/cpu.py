"""Processor time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, counter, gauge
from trader_monitor.runtime.registry import collector

SECONDS = counter("host_cpu_seconds_total", "Processor time spent in each mode, all processors together.")
MODE = gauge("host_cpu_mode_ratio", "Share of processor time in each mode since the last collection.")
USAGE = gauge("host_cpu_usage_ratio", "Share of processor time not idle since the last collection.")
COUNT = gauge("host_cpus", "Logical processors.")

IDLE = frozenset({"idle", "iowait"})
ALREADY_COUNTED = frozenset({"guest", "guest_nice"})
"""The kernel counts a guest's time under user and nice too."""

_last: dict[str, float] = {}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("cpu", Options)
async def cpu(options: Options, env: Env) -> list[Reading]:
    """Processor time per mode, and the share in use since the last collection."""
    return list(_read())


def _read() -> Iterator[Reading]:
    times = {k: v for k, v in psutil.cpu_times()._asdict().items() if k not in ALREADY_COUNTED}
    spent = {mode: max(0.0, seconds - _last[mode]) for mode, seconds in times.items() if mode in _last}
    _last.update(times)
    for mode, seconds in times.items():
        yield SECONDS(seconds, mode=mode)
    yield COUNT(os.cpu_count() or 1)
    total = sum(spent.values())
    if total > 0:
        for mode, seconds in spent.items():
            yield MODE(seconds / total, mode=mode)
        yield USAGE(1.0 - sum(seconds for mode, seconds in spent.items() if mode in IDLE) / total)
