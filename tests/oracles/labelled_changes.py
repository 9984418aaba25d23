"""The spot price of Brent crude with the change points that five people saw in it, as river distributes them.

Of `river.drift.datasets` (the Turing Change Point Dataset of van den Burg and Williams, 2020) it is the one with enough
quiet rows before its first label and values in the public domain (U.S. Energy Information Administration). The others:
RunLog, Occupancy, UKCoalEmploy and AirlinePassengers have 105 to 509 rows, fewer than a baseline needs; Apple and
Bitcoin are prices, and the detector finds nothing in their daily returns, whose level is not what the labels are about.

Labels count every tenth row from the first of 2000. Written to tests/data/models/brent.json.gz:

    python -c "from pathlib import Path; from benchmarks.environments import run; \
               print(run('science', Path('tests/oracles/labelled_changes.py')))"
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "models" / "brent.json.gz"
FIRST = 2000
EVERY = 10


def main() -> None:
    from river.drift.datasets import BrentSpotPrice

    dataset = BrentSpotPrice()
    rows = [(str(x["day"].date()), y) for x, y in dataset if x["day"].year >= FIRST]
    kept = {
        "labels_every": EVERY,
        "labels": dataset.annotations,
        "first": rows[0][0],
        "last": rows[-1][0],
        "price": [price for _, price in rows],
    }
    raw = json.dumps(kept, separators=(",", ":")).encode()
    DATA.write_bytes(gzip.compress(raw, mtime=0))
    print(f"{len(rows)} rows, {len(raw)} bytes, {DATA.stat().st_size} compressed")


if __name__ == "__main__":
    main()
