"""Runs the benchmarks one after the other and prints one table.

The exit status is 0 whether or not the goals are reached: a figure is a fact, and a machine may be slow. It is 1
where a benchmark could not run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, render

NAMES = {
    "alert_latency": "from a sample over HTTP to the webhook, beside Prometheus with Alertmanager",
    "ingest": "durable ingest through the doors of the daemon, beside Redis streams and SQLite",
    "journal": "durable ingest below the doors, and how soon a journal of a million events opens",
    "predictions": "predictions of 100 features kept and read as float32 rows, beside JSON in SQLite",
    "fanout": "processor time per delivery of the live feed, beside raw writes",
    "rules": "10,000 series and 100 rules: a step of one sample, and all in full",
    "range_query": "range queries over a day, beside Prometheus",
    "drift": "100 features' drift, 10,000 rows against 10,000, beside scipy, NannyML and Evidently",
    "streaming": "drift row by row, and how soon a shift is told for how many false alarms, beside river",
    "scores": "F1, precision, recall and area under the ROC curve of 100,000 rows, beside scikit-learn",
    "folding": "trades folded into positions and P&L, beside empyrical and quantstats recomputed per event",
    "idle": "memory and processor time at rest, and how soon a start is ready",
}
# Not the system's temporary folder: that may be memory, where a sync costs nothing.
FOLDER = Path(__file__).parents[1] / "var"


def main() -> int:
    rows: list[Row] = []
    failed = 0
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(options.names, 1):
        began = time.monotonic()
        print(f"[{number}/{len(options.names)}] {name} …", file=sys.stderr, flush=True)
        try:
            measure = importlib.import_module(f"benchmarks.{name}").rows
            with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder, ignore_cleanup_errors=True) as own:
                rows += measure(Path(own))
        except Exception as error:
            failed = 1
            print(f"    could not run: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"processors: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(render(rows))
    return failed


def _options() -> argparse.Namespace:
    names = "\n".join(f"  {name:14} {what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"benchmarks:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (all)")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where stores are kept while it runs, on the disk to measure (var/)"
    )
    options = parser.parse_args()
    options.names = options.names or list(NAMES)
    options.folder = options.folder.absolute()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return options


sys.exit(main())
