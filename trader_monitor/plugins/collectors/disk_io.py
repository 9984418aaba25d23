"""Reads and writes of disks."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, counter
from trader_monitor.runtime.registry import collector

READ_BYTES = counter("host_disk_read_bytes_total", "Bytes read.")
WRITTEN_BYTES = counter("host_disk_written_bytes_total", "Bytes written.")
READS = counter("host_disk_reads_total", "Reads completed.")
WRITES = counter("host_disk_writes_total", "Writes completed.")
READ_SECONDS = counter("host_disk_read_seconds_total", "Time that reads took.")
WRITE_SECONDS = counter("host_disk_write_seconds_total", "Time that writes took.")
BUSY_SECONDS = counter("host_disk_busy_seconds_total", "Time in which the disk had work.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`ignore` are patterns of device names to leave out."""

    OWN: ClassVar[bool] = True

    ignore: tuple[str, ...] = ("loop*", "ram*", "zram*", "sr*", "fd*")


@collector("disk_io", Options)
async def disk_io(options: Options, env: Env) -> list[Reading]:
    """Reads, writes, bytes and time per disk and partition."""
    return list(_read(options))


def _read(options: Options) -> Iterator[Reading]:
    for device, seen in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if any(fnmatch(device, pattern) for pattern in options.ignore):
            continue
        yield READ_BYTES(seen.read_bytes, device=device)
        yield WRITTEN_BYTES(seen.write_bytes, device=device)
        yield READS(seen.read_count, device=device)
        yield WRITES(seen.write_count, device=device)
        yield READ_SECONDS(seen.read_time / 1000, device=device)
        yield WRITE_SECONDS(seen.write_time / 1000, device=device)
        yield BUSY_SECONDS(seen.busy_time / 1000, device=device)
