"""Logs: one shape for all, nothing forged, nothing secret, and nobody ever waits for a reader."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from trader_monitor.config.values import Secret
from trader_monitor.runtime import log as logs
from trader_monitor.runtime.log import open_log
from trader_monitor.runtime.sink import Sink
from trader_monitor.runtime.trace import current_trace, new_trace

Read = Callable[[], str]


@pytest.fixture
def pipe() -> Iterator[tuple[int, Read]]:
    """A descriptor to log to, and what was written so far. Logging is put back afterwards."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.raiseExceptions)

    def read() -> str:
        logs.flush(2.0)
        try:
            return os.read(reading, 1 << 20).decode()
        except BlockingIOError:
            return ""

    yield writing, read
    if logs._sink is not None:
        logs._sink.retire(0.5)
        logs._sink = None
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.captureWarnings(False)
    logging.raiseExceptions = before[2]
    structlog.reset_defaults()
    os.close(reading)
    os.close(writing)


def test_a_record_has_its_shape(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log(format="json", descriptor=writing)
    new_trace("t1")
    structlog.get_logger("trader_monitor.loops.notify").warning("channel is slow", channel="slack", seconds=1.5)
    new_trace("")
    record = json.loads(read())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "level": "warning",
        "logger": "trader_monitor.loops.notify",
        "message": "channel is slow",
        "trace_id": "t1",
        "context": {"channel": "slack", "seconds": 1.5},
    }


