"""Performance and risk against what nine libraries say of the same 2,147 daily returns, and where they fail."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.environments import run
from trader_monitor.core.trading.accounts.performance import Performance, drawdown_of, per_period, performance
from trader_monitor.core.trading.accounts.risk import historical, normal
from trader_monitor.core.trading.decimals import exact
from trader_monitor.core.trading.positions.ledger import Ledger

GOLDEN = json.loads(gzip.decompress((Path(__file__).parents[3] / "data" / "returns_metrics.json.gz").read_bytes()))
ORACLE = Path(__file__).parents[3] / "oracles" / "returns.py"
RETURNS = np.array(GOLDEN["returns"])


def ours() -> dict[str, float | None]:
    """Our figures by the golden file's names; losses are positive."""
    equities, crypto = performance(RETURNS, annualisation=252), performance(RETURNS, annualisation=365)
    found = {
        "sharpe_rf0_ann252": equities.sharpe,
        "volatility_ann252": equities.volatility,
        "sortino_rf0_ann252": equities.sortino,
        "sharpe_rf0_ann365": crypto.sharpe,
        "volatility_ann365": crypto.volatility,
        "sortino_rf0_ann365": crypto.sortino,
        "sharpe_rf2pct_ann252": performance(RETURNS, annualisation=252, risk_free=0.02).sharpe,
        "max_drawdown": equities.drawdown,
        "cagr": equities.cagr,
        "calmar": equities.calmar,
        "win_rate": equities.positive,
    }
    for method, risks in (("hist", historical(RETURNS)), ("param", normal(RETURNS))):
        for confidence, risk in zip((95, 99), risks, strict=True):
            found[f"var{confidence}_{method}"] = risk.var
            found[f"cvar{confidence}_{method}"] = risk.cvar
    assert all(estimate.n == 2147 for estimate in found.values())
    return {name: estimate.value for name, estimate in found.items()}


OTHER_SERIES = "It buys on the second bar and is another series; its ratio is geometric growth by volatility."
DDOF_0 = "It divides by n; the sample's standard deviation divides by n - 1."
NEGATIVES = "It takes the spread of the negative days alone; the downside is about all days."
CALENDAR = "It counts calendar years from the dates; ours are 252 sessions."
ORDER = "It takes an order statistic without interpolation."
ZERO_MEAN = "It takes the mean for zero."
CORNISH = "It corrects the quantile for skew and kurtosis; ours is the plain normal."
TAIL = "Its tail is a whole number of days, the last one in part."

DIFFERENT = {
    ("sharpe_rf0_ann252", "numpy ddof0"): DDOF_0,
    ("sharpe_rf0_ann365", "numpy ddof0"): DDOF_0,
    ("volatility_ann252", "numpy ddof0"): DDOF_0,
    ("volatility_ann365", "numpy ddof0"): DDOF_0,
    ("sortino_rf0_ann252", "numpy std of negatives ddof1"): NEGATIVES,
    ("sortino_rf0_ann365", "numpy std of negatives ddof1"): NEGATIVES,
    ("sharpe_rf2pct_ann252", "numpy arithmetic daily rf"): "It divides the annual rate by 252; ours is compounded.",
    (
        "sharpe_rf2pct_ann252",
        "empyrical risk_free=0.02/252",
    ): "Its rate is that of a day, here divided and not compounded.",
    ("sharpe_rf2pct_ann252", "empyrical risk_free=0.02 (MISUSE)"): "It takes 2 % for the rate of every day.",
    ("max_drawdown", "riskfolio MDD_Abs"): "It adds returns up and does not compound them.",
    ("cagr", "numpy calendar 365.25 (returns index)"): CALENDAR,
    ("cagr", "numpy calendar 365.25 (price index)"): CALENDAR,
    ("cagr", "ffn.cagr"): CALENDAR,
    ("calmar", "numpy calendar"): CALENDAR,
    ("calmar", "ffn.calmar"): CALENDAR,
    ("var95_hist", "numpy lower"): ORDER,
    ("var99_hist", "numpy lower"): ORDER,
    ("var95_hist", "riskfolio VaR_Hist(alpha=0.05)"): ORDER,
    ("var99_hist", "riskfolio VaR_Hist(alpha=0.01)"): ORDER,
    ("var95_param", "numpy normal zero-mean ddof1"): ZERO_MEAN,
    ("var99_param", "numpy normal zero-mean ddof1"): ZERO_MEAN,
    ("var95_param", "numpy Cornish-Fisher"): CORNISH,
    ("var99_param", "numpy Cornish-Fisher"): CORNISH,
    ("var95_param", "pyfolio value_at_risk(sigma=2)"): "Two standard deviations are 97.7 %.",
    ("cvar95_hist", "quantstats.cvar(confidence=0.95)"): "By default it is the parametric one under the plain name.",
    ("cvar99_hist", "quantstats.cvar(confidence=0.99)"): "By default it is the parametric one under the plain name.",
    ("cvar95_hist", "riskfolio CVaR_Hist(alpha=0.05)"): TAIL,
    ("cvar99_hist", "riskfolio CVaR_Hist(alpha=0.01)"): TAIL,
    ("win_rate", "numpy r>0 / r!=0"): "It leaves days without change out; ours are in all days.",
    ("win_rate", "quantstats"): "It leaves days without change out; ours are in all days.",
}
SAID = [
    (metric, library, said["value"])
    for metric, libraries in GOLDEN["metrics"].items()
    if metric != "profit_factor"  # of round trips, below
    for library, said in libraries.items()
]


