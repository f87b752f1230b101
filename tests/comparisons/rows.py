"""Which figures are compared, and why those that differ do: a formula on either side, and a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.comparisons import formulas as f
from tests.comparisons.curve import Curve

Figures = Mapping[str, float]
"""The other program's, by name."""

Formula = Callable[[Curve], float]

RATIO_STEP = 1e-6
AVERAGE_STEP = 1e-12
HUNDRED = 100.0
NEAR = 1e-9
"""How far two programs may be apart that compute the same with floats, of the larger of the value and 1."""

TAIL_DAYS_MIN = 20


@dataclass(frozen=True)
class Explanation:
    """Why a figure differs: what ours is and what theirs is, each as a formula, and the difference between them in words."""

    ours: Formula
    theirs: Formula
    why: str


@dataclass(frozen=True)
class Row:
    """A figure of ours, the other's name of it, and how far ours is rounded."""

    figure: str
    path: str
    theirs: str
    per: float = 1.0  # ours is so many times the other's unit
    step: float = RATIO_STEP
    because: Explanation | None = None
    tail: Formula | None = None  # below TAIL_DAYS_MIN days ours is undefined, and theirs is this

    def ours(self, curve: Curve) -> float | None:
        """Ours, in the other's unit."""
        value = curve.ours(self.path)
        return None if value is None else value / self.per


@dataclass(frozen=True)
class Verdict:
    """How a figure compares. ``status`` is same, explained or UNEXPLAINED."""

    figure: str
    ours: float | None
    theirs: float
    status: str
    why: str = ""

    @property
    def difference(self) -> float | None:
        """Theirs less ours."""
        return None if self.ours is None or math.isnan(self.theirs) else self.theirs - self.ours


def judge(curve: Curve, theirs: Figures) -> Iterator[Verdict]:
    """Every figure that both have."""
    for row in (*ROWS, *period_rows(curve)):
        yield verdict(row, curve, theirs[row.theirs])


def verdict(row: Row, curve: Curve, theirs: float) -> Verdict:
    """How one figure compares."""
    ours = row.ours(curve)
    because = row.because
    if ours is None and row.tail is not None and len(curve.days) < TAIL_DAYS_MIN:
        holds = is_near(theirs, row.tail(curve))
        why = f"ours is undefined below {TAIL_DAYS_MIN} days"
        return Verdict(row.figure, ours, theirs, "explained" if holds else "UNEXPLAINED", why)
    if because is not None:
        holds = is_near(ours, because.ours(curve), row) and is_near(theirs, because.theirs(curve))
        return Verdict(row.figure, ours, theirs, "explained" if holds else "UNEXPLAINED", because.why)
    if ours is None or math.isnan(theirs):
        return Verdict(row.figure, ours, theirs, "same" if ours is None and math.isnan(theirs) else "UNEXPLAINED")
    return Verdict(row.figure, ours, theirs, "same" if is_near(ours, theirs, row) else "UNEXPLAINED")


def is_near(one: float | None, other: float, row: Row | None = None) -> bool:
    """The same but for what floats lose, and for half of the last digit that a row's figure is rounded to."""
    if one is None:
        return False
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    rounding = 0.0 if row is None else row.step / abs(row.per) / 2
    return abs(one - other) <= rounding + NEAR * max(1.0, abs(other))


# --- explained ------------------------------------------------------------------------------------------------------------


def _deepest(curve: Curve) -> f.Fall:
    return f.steepest(f.of_shares(curve))


def _deepest_of_days(curve: Curve) -> f.Fall:
    return f.steepest(f.of_days(curve))


def _listed(curve: Curve, figure: Callable[[f.Fall], float]) -> float:
    """A figure of the steepest of the falls that theirs lists."""
    found = f.listed(curve)
    return figure(f.steepest(found)) if found else math.nan


