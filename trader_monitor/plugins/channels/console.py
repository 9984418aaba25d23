"""Console: one line per notice on the terminal that the daemon runs on."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.alerts.template import harmless
from trader_monitor.runtime.registry import channel

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["ConsoleOptions", "console", "line"]

_COLOURS = {"info": "36", "warning": "33", "error": "31", "critical": "1;31", "emergency": "1;97;41"}


class ConsoleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`colour` is by default that which the terminal can show."""

    colour: Literal["auto", "always", "never"] = "auto"


@channel("console", ConsoleOptions)
def console(options: ConsoleOptions, env: Env, notice: Notice) -> str:
    """Prints each notice as one line to standard error."""
    stream = sys.stderr
    colour = options.colour == "always" or (options.colour == "auto" and stream.isatty())
    stream.write(line(notice, colour=colour) + "\n")
    stream.flush()
    return "printed"


def line(notice: Notice, *, colour: bool) -> str:
    """Time, state, severity, rule, summary and the other labels: one line, whatever they hold."""
    alert = notice.alert
    resolved = notice.state == "resolved"
    at = alert.resolved_at if resolved and alert.resolved_at is not None else alert.fired_at or alert.at
    clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") if 0 <= at < 2**36 else "--:--:--"
    word = "RESOLVED" if resolved else "TEST" if notice.test else "FIRING"
    head = f"{word:<8} {alert.severity:<9}"
    if colour:
        head = f"\x1b[{'32' if resolved else _COLOURS[alert.severity]}m{head}\x1b[0m"
    labels = " ".join(
        f"{harmless(name)}={harmless(value)}"
        for name, value in sorted(alert.labels.items())
        if name not in {"alertname", "severity"}
    )
    parts = (
        clock,
        head,
        harmless(alert.rule),
        harmless(alert.summary),
        _lasted(at - alert.fired_at) if resolved and alert.fired_at is not None else "",
        f"[{labels}]" if labels else "",
        f"({harmless(notice.answer)})" if notice.answer else "",
        f"({harmless(notice.done)})" if notice.done else "",
        harmless(alert.runbook) if alert.runbook and not resolved else "",
    )
    return "  ".join(part for part in parts if part)


def _lasted(seconds: float) -> str:
    """How long it was, to the second."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return "after " + (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s")
