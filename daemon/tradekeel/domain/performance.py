"""Performance figures, computed as things happen: the same live, on paper and in a backtest.

The tracker is told of ticks, equity, fills and closed trades, and keeps running sums, a row a trading day and the last
closings: see :mod:`~tradekeel.domain.performance_state` for how large that gets. Telling it costs microseconds, and its whole
state is one Struct that is saved and taken up again. Sums are exact, so neither the order in which trades close nor a restart
in between changes a digit. What is undefined is None and never 0: no win rate without trades, no Sharpe ratio of a single
day.

**When equity is observed is part of the figure.** The drawdown and the daily returns see the equity at the moments the
tracker is told of it. To be the same in every world those moments must follow from what happened and not from how ticks
were batched: the first tick of a run, fills, financing, the ticks on which a trading day begins, and while anything is held the
first tick of each five minutes of the market's time are such moments. What the equity was in between, nobody has looked.

    performance_trades   sums over closed trades and groups of them, and the last closings, which may be taken back
    performance_days     daily returns, falls of the equity, and the formulas over them
    performance_state    all of it as one Struct, its versions
    performance_report   every figure as a field, with its formula and source
    performance_figures  how they are made from the state, when somebody asks
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from tradekeel.domain import performance_days as formulas
from tradekeel.domain import performance_state as states
from tradekeel.domain.money import LEDGER, ZERO, Rounding, divide
from tradekeel.domain.performance_days import RETURN_STEP, Day
from tradekeel.domain.performance_figures import make_report
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.performance_state import PerformanceState
from tradekeel.domain.performance_trades import SUMS, closing_of, net_of, risk_reward
from tradekeel.domain.positions import Quote
from tradekeel.domain.rows import MetricsCheckpoint, PerformanceSnapshot
from tradekeel.domain.sessions import trading_day, trading_day_start_ns
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import Defect

__all__ = ["PerformanceReport", "PerformanceState", "PerformanceTracker"]

_CLOSED = TradeStatus.CLOSED
_HALF = Decimal("0.5")


class PerformanceTracker:
    """See the module. Amounts are in account currency, times in UTC nanoseconds.

    ``days_a_year`` is what ratios are annualised with, also those of days before now; None: what the state says.
    """

    def __init__(self, state: PerformanceState | None = None, days_a_year: int | None = None) -> None:
        self.state = states.upgraded(state) if state is not None else PerformanceState()
        if days_a_year is not None:
            self.state.days_a_year = days_a_year
        self._exit_day = 0  # the trading day that was looked up last, and from when to when it is
        self._exit_from_ns = self._exit_to_ns = 0

    # --- what happened ---------------------------------------------------------------------------------------------------

    def ticks_processed(self, count: int = 1) -> None:
        """So many more ticks went by."""
        self.state.ticks += count

    def quote_seen(self, instrument: str, bid: Decimal, ask: Decimal) -> None:
        """A quote; the first of an instrument is what its market is measured from."""
        if instrument not in self.state.first_mids:
            self.state.first_mids[instrument] = middle(bid, ask)

    def balance_changed(self, balance: Decimal) -> None:
        """The account's balance after a booking."""
        self.state.balance = balance

    def funds_moved(self, amount: Decimal) -> None:
        """A deposit, or with a minus a withdrawal: it moves the marks, so that it is neither profit nor loss."""
        state = self.state
        state.returns.day_deposits = LEDGER.add(state.returns.day_deposits, amount)
        if state.equity is not None and state.peak_equity is not None:
            if state.curve.first_ns is not None:
                state.curve.funds_moved(state.equity, state.peak_equity, amount)
            state.equity = LEDGER.add(state.equity, amount)
            state.peak_equity = LEDGER.add(state.peak_equity, amount)

    def financed(self, amount: Decimal) -> None:
        """What holding positions over night cost, or with a plus brought."""
        self.state.costs.financing = LEDGER.add(self.state.costs.financing, amount)

    def fill_booked(self, notional: Decimal, fee: Decimal, *, priced: bool) -> None:
        """A fill: quantity times price in account currency, its fee, and whether the price that was seen before is known."""
        costs = self.state.costs
        costs.fills += 1
        costs.unpriced += not priced
        costs.turnover = SUMS.add(costs.turnover, notional)
        costs.fees = SUMS.add(costs.fees, fee)

    def trade_slipped(self, trade_id: str, cost: Decimal) -> None:
        """A trade's part of a fill was so much dearer than the price that was seen, or with a minus cheaper, or just that."""
        costs = self.state.costs
        costs.slippage = SUMS.add(costs.slippage, cost)
        costs.of_open[trade_id] = SUMS.add(costs.of_open.get(trade_id, ZERO), cost)

    def positions_held(self, held: bool, ts_ns: int) -> None:
        """Whether anything is held from this time on."""
        exposure = self.state.exposure
        if exposure.since_ns is not None:
            if not held:
                exposure.held_ns += max(ts_ns - exposure.since_ns, 0)
                exposure.since_ns = None
        elif held:
            exposure.since_ns = ts_ns

    def equity_observed(self, equity: Decimal, ts_ns: int) -> None:
        """The account's equity at a time, ascending: see the module on when."""
        state = self.state
        if ts_ns >= state.returns.day_ends_ns:
            self._roll_day(equity, ts_ns)
        curve = state.curve
        if curve.first_ns is None:
            curve.first_ns, curve.first_equity = ts_ns, equity
        if ts_ns > curve.last_ns:
            curve.last_ns = ts_ns
        else:
            ts_ns = curve.last_ns  # news on a live feed has our clock's time and ticks have the venue's
        state.equity = equity
        if curve.shares is not None:
            curve.shares.observe(equity, ts_ns)
        peak = state.peak_equity
        if peak is None or equity >= peak:
            state.peak_equity = equity
            curve.rises(ts_ns)
            return
        fall = LEDGER.subtract(peak, equity)
        curve.falls(fall, peak, ts_ns)
        if fall > state.max_drawdown:
            state.max_drawdown, state.max_drawdown_peak = fall, peak

    def trade_closed(self, trade: Trade) -> None:
        """A trade reached CLOSED: it counts with everything booked on it."""
        if trade.status is not _CLOSED:
            raise Defect(f"trade {trade.trade_id} is {trade.status}: only closed trades are counted")
        state = self.state
        before = decimal.getcontext()
        decimal.setcontext(SUMS)
        try:
            slippage = state.costs.of_open.pop(trade.trade_id, None)
            closing = closing_of(trade, slippage, self._day_of(trade.exit_time_ns))
            state.log.add(trade.trade_id, closing)
            self._total(closing.pnl, closing.risk_reward, 1)
        finally:
            decimal.setcontext(before)

    def trade_reopened(self, closed: Trade) -> None:
        """A late fill opened a closed trade again: ``closed`` as it was counted is taken back, to the last digit.

        One that an earlier version had counted is taken back from the totals, which is all that it is in. One that was never
        counted, because the figures were begun anew behind an archive, changes nothing.
        """
        if closed.status is not _CLOSED:
            raise Defect(f"trade {closed.trade_id} is {closed.status}: only closed trades are counted")
        state = self.state
        before = decimal.getcontext()
        decimal.setcontext(SUMS)
        try:
            counted = state.log.take(closed.trade_id)
            if counted is not None:
                self._total(counted.pnl, counted.risk_reward, -1)
                if counted.slippage is not None:
                    of_open = state.costs.of_open
                    of_open[closed.trade_id] = of_open.get(closed.trade_id, ZERO) + counted.slippage
            elif state.earlier_trades:
                state.earlier_trades -= 1
                self._total(net_of(closed), risk_reward(closed), -1)
        finally:
            decimal.setcontext(before)

    def _total(self, pnl: Decimal, ratio: Decimal | None, times: int) -> None:
        sums = self.state.trades
        sums.total += times
        if pnl > ZERO:
            sums.winning += times
        elif pnl:
            sums.losing += times
        sums.pnl += pnl if times > 0 else -pnl
        if ratio is not None:
            sums.risk_reward_count += times
            sums.risk_reward_sum += ratio if times > 0 else -ratio

    def _day_of(self, ts_ns: int | None) -> int | None:
        """The ordinal of the trading day. Neighbours are asked for the same one, and looking it up costs the most."""
        if ts_ns is None:
            return None
        if not self._exit_from_ns <= ts_ns < self._exit_to_ns:
            day = trading_day(ts_ns)
            self._exit_day = day.toordinal()
            self._exit_from_ns = trading_day_start_ns(day)
            self._exit_to_ns = trading_day_start_ns(day + timedelta(days=1))
        return self._exit_day

    def _roll_day(self, equity: Decimal, ts_ns: int) -> None:
        """A trading day begins with ``equity``, the first seen in it, which is also what the day before came to."""
        state = self.state
        returns = state.returns
        with decimal.localcontext(SUMS):
            if returns.day is not None:
                self._end_day(returns.day.toordinal(), equity)
            returns.starts += 1
            returns.starts_sum += equity
        returns.day = trading_day(ts_ns)
        returns.day_ends_ns = trading_day_start_ns(returns.day + timedelta(days=1))
        returns.day_start_equity = equity
        returns.day_deposits = ZERO

    def _end_day(self, ordinal: int, equity: Decimal) -> None:
        returns, gain = self.state.returns, None
        earned = equity - returns.day_deposits - returns.day_start_equity
        if returns.day_start_equity > ZERO:
            gain = divide(earned, returns.day_start_equity, RETURN_STEP, Rounding.DISPLAY)
            returns.count += 1
            returns.total += gain
            returns.squares += gain * gain
        self.state.days[ordinal] = Day(earned, gain)

    # --- figures ---------------------------------------------------------------------------------------------------------

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades over all closed trades, 0 to 1; trades that broke even are in the total only. None without trades."""
        sums = self.state.trades
        return formulas.ratio(sums.winning, sums.total)

    @property
    def average_risk_reward(self) -> Decimal | None:
        """Mean of target distance over stop distance of the closed trades that had both; None if none had."""
        sums = self.state.trades
        return formulas.ratio(sums.risk_reward_sum, sums.risk_reward_count)

    @property
    def sharpe(self) -> Decimal | None:
        """Annualised Sharpe ratio of daily returns; None before two days are over, or if all days were the same.

        See :func:`~tradekeel.domain.performance_days.sharpe`. A return is that of a finished trading day, deposits excluded, from
        the first equity seen in it to the first seen in the next. Days without observations are no days.
        """
        sums = self.state.returns
        return formulas.sharpe(sums.count, sums.total, sums.squares, self.state.days_a_year)

    def report(self, quotes: Mapping[str, Quote] | None = None) -> PerformanceReport:
        """Every figure as of now; ``quotes`` are the latest of each instrument, for what the market did meanwhile.

        It goes through all days and the last closings: some five milliseconds, and as many for each year. Nothing is changed.
        """
        mids = {instrument: middle(quote.bid, quote.ask) for instrument, quote in (quotes or {}).items()}
        return make_report(self.state, mids)

    def snapshot(
        self, execution: str, ts_ns: int, session: str | None = None, parameter_mode: str | None = None
    ) -> PerformanceSnapshot:
        """The figures as a row. ``max_drawdown`` is the largest fall of equity below its peak, as an amount."""
        state, sums = self.state, self.state.trades
        return PerformanceSnapshot(
            execution=execution,
            ts_ns=ts_ns,
            total_trades=sums.total,
            winning_trades=sums.winning,
            losing_trades=sums.losing,
            win_rate=self.win_rate,
            pnl=sums.pnl,
            balance=state.balance,
            equity=state.equity if state.equity is not None else state.balance,
            sharpe=self.sharpe,
            max_drawdown=state.max_drawdown,
            average_risk_reward=self.average_risk_reward,
            session=session,
            parameter_mode=parameter_mode,
        )

    # --- saving ----------------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """The whole state as bytes."""
        return states.encode(self.state)

    def checkpoint(self, execution: str, ts_ns: int) -> MetricsCheckpoint:
        """The state as a row: see :func:`~tradekeel.domain.performance_state.for_checkpoint` on what is left out."""
        return MetricsCheckpoint(
            execution=execution, ts_ns=ts_ns, data=states.encode(states.for_checkpoint(self.state))
        )

    @staticmethod
    def load(data: bytes, days_a_year: int | None = None) -> PerformanceTracker:
        """The tracker from :meth:`save` or :meth:`checkpoint`; raises ``msgspec`` errors on anything else."""
        return PerformanceTracker(states.decode(data), days_a_year)


def middle(bid: Decimal, ask: Decimal) -> Decimal:
    """The middle of bid and ask, exactly."""
    return LEDGER.multiply(LEDGER.add(bid, ask), _HALF)
