"""The host's collectors against what /proc itself says."""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plugins.house import house, plugin
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Breaker, ChannelTried
from trader_monitor.core.series import SeriesStore
from trader_monitor.plugins.collectors import bots, clock, connections, disk_space
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.readings import Partial, Reading

HOST = (
    "clock", "connections", "cpu", "descriptors", "disk_io", "disk_space", "load", "memory", "monitor", "network",
    "swap", "temperatures",
)  # fmt: skip


async def read(name: str, env: Any, **options: Any) -> list[Reading]:
    it = plugin("collector", name)
    return list(await it.call(it.options(**options), env))


def value(readings: list[Reading], name: str, **labels: str) -> float:
    found = [r.value for r in readings if r.name == name and labels.items() <= dict(r.labels).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def proc(path: str) -> str:
    return Path("/proc", path).read_text()


async def test_memory_is_what_meminfo_says() -> None:
    async with house() as env:
        seen = await read("memory", env)
    kib = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in proc("meminfo").splitlines()}
    assert value(seen, "host_memory_total_bytes") == kib["MemTotal"]
    assert value(seen, "host_memory_available_bytes") == pytest.approx(kib["MemAvailable"], rel=0.05)
    assert value(seen, "host_memory_usage_ratio") == pytest.approx(1 - kib["MemAvailable"] / kib["MemTotal"], abs=0.02)


async def test_processor_time_per_mode_is_what_stat_says() -> None:
    async with house() as env:
        seen = await read("cpu", env)
    ticks = os.sysconf("SC_CLK_TCK")
    user, _, system, idle = [int(word) / ticks for word in proc("stat").split("\n", 1)[0].split()[1:5]]
    assert value(seen, "host_cpu_seconds_total", mode="user") == pytest.approx(user, abs=1)
    assert value(seen, "host_cpu_seconds_total", mode="system") == pytest.approx(system, abs=1)
    assert value(seen, "host_cpu_seconds_total", mode="idle") == pytest.approx(idle, abs=2)


async def test_the_second_look_says_which_share_of_the_processors_was_in_use() -> None:
    async with house() as env:
        await read("cpu", env)
        busy_until = time.thread_time() + 0.15
        while time.thread_time() < busy_until:
            pass
        seen = await read("cpu", env)
    ratios = [r.value for r in seen if r.name == "host_cpu_mode_ratio"]
    assert sum(ratios) == pytest.approx(1.0)
    assert value(seen, "host_cpu_usage_ratio") > 0.5 / (os.cpu_count() or 1) * 0.5


async def test_load_is_what_loadavg_says() -> None:
    async with house() as env:
        seen = await read("load", env)
    assert [r.value for r in seen] == pytest.approx([float(word) for word in proc("loadavg").split()[:3]], abs=0.1)


async def test_swap_is_what_meminfo_says() -> None:
    async with house() as env:
        seen = await read("swap", env)
    total = int(next(line for line in proc("meminfo").splitlines() if line.startswith("SwapTotal")).split()[1])
    assert value(seen, "host_swap_total_bytes") == total * 1024
    assert any(r.name == "host_swap_usage_ratio" for r in seen) == bool(total)


async def test_traffic_is_what_net_dev_says_and_grows_with_use() -> None:
    async with house() as env:
        before = await read("network", env, ignore=())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(10):
                sock.sendto(b"x" * 1000, ("127.0.0.1", 9))
        after = await read("network", env, ignore=())
    name = "host_network_transmit_bytes_total"
    assert value(after, name, interface="lo") >= value(before, name, interface="lo") + 10_000
    named = {line.split(":")[0].strip() for line in proc("net/dev").splitlines()[2:]}
    assert {dict(r.labels)["interface"] for r in after} == named


async def test_loopback_is_left_out_by_default() -> None:
    async with house() as env:
        assert not any(dict(r.labels)["interface"] == "lo" for r in await read("network", env))


async def test_disks_are_those_of_diskstats() -> None:
    async with house() as env:
        seen = await read("disk_io", env, ignore=())
    sectors = {line.split()[2]: int(line.split()[5]) for line in proc("diskstats").splitlines()}
    for reading in seen:
        if reading.name == "host_disk_read_bytes_total":
            assert reading.value == pytest.approx(sectors[reading.labels["device"]] * 512, rel=0.05, abs=1 << 20)


async def test_space_is_what_statvfs_says() -> None:
    async with house() as env:
        seen = await read("disk_space", env, all=True, ignore=("overlay",))
    for reading in seen:
        if reading.name == "host_filesystem_size_bytes":
            fs = os.statvfs(reading.labels["mountpoint"])
            assert reading.value == fs.f_blocks * fs.f_frsize
    assert seen


async def test_a_mount_that_never_answers_holds_one_thread_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as env:
        mounts = {r.labels["mountpoint"] for r in await read("disk_space", env, all=True, ignore=())}
        stuck = min(mounts)
        monkeypatch.setattr(disk_space, "_asking", {stuck})
        with pytest.raises(Partial, match=re.escape(stuck)) as caught:
            await read("disk_space", env, all=True, ignore=())
    assert stuck not in {r.labels["mountpoint"] for r in caught.value.readings}


