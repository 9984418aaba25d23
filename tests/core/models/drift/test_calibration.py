"""A calibrated 5 % is 5 % of quiet windows, however much rows resemble one another; and where it cannot be, it is said.

The table in tests/data/models/quiet_windows.json has it for hundreds of baselines of each process; see
tests/oracles/quiet_windows.py. A few of each are done again here.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.oracles.quiet_windows import FILE, measured, paths
from trader_monitor.core.models.drift.baseline import Baseline, baseline_of
from trader_monitor.core.models.drift.calibration import LENGTHS, LEVELS, Calibration, Refusal, calibrate, evidence

AUTOREGRESSIONS = [
    f"AR(1), {noise}, phi {phi}" for noise in ("normal", "Student t3") for phi in ("0", "0.5", "0.9", "0.98")
]


def told() -> Any:
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("name", AUTOREGRESSIONS)
def test_the_nominal_level_holds_within_two_points(name: str) -> None:
    process = told()["processes"][name]
    assert process["refused"] == 0
    for rows, rates in process["windows"].items():
        assert 0.03 <= rates["either"] <= 0.07, rows
        assert rates["error"] < 0.008, "so that two points can be told"
        assert rates["either_1_percent"] <= 0.02


def test_the_textbook_and_the_rule_of_thumb_do_not_hold_it() -> None:
    windows = told()["processes"]["AR(1), normal, phi 0.9"]["windows"]
    assert windows["1000"]["ks_alone"] > 0.6
    assert told()["processes"]["AR(1), normal, phi 0"]["windows"]["100"]["psi_alone"] > 0.3


@pytest.mark.parametrize("name", [name for name in told()["processes"] if name not in AUTOREGRESSIONS])
def test_ties_noise_and_volatility_that_clusters_come_close(name: str) -> None:
    for rates in told()["processes"][name]["windows"].values():
        assert rates["either"] <= 0.10


@pytest.mark.parametrize(("phi", "kind", "seed"), [(0.0, "t3", 1), (0.9, "normal", 3)])
def test_a_few_baselines_of_the_table_again(phi: float, kind: str, seed: int) -> None:
    found = measured(phi, kind, 10, seed, (100, 1_000))
    assert found["refused"] == 0
    rates = [each["either"] for each in found["windows"].values()]
    assert np.mean(rates) <= 0.15, "80 windows: 12 cries are beyond chance"


@pytest.mark.parametrize(
    ("sentence", "values", "reason"),
    [
        ("Fifty rows carry no evidence.", np.arange(50.0), "few_rows"),
        ("A constant has no dependence to learn.", np.full(500, 2.0), "constant"),
        ("A walk is hardly more than one row.", np.cumsum(np.random.default_rng(1).normal(size=3_000)), "dependent"),
    ],
)
def test_what_cannot_be_calibrated_says_why(sentence: str, values: Any, reason: str) -> None:
    found = calibrate(values)
    assert isinstance(found, Refusal), sentence
    assert found.reason == reason
    assert (found.effective is not None) == (reason == "dependent")


def test_a_baseline_too_short_for_its_autocorrelation_is_refused() -> None:
    """At phi 0.98 a thousand rows are worth ten."""
    assert isinstance(calibrate(paths(0.98, "normal", 1_000, 1, 4)[0]), Refusal)


def calibrated(values: Any) -> Calibration:
    found = calibrate(values)
    assert isinstance(found, Calibration)
    return found


@pytest.fixture(scope="module")
def quiet() -> Calibration:
    return calibrated(np.random.default_rng(2).normal(size=5_000))


def test_the_same_baseline_has_the_same_calibration(quiet: Calibration) -> None:
    assert calibrated(np.random.default_rng(2).normal(size=5_000)) == quiet


def test_it_comes_back_from_the_baselines_bytes() -> None:
    made = baseline_of("f", np.random.default_rng(2).normal(size=200))
    assert made.calibration is not None
    assert Baseline.decode(made.encode()) == made
    assert baseline_of("f", np.arange(200.0), calibrated=False).refusal == Refusal(reason="uncalibrated")


@pytest.mark.parametrize("rows", [10, 30, 200, 1_000, 3_000, 125_000, 4_000_000])
def test_p_values_fall_as_windows_stray_further(quiet: Calibration, rows: int) -> None:
    ks, psi = quiet.critical(rows)
    factors = np.linspace(0.0, 6.0, 60)
    for found in (
        [quiet.p_values(float(f * ks), 0.0, rows).ks for f in factors],
        [quiet.p_values(0.0, float(f * psi), rows).psi for f in factors],
        [quiet.p_values(float(f * ks), float(f * psi), rows).either for f in factors],
    ):
        assert found == sorted(found, reverse=True)
        assert 0.0 < found[-1] < 1e-6
        assert found[0] > 0.9
    assert quiet.p_values(ks, 0.0, rows).ks == pytest.approx(0.05, rel=1e-3)
    assert quiet.p_values(0.0, psi, rows).psi == pytest.approx(0.05, rel=1e-3)


def test_the_further_of_two_statistics_is_charged_for_the_choice(quiet: Calibration) -> None:
    for factor in np.linspace(0.2, 3.0, 20):
        ks, psi = quiet.critical(500)
        found = quiet.p_values(float(factor * ks), float(psi / 2), 500)
        least = min(found.ks, found.psi)
        assert least <= found.either <= min(1.0, 2 * least)


def test_quantiles_of_independent_rows_are_smirnovs(quiet: Calibration) -> None:
    """The asymptotic quantile is for every value; in 80 cells a little less is seen."""
    for rows in (500, 2_000, 12_500):
        textbook = math.sqrt(-0.5 * math.log(0.025) * (5_000 + rows) / (5_000 * rows))
        assert 0.88 * textbook < quiet.critical(rows)[0] < 1.04 * textbook


def test_beyond_the_last_length_quantiles_shrink_as_the_rows_grow(quiet: Calibration) -> None:
    last, beyond = quiet.critical(LENGTHS[-1]), quiet.critical(4 * LENGTHS[-1])
    assert beyond == pytest.approx((last[0] / 2, last[1] / 4))


def test_blocks_that_stray_further_than_any_autoregression_widen_the_quantiles() -> None:
    """A step in the middle of the baseline: the fitted memory is long, and still not all of it."""
    random = np.random.default_rng(5)
    season = np.sin(np.arange(20_000) * 2 * math.pi / 5_000) * 1.5
    made = calibrated(season + random.normal(size=20_000))
    plain = calibrated(random.normal(size=20_000))
    assert max(made.widening) > 1.2
    assert plain.widening == (1.0, 1.0)
    assert made.critical(1_250)[0] > 3 * plain.critical(1_250)[0]


def test_statistics_in_cells() -> None:
    baseline = np.linspace(1 / 80, 1.0, 80)
    ks, psi = evidence(baseline, baseline**2, 1_000)
    assert ks == pytest.approx(0.25)
    q, p = np.diff((np.arange(11) / 10) ** 2), np.full(10, 0.1)
    assert psi == pytest.approx(((q - p) * np.log(q / p)).sum())
    point = np.ones(80)
    assert evidence(point, point, 50)[1] == 0.0, "bins that the baseline leaves empty are no part of it"
    assert evidence(baseline, point, 50)[1] < 10.0, "an empty bin is half a row"


def test_levels_are_a_scale() -> None:
    assert list(LEVELS) == sorted(LEVELS, reverse=True)
    assert list(LENGTHS) == sorted(LENGTHS)
