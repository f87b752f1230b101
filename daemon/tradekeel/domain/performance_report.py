"""The report of a run: every figure as a field, with its formula and its source. ``docs/performance.md`` has the table of them.

Amounts are in account currency and exact; averages are rounded to twelve digits, ratios and percentages to six. Times are UTC
nanoseconds, durations nanoseconds. What is undefined is None. Days are trading days, which begin at 17:00 in New York.

A report goes to JSON by ``msgspec.json.encode(report)``: decimals as text, every digit of them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from msgspec import Struct


class GroupFigures(Struct, frozen=True, kw_only=True):
    """Figures of the closed trades of a group, or of all: net of fees and financing, in account currency.

    A trade wins above zero and loses below; one that broke even is in the count only. ``quantstats`` has most of these over
    daily returns; here they are over trades, as traders use the words.
    """

    count: int
    winning: int
    losing: int
    win_rate: Decimal | None
    """``winning / count``, 0 to 1."""
    pnl: Decimal
    gross_profit: Decimal
    """Sum of what winners brought."""
    gross_loss: Decimal
    """Sum of what losers cost, zero or below."""
    profit_factor: Decimal | None
    """``gross_profit / -gross_loss``. R. Pardo, "The Evaluation and Optimization of Trading Strategies", 2nd edition (2008).
    None where nothing was lost."""
    expectancy: Decimal | None
    """``pnl / count``: what a trade brings on average. V. Tharp, "Trade Your Way to Financial Freedom", 2nd edition (2007), as an
    amount and not in units of risk."""
    average_win: Decimal | None
    average_loss: Decimal | None
    """Of winners, and of losers: below zero."""
    payoff: Decimal | None
    """``average_win / -average_loss``. None without winners or without losers."""
    best: Decimal | None
    worst: Decimal | None
    """The largest and the smallest result of one trade, whichever sign it has."""
    sqn: Decimal | None
    """System quality number, ``sqrt(n) * mean / stdev`` of the trades' results, the sample deviation (n - 1). V. Tharp, "The
    Definitive Guide to Position Sizing" (2008), who takes results in units of risk and caps n at 100: neither is done here,
    since not every trade has a stop. None of fewer than two trades, or where all brought the same."""
    kelly: Decimal | None
    """``p - (1 - p) / payoff`` with ``p = winning / (winning + losing)``: the share of the account that maximises the growth
    of its logarithm. J. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal 35 (1956);
    ``quantstats.stats.kelly_criterion``. None where payoff is."""
    average_win_ns: int | None
    average_loss_ns: int | None
    """How long winners, and losers, were held: from the first fill of the entry to the last of the exit."""
    fees: Decimal
    slippage_cost: Decimal | None
    """Of these trades' fills, where a price had been seen before: see :class:`CostFigures`. None where none was for any."""


class StreakFigures(Struct, frozen=True, kw_only=True):
    """Trades in a row, in the order in which they closed; one that broke even ends either."""

    longest_winning: int
    longest_losing: int
    current: int
    """Winners above zero, losers below."""


class DayFigure(Struct, frozen=True, kw_only=True):
    """One trading day that is over."""

    day: date
    return_percent: Decimal
    earned: Decimal


class PeriodFigures(Struct, frozen=True, kw_only=True):
    """What a day, week, month, year or weekday came to. Trades count in the period of their exit."""

    days: int
    """Trading days on which equity was observed."""
    return_percent: Decimal | None
    """``(1 + r1)(1 + r2)… - 1`` of its days. None without any."""
    earned: Decimal | None
    """Change of the account's equity, movements of funds excluded, open trades included. None without such a day."""
    trades: int
    winning: int
    losing: int
    win_rate: Decimal | None
    pnl: Decimal
    """Of its closed trades."""
    profit_factor: Decimal | None
    fees: Decimal | None
    """Of its closed trades. None where an earlier version has counted any of them, which kept no fees by day."""


class FallFigures(Struct, frozen=True, kw_only=True):
    """A fall of the equity from its peak. Measured at the moments at which equity is observed, not from day to day."""

    value: Decimal
    """``peak - trough``, above zero."""
    percent: Decimal | None
    """``value`` of the peak's equity; None where that was not above zero."""
    peak_ns: int | None
    """The last time at the peak; None if an earlier version measured the fall."""
    trough_ns: int | None
    recovered_ns: int | None
    """The first time at the peak again; None as long as it has not been."""
    duration_ns: int | None
    """From the peak until it was reached again, or until the last observation."""


class DrawdownFigures(Struct, frozen=True, kw_only=True):
    """How far, and how long, equity was below its peak. M. Magdon-Ismail and A. Atiya, "Maximum Drawdown", Risk 17 (2004)."""

    deepest: FallFigures | None
    """The largest by value. Funds that come or go move its peak by their amount."""
    steepest: FallFigures | None
    """The largest in percent of its peak, by shares of the account: see :class:`~tradekeel.domain.performance_days.Shares` on
    funds that come or go. ``quantstats.stats.max_drawdown`` has it over daily returns, and negative."""
    longest_ns: int | None
    """The longest time from a peak until it was reached again, the present one included. None before any equity was seen."""
    under_water_ns: int | None
    """The sum of all these times; likewise."""
    under_water_percent: Decimal | None
    """The same of the time from the first observation to the last."""


