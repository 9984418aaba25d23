"""Memory."""

from __future__ import annotations

from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

TOTAL = gauge("host_memory_total_bytes", "Memory of the host.")
AVAILABLE = gauge("host_memory_available_bytes", "Memory that new work can have without swapping.")
USED = gauge("host_memory_used_bytes", "Memory in use, buffers and cache aside.")
FREE = gauge("host_memory_free_bytes", "Memory that nothing uses.")
BUFFERS = gauge("host_memory_buffers_bytes", "Memory of block device buffers.")
CACHED = gauge("host_memory_cached_bytes", "Memory of the page cache.")
USAGE = gauge("host_memory_usage_ratio", "Share of memory that is not available.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("memory", Options)
async def memory(options: Options, env: Env) -> list[Reading]:
    """Memory: total, available, used, free, buffers, cache and the share in use."""
    seen = psutil.virtual_memory()
    return [
        TOTAL(seen.total),
        AVAILABLE(seen.available),
        USED(seen.used),
        FREE(seen.free),
        BUFFERS(seen.buffers),
        CACHED(seen.cached),
        USAGE(1.0 - seen.available / seen.total),
    ]
