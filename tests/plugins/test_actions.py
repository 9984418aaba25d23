"""Actions: what they do, what they refuse, and what they leave behind."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from tests.parts import until
from tests.plugins.house import house, server
from trader_monitor.core.recovery.ladder import Incident
from trader_monitor.plugins.actions import systemd as units
from trader_monitor.plugins.actions.command import Options as Command
from trader_monitor.plugins.actions.command import command
from trader_monitor.plugins.actions.http import Options as Http
from trader_monitor.plugins.actions.http import http
from trader_monitor.plugins.actions.systemd import Options as Systemd
from trader_monitor.plugins.actions.systemd import systemd
from trader_monitor.runtime.commands import OUTPUT_BYTES

INCIDENT = Incident("bot-17", "bot", 0, "it failed")


def sh(script: str, *words: str) -> Command:
    return Command(argv=("/bin/sh", "-c", script, *words))


async def ran(script: str) -> str:
    async with house() as env:
        said: str = await command(sh(script), env, INCIDENT)
        return said


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_command_succeeds_with_status_0_and_its_words_are_the_outcome() -> None:
    assert await ran("echo well; echo indeed >&2") == "well\nindeed"


FAILURES = [
    ("another status is a failure, with its words", "echo broken; exit 3", "status 3: broken"),
    ("so is a signal", "kill -9 $$", "signal 9$"),
]


@pytest.mark.parametrize(("script", "message"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
async def test_a_command_that_fails(script: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        await ran(script)


async def test_a_command_that_is_not_there_is_a_failure() -> None:
    async with house() as env:
        with pytest.raises(FileNotFoundError):
            await command(Command(argv=("/no/such/program",)), env, INCIDENT)


async def test_arguments_are_not_read_by_a_shell() -> None:
    async with house() as env:
        outcome = await command(Command(argv=("/bin/echo", "$HOME; rm -rf /", "`id`")), env, INCIDENT)
    assert outcome == "$HOME; rm -rf / `id`"


async def test_the_environment_is_minimal_and_names_the_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_SECRET", "hush")
    async with house() as env:
        options = Command(argv=("/usr/bin/env",), environment={"MODE": "fast"})
        lines = (await command(options, env, INCIDENT)).splitlines()
    assert {line.split("=")[0] for line in lines} == {
        "PATH", "LANG", "MODE", "TRADER_MONITOR_CHECK", "TRADER_MONITOR_INCIDENT",
    }  # fmt: skip
    assert "TRADER_MONITOR_INCIDENT=bot-17" in lines


async def test_standard_input_is_empty_and_the_folder_is_the_one_that_was_given(tmp_path: Path) -> None:
    async with house() as env:
        options = Command(argv=("/bin/sh", "-c", "cat; pwd"), directory=str(tmp_path))
        assert await command(options, env, INCIDENT) == str(tmp_path)


async def test_a_talkative_command_is_heard_to_its_end_and_its_last_words_are_kept() -> None:
    outcome = await ran("i=0; while [ $i -lt 20000 ]; do echo line $i of a very long speech; i=$((i+1)); done")
    assert outcome.endswith("line 19999 of a very long speech")
    assert len(outcome) <= OUTPUT_BYTES


async def test_a_command_that_leaves_a_child_holding_its_output_ends_with_itself(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = await ran(f"sleep 30 & echo $! > {tmp_path}/pid; echo gone")
    assert time.monotonic() - began < 5
    assert outcome == "gone"
    assert time.monotonic() - began < 5
    child = int((tmp_path / "pid").read_text())
    assert alive(child), "what a command leaves running on purpose is not ours to end"
    os.kill(child, 9)


async def test_a_deadline_ends_the_whole_group_even_where_sigterm_is_ignored(tmp_path: Path) -> None:
    script = f"trap '' TERM; (trap '' TERM; sleep 60) & echo $$ $! > {tmp_path}/pids; while :; do sleep 60; done"
    began = time.monotonic()
    async with house() as env:
        with pytest.raises(TimeoutError), anyio.fail_after(0.5):
            await command(sh(script), env, INCIDENT)
    assert time.monotonic() - began < 6
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    await until(lambda: not any(map(alive, pids)), within=3)


async def test_a_deadline_leaves_a_well_behaved_command_the_time_to_end_itself(tmp_path: Path) -> None:
    script = f"trap 'echo tidy > {tmp_path}/end; exit 0' TERM; while :; do sleep 0.05; done"
    async with house() as env:
        with pytest.raises(TimeoutError), anyio.fail_after(0.5):
            await command(sh(script), env, INCIDENT)
    assert (tmp_path / "end").read_text() == "tidy\n"


BAD: list[tuple[str, Any, dict[str, Any]]] = [
    ("an empty command", Command, {"argv": ()}),
    ("a program to be searched for", Command, {"argv": ("systemctl",)}),
    ("a NUL character", Command, {"argv": ("/bin/echo", "a\0b")}),
    ("an option in the place of a unit", Systemd, {"unit": "--host=evil.service"}),
    ("a path in the place of a unit", Systemd, {"unit": "../bot.service"}),
    ("two units", Systemd, {"unit": "a.service b.service"}),
    ("a unit without suffix", Systemd, {"unit": "bot"}),
    ("a line break after a unit", Systemd, {"unit": "bot.service\n"}),
    ("an address that is none", Http, {"url": "file:///etc/passwd"}),
]


@pytest.mark.parametrize(("options", "fields"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_options_that_are_dangerous_or_senseless_are_refused(options: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|NUL"):
        options(**fields)


# --- systemd ----------------------------------------------------------------------------------------------------


def fake_systemctl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for systemctl: there is no systemd in most test machines."""
    path = folder / "systemctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(units, "SYSTEMCTL", str(path))


