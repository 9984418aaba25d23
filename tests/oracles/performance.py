"""Writes tests/data/models/performance.json and cbpe.npz: what scikit-learn, statsmodels and NannyML say.

Run in the environment of NannyML, which has all three:

    .peers/nannyml/bin/python tests/oracles/performance.py

The rows of NannyML's own data sets (synthetic binary classification; US census, employment in Massachusetts) are kept
as float32 scores with their labels, a part of each, so that the same rows can be estimated here.
"""

import json
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")

import nannyml  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import statsmodels.api as sm  # noqa: E402
from sklearn import metrics  # noqa: E402
from sklearn.isotonic import IsotonicRegression  # noqa: E402

FOLDER = Path(__file__).parents[1] / "data" / "models"
SCORES = ("f1", "precision", "recall", "accuracy", "roc_auc")
DIGITS = 3
"""Of the scores that are tied on purpose."""


def classifiers() -> list[dict[str, object]]:
    """Small tables of labels, as scikit-learn scores them."""
    random = np.random.default_rng(20261121)
    found = []
    for labels, rows, skill, unseen in (
        (2, 40, 0.7, 0), (2, 300, 0.9, 0), (2, 120, 0.5, 0), (3, 200, 0.6, 0), (5, 400, 0.8, 0), (4, 150, 0.5, 1),
    ):  # fmt: skip
        actual = random.integers(0, labels, rows)
        predicted = np.where(random.random(rows) < skill, actual, random.integers(0, labels, rows))
        if unseen:  # the last label is predicted and never seen, the first seen and never predicted
            actual, predicted = np.minimum(actual, labels - 2), np.maximum(predicted, 1)
        case = {"labels": labels, "actual": actual.tolist(), "predicted": predicted.tolist()}
        for average in ("binary",) if labels == 2 else ("macro", "weighted"):
            for name in ("f1", "precision", "recall"):
                score = getattr(metrics, f"{name}_score")
                case[f"{average}_{name}"] = float(score(actual, predicted, average=average, zero_division=0))
        if labels == 2:
            scores = np.round(np.where(random.random(rows) < skill, actual, 1 - actual) + random.normal(0, 1, rows), 1)
            said = np.round(1.0 / (1.0 + np.exp(-scores)), DIGITS)
            case["scores"] = said.tolist()
            case["roc_auc"] = float(metrics.roc_auc_score(actual, said))
            case["brier"] = float(metrics.brier_score_loss(actual, said))
            fit = IsotonicRegression(out_of_bounds="clip").fit(said, actual)
            case["isotonic_at"] = np.linspace(-0.1, 1.1, 25).tolist()
            case["isotonic"] = fit.predict(np.linspace(-0.1, 1.1, 25)).tolist()
        found.append(case)
    return found


def hac() -> list[dict[str, object]]:
    """Standard errors of a mean, Newey-West, with the small-sample correction."""
    random = np.random.default_rng(7)
    found = []
    for rows, phi, lags in ((30, 0.0, 0), (60, 0.5, 3), (250, 0.9, 12)):
        noise = random.normal(0.02, 0.1, rows)
        values = np.zeros(rows)
        for place in range(rows):
            values[place] = noise[place] + phi * (values[place - 1] if place else 0.0)
        fit = sm.OLS(values, np.ones(rows)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
        found.append({"values": values.tolist(), "lags": lags, "error": float(fit.bse[0])})
    return found


def cbpe() -> tuple[list[dict[str, object]], dict[str, Any]]:
    """NannyML's estimates per chunk and what was realised, of its own data sets."""
    arrays: dict[str, Any] = {}
    found = []
    sets = (
        ("synthetic", nannyml.load_synthetic_binary_classification_dataset(), "y_pred_proba", "y_pred",
         "work_home_actual", 50_000, 5_000, range(0, 10, 3)),
        ("census", nannyml.load_us_census_ma_employment_data(), "predicted_probability", "prediction",
         "employed", 8_000, 4_000, (0, 10, 20, 33, 36, 50)),
    )  # fmt: skip
    for name, (reference, analysis, outcomes), score, predicted, actual, first, size, chosen in sets:
        analysis = analysis.merge(outcomes[["id", actual]], on="id")
        # Every few rows of the census' reference, which is in the order of years.
        reference = reference.iloc[:: max(1, len(reference) // first)].iloc[:first]
        chunks = pd.concat([analysis.iloc[size * number : size * (number + 1)] for number in chosen])
        for frame in (reference, chunks):
            frame[score] = frame[score].astype(np.float32).astype(np.float64)
        columns = {"y_pred_proba": score, "y_pred": predicted, "y_true": actual}
        kind = {"problem_type": "classification", "metrics": list(SCORES), "chunk_size": size}
        estimator = nannyml.CBPE(**columns, **kind).fit(reference)
        estimated = estimator.estimate(chunks.drop(columns=[actual])).filter(period="analysis").to_df()
        calculator = nannyml.PerformanceCalculator(**columns, **kind).fit(reference)
        realised = calculator.calculate(chunks).filter(period="analysis").to_df()
        found.append(
            {
                "name": name,
                "size": size,
                "calibrated": bool(estimator.needs_calibration),
                "estimated": {each: estimated[each]["value"].tolist() for each in SCORES},
                "realised": {each: realised[each]["value"].tolist() for each in SCORES},
            }
        )
        for frame, part in ((reference, "reference"), (chunks, "chunks")):
            values = frame[score].to_numpy(np.float32)
            levels, codes = np.unique(values, return_inverse=True)
            few = len(levels) < 1000
            arrays[f"{name}_{part}_score"] = codes.astype(np.uint16) if few else values
            arrays[f"{name}_{part}_levels"] = levels if few else np.zeros(0, np.float32)
            arrays[f"{name}_{part}_predicted"] = np.packbits(frame[predicted].to_numpy(bool))
            arrays[f"{name}_{part}_actual"] = np.packbits(frame[actual].to_numpy(bool))
    return found, arrays


def main() -> None:
    estimates, arrays = cbpe()
    names = ("nannyml", "scikit-learn", "statsmodels", "numpy")
    answers = {
        "made_by": "tests/oracles/performance.py",
        "versions": {name: version(name) for name in names},
        "classifiers": classifiers(),
        "hac": hac(),
        "cbpe": estimates,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "performance.json").write_text(json.dumps(answers) + "\n")
    np.savez_compressed(FOLDER / "cbpe.npz", **arrays)


main()
