"""How the daemon is, and all that it watches: the worst first, figures, checks and breakers, channels, its parts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from trader_monitor.cli.door import Door, door_arguments
from trader_monitor.cli.outcome import Exit
from trader_monitor.cli.text import clean, clock, duration, number, paint, size, table, zone

EXAMPLES = """
  trader-monitor status
  trader-monitor status --url http://10.0.0.7:8008 --token-file ~/.monitor-token
  trader-monitor status --exit-code >/dev/null || echo 'not all is well'
  trader-monitor status --json | jq .ingest.per_second
"""

WIDEST = 160

_TONES = {"ok": "good", "warning": "warning", "error": "bad", "critical": "worst", "emergency": "worst"}
_BREAKER_TONES = {"closed": "", "half_open": "warning", "open": "bad"}
_CHILD_TONES = {"running": "", "backoff": "warning", "parked": "worst", "stopped": "quiet"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exit-code", action="store_true", help="exit 1 unless the state is ok")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with Door.of(args) as door:
        status = door.get("/v1/status")
    if args.json:
        print(json.dumps(status, ensure_ascii=False))
    else:
        print("\n".join(_report(door.url, status)))
    return Exit.NO if args.exit_code and status.get("state") != "ok" else Exit.OK


def _report(url: str, status: Mapping[str, Any]) -> Iterable[str]:
    state = str(status.get("state", "unknown"))
    since = status.get("since")
    head = f"{paint(clean(state.upper()), _TONES.get(state, 'warning'))}" + (
        f" since {clock(since)} {zone()}" if since else ""
    )
    yield f"{head} · {url} · version {clean(status.get('version', '?'))} · up {duration(status.get('uptime_seconds'))}"
    if state != "ok" and status.get("headline"):
        others = status.get("others") or 0
        yield paint(clean(status["headline"]), "strong") + (f" · and {number(others)} more" if others else "")
    now = float(status.get("now") or 0.0)
    yield ""
    yield from _figures(status)
    yield from _checks(status.get("checks") or [], now)
    yield from _channels(status.get("channels") or [], now)
    yield from _refusals(status.get("series") or {})
    yield from _children(status.get("children") or [], now)


def _figures(status: Mapping[str, Any]) -> Iterable[str]:
    alerts, ingest, store = (status.get(key) or {} for key in ("alerts", "ingest", "store"))
    series, live = (status.get(key) or {} for key in ("series", "live"))
    firing = ", ".join(f"{count} {severity}" for severity, count in (alerts.get("firing") or {}).items() if count)
    rows = [
        ("alerts", f"{firing or 'none'} firing, {number(alerts.get('pending', 0))} pending"),
        (
            "ingest",
            f"{number(ingest.get('per_second'))}/s, {number(ingest.get('events_total'))} events, "
            f"{number(ingest.get('duplicates_total'))} duplicates, {number(ingest.get('refused_total'))} refused",
        ),
        (
            "store",
            f"{clean(store.get('path', '?'))}, {size(store.get('bytes'))}, {number(store.get('commits_total'))} commits"
            f", p99 {duration(store.get('commit_seconds_p99'))}",
        ),
        (
            "series",
            f"{number(series.get('count'))} of {number(series.get('max'))}, {number(series.get('refused'))} refused",
        ),
        ("live", f"{number(live.get('clients'))} clients at {clean(live.get('address', '?'))}"),
    ]
    for name, text in rows:
        yield f"{name:<8}{text}"
    if store.get("degraded"):
        yield paint(f"the store is degraded: {clean(store['degraded'])}", "worst")


def _children(children: list[Mapping[str, Any]], now: float) -> Iterable[str]:
    """Those with a history first and in full; where all run, that is all there is to say."""
    shown = [child for child in children if child.get("state") != "running" or child.get("restarts")]
    if children:
        yield ""
        running = sum(child.get("state") == "running" for child in children)
        yield f"parts   {number(running)} of {number(len(children))} run (--json names them all)"
    if not shown:
        return
    rows = [
        (
            child.get("name"),
            child.get("state"),
            "essential" if child.get("essential") else "",
            child.get("restarts") or "",
            _ago(child.get("since"), now),
            child.get("last_cause") or "",
        )
        for child in shown
    ]
    tones = [_CHILD_TONES.get(str(child.get("state")), "warning") for child in shown]
    yield table(("PART", "STATE", "", "RESTARTS", "SINCE", "LAST CAUSE"), rows, tones)


def _refusals(series: Mapping[str, Any]) -> Iterable[str]:
    """Who found no room for more series, and who has it all."""
    refused, largest = series.get("by_metric") or [], series.get("largest") or []
    if refused:
        rows = [(each.get("metric") or "all others", number(each.get("refused")), _last(each)) for each in refused]
        yield ""
        yield table(("NO ROOM FOR", "TIMES", "THE LAST"), rows, ["bad"] * len(rows))
    if largest:
        yield ""
        yield table(("MOST ROOM HAS", "SERIES"), [(each.get("metric"), number(each.get("series"))) for each in largest])


def _last(refused: Mapping[str, Any]) -> str:
    labels: dict[str, str] = dict(refused.get("last") or {})
    text = labels.pop("__name__", "") + "{" + ", ".join(f'{label}="{value}"' for label, value in labels.items()) + "}"
    return text if len(text) <= WIDEST else text[:WIDEST] + "…"


def _checks(checks: list[Mapping[str, Any]], now: float) -> Iterable[str]:
    if not checks:
        return
    answers = {True: "ok", False: "fails", None: "no data"}
    rows = [
        (
            check.get("name"),
            check.get("type"),
            answers.get(check.get("ok"), "?"),
            check.get("breaker"),
            check.get("failures") or "",
            _ago(check.get("at"), now),
            check.get("message") or "",
        )
        for check in checks
    ]
    tones = [
        _BREAKER_TONES.get(str(check.get("breaker")), "") or ("bad" if check.get("ok") is False else "")
        for check in checks
    ]
    yield ""
    yield table(("CHECK", "TYPE", "ANSWER", "BREAKER", "FAILURES", "ASKED", "MESSAGE"), rows, tones)


def _channels(channels: list[Mapping[str, Any]], now: float) -> Iterable[str]:
    if not channels:
        return
    rows = [
        (
            c.get("name"),
            c.get("type"),
            c.get("breaker"),
            c.get("due") or "",
            _ago(c.get("last_delivered_at"), now),
            f"in {duration(max(0.0, c['retry_at'] - now))}" if c.get("retry_at") else "",
            c.get("reason") or "",
        )
        for c in channels
    ]
    tones = [_BREAKER_TONES.get(str(c.get("breaker")), "") for c in channels]
    yield ""
    yield table(("CHANNEL", "TYPE", "BREAKER", "DUE", "DELIVERED", "NEXT TRIAL", "LAST ERROR"), rows, tones)


def _ago(at: object, now: float) -> str:
    return f"{duration(max(0.0, now - at))} ago" if isinstance(at, int | float) and now else "–"
