"""File descriptors of the host."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

OPEN = gauge("host_file_descriptors", "File descriptors that the kernel has allocated.")
MAX = gauge("host_file_descriptors_max", "File descriptors that the kernel allows.")
USAGE = gauge("host_file_descriptors_usage_ratio", "Share of the allowed file descriptors that is allocated.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("descriptors", Options)
async def descriptors(options: Options, env: Env) -> list[Reading]:
    """File descriptors of the whole host: allocated, allowed and the share."""
    allocated, allowed = _read()
    return [OPEN(allocated), MAX(allowed), USAGE(allocated / allowed)]


def _read() -> tuple[int, int]:
    allocated, _, allowed = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
    return allocated, allowed
