"""Load averages."""

from __future__ import annotations

import os
from typing import ClassVar

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

LOAD1 = gauge("host_load1", "Tasks that run or want to, averaged over one minute.")
LOAD5 = gauge("host_load5", "Tasks that run or want to, averaged over five minutes.")
LOAD15 = gauge("host_load15", "Tasks that run or want to, averaged over fifteen minutes.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("load", Options)
async def load(options: Options, env: Env) -> list[Reading]:
    """Load averages over one, five and fifteen minutes."""
    one, five, fifteen = os.getloadavg()
    return [LOAD1(one), LOAD5(five), LOAD15(fifteen)]
