"""Swap space."""

from __future__ import annotations

import warnings
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, counter, gauge
from trader_monitor.runtime.registry import collector

TOTAL = gauge("host_swap_total_bytes", "Swap space of the host.")
USED = gauge("host_swap_used_bytes", "Swap space in use.")
FREE = gauge("host_swap_free_bytes", "Swap space that nothing uses.")
USAGE = gauge("host_swap_usage_ratio", "Share of swap space in use.")
IN = counter("host_swap_in_bytes_total", "Bytes read back from swap.")
OUT = counter("host_swap_out_bytes_total", "Bytes written to swap.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("swap", Options)
async def swap(options: Options, env: Env) -> list[Reading]:
    """Swap space: total, used, free, the share in use, and bytes in and out."""
    with warnings.catch_warnings():
        # Some kernels have no swap counters; psutil then warns and answers nought.
        warnings.simplefilter("ignore", RuntimeWarning)
        seen = psutil.swap_memory()
    readings = [TOTAL(seen.total), USED(seen.used), FREE(seen.free), IN(seen.sin), OUT(seen.sout)]
    if seen.total:
        readings.append(USAGE(seen.used / seen.total))
    return readings