@pytest.fixture(scope="module")
def figures() -> dict[str, float | None]:
    return ours()


@pytest.mark.parametrize(
    ("metric", "library", "value"), SAID, ids=[f"{metric}: {library}" for metric, library, _ in SAID]
)
def test_a_library_says_the_same_or_something_else_for_a_reason(
    metric: str, library: str, value: float, figures: dict[str, float | None]
) -> None:
    loss = metric.startswith(("var", "cvar", "max_drawdown"))
    value = abs(value) if loss else value
    why = OTHER_SERIES if library.startswith("backtesting.py") else DIFFERENT.get((metric, library))
    if why is None:
        assert figures[metric] == pytest.approx(value, rel=1e-9)
    else:
        assert figures[metric] != pytest.approx(value, rel=1e-6), why


def test_every_reason_is_about_something_that_was_said() -> None:
    assert set(DIFFERENT) <= {(metric, library) for metric, library, _ in SAID}


def test_profit_factor_and_win_rate_are_of_round_trips() -> None:
    """With a round trip for each day they are what libraries call so; one that was flat counts in the win rate."""
    ledger = Ledger()
    for one in GOLDEN["returns"]:
        ledger.close(exact(one))
    for library in ("numpy sum(r>0)/|sum(r<0)|", "quantstats", "nautilus ProfitFactor"):
        assert ledger.profit_factor == pytest.approx(GOLDEN["metrics"]["profit_factor"][library]["value"], rel=1e-9)
    assert ledger.win_ratio == pytest.approx(GOLDEN["metrics"]["win_rate"]["numpy r>0 / n"]["value"], rel=1e-9)


TEN = [0.0] * 8
EDGES = {
    "constant_0.001": [0.001] * 10,
    "all_zero": [0.0] * 10,
    "single": [0.01],
    "first_day_loss_only": [-0.1, 0.0, *TEN],
    "first_day_loss_recover": [-0.1, 0.05, *TEN],
    "no_losses": [0.01, 0.02] * 5,
    "no_wins": [-0.01, -0.02] * 5,
    "nan_in_middle": [0.01, 0.02, math.nan, -0.01],
    "total_loss": [-1.0, 0.01, *TEN],
    "prices_like_returns(>1)": [1.5, 0.1, 0.2, 0.1, -0.3, 0.2, 0.1, 0.2, -0.1, 0.0],
}
EQUAL = "all daily returns are equal"
ONE = "1 daily returns are known, 2 are needed"
RUIN = "equity fell to zero or below"
NO_NUMBER = "a daily return is not a finite number"
NO_DOWNSIDE = "no daily return is below the risk-free rate"
NO_FALL = "there was no drawdown"
OUTCOMES: list[tuple[str, str, Any, Any, Any]] = [
    (
        "Constant returns have no risk to divide by: quantstats divides by rounding.",
        "constant_0.001",
        EQUAL,
        EQUAL,
        EQUAL,
    ),
    ("An account that does nothing has no ratio.", "all_zero", EQUAL, EQUAL, NO_FALL),
    ("One return has no spread.", "single", ONE, ONE, ONE),
    ("A loss on the first day is a drawdown from the starting balance.", "first_day_loss_only", 0, 0, 0),
    ("So is one that is half recovered.", "first_day_loss_recover", 0, 0, 0),
    (
        "Without losses there is a Sharpe ratio, but nothing to divide Sortino's and Calmar's by.",
        "no_losses",
        0,
        NO_DOWNSIDE,
        NO_FALL,
    ),
    ("Without wins there are all three.", "no_wins", 0, 0, 0),
    (
        "A return that is no number makes no figure; empyrical and quantstats leave it out unsaid.",
        "nan_in_middle",
        NO_NUMBER,
        NO_NUMBER,
        NO_NUMBER,
    ),
    ("After everything is lost there are no returns.", "total_loss", RUIN, RUIN, RUIN),
    ("Returns above 1 are unlikely, not wrong.", "prices_like_returns(>1)", 0, 0, 0),
]


