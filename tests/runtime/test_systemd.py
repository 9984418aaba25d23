"""Playing systemd: a datagram socket that hears what the daemon says."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trader_monitor.core.facts import Now
from trader_monitor.runtime.systemd import Notifier

Hear = Callable[[], list[str]]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Hear]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        address = str(tmp_path / "notify") if request.param == "path" else f"@trader-monitor-test-{os.getpid()}"
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.setblocking(False)

        def hear() -> list[str]:
            heard = []
            while True:
                try:
                    heard.append(sock.recv(4096).decode())
                except BlockingIOError:
                    return heard

        yield address, hear


def test_each_message_is_one_datagram(manager: tuple[str, Hear]) -> None:
    address, hear = manager
    notifier = Notifier(address)
    assert notifier
    assert notifier.ready("serving")
    assert notifier.reloading(Now(1.0, 2.5))
    assert notifier.status("well")
    assert notifier.status("well"), "said already: nothing is sent"
    assert notifier.feed()
    assert notifier.extend(30)
    assert notifier.stopping("draining")
    assert hear() == [
        "READY=1\nSTATUS=serving",
        "RELOADING=1\nMONOTONIC_USEC=2500000",
        "STATUS=well",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=30000000",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_a_status_cannot_smuggle_a_message(manager: tuple[str, Hear]) -> None:
    address, hear = manager
    Notifier(address).status("check x failed\nWATCHDOG=1\x1b[2J")
    assert hear() == ["STATUS=check x failed WATCHDOG=1 [2J"]


def test_what_the_manager_gave_us_is_taken_out_of_the_environment(manager: tuple[str, Hear]) -> None:
    address, hear = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}
    assert notifier.watchdog_seconds == 30.0
    assert notifier.feed()
    assert hear() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5000000"}, 5.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "5000000"}, None),
        ({"NOTIFY_SOCKET": "@"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_it_is_ours(environ: dict[str, str], watchdog: float | None) -> None:
    assert Notifier.from_environment(environ).watchdog_seconds == watchdog


def test_without_a_manager_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    assert not Notifier()
    assert not Notifier().ready()
    assert not Notifier(str(tmp_path / "nobody")).ready()
