"""Run by scores.py in the environment of scikit-learn: its times and figures for tables, as JSON."""

import json
import statistics
import sys
import time

import numpy as np
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score


def main(kept: str, runs: int) -> None:
    answer = {}
    with np.load(kept) as columns:
        for name in sorted({each.rpartition("_")[0] for each in columns}):
            actual, predicted = (columns[f"{name}_{n}"].astype(np.int64) for n in (0, 1))
            scores = columns[f"{name}_2"]
            times = []
            for _ in range(runs + 1):
                began = time.perf_counter()
                figures = [
                    f1_score(actual, predicted),
                    precision_score(actual, predicted),
                    recall_score(actual, predicted),
                    roc_auc_score(actual, scores),
                ]
                times.append((time.perf_counter() - began) * 1000.0)
            answer[name] = [statistics.median(times[1:]), [float(each) for each in figures]]
    print(json.dumps(answer))


main(sys.argv[1], int(sys.argv[2]))
