"""False discoveries: scipy's adjustment within a run, and levels that keep the promise from run to run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.models.drift.fdr import ALPHA, EPOCH, Online, benjamini_hochberg, level, stepped

SAID = json.loads((Path(__file__).parents[3] / "data" / "models" / "drift.json").read_text())["science"]


def test_the_adjustment_is_scipys() -> None:
    p, expected = SAID["benjamini_hochberg"]
    assert benjamini_hochberg(np.array(p)) == pytest.approx(expected, rel=1e-12)
    assert benjamini_hochberg(np.array([])).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_adjustment_keeps_the_order_and_never_helps(p: list[float]) -> None:
    given_, found = np.array(p), benjamini_hochberg(np.array(p))
    assert (found >= given_ - 1e-15).all()
    assert (found <= 1.0).all()
    assert (np.diff(found[np.argsort(given_)]) >= 0.0).all()


def test_levels_of_quiet_runs_spend_what_there_is_to_begin_with() -> None:
    online, spent = Online(), 0.0
    for _ in range(EPOCH):
        spent += level(online)
        online = stepped(online, discovered=False)
    assert 0.85 * ALPHA < spent < 0.9 * ALPHA
    assert online == Online(runs=EPOCH)
    assert level(online) == level(Online()), "a new epoch"


@given(st.lists(st.booleans(), max_size=60))
def test_the_estimated_share_of_false_discoveries_stays_within_the_promise(found: list[bool]) -> None:
    """The invariant behind LORD++: levels spent over discoveries made are at most alpha, at all times."""
    online, spent, discoveries = Online(), 0.0, 0
    for discovered in found:
        spent += level(online)
        online = stepped(online, discovered=discovered)
        discoveries += discovered
        assert spent <= ALPHA * max(discoveries, 1) + 1e-12


def test_a_discovery_earns_new_levels() -> None:
    quiet = stepped(Online(), discovered=False)
    found = stepped(Online(), discovered=True)
    assert level(found) > level(quiet)
    assert (found.first, stepped(found, discovered=True).discoveries) == (1, (1, 2))


def test_what_is_remembered_is_bounded_by_the_epoch() -> None:
    online = Online()
    for _ in range(2 * EPOCH - 1):
        online = stepped(online, discovered=True)
        assert level(online) < ALPHA
    assert len(online.discoveries) == EPOCH - 1
    assert stepped(online, discovered=True) == Online(runs=2 * EPOCH)


def test_false_discoveries_over_many_runs() -> None:
    """A tenth of the runs have something to discover: of all discoveries fewer than alpha are false, on average."""
    shares = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        online, false, all_ = Online(), 0, 0
        for _ in range(EPOCH):
            real = random.random() < 0.1
            p = random.random(5) * (1e-7 if real else 1.0)
            discovered = bool(benjamini_hochberg(p).min() <= level(online))
            online = stepped(online, discovered=discovered)
            all_ += discovered
            false += discovered and not real
        shares.append(false / max(all_, 1))
    assert np.mean(shares) <= ALPHA
    assert all_ > 10
