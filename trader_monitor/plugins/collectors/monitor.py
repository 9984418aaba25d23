"""The daemon's own state."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.core import breaker
from trader_monitor.core.facts import Breaker
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Metric, MetricKind, Reading, counter, gauge
from trader_monitor.runtime.registry import collector

RSS = gauge("monitor_resident_memory_bytes", "Memory of the daemon.")
CPU = counter("monitor_cpu_seconds_total", "Processor time of the daemon, user and system.")
FDS = gauge("monitor_open_fds", "File descriptors that the daemon has open.")
MAX_FDS = gauge("monitor_max_fds", "File descriptors that the daemon may have open.")
THREADS = gauge("monitor_threads", "Threads of the daemon.")
TASKS = gauge("monitor_tasks", "Tasks on the daemon's event loop.")
LAG = gauge("monitor_loop_lag_seconds", "How late the event loop woke from a short sleep at this collection.")
GC = counter("monitor_gc_collections_total", "Garbage collections per generation.")
BEGAN = gauge("monitor_start_time_seconds", "Unix time at which the daemon began.")
SERIES = gauge("monitor_series", "Series in memory.")
SERIES_MAX = gauge("monitor_series_max", "Series that fit.")
SERIES_REFUSED = counter("monitor_series_refused_total", "Label sets refused because there was no room.")
REFUSED = counter("monitor_metric_series_refused_total", "The same by metric; of all but the first 16 under others.")
CHANNEL = gauge("monitor_channel_breaker_open", "0 closed, 0.5 half-open, 1 open.")
CHILDREN = gauge("monitor_children", "Supervised children in each state.")

LAG_SLEEP_SECONDS = 0.02
CHILD_STATES = ("running", "backoff", "parked", "stopped")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("monitor", Options)
async def monitor(options: Options, env: Env) -> list[Reading]:
    """The daemon's own figures: memory, processor, descriptors, event loop, series and everything it counts."""
    loop = asyncio.get_running_loop()
    asleep = loop.time()
    await asyncio.sleep(LAG_SLEEP_SECONDS)
    lag = max(0.0, loop.time() - asleep - LAG_SLEEP_SECONDS)
    readings = {reading.name + repr(reading.labels): reading for reading in _counted(env)}
    readings |= {reading.name + repr(reading.labels): reading for reading in [LAG(lag), *_own(env)]}
    return list(readings.values())


def _own(env: Env) -> Iterator[Reading]:
    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        yield RSS(process.memory_info().rss)
        yield CPU(times.user + times.system)
        yield THREADS(process.num_threads())
    yield FDS(process.num_fds())
    yield MAX_FDS(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield TASKS(len(asyncio.all_tasks()))
    for generation, stats in enumerate(gc.get_stats()):
        yield GC(stats["collections"], generation=str(generation))
    yield BEGAN(env.began.wall)
    series = env.board.series
    yield SERIES(len(series))
    yield SERIES_MAX(series.max_series)
    yield SERIES_REFUSED(series.refused)
    for name, refusal in series.refusals.by_metric.items():
        yield REFUSED(refusal.number, metric=name or "others")
    for name in env.config().channels:
        tried = env.board.channels.get(name)
        yield CHANNEL(breaker.level(tried.breaker if tried else Breaker()), channel=name)
    states: Counter[str] = Counter(child.state for child in env.children())
    for state in dict.fromkeys([*CHILD_STATES, *states]):
        yield CHILDREN(states[state], state=state)


def _counted(env: Env) -> Iterator[Reading]:
    for key, value in tuple(env.meters.values.items()):
        labels = dict(key)
        name = labels.pop("__name__")
        kind: MetricKind = "counter" if name.endswith("_total") else "summary" if "quantile" in labels else "gauge"
        yield Reading(name, labels, value, Metric(name, kind, "Counted by the daemon."))
