"""Paths: what a row may and may not do to the sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.models.streaming.paths import advance, total
from trader_monitor.core.models.streaming.threshold import COMPONENTS, WEIGHTS

cases = given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10_000))


def drawn(rows: int, streams: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.random((streams, COMPONENTS)), np.exp(rng.standard_normal((rows, streams, COMPONENTS))), rng


@cases
@settings(max_examples=50, deadline=None)
def test_more_evidence_never_lowers_a_sum(rows: int, streams: int, seed: int) -> None:
    sums, ratios, rng = drawn(rows, streams, seed)
    more = ratios * (1.0 + rng.random(ratios.shape))
    assert (advance(sums, more, None) >= advance(sums, ratios, None)).all()


@cases
@settings(max_examples=50, deadline=None)
def test_a_row_that_says_nothing_leaves_the_sums(rows: int, streams: int, seed: int) -> None:
    """The live rows alone give the same bits, per stream."""
    sums, ratios, rng = drawn(rows, streams, seed)
    live = rng.random((rows, streams)) < 0.6
    found = advance(sums, ratios.copy(), live)
    for stream in range(streams):
        kept = live[:, stream]
        alone = advance(sums[stream : stream + 1], ratios[kept][:, stream : stream + 1].copy(), None)
        assert found[kept][:, stream].tolist() == alone[:, 0].tolist()
        last = sums[stream] if not kept.any() else alone[-1, 0]
        assert found[-1, stream].tolist() == last.tolist()


@cases
@settings(max_examples=50, deadline=None)
def test_the_sum_is_of_all_times_a_change_may_have_come(rows: int, streams: int, seed: int) -> None:
    """Shiryaev's and Roberts's definition: the likelihood ratio since each row before, added up."""
    _, ratios, _ = drawn(rows, streams, seed)
    since = np.asarray([np.prod(ratios[row:], axis=0) for row in range(rows)])
    found = advance(np.zeros((streams, COMPONENTS)), ratios.copy(), None)[-1]
    np.testing.assert_allclose(found, WEIGHTS * since.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total(found), found.sum(axis=1), rtol=1e-14)
