"""Opens a TCP connection."""

from __future__ import annotations

import time

from msgspec import Struct

from trader_monitor.config.values import Duration
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.names import connect
from trader_monitor.runtime.options import refuse, unless
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check
from trader_monitor.runtime.unasked import could_not_ask, in_words


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`max_latency` bounds the time to connect."""

    host: str
    port: int
    max_latency: Duration | None = None

    def __post_init__(self) -> None:
        refuse(unless(0 < self.port < 65536, "port", "expected a port between 1 and 65535"))


@check("tcp", Options)
async def tcp(options: Options, env: Env) -> Probe:
    """Opens a TCP connection: whether it is accepted, and how soon."""
    began = time.monotonic()
    try:
        connection = await connect(env, options.host, options.port)
    except OSError as error:
        if could_not_ask(error):
            raise
        return Probe(False, in_words(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    connection.close()
    if options.max_latency is not None and seconds > options.max_latency:
        return Probe(False, f"connected after {seconds:.3f} s, wanted {options.max_latency:g} s", seconds)
    return Probe(True, f"connected in {seconds:.3f} s", seconds)
