"""What performance keeps of the equity: one row a trading day, the mark it falls from, and what follows from the rows.

Every function here is a formula over the list of daily returns ``r``, oldest first. A return is the share by which a trading
day's equity grew, movements of funds excluded, on the grid of :data:`RETURN_STEP`. Powers, roots and quotients are computed at
the end, with 100 digits, and rounded to :data:`RATIO_STEP` by :attr:`~tradekeel.domain.money.Rounding.DISPLAY`; until then
everything is exact. What is undefined is None: what has no days, or would be divided by zero.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from tradekeel.domain.money import LEDGER, ONE, WORKING, ZERO, Rounding, divide, round_to
from tradekeel.domain.sessions import DAY_NS

RETURN_STEP = Decimal("1e-12")
"""Grid of a daily return: the squares of returns then have 24 decimals and their sums stay exact."""

RATIO_STEP = Decimal("0.000001")
"""Grid of every ratio that is shown."""

YEAR_NS = DAY_NS * 1461 // 4
"""365.25 days: the mean length of a calendar year, by which growth is annualised."""

GROWTH_SPAN_MIN_NS = DAY_NS
"""Growth over less than a day is not annualised: the power would say more of the moment than of the trading."""

TAIL = Decimal("0.05")
"""The share of days that VaR, CVaR and the tail ratio look at, on either end: a confidence of 95 percent."""

TAIL_DAYS_MIN = 20
"""Of fewer days a twentieth is not one: VaR, CVaR and the tail ratio are undefined."""

HUNDRED = Decimal(100)

NOTHING_LEFT = Decimal("1e12")
"""Who has less than so many times less than at the peak has nothing left that funds could be compared with."""


class ReturnSums(Struct):
    """Sums over daily returns, and the day that is not over yet."""

    day: date | None = None
    day_ends_ns: int = 0
    day_start_equity: Decimal = ZERO
    day_deposits: Decimal = ZERO
    count: int = 0
    total: Decimal = ZERO
    squares: Decimal = ZERO
    starts: int = 0  # days that began, and the sum of the equities that they began with
    starts_sum: Decimal = ZERO


class Day(Struct, array_like=True, frozen=True):
    """What one trading day that is over came to."""

    earned: Decimal  # change of equity, movements of funds excluded
    gain: Decimal | None  # as a share of the equity that it began with; None if that was not above zero


class Fall(Struct, array_like=True):
    """A fall of the equity below its peak. Amounts in account currency, times in UTC nanoseconds; ``peak`` as it was then."""

    value: Decimal = ZERO
    peak: Decimal = ZERO
    peak_ns: int | None = None  # the last time that equity was seen at the peak; None: a version before did not say
    trough_ns: int | None = None
    recovered_ns: int | None = None  # the first time that it was seen there again


class Shares(Struct):
    """The way of the equity by shares of it, from the first movement of funds on: before that it is the way of the equity itself.

    The peak is in the money of today. Funds that come or go change it by the share by which they change the equity, as the price
    of a fund's unit stays what it is when somebody buys or sells some (C. Bacon, "Practical Portfolio Performance Measurement and
    Attribution", 2nd edition (2008), chapter 2, on time-weighted returns). Who takes out half in the middle of a fall of 10
    percent has fallen by 10 percent and not by 20, and who pays in does not make a fall less steep.
    """

    peak: Decimal | None
    peak_ns: int | None
    fall: Fall | None = None  # the present one, at its lowest, in the money of then
    steepest: Fall | None = None  # of those that are over

    def move(self, equity: Decimal, amount: Decimal) -> None:
        """Funds came, or with a minus went, at an equity. Where there is nothing to have a share of, the way begins anew."""
        after = WORKING.add(equity, amount)
        peak = self.peak
        if peak is None:
            return
        if equity <= ZERO or after <= ZERO or WORKING.multiply(equity, NOTHING_LEFT) < peak:
            self.steepest, self.fall, self.peak = self.worst(), None, None
            return
        self.peak = divide(WORKING.multiply(peak, after), equity, RETURN_STEP, Rounding.MARK)

    def observe(self, equity: Decimal, ts_ns: int) -> None:
        """The equity at a time."""
        if self.peak is None or equity >= self.peak:
            if self.fall is not None:
                self.fall.recovered_ns = ts_ns
                self.steepest, self.fall = self.worst(), None
            self.peak, self.peak_ns = equity, ts_ns
            return
        present = Fall(WORKING.subtract(self.peak, equity), self.peak, self.peak_ns, ts_ns)
        if self.fall is None or _is_steeper(present, self.fall):
            self.fall = present

    def worst(self) -> Fall | None:
        """The steepest, the present one included; of two that are alike the earlier."""
        fall, steepest = self.fall, self.steepest
        return fall if fall is not None and (steepest is None or _is_steeper(fall, steepest)) else steepest


class Curve(Struct):
    """What is kept of the way of the equity, beside its highest value: see :class:`Fall`."""

    first_ns: int | None = None
    last_ns: int = 0
    peak_ns: int | None = None
    fall: Fall | None = None  # the present one, at its lowest
    deepest: Fall | None = None  # by value
    steepest: Fall | None = None  # in percent of its peak
    longest_ns: int = 0  # of those that are over
    under_water_ns: int = 0  # likewise
    first_equity: Decimal = ZERO
    funds: Decimal = ZERO  # moved since the first equity was seen
    shares: Shares | None = None  # since then; None: nothing was

    def funds_moved(self, equity: Decimal, peak: Decimal, amount: Decimal) -> None:
        """Funds came, or with a minus went, after the first equity was seen; ``equity`` and ``peak`` are those before it."""
        self.funds = LEDGER.add(self.funds, amount)
        if self.shares is None:
            fall = None if self.fall is None else replace(self.fall)
            self.shares = Shares(peak, self.peak_ns, fall, self.steepest)
        self.shares.move(equity, amount)

    def falls(self, fall_value: Decimal, peak: Decimal, ts_ns: int) -> None:
        """Equity is below its peak."""
        fall = self.fall
        if fall is None:
            fall = self.fall = Fall(ZERO, peak, self.peak_ns)
        if fall_value > fall.value:
            fall.value, fall.peak, fall.trough_ns = fall_value, peak, ts_ns

    def rises(self, ts_ns: int) -> None:
        """Equity is at its peak, or makes a new one."""
        fall = self.fall
        if fall is not None:
            fall.recovered_ns = ts_ns
            under_ns = 0 if fall.peak_ns is None else ts_ns - fall.peak_ns
            self.under_water_ns += under_ns
            self.longest_ns = max(self.longest_ns, under_ns)
            self.deepest, self.steepest = self.worst()
            self.fall = None
        self.peak_ns = ts_ns

    def worst(self) -> tuple[Fall | None, Fall | None]:
        """The deepest and the steepest fall by these marks, the present one included; of two that are alike the earlier."""
        fall, deepest, steepest = self.fall, self.deepest, self.steepest
        if fall is None:
            return deepest, steepest
        if deepest is None or fall.value > deepest.value:
            deepest = fall
        if steepest is None or _is_steeper(fall, steepest):
            steepest = fall
        return deepest, steepest


def _is_steeper(one: Fall, other: Fall) -> bool:
    if one.peak <= ZERO or other.peak <= ZERO:  # in percent of nothing: only the amounts can be compared
        return one.value > other.value
    return WORKING.multiply(one.value, other.peak) > WORKING.multiply(other.value, one.peak)


# --- formulas ---------------------------------------------------------------------------------------------------------


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal | None:
    """``part / whole`` for people, or None where there is nothing to divide by."""
    return divide(Decimal(part), Decimal(whole), RATIO_STEP, Rounding.DISPLAY) if whole else None


def percent(share: Decimal | None) -> Decimal | None:
    """A share in percent, rounded as every ratio is."""
    return None if share is None else shown(WORKING.multiply(share, HUNDRED))


def shown(value: Decimal) -> Decimal:
    """A ratio for people."""
    return round_to(value, RATIO_STEP, Rounding.DISPLAY)


def growth(gains: Sequence[Decimal]) -> Decimal:
    """The factor by which a stake grew: ``(1 + r1)(1 + r2)…``, time-weighted, so that deposits and withdrawals do not count.

    With 100 digits, the same for the same returns in the same order. C. Bacon, "Practical Portfolio Performance Measurement and
    Attribution", 2nd edition (2008), chapter 2; ``quantstats.stats.comp`` + 1.
    """
    factor = ONE
    for gain in gains:
        factor = WORKING.multiply(factor, WORKING.add(ONE, gain))
    return factor


def cagr(factor: Decimal, span_ns: int) -> Decimal | None:
    """Compound annual growth rate, as a share: ``factor ** (year / span) - 1``, by calendar time, a year of 365.25 days.

    None over less than :data:`GROWTH_SPAN_MIN_NS`, and where nothing or less is left. ``quantstats.stats.cagr`` takes
    the number of returns over 252 for the years, and so says more or less where days are missing.
    """
    if span_ns < GROWTH_SPAN_MIN_NS or factor <= ZERO:
        return None
    return WORKING.subtract(WORKING.power(factor, WORKING.divide(Decimal(YEAR_NS), Decimal(span_ns))), ONE)


def sharpe(n: int, total: Decimal, squares: Decimal, days_a_year: int) -> Decimal | None:
    """``mean(r) / stdev(r) * sqrt(days a year)`` from ``n``, the sum of ``r`` and the sum of its squares.

    ``stdev`` is the sample deviation (n - 1), and the riskless rate is zero. W. F. Sharpe, "The Sharpe Ratio", Journal of
    Portfolio Management 21 (1994); the square root assumes independent days (A. Lo, "The Statistics of Sharpe Ratios",
    Financial Analysts Journal 58, 2002). None before two days are over, or if all days were the same.
    """
    if n < 2:
        return None
    spread = _spread(n, total, squares)
    if spread <= ZERO:
        return None
    with decimal.localcontext(WORKING):
        # The square of the ratio, (total/n)^2 / (spread/n(n-1)) * days, is a fraction of exact sums: one root at the end.
        magnitude = (total * total * (n - 1) * days_a_year / (n * spread)).sqrt()
        return shown(magnitude.copy_sign(total))


def volatility(n: int, total: Decimal, squares: Decimal, days_a_year: int) -> Decimal | None:
    """``stdev(r) * sqrt(days a year)`` as a share, the sample deviation (n - 1). None before two days are over."""
    if n < 2:
        return None
    with decimal.localcontext(WORKING):
        return (max(_spread(n, total, squares), ZERO) * days_a_year / (n * (n - 1))).sqrt()


def _spread(n: int, total: Decimal, squares: Decimal) -> Decimal:
    """``n (n - 1)`` times the sample variance, exactly."""
    return WORKING.subtract(WORKING.multiply(Decimal(n), squares), WORKING.multiply(total, total))


def sortino(gains: Sequence[Decimal], days_a_year: int) -> Decimal | None:
    """``mean(r) / sqrt(sum(min(r, 0)^2) / n) * sqrt(days a year)``: the downside deviation from zero, over all ``n`` days.

    F. Sortino and L. Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994);
    T. Rollinger and S. Hoffman, "Sortino: A 'Sharper' Ratio" (2013), on why over all days. ``quantstats.stats.sortino``. None
    before two days are over, or if no day lost.
    """
    n = len(gains)
    with decimal.localcontext(WORKING):
        below = sum((r * r for r in gains if r < ZERO), ZERO)
        if n < 2 or not below:
            return None
        total = sum(gains, ZERO)
        return shown((total * total * days_a_year / (n * below)).sqrt().copy_sign(total))


def omega(gains: Sequence[Decimal]) -> Decimal | None:
    """``sum of gains / -(sum of losses)`` over daily returns, with a threshold of zero.

    C. Keating and W. Shadwick, "A Universal Performance Measure", Journal of Performance Measurement 6 (2002);
    ``quantstats.stats.omega``. None if no day lost.
    """
    with decimal.localcontext(WORKING):
        won, lost = sum((r for r in gains if r > ZERO), ZERO), sum((r for r in gains if r < ZERO), ZERO)
        return ratio(won, -lost)


def ulcer_index(gains: Sequence[Decimal]) -> Decimal | None:
    """``sqrt(mean(d^2))`` in percent: ``d`` is how far each day ended below the highest end of a day before it.

    The beginning counts as the first such end. P. Martin and B. McCann, "The Investor's Guide to Fidelity Funds" (1989), who
    divide by n; ``quantstats.stats.ulcer_index`` divides by n - 1. None before a day is over.
    """
    if not gains:
        return None
    factor = peak = ONE
    squares = ZERO
    with decimal.localcontext(WORKING):
        for gain in gains:
            factor *= ONE + gain
            if factor >= peak:
                peak = factor
            else:
                below = ONE - factor / peak
                squares += below * below
        return shown((squares / len(gains)).sqrt() * HUNDRED)


def quantile(ordered: Sequence[Decimal], share: Decimal) -> Decimal:
    """The value below which ``share`` of an ascending list lies, linear between its neighbours.

    R. Hyndman and Y. Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996), their type 7, which is
    the default of numpy.
    """
    at = WORKING.multiply(share, Decimal(len(ordered) - 1))
    index = int(at)
    low, high = ordered[index], ordered[min(index + 1, len(ordered) - 1)]
    return WORKING.add(low, WORKING.multiply(WORKING.subtract(high, low), WORKING.subtract(at, Decimal(index))))


def value_at_risk(gains: Sequence[Decimal]) -> Decimal | None:
    """The return below which one day in twenty ended, as a share; a loss is below zero. Historical, not parametric.

    P. Jorion, "Value at Risk", 3rd edition (2006), chapter 5. ``quantstats.stats.value_at_risk`` takes the quantile of a normal
    distribution instead. None before there are :data:`TAIL_DAYS_MIN` days.
    """
    return quantile(sorted(gains), TAIL) if len(gains) >= TAIL_DAYS_MIN else None


def expected_shortfall(gains: Sequence[Decimal]) -> Decimal | None:
    """CVaR: the mean of the returns that are not above :func:`value_at_risk`, as a share.

    R. Rockafellar and S. Uryasev, "Optimization of Conditional Value-at-Risk", Journal of Risk 2 (2000);
    ``quantstats.stats.cvar`` with ``method="historical"``. None where VaR is.
    """
    bound = value_at_risk(gains)
    if bound is None:
        return None
    tail = [gain for gain in gains if gain <= bound]
    with decimal.localcontext(WORKING):
        return sum(tail, ZERO) / len(tail)


def tail_ratio(gains: Sequence[Decimal]) -> Decimal | None:
    """``|quantile(r, 0.95) / quantile(r, 0.05)|``: how good good days are beside how bad bad ones are.

    ``quantstats.stats.tail_ratio``, from the empyrical library. None before there are :data:`TAIL_DAYS_MIN` days, or if the
    latter is zero.
    """
    if len(gains) < TAIL_DAYS_MIN:
        return None
    ordered = sorted(gains)
    low, high = quantile(ordered, TAIL), quantile(ordered, WORKING.subtract(ONE, TAIL))
    return None if not low else shown(abs(WORKING.divide(high, low)))


# --- days together ------------------------------------------------------------------------------------------------------


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

PERIODS: dict[str, Callable[[date], str]] = {
    "day": date.isoformat,
    "week": _week,  # ISO 8601
    "month": lambda day: f"{day:%Y-%m}",
    "year": lambda day: f"{day.year:04d}",
    "weekday": lambda day: WEEKDAYS[day.weekday()],
}
"""How days are put together: the name of the period that a day belongs to."""
