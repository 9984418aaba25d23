"""Verdicts: drift needs an effect that matters and evidence that it is none of chance; and how bad it is in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from trader_monitor.core.models.columns import Kind
from trader_monitor.core.models.drift.fdr import Online

__all__ = [
    "KS_DRIFT",
    "MISSING_DRIFT",
    "PSI_DRIFT",
    "PSI_MODERATE",
    "REASONS",
    "SEVERITIES",
    "DriftResult",
    "Effect",
    "FeatureDrift",
    "Histogram",
    "Reason",
    "Role",
    "Severity",
    "Status",
    "Verdict",
    "effect_of",
    "severity_of",
]

KS_DRIFT = 0.3
PSI_MODERATE = 0.1
PSI_DRIFT = 0.25
MISSING_DRIFT = 0.05
"""A share of missing values that changed by more."""
WIDESPREAD = 0.2
"""A share of features that drifted above which the model's input is another one."""

Role: TypeAlias = Literal["feature", "output"]
Effect: TypeAlias = Literal["ok", "moderate", "drift"]
Verdict: TypeAlias = Literal["ok", "drift", "insufficient_evidence"]
Severity: TypeAlias = Literal["none", "low", "moderate", "high", "critical"]
Status: TypeAlias = Literal[
    "measured",
    "vanished",
    "appeared",
    "all_missing",
    "missing_baseline",
    "constant_baseline",
    "constant_window",
    "one_category",
    "kind_changed",
    "short_window",
]
Reason: TypeAlias = Literal[
    "",
    "within_chance",
    "no_column",
    "no_baseline",
    "no_values",
    "no_baseline_values",
    "kind_changed",
    "short_window",
    "few_rows",
    "dependent",
    "uncalibrated",
    "dependent_window",
    "few_categories",
]

SEVERITIES: Final[tuple[Severity, ...]] = ("none", "low", "moderate", "high", "critical")

REASONS: Final[dict[str, str]] = {
    "within_chance": "it differs, and quiet windows of this length differ as much by chance",
    "no_column": "the window does not have this feature",
    "no_baseline": "the baseline does not have this feature",
    "no_values": "the window has no usable value",
    "no_baseline_values": "the baseline has no usable value",
    "kind_changed": "numbers became categories, or categories numbers",
    "short_window": "the window has fewer than 30 usable rows",
    "few_rows": "the baseline has fewer than 100 usable rows",
    "dependent": "the baseline's rows resemble one another so much that they are worth fewer than 30 independent ones",
    "uncalibrated": "the baseline was made without a calibration",
    "dependent_window": "the window's rows come in runs so long that they are worth fewer than 3 independent ones",
    "few_categories": "no two categories are expected in the window often enough",
}
"""Why there is no verdict, in words."""


class Histogram(Struct, frozen=True, kw_only=True):
    """Counts before and after, between `edges` (the first and last part are open) or by `names`."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


class FeatureDrift(Struct, frozen=True, kw_only=True):
    """One feature, or output, of a window against its baseline. What is None could not be measured.

    `rows` and `baseline_rows` are usable ones. `p` is calibrated (`Calibration`), `q` adjusted for the run's number
    of features. An interval is one of 95 %: what quiet windows stray by, to both sides.
    """

    name: str
    kind: Kind
    status: Status = "measured"
    role: Role = "feature"
    important: bool = False
    rows: int = 0
    baseline_rows: int = 0
    ks: float | None = None
    ks_interval: tuple[float, float] | None = None
    psi: float | None = None
    psi_interval: tuple[float, float] | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    chi_square: float | None = None
    degrees: int | None = None
    p: float | None = None
    q: float | None = None
    effect: Effect = "ok"
    verdict: Verdict = "insufficient_evidence"
    reason: Reason = ""
    nulls: int = 0
    nans: int = 0
    infinities: int = 0
    out_of_range: int = 0
    missing_before: float = 0.0
    missing_after: float = 0.0
    missing_p: float | None = None
    missing_changed: bool = False
    """The share of missing values changed by more than 0.05; where some were missing before, not by chance."""
    new: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    histogram: Histogram | None = None


class DriftResult(Struct, frozen=True, kw_only=True):
    """A window of one model version against its baselines. `window` names the window as it was asked for.

    `share` is that of drifted features among those with a verdict, None without any. `level` is what `q` was held
    against; `online` is to be handed to the next run.
    """

    model: str
    version: str
    window: str
    rows: int
    features: tuple[FeatureDrift, ...]
    tested: int
    drifted: int
    share: float | None
    severity: Severity | None
    level: float
    online: Online
    at: float | None = None
    first_at: float | None = None
    last_at: float | None = None


def effect_of(ks: float | None, psi: float | None) -> Effect:
    """How large the difference is, whatever the evidence."""
    if (ks is not None and ks > KS_DRIFT) or (psi is not None and psi >= PSI_DRIFT):
        return "drift"
    return "moderate" if psi is not None and psi >= PSI_MODERATE else "ok"


def severity_of(features: Sequence[FeatureDrift], level: float, *, degraded: bool) -> Severity:
    """How bad it is. `degraded`: the model's performance has suffered too, and there is evidence of that."""
    drifted = [each for each in features if each.verdict == "drift"]
    if drifted:
        if degraded:
            return "critical"
        inputs = [each for each in features if each.role == "feature" and each.verdict != "insufficient_evidence"]
        share = sum(each.verdict == "drift" for each in inputs) / max(len(inputs), 1)
        return "high" if share > WIDESPREAD or any(each.important for each in drifted) else "moderate"
    moderate = any(each.effect == "moderate" and each.q is not None and each.q <= level for each in features)
    return "low" if moderate else "none"
