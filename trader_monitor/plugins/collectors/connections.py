"""TCP connections by state.

Asked of the kernel by netlink (sock_diag(7), the request that answers for IPv4 and IPv6 at once): one walk over
its table, where /proc/net costs ten times and psutil, which opens every process's descriptors, a hundred times
as much. A sandbox that allows no AF_NETLINK is served from /proc/net all the same.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from typing import ClassVar

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

CONNECTIONS = gauge("host_connections", "TCP connections of the host in each state, IPv4 and IPv6 together.")

STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_received",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "syn_received",
}
"""The kernel's numbers (include/net/tcp_states.h); 12 is a request that is not yet a connection."""

_NETLINK_SOCK_DIAG, _TCPDIAG_GETSOCK, _NLMSG_ERROR, _NLMSG_DONE, _DUMP_REQUEST = 4, 18, 2, 3, 0x301
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBB48xII")
_ALL_STATES = 0xFFFF


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("connections", Options)
def connections(options: Options, env: Env) -> list[Reading]:
    """TCP connections by state."""
    try:
        counts = _by_netlink()
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EPERM, errno.EACCES, errno.ENOENT}:
            raise
        counts = _by_proc()
    return [CONNECTIONS(counts[state], state=state) for state in dict.fromkeys([*STATES.values(), *counts])]


def _by_netlink() -> Counter[str]:
    states: Counter[int] = Counter()
    request = _REQUEST.pack(socket.AF_INET, 0, 0, 0, _ALL_STATES, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(5.0)
        link.send(_HEADER.pack(_HEADER.size + len(request), _TCPDIAG_GETSOCK, _DUMP_REQUEST, 1, 0) + request)
        while True:
            answer = link.recv(1 << 17)
            at = 0
            while at < len(answer):
                length, kind, *_ = _HEADER.unpack_from(answer, at)
                if kind == _NLMSG_DONE:
                    return _named(states)
                if kind == _NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", answer, at + _HEADER.size)[0], "sock_diag")
                states[answer[at + _HEADER.size + 1]] += 1
                at += (length + 3) & ~3


def _by_proc() -> Counter[str]:
    states: Counter[int] = Counter()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, "rb") as lines:
                next(lines, None)
                states.update(int(line.split(None, 4)[3], 16) for line in lines)
        except FileNotFoundError:
            continue  # a kernel without IPv6
    return _named(states)


def _named(states: Counter[int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number, count in states.items():
        counts[STATES.get(number, "unknown")] += count
    return counts
