"""Rule: what is watched, for how long, how badly it matters, and what is then said.

A rule is plain and frozen, so that configuration can build it and a backtest can vary it; `problems` says
everything that is wrong with one at once, `CompiledRule` is one in the form in which it is judged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple, get_args

from msgspec import Struct, field

from trader_monitor.core.alerts.known import known
from trader_monitor.core.alerts.template import Template, TemplateError
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.facts import Labels, Severity
from trader_monitor.core.promql import Plan, PromQLError
from trader_monitor.core.promql import compile as compile_promql

__all__ = ["SEVERITIES", "CompiledRule", "Rule", "RuleErrors", "RuleProblem", "compile_rule", "severity_rank"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the worst."""

_RANKS: dict[str, int] = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = frozenset({"__name__", "alertname", "severity"})
_MAX_NAME = 200


def severity_rank(severity: str) -> int:
    """0 for info … 4 for emergency."""
    return _RANKS[severity]


class Rule(Struct, frozen=True, kw_only=True):
    """One alerting rule.

    `expr` is PromQL; each element of its result is an alert. `for_` and `keep_firing_for` are seconds. `clear`
    is PromQL too: with it, a firing alert ends only when `clear` yields a result for its labels (hysteresis).
    `labels` are added to those of the series, and win over them. `summary` is a template (`core.alerts.template`).
    `during` names a market calendar: outside its sessions the rule is not judged, and what it raised has ended.
    """

    name: str
    expr: str
    for_: float = 0.0
    keep_firing_for: float = 0.0
    clear: str | None = None
    severity: Severity = "warning"
    labels: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    runbook: str | None = None
    during: str | None = None


class RuleProblem(NamedTuple):
    """What is wrong with one field of one rule; `position` counts characters of it, where that is known."""

    rule: str
    field: str
    message: str
    position: int | None = None

    def __str__(self) -> str:
        where = "" if self.position is None else f" (at character {self.position + 1})"
        return f"rule {self.rule!r}, {self.field}: {self.message}{where}"


class RuleErrors(ValueError):
    """Rules that cannot be judged, all of their problems together."""

    def __init__(self, problems: Iterable[RuleProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class CompiledRule:
    """A rule with its plans, its checked template, the labels that it adds and the calendar that it is judged in."""

    def __init__(
        self, rule: Rule, condition: Plan, clear: Plan | None, summary: Template, during: Calendar | None = None
    ) -> None:
        self.rule = rule
        self.condition = condition
        self.clear = clear
        self.summary = summary
        self.during = during
        self.static = {**rule.labels, "alertname": rule.name, "severity": rule.severity}

    @cached_property
    def known(self) -> Plan:
        """Yields an element wherever the condition can be determined. Made when an alert first needs it."""
        return compile_promql(known(self.rule.expr))

    def labels(self, series: Labels | Mapping[str, str]) -> dict[str, str]:
        """The labels of the alert that this series raises: its own without the name, and the rule's."""
        merged = dict(series)
        merged.pop("__name__", None)
        merged.update(self.static)
        return merged


def compile_rule(rule: Rule, calendars: Mapping[str, Calendar] | None = None) -> CompiledRule:
    """`calendars` are those that `during` may name. Raises RuleErrors with everything that is wrong."""
    problems: list[RuleProblem] = []

    def wrong(name: str, message: str, position: int | None = None) -> None:
        problems.append(RuleProblem(rule.name, name, message, position))

    if not rule.name or len(rule.name) > _MAX_NAME or not rule.name.isprintable():
        wrong("name", f"expected 1 to {_MAX_NAME} printable characters")
    if rule.severity not in SEVERITIES:
        wrong("severity", f"expected one of {', '.join(SEVERITIES)}, got {rule.severity!r}")
    for name, seconds in (("for", rule.for_), ("keep_firing_for", rule.keep_firing_for)):
        if not (math.isfinite(seconds) and seconds >= 0):
            wrong(name, f"expected a duration of 0 or more, got {seconds!r}")
    for label in rule.labels:
        if label in _OURS:
            wrong(f"labels.{label}", "is set by the rule itself: choose another name")
        elif not _LABEL_NAME.fullmatch(label):
            wrong(f"labels.{label}", "expected a name of letters, digits and _, not beginning with a digit")
    during = (calendars or {}).get(rule.during) if rule.during is not None else None
    if rule.during is not None and during is None:
        wrong("during", "there is no calendar of that name")
    template = Template.parse("")
    try:
        template = Template.parse(rule.summary)
    except TemplateError as error:
        for mistake in error.mistakes:
            wrong("summary", mistake.message, mistake.position)
    plans: dict[str, Plan] = {}
    for name, text in (("expr", rule.expr), ("clear", rule.clear)):
        if text is None:
            continue
        try:
            plans[name] = compile_promql(text)
        except PromQLError as error:
            wrong(name, error.message, error.position)
            continue
        if plans[name].kind != "vector":
            wrong(name, f"expected labelled values (a vector), but this yields a {plans[name].kind}")
    if problems:
        raise RuleErrors(problems)
    return CompiledRule(rule, plans["expr"], plans.get("clear"), template, during)
