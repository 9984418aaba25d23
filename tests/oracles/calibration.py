"""What scikit-learn says of confidences and outcomes: Brier score, calibration curve of ten bins and bins' sizes.

Reads [[confidence, correct], ...] as JSON from its first argument and prints its answer as JSON. Runs in the
environment `science` (`benchmarks.environments.run`).
"""

from __future__ import annotations

import json
import sys

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

judged = np.array(json.loads(sys.argv[1]))
confidence, correct = judged[:, 0], judged[:, 1]
accuracy, mean = calibration_curve(correct, confidence, n_bins=10, strategy="uniform")
print(
    json.dumps(
        {
            "brier": brier_score_loss(correct, confidence),
            "accuracy": accuracy.tolist(),
            "confidence": mean.tolist(),
        }
    )
)
