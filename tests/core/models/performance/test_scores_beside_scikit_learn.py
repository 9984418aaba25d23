"""100,000 rows, random and tied, scored here and by scikit-learn in its own environment: equal to 1e-12."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scores import TOLERANCE, beside, scored, table

pytestmark = pytest.mark.real


def test_every_score_is_equal(tmp_path: Path) -> None:
    tables = {"different": table(21, None), "tied": table(22, 2), "coarse": table(23, 0)}
    answers = beside(tmp_path, tables, runs=1)
    for name, columns in tables.items():
        for ours, theirs in zip(scored(*columns), answers[name][1], strict=True):
            assert ours == pytest.approx(theirs, abs=TOLERANCE), name
