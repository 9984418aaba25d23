"""The worker as the daemon has it: a child process while there is work, one job at a time.

It is started by the first job and ended after a minute without any, so that a daemon without models has none. A job
that outlives its deadline, or whoever asked for it, is ended with its process; a process that dies fails the job that
it was at, with the reason, and the next job starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
import structlog

from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.statistics.wire import (
    HEAD,
    Answer,
    Failed,
    Frame,
    Job,
    Progress,
    Request,
    Told,
    framed,
    length_of,
)

__all__ = ["Busy", "JobFailed", "Refused", "Worker"]

A = TypeVar("A")
R = TypeVar("R")

log = structlog.get_logger(__name__)

IDLE_SECONDS = 60.0
MEMORY_BYTES = 768 << 20
"""Of addresses (RLIMIT_AS): Python with numpy and scipy.stats takes 250 MiB of them, 95 MiB of which are in memory."""
WAITING = 16
GRACE_SECONDS = 2.0
_TAIL = 2048
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_FRAME = msgspec.msgpack.Decoder(Frame)


class JobFailed(Exception):
    """The job has no answer; the text says why."""


class Refused(JobFailed):
    """What was asked cannot be answered, now or later."""


class Busy(JobFailed):
    """Too many jobs wait already."""


class _Life:
    """One process, and the last of what it said on stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._tail = bytearray()
        self._reading = asyncio.create_task(self._read(), name="statistics errors")

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(1 << 16):
            self._tail += chunk
            del self._tail[:-_TAIL]

    async def cause(self) -> str:
        """How it ended, which it has, or is about to."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                status = await self.process.wait()
                await asyncio.wait((self._reading,))
        except TimeoutError:
            return "closed its pipe and hangs"
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = self._tail.decode("utf-8", "replace").strip().splitlines()
        return f"{how}: {said[-1]}" if said else how

    async def end(self, grace: float = 0.0) -> None:
        """Has it end by itself for `grace` seconds, and kills it then, with all that it started."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        if grace:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await asyncio.wait((self._reading,))


class Worker:
    """At most one process, for whoever asks. Belongs to one event loop."""

    def __init__(
        self,
        meters: Meters | None = None,
        *,
        idle: float = IDLE_SECONDS,
        memory: int = MEMORY_BYTES,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._meters = meters or Meters()
        self._idle = idle
        self._memory = memory
        self._environment = dict(environment or {})
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._life: _Life | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._life is None or self._life.ended else self._life.process.pid

    async def run(
        self, job: Job[A, R], asked: A, *, within: float, patience: float | None = None, told: Told | None = None
    ) -> R:
        """The job's answer. Raises JobFailed, Busy or Refused. `within` are seconds from its beginning, `patience`
        those that it may wait for its turn."""
        if self._waiting >= WAITING:
            self._count(job, "busy")
            raise Busy(f"{self._waiting} statistics jobs wait already: try again later")
        self._waiting += 1
        try:
            try:
                async with asyncio.timeout(patience):
                    await self._turn.acquire()
            except TimeoutError:
                self._count(job, "busy")
                raise Busy("the statistics worker is busy with other jobs: try again later") from None
            try:
                return await self._taken(job, asked, within, told)
            finally:
                self._turn.release()
        finally:
            self._waiting -= 1

    async def _taken(self, job: Job[A, R], asked: A, within: float, told: Told | None) -> R:
        if self._timer is not None:
            self._timer.cancel()
        began = time.monotonic()
        outcome = "failed"
        try:
            async with asyncio.timeout(within):
                answer = await self._asked(job, asked, told)
            outcome = "done"
            return answer
        except TimeoutError:
            outcome = "late"
            raise JobFailed(f"{job.name} took longer than {within:g} s and was ended") from None
        except Refused:
            outcome = "refused"
            raise
        finally:
            if outcome in ("failed", "late"):  # what it is at, nobody knows; so too where the caller went away
                with anyio.CancelScope(shield=True):
                    await self._kill()
            else:
                self._timer = asyncio.get_running_loop().call_later(self._idle, self._retire)
            self._count(job, outcome)
            self._meters.count("monitor_statistics_seconds_total", time.monotonic() - began, job=job.name)

    def _count(self, job: Job[Any, Any], outcome: str) -> None:
        self._meters.count("monitor_statistics_jobs_total", job=job.name, outcome=outcome)

    async def _asked(self, job: Job[A, R], asked: A, told: Told | None) -> R:
        request = framed(Request(job.module, msgspec.Raw(msgspec.msgpack.encode(asked))))
        life = await self._living()
        writer, reader = life.process.stdin, life.process.stdout
        assert writer is not None
        assert reader is not None
        try:
            writer.write(request)
            await writer.drain()
            while True:
                head = await reader.readexactly(HEAD)
                frame = _FRAME.decode(await reader.readexactly(length_of(head)))
                match frame:
                    case Progress(done, total):
                        if told is not None:
                            told(done, total)
                    case Answer(answered):
                        return msgspec.msgpack.decode(answered, type=job.answered)
                    case Failed("refused", reason):
                        raise Refused(reason)
                    case Failed("memory", reason):
                        raise JobFailed(f"{job.name} failed: {reason} ({self._memory >> 20} MiB)")
                    case Failed(_, reason):
                        raise JobFailed(f"{job.name} failed: {reason}")
        except (asyncio.IncompleteReadError, OSError):
            raise JobFailed(f"{job.name} failed: its process {await life.cause()}") from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise JobFailed(f"{job.name} failed: its process answered what is no answer: {error}") from None

    async def _living(self) -> _Life:
        """The process, a new one where there is none."""
        if self._life is not None and not self._life.ended:
            return self._life
        await self._kill()
        root = str(Path(__file__).parents[3])
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": root, "PYTHONFAULTHANDLER": "1"}
        argv = (sys.executable, "-P", "-m", "trader_monitor.runtime.statistics", str(self._memory))
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=environment | _ONE_THREAD | self._environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise JobFailed(f"the statistics worker cannot be started: {error}") from None
        self._life = _Life(process)
        self._meters.count("monitor_statistics_starts_total")
        log.info("statistics worker started", worker=process.pid)
        return self._life

    def _retire(self) -> None:
        """There was nothing to do for long enough."""
        life, self._life = self._life, None
        if life is not None:
            log.info("statistics worker ended: there is nothing to do", worker=life.process.pid)
            self._retiring = asyncio.create_task(life.end(GRACE_SECONDS), name="statistics end")

    async def _kill(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.end()

    async def close(self) -> None:
        """Ends the process; a job that is under way fails."""
        if self._timer is not None:
            self._timer.cancel()
        await self._kill()
        if self._retiring is not None:
            await self._retiring
