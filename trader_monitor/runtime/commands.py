"""Running a program: no shell, a minimal environment, bounded output, and an end that reaches its whole group."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import anyio

__all__ = ["Ran", "run"]

OUTPUT_BYTES = 8192
GRACE_SECONDS = 2.0
LAST_READS = 4
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ran(NamedTuple):
    """How it ended. `output` is the tail of what it wrote, both streams together."""

    status: int
    output: str


async def run(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None, directory: str | None = None
) -> Ran:
    """Runs a program to its end. Raises OSError where it cannot be started.

    On cancellation (the caller's deadline) the whole process group gets SIGTERM, and SIGKILL two seconds later:
    nothing of it is left when this returns. The environment is PATH, LANG and what is given; no secret of the
    daemon's own reaches it.
    """
    # A pipe of our own: asyncio's would have `wait` wait for whoever else holds its other end.
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    output = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(reading, _read, reading, output)
    process: asyncio.subprocess.Process | None = None
    try:
        os.set_blocking(writing, True)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env={"PATH": PATH, "LANG": "C.UTF-8", **(environment or {})},
            cwd=directory or "/",
            start_new_session=True,
        )
        os.close(writing)
        writing = -1
        status = await process.wait()
        # Its own last words; what it left running may go on writing for ever.
        for _ in range(LAST_READS):
            if not _read(reading, output):
                break
    finally:
        with anyio.CancelScope(shield=True):
            if process is not None and process.returncode is None:
                await _end(process)
        loop.remove_reader(reading)
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    return Ran(status, output.decode("utf-8", "replace").strip())


def _read(fd: int, output: bytearray) -> bool:
    """Keeps the tail of what can be read at once; False where that is nothing."""
    try:
        chunk = os.read(fd, 1 << 16)
    except BlockingIOError:
        return False
    if not chunk:
        asyncio.get_running_loop().remove_reader(fd)
    output += chunk
    del output[:-OUTPUT_BYTES]
    return bool(chunk)


async def _end(process: asyncio.subprocess.Process) -> None:
    _signal(process.pid, signal.SIGTERM)
    with anyio.move_on_after(GRACE_SECONDS):
        await process.wait()
    # Also where the first of the group went willingly: the others may not have.
    _signal(process.pid, signal.SIGKILL)
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