def test_libraries_that_use_logging_read_the_same(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log(format="json", descriptor=writing)
    logging.getLogger("aiohttp.server").error("Unhandled %s", "request\x1b[2J")
    logging.getLogger("aiohttp.server").error("wrong %d", "format")
    logging.getLogger("websockets.server").info("connection open")
    first, second = map(json.loads, read().splitlines())
    assert {**first, "timestamp": ""} == {
        "timestamp": "",
        "level": "error",
        "logger": "aiohttp.server",
        "message": "Unhandled request\x1b[2J",
        "trace_id": current_trace(),
    }
    assert second["message"] == "wrong %d ('format',)"


def test_the_level_holds_for_both(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log("warning", "json", descriptor=writing)
    structlog.get_logger("x").info("no")
    logging.getLogger("x").info("no")
    assert read() == ""


HOSTILE = {
    "a newline cannot forge a record": "ok\n2026-01-01 [critical] all is lost",
    "a carriage return cannot overwrite a line": "ok\rforged",
    "a terminal escape cannot clear the screen": "\x1b[2J\x1b]0;title\x07",
    "a C1 control is a terminal escape, too": "\x9b31m",
    "a bidi override cannot reverse the reading": "user\u202egnp.exe\u2066\u2069",
    "a zero-width character cannot hide": "a\u200bd\u200dm\ufeffin",
    "a line separator is a newline to some": "a\u2028b\u2029c\x85d",
    "NUL, backspace and DEL are shown": "\x00\x08\x7f",
    "tags are invisible text": "\U000e0041\U000e007f",
    "a lone surrogate is no reason to fail": "\ud800",
}
SAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("format", ["json", "console"])
def test_text_from_outside_is_escaped(pipe: tuple[int, Read], text: str, format: logs.Format) -> None:
    writing, read = pipe
    open_log(format=format, descriptor=writing)
    log = structlog.get_logger("x")
    log.info(text)
    log.info("m", value=text, deep={"k": [text], text: 1}, **{text: 1})
    logging.getLogger("y").warning(text)
    logging.getLogger(text).warning("m")
    written = read()
    assert written.count("\n") == len(written.splitlines()) == 4
    assert SAFE.search(written) is None
    if format == "json":
        parsed = [json.loads(line) for line in written.splitlines()]
        assert parsed[0]["message"] == text, "and nothing of it is lost"
        assert parsed[1]["context"]["deep"]["k"] == [text]


def test_what_people_write_stays_readable(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log(format="json", descriptor=writing)
    structlog.get_logger("x").info("權益下跌 — naïve €")
    assert "權益下跌 — naïve €" in read()


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_cannot_pass_for_a_record(pipe: tuple[int, Read], format: logs.Format) -> None:
    writing, read = pipe
    open_log(format=format, descriptor=writing)
    try:
        raise ValueError("bad\n2026-01-01 [critical] forged\x1b[2J")
    except ValueError:
        structlog.get_logger("x").exception("it failed")
    lines = read().splitlines()
    if format == "json":
        (record,) = map(json.loads, lines)
        assert (record["level"], record["message"]) == ("error", "it failed")
        assert record["exception"].startswith("Traceback")
    else:
        assert all(line.startswith("    | ") for line in lines[1:])
        assert "\x1b" not in "".join(lines)


def test_a_secret_is_never_shown_by_type_or_by_value(pipe: tuple[int, Read], monkeypatch: pytest.MonkeyPatch) -> None:
    writing, read = pipe
    monkeypatch.setenv("HOOK", "T0K3N/with+signs")
    secret = Secret.parse({"env": "HOOK"})
    open_log(format="json", descriptor=writing, secrets=[secret])
    log = structlog.get_logger("x")
    log.info("got %r", secret, token=secret, nested=[{"a": secret}], url="https://h/T0K3N/with+signs")
    logging.getLogger("aiohttp").error("cannot connect to https://h/T0K3N/with+signs")
    try:
        raise OSError("POST https://h/T0K3N/with+signs")
    except OSError:
        log.exception("failed")
    written = read()
    assert "T0K3N" not in written
    assert written.count("[secret]") == 6


class Grim:
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_nothing_that_is_logged_can_make_logging_fail(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log(format="json", descriptor=writing)
    log = structlog.get_logger("x")
    deep: list[object] = []
    deep.append(deep)
    log.info("m", grim=Grim(), nan=float("nan"), inf=float("-inf"), huge=10**5000, deep=deep, raw=b"\xff", none=None)
    log.info(Grim())
    log.info("long", text="x" * 100_000, many=list(range(1000)))
    first, second, third = map(json.loads, read().splitlines())
    context = first["context"]
    assert (context["grim"], context["nan"], context["inf"], context["none"]) == ("<Grim>", "nan", "-inf", None)
    assert second["message"] == "a record could not be rendered: ZeroDivisionError"
    assert len(third["context"]["text"]) < 9000
    assert len(third["context"]["many"]) == 100


def test_the_console_is_for_eyes(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log(format="auto", descriptor=writing)
    structlog.get_logger("x").info("m")
    assert json.loads(read())["message"] == "m", "a pipe is no terminal: JSON"


def test_a_terminal_gets_colours_unless_it_asks_for_none(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, Read]
) -> None:
    import pty

    monkeypatch.setenv("TERM", "xterm")
    for plain in (False, True):
        monkeypatch.setenv("NO_COLOR", "1") if plain else monkeypatch.delenv("NO_COLOR", raising=False)
        ours, theirs = pty.openpty()
        open_log(descriptor=theirs)
        structlog.get_logger("x").info("hello", a=1)
        logs.flush(2.0)
        written = os.read(ours, 65536).decode()
        os.close(ours)
        assert "hello" in written
        assert ("\x1b[" in written) is not plain


# --- a reader that does not read -------------------------------------------------------------------------------


def gap(dropped: int) -> bytes:
    return b"dropped %d\n" % dropped


def test_a_full_pipe_blocks_nobody_and_the_gap_is_told_once_it_is_read_again() -> None:
    reading, writing = os.pipe()
    sink = Sink(writing, gap, most_bytes=10_000)
    began = time.perf_counter()
    while sink.flush(0.05):
        for _ in range(1_000):
            sink.write(b"x" * 99 + b"\n")
    for _ in range(1_000):
        sink.write(b"x" * 99 + b"\n")
    assert time.perf_counter() - began < 5.0
    assert sink.dropped > 800
    os.set_blocking(reading, False)
    read, deadline = b"", time.monotonic() + 5

    def told() -> int:
        return sum(int(line.split()[1]) for line in read.split(b"\n")[:-1] if line.startswith(b"dropped"))

    while told() < sink.dropped and time.monotonic() < deadline:
        try:
            read += os.read(reading, 1 << 16)
        except BlockingIOError:
            sink.flush(0.01)
            sink.write(b"y\n")
    assert told() == sink.dropped, "every gap is told, and told right"
    assert sink.flush(2.0)
    sink.retire(0.5)
    os.close(reading)
    os.close(writing)


def test_a_closed_pipe_swallows_everything_in_peace() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = Sink(writing, gap)
    sink.write(b"into the void\n")
    assert sink.flush(2.0)
    assert sink.closed
    sink.write(b"more\n")
    assert sink.flush(0.0)
    os.close(writing)


def test_a_descriptor_that_somebody_made_non_blocking_still_gets_every_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = Sink(writing, gap)
    sent = b"".join(b"%07d\n" % i for i in range(40_000))
    for at in range(0, len(sent), 8):
        sink.write(sent[at : at + 8])
    read = b""
    while len(read) < len(sent):
        read += os.read(reading, 1 << 16)
    assert read == sent
    sink.retire(0.5)
    os.close(reading)
    os.close(writing)


def test_a_full_disk_costs_the_lines_and_not_the_log(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(full, gap)
    sink.write(b"lost\n")
    assert sink.flush(2.0)
    assert not sink.closed
    sink.retire(0.5)
    os.close(full)


DAEMON = """
import os, sys, time
from trader_monitor.runtime.log import open_log
import structlog
open_log(format="json")
log = structlog.get_logger("x")
for i in range(20000):
    log.info("a line that fills the pipe", i=i, pad="x" * 100)
sys.stderr.write("alive")
"""


@pytest.mark.parametrize("way", ["closed", "never read"])
def test_a_process_outlives_its_reader(way: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    if way == "closed":
        child.stdout.close()
    assert child.wait(30) == 0, child.stderr.read()
    assert child.stderr.read() == b"alive"
    child.stdout.close()
    child.stderr.close()


def test_rich_is_never_imported_even_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise SystemExit('rich was imported')")
    code = (
        "import sys, trader_monitor.runtime.log as log, structlog; log.open_log(format='console');"
        "structlog.get_logger('x').info('m'); log.flush(); assert 'rich' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_opening_anew_changes_the_level_of_loggers_in_use(pipe: tuple[int, Read]) -> None:
    writing, read = pipe
    open_log("info", "json", descriptor=writing)
    log = structlog.get_logger("x")
    log.debug("no")
    open_log("debug", "json", descriptor=writing)
    log.debug("yes")
    assert [json.loads(line)["message"] for line in read().splitlines()] == ["yes"]
