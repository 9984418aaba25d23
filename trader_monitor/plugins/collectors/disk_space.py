"""Space on file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from threading import Lock
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Partial, Reading, gauge
from trader_monitor.runtime.registry import collector

SIZE = gauge("host_filesystem_size_bytes", "Size of the file system.")
FREE = gauge("host_filesystem_free_bytes", "Space that nothing uses, root's reserve included.")
AVAILABLE = gauge("host_filesystem_available_bytes", "Space that ordinary users can have.")
USAGE = gauge("host_filesystem_usage_ratio", "Share of the space for ordinary users that is in use.")
INODES = gauge("host_filesystem_inodes", "Inodes of the file system.")
INODES_FREE = gauge("host_filesystem_inodes_free", "Inodes that nothing uses.")
READONLY = gauge("host_filesystem_readonly", "1 where the file system is mounted read-only.")

_asking: set[str] = set()
_lock = Lock()
"""Mounts that a thread is asking about: one that never answers (a dead NFS server) holds one thread, not more."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`ignore` are patterns of mount points or file system types to leave out; `all` adds the virtual ones."""

    OWN: ClassVar[bool] = True

    ignore: tuple[str, ...] = ("/boot/*", "/snap/*", "/run/*", "/var/lib/docker/*", "squashfs", "overlay")
    all: bool = False


@collector("disk_space", Options)
def disk_space(options: Options, env: Env) -> list[Reading]:
    """Space and inodes of the mounted file systems; one that does not answer is skipped and named."""
    readings: list[Reading] = []
    stuck: list[str] = []
    seen: set[str] = set()
    for part in psutil.disk_partitions(all=options.all):
        ignored = any(fnmatch(part.mountpoint, p) or fnmatch(part.fstype, p) for p in options.ignore)
        if ignored or part.device in seen:
            continue
        if part.device.startswith("/dev/"):
            seen.add(part.device)  # bind mounts show the same device again
        with _lock:
            if part.mountpoint in _asking:
                stuck.append(part.mountpoint)
                continue
            _asking.add(part.mountpoint)
        try:
            readings += _read(part.mountpoint, part.device, part.fstype)
        except OSError as error:
            stuck.append(f"{part.mountpoint} ({error.strerror})")
        finally:
            with _lock:
                _asking.discard(part.mountpoint)
    if stuck:
        raise Partial("no answer from " + ", ".join(stuck), readings)
    return readings


def _read(mountpoint: str, device: str, fstype: str) -> Iterator[Reading]:
    fs = os.statvfs(mountpoint)
    if not fs.f_blocks:
        return
    labels = {"mountpoint": mountpoint, "device": device, "fstype": fstype}
    used = fs.f_blocks - fs.f_bfree
    yield SIZE(fs.f_blocks * fs.f_frsize, **labels)
    yield FREE(fs.f_bfree * fs.f_frsize, **labels)
    yield AVAILABLE(fs.f_bavail * fs.f_frsize, **labels)
    yield USAGE(used / (used + fs.f_bavail) if used + fs.f_bavail else 1.0, **labels)
    yield READONLY(float(bool(fs.f_flag & os.ST_RDONLY)), **labels)
    if fs.f_files:
        yield INODES(fs.f_files, **labels)
        yield INODES_FREE(fs.f_ffree, **labels)