@pytest.mark.parametrize(("sentence", "case", "sharpe", "sortino", "calmar"), OUTCOMES, ids=[o[0] for o in OUTCOMES])
def test_where_libraries_fail_ours_is_right_or_missing_with_a_reason(
    sentence: str, case: str, sharpe: str | int, sortino: str | int, calmar: str | int
) -> None:
    said = GOLDEN["edge_cases"][case]
    found = performance(np.array(EDGES[case]), annualisation=252)
    for name, estimate, reason in (
        ("ep.sharpe", found.sharpe, sharpe),
        ("ep.sortino", found.sortino, sortino),
        ("ep.calmar", found.calmar, calmar),
        ("ep.maxdd", found.drawdown, 0 if case not in ("nan_in_middle", "total_loss") else sharpe),
    ):
        if reason:
            if (name, case) == ("ep.calmar", "constant_0.001"):
                reason = NO_FALL
            assert (estimate.value, estimate.reason) == (None, reason), f"{sentence} {name}"
        else:
            assert estimate.value is not None, f"{sentence} {name}"
            value = abs(estimate.value) if name == "ep.maxdd" else estimate.value
            assert value == pytest.approx(abs(said[name]) if name == "ep.maxdd" else said[name], rel=1e-5), sentence
            assert not estimate.reason


def test_the_losses_at_the_edges() -> None:
    for case in ("first_day_loss_only", "first_day_loss_recover", "no_losses", "no_wins", "prices_like_returns(>1)"):
        returns, said = np.array([*EDGES[case]] * 2), GOLDEN["edge_cases"][case]
        (risk,) = normal(returns[:10], (0.95,))
        assert risk.var.value == pytest.approx(-said["qs.var95"], abs=1e-6), case
        (risk,) = historical(returns[:10], (0.95,))
        assert risk.var.reason == "10 daily returns are known, 20 are needed", "one day of ten is no 5 %"
        (risk,) = historical(returns, (0.95,))
        assert risk.var.value == pytest.approx(-float(np.quantile(returns, 0.05)), abs=1e-15)
    (risk,) = normal(np.zeros(30), (0.95,))
    assert (risk.var.value, risk.cvar.value) == (0.0, 0.0), "an account that does nothing risks nothing"
    assert risk.var.open == EQUAL


def test_an_annual_figure_waits_for_enough_days() -> None:
    few = np.array([-0.01, 0.005] * 10)
    found = performance(few, annualisation=365, minimum=30)
    for name in ("sharpe", "sharpe_iid", "sharpe_gmm", "sortino", "calmar", "volatility", "cagr"):
        estimate = getattr(found, name)
        assert (estimate.value, estimate.reason) == (None, "20 daily returns are known, 30 are needed")
    assert found.worst.value == -0.01, "what happened is known from the first day"
    assert found.best.value == 0.005
    assert found.positive.value == 0.5


def test_nothing_is_known_before_the_first_day_or_after_ruin() -> None:
    for found in (performance(np.zeros(0)), performance(RETURNS, reason="equity was zero")):
        assert {estimate.value for estimate in found} == {None}
    assert performance(RETURNS, reason="equity was zero").drawdown.reason == "equity was zero"


def test_volatility_of_constant_returns_is_none_at_all_but_known() -> None:
    found = performance(np.full(40, 0.001))
    assert (found.volatility.value, found.volatility.open) == (0.0, EQUAL)
    assert found.cagr.value == pytest.approx(1.001**365 - 1)
    assert found.cagr.interval is not None
    assert found.cagr.interval.high - found.cagr.interval.low < 1e-6


def test_growth_beyond_all_numbers_is_not_claimed() -> None:
    found = performance(np.array([9.0, 8.0] * 20))
    assert found.cagr.value == math.inf, "which a figure then says is missing"


def test_the_risk_free_rate_is_compounded_over_the_year() -> None:
    assert (1 + per_period(0.05, 252)) ** 252 == pytest.approx(1.05)
    assert per_period(0.0, 365) == 0.0


def test_los_standard_errors() -> None:
    found = performance(RETURNS, annualisation=1)
    ratio, n = RETURNS.mean() / RETURNS.std(ddof=1), len(RETURNS)
    assert found.sharpe_iid.value == pytest.approx(math.sqrt((1 + ratio**2 / 2) / n))
    # Lo (2002), table 2: 1.5 of 60 observations has the standard error 0.188, 3.0 of 500 has 0.105.
    for target, observations, error in ((1.5, 60, 0.188), (3.0, 500, 0.105), (0.5, 12, 0.306)):
        shape = np.resize([1.0, -1.0], observations)
        shape = shape / shape.std(ddof=1) * 0.001
        made = performance(shape + target * 0.001, annualisation=1)
        assert made.sharpe.value == pytest.approx(target)
        assert made.sharpe_iid.value == pytest.approx(error, abs=5e-4)


