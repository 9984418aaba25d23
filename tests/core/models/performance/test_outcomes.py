"""Which outcome belongs to which prediction, whatever order they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.models.rows import came, outcomes, predictions, said
from trader_monitor.core.facts import Outcome, Prediction
from trader_monitor.core.models.performance.outcomes import join

A: dict[str, Any] = {"subject": "A", "predicted_at": 100.0}


@pytest.mark.parametrize(
    ("sentence", "made", "come", "expected"),
    [
        (
            "An outcome names its prediction by id.",
            [said(1, id="p"), said(2, id="q")],
            [came(9, prediction_id="q")],
            "-0",
        ),
        (
            "An outcome by id needs no model.",
            [said(1, id="p")],
            [came(9, prediction_id="p", model=None)],
            "0",
        ),
        (
            "An outcome names its prediction by subject and time.",
            [said(100, subject="A"), said(100, subject="B"), said(200, subject="A")],
            [came(300, **A)],
            "0--",
        ),
        (
            "Times are compared to the millisecond.",
            [said(100.0004, subject="A"), said(100.001, subject="A")],
            [came(300, **A)],
            "0-",
        ),
        (
            "An outcome without a version holds for all versions.",
            [said(100, subject="A"), said(100, subject="A", version="2")],
            [came(300, **A)],
            "00",
        ),
        (
            "One that names a version holds for that one.",
            [said(100, subject="A"), said(100, subject="A", version="2")],
            [came(300, version="2", **A)],
            "-0",
        ),
        (
            "One that names another version than the prediction's is none of it.",
            [said(1, id="p")],
            [came(9, prediction_id="p", version="2")],
            "-",
        ),
        ("An id that nobody has seen finds nothing.", [said(1, id="p")], [came(9, prediction_id="q")], "-"),
        ("A subject that nobody predicted finds nothing.", [said(100, subject="B")], [came(9, **A)], "-"),
        ("A prediction without id and subject cannot be named.", [said(100)], [came(9, **A)], "-"),
        (
            "An outcome that names nothing finds nothing.",
            [said(100, subject="A")],
            [came(9)],
            "-",
        ),
        (
            "Of two sources with one id the outcome's own has it.",
            [said(1, id="p", source="x"), said(1, id="p", source="y")],
            [came(9, prediction_id="p", source="x")],
            "0-",
        ),
        (
            "Without a source it is the one that was recorded last.",
            [said(1, id="p", source="x"), said(1, id="p", source="y")],
            [came(9, prediction_id="p", source="z")],
            "-0",
        ),
        (
            "Of two predictions of one version, subject and time the first stands.",
            [said(100, subject="A"), said(100, subject="A", output="down")],
            [came(300, **A)],
            "0-",
        ),
        (
            "The later of two different outcomes stands, by its time and not by its place.",
            [said(100, subject="A")],
            [came(400, "down", **A), came(300, "up", **A)],
            "0",
        ),
        (
            "The same outcome again changes nothing.",
            [said(100, subject="A")],
            [came(300, **A), came(400, **A)],
            "0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_join(sentence: str, made: list[Prediction], come: list[Outcome], expected: str) -> None:
    found = join(predictions(*made), outcomes(*come))
    assert "".join("-" if place < 0 else str(place) for place in found.outcome) == expected, sentence
    used = set(found.outcome.tolist()) - {-1}
    assert used <= set(np.flatnonzero(found.found).tolist())


def test_what_became_of_the_labels_is_counted() -> None:
    hour = {"horizon_seconds": 3600.0}
    made = predictions(
        said(0, subject="in time", **hour),
        said(0, subject="late", **hour),
        said(0, subject="early", **hour),
        said(0, subject="never", **hour),
        said(0, subject="again", **hour),
        said(0, subject="restated", **hour),
        said(0, subject="again", **hour),
        said(50_000, subject="pending", **hour),
        said(0, subject="before", horizon_seconds=None),
        said(0, subject="other", version="2", **hour),
    )
    come = outcomes(
        came(4000, subject="in time", predicted_at=0.0),
        came(3600 + 3601, subject="late", predicted_at=0.0),
        came(3000, subject="early", predicted_at=0.0),
        came(4000, subject="again", predicted_at=0.0),
        came(4001, subject="again", predicted_at=0.0),
        came(4000, "up", subject="restated", predicted_at=0.0),
        came(4001, "down", subject="restated", predicted_at=0.0),
        came(50_100, subject="pending", predicted_at=50_000.0),
        came(4000, subject="nobody", predicted_at=0.0),
        came(4000, subject="nobody", predicted_at=0.0, model="another"),
    )
    joined = join(made, come)
    mine = np.array([version == "1" for version in made.versions])
    counts = joined.counts(made, come, mine, "m", 100.0, 50_200.0)
    assert {name: getattr(counts, name) for name in counts.__struct_fields__} == {
        "predictions": 6,  # "before" was due before the window, "again" the second time is repeated
        "joined": 5,
        "pending": 1,
        "late": 1,
        "early": 1,
        "duplicates": 1,
        "corrected": 1,
        "orphans": 1,
        "unreadable": 0,
    }
    delays = joined.delays(made, come)
    assert delays[:3].tolist() == [400.0, 3601.0, -600.0]
    assert np.isnan(delays[3])


keys = st.integers(0, 3)
events = st.lists(st.tuples(st.booleans(), keys, st.sampled_from(["up", "down"])), max_size=20)


@given(events, st.randoms())
def test_the_order_in_which_they_are_recorded_does_not_matter(given: list[tuple[bool, int, str]], random: Any) -> None:
    """Outcomes may come before their predictions: what counts is when they are true, not when they are heard of."""
    made = [said(100, subject=str(key)) for key in range(4)]
    come = [
        came(200.0 + place, actual, subject=str(key), predicted_at=100.0 if exact else 7.0)
        for place, (exact, key, actual) in enumerate(given)
    ]
    shuffled = random.sample(come, len(come))
    one, other = join(predictions(*made), outcomes(*come)), join(predictions(*made), outcomes(*shuffled))
    for place in range(4):
        mine = one.outcome[place], other.outcome[place]
        assert (mine[0] < 0) == (mine[1] < 0)
        if mine[0] >= 0:
            assert come[mine[0]].actual == shuffled[mine[1]].actual
    assert one.duplicates.tolist() == other.duplicates.tolist()
    assert one.corrected.tolist() == other.corrected.tolist()


def test_nothing_joins_nothing() -> None:
    joined = join(predictions(), outcomes())
    assert len(joined.outcome) == len(joined.found) == 0
