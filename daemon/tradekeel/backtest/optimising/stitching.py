"""The out-of-sample parts put together: what somebody would have had who chose anew at the end of each in-sample part.

Returns are chained, since each part begins with the same deposit: ``(1 + r1)(1 + r2)… - 1``. Ratios are made of the daily returns
of all parts, one behind the other; what a part earned on its last day, which was not over, is a day of its own. The fall is that
of the chained curve from day to day, so that a fall within a day is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ONE, WORKING, ZERO
from tradekeel.domain.performance_days import (
    HUNDRED,
    YEAR_NS,
    growth,
    percent,
    ratio,
    sharpe,
    shown,
    sortino,
)
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.sessions import TRADING_DAYS_A_YEAR


class Outcome(Struct, frozen=True, kw_only=True):
    """What one run over a part came to: what is kept of a report. Amounts are in account currency."""

    figures: dict[str, Decimal | int | None]  # by name: the goals, and those that are always shown
    total_return_percent: Decimal | None
    gains: tuple[Decimal, ...]  # of the days that were over, and of the rest, as shares
    trades: int
    winning: int
    losing: int
    pnl: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    span_ns: int  # of the part
    days_a_year: int = TRADING_DAYS_A_YEAR  # that its ratios are annualised with


def outcome_of(report: PerformanceReport, figures: dict[str, Decimal | int | None], span_ns: int) -> Outcome:
    """What is kept of a report."""
    gains = [
        WORKING.divide(each.return_percent, HUNDRED)
        for each in report.periods.by_day.values()
        if each.return_percent is not None
    ]
    total = report.returns.total_return_percent
    if total is not None:
        factor = WORKING.add(ONE, WORKING.divide(total, HUNDRED))
        days = growth(gains)
        if days > ZERO and factor > ZERO:
            rest = shown(WORKING.subtract(WORKING.divide(factor, days), ONE))
            gains += [rest] if rest else []
    return Outcome(
        figures=figures,
        total_return_percent=total,
        gains=tuple(gains),
        trades=report.trades.count,
        winning=report.trades.winning,
        losing=report.trades.losing,
        pnl=report.trades.pnl,
        gross_profit=report.trades.gross_profit,
        gross_loss=report.trades.gross_loss,
        span_ns=span_ns,
        days_a_year=report.days_a_year,
    )


class Stitched(Struct, frozen=True, kw_only=True):
    """The figures of several parts together. None is undefined."""

    parts: int
    total_return_percent: Decimal | None
    sharpe: Decimal | None
    sortino: Decimal | None
    max_drawdown_percent: Decimal | None
    """From day to day."""
    trades: int
    win_rate: Decimal | None
    pnl: Decimal
    profit_factor: Decimal | None


def stitched(outcomes: Sequence[Outcome]) -> Stitched:
    """The parts one behind the other; they are of one account."""
    days_a_year = outcomes[0].days_a_year
    gains = [gain for each in outcomes for gain in each.gains]
    total, squares = ZERO, ZERO
    for gain in gains:
        total, squares = WORKING.add(total, gain), WORKING.fma(gain, gain, squares)
    known = [each.total_return_percent for each in outcomes if each.total_return_percent is not None]
    profit = sum((each.gross_profit for each in outcomes), ZERO)
    loss = sum((each.gross_loss for each in outcomes), ZERO)
    trades = sum(each.trades for each in outcomes)
    return Stitched(
        parts=len(outcomes),
        total_return_percent=percent(WORKING.subtract(growth([WORKING.divide(each, HUNDRED) for each in known]), ONE))
        if known
        else None,
        sharpe=sharpe(len(gains), total, squares, days_a_year),
        sortino=sortino(gains, days_a_year),
        max_drawdown_percent=_fall(gains),
        trades=trades,
        win_rate=ratio(sum(each.winning for each in outcomes), trades),
        pnl=sum((each.pnl for each in outcomes), ZERO),
        profit_factor=ratio(profit, -loss),
    )


def _fall(gains: Sequence[Decimal]) -> Decimal | None:
    if not gains:
        return None
    value = peak = ONE
    worst = ZERO
    for gain in gains:
        value = WORKING.multiply(value, WORKING.add(ONE, gain))
        peak = max(peak, value)
        worst = max(worst, WORKING.subtract(ONE, WORKING.divide(value, peak)))
    return percent(worst)


def kept(inside: Decimal | int | None, outside: Decimal | int | None) -> Decimal | None:
    """The share of an in-sample figure that was left out of sample. None where either is undefined, or that is not above zero."""
    if inside is None or outside is None or inside <= 0:
        return None
    return ratio(Decimal(outside), Decimal(inside))


def efficiency(inside: Sequence[Outcome], outside: Sequence[Outcome]) -> Decimal | None:
    """Walk-forward efficiency: the return a year out of sample over that in sample, the sums of all parts, not compounded.

    R. Pardo, "The Evaluation and Optimization of Trading Strategies", 2nd edition (2008), chapter 11. None where nothing was
    earned in sample.
    """
    within, without = _a_year(inside), _a_year(outside)
    return None if within is None or without is None or within <= ZERO else ratio(without, within)


def _a_year(outcomes: Sequence[Outcome]) -> Decimal | None:
    known = [each for each in outcomes if each.total_return_percent is not None]
    span_ns = sum(each.span_ns for each in known)
    if not span_ns:
        return None
    earned = sum((each.total_return_percent for each in known if each.total_return_percent is not None), ZERO)
    return WORKING.divide(WORKING.multiply(earned, Decimal(YEAR_NS)), Decimal(span_ns))
