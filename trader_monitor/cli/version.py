"""Say which version this is, and of Python and SQLite beneath it."""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
from importlib.metadata import version

EXAMPLES = """
  trader-monitor version
  trader-monitor version --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose."""


def run(args: argparse.Namespace) -> int:
    about = {
        "version": version("trader-monitor"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if args.json:
        print(json.dumps(about))
    else:
        print(
            f"trader-monitor {about['version']} (Python {about['python']}, SQLite {about['sqlite']}, {about['system']})"
        )
    return 0
