"""From the tracker's state to the report: sums are divided and roots taken here, once, with 100 digits, and rounded by name."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from tradekeel.domain import performance_days as formulas
from tradekeel.domain.money import ONE, WORKING, ZERO, Rounding, divide
from tradekeel.domain.performance_days import HUNDRED, PERIODS, Curve, Day, Fall
from tradekeel.domain.performance_report import (
    CostFigures,
    DayFigure,
    DrawdownFigures,
    FallFigures,
    GroupFigures,
    MarketFigures,
    PerformanceReport,
    PeriodFigures,
    PeriodGroups,
    ReturnFigures,
    StreakFigures,
    TradeGroups,
)
from tradekeel.domain.performance_state import PerformanceState
from tradekeel.domain.performance_trades import SUMS, DayTrades, GroupSums, TradeLog
from tradekeel.domain.positions import COST_STEP

Period = tuple[list[Day], list[DayTrades]]
"""The days of a period on which equity was observed, and those on which trades closed."""


def make_report(state: PerformanceState, mids: Mapping[str, Decimal]) -> PerformanceReport:
    """Every figure; ``mids`` are the middles of the latest quotes. Changes nothing."""
    log = state.log.settled()
    curve = state.curve
    span_ns = 0 if curve.first_ns is None else curve.last_ns - curve.first_ns
    drawdown = _drawdown(curve, span_ns)
    return PerformanceReport(
        ticks=state.ticks,
        first_ns=curve.first_ns,
        last_ns=None if curve.first_ns is None else curve.last_ns,
        balance=state.balance,
        equity=state.equity,
        total_trades=state.trades.total,
        earlier_trades=state.earlier_trades,
        earlier_days=state.earlier_days,
        days_a_year=state.days_a_year,
        exposure_percent=_exposure(state, span_ns),
        returns=_returns(state, span_ns, drawdown),
        drawdown=drawdown,
        trades=group_figures(log.total),
        streaks=StreakFigures(
            longest_winning=log.streaks.winning, longest_losing=log.streaks.losing, current=log.streaks.run
        ),
        costs=_costs(state),
        market=_market(state.first_mids, mids),
        groups=_groups(log),
        periods=_periods(_rows(state, log)),
    )


# --- trades -------------------------------------------------------------------------------------------------------------


def group_figures(sums: GroupSums) -> GroupFigures:
    """The figures of one group, its extremes settled."""
    n, winning, losing = sums.count, sums.winning, sums.losing
    pnl = SUMS.add(sums.profit, sums.loss)
    payoff = _payoff(sums) if winning and losing else None
    return GroupFigures(
        count=n,
        winning=winning,
        losing=losing,
        win_rate=formulas.ratio(winning, n),
        pnl=pnl,
        gross_profit=sums.profit,
        gross_loss=sums.loss,
        profit_factor=formulas.ratio(sums.profit, -sums.loss),
        expectancy=_average(pnl, n),
        average_win=_average(sums.profit, winning),
        average_loss=_average(sums.loss, losing),
        payoff=None if payoff is None else formulas.shown(payoff),
        best=sums.best,
        worst=sums.worst,
        sqn=_sqn(n, pnl, sums.squares),
        kelly=_kelly(winning, losing, payoff),
        average_win_ns=_average_ns(sums.winning_ns, sums.winning_timed),
        average_loss_ns=_average_ns(sums.losing_ns, sums.losing_timed),
        fees=sums.fees,
        slippage_cost=sums.slippage,
    )


def _payoff(sums: GroupSums) -> Decimal:
    won = WORKING.multiply(sums.profit, Decimal(sums.losing))
    return WORKING.divide(won, WORKING.multiply(-sums.loss, Decimal(sums.winning)))


def _average(total: Decimal, count: int) -> Decimal | None:
    return divide(total, Decimal(count), COST_STEP, Rounding.DISPLAY) if count else None


def _average_ns(total_ns: int, count: int) -> int | None:
    return int(divide(Decimal(total_ns), Decimal(count), ONE, Rounding.DISPLAY)) if count else None


def _sqn(n: int, total: Decimal, squares: Decimal) -> Decimal | None:
    if n < 2:
        return None
    with decimal.localcontext(WORKING):
        spread = n * squares - total * total  # n(n-1) times the sample variance
        # mean / stdev * sqrt(n), squared, is a fraction of exact sums: one root at the end.
        return None if spread <= ZERO else formulas.shown((total * total * (n - 1) / spread).sqrt().copy_sign(total))


def _kelly(winning: int, losing: int, payoff: Decimal | None) -> Decimal | None:
    if payoff is None:
        return None
    with decimal.localcontext(WORKING):
        share = Decimal(winning) / (winning + losing)
        return formulas.shown(share - (ONE - share) / payoff)


def _groups(log: TradeLog) -> TradeGroups:
    groups = log.groups
    return TradeGroups(
        by_strategy=_each(groups.strategy),
        by_instrument=_each(groups.instrument),
        by_side=_each(groups.side),
        by_session=_each(groups.session),
        by_tag=_each(groups.tag),
        by_exit_reason=_each(groups.reason),
    )


def _each(sums: Mapping[str, GroupSums]) -> dict[str, GroupFigures]:
    return {key: group_figures(sums[key]) for key in sorted(sums)}


# --- equity -------------------------------------------------------------------------------------------------------------


def _returns(state: PerformanceState, span_ns: int, drawdown: DrawdownFigures) -> ReturnFigures:
    sums, days_a_year = state.returns, state.days_a_year
    finished = [(day, row) for day, row in sorted(state.days.items()) if row.gain is not None]
    gains = [row.gain for _, row in finished if row.gain is not None]
    so_far = _today(state)
    factor = formulas.growth(gains if so_far is None or so_far.gain is None else [*gains, so_far.gain])
    annual = formulas.cagr(factor, span_ns)
    seen = state.curve.first_ns is not None
    pnl = _total_pnl(state)
    steepest, deepest = drawdown.steepest, drawdown.deepest
    steep = None if steepest is None else steepest.percent
    return ReturnFigures(
        total_pnl=pnl,
        total_return_percent=formulas.percent(WORKING.subtract(factor, ONE)) if seen else None,
        cagr_percent=formulas.percent(annual),
        volatility_percent=formulas.percent(formulas.volatility(sums.count, sums.total, sums.squares, days_a_year)),
        sharpe=formulas.sharpe(sums.count, sums.total, sums.squares, days_a_year),
        sortino=formulas.sortino(gains, days_a_year),
        calmar=None if annual is None or not steep else formulas.ratio(WORKING.multiply(annual, HUNDRED), steep),
        omega=formulas.omega(gains),
        recovery_factor=None if pnl is None or deepest is None else formulas.ratio(pnl, deepest.value),
        ulcer_index_percent=formulas.ulcer_index(gains),
        value_at_risk_percent=formulas.percent(formulas.value_at_risk(gains)),
        expected_shortfall_percent=formulas.percent(formulas.expected_shortfall(gains)),
        tail_ratio=formulas.tail_ratio(gains),
        days=sums.count,
        winning_days=sum(gain > ZERO for gain in gains),
        losing_days=sum(gain < ZERO for gain in gains),
        best_day=_extreme(finished, 1),
        worst_day=_extreme(finished, -1),
    )


def _total_pnl(state: PerformanceState) -> Decimal | None:
    if state.equity is None:
        return None
    return SUMS.subtract(SUMS.subtract(state.equity, state.curve.first_equity), state.curve.funds)


def _today(state: PerformanceState) -> Day | None:
    """What the day that is not over has come to so far."""
    returns, equity = state.returns, state.equity
    if returns.day is None or equity is None:
        return None
    earned = SUMS.subtract(SUMS.subtract(equity, returns.day_deposits), returns.day_start_equity)
    start = returns.day_start_equity
    gain = divide(earned, start, formulas.RETURN_STEP, Rounding.DISPLAY) if start > ZERO else None
    return Day(earned, gain)


def _rows(state: PerformanceState, log: TradeLog) -> list[tuple[date, Day | None, DayTrades | None]]:
    """All days, oldest first, with the one that is not over: what they came to, and the trades that closed in them."""
    days = dict(state.days)
    today, day = _today(state), state.returns.day
    if today is not None and day is not None:
        days[day.toordinal()] = today
    return [
        (date.fromordinal(ordinal), days.get(ordinal), log.days.get(ordinal)) for ordinal in sorted({*days, *log.days})
    ]


def _extreme(finished: Iterable[tuple[int, Day]], sign: int) -> DayFigure | None:
    found: tuple[Decimal, int, Day] | None = None
    for ordinal, row in finished:
        if row.gain is not None and (found is None or row.gain * sign > found[0]):
            found = (row.gain * sign, ordinal, row)
    if found is None or found[2].gain is None:
        return None
    _, ordinal, row = found
    share = formulas.percent(row.gain)
    assert share is not None
    return DayFigure(day=date.fromordinal(ordinal), return_percent=share, earned=row.earned)


def _drawdown(curve: Curve, span_ns: int) -> DrawdownFigures:
    deepest, steepest = curve.worst()
    if curve.shares is not None:
        steepest = curve.shares.worst()
    present_ns = 0
    if curve.fall is not None and curve.fall.peak_ns is not None:
        present_ns = curve.last_ns - curve.fall.peak_ns
    under_ns = curve.under_water_ns + present_ns
    seen = curve.first_ns is not None
    return DrawdownFigures(
        deepest=_fall(deepest, curve.last_ns),
        steepest=_fall(steepest, curve.last_ns),
        longest_ns=max(curve.longest_ns, present_ns) if seen else None,
        under_water_ns=under_ns if seen else None,
        under_water_percent=_share_of_time(under_ns, span_ns),
    )


def _fall(fall: Fall | None, last_ns: int) -> FallFigures | None:
    if fall is None:
        return None
    until_ns = last_ns if fall.recovered_ns is None else fall.recovered_ns
    return FallFigures(
        value=fall.value,
        percent=formulas.ratio(WORKING.multiply(fall.value, HUNDRED), fall.peak) if fall.peak > ZERO else None,
        peak_ns=fall.peak_ns,
        trough_ns=fall.trough_ns,
        recovered_ns=fall.recovered_ns,
        duration_ns=None if fall.peak_ns is None else until_ns - fall.peak_ns,
    )


def _share_of_time(part_ns: int, span_ns: int) -> Decimal | None:
    return formulas.ratio(part_ns * 100, span_ns)


def _exposure(state: PerformanceState, span_ns: int) -> Decimal | None:
    exposure = state.exposure
    held_ns = exposure.held_ns
    if exposure.since_ns is not None:
        held_ns += max(state.curve.last_ns - exposure.since_ns, 0)
    return _share_of_time(min(held_ns, span_ns), span_ns)


def _costs(state: PerformanceState) -> CostFigures:
    costs, returns = state.costs, state.returns
    mean = WORKING.divide(returns.starts_sum, Decimal(returns.starts)) if returns.starts else ZERO
    return CostFigures(
        fees=costs.fees,
        financing=costs.financing,
        slippage_cost=costs.slippage if costs.fills > costs.unpriced else None,
        fills=costs.fills,
        fills_unpriced=costs.unpriced,
        turnover=costs.turnover,
        turnover_ratio=formulas.ratio(costs.turnover, mean) if mean > ZERO else None,
    )


def _market(first: Mapping[str, Decimal], last: Mapping[str, Decimal]) -> MarketFigures:
    changes = {
        symbol: WORKING.subtract(WORKING.divide(last[symbol], first[symbol]), ONE)
        for symbol in sorted(first)
        if symbol in last and first[symbol] > ZERO
    }
    with decimal.localcontext(WORKING):
        mean = sum(changes.values(), ZERO) / len(changes) if changes else None
        return MarketFigures(
            change_percent={symbol: formulas.shown(change * HUNDRED) for symbol, change in changes.items()},
            buy_and_hold_percent=formulas.percent(mean),
        )


# --- periods ------------------------------------------------------------------------------------------------------------


def _periods(rows: list[tuple[date, Day | None, DayTrades | None]]) -> PeriodGroups:
    together: dict[str, dict[str, Period]] = {kind: {} for kind in PERIODS}
    for day, row, trades in rows:
        for kind, name in PERIODS.items():
            days, results = together[kind].setdefault(name(day), ([], []))
            if row is not None:
                days.append(row)
            if trades is not None:
                results.append(trades)
    weekdays = together["weekday"]
    together["weekday"] = {name: weekdays[name] for name in formulas.WEEKDAYS if name in weekdays}
    made = {kind: {name: _period(*found[name]) for name in found} for kind, found in together.items()}
    return PeriodGroups(
        by_day=made["day"],
        by_week=made["week"],
        by_month=made["month"],
        by_year=made["year"],
        by_weekday=made["weekday"],
    )


def _period(days: list[Day], trades: list[DayTrades]) -> PeriodFigures:
    gains = [day.gain for day in days if day.gain is not None]
    count, winning = sum(day.count for day in trades), sum(day.winning for day in trades)
    with decimal.localcontext(SUMS):
        profit, loss = sum((day.profit for day in trades), ZERO), sum((day.loss for day in trades), ZERO)
        earned = sum((day.earned for day in days), ZERO)
        pnl = profit + loss
        fees = [day.fees for day in trades if day.fees is not None]
        paid = sum(fees, ZERO) if len(fees) == len(trades) else None
    return PeriodFigures(
        days=len(days),
        return_percent=formulas.percent(WORKING.subtract(formulas.growth(gains), ONE)) if gains else None,
        earned=earned if days else None,
        trades=count,
        winning=winning,
        losing=sum(day.losing for day in trades),
        win_rate=formulas.ratio(winning, count),
        pnl=pnl,
        profit_factor=formulas.ratio(profit, -loss),
        fees=paid,
    )