async def test_connections_are_counted_by_state() -> None:
    async with house() as env:
        before = await read("connections", env)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peers = [socket.create_connection(listener.getsockname()) for _ in range(5)]
            after = await read("connections", env)
            for peer in peers:
                peer.close()
    name = "host_connections"
    assert value(after, name, state="established") >= value(before, name, state="established") + 5
    assert value(after, name, state="listen") >= 1


def test_netlink_and_proc_count_the_same_connections() -> None:
    """States that last; what comes and goes between two looks is left out."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        peer = socket.create_connection(listener.getsockname()[:2])
        by_netlink, by_proc = connections._by_netlink(), connections._by_proc()
        peer.close()
    for state in ("listen", "established"):
        assert by_netlink[state] == pytest.approx(by_proc[state], abs=3)
    assert by_netlink["established"] >= 2
    assert by_netlink["listen"] >= 1


async def test_descriptors_are_what_file_nr_says() -> None:
    async with house() as env:
        seen = await read("descriptors", env)
    assert value(seen, "host_file_descriptors_max") == int(proc("sys/fs/file-nr").split()[2])


async def test_a_step_of_the_wall_clock_is_seen_against_the_monotonic_one() -> None:
    hands = ManualClock()
    async with house(clock=hands) as env:
        await read("clock", env)
        await hands.advance(15)
        even = await read("clock", env)
        hands.step(-90)
        back = await read("clock", env)
        after = await read("clock", env)
    assert value(even, "host_clock_step_seconds") == pytest.approx(0, abs=0.01)
    assert value(even, "host_clock_steps_total") == 0
    assert value(back, "host_clock_step_seconds") == pytest.approx(-90, abs=0.01)
    assert value(back, "host_clock_steps_total") == 1
    assert value(after, "host_clock_steps_total") == 1


async def test_boot_time_and_ntp_state_are_the_kernels() -> None:
    async with house() as env:
        seen = await read("clock", env)
    btime = int(next(line for line in proc("stat").splitlines() if line.startswith("btime")).split()[1])
    assert value(seen, "host_boot_time_seconds") == pytest.approx(btime, abs=1)
    synced = [r.value for r in seen if r.name == "host_clock_synchronized"]
    assert synced == [] or synced[0] in (0.0, 1.0)
    assert clock.SYNCED.kind == "gauge"


SANDBOXED = """
import ctypes, platform, struct, sys
from pathlib import Path
from trader_monitor.plugins.collectors import clock

