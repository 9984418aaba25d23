"""The unit as systemd itself reads it: no unknown key, and little exposed."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "trader-monitor.service"
MOST_EXPOSED = 1.5


@pytest.fixture
def analyze() -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        reason = "systemd-analyze is missing: apt-get install systemd"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def test_verify_has_nothing_to_say(analyze: str) -> None:
    """It exits 0 on an unknown key: only silence is consent."""
    done = subprocess.run([analyze, "verify", str(UNIT)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_say_so(analyze: str, tmp_path: Path) -> None:
    """The check above can fail."""
    wrong = tmp_path / "trader-monitor.service"
    wrong.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchDogSec="))
    done = subprocess.run([analyze, "verify", str(wrong)], capture_output=True, text=True, timeout=60)
    assert "WatchDogSec" in done.stderr


def test_little_is_exposed(analyze: str) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)], capture_output=True, text=True, timeout=60
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize(
    ("section", "key", "value", "why"),
    [
        ("Unit", "StartLimitIntervalSec", "0", "the default gives up after five starts in ten seconds"),
        ("Service", "Type", "notify", "READY is said when it serves"),
        ("Service", "Restart", "always", "a monitor comes back whatever happened"),
        ("Service", "DynamicUser", "yes", "no account to make, none to leave behind"),
        ("Service", "ProtectProc", "default", "psutil sees the other processes only so"),
        ("Service", "ProcSubset", "all", "psutil reads /proc/stat and its siblings only so"),
        ("Service", "OOMPolicy", "continue", "a statistics worker that the kernel kills must not stop the daemon"),
        ("Service", "ExecReload", "/bin/kill -HUP $MAINPID", "a reload is a SIGHUP"),
    ],
)
def test_what_the_daemon_relies_on(section: str, key: str, value: str, why: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    assert unit[section][key] == value, why


def test_the_statistics_worker_may_restrain_itself(analyze: str) -> None:
    """Its limits and its death with the daemon are calls of @system-service; of @resources it needs one."""
    allowed: set[str] = set()
    for group in ("@system-service", "@default", "@process"):
        done = subprocess.run([analyze, "syscall-filter", group], capture_output=True, text=True, timeout=60)
        allowed |= {line.strip() for line in done.stdout.splitlines()}
    assert {"@default", "@process", "prlimit64", "prctl"} <= allowed
    filters = re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert filters.index("setpriority") == len(filters) - 1, "behind what takes all of @resources away"


def test_the_drain_fits_into_the_time_that_systemd_grants() -> None:
    seconds = dict(re.findall(r"^(TimeoutStopSec|WatchdogSec)=(\d+)s$", UNIT.read_text(), re.MULTILINE))
    assert int(seconds["TimeoutStopSec"]) > 10
    assert int(seconds["WatchdogSec"]) > 10
