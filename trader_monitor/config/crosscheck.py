"""What no single value can be wrong in: names that exist, cycles, addresses, tiers, and rules that compile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from trader_monitor.config.errors import Place, Report, among
from trader_monitor.config.tables import ActionTable, CheckTable, Http, Ingest, Live, Performance, Store, Trading
from trader_monitor.core.alerts.rule import Rule, RuleErrors, compile_rule
from trader_monitor.core.promql import PromQLError
from trader_monitor.core.promql import compile as plan
from trader_monitor.core.trading.accounts.terms import LIMITS

__all__ = [
    "actions",
    "addresses",
    "baselines",
    "expressions",
    "ladders",
    "limits",
    "origins",
    "rules",
    "socket",
    "tiers",
]

_ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
UNIX_PATH_LIMIT = 107
"""Bytes of a Unix socket's path that Linux takes (sun_path, less its NUL)."""


def addresses(http: Http, live: Live, report: Report) -> None:
    """Two doors at one address, or a door open to the network without tokens."""
    if http.listen == live.listen and http.listen.port != 0:
        report.wrong(
            ("live", "listen"), "is the address of [http] too", value=str(live.listen), hint="take another port"
        )
    for name, listen in (("http", http.listen), ("live", live.listen)):
        if not listen.loopback and not http.tokens:
            report.wrong(
                (name, "listen"),
                "anybody on the network could read this: set [http] tokens, or listen on 127.0.0.1",
                value=str(listen),
            )


def origins(live: Live, report: Report) -> None:
    for index, origin in enumerate(live.origins):
        if not _ORIGIN.fullmatch(origin):
            report.wrong(
                ("live", "origins", index), 'expected an origin such as "https://desk.example:8443"', value=origin
            )


def socket(ingest: Ingest, report: Report) -> None:
    if ingest.socket is not None and len(str(ingest.socket).encode()) > UNIX_PATH_LIMIT:
        report.wrong(
            ("ingest", "socket"),
            f"is longer than the {UNIX_PATH_LIMIT} bytes a socket may have",
            value=str(ingest.socket),
        )


def tiers(store: Store, report: Report) -> None:
    """A coarser tier that forgets before the finer one would leave a hole."""
    for finer, coarser in (("raw", "minute"), ("minute", "quarter")):
        if getattr(store, coarser) < getattr(store, finer):
            report.wrong(("store", coarser), f"expected at least as long as {finer}, which it continues")


def limits(trading: Trading, report: Report) -> None:
    """Each is for somebody, says something, and is a number that can be kept."""
    for at, table in enumerate(trading.limits):
        said = {name: value for name in LIMITS if (value := getattr(table, name)) is not None}
        if not said and not report.has(("trading", "limits", at)):
            report.wrong(("trading", "limits", at), f"sets no limit; there are {', '.join(LIMITS)}")
        for name, value in said.items():
            if value <= 0:
                report.wrong(("trading", "limits", at, name), "expected more than 0", value=value)
    for at, own in enumerate(trading.accounts):
        if own.source is None and own.account is None and own.currency is None:
            expected = "names no account: give source, account or currency, or say it in [trading]"
            report.wrong(("trading", "accounts", at), expected)


def baselines(performance: Performance, report: Report) -> None:
    """Each says something, and of one version there is one."""
    seen: set[tuple[str, str]] = set()
    for at, table in enumerate(performance.baselines):
        place = ("performance", "baselines", at)
        if not table.given().scores and not report.has(place):
            report.wrong(place, "gives no score; there are f1, precision, recall, accuracy, roc_auc, hit")
        if (table.model, table.version) in seen:
            report.wrong(place, f"there is a baseline of {table.model} {table.version}".rstrip() + " already")
        seen.add((table.model, table.version))


def ladders(
    ladders: Mapping[str, tuple[str, ...]], known: Iterable[str], actions: Mapping[str, ActionTable], report: Report
) -> None:
    """Each rung exists (`known` are all the actions written, wrong ones too), once, after those that it needs."""
    known = set(known)
    for name, ladder in ladders.items():
        for rung, action in enumerate(ladder):
            place: Place = ("checks", name, "recover", rung)
            if action not in known:
                report.wrong(place, "no such action", value=action, hint=among(action, known, "actions"))
            elif action in ladder[:rung]:
                report.wrong(place, "is in this ladder already", value=action)
            elif action in actions:
                for needed in actions[action].after:
                    if needed in known and needed not in ladder[:rung]:
                        report.wrong(place, f'must come after "{needed}", as [actions.{action}] says', value=action)


def actions(tables: Mapping[str, ActionTable], known: Iterable[str], report: Report) -> None:
    """`after` names actions that exist, and never goes round in a circle."""
    known = set(known)
    for name, table in tables.items():
        for index, needed in enumerate(table.after):
            if needed not in known:
                place: Place = ("actions", name, "after", index)
                report.wrong(place, "no such action", value=needed, hint=among(needed, known, "actions"))
    for circle in _circles({name: table.after for name, table in tables.items()}):
        report.wrong(("actions", circle[0], "after"), "goes round in a circle: " + " → ".join((*circle, circle[0])))


def rules(rules: Iterable[Rule], report: Report) -> None:
    """Expressions compile, summaries are templates, labels have names that Prometheus takes. That the calendar of
    `during` exists was seen when it was read."""
    for rule in rules:
        try:
            compile_rule(replace(rule, during=None))
        except RuleErrors as errors:
            for problem in errors.problems:
                place: Place = ("rules", rule.name, *problem.field.split(".", 1))
                at = "" if problem.position is None else f" (at character {problem.position + 1})"
                value = {"expr": rule.expr, "clear": rule.clear, "summary": rule.summary}.get(problem.field)
                report.wrong(place, problem.message + at, value=value)


def expressions(checks: Mapping[str, CheckTable], report: Report) -> None:
    """The `expr` of a check that asks our own series."""
    for name, check in checks.items():
        expr = getattr(check.options, "expr", None)
        if isinstance(expr, str):
            try:
                plan(expr)
            except PromQLError as error:
                report.wrong(("checks", name, "expr"), error.message, value=expr)


def _circles(edges: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each circle once, beginning at its alphabetically first name."""
    found: dict[tuple[str, ...], None] = {}
    done: set[str] = set()
    for root in edges:
        walk: list[tuple[str, int]] = [(root, 0)]
        while walk:
            name, at = walk.pop()
            after = edges.get(name, ())
            if at == len(after):
                done.add(name)
                continue
            walk.append((name, at + 1))
            trail = [step for step, _ in walk]
            if after[at] in trail:
                circle = trail[trail.index(after[at]) :]
                first = circle.index(min(circle))
                found[(*circle[first:], *circle[:first])] = None
            elif after[at] not in done:
                walk.append((after[at], 0))
    return list(found)
