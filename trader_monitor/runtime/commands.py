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
DRAIN_SECONDS = 0.2
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
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": PATH, "LANG": "C.UTF-8", **(environment or {})},
        cwd=directory or "/",
        start_new_session=True,
    )
    output = bytearray()
    reading = asyncio.ensure_future(_read(process, output))
    try:
        status = await process.wait()
        # What it left running may hold the pipe open for ever; its own words are there by now.
        await asyncio.wait({reading}, timeout=DRAIN_SECONDS)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                await _end(process)
            reading.cancel()
            await asyncio.wait({reading})
            if process.stdout is not None:
                _close(process)
    return Ran(status, bytes(output).decode("utf-8", "replace").strip())


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Keeps the tail, and goes on reading, so that a talkative program never blocks."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(1 << 16):
        output += chunk
        del output[:-OUTPUT_BYTES]


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


def _close(process: asyncio.subprocess.Process) -> None:
    """Closes our end of the pipe, which asyncio keeps while anybody holds the other."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
