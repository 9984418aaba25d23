"""Log: writes notices into the daemon's own log, where a log shipper finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.alerts.rule import severity_rank
from trader_monitor.core.alerts.template import harmless

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

from trader_monitor.runtime.registry import channel

__all__ = ["LogOptions", "log"]

_LEVELS = ("info", "warning", "error", "critical", "critical")

logger = structlog.get_logger("trader_monitor.alerts")


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """There is nothing to choose."""


@channel("log", LogOptions)
def log(options: LogOptions, env: Env, notice: Notice) -> str:
    """Writes each notice as one log record: the worse the alert, the higher the level."""
    alert = notice.alert
    resolved = notice.state == "resolved"
    level = "info" if resolved else _LEVELS[severity_rank(alert.severity)]
    getattr(logger, level)(
        "alert resolved" if resolved else "alert firing",
        alert=harmless(alert.rule),
        severity=alert.severity,
        summary=harmless(alert.summary),
        value=alert.resolved_value if resolved else alert.fired_value,
        labels={harmless(name): harmless(value) for name, value in alert.labels.items()},
        fingerprint=alert.fingerprint,
        answer=harmless(notice.answer),
        actions=harmless(notice.done),
        runbook=harmless(alert.runbook or ""),
        late=notice.late,
        test=notice.test,
    )
    return "logged"