async def test_a_unit_is_restarted_without_asking_for_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_systemctl(tmp_path, f'echo "$@" > {tmp_path}/said', monkeypatch)
    async with house() as env:
        assert await systemd(Systemd(unit="bot@1.service"), env, INCIDENT) == "restart of bot@1.service done"
        assert (tmp_path / "said").read_text() == "--no-ask-password --no-pager restart -- bot@1.service\n"
        await systemd(Systemd(unit="bot.service", user=True, verb="try-restart"), env, INCIDENT)
    assert (tmp_path / "said").read_text() == "--user --no-ask-password --no-pager try-restart -- bot.service\n"


async def test_a_unit_that_does_not_restart_is_a_failure_with_systemctls_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_systemctl(tmp_path, "echo Unit bot.service not found. >&2; exit 5", monkeypatch)
    async with house() as env:
        with pytest.raises(RuntimeError, match=r"status 5: Unit bot\.service not found\."):
            await systemd(Systemd(unit="bot.service"), env, INCIDENT)


# --- http -------------------------------------------------------------------------------------------------------


async def test_an_endpoint_is_called_once_with_a_key_that_names_the_incident() -> None:
    seen: list[tuple[str, str, str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(
            (
                request.method,
                request.headers.get("Idempotency-Key", ""),
                request.headers.get("Content-Type", ""),
                await request.text(),
            )
        )
        return web.Response(status=202)

    async with house() as env, server(answer) as url:
        assert await http(Http(url=url, body='{"a": 1}'), env, INCIDENT) == "status 202"
    assert seen == [("POST", "bot-17/0", "application/json", '{"a": 1}')]


ANSWERS = [
    ("an error", 500, (), "status 500, wanted 2xx: oops"),
    ("a redirect, which is not followed", 307, (), "status 307, wanted 2xx"),
    ("another status than wanted", 200, (202, 204), "status 200, wanted 202 or 204"),
]


@pytest.mark.parametrize(
    ("status", "wanted", "message"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
async def test_an_endpoint_that_answers_otherwise(status: int, wanted: tuple[int, ...], message: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="oops", headers={"Location": "/elsewhere"})

    async with house() as env, server(answer) as url:
        with pytest.raises(RuntimeError, match=message):
            await http(Http(url=url, status=wanted), env, INCIDENT)
