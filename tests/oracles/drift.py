"""Writes tests/data/models/drift.json: what scipy says of pairs of samples, and Evidently of a bad tick.

.peers/science/bin/python tests/oracles/drift.py science
.peers/evidently/bin/python tests/oracles/drift.py evidently
"""

import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

FILE = Path(__file__).parents[1] / "data" / "models" / "drift.json"


def science() -> dict[str, Any]:
    from scipy import stats
    from scipy.spatial.distance import jensenshannon

    random = np.random.default_rng(20261121)
    pairs = []
    for name, first, second in (
        ("quiet", random.normal(size=300), random.normal(size=200)),
        ("moved", random.normal(size=200), random.normal(0.8, 1.0, size=333)),
        ("whole numbers", random.poisson(3.0, 250).astype(float), random.poisson(4.0, 150).astype(float)),
        ("two values", random.integers(0, 2, 90).astype(float), random.integers(0, 2, 40).astype(float)),
        ("some ties between the two", np.round(random.normal(size=150), 1), random.normal(size=50).round(1)),
        ("apart", random.normal(size=40), random.normal(50.0, 1.0, size=60)),
        ("heavy tails", random.standard_t(1, 200) * 1e6, random.standard_t(1, 200)),
        ("one against many", random.normal(size=400), np.array([0.25])),
        ("many against two", np.array([0.0, 1.0]), random.normal(size=100)),
        ("the same", np.arange(60.0), np.arange(60.0)),
        ("repeated in one", np.repeat(np.arange(8.0), 25), np.arange(8.0) + 0.0),
    ):
        pairs.append(
            {
                "name": name,
                "first": first.tolist(),
                "second": second.tolist(),
                "ks": float(stats.ks_2samp(first, second, method="asymp").statistic),
                "wasserstein": float(stats.wasserstein_distance(first, second)),
            }
        )
    tables = []
    for _ in range(6):
        kinds = int(random.integers(2, 7))
        counts = random.integers(6, 300, (2, kinds))
        found = stats.chi2_contingency(counts, correction=False)
        tables.append(
            {
                "counts": counts.tolist(),
                "chi_square": float(found.statistic),
                "degrees": int(found.dof),
                "p": float(found.pvalue),
                "jensen_shannon": float(jensenshannon(*counts, base=2)),
            }
        )
    at = [1e-300, 1e-30, 1e-9, 1e-4, 0.02, 0.07, 0.08, 0.3, 0.5, 0.61, 0.925, 0.93, 0.999, 1 - 1e-12]
    chi = [
        (x, k, float(stats.chi2.sf(x, k))) for k in (1, 2, 3, 8, 61, 400) for x in (0.0, 0.5, 3.8, 20.0, 90.0, 600.0)
    ]
    moved = random.normal(size=64)
    adjusted = stats.false_discovery_control(np.abs(moved) / 3.5)
    return {
        "scipy": version("scipy"),
        "pairs": pairs,
        "tables": tables,
        "normal_quantile": [at, stats.norm.ppf(at).tolist()],
        "chi_square_exceeded": chi,
        "benjamini_hochberg": [(np.abs(moved) / 3.5).tolist(), adjusted.tolist()],
    }


def evidently() -> dict[str, Any]:
    """A shift of one deviation, without and with one tick of 1e4 among 10,000 rows of each side."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    before, after = shifted()
    found: dict[str, Any] = {"evidently": version("evidently")}
    for name, tick in (("clean", False), ("one_bad_tick", True)):
        sides = [before.copy(), after.copy()]
        if tick:
            sides[1][5000] = 1e4
        sets = [
            Dataset.from_pandas(pd.DataFrame({"f": s}), data_definition=DataDefinition(numerical_columns=["f"]))
            for s in sides
        ]
        said = Report([ValueDrift(column="f", method="psi")]).run(sets[1], sets[0]).dict()
        found[name] = float(said["metrics"][0]["value"])
    return found


def shifted() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(5)
    return random.normal(size=10_000), random.normal(1.0, 1.0, 10_000)


if __name__ == "__main__":
    part = sys.argv[1]
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[part] = {"science": science, "evidently": evidently}[part]()
    FILE.write_text(json.dumps(known, indent=None, separators=(",", ":")) + "\n")
