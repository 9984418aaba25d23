"""Ask the daemon's series in PromQL: at one moment, or over a span of time."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from trader_monitor.cli.door import Door, door_arguments
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import clean, clock, table
from trader_monitor.config.values import Duration

EXAMPLES = """
  trader-monitor query 'account_equity'
  trader-monitor query 'sum by (exchange) (rate(exchange_requests_total[5m]))' --at -1h
  trader-monitor query 'account_drawdown_ratio' --from -6h --step 5m
  trader-monitor query 'up == 0' --exit-code --json        # exit 1 when nothing is found

times: -6h (before now), 2026-11-20T08:30:00Z, Unix seconds, now
"""

DEFAULT_POINTS = 250


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("promql", metavar="PROMQL", help="the question")
    parser.add_argument("--at", metavar="TIME", help="the moment (default now)")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="the beginning of a span")
    parser.add_argument("--to", metavar="TIME", help="its end (default now)")
    parser.add_argument("--step", metavar="DURATION", help=f"between its points (default: {DEFAULT_POINTS} points)")
    parser.add_argument("--exit-code", action="store_true", help="exit 1 when the answer is empty")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    ranged = args.from_ is not None or args.to is not None or args.step is not None
    if ranged and args.at is not None:
        raise Failure(
            "--at is for one moment, --from, --to and --step are for a span: give one or the other", Exit.USAGE
        )
    if ranged and args.from_ is None:
        raise Failure("a span needs its beginning: --from TIME", Exit.USAGE)
    now = time.time()
    if ranged:
        path, parameters = "/api/v1/query_range", _span(args, now)
    else:
        path, parameters = "/api/v1/query", {"time": repr(_moment(args.at or "now", now))}
    with Door.of(args) as door:
        answer = door.get(path, query=args.promql, **parameters)
    data = answer.get("data") or {}
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print(_shown(data))
        for warning in [*(answer.get("warnings") or []), *(answer.get("infos") or [])]:
            print(f"note: {clean(warning)}")
    return Exit.NO if args.exit_code and not data.get("result") else Exit.OK


def _span(args: argparse.Namespace, now: float) -> dict[str, str]:
    begin, end = _moment(args.from_, now), _moment(args.to or "now", now)
    if end < begin:
        raise Failure("the span ends before it begins", Exit.USAGE)
    step = _step(args.step) if args.step else max(1.0, float(int((end - begin) / DEFAULT_POINTS)))
    return {"start": repr(begin), "end": repr(end), "step": repr(step)}


def _step(text: str) -> float:
    try:
        step = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else float(Duration.parse(text))
    except ValueError as error:
        raise Failure(f"--step: {error}", Exit.USAGE) from None
    if step <= 0:
        raise Failure("--step: expected more than nought", Exit.USAGE)
    return step


def _moment(text: str, now: float) -> float:
    """Unix seconds out of "now", "-6h", Unix seconds or ISO 8601; without an offset it is this machine's zone."""
    if text == "now":
        return now
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        if text.startswith("-"):
            return now - Duration.parse(text[1:])
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Failure(
            f"{text!r} is not a time: write -6h, 2026-11-20T08:30:00Z, Unix seconds or now", Exit.USAGE
        ) from None


def _shown(data: Mapping[str, Any]) -> str:
    result = data.get("result")
    if not result:
        return "(nothing)"
    match data.get("resultType"):
        case "vector":
            return table(
                ("SERIES", "VALUE", "TIME"), [(_name(r["metric"]), r["value"][1], clock(r["value"][0])) for r in result]
            )
        case "matrix":
            return "\n\n".join(_points(series) for series in result)
        case "scalar" | "string":
            return clean(result[1])
        case other:
            return f"a result of type {clean(other)}: see it with --json"


def _points(series: Mapping[str, Any]) -> str:
    rows: Iterable[tuple[str, str]] = ((clock(at), value) for at, value in series.get("values") or [])
    return f"{_name(series['metric'])}\n" + "\n".join(f"  {at}  {clean(value)}" for at, value in rows)


def _name(metric: Mapping[str, str]) -> str:
    labels = ", ".join(f"{clean(k)}={json.dumps(v, ensure_ascii=False)}" for k, v in metric.items() if k != "__name__")
    name = metric.get("__name__", "")
    return f"{name}{{{labels}}}" if labels or not name else name
