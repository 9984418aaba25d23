"""Models: how much they predict, what they last said, and how many outcomes came back."""

from __future__ import annotations

from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.core.tally import Tally

__all__ = ["Models"]


class Models:
    """Counts by model and version."""

    def __init__(self, tally: Tally) -> None:
        model = ("model", "version")
        self._predictions = tally.counter("model_predictions_total", "Predictions.", *model)
        self._outcomes = tally.counter("model_outcomes_total", "Outcomes of predictions.", *model)
        self._output = tally.report("model_output", "The last numeric output.", *model)
        self._confidence = tally.report("model_confidence", "Confidence of the last prediction.", *model)

    def fold(self, prediction: Prediction, t_ms: int) -> None:
        key = (prediction.model, prediction.version)
        self._predictions.add(key, t_ms)
        if not isinstance(prediction.output, str):
            self._output.place(key, t_ms, prediction.output)
        self._confidence.place(key, t_ms, prediction.confidence)

    def fold_outcome(self, outcome: Outcome, t_ms: int) -> None:
        """An outcome that names its prediction only is counted without labels."""
        self._outcomes.add((outcome.model, outcome.version), t_ms)