RETURN = Explanation(
    f.total_return, lambda c: f.grown(c.gains), "ours has the present day, theirs the days that are over"
)
GROWTH = Explanation(
    f.cagr, f.cagr_by_count, "ours by the calendar (365.25 days), theirs by days counted over the days of a year"
)
FALL = Explanation(
    lambda c: -_deepest(c).depth,
    lambda c: -_deepest_of_days(c).depth,
    "ours at every moment at which equity is looked at, theirs at the ends of days",
)
CALMAR = Explanation(
    lambda c: f.cagr(c) / _deepest(c).depth,
    lambda c: f.cagr_by_count(c) / _deepest_of_days(c).depth,
    "the CAGR and the drawdown of either",
)
RECOVERY = Explanation(
    lambda c: f.total_pnl(c) / max(fall.value for fall in f.observed(c)),
    lambda c: abs(sum(c.gains)) / _deepest_of_days(c).depth,
    "ours in money, theirs the sum of daily returns over their drawdown, without its sign",
)
ULCER = Explanation(
    lambda c: f.ulcer(c.gains, len(c.gains)), lambda c: f.ulcer(c.gains, len(c.gains) - 1), "theirs divides by n - 1"
)
EXPOSURE = Explanation(
    f.time_held,
    lambda c: math.ceil(HUNDRED * sum(gain != 0 for gain in c.gains) / len(c.gains)) / HUNDRED,
    "ours of the time, theirs of the days: those with a return that is not zero, rounded up to a percent",
)
EXPECTANCY = Explanation(
    lambda c: sum(c.results) / len(c.results),
    lambda c: sum(c.results) / sum(result != 0 for result in c.results),
    "ours over all trades, theirs without those that broke even",
)
WIN_RATE = Explanation(
    lambda c: f.win_rate(c.results, with_even=True),
    lambda c: f.win_rate(c.results, with_even=False),
    "ours over all trades, theirs without those that broke even",
)
NOT_FOUND = "; theirs lists no fall that begins on the first day and is not over"
PEAK = Explanation(
    lambda c: f.at_ns(c, _deepest(c).peak) / f.DAY_NS,
    lambda c: _listed(c, lambda fall: f.day_number(c, fall.peak + 1)),
    f"ours the last moment at the peak, theirs the first day that ended below it{NOT_FOUND}",
)
TROUGH = Explanation(
    lambda c: f.at_ns(c, _deepest(c).trough) / f.DAY_NS,
    lambda c: _listed(c, lambda fall: f.day_number(c, fall.trough)),
    f"ours the moment, theirs the day that ended lowest{NOT_FOUND}",
)
DURATION = Explanation(
    lambda c: f.lasted_ns(c, _deepest(c)) / f.DAY_NS,
    lambda c: _listed(c, lambda fall: f.days_under_water(c, fall)),
    f"ours from peak to peak, theirs from the first day below it to the last, both counted{NOT_FOUND}",
)
LONGEST = Explanation(
    f.longest_observed,
    lambda c: max((f.days_under_water(c, fall) for fall in f.listed(c)), default=math.nan),
    DURATION.why,
)
NORMAL_VAR = Explanation(
    lambda c: f.historical_var(c.gains),
    lambda c: f.normal_var(c.gains),
    "ours of the returns, theirs of a normal distribution",
)
NORMAL_CVAR = Explanation(lambda c: f.historical_cvar(c.gains), lambda c: f.normal_cvar(c.gains), NORMAL_VAR.why)


def over_days(
    formula: Callable[[list[float]], float], ours: Callable[[list[float]], float] | None = None
) -> Explanation:
    """The same word over trades, and over days."""
    return Explanation(
        lambda c: (ours or formula)(c.results), lambda c: formula(c.gains), "ours of trades, theirs of daily returns"
    )


def _rate(results: list[float]) -> float:
    return f.win_rate(results, with_even=False)


def _rate_with_even(results: list[float]) -> float:
    return f.win_rate(results, with_even=True)