refused = {"x86_64": (159, 305), "aarch64": (171, 266)}[platform.machine()]  # adjtimex, clock_adjtime
step = struct.Struct("HBBI").pack
program = (
    step(0x20, 0, 0, 0)  # the call's number
    + step(0x15, 1, 0, refused[0])
    + step(0x15, 0, 1, refused[1])
    + step(0x06, 0, 0, 0x00050001)  # EPERM
    + step(0x06, 0, 0, 0x7FFF0000)  # anything else is allowed
)
held = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
clock.TIMESYNC = Path(sys.argv[1])
print([(reading.name, reading.value) for reading in clock._kernel()])
"""


def test_where_the_kernels_answer_is_forbidden_timesyncd_is_asked(tmp_path: Path) -> None:
    """Under a real filter of system calls, as the unit has one."""

    def seen(folder: Path) -> str:
        run = [sys.executable, "-c", SANDBOXED, str(folder)]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    assert seen(tmp_path / "none") == "[]", "nobody knows"
    assert seen(tmp_path) == "[('host_clock_synchronized', 0.0)]"
    (tmp_path / "synchronized").touch()
    assert seen(tmp_path) == "[('host_clock_synchronized', 1.0)]"


async def test_the_daemon_tells_its_own_figures_and_everything_it_counted() -> None:
    async with house() as env:
        env.meters.count("monitor_things_total", 3, kind="a")
        env.meters.set("monitor_depth", 7)
        seen = await read("monitor", env)
    assert value(seen, "monitor_things_total", kind="a") == 3
    assert value(seen, "monitor_depth") == 7
    assert value(seen, "monitor_open_fds") == pytest.approx(len(os.listdir("/proc/self/fd")), abs=3)
    rss = int(next(line for line in proc("self/status").splitlines() if line.startswith("VmRSS")).split()[1]) * 1024
    assert value(seen, "monitor_resident_memory_bytes") == pytest.approx(rss, rel=0.2)
    assert value(seen, "monitor_loop_lag_seconds") >= 0
    assert {r.name: r.of.kind for r in seen if r.of}["monitor_things_total"] == "counter"


async def test_each_configured_channel_has_a_breaker_that_never_failed_or_is_as_the_board_has_it() -> None:
    config = SimpleNamespace(collectors={}, checks={}, actions={}, channels={"desk": None, "mail": None})
    async with house(config) as env:
        now = env.clock.now()
        tripped = Breaker(state="open", failures=5, since=now.mono, retry_at=now.mono + 15, opened=1, generation=1)
        tried = ChannelTried(at=now.wall, channel="mail", outcome="failed", breaker=tripped, mono=now.mono)
        env.journal.board = Board(SeriesStore())
        env.board.fold(tried, now)
        seen = await read("monitor", env)
    assert value(seen, "monitor_channel_breaker_open", channel="desk") == 0
    assert value(seen, "monitor_channel_breaker_open", channel="mail") == 1


async def test_a_round_of_the_whole_host_is_cheap() -> None:
    """The budget is 3 ms of processor time; the test allows for a busy machine and a debug build."""
    async with house() as env:
        plugins = [plugin("collector", name) for name in HOST if name != "monitor"]
        best = 1.0
        for _ in range(5):
            began = time.process_time()
            for it in plugins:
                await it.call(it.options(), env)
            best = min(best, time.process_time() - began)
    assert best < 0.015


# --- bots -------------------------------------------------------------------------------------------------------


def bot(name: str, work: str = "") -> subprocess.Popen[bytes]:
    code = f"import sys\n{work}\nsys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LANG": "C"}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


async def test_a_bots_processes_are_found_by_command_line_and_their_figures_are_procs() -> None:
    name = f"alpha{os.getpid()}"
    process = bot(name, "x = [i for i in range(2_000_000)]")
    try:
        async with house() as env:
            seen = await read("bots", env, match=name)
        status = proc(f"{process.pid}/status")
        rss = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024
        assert value(seen, "bot_processes", bot=name) == 1
        assert value(seen, "bot_resident_memory_bytes", bot=name) == pytest.approx(rss, rel=0.02)
        assert value(seen, "bot_threads", bot=name) == 1
        assert value(seen, "bot_open_fds", bot=name) == len(os.listdir(f"/proc/{process.pid}/fd"))
        assert value(seen, "bot_cpu_seconds_total", bot=name) > 0
        assert value(seen, "bot_restarts_total", bot=name) == 0
    finally:
        end(process)


async def test_a_restart_is_a_new_first_process_and_the_count_of_processor_time_goes_on() -> None:
    name = f"beta{os.getpid()}"
    async with house() as env:
        first = bot(name, "sum(range(3_000_000))")
        spent = value(await read("bots", env, match=name), "bot_cpu_seconds_total")
        end(first)
        gone = await read("bots", env, match=name)
        assert value(gone, "bot_processes", bot=name) == 0
        assert value(gone, "bot_restarts_total", bot=name) == 0
        assert not any(r.name == "bot_resident_memory_bytes" for r in gone)
        second = bot(name)
        try:
            back = await read("bots", env, match=name)
            assert value(back, "bot_processes", bot=name) == 1
            assert value(back, "bot_restarts_total", bot=name) == 1
            assert value(back, "bot_cpu_seconds_total", bot=name) >= spent
            assert value(await read("bots", env, match=name), "bot_restarts_total", bot=name) == 1
        finally:
            end(second)


async def test_one_worker_more_is_no_restart() -> None:
    name = f"gamma{os.getpid()}"
    async with house() as env:
        first = bot(name)
        await read("bots", env, match=name)
        second = bot(name)
        try:
            seen = await read("bots", env, match=name)
            assert value(seen, "bot_processes", bot=name) == 2
            end(first)
            left = await read("bots", env, match=name)
            assert value(left, "bot_processes", bot=name) == 1
            assert value(left, "bot_restarts_total", bot=name) == 0, "the worker that was there before is now the first"
        finally:
            end(second)


async def test_a_pid_that_the_kernel_gave_again_is_another_process() -> None:
    """The same pid with another start: what was spent before is not taken off, and it counts as a restart."""
    known = {"delta": bots._Bot(cpu={(os.getpid(), 5): 1e9}, spent=7.0, main=(os.getpid(), 5))}
    seen = list(bots._read("delta", [os.getpid()], known))
    assert value(seen, "bot_restarts_total") == 1
    assert value(seen, "bot_cpu_seconds_total") > 7.0


async def test_the_first_group_names_the_bot_and_a_plain_pattern_counts_bots_never_seen() -> None:
    tag = f"g{os.getpid()}"
    one, two = bot(f"--bot={tag}one"), bot(f"--bot={tag}two")
    try:
        async with house() as env:
            seen = await read("bots", env, match=rf"--bot=({tag}\w+)")
            plain = await read("bots", env, match="no_such_bot_a|no_such_bot_b")
        assert {r.labels["bot"] for r in seen} == {f"{tag}one", f"{tag}two"}
        assert [(r.labels["bot"], r.value) for r in plain if r.name == "bot_processes"] == [
            ("no_such_bot_a", 0),
            ("no_such_bot_b", 0),
        ]
    finally:
        end(one)
        end(two)


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="regular expression"):
        bots.Options(match="(")


def test_collectors_that_block_run_in_threads() -> None:
    for name in ("disk_space", "connections", "temperatures", "bots"):
        assert not inspect.iscoroutinefunction(plugin("collector", name).function), name
