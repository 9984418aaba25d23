"""Say everything that is wrong with a configuration, at once: where, what, what was expected, and what was meant.

Nothing is started and nothing is changed. The secrets that it names are looked up, never shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from trader_monitor.cli.door import find_config
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import paint

EXAMPLES = """
  trader-monitor check-config
  trader-monitor check-config --config /etc/trader-monitor/config.toml && systemctl reload trader-monitor
  trader-monitor check-config --json | jq '.errors[] | "\\(.line): \\(.path)"'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the same as --config FILE")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the file (else $TRADER_MONITOR_CONFIG, ./config.toml)"
    )


def run(args: argparse.Namespace) -> int:
    path = find_config(args.config or args.file)
    if path is None:
        raise Failure("there is no config.toml here: say which file with --config FILE", Exit.USAGE)
    from trader_monitor.config.load import ConfigErrors, load
    from trader_monitor.runtime.registry import Registry

    try:
        config = load(path, Registry.load())
    except ConfigErrors as wrong:
        if args.json:
            errors = [error._asdict() for error in wrong.errors]
            print(json.dumps({"file": str(path), "valid": False, "errors": errors}, ensure_ascii=False))
        else:
            print(wrong, file=sys.stderr)
        return Exit.USAGE
    named = {
        "collectors": sorted(config.collectors),
        "checks": sorted(config.checks),
        "actions": sorted(config.actions),
        "rules": sorted(config.rules),
        "channels": sorted(config.channels),
        "calendars": sorted(config.calendars),
        "exchanges": sorted(config.exchanges),
    }
    if args.json:
        print(json.dumps({"file": str(path), "valid": True, **named}, ensure_ascii=False))
        return Exit.OK
    print(f"{path}: {paint('valid', 'good')}")
    for section, names in named.items():
        print(f"  {section:<10}  {len(names):>3}  {', '.join(names)}".rstrip())
    armed = sorted(name for name, action in config.actions.items() if action.armed)
    if config.actions:
        print(f"  armed: {', '.join(armed)}" if armed else "  no action is armed: all are rehearsals")
    return Exit.OK
