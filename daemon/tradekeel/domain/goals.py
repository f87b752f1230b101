"""What may be looked for: figures of the report, each with the direction in which it is better.

The words are those of ``docs/performance.md``. A figure that is undefined is None, and a trial of which it is has failed: it is
neither good nor bad.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ZERO
from tradekeel.domain.performance_report import FallFigures, PerformanceReport

Figure = Decimal | int | None


class Goal(Struct, frozen=True):
    """One figure."""

    name: str
    rises: bool  # more of it is better
    of: Callable[[PerformanceReport], Figure]


def _fall(report: PerformanceReport, fall: FallFigures | None, of: Callable[[FallFigures], Figure]) -> Figure:
    """A fall's figure; zero where equity was seen and never fell."""
    if fall is not None:
        return of(fall)
    return ZERO if report.equity is not None else None


_RISES: dict[str, Callable[[PerformanceReport], Figure]] = {
    "total_pnl": lambda r: r.returns.total_pnl,
    "total_return_percent": lambda r: r.returns.total_return_percent,
    "cagr_percent": lambda r: r.returns.cagr_percent,
    "sharpe": lambda r: r.returns.sharpe,
    "sortino": lambda r: r.returns.sortino,
    "calmar": lambda r: r.returns.calmar,
    "omega": lambda r: r.returns.omega,
    "recovery_factor": lambda r: r.returns.recovery_factor,
    "tail_ratio": lambda r: r.returns.tail_ratio,
    "value_at_risk_percent": lambda r: r.returns.value_at_risk_percent,
    "expected_shortfall_percent": lambda r: r.returns.expected_shortfall_percent,
    "pnl": lambda r: r.trades.pnl,
    "win_rate": lambda r: r.trades.win_rate,
    "profit_factor": lambda r: r.trades.profit_factor,
    "expectancy": lambda r: r.trades.expectancy,
    "payoff": lambda r: r.trades.payoff,
    "sqn": lambda r: r.trades.sqn,
    "kelly": lambda r: r.trades.kelly,
    "worst": lambda r: r.trades.worst,
}

_FALLS: dict[str, Callable[[PerformanceReport], Figure]] = {
    "max_drawdown": lambda r: _fall(r, r.drawdown.deepest, lambda fall: fall.value),
    "max_drawdown_percent": lambda r: _fall(r, r.drawdown.steepest, lambda fall: fall.percent),
    "volatility_percent": lambda r: r.returns.volatility_percent,
    "ulcer_index_percent": lambda r: r.returns.ulcer_index_percent,
    "under_water_percent": lambda r: r.drawdown.under_water_percent,
    "exposure_percent": lambda r: r.exposure_percent,
    "turnover_ratio": lambda r: r.costs.turnover_ratio,
    "fees": lambda r: r.costs.fees,
    "longest_losing": lambda r: r.streaks.longest_losing,
}

GOALS: dict[str, Goal] = {
    name: Goal(name, rises, of) for rises, figures in ((True, _RISES), (False, _FALLS)) for name, of in figures.items()
}
"""All goals by their names."""

SHOWN = ("total_return_percent", "sharpe", "max_drawdown_percent", "pnl", "profit_factor", "win_rate")
"""Figures that are kept of each trial beside what it was tried for."""


def figures_of(report: PerformanceReport, names: tuple[str, ...]) -> dict[str, Figure]:
    """The figures of these names."""
    return {name: GOALS[name].of(report) for name in dict.fromkeys(names)}
