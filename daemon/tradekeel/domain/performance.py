"""Performance figures, computed as things happen: the same live, on paper and in a backtest.

The tracker is told of ticks, equity and closed trades, and keeps running sums only: its size does not grow with the
history, telling it costs microseconds, and its whole state is one small Struct that is saved and taken up again. Sums are
exact, so neither the order in which trades close nor a restart in between changes a digit. What is undefined is None and
never 0: no win rate without trades, no Sharpe ratio of a single day.

**When equity is observed is part of the figure.** The drawdown and the daily returns see the equity at the moments the
tracker is told of it. To be the same in every world those moments must follow from what happened and not from how ticks
were batched: fills, closed trades, and the ticks on which a trading day begins are such moments.
"""

from __future__ import annotations

import decimal
from datetime import date, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

from tradekeel.domain.money import LEDGER, ONE, PRECISION, WORKING, ZERO, Rounding, divide, round_to
from tradekeel.domain.rows import MetricsCheckpoint, PerformanceSnapshot
from tradekeel.domain.sessions import trading_day, trading_day_start_ns
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import Defect

RETURN_STEP = Decimal("1e-12")
"""Grid of a daily return: the squares of returns then have 24 decimals and their sums stay exact."""

RATIO_STEP = Decimal("0.000001")
"""Grid of every ratio that is shown."""

TRADING_DAYS_A_YEAR = 252
"""The convention for markets that rest at the weekend; 365 where trading never stops."""

# Ratios and squares have more digits than amounts: exact still, with twice the room.
_SUMS = decimal.Context(
    prec=2 * PRECISION,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Inexact],
)


class TradeSums(Struct):
    """Sums over closed trades."""

    total: int = 0
    winning: int = 0
    losing: int = 0
    pnl: Decimal = ZERO
    risk_reward_count: int = 0
    risk_reward_sum: Decimal = ZERO


class ReturnSums(Struct):
    """Sums over daily returns, and the day that is not over yet."""

    day: date | None = None
    day_ends_ns: int = 0
    day_start_equity: Decimal = ZERO
    day_deposits: Decimal = ZERO
    count: int = 0
    total: Decimal = ZERO
    squares: Decimal = ZERO


class PerformanceState(Struct):
    """Everything the tracker knows. ``version`` changes when fields change their meaning."""

    version: int = 1
    ticks: int = 0
    balance: Decimal = ZERO
    equity: Decimal | None = None
    peak_equity: Decimal | None = None
    max_drawdown: Decimal = ZERO
    max_drawdown_peak: Decimal | None = None
    trades: TradeSums = msgspec.field(default_factory=TradeSums)
    returns: ReturnSums = msgspec.field(default_factory=ReturnSums)


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(PerformanceState)


