"""Predictions and outcomes as tests write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.core.models.performance.outcomes import Outcomes, Predictions

NAN = float("nan")


def predictions(*made: Prediction) -> Predictions:
    return Predictions(
        [each.id for each in made],
        [each.source for each in made],
        [each.version for each in made],
        [each.subject for each in made],
        np.array([each.at for each in made], np.float64),
        np.array([NAN if each.horizon_seconds is None else each.horizon_seconds for each in made], np.float64),
        [each.output for each in made],
        [each.label for each in made],
        np.array([NAN if each.probability is None else each.probability for each in made], np.float64),
    )


def outcomes(*come: Outcome, recorded: Sequence[float] | None = None) -> Outcomes:
    """Recorded when they say they were, if nothing else is given."""
    at = np.array([each.at for each in come], np.float64)
    return Outcomes(
        [each.prediction_id for each in come],
        [each.source for each in come],
        [each.model for each in come],
        [each.version for each in come],
        [each.subject for each in come],
        np.array([NAN if each.predicted_at is None else each.predicted_at for each in come], np.float64),
        at,
        at if recorded is None else np.array(recorded, np.float64),
        [each.actual for each in come],
    )


def said(at: float, output: float | str = "up", **more: Any) -> Prediction:
    return Prediction(at=at, output=output, **{"model": "m", "version": "1", **more})


def came(at: float, actual: float | str = "up", **more: Any) -> Outcome:
    return Outcome(at=at, actual=actual, **{"model": "m", **more})
