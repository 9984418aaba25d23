"""The Makefile on a machine where something is missing: one clear line that names the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(tmp_path: Path) -> list[str]:
    program = shutil.which("make")
    assert program, "make is needed to use this project at all: apt-get install make"
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return [program, "--no-print-directory", "-C", str(tmp_path)]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def ran(words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, env={**os.environ, **env}, check=False)


def test_make_alone_says_what_can_be_made(make: list[str]) -> None:
    told = ran(make)
    assert told.returncode == 0
    for goal in ("run", "demo", "test", "bench", "lint", "clean", "help"):
        assert f"\n  {goal} " in told.stdout


def test_a_missing_python_names_its_package(make: list[str]) -> None:
    told = ran([*make, "run", "PYTHON=python9"])
    assert told.returncode != 0
    assert told.stderr.splitlines()[0] == "make: python9 is missing: install the Debian package python3"


def test_a_missing_venv_names_its_package(make: list[str], tmp_path: Path) -> None:
    python = script(tmp_path / "python", f'case "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    told = ran([*make, "run", f"PYTHON={python}"])
    assert told.returncode != 0
    assert "install the Debian package python3-venv" in told.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_is_told_by_its_version(make: list[str], tmp_path: Path) -> None:
    python = script(tmp_path / "python", '[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1')
    told = ran([*make, "run", f"PYTHON={python}"])
    assert told.returncode != 0
    assert "is Python 3.9.2, but Python 3.11 or newer is needed" in told.stderr.splitlines()[0]


def test_without_root_what_the_tests_need_is_named_and_not_installed(make: list[str], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("prometheus", "promtool", "strace"):
        script(tools / name, "")
    script(tools / "id", "echo 1000")
    script(tools / "apt-get", "echo must not run; exit 1")
    told = ran([*make, "needs-test"], PATH=str(tools))
    assert told.returncode != 0
    missing = told.stderr.splitlines()[0]
    assert missing == (
        "make: missing from the distribution: prometheus-alertmanager chromium systemd "
        "(sudo apt-get install prometheus-alertmanager chromium systemd)"
    )


def test_root_installs_what_is_missing_and_asks_for_fresh_lists_only_when_it_must(
    make: list[str], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("prometheus", "promtool", "strace", "chromium", "systemd-analyze"):
        script(tools / name, "")
    script(tools / "id", "echo 0")
    log, lists = tmp_path / "log", tmp_path / "lists"
    install = f'case "$1" in update) : > {lists};; *) [ -e {lists} ];; esac'
    script(tools / "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {log}\n{install}')
    told = ran([*make, "needs-test"], PATH=str(tools))
    assert told.returncode == 0, told.stderr
    calls = [line.split() for line in log.read_text().splitlines()]
    assert [call[:2] for call in calls] == [["noninteractive", verb] for verb in ("install", "update", "install")]
    assert calls[-1][-1] == "prometheus-alertmanager"
