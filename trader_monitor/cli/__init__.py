"""The command `trader-monitor`. Each command is a module of its own, imported only when it is run.

A command's module has `EXAMPLES` (shown by `--help`), `arguments(parser)` and `run(args) -> int`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from trader_monitor.cli.outcome import Exit, Failure

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "run": "start the daemon",
    "check-config": "say everything that is wrong with a configuration",
    "status": "how the daemon and all that it watches are",
    "query": "ask the daemon's series in PromQL",
    "alerts": "what is firing, and what was",
    "calendar": "when each market is open; close a day by command",
    "baseline": "what models were like when they were fit for use: set, show, list",
    "report": "drift and performance of models as text, HTML or JSON",
    "audit": "what models predicted, by which inputs, for those that were asked to be audited",
    "test-alert": "send a test notice to one channel",
    "play": "play a bot's recording into the running daemon",
    "demo": "five minutes that show everything, on a temporary store",
    "version": "which version this is",
}
_BEFORE_NOW: Final = re.compile(r"-\d\S*")
EXIT_CODES: Final = """exit codes:
  0  done; the answer is yes
  1  done; the answer is no (alerts --exit-code with alerts firing, events refused, a test notice not delivered);
     of run: the daemon could not start, or had to give up
  2  wrong usage, or a configuration that is not valid
  3  the daemon cannot be reached
  4  the daemon refuses: no right, or it cannot at the moment
  130  interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    root = _root()
    if not words:
        root.print_help(sys.stderr)
        return Exit.USAGE
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        return _unknown(words[0])
    name = words[0] if words[0] in COMMANDS else root.parse_args(words[:1]).command
    module = importlib.import_module(f"trader_monitor.cli.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"trader-monitor {name}",
        description=module.__doc__,
        epilog=f"examples:\n{module.EXAMPLES.strip(chr(10))}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON, for scripts")
    module.arguments(parser)
    args = parser.parse_args(_joined(words[1:]))
    try:
        return int(module.run(args))
    except Failure as failure:
        return _told(failure, as_json=args.json)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def _joined(words: list[str]) -> list[str]:
    """`--at -6h` as `--at=-6h`: argparse would take the time for an option."""
    joined: list[str] = []
    for word in words:
        if joined and _BEFORE_NOW.fullmatch(word) and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _unknown(word: str) -> int:
    from trader_monitor.cli.text import clean
    from trader_monitor.config.errors import among

    print(f"trader-monitor: there is no command {clean(word)!r}; {among(word, COMMANDS, 'commands')}", file=sys.stderr)
    return Exit.USAGE


def _root() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="trader-monitor",
        usage="trader-monitor COMMAND [--help] …",
        description=f"The monitor that trading desks trust with their nights.\n\ncommands:\n{commands}",
        epilog="`trader-monitor COMMAND --help` teaches each with an example. Try `trader-monitor demo` first.\n\n"
        + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=_version())
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"trader-monitor {version('trader-monitor')}"


def _told(failure: Failure, *, as_json: bool) -> int:
    if as_json:
        import json

        print(json.dumps({"error": str(failure), "exit_code": int(failure.code)}))
    else:
        print(f"trader-monitor: {failure}", file=sys.stderr)
    return failure.code
