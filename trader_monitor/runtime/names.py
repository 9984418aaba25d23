"""Names: hosts are looked up in threads of their own.

A resolver that is silent is not the fault of whoever was to be asked, and must hold up nobody else. A lookup that
hangs costs one thread for its host, none of those in which the rest of the house works; and it is given up before
the caller's deadline, so that the resolver's silence is not taken for the peer's.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from trader_monitor.runtime.threads import StillRunning, Threads

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["Address", "connect", "look_up"]

Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""As `socket.getaddrinfo` tells it."""

SHARE = 0.8
"""Of the time until the caller's deadline: how much of it a lookup may take."""
LONGEST = 30.0


async def look_up(threads: Threads, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The host's addresses. Raises socket.gaierror, also where the resolver does not answer in time."""
    try:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        pass  # it is a name
    left = anyio.current_effective_deadline() - anyio.current_time()
    question = ("name", host, port, family)
    with anyio.move_on_after(min(LONGEST, SHARE * left)):
        try:
            found: list[Address] = await threads.run(
                question, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, mono=time.monotonic
            )
            return found
        except StillRunning:
            pass
    raise socket.gaierror(socket.EAI_AGAIN, f"the resolver does not answer for {host}")


async def connect(env: Env, host: str, port: int) -> socket.socket:
    """A connection to the first of the host's addresses that accepts one. Raises OSError: the last one's."""
    refused: OSError | None = None
    for family, kind, proto, _, address in await look_up(env.threads, host, port):
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            refused = error
        except BaseException:
            sock.close()
            raise
    raise refused or socket.gaierror(socket.EAI_NONAME, f"no address for {host}")
