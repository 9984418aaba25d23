"""The audit of predictions: for each that was asked to be audited what was predicted, when, and by which inputs.

Asked for by `[models] audit = true`, or by a prediction with `"context": {"audit": true}`. An entry is written in the
transaction of its prediction and kept as long. `inputs_sha256` is of the features as they were sent: JSON in UTF-8
with sorted keys, without spaces, numbers as doubles.
"""

from __future__ import annotations

import argparse
import json
import time

from trader_monitor.cli.door import Door, door_arguments
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import clock, number, table
from trader_monitor.config.values import Duration

EXAMPLES = """
  trader-monitor audit
  trader-monitor audit momentum --version 3 --since 1h
  trader-monitor audit momentum --most 10000 --json > audit.jsonl
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="of this model only")
    parser.add_argument("--version", metavar="V", help="of this version only")
    parser.add_argument("--since", metavar="DURATION", help="predictions of the last time, as 1h (default: all)")
    parser.add_argument("--most", type=int, default=100, metavar="N", help="at most so many, the newest (100; 10,000)")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    asked = {"last": str(args.most)}
    if args.model:
        asked["model"] = args.model
    if args.version:
        asked["version"] = args.version
    if args.since:
        try:
            asked["since"] = repr(time.time() - Duration.parse(args.since))
        except ValueError as error:
            raise Failure(f"--since: {error}", Exit.USAGE) from None
    with Door.of(args) as door:
        entries = door.get("/v1/models/audit", **asked)["entries"]
    if args.json:
        for entry in entries:
            print(json.dumps(entry, ensure_ascii=False))
        return Exit.OK
    if not entries:
        print("(no entry)")
        return Exit.OK
    head = ("AT", "MODEL", "VERSION", "SUBJECT", "OUTPUT", "LABEL", "P", "ID", "TRACE", "INPUTS")
    rows = [
        (
            clock(each["at"]),
            each["model"],
            each["version"],
            each["subject"],
            number(each["output"]) if isinstance(each["output"], int | float) else each["output"],
            each["label"],
            number(each["probability"]) if each["probability"] is not None else None,
            each["id"],
            (each["trace_id"] or "")[:8],
            (each["inputs_sha256"] or "")[:12],
        )
        for each in entries
    ]
    print(table(head, rows))
    return Exit.OK
