"""What is firing and what is pending, the worst first; with --history what came and went."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from trader_monitor.cli.door import Door, door_arguments
from trader_monitor.cli.outcome import Exit
from trader_monitor.cli.text import clock, number, table, zone

EXAMPLES = """
  trader-monitor alerts
  trader-monitor alerts --severity critical --exit-code || page-the-desk     # exit 1 when one is firing
  trader-monitor alerts --history 20
  trader-monitor alerts --json | jq -r '.alerts[].summary'
"""

SEVERITIES = ("info", "warning", "error", "critical", "emergency")
_TONES = {"info": "", "warning": "warning", "error": "bad", "critical": "worst", "emergency": "worst"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--severity", choices=SEVERITIES, default="info", help="this and worse (default info)")
    parser.add_argument("--history", type=int, metavar="N", help="show the last N transitions instead")
    parser.add_argument("--exit-code", action="store_true", help="exit 1 when an alert is firing")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with Door.of(args) as door:
        answer = door.get("/v1/alerts")
    least = SEVERITIES.index(args.severity)
    present = [a for a in answer.get("alerts") or [] if a.get("state") != "resolved" and _rank(a) >= least]
    present.sort(key=lambda a: (a.get("state") != "firing", -_rank(a), a.get("fired_at") or a.get("active_at") or 0.0))
    past = [a for a in answer.get("history") or [] if _rank(a) >= least][: max(0, args.history or 0)]
    shown = present if args.history is None else past
    if args.json:
        print(json.dumps({"alerts": present} if args.history is None else {"history": past}, ensure_ascii=False))
    elif shown:
        rows = [
            (
                clock(a.get("at") if args.history is not None else a.get("fired_at") or a.get("active_at")),
                a.get("state"),
                a.get("severity"),
                a.get("rule"),
                number(a.get("value")),
                a.get("summary") or "",
            )
            for a in shown
        ]
        tones = ["quiet" if a.get("state") != "firing" else _TONES.get(str(a.get("severity")), "") for a in shown]
        when = f"{'SINCE' if args.history is None else 'AT'} ({zone()})"
        print(table((when, "STATE", "SEVERITY", "RULE", "VALUE", "SUMMARY"), rows, tones))
    else:
        print("no alert" if args.history is None else "no alert has been")
    firing = any(a.get("state") == "firing" for a in present)
    return Exit.NO if args.exit_code and firing else Exit.OK


def _rank(alert: Mapping[str, Any]) -> int:
    severity = alert.get("severity")
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
