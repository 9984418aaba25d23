"""What of predictions and outcomes is refused at the border, with its path."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.web.fields import Window, faults

NOW = 1_700_000_000.0
WINDOW = Window(now=NOW, oldest=NOW - 86_400.0, newest=NOW + 60.0)


def predicted(**fields: Any) -> Prediction:
    return Prediction(**{"at": NOW, "model": "m", "version": "1", "output": "up", **fields})


def came(**fields: Any) -> Outcome:
    return Outcome(**{"at": NOW, "actual": "up", "prediction_id": "p1", **fields})


@pytest.mark.parametrize(
    ("sentence", "event", "path"),
    [
        ("A probability below 0.", predicted(probability=-0.01), "$.probability"),
        ("A probability above 1.", predicted(probability=1.01), "$.probability"),
        ("A probability that is no number.", predicted(probability=float("nan")), "$.probability"),
        ("A confidence in percent.", predicted(confidence=85.0), "$.confidence"),
        ("A horizon into the past.", predicted(horizon_seconds=-1.0), "$.horizon_seconds"),
        ("An output that is no number.", predicted(output=float("inf")), "$.output"),
        ("An actual that is no number.", came(actual=float("nan")), "$.actual"),
        ("An outcome that names no prediction.", came(prediction_id=None, model="m", subject="A"), "$.predicted_at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(sentence: str, event: Any, path: str) -> None:
    assert [fault.path for fault in faults(event, WINDOW)] == [path], sentence


@pytest.mark.parametrize(
    "event", [predicted(probability=0.0), predicted(probability=1.0), came(), came(actual=-0.02, version="2")]
)
def test_taken(event: Any) -> None:
    assert faults(event, WINDOW) == []
