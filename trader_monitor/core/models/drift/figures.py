"""Drift as figures: what becomes series, so that rules and charts can use it."""

from __future__ import annotations

from collections.abc import Iterator

from trader_monitor.core.figure import Figure, Interval, Pairs, exact, missing, sampled
from trader_monitor.core.models.drift.verdict import REASONS, SEVERITIES, DriftResult, FeatureDrift

__all__ = ["figures"]

_PSI = (
    "population stability index over the baseline's ten bins (or its categories), an empty bin counted as half a row; "
    "0.1 is moderate, 0.25 is drift"
)
_KS = "two-sample Kolmogorov-Smirnov statistic, exact with ties; more than 0.3 is drift"
_P = "how often a quiet window strays as far, simulated from the baseline's own dependence"
_VERDICT = (
    "1 drift, 0 none: an effect that matters, and evidence after Benjamini-Hochberg in the run and LORD++ over runs"
)
_SEVERITY = (
    "0 none, 1 low: a moderate change, 2 moderate: drift, 3 high: drift of an important feature or of more than a "
    "fifth, 4 critical: drift, and performance suffers"
)
_CHANCE = "what 95 % of quiet windows of this length stray by, to both sides"


def figures(result: DriftResult) -> Iterator[Figure]:
    """At most ten series of a feature and three of a model."""
    model = (("model", result.model), ("version", result.version))
    for each in result.features:
        yield from _feature(each, (*model, ("feature", each.name), ("role", each.role), ("window", result.window)))
    labels = (*model, ("window", result.window))
    name, convention = "model_drift_features_ratio", "share of features that drifted among those with a verdict"
    if result.share is None:
        yield missing(name, labels, 0, convention, "no feature has a verdict")
    else:
        yield exact(name, labels, result.share, result.tested, convention)
    name = "model_drift_severity"
    convention = _SEVERITY
    if result.severity is None:
        yield missing(name, labels, 0, convention, "nothing has a verdict")
    else:
        yield exact(name, labels, float(SEVERITIES.index(result.severity)), result.tested, convention)
    unusable = sum(each.status in {"vanished", "all_missing", "kind_changed"} for each in result.features)
    convention = "features of the baseline that the window lacks, has no usable value of, or has in another kind"
    yield exact("model_features_unusable", labels, float(unusable), len(result.features), convention)


def _feature(each: FeatureDrift, labels: Pairs) -> Iterator[Figure]:
    why = REASONS.get(each.reason, "it is not measured for this kind of feature")
    for name, value, interval, convention in (
        ("model_feature_psi", each.psi, each.psi_interval, _PSI),
        ("model_feature_ks_statistic", each.ks, each.ks_interval, _KS),
    ):
        if value is None:
            if each.kind == "numeric" or name == "model_feature_psi":
                yield missing(name, labels, each.rows, convention, why)
            continue
        around = Interval(*interval, _CHANCE) if interval is not None else None
        yield sampled(name, labels, value, each.rows, convention, around, open=why)
    if each.p is None:
        yield missing("model_feature_p_value", labels, each.rows, _P, why)
    else:
        yield exact("model_feature_p_value", labels, each.p, each.rows, _P)
    if each.verdict == "insufficient_evidence":
        yield missing("model_feature_drift", labels, each.rows, _VERDICT, why)
    else:
        yield exact("model_feature_drift", labels, float(each.verdict == "drift"), each.rows, _VERDICT)
