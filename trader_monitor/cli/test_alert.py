"""Send a test notice to one channel now, past all rules, and say whether it was taken."""

from __future__ import annotations

import argparse
import json

from trader_monitor.cli.door import Door, door_arguments
from trader_monitor.cli.outcome import Exit
from trader_monitor.cli.text import clean, paint

EXAMPLES = """
  trader-monitor test-alert desk
  for channel in desk phone; do trader-monitor test-alert $channel || echo "$channel is deaf"; done
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", metavar="CHANNEL", help="its name, as in [channels.NAME]")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with Door.of(args) as door:
        answer = door.post("/v1/test-alert", {"channel": args.channel})
    delivered = bool(answer.get("delivered", answer.get("outcome", "delivered") == "delivered"))
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif delivered:
        receipt = f": {clean(answer['receipt'])}" if answer.get("receipt") else ""
        print(f"{args.channel} {paint('took it', 'good')}{receipt}")
    else:
        print(f"{args.channel} {paint('did not take it', 'bad')}: {clean(answer.get('error') or 'no reason given')}")
    return Exit.OK if delivered else Exit.NO
