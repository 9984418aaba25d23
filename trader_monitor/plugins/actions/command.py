"""Runs a program."""

from __future__ import annotations

from msgspec import Struct, field

from trader_monitor.core.recovery.ladder import Incident
from trader_monitor.runtime.commands import run
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, unless
from trader_monitor.runtime.registry import action


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`argv` is the program (an absolute path) and its arguments; there is no shell. It succeeds with status 0."""

    argv: tuple[str, ...]
    directory: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        absolute = bool(self.argv) and self.argv[0].startswith("/")
        refuse(
            unless(absolute, "argv", 'expected an absolute path first, such as ["/usr/bin/systemctl", "status"]'),
            unless(not any("\0" in word for word in self.argv), "argv", "expected no NUL character"),
        )


@action("command", Options)
async def command(options: Options, env: Env, incident: Incident) -> str:
    """Runs a program without a shell; it is told the check and the incident in its environment."""
    told = {"TRADER_MONITOR_CHECK": incident.check, "TRADER_MONITOR_INCIDENT": incident.id}
    ran = await run(options.argv, environment={**options.environment, **told}, directory=options.directory)
    if ran.status != 0:
        how = f"signal {-ran.status}" if ran.status < 0 else f"status {ran.status}"
        raise RuntimeError(f"{options.argv[0]} ended with {how}" + (f": {ran.output}" if ran.output else ""))
    return ran.output
