"""What quantstats and empyrical-reloaded say of random daily returns, as JSON, in the environment `returns`.

Reads lists of returns from the file that its argument names; prints a list of what is said of each.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import quantstats.stats as quantstats

RISK_FREE = 0.03


def said(returns: list[float]) -> dict[str, dict[str, float]]:
    """Both libraries by the convention that the daemon has; losses as they give them."""
    array = np.array(returns)
    series = pd.Series(array, index=pd.date_range("2020-01-01", periods=len(array)))
    daily = (1.0 + RISK_FREE) ** (1.0 / 252) - 1.0
    return {
        "empyrical": {
            "sharpe": empyrical.sharpe_ratio(array, risk_free=daily, annualization=252),
            "sortino": empyrical.sortino_ratio(array, required_return=daily, annualization=252),
            "calmar": empyrical.calmar_ratio(array, annualization=252),
            "volatility": empyrical.annual_volatility(array, annualization=252),
            "cagr": empyrical.annual_return(array, annualization=252),
            "drawdown": empyrical.max_drawdown(array),
            "var95_historical": empyrical.value_at_risk(array, 0.05),
            "var99_historical": empyrical.value_at_risk(array, 0.01),
            "cvar95_historical": empyrical.conditional_value_at_risk(array, 0.05),
            "cvar99_historical": empyrical.conditional_value_at_risk(array, 0.01),
        },
        "quantstats": {
            "sharpe": quantstats.sharpe(series, rf=RISK_FREE, periods=252),
            "sortino": quantstats.sortino(series, rf=RISK_FREE, periods=252),
            "calmar": quantstats.calmar(series),
            "volatility": quantstats.volatility(series, periods=252),
            "cagr": quantstats.cagr(series, periods=252),
            "drawdown": quantstats.max_drawdown(series),
            "best": quantstats.best(series),
            "worst": quantstats.worst(series),
            "var95_normal": quantstats.value_at_risk(series, confidence=0.95),
            "var99_normal": quantstats.value_at_risk(series, confidence=0.99),
            "cvar95_normal": quantstats.cvar(series, confidence=0.95),
            "cvar99_normal": quantstats.cvar(series, confidence=0.99),
        },
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([said(returns) for returns in json.loads(Path(sys.argv[1]).read_text())], default=float))