def test_the_sharpe_ratio_has_the_wider_of_both_intervals() -> None:
    found = performance(RETURNS, annualisation=252)
    wider = max(found.sharpe_iid.value or 0, found.sharpe_gmm.value or 0)
    assert found.sharpe.interval is not None
    assert found.sharpe.interval.high - (found.sharpe.value or 0) == pytest.approx(1.959964 * wider, rel=1e-6)
    assert wider == found.sharpe_iid.value


COVERAGE = [
    ("Normal returns.", "normal", 60, 0.93, 0.98),
    ("Fat tails.", "student", 250, 0.92, 0.98),
    ("Returns that follow each other.", "autocorrelated", 1000, 0.91, 0.98),
]


@pytest.mark.parametrize(("sentence", "kind", "n", "least", "most"), COVERAGE, ids=[c[0] for c in COVERAGE])
def test_the_intervals_hold_what_they_promise(sentence: str, kind: str, n: int, least: float, most: float) -> None:
    rng = np.random.default_rng(20_021)
    rounds, hits = 400, {"sharpe": 0, "volatility": 0, "sortino": 0, "cagr": 0}
    truth = performance(_draw(rng, kind, 2_000_000), annualisation=1)
    for _ in range(rounds):
        found = performance(_draw(rng, kind, n), annualisation=1)
        for name in hits:
            interval = getattr(found, name).interval
            hits[name] += interval.low <= getattr(truth, name).value <= interval.high
    for name, number in hits.items():
        assert least - 0.03 * (name == "volatility") <= number / rounds <= most + 0.01, f"{sentence} {name}"


def _draw(rng: np.random.Generator, kind: str, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    if kind == "normal":
        return 0.001 + 0.01 * rng.standard_normal(n)
    if kind == "student":
        return 0.001 + 0.006 * rng.standard_t(5, n)
    noise = rng.standard_normal(n + 100)
    kernel = 0.3 ** np.arange(30)
    return 0.001 + 0.01 * np.convolve(noise, kernel)[100 : n + 100]


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=60))
def test_any_returns_make_finite_figures_or_say_why_not(returns: list[float]) -> None:
    found: Performance = performance(np.array(returns))
    for estimate in found:
        assert (estimate.value is None) == bool(estimate.reason)
        assert estimate.value is None or not math.isnan(estimate.value)
        assert estimate.interval is None or estimate.interval.low <= estimate.interval.high
    for risk in (*historical(np.array(returns)), *normal(np.array(returns))):
        for estimate in risk:
            assert (estimate.value is None) == bool(estimate.reason)
            assert estimate.value is None or estimate.measured or estimate.interval or estimate.open
    curve, peak, deepest = 1.0, 1.0, 0.0
    for one in returns:
        curve *= 1 + one
        peak = max(peak, curve)
        deepest = max(deepest, 1 - curve / peak)
    assert drawdown_of(np.array(returns)) == pytest.approx(deepest, abs=1e-12)


@pytest.mark.real
def test_libraries_say_the_same_of_random_returns(tmp_path: Path) -> None:
    """quantstats and empyrical-reloaded, asked here and now, in an environment of their own."""
    rng = np.random.default_rng(20_261)
    series = [0.0005 + 0.012 * rng.standard_t(df, n) for df, n in ((4, 120), (5, 252), (30, 1000), (3, 2500), (8, 333))]
    file = tmp_path / "returns.json"
    file.write_text(json.dumps([returns.tolist() for returns in series]))
    told = json.loads(run("returns", ORACLE, str(file)).splitlines()[-1])
    assert len(told) == len(series)
    for returns, libraries in zip(series, told, strict=True):
        found = performance(returns, annualisation=252, risk_free=0.03)._asdict()
        for method, risks in (("historical", historical(returns)), ("normal", normal(returns))):
            for confidence, risk in zip((95, 99), risks, strict=True):
                found |= {f"var{confidence}_{method}": risk.var, f"cvar{confidence}_{method}": risk.cvar}
        for library, figures in libraries.items():
            for name, value in figures.items():
                ours = found[name].value
                if name.startswith(("var", "cvar", "drawdown")):
                    value = -value  # ours are losses
                assert ours == pytest.approx(value, rel=1e-9, abs=1e-9), f"{library} {name}"
