"""Start the daemon in the foreground. SIGTERM or Ctrl-C drains and ends it, SIGHUP takes a changed configuration."""

from __future__ import annotations

import argparse
import gc
import sys
from importlib import import_module
from pathlib import Path

from trader_monitor.cli.door import find_config
from trader_monitor.cli.outcome import Exit, Failure

EXAMPLES = """
  trader-monitor run
  trader-monitor run --config /etc/trader-monitor/config.toml
  trader-monitor run --json | tee daemon.log     # records as JSON, on a terminal too
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the file (else $TRADER_MONITOR_CONFIG, ./config.toml)"
    )


def run(args: argparse.Namespace) -> int:
    path = find_config(args.config)
    if path is None:
        raise Failure("there is no config.toml here: say which file with --config FILE", Exit.USAGE)
    gc.disable()  # importing makes no garbage worth the daemon's first 30 ms; it is on again once the start is over
    import_module("trader_monitor.runtime.log")  # before structlog, which imports rich where that is installed
    from trader_monitor.config.errors import ConfigErrors
    from trader_monitor.daemon import run as run_daemon

    try:
        return int(run_daemon(path, log_format="json" if args.json else None) or Exit.OK)
    except ConfigErrors as wrong:
        print(wrong, file=sys.stderr)
        return Exit.USAGE
