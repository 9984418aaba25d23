"""The host's clock: boot time, steps of the wall clock, and what the kernel knows of its synchronisation."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

import psutil
from msgspec import Struct

from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, counter, gauge
from trader_monitor.runtime.registry import collector

BOOT = gauge("host_boot_time_seconds", "Unix time of the boot.")
TIME = gauge("host_time_seconds", "Unix time of the collection, by the host's clock.")
STEP = gauge(
    "host_clock_step_seconds",
    "How far the wall clock was set since the last collection, against the monotonic clock; slewing stays near 0.",
)
STEPS = counter("host_clock_steps_total", "Steps of the wall clock by 0.1 s or more since the daemon began.")
SYNCED = gauge("host_clock_synchronized", "1 where the kernel holds the clock synchronised (NTP), else 0.")
OFFSET = gauge("host_clock_offset_seconds", "Offset that the kernel is still correcting.")
MAX_ERROR = gauge("host_clock_max_error_seconds", "Largest error that the clock can have.")

STEP_SECONDS = 0.1
TIMESYNC = Path("/run/systemd/timesync")
_UNSYNCED, _NANO, _TIME_ERROR = 0x0040, 0x2000, 5


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


class _Seen(Struct):
    offset: float
    steps: int = 0


_seen: WeakKeyDictionary[Clock, _Seen] = WeakKeyDictionary()


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "sec", "usec", "tick")),
        ("rest", ctypes.c_byte * 128),
    )


@collector("clock", Options)
async def clock(options: Options, env: Env) -> list[Reading]:
    """Boot time, steps of the wall clock, and the kernel's NTP state where the daemon may read it."""
    return [*_steps(env.clock), *_kernel()]


def _steps(clock: Clock) -> Iterator[Reading]:
    now = clock.now()
    # The monotonic clock rests while the host is suspended; that is no step.
    rested = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    offset = now.wall - now.mono - rested
    seen = _seen.setdefault(clock, _Seen(offset))
    step, seen.offset = offset - seen.offset, offset
    seen.steps += abs(step) >= STEP_SECONDS
    yield BOOT(psutil.boot_time())
    yield TIME(now.wall)
    yield STEP(step)
    yield STEPS(seen.steps)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _timesyncd() -> Iterator[Reading]:
    """What systemd-timesyncd(8) leaves behind: a folder where it runs, and in it a file once it has set the clock."""
    if TIMESYNC.is_dir():
        yield SYNCED(float((TIMESYNC / "synchronized").exists()))


def _kernel() -> Iterator[Reading]:
    timex = _Timex()
    state = _libc().adjtimex(ctypes.byref(timex))
    if state < 0:
        if ctypes.get_errno() in {1, 38}:  # a sandbox that forbids the call, as the unit's does
            yield from _timesyncd()
            return
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    unit = 1e-9 if timex.status & _NANO else 1e-6
    yield SYNCED(float(state != _TIME_ERROR and not timex.status & _UNSYNCED))
    yield OFFSET(timex.offset * unit)
    yield MAX_ERROR(timex.maxerror * 1e-6)
