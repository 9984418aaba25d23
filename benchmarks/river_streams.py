"""river's detectors over the same streams, at their defaults; run in the environment `science`, prints JSON.

`python river_streams.py STREAMS.npy QUIET`: float64, rows x streams, of which the first QUIET rows are quiet.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from river import drift

DETECTORS: dict[str, tuple[Callable[[], Any], int]] = {
    "ADWIN": (drift.ADWIN, 10_000),
    "PageHinkley": (drift.PageHinkley, 10_000),
    "KSWIN": (lambda: drift.KSWIN(seed=1), 4),
    "always": (lambda: drift.DummyDriftDetector(trigger_method="fixed", t_0=1), 20),
}
"""And over how many of the streams, so that none takes minutes."""


def watched(make: Callable[[], Any], streams: np.ndarray, quiet: int) -> dict[str, Any]:
    """Alarms while all was quiet, samples from the shift to the next alarm (None: not found), seconds per sample."""
    alarms, delays, times = 0, [], []
    for values in streams.T.tolist():
        detector = make()
        began = time.process_time()
        for value in values[:quiet]:
            detector.update(value)
            alarms += detector.drift_detected
        times.append((time.process_time() - began) / quiet)
        delay = None
        for at, value in enumerate(values[quiet:], 1):
            detector.update(value)
            if detector.drift_detected:
                delay = at
                break
        delays.append(delay)
    return {"alarms": alarms, "samples": quiet * streams.shape[1], "delays": delays, "seconds": min(times)}


def main() -> None:
    streams, quiet = np.load(sys.argv[1]), int(sys.argv[2])
    print(json.dumps({name: watched(make, streams[:, :most], quiet) for name, (make, most) in DETECTORS.items()}))


if __name__ == "__main__":
    main()
