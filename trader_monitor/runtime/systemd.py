"""Talking to systemd: sd_notify(3) in datagrams, without its library."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import MutableMapping

from trader_monitor.core.facts import Now

__all__ = ["Notifier"]

SEND_WITHIN = 0.2
LONGEST_STATUS = 500
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Notifier:
    """Sends the service manager our state; without one (`address` empty) it says nothing, to nobody.

    `watchdog_seconds` is how often the manager wants to be fed at least, None where it does not want it.
    Each method returns whether the message left; none raises.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out, so that commands we run do not get them."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")) or len(address) < 2:
            return cls()
        ours = pid in ("", str(os.getpid()))
        fed = ours and period.isascii() and period.isdigit() and int(period) > 0
        return cls(address, int(period) / 1e6 if fed else None)

    def __bool__(self) -> bool:
        return bool(self._address)

    def ready(self, status: str = "") -> bool:
        """The daemon serves: at the start, and at the end of a reload."""
        return self._send("READY=1", *self._said(status))

    def reloading(self, now: Now) -> bool:
        """A reload begins; `ready` ends it."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={int(now.mono * 1e6)}")

    def stopping(self, status: str = "") -> bool:
        """The drain begins."""
        return self._send("STOPPING=1", *self._said(status))

    def status(self, text: str) -> bool:
        """A line for `systemctl status`; sent only when it changed."""
        return text == self._status or self._send(*self._said(text))

    def feed(self) -> bool:
        """Feeds the watchdog."""
        return self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Asks for so many more seconds to start or stop, for a replay that takes long."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _said(self, status: str) -> tuple[str, ...]:
        self._status = status
        return (f"STATUS={_UNSAFE.sub(' ', status)[:LONGEST_STATUS]}",) if status else ()

    def _send(self, *lines: str) -> bool:
        if not self._address or not lines:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(SEND_WITHIN)
                sock.connect(self._address)
                sock.send("\n".join(lines).encode("utf-8", "replace"))
        except OSError:  # a manager that restarts or does not listen is no reason to fall over
            return False
        return True