ROWS = (
    Row("total return", "returns.total_return_percent", "comp", per=HUNDRED, because=RETURN),
    Row("CAGR", "returns.cagr_percent", "cagr", per=HUNDRED, because=GROWTH),
    Row("volatility", "returns.volatility_percent", "volatility", per=HUNDRED),
    Row("Sharpe", "returns.sharpe", "sharpe"),
    Row("Sortino", "returns.sortino", "sortino"),
    Row("Calmar", "returns.calmar", "calmar", because=CALMAR),
    Row("Omega", "returns.omega", "omega"),
    Row("recovery factor", "returns.recovery_factor", "recovery_factor", because=RECOVERY),
    Row("ulcer index", "returns.ulcer_index_percent", "ulcer_index", per=HUNDRED, because=ULCER),
    Row(
        *("VaR", "returns.value_at_risk_percent", "value_at_risk"),
        per=HUNDRED,
        because=NORMAL_VAR,
        tail=NORMAL_VAR.theirs,
    ),
    Row(
        "CVaR", "returns.expected_shortfall_percent", "cvar", per=HUNDRED, because=NORMAL_CVAR, tail=NORMAL_CVAR.theirs
    ),
    Row(
        *("CVaR, historical", "returns.expected_shortfall_percent", "cvar historical"),
        per=HUNDRED,
        tail=NORMAL_CVAR.ours,
    ),
    Row("tail ratio", "returns.tail_ratio", "tail_ratio", tail=lambda c: f.tail_ratio(c.gains)),
    Row("best day", "returns.best_day.return_percent", "best of days", per=HUNDRED),
    Row("worst day", "returns.worst_day.return_percent", "worst of days", per=HUNDRED),
    Row("max drawdown", "drawdown.steepest.percent", "max_drawdown", per=-HUNDRED, because=FALL),
    Row("drawdown from", "drawdown.steepest.peak_ns", "drawdown start", per=f.DAY_NS, because=PEAK),
    Row("drawdown lowest", "drawdown.steepest.trough_ns", "drawdown valley", per=f.DAY_NS, because=TROUGH),
    Row("drawdown for, days", "drawdown.steepest.duration_ns", "drawdown days", per=f.DAY_NS, because=DURATION),
    Row("longest drawdown, days", "drawdown.longest_ns", "longest drawdown", per=f.DAY_NS, because=LONGEST),
    Row("exposure", "exposure_percent", "exposure", per=HUNDRED, because=EXPOSURE),
    Row("win rate", "trades.win_rate", "win_rate of trades", because=WIN_RATE),
    Row("profit factor", "trades.profit_factor", "profit_factor of trades"),
    Row("payoff", "trades.payoff", "payoff_ratio of trades"),
    Row("Kelly", "trades.kelly", "kelly_criterion of trades"),
    Row("expectancy", "trades.expectancy", "avg_return of trades", step=AVERAGE_STEP, because=EXPECTANCY),
    Row("average win", "trades.average_win", "avg_win of trades", step=AVERAGE_STEP),
    Row("average loss", "trades.average_loss", "avg_loss of trades", step=AVERAGE_STEP),
    Row("best trade", "trades.best", "best of trades", step=0),
    Row("worst trade", "trades.worst", "worst of trades", step=0),
    Row("SQN", "trades.sqn", "sqn"),
    Row("longest winning streak", "streaks.longest_winning", "consecutive_wins of trades", step=0),
    Row("longest losing streak", "streaks.longest_losing", "consecutive_losses of trades", step=0),
    Row("win rate, of days", "trades.win_rate", "win_rate of days", because=over_days(_rate, _rate_with_even)),
    Row("profit factor, of days", "trades.profit_factor", "profit_factor of days", because=over_days(f.profit_factor)),
    Row("payoff, of days", "trades.payoff", "payoff_ratio of days", because=over_days(f.payoff)),
    Row("Kelly, of days", "trades.kelly", "kelly_criterion of days", because=over_days(f.kelly)),
    Row(
        *("winning streak, of days", "streaks.longest_winning", "consecutive_wins of days"),
        step=0,
        because=over_days(lambda results: f.longest_run(results, 1)),
    ),
    Row(
        *("losing streak, of days", "streaks.longest_losing", "consecutive_losses of days"),
        step=0,
        because=over_days(lambda results: f.longest_run(results, -1)),
    ),
)


def period_rows(curve: Curve) -> Iterator[Row]:
    """Months and years in which a day is over. The last ones have the present day in ours."""
    for kind, length in (("month", len("2014-05")), ("year", len("2014"))):
        for name in sorted({day[:length] for day, _ in curve.days}):
            path = f"periods.by_{kind}.{name}.return_percent"
            is_present = name == curve.present_day[:length]
            because = _with_present_day(name) if is_present else None
            yield Row(f"{kind} {name}", path, f"{kind} {name}", per=HUNDRED, because=because)


def _with_present_day(name: str) -> Explanation:
    def gains(curve: Curve) -> list[float]:
        return [float(gain) for day, gain in curve.days if day.startswith(name)]

    return Explanation(lambda c: f.grown([*gains(c), float(c.today)]), lambda c: f.grown(gains(c)), RETURN.why)
