"""Traffic of network interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, counter
from trader_monitor.runtime.registry import collector

RECEIVED_BYTES = counter("host_network_receive_bytes_total", "Bytes received.")
SENT_BYTES = counter("host_network_transmit_bytes_total", "Bytes sent.")
RECEIVED_PACKETS = counter("host_network_receive_packets_total", "Packets received.")
SENT_PACKETS = counter("host_network_transmit_packets_total", "Packets sent.")
RECEIVE_ERRORS = counter("host_network_receive_errors_total", "Packets that could not be received.")
SEND_ERRORS = counter("host_network_transmit_errors_total", "Packets that could not be sent.")
RECEIVE_DROPS = counter("host_network_receive_drops_total", "Packets dropped on arrival.")
SEND_DROPS = counter("host_network_transmit_drops_total", "Packets dropped on sending.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`ignore` are patterns of interface names to leave out."""

    OWN: ClassVar[bool] = True

    ignore: tuple[str, ...] = ("lo", "veth*", "ifb*", "dummy*")


@collector("network", Options)
async def network(options: Options, env: Env) -> list[Reading]:
    """Bytes, packets, errors and drops per network interface."""
    return list(_read(options))


def _read(options: Options) -> Iterator[Reading]:
    for interface, seen in psutil.net_io_counters(pernic=True).items():
        if any(fnmatch(interface, pattern) for pattern in options.ignore):
            continue
        yield RECEIVED_BYTES(seen.bytes_recv, interface=interface)
        yield SENT_BYTES(seen.bytes_sent, interface=interface)
        yield RECEIVED_PACKETS(seen.packets_recv, interface=interface)
        yield SENT_PACKETS(seen.packets_sent, interface=interface)
        yield RECEIVE_ERRORS(seen.errin, interface=interface)
        yield SEND_ERRORS(seen.errout, interface=interface)
        yield RECEIVE_DROPS(seen.dropin, interface=interface)
        yield SEND_DROPS(seen.dropout, interface=interface)
