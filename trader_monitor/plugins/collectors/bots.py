"""Processes of bots, by their command lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import psutil
from msgspec import Struct, field

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, wrong_pattern
from trader_monitor.runtime.processes import matching, start_ticks
from trader_monitor.runtime.readings import Reading, counter, gauge
from trader_monitor.runtime.registry import collector

COUNT = gauge("bot_processes", "Processes of the bot.")
CPU = counter("bot_cpu_seconds_total", "Processor time of the bot's processes, as far as it was seen.")
RSS = gauge("bot_resident_memory_bytes", "Memory of the bot's processes.")
FDS = gauge("bot_open_fds", "File descriptors that the bot's processes have open, where the daemon may see them.")
THREADS = gauge("bot_threads", "Threads of the bot's processes.")
RESTARTS = counter("bot_restarts_total", "Times that the bot's first process was replaced by a new one.")
STARTED = gauge("bot_start_time_seconds", "Unix time at which the bot's first process began.")

TICKS = os.sysconf("SC_CLK_TCK")
_PLAIN = re.compile(r"[\w ./-]+(\|[\w ./-]+)*")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`match` is a regular expression sought in command lines; its first group, or all it matched, names the bot."""

    match: str

    def __post_init__(self) -> None:
        refuse(wrong_pattern("match", self.match))


class _Bot(Struct):
    """What was seen of one bot. A process is its pid and its start: the kernel gives pids again."""

    cpu: dict[tuple[int, int], float] = field(default_factory=dict)
    spent: float = 0.0
    main: tuple[int, int] | None = None
    restarts: int = 0


_seen: dict[Options, dict[str, _Bot]] = {}


@collector("bots", Options)
def bots(options: Options, env: Env) -> list[Reading]:
    """Processor, memory, descriptors, threads and restarts of the processes whose command lines match."""
    known = _seen.setdefault(options, _expected(options.match))
    found: dict[str, list[int]] = {name: [] for name in known}
    for pid, match in matching(re.compile(options.match)):
        name = match[1] if match.re.groups and match[1] else match[0]
        found.setdefault(name, []).append(pid)
    return [reading for name, pids in found.items() for reading in _read(name, pids, known)]


def _expected(match: str) -> dict[str, _Bot]:
    """The names that a plain pattern ("alpha|beta") says by itself, so that a bot never seen counts 0."""
    return {name: _Bot() for name in match.split("|")} if _PLAIN.fullmatch(match) else {}


def _read(name: str, pids: list[int], known: dict[str, _Bot]) -> Iterator[Reading]:
    bot = known.setdefault(name, _Bot())
    cpu: dict[tuple[int, int], float] = {}
    rss = threads = 0
    fds: int | None = 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                rss += process.memory_info().rss
                threads += process.num_threads()
                cpu[pid, start_ticks(pid)] = times.user + times.system
            fds = None if fds is None else fds + process.num_fds()
        except psutil.AccessDenied:
            fds = None  # another user's: half a sum would be a wrong one
        except (psutil.NoSuchProcess, OSError):
            continue
    bot.spent += sum(max(0.0, spent - bot.cpu.get(identity, 0.0)) for identity, spent in cpu.items())
    main = min(cpu, key=lambda identity: identity[1], default=None)
    if main is not None and bot.main is not None and main[1] > bot.main[1] and main not in bot.cpu:
        bot.restarts += 1
    bot.main = main or bot.main
    bot.cpu = cpu
    yield COUNT(len(cpu), bot=name)
    yield CPU(bot.spent, bot=name)
    yield RESTARTS(bot.restarts, bot=name)
    if main is not None:
        yield RSS(rss, bot=name)
        yield THREADS(threads, bot=name)
        yield STARTED(psutil.boot_time() + main[1] / TICKS, bot=name)
        if fds is not None:
            yield FDS(fds, bot=name)
