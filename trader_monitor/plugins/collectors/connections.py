"""TCP connections by state.

Read from /proc/net: psutil's own function opens every process's descriptors, which costs a hundred times as much.
"""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

CONNECTIONS = gauge("host_connections", "TCP connections of the host in each state, IPv4 and IPv6 together.")

STATES = {
    b"01": "established",
    b"02": "syn_sent",
    b"03": "syn_received",
    b"04": "fin_wait1",
    b"05": "fin_wait2",
    b"06": "time_wait",
    b"07": "close",
    b"08": "close_wait",
    b"09": "last_ack",
    b"0A": "listen",
    b"0B": "closing",
    b"0C": "syn_received",
}
"""The kernel's numbers (include/net/tcp_states.h); 0C is a request that is not yet a connection."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""


@collector("connections", Options)
def connections(options: Options, env: Env) -> list[Reading]:
    """TCP connections by state."""
    counts: Counter[str] = Counter()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, "rb") as lines:
                next(lines, None)
                for line in lines:
                    counts[STATES.get(line.split(None, 4)[3], "unknown")] += 1
        except FileNotFoundError:
            continue  # a kernel without IPv6
    return [CONNECTIONS(counts[state], state=state) for state in dict.fromkeys([*STATES.values(), *counts])]
