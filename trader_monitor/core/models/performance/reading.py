"""What a model's outputs and outcomes are: labels with probabilities, or numbers; read once, and then always so.

- Labels are texts: `label`, or `output` where that is a text. A whole number is the label of its digits (1 is "1").
- Where there is no text at all and all outputs are 0 or 1, those are the labels; where outputs lie within 0..1 and
  the outcomes are labels or all 0 or 1, an output is the positive label's probability, and the label it means is the
  positive one from 1/2 on.
- Everything else that is a number beside a number is a return (or whatever is predicted as a number).
- A model with two labels has a positive one: that of a word list (up, buy, 1, true …) or the later in the alphabet.
- `probability` may be that of the positive label or that of the label that is predicted. A label that is predicted
  has more than half of the probability; so where the rows with the negative label say less than 1/2 on average, it is
  the positive label's. Which it was taken for is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from trader_monitor.core.models.performance.outcomes import Predictions
from trader_monitor.core.samples import Bools, Floats

__all__ = ["Calls", "Reading", "Task", "read"]

Task: TypeAlias = Literal["binary", "multiclass", "returns", "unknown"]

_POSITIVE: Final = frozenset({"1", "true", "yes", "up", "buy", "long", "positive", "win", "rise", "bull", "bullish"})


class Reading(Struct, frozen=True, kw_only=True):
    """How one model version's rows are read."""

    task: Task
    positive: str | None = None
    """Of a binary task."""
    probability_of: Literal["positive", "label", "output"] | None = None
    """Whose probability is given; None: there is none."""

    @property
    def words(self) -> str:
        """For conventions."""
        if self.task != "binary":
            return ""
        whose = {"positive": "the positive label's", "label": "the predicted label's", "output": "the output"}
        said = f"; probability read as {whose[self.probability_of]}" if self.probability_of is not None else ""
        return f"positive label {self.positive}{said}"

    def labels(self, predictions: Predictions) -> list[str | None]:
        """The predicted label of each row; None where it has none."""
        if self.probability_of == "output":
            other = f"not {self.positive}"
            return [
                (self.positive if value >= 0.5 else other) if isinstance(value, float | int) else value
                for value in predictions.output
            ]
        return [
            label if label is not None else text(output)
            for label, output in zip(predictions.labels, predictions.output, strict=True)
        ]

    def positives(self, predictions: Predictions) -> Bools:
        """Whether the positive label is predicted; binary tasks only."""
        return np.fromiter((label == self.positive for label in self.labels(predictions)), np.bool_)

    def scores(self, predictions: Predictions) -> Floats:
        """Binary: the probability of the positive label; multiclass: that of the predicted one. NaN without one."""
        if self.probability_of is None:
            return np.full(len(predictions.at), np.nan)
        if self.probability_of == "output":
            return numbers(predictions.output)
        if self.task == "multiclass" or self.probability_of == "positive":
            return predictions.probability
        return np.where(self.positives(predictions), predictions.probability, 1.0 - predictions.probability)


class Calls(NamedTuple):
    """Predicted and actual labels as codes of `names`; -1 where there is none, or a number that is no label."""

    names: tuple[str, ...]
    actual: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def comparable(self) -> Bools:
        both: Bools = (self.actual >= 0) & (self.predicted >= 0)
        return both

    def within(self, mask: Bools) -> Calls:
        return Calls(self.names, self.actual[mask], self.predicted[mask])

    @classmethod
    def of(cls, predicted: Sequence[str | None], actual: Sequence[float | str | None], reading: Reading) -> Calls:
        """Row by row; None for what is not known yet."""
        seen = [None if value is None else text(value) for value in actual]
        if reading.task == "binary":
            other = f"not {reading.positive}"
            # Anything but the positive label is the other, so that a third word does not make another task of it.
            predicted = [each if each is None or each == reading.positive else other for each in predicted]
            seen = [each if each is None or each == reading.positive else other for each in seen]
        names = tuple(sorted({each for each in (*predicted, *seen) if each is not None}))
        codes: dict[str | None, int] = {name: code for code, name in enumerate(names)}
        codes[None] = -1
        n = len(seen)
        return cls(
            names,
            np.fromiter(map(codes.__getitem__, seen), np.int64, n),
            np.fromiter(map(codes.__getitem__, predicted), np.int64, n),
        )


def read(predictions: Predictions, actual: Sequence[float | str], positive: str | None = None) -> Reading:
    """How rows are to be read, from a version's predictions and the outcomes that are known of any of them.

    `positive` names the positive label, if that is known.
    """
    labels = {label for label in predictions.labels if label is not None}
    labels |= {output for output in predictions.output if isinstance(output, str)}
    outputs = {float(output) for output in predictions.output if not isinstance(output, str)}
    texts = {value for value in actual if isinstance(value, str)}
    figures = {float(value) for value in actual if not isinstance(value, str)}
    if not predictions.at.size:
        return Reading(task="unknown")
    if not labels:
        binary = (0.0, 1.0)
        if outputs <= set(binary) and figures <= set(binary) and not texts:
            return Reading(task="binary", positive=positive or "1", probability_of=_given(predictions))
        if min(outputs) >= 0.0 and max(outputs) <= 1.0 and (texts or figures) and figures <= set(binary):
            chosen = positive or _positive(texts | {text(value) or "" for value in figures})
            return Reading(task="binary", positive=chosen, probability_of="output")
        return Reading(task="returns" if not texts else "unknown")
    known = labels | texts | {digits for value in figures if (digits := text(value)) is not None}
    if figures and not any(text(value) is not None for value in figures) and not texts:
        return Reading(task="unknown")  # words beside fractions: no label can ever be right
    if len(known) > 2:
        given = "label" if np.isfinite(predictions.probability).any() else None
        return Reading(task="multiclass", probability_of="label" if given else None)
    plain = Reading(task="binary", positive=positive or _positive(known))
    if np.isfinite(predictions.probability).any():
        negative = ~plain.positives(predictions) & np.isfinite(predictions.probability)
        of_label = bool(negative.any()) and float(predictions.probability[negative].mean()) >= 0.5
        return Reading(task="binary", positive=plain.positive, probability_of="label" if of_label else "positive")
    return plain


def text(value: float | str) -> str | None:
    """A label; None for a number that is not whole."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else None


def numbers(values: Sequence[float | str]) -> Floats:
    """NaN for texts."""
    return np.fromiter((np.nan if isinstance(value, str) else value for value in values), np.float64, len(values))


def _given(predictions: Predictions) -> Literal["positive"] | None:
    return "positive" if np.isfinite(predictions.probability).any() else None


def _positive(labels: set[str]) -> str:
    known = sorted(label for label in labels if label.lower() in _POSITIVE)
    return known[0] if len(known) == 1 else max(labels)
