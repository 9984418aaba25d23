"""`python -m benchmarks [NAME …]`: runs the benchmarks one after the other and prints one table.

The exit status is 0 whether or not the goals are reached: a figure is a fact, and a machine may be slow. It is 1
where a benchmark could not run.
"""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.table import Row, render

NAMES = ("alert_latency", "ingest", "fanout", "rules", "range_query", "idle")


def main() -> int:
    wanted = sys.argv[1:] or list(NAMES)
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        print(f"benchmarks: there is no {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = 0
    for number, name in enumerate(wanted, 1):
        began = time.monotonic()
        print(f"[{number}/{len(wanted)}] {name} …", file=sys.stderr, flush=True)
        try:
            rows += importlib.import_module(f"benchmarks.{name}").rows()
        except Exception as error:
            failed = 1
            print(f"    could not run: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(render(rows))
    return failed


sys.exit(main())
