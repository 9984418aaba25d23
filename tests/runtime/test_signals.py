"""Signals, in real processes: drain, end at once, reload."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROLOGUE = """
import sys, time, anyio
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.signals import Signals, leave
from trader_monitor.runtime.supervisor import Child, Supervisor

def say(text):
    print(text, flush=True)

async def hangs():
    while True:
        try:
            await anyio.sleep_forever()
        except BaseException:
            say("cancelled")

async def blocks():
    while True:
        pass

async def reload():
    say("reload")
    if len(sys.argv) > 2:
        raise OSError("no such file")

async def main(run):
    with Signals() as signals:
        tree = Supervisor([Child("c", run, grace=float(sys.argv[1]))], SystemClock())
        async with anyio.create_task_group() as group:
            group.start_soon(tree.run)
            say("up")
            number = await signals.until_drain(reload)
            say(f"drain {number}")
            group.cancel_scope.cancel()
        say("drained")
        leave(0)

"""


@contextmanager
def daemon(run: str, *argv: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    code = PROLOGUE + before + f"anyio.run(main, {run})"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    try:
        heard(child, "up")
        yield child
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def heard(child: subprocess.Popen[str], what: str) -> None:
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    assert line == what, line + child.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_status_is_0(number: signal.Signals) -> None:
    with daemon("anyio.sleep_forever", "2") as child:
        child.send_signal(number)
        heard(child, f"drain {int(number)}")
        heard(child, "drained")
        assert child.wait(10) == 0


def test_a_signal_that_another_thread_took_wakes_the_loop() -> None:
    """The main thread sleeps on in its system call, as it does when a signal comes just before it."""
    take = (
        "import signal, threading\n"
        "async def elsewhere():\n"
        "    await anyio.sleep(0.2)\n"
        "    take = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "    threading.Timer(0.2, take).start()\n"
        "    await anyio.sleep_forever()\n"
    )
    with daemon("elsewhere", "2", before=take) as child:
        heard(child, "drain 15")


def test_a_hung_child_does_not_hold_up_the_end() -> None:
    with daemon("hangs", "0.2") as child:
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0, "the loop's own teardown would wait for it for ever"
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals, status: int) -> None:
    with daemon("hangs", "60") as child:
        child.send_signal(signal.SIGTERM)
        heard(child, "drain 15")
        heard(child, "cancelled")
        began = time.monotonic()
        child.send_signal(number)
        assert child.wait(10) == status
        assert time.monotonic() - began < 1


def test_a_second_signal_works_even_while_the_event_loop_is_blocked() -> None:
    with daemon("blocks", "60") as child:
        for _ in range(1000):
            os.kill(child.pid, signal.SIGTERM)
            try:
                assert child.wait(0.02) == 143
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            pytest.fail("it did not end")


def test_hangup_reloads_and_goes_on() -> None:
    with daemon("anyio.sleep_forever", "2") as child:
        for _ in range(2):
            child.send_signal(signal.SIGHUP)
            heard(child, "reload")
        child.send_signal(signal.SIGTERM)
        heard(child, "drain 15")


def test_a_reload_that_fails_does_not_end_the_daemon() -> None:
    with daemon("anyio.sleep_forever", "2", "fails") as child:
        assert child.stdout is not None
        child.send_signal(signal.SIGHUP)
        heard(child, "reload")
        while "no such file" not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
