"""The statistics worker: started by work, ended without, and dead for any reason without harm to the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts import until
from tests.runtime.trial_job import JOB, Answered, Asked, Deed
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.statistics import worker as module
from trader_monitor.runtime.statistics.wire import MOST, Job, framed, length_of
from trader_monitor.runtime.statistics.worker import Busy, JobFailed, Refused, Worker

ROOT = Path(__file__).parents[2]
WITHIN = 20.0


@asynccontextmanager
async def working(**options: Any) -> AsyncIterator[Worker]:
    worker = Worker(environment={"PYTHONPATH": str(ROOT)}, **options)
    try:
        yield worker
    finally:
        await worker.close()
        assert worker.pid is None


async def do(worker: Worker, deed: Deed, *numbers: float, within: float = WITHIN) -> Answered:
    return await worker.run(JOB, Asked(deed, list(numbers)), within=within)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_job_is_answered_by_one_process_that_gives_way_to_all_others() -> None:
    async with working(memory=700 << 20) as worker:
        assert worker.pid is None, "there is none before there is work"
        first = await do(worker, "add", 1.5, 2.0)
        second = await do(worker, "add", 4.0)
        assert (first.total, second.total) == (3.5, 4.0)
        assert first.pid == second.pid == worker.pid != os.getpid()
        assert (first.nice, first.memory) == (min(os.nice(0) + 10, 19), 700 << 20)
        assert first.oom >= 500
        assert first.environment["OPENBLAS_NUM_THREADS"] == "1"
        assert not {name for name in first.environment if "TOKEN" in name or "SECRET" in name}
        assert not {"scipy", "aiohttp", "sqlite3"} & set(first.modules), "what no job asked for is not imported"


DEATHS: list[tuple[str, Deed, str]] = [
    ("a bug", "fail", "trial_job failed: KeyError: 'a bug'"),
    ("kill -9, or the kernel short of memory", "die", "its process was killed by SIGKILL"),
    ("a library that gives up", "exit", "its process ended with status 3: cannot go on"),
    ("more memory than it may have", "eat", r"it needs more memory than it may have \(400 MiB\)"),
    ("bytes that are no answer", "wrong", "answered what is no answer: a frame of 4,294,967,295 bytes"),
]


@pytest.mark.parametrize(("deed", "reason"), [case[1:] for case in DEATHS], ids=[case[0] for case in DEATHS])
async def test_a_job_that_fails_says_why_and_the_next_one_has_a_new_process(deed: Deed, reason: str) -> None:
    meters = Meters()
    async with working(meters=meters, memory=400 << 20) as worker:
        before = (await do(worker, "add", 1.0)).pid
        with pytest.raises(JobFailed, match=reason):
            await do(worker, deed)
        after = await do(worker, "add", 1.0)
        assert (after.total, after.pid != before) == (1.0, True)
        assert not alive(before)
    counted = {outcome: meters.get("monitor_statistics_jobs_total", job="trial_job", outcome=outcome)
               for outcome in ("done", "failed")}  # fmt: skip
    assert counted == {"done": 2, "failed": 1}
    assert meters.get("monitor_statistics_starts_total") == 2


async def test_what_cannot_be_answered_is_refused_and_the_process_lives() -> None:
    async with working() as worker:
        with pytest.raises(Refused, match="there are too few rows"):
            await do(worker, "refuse")
        assert (await do(worker, "add")).pid == worker.pid
    with pytest.raises(ModuleNotFoundError):
        __import__("tests.runtime.no_such_job")


async def test_a_job_that_hangs_is_ended_at_its_deadline() -> None:
    async with working() as worker:
        before = (await do(worker, "add")).pid
        began = time.monotonic()
        with pytest.raises(JobFailed, match=r"took longer than 0\.3 s"):
            await do(worker, "hang", within=0.3)
        assert time.monotonic() - began < 3.0
        assert not alive(before)
        assert (await do(worker, "add", 1.0)).total == 1.0


async def test_a_job_whose_caller_goes_away_is_ended() -> None:
    async with working() as worker:
        before = (await do(worker, "add")).pid
        begun = asyncio.Event()
        hanging = worker.run(JOB, Asked("hang"), within=WITHIN, told=lambda done, total: begun.set())
        asking = asyncio.create_task(hanging)
        await asyncio.wait_for(begun.wait(), WITHIN)
        waiting = asyncio.create_task(do(worker, "add", 2.0))
        asking.cancel()
        assert (await waiting).total == 2.0
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not alive(before)


async def test_killed_between_two_jobs_it_is_started_anew() -> None:
    async with working() as worker:
        before = (await do(worker, "add")).pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: worker.pid is None)
        assert (await do(worker, "add", 1.0)).pid != before


async def test_without_work_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(idle=0.1) as worker:
        pid = (await do(worker, "add")).pid
        await until(lambda: not alive(pid))
        assert worker.pid is None
        assert (await do(worker, "add")).pid != pid


async def test_a_signal_for_the_whole_group_is_not_for_it() -> None:
    async with working() as worker:
        pid = (await do(worker, "add")).pid
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert (await do(worker, "add")).pid == pid


async def test_one_job_at_a_time_and_a_bounded_number_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    meters = Meters()
    async with working(meters=meters) as worker:
        three = [asyncio.create_task(do(worker, "add", float(number))) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="3 statistics jobs wait"):
            await do(worker, "add")
        answers = await asyncio.gather(*three)
        assert [answer.total for answer in answers] == [0.0, 1.0, 2.0]
        assert len({answer.pid for answer in answers}) == 1
    assert meters.get("monitor_statistics_jobs_total", job="trial_job", outcome="busy") == 1


async def test_who_has_no_patience_is_told_to_come_again() -> None:
    async with working() as worker:
        hanging = asyncio.create_task(do(worker, "hang"))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="busy with other jobs"):
            await worker.run(JOB, Asked("add"), within=WITHIN, patience=0.05)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert (await worker.run(JOB, Asked("add", [2.0]), within=WITHIN, patience=0.05)).total == 2.0


async def test_what_a_library_prints_does_not_run_into_the_answers() -> None:
    async with working() as worker:
        assert (await do(worker, "print", 1.0)).total == 1.0
        assert (await do(worker, "big", 1.0)).total == 100_001.0


async def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    async with working() as worker:
        await worker.run(JOB, Asked("tell"), within=WITHIN, told=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3)]


async def test_a_worker_that_cannot_be_started_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with working() as worker:
        with pytest.raises(JobFailed, match=r"cannot be started: .*/nowhere/python"):
            await do(worker, "add")


async def test_a_job_that_is_not_there_fails_by_its_name() -> None:
    async with working() as worker:
        with pytest.raises(JobFailed, match="no_such_job failed: ModuleNotFoundError"):
            await worker.run(Job("tests.runtime.no_such_job", Asked, Answered), Asked("add"), within=WITHIN)


DAEMON = """
import asyncio, os, signal, sys
from tests.runtime.trial_job import JOB, Asked
from trader_monitor.runtime.statistics.worker import Worker

async def main():
    worker = Worker(environment={"PYTHONPATH": sys.argv[1]})
    print("pid", (await worker.run(JOB, Asked("add"), within=20)).pid, flush=True)
    end = lambda done, total: os.kill(os.getpid(), signal.SIGKILL)
    await worker.run(JOB, Asked("hang"), within=60, told=end)

asyncio.run(main())
"""


async def test_it_dies_with_the_daemon_in_the_middle_of_a_job() -> None:
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(ROOT)), stdout=subprocess.PIPE, cwd=ROOT
    )
    said, _ = await daemon.communicate()
    (pid,) = (int(line[4:]) for line in said.splitlines() if line.startswith(b"pid "))
    await until(lambda: not alive(pid))


def test_the_daemon_and_the_commands_import_no_scipy() -> None:
    script = (
        "import sys, importlib\n"
        "for name in ('daemon', 'cli', 'cli.run', 'cli.status', 'runtime.statistics.worker'):\n"
        "    importlib.import_module('trader_monitor.' + name)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'scipy', 'pandas', 'pyarrow'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_frame_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="more than a frame may have"):
        framed(bytes(MOST + 1))
    assert length_of(framed(b"abc")[:4]) == 5
