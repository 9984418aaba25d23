"""What was acknowledged survives: kill -9 at chosen system calls and at random, a disk that fails or is full."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import until
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal

from .writer import trades

WRITER = Path(__file__).with_name("writer.py")
SIZE = 40
COUNT = 30


def child(store: Path, *, strace: tuple[str, ...] = (), count: int = COUNT) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(store), "0", str(count), str(SIZE)]
    return subprocess.Popen([*strace, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def injected(strace: str, fault: str) -> tuple[str, ...]:
    calls = fault.partition(":")[0]
    return (strace, "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={fault}")


def acknowledged(output: str) -> set[int]:
    return {int(line.split()[1]) for line in output.splitlines() if line.startswith("ack ")}


async def settled(store: Path, acks: set[int], count: int = COUNT) -> None:
    """Every acknowledged batch is there, whole and once; of the others each is there whole or not at all."""
    journal = await open_journal(store, clock=SystemClock(), meters=Meters())
    try:
        assert journal.degraded is None
        present = journal.board.counts.get("trade", 0)
        assert present % SIZE == 0
        assert len(acks) * SIZE <= present <= count * SIZE
        there = 0
        for batch in range(count):
            recorded = await journal.record(trades(batch, SIZE))
            assert (recorded.accepted, recorded.duplicates) in ((SIZE, 0), (0, SIZE))
            there += recorded.duplicates
            assert batch not in acks or recorded.duplicates == SIZE, f"batch {batch} was acknowledged and lost"
        assert there == present
        assert journal.board.counts["trade"] == count * SIZE
        assert fills(journal) == count * SIZE
    finally:
        await journal.close()


def fills(journal: Journal) -> float:
    """The fills as the series have them."""
    series = journal.board.series
    named = [sid for sid in series.sids() if ("__name__", "trade_fills_total") in series.labels_of(sid)]
    return sum(float(series.head(sid)[1][-1]) for sid in named)


POINTS = [
    *(("fdatasync", n) for n in (1, 2, 3, 5, 9, 17, 30)),
    *(("pwrite64", n) for n in (2, 7, 20, 33, 60, 90, 121, 150)),
    *(("fsync", n) for n in (1, 2)),
    *(("ftruncate", n) for n in (1, 3)),
]


@pytest.mark.parametrize(("call", "nth"), POINTS, ids=[f"{call} {nth}" for call, nth in POINTS])
async def test_killed_at_a_system_call(tmp_path: Path, need: Callable[..., str], call: str, nth: int) -> None:
    store = tmp_path / "store.db"
    process = child(store, strace=injected(need("strace"), f"{call}:signal=SIGKILL:when={nth}"))
    output, _ = process.communicate(timeout=60)
    await settled(store, acknowledged(output))


async def test_no_acknowledgement_before_the_disk_has_synced(tmp_path: Path, need: Callable[..., str]) -> None:
    """In the kernel's own order: what was written to the log since the last sync is synced before the word goes out."""
    trace = tmp_path / "trace"
    options = ("-f", "-qq", "-y", "--seccomp-bpf", "-o", str(trace), "-e", "trace=pwrite64,fdatasync,write", "-s", "12")
    process = child(tmp_path / "store.db", strace=(need("strace"), *options), count=10)
    output, _ = process.communicate(timeout=60)
    assert acknowledged(output) == set(range(10))
    unsynced = said = 0
    for line in trace.read_text().splitlines():
        if "store.db-wal>" in line and "pwrite64(" in line:
            unsynced += 1
        elif "store.db-wal>" in line and "fdatasync(" in line:
            unsynced = 0
        elif '"ack ' in line:
            assert not unsynced, line
            said += 1
    assert said == 10


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random(tmp_path: Path, seed: int) -> None:
    """Twice over the same store, so that the second life begins from what the first left."""
    store, acks, chance = tmp_path / "store.db", set[int](), random.Random(seed)
    for _ in range(2):
        process = child(store)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(2, 2 * COUNT))]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
        acks |= acknowledged("".join(lines) + rest)
    await settled(store, acks)


@pytest.mark.parametrize(
    "fault",
    [
        "fdatasync:error=EIO:when=4..6",
        "fdatasync:error=EIO:when=14..17",
        "fdatasync:error=EIO:when=14+13",
        "pwrite64:error=ENOSPC:when=44..46",
        "pwrite64:error=ENOSPC:when=80..83",
        "pwrite64:error=EIO:when=84",
    ],
)
async def test_a_disk_that_fails_for_a_while(tmp_path: Path, need: Callable[..., str], fault: str) -> None:
    """No false acknowledgement, the daemon's own facts still leave, and it recovers in the same life."""
    store = tmp_path / "store.db"
    process = child(store, strace=injected(need("strace"), fault))
    output, _ = process.communicate(timeout=60)
    lines = output.splitlines()
    acks = acknowledged(output)
    assert process.returncode == 0, output
    assert sum(line.startswith("own ") for line in lines) == COUNT
    assert any(line.startswith(("no ", "degraded ", "nosnap ")) for line in lines), output
    assert acks, output
    if "+" not in fault:
        assert "sound" in lines, output
    await settled(store, acks)


@pytest.fixture
def small_disk(tmp_path: Path, need: Callable[..., str]) -> Iterator[Path]:
    """A file system of 2 MiB; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        [need("mount"), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a file system takes root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk_and_room_again(small_disk: Path) -> None:
    from trader_monitor.runtime.journal import StoreUnavailable

    from .writer import collection

    journal = await open_journal(small_disk / "store.db", clock=SystemClock(), meters=Meters())
    heard: list[object] = []
    journal.watch(heard.extend)
    await journal.record(trades(0, SIZE))
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError):
        ballast.write_bytes(bytes(4 << 20))
    accepted, refused = 1, 0
    for batch in range(1, 30):
        try:
            await journal.record(trades(batch, SIZE))
            accepted += 1
        except StoreUnavailable:
            refused += 1
    assert refused
    assert journal.degraded
    await until(lambda: journal.board.counts["trade"] == accepted * SIZE)
    own = collection(1.0)
    await journal.record([own])
    assert heard[-1] == own
    ballast.unlink()
    await until(lambda: journal.sound)
    assert (await journal.record(trades(29, SIZE))).accepted == SIZE
    assert journal.degraded is None
    await journal.close()

    again = await open_journal(small_disk / "store.db", clock=SystemClock(), meters=Meters())
    assert again.board.counts["trade"] == (accepted + 1) * SIZE
    sid = again.board.series.find((("__name__", "host_load"), ("core", "0")))
    assert again.board.series.head(sid)[1].tolist() == [1.0]
    await again.close()
