"""The worker's own process: `python -m trader_monitor.runtime.statistics MEMORY_BYTES`.

It answers one request after the other from stdin on stdout, and ends where stdin does. It gives way to everything
else on the host (nice), goes first when memory is short, has a bound of memory of its own, and dies with the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from trader_monitor.runtime.statistics.wire import HEAD, Answer, Failed, Progress, Request, framed, length_of

NICE = 10
OOM_SCORE = 500
_PR_SET_PDEATHSIG = 1
_REQUEST = msgspec.msgpack.Decoder(Request)


def main() -> None:
    """Serves until stdin ends."""
    restrain(int(sys.argv[1]))
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not run into the frames
    while (body := _frame(asked)) is not None:
        answers.write(framed(_done(body, answers)))
        answers.flush()


def restrain(memory: int) -> None:
    """What a sandbox forbids is left out: systemd's unit forbids `nice`, and gives the daemon a share of its own."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):  # of the terminal's group, or of the unit's: the daemon decides
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), "ascii")


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(HEAD)
    return source.read(length_of(head)) if len(head) == HEAD else None


def _done(body: bytes, answers: BinaryIO) -> Answer | Failed:
    def told(done: int, total: int) -> None:
        answers.write(framed(Progress(done, total)))
        answers.flush()

    try:
        request = _REQUEST.decode(body)
        module: Any = importlib.import_module(request.module)
        asked = msgspec.msgpack.decode(request.asked, type=module.JOB.asked)
        return Answer(msgspec.Raw(msgspec.msgpack.encode(module.run(asked, told))))
    except MemoryError:
        return Failed("memory", "it needs more memory than it may have")
    except ValueError as error:
        return Failed("refused", str(error))
    except Exception as error:
        traceback.print_exc()
        return Failed("error", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
