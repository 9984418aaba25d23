"""The drift of one table against another as peers compute it; runs in their environments, see benchmarks/drift.py.

    python drift_peers.py scipy|nannyml|evidently TABLES.npz ROUNDS

Prints JSON: the seconds of each round, what was computed, and of scipy the statistics themselves.
"""

import json
import os
import sys
import time
import warnings
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

Matrix = NDArray[np.float64]


def by_scipy(before: Matrix, after: Matrix, rounds: int) -> dict[str, Any]:
    from scipy.stats import ks_2samp

    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        ks, psi = [], []
        for column in range(before.shape[1]):
            reference, current = before[:, column], after[:, column]
            ks.append(float(ks_2samp(reference, current, method="asymp").statistic))
            edges = np.quantile(reference, np.linspace(0, 1, 11))
            edges[0], edges[-1] = -np.inf, np.inf
            p = np.histogram(reference, edges)[0] / len(reference)
            q = np.maximum(np.histogram(current, edges)[0], 0.5) / len(current)
            psi.append(float(((q - p) * np.log(q / p)).sum()))
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "what": "ks_2samp and a stability index by numpy", "ks": ks, "psi": psi}


def by_nannyml(before: Matrix, after: Matrix, rounds: int) -> dict[str, Any]:
    import nannyml
    import pandas as pd

    names = [f"f{column}" for column in range(before.shape[1])]
    reference, current = pd.DataFrame(before, columns=names), pd.DataFrame(after, columns=names)
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=names,
        continuous_methods=["kolmogorov_smirnov", "jensen_shannon"],
        chunk_size=len(after),
    )
    calculator.fit(reference)
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        calculator.calculate(current)
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "what": "fitted; KS estimated from bins, Jensen-Shannon for PSI"}


def by_evidently(before: Matrix, after: Matrix, rounds: int) -> dict[str, Any]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = [f"f{column}" for column in range(before.shape[1])]
    definition = DataDefinition(numerical_columns=names)
    reference, current = (
        Dataset.from_pandas(pd.DataFrame(table, columns=names), data_definition=definition) for table in (before, after)
    )
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        metrics = [ValueDrift(column=name, method=method) for name in names for method in ("ks", "psi")]
        Report(metrics).run(current, reference).dict()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "what": "Report of ValueDrift by ks and by psi"}


if __name__ == "__main__":
    tables = np.load(sys.argv[2])
    peers = {"scipy": by_scipy, "nannyml": by_nannyml, "evidently": by_evidently}
    print(json.dumps(peers[sys.argv[1]](tables["before"], tables["after"], int(sys.argv[3]))))