class PerformanceTracker:
    """See the module. Amounts are in account currency, times in UTC nanoseconds."""

    def __init__(self, state: PerformanceState | None = None, days_a_year: int = TRADING_DAYS_A_YEAR) -> None:
        self.state = state if state is not None else PerformanceState()
        self.days_a_year = days_a_year

    # --- what happened ---------------------------------------------------------------------------------------------------

    def ticks_processed(self, count: int = 1) -> None:
        """So many more ticks went by."""
        self.state.ticks += count

    def balance_changed(self, balance: Decimal) -> None:
        """The account's balance after a booking."""
        self.state.balance = balance

    def funds_moved(self, amount: Decimal) -> None:
        """A deposit, or with a minus a withdrawal: it moves the marks, so that it is neither profit nor loss."""
        state = self.state
        state.returns.day_deposits = LEDGER.add(state.returns.day_deposits, amount)
        if state.equity is not None and state.peak_equity is not None:
            state.equity = LEDGER.add(state.equity, amount)
            state.peak_equity = LEDGER.add(state.peak_equity, amount)

    def equity_observed(self, equity: Decimal, ts_ns: int) -> None:
        """The account's equity at a time, ascending: see the module on when."""
        state = self.state
        if ts_ns >= state.returns.day_ends_ns:
            self._roll_day(equity, ts_ns)
        state.equity = equity
        if state.peak_equity is None or equity > state.peak_equity:
            state.peak_equity = equity
            return
        fall = LEDGER.subtract(state.peak_equity, equity)
        if fall > state.max_drawdown:
            state.max_drawdown, state.max_drawdown_peak = fall, state.peak_equity

    def trade_closed(self, trade: Trade) -> None:
        """A trade reached CLOSED: it counts with everything booked on it."""
        self._count(trade, 1)

    def trade_reopened(self, closed: Trade) -> None:
        """A late fill opened a closed trade again: ``closed`` as it was counted is taken back, to the last digit."""
        self._count(closed, -1)

    def _count(self, trade: Trade, times: int) -> None:
        if trade.status is not TradeStatus.CLOSED:
            raise Defect(f"trade {trade.trade_id} is {trade.status}: only closed trades are counted")
        sums = self.state.trades
        with decimal.localcontext(_SUMS):
            pnl, ratio = trade.pnl, trade.risk_reward_ratio
            sums.total += times
            sums.winning += times * (pnl > ZERO)
            sums.losing += times * (pnl < ZERO)
            sums.pnl += times * pnl
            if ratio is not None:
                sums.risk_reward_count += times
                sums.risk_reward_sum += times * ratio

    def _roll_day(self, equity: Decimal, ts_ns: int) -> None:
        """A trading day begins with ``equity``, the first seen in it, which is also what the day before came to."""
        returns = self.state.returns
        if returns.day is not None and returns.day_start_equity > ZERO:
            with decimal.localcontext(_SUMS):
                earned = equity - returns.day_deposits - returns.day_start_equity
                gain = divide(earned, returns.day_start_equity, RETURN_STEP, Rounding.DISPLAY)
                returns.count += 1
                returns.total += gain
                returns.squares += gain * gain
        returns.day = trading_day(ts_ns)
        returns.day_ends_ns = trading_day_start_ns(returns.day + timedelta(days=1))
        returns.day_start_equity = equity
        returns.day_deposits = ZERO

    # --- figures ---------------------------------------------------------------------------------------------------------

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades over all closed trades, 0 to 1; trades that broke even are in the total only. None without trades."""
        sums = self.state.trades
        return _ratio(Decimal(sums.winning), Decimal(sums.total))

    @property
    def average_risk_reward(self) -> Decimal | None:
        """Mean of target distance over stop distance of the closed trades that had both; None if none had."""
        sums = self.state.trades
        return _ratio(sums.risk_reward_sum, Decimal(sums.risk_reward_count))

    @property
    def sharpe(self) -> Decimal | None:
        """Annualised Sharpe ratio of daily returns; None before two days are over, or if all days were the same.

        ``mean(r) / stdev(r) * sqrt(days a year)``, where ``r`` is a finished trading day's return, deposits excluded, from
        the first equity seen in it to the first seen in the next, ``stdev`` the sample deviation (n - 1), and the riskless
        rate is zero. W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994); the square root assumes
        independent days (A. Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal 58, 2002). Days without
        observations are no days.
        """
        sums = self.state.returns
        if sums.count < 2:
            return None
        n, total = Decimal(sums.count), sums.total
        with decimal.localcontext(WORKING):
            spread = n * sums.squares - total * total  # n(n-1) times the variance, exactly
            if spread <= ZERO:
                return None
            # The square of the ratio, (total/n)^2 / (spread/n(n-1)) * days, is a fraction of exact sums: one root at the end.
            magnitude = (total * total * (n - ONE) * self.days_a_year / (n * spread)).sqrt()
            return round_to(magnitude.copy_sign(total), RATIO_STEP, Rounding.DISPLAY)

    @property
    def max_drawdown_percent(self) -> Decimal | None:
        """The largest fall of equity in percent of the peak it fell from; None before equity was seen."""
        state = self.state
        if state.equity is None:
            return None
        peak = state.max_drawdown_peak
        return ZERO if peak is None else _ratio(WORKING.multiply(state.max_drawdown, Decimal(100)), peak)

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
        """The state as bytes."""
        return _ENCODER.encode(self.state)

    def checkpoint(self, execution: str, ts_ns: int) -> MetricsCheckpoint:
        """The state as a row."""
        return MetricsCheckpoint(execution=execution, ts_ns=ts_ns, data=self.save())

    @staticmethod
    def load(data: bytes, days_a_year: int = TRADING_DAYS_A_YEAR) -> PerformanceTracker:
        """The tracker from :meth:`save`; raises ``msgspec`` errors on anything else."""
        return PerformanceTracker(_DECODER.decode(data), days_a_year)


def _ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """``part / whole`` for people, or None where there is nothing to divide by."""
    return divide(part, whole, RATIO_STEP, Rounding.DISPLAY) if whole else None
