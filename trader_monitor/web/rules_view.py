"""Rules and alerts as Prometheus's API shows them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trader_monitor.core.facts import AlertChanged
from trader_monitor.web import prometheus_json as shape

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["alerts", "rule_groups"]


def alerts(env: Env) -> list[dict[str, Any]]:
    """The pending and the firing."""
    return [_alert(one) for one in _active(env)]


def _active(env: Env) -> list[AlertChanged]:
    return [alert for alert in env.board.alerts.values() if alert.state in ("pending", "firing")]


def _alert(alert: AlertChanged) -> dict[str, Any]:
    annotations = {"summary": alert.summary} | ({"runbook": alert.runbook} if alert.runbook else {})
    return {
        "labels": alert.labels,
        "annotations": annotations,
        "state": alert.state,
        "activeAt": _rfc3339(alert.active_at),
        "value": shape.exponent(alert.value if alert.value is not None else math.nan),
    }


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rule_groups(env: Env) -> list[dict[str, Any]]:
    """All rules as one group, as Prometheus shows them."""
    judge: Any = getattr(env.journal, "judge", None)
    by_rule: dict[str, list[AlertChanged]] = {}
    for alert in _active(env):
        by_rule.setdefault(alert.rule, []).append(alert)
    failures: dict[str, str] = {}
    for failure in getattr(judge, "failures", {}).values():
        failures[failure.rule] = failure.message
    now = _rfc3339(env.clock.now().wall)
    rules = []
    for compiled in getattr(judge, "rules", ()):
        rule = compiled.rule
        raised = by_rule.get(rule.name, [])
        states = {alert.state for alert in raised}
        rules.append(
            {
                "state": "firing" if "firing" in states else "pending" if states else "inactive",
                "name": rule.name,
                "query": rule.expr,
                "duration": rule.for_,
                "keepFiringFor": rule.keep_firing_for,
                **({} if rule.during is None else {"during": rule.during}),
                "labels": {**rule.labels, "severity": rule.severity},
                "annotations": {"summary": rule.summary},
                "alerts": [_alert(alert) for alert in raised],
                "health": "err" if rule.name in failures else "ok",
                "lastError": failures.get(rule.name, ""),
                "evaluationTime": 0.0,
                "lastEvaluation": now,
                "type": "alerting",
            }
        )
    if not rules:
        return []
    return [
        {
            "name": "rules",
            "file": "config.toml",
            "rules": rules,
            "interval": 0,
            "limit": 0,
            "evaluationTime": 0.0,
            "lastEvaluation": now,
        }
    ]
