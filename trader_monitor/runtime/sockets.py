"""Listening sockets: bound once by the root, lent as duplicates, so that a restarted door loses no client."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from trader_monitor.config.values import Listen

__all__ = ["BACKLOG", "CannotBind", "bind_tcp", "bind_unix", "lend", "port_of"]

BACKLOG = 4096


class CannotBind(Exception):
    """An address cannot be had. Fatal: a monitor on another port than the configured one is a silent one."""


def bind_tcp(listen: Listen, key: str) -> socket.socket:
    """A listening TCP socket. Raises CannotBind naming the configuration `key` and what to do."""
    try:
        family, _, _, _, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise CannotBind(f'{key} = "{listen}": {_reason(error)}') from None
    return sock


def bind_unix(path: Path, key: str) -> socket.socket:
    """A listening Unix socket that its owner alone may open (0600).

    A socket file that nobody answers on is a dead daemon's and is replaced; any other file is left alone.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
            raise CannotBind(f'{key} = "{path}": a file that is no socket is in the way')
        if path.exists() and _answered(path):
            raise CannotBind(f'{key} = "{path}": another daemon listens on it')
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotBind(f'{key} = "{path}": {_reason(error)}') from None
    except CannotBind:
        sock.close()
        raise
    return sock


def lend(sock: socket.socket) -> socket.socket:
    """A duplicate that the borrower may close."""
    return sock.dup()


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def _answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is taken; find its holder with `ss -ltnp`, or choose another"
        case errno.EACCES:
            return "not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this host has no such address"
        case _:
            return error.strerror or str(error)
