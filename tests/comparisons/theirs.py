"""What quantstats says of a curve. It runs in an environment of its own, which `make metrics-check` makes."""

from __future__ import annotations

import math
import warnings
from datetime import date
from typing import Any

import pandas as pd
from quantstats import stats

from tests.comparisons.curve import Curve
from tests.comparisons.formulas import EPOCH
from tests.comparisons.rows import Figures

OF_THE_FALL = ("drawdown start", "drawdown valley", "drawdown days", "longest drawdown")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def their_figures(curve: Curve) -> Figures:
    """By the names that :mod:`tests.comparisons.rows` asks for; dates in days since 1970."""
    days = pd.Series(curve.gains, index=pd.to_datetime([day for day, _ in curve.days]), dtype=float)
    # A trade is no day, and the functions count nothing else: any dates do.
    trades = pd.Series(curve.results, index=pd.date_range("2000-01-01", periods=len(curve.results)), dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = of_returns(days, curve.days_a_year) | of_falls(days) | of_results(days, "days")
        found |= of_results(trades, "trades") | of_months(days)
        found["sqn"] = stats.sharpe(trades, periods=len(trades))
    return {name: float(value) for name, value in found.items()}


def of_returns(days: Any, days_a_year: int) -> dict[str, Any]:
    """Figures of the account."""
    return {
        "comp": stats.comp(days),
        "cagr": stats.cagr(days, periods=days_a_year),
        "volatility": stats.volatility(days, periods=days_a_year),
        "sharpe": stats.sharpe(days, periods=days_a_year),
        "sortino": stats.sortino(days, periods=days_a_year),
        "calmar": stats.calmar(days, periods=days_a_year),
        "omega": stats.omega(days, periods=days_a_year),
        "value_at_risk": stats.value_at_risk(days),
        "cvar": stats.cvar(days),
        "cvar historical": stats.cvar(days, method="historical"),
        "tail_ratio": stats.tail_ratio(days),
        "recovery_factor": stats.recovery_factor(days),
        "ulcer_index": stats.ulcer_index(days),
        "exposure": stats.exposure(days),
    }


def of_falls(days: Any) -> dict[str, Any]:
    """Figures of drawdowns, and when the deepest was."""
    details = stats.drawdown_details(stats.to_drawdown_series(days))
    deepest = {"max_drawdown": stats.max_drawdown(days)}
    if details.empty:
        return deepest | dict.fromkeys(OF_THE_FALL, math.nan)
    worst = details.loc[details["max drawdown"].idxmin()]
    return deepest | {
        "drawdown start": _number(worst["start"]),
        "drawdown valley": _number(worst["valley"]),
        "drawdown days": worst["days"],
        "longest drawdown": details["days"].max(),
    }


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal() - EPOCH


def of_results(results: Any, of: str) -> dict[str, Any]:
    """Figures of single results, be they days' or trades'."""
    return {
        f"{name} of {of}": getattr(stats, name)(results)
        for name in (
            *("win_rate", "profit_factor", "payoff_ratio", "kelly_criterion", "best", "worst", "avg_win", "avg_loss"),
            *("avg_return", "consecutive_wins", "consecutive_losses"),
        )
    }


def of_months(days: Any) -> dict[str, Any]:
    """Returns of months and years; of a month without days there is a zero, which is left out."""
    table = stats.monthly_returns(days)
    there = {f"{day:%Y-%m}" for day in days.index}
    months = {
        f"month {year}-{number:02d}": table.loc[year, name]
        for year in table.index
        for number, name in enumerate(MONTHS, start=1)
        if f"{year}-{number:02d}" in there
    }
    return months | {f"year {year}": table.loc[year, "EOY"] for year in table.index}
