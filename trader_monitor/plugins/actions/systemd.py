"""Restarts a systemd unit."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from trader_monitor.core.recovery.ladder import Incident
from trader_monitor.runtime.commands import run
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, unless
from trader_monitor.runtime.registry import action

UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,240}"
    r"\.(service|socket|target|timer|path|mount|automount|swap|slice|scope|device)"
)
SYSTEMCTL = "systemctl"


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`unit` with its suffix; `user` is for units of the user that the daemon runs as."""

    unit: str
    verb: Literal["restart", "try-restart", "reload-or-restart", "start"] = "restart"
    user: bool = False

    def __post_init__(self) -> None:
        refuse(unless(bool(UNIT.fullmatch(self.unit)), "unit", 'expected a unit\'s name such as "freqtrade.service"'))


@action("systemd", Options)
async def systemd(options: Options, env: Env, incident: Incident) -> str:
    """Restarts a systemd unit by systemctl; polkit must let the daemon's user do so."""
    scope = ("--user",) if options.user else ()
    ran = await run((SYSTEMCTL, *scope, "--no-ask-password", "--no-pager", options.verb, "--", options.unit))
    if ran.status != 0:
        raise RuntimeError(f"systemctl {options.verb} {options.unit} ended with status {ran.status}: {ran.output}")
    return f"{options.verb} of {options.unit} done"