class ReturnFigures(Struct, frozen=True, kw_only=True):
    """Figures of the account's returns. Those of daily returns look at trading days that are over."""

    total_pnl: Decimal | None
    """Equity less what it was first, less funds moved since: closed and open trades, fees and financing."""
    total_return_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.growth` less one, with the day that is not over yet."""
    cagr_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.cagr` from the first observation to the last."""
    volatility_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.volatility`, annualised."""
    sharpe: Decimal | None
    """:func:`~tradekeel.domain.performance_days.sharpe`, annualised."""
    sortino: Decimal | None
    """:func:`~tradekeel.domain.performance_days.sortino`, annualised."""
    calmar: Decimal | None
    """``cagr_percent`` over the percent of the steepest fall, over the whole run. T. Young, "Calmar Ratio: A Smoother Tool",
    Futures 20 (1991), who takes the last 36 months; ``quantstats.stats.calmar``. None without a fall."""
    omega: Decimal | None
    """:func:`~tradekeel.domain.performance_days.omega`."""
    recovery_factor: Decimal | None
    """``total_pnl`` over the value of the deepest fall. None without a fall."""
    ulcer_index_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.ulcer_index`."""
    value_at_risk_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.value_at_risk`: a day's, at 95 percent; below zero is a loss."""
    expected_shortfall_percent: Decimal | None
    """:func:`~tradekeel.domain.performance_days.expected_shortfall`: CVaR, likewise."""
    tail_ratio: Decimal | None
    """:func:`~tradekeel.domain.performance_days.tail_ratio`."""
    days: int
    """Trading days that are over and have a return."""
    winning_days: int
    losing_days: int
    best_day: DayFigure | None
    worst_day: DayFigure | None
    """By return; of two that are alike the earlier."""


class CostFigures(Struct, frozen=True, kw_only=True):
    """What trading cost, over all fills, also those of open trades."""

    fees: Decimal
    financing: Decimal
    """Above zero is income."""
    slippage_cost: Decimal | None
    """Sum of ``(price - seen) * quantity * rate`` in the adverse direction; below zero is improvement. Of a market order, seen is
    the touch at the tick of its decision: the best ask for what was bought, the best bid for what was sold, whatever size stood
    there. Of limit and stop orders it is their own price. So it has what the price moved by until the fill, what the size at the
    touch did not cover, and what the venue added; it has no part of the spread, and nothing of what was never filled. A. Perold,
    "The Implementation Shortfall", Journal of Portfolio Management 14 (1988), who measures from the middle at the decision and
    counts what was not filled, too. None where no fill has such a price."""
    fills: int
    fills_unpriced: int
    """Fills of orders for which no price had been seen: their slippage is not known, and is in no sum."""
    turnover: Decimal
    """Sum of ``quantity * price * rate`` over all fills, entries and exits."""
    turnover_ratio: Decimal | None
    """``turnover`` over the mean equity at the beginning of the trading days. Not annualised."""


class MarketFigures(Struct, frozen=True, kw_only=True):
    """What the market did meanwhile, without costs and conversion: every instrument that the account's feed quotes."""

    change_percent: dict[str, Decimal]
    """By instrument: the middle of its last quote over that of its first, less one."""
    buy_and_hold_percent: Decimal | None
    """Their mean: an equal stake in each, bought once and held. None without quotes."""


class TradeGroups(Struct, frozen=True, kw_only=True):
    """The closed trades by what they are. ``""`` stands for none; a hundred of a kind at most, then ``(other)``.

    A trade is in the group of each of its tags: those add up to more than all. A session is that of its entry.
    """

    by_strategy: dict[str, GroupFigures]
    by_instrument: dict[str, GroupFigures]
    by_side: dict[str, GroupFigures]
    by_session: dict[str, GroupFigures]
    by_tag: dict[str, GroupFigures]
    by_exit_reason: dict[str, GroupFigures]


class PeriodGroups(Struct, frozen=True, kw_only=True):
    """The run by time: days as ``2026-01-31``, weeks as ``2026-W05`` (ISO 8601), months ``2026-01``, years ``2026``, weekdays."""

    by_day: dict[str, PeriodFigures]
    by_week: dict[str, PeriodFigures]
    by_month: dict[str, PeriodFigures]
    by_year: dict[str, PeriodFigures]
    by_weekday: dict[str, PeriodFigures]


class PerformanceReport(Struct, frozen=True, kw_only=True):
    """See the module.

    ``earlier_trades`` and ``earlier_days`` were counted by an earlier version, which kept less of them: they are in
    ``total_trades``, ``volatility_percent``, ``sharpe`` and ``days``, and in nothing else.
    """

    ticks: int
    first_ns: int | None
    last_ns: int | None
    balance: Decimal
    equity: Decimal | None
    total_trades: int
    earlier_trades: int
    earlier_days: int
    days_a_year: int
    """What volatility, Sharpe and Sortino ratio are annualised with: 252, or 365 where a market of the account never closes, or
    what the configuration says."""
    exposure_percent: Decimal | None
    """The share of the time from the first observation to the last, weekends included, in which any position was held."""
    returns: ReturnFigures
    drawdown: DrawdownFigures
    trades: GroupFigures
    streaks: StreakFigures
    costs: CostFigures
    market: MarketFigures
    groups: TradeGroups
    periods: PeriodGroups
