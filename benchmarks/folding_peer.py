"""In the environment `returns`: what a Sharpe ratio, a drawdown and a volatility take when recomputed per event.

Prints, for quantstats and empyrical: name, seconds per event. The series is a year of daily returns, which is short.
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import pandas as pd

DAYS = 252
EVENTS = 15


def main() -> None:
    warnings.simplefilter("ignore")
    import empyrical
    import quantstats.stats

    days = pd.date_range("2024-01-01", periods=DAYS, freq="B")
    returns = pd.Series(np.random.default_rng(7).normal(0.0005, 0.01, DAYS), index=days)

    def by_empyrical() -> None:
        empyrical.sharpe_ratio(returns)
        empyrical.max_drawdown(returns)
        empyrical.annual_volatility(returns)

    def by_quantstats() -> None:
        quantstats.stats.sharpe(returns)
        quantstats.stats.max_drawdown(returns)
        quantstats.stats.volatility(returns)
        quantstats.stats.profit_factor(returns)
        quantstats.stats.win_rate(returns)

    for name, recompute in (("empyrical", by_empyrical), ("quantstats", by_quantstats)):
        recompute()
        taken = []
        for _ in range(EVENTS):
            began = time.perf_counter()
            recompute()
            taken.append(time.perf_counter() - began)
        print(name, statistics.median(taken))


main()
