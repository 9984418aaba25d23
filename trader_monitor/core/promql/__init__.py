"""PromQL over our series: text is compiled to a plan, a plan is evaluated at any times over any source.

The language is Prometheus 3's: windows are open on the left, metric names are dropped at once. Native histograms
and what Prometheus calls experimental are refused by name (the `*_over_time` functions and sorting by label
excepted, which are here).
"""

from __future__ import annotations

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.plan import Instant, Matrix, Plan, compile, series_matchers

__all__ = ["Instant", "Matcher", "Matrix", "Plan", "PromQLError", "compile", "series_matchers"]
