"""A statistics job that does what a test asks of it: answers, fails, hangs, dies, eats memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from typing import Literal

import msgspec

from trader_monitor.runtime.statistics.wire import Job, Told

Deed = Literal["add", "refuse", "fail", "hang", "die", "exit", "eat", "print", "big", "wrong", "tell"]


class Asked(msgspec.Struct, frozen=True):
    deed: Deed
    numbers: list[float] = []


class Answered(msgspec.Struct, frozen=True):
    total: float
    pid: int = 0
    nice: int = 0
    oom: int = 0
    memory: int = 0
    modules: list[str] = []
    environment: dict[str, str] = {}


JOB = Job("tests.runtime.trial_job", Asked, Answered)


def run(asked: Asked, told: Told) -> Answered:
    match asked.deed:
        case "refuse":
            raise ValueError("there are too few rows")
        case "fail":
            raise KeyError("a bug")
        case "hang":
            told(0, 1)
            while True:
                time.sleep(60)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            print("cannot go on", file=sys.stderr)
            os._exit(3)
        case "eat":
            held = []
            while True:
                held.append(bytearray(16 << 20))
        case "print":
            print("a library says hello")
        case "big":
            asked.numbers.extend([0.5] * 200_000)
        case "wrong":
            os.write(1, b"\xff\xff\xff\xff")
            time.sleep(60)
        case "tell":
            for done in range(3):
                told(done, 3)
        case "add":
            pass
    with open("/proc/self/oom_score_adj") as file:
        oom = int(file.read())
    return Answered(
        sum(asked.numbers),
        os.getpid(),
        os.nice(0),
        oom,
        resource.getrlimit(resource.RLIMIT_AS)[0],
        sorted({name.partition(".")[0] for name in sys.modules}),
        dict(os.environ),
    )
