"""Figures of a curve in a few lines each, with plain floats: what explains why two programs do not say the same.

None of it is used by either. Where a definition differs it stands here twice: as docs/performance.md has it, and with the one
thing changed that quantstats does otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

from tests.comparisons.curve import Curve

DAY_NS = 86_400 * 10**9
YEAR_DAYS = 365.25
TAIL = 0.05
EPOCH = date(1970, 1, 1).toordinal()


class Fall(NamedTuple):
    """A fall below a peak: its depth as a share of the peak, and places in the list that it was found in.

    ``peak`` is the last place at the peak, -1 where the list began there; ``until`` the last place below it.
    """

    depth: float
    value: float
    peak: int
    trough: int
    until: int
    recovered: bool


def grown(gains: Sequence[float]) -> float:
    """The return that daily returns make together."""
    return math.prod(1 + gain for gain in gains) - 1


def levels(gains: Sequence[float]) -> list[float]:
    """What a stake of 1 came to, day by day."""
    found, level = [], 1.0
    for gain in gains:
        level *= 1 + gain
        found.append(level)
    return found


def falls(values: Sequence[float], begins_at: float | None = None, moved: Sequence[float] = ()) -> list[Fall]:
    """Every fall of a list of values; ``moved`` are the funds that came in before each, by which peaks move, too."""
    found: list[Fall] = []
    peak, place, low, trough = (-math.inf if begins_at is None else begins_at), -1, math.inf, -1
    for at, value in enumerate(values):
        more = moved[at] if moved else 0.0
        peak, low = peak + more, low + more
        if value >= peak:
            if low < peak:
                found.append(Fall((peak - low) / peak, peak - low, place, trough, at - 1, recovered=True))
            peak, place, low = value, at, math.inf
        elif value < low:
            low, trough = value, at
    if low < peak:
        found.append(Fall((peak - low) / peak, peak - low, place, trough, len(values) - 1, recovered=False))
    return found


def steepest(found: Sequence[Fall]) -> Fall:
    """The one that is deepest in percent; of equals the first."""
    return max(found, key=lambda fall: fall.depth)


# --- of the equities that were looked at: ours ----------------------------------------------------------------------------


def observed(curve: Curve) -> list[Fall]:
    """The falls of every equity that was looked at, in money. A deposit lifts the peak by its amount."""
    values = [float(equity) for _, equity in curve.equities]
    return falls(values, moved=_moved(curve))


def of_shares(curve: Curve) -> list[Fall]:
    """The same by shares: the price of a unit of the account, of which a deposit buys more at the equity that was seen last."""
    prices, units = [], 1.0
    before = 0.0
    for (_, text), moved in zip(curve.equities, _moved(curve), strict=True):
        if moved:
            units *= (before + moved) / before
        before = float(text)
        prices.append(before / units)
    return falls(prices)


def _moved(curve: Curve) -> list[float]:
    moved = [0.0] * len(curve.equities)
    for before, amount in curve.funds:
        moved[before] += float(amount)
    return moved


def at_ns(curve: Curve, place: int) -> int:
    """When an equity was looked at."""
    return curve.equities[place][0]


def longest_observed(curve: Curve) -> float:
    """The longest time from a peak until it was reached again, in days."""
    return max(lasted_ns(curve, fall) for fall in observed(curve)) / DAY_NS


def lasted_ns(curve: Curve, fall: Fall) -> int:
    """From its peak until that was reached again, or until the last look."""
    return at_ns(curve, fall.until + fall.recovered) - at_ns(curve, fall.peak)


def total_pnl(curve: Curve) -> float:
    """What the equity grew by, without what was paid in."""
    funds = sum(float(amount) for _, amount in curve.funds)
    return float(curve.equities[-1][1]) - float(curve.equities[0][1]) - funds


def total_return(curve: Curve) -> float:
    """With the day that is not over."""
    return grown([*curve.gains, float(curve.today)])


def cagr(curve: Curve) -> float:
    """A year's growth by the calendar."""
    days = (curve.equities[-1][0] - curve.equities[0][0]) / DAY_NS
    return math.pow(1 + total_return(curve), YEAR_DAYS / days) - 1


def time_held(curve: Curve) -> float:
    """The share of the time in which anything was held."""
    held_ns = sum(after - at for (at, held), (after, _) in pairwise(curve.held) if held)
    last_ns, is_held = curve.held[-1]
    held_ns += (curve.equities[-1][0] - last_ns) * is_held
    return held_ns / (curve.equities[-1][0] - curve.equities[0][0])


# --- of daily returns: theirs ---------------------------------------------------------------------------------------------


def of_days(curve: Curve) -> list[Fall]:
    """The falls of what the days that are over came to, the beginning being the first peak."""
    return falls(levels(curve.gains), begins_at=1.0)


def listed(curve: Curve) -> list[Fall]:
    """Those of them that ``drawdown_details`` lists: none where the only one begins on the first day and is not over."""
    found = of_days(curve)
    return [] if len(found) == 1 and found[0].peak == -1 and not found[0].recovered else found


def cagr_by_count(curve: Curve) -> float:
    """Days over the days of a year for the years, without the day that is not over."""
    gains = curve.gains
    return math.pow(1 + grown(gains), curve.days_a_year / len(gains)) - 1


def day_number(curve: Curve, place: int) -> int:
    """The date of a finished day, in days since 1970."""
    return date.fromisoformat(curve.days[place][0]).toordinal() - EPOCH


def days_under_water(curve: Curve, fall: Fall) -> int:
    """Calendar days from the first day below the peak to the last one."""
    return day_number(curve, fall.until) - day_number(curve, fall.peak + 1) + 1


def ulcer(gains: Sequence[float], divisor: int) -> float:
    """The root of the mean square of how far each day ended below the highest end before it."""
    peak, squares = 1.0, 0.0
    for level in levels(gains):
        peak = max(peak, level)
        squares += (1 - level / peak) ** 2
    return math.sqrt(squares / divisor)


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between neighbours."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def historical_var(gains: Sequence[float]) -> float:
    """The return that one day in twenty is below."""
    return quantile(gains, TAIL)


def historical_cvar(gains: Sequence[float]) -> float:
    """The mean of those days."""
    bound = historical_var(gains)
    return fmean(gain for gain in gains if gain <= bound)


def tail_ratio(gains: Sequence[float]) -> float:
    """Good days beside bad ones."""
    return abs(quantile(gains, 1 - TAIL) / quantile(gains, TAIL))


def normal_var(gains: Sequence[float]) -> float:
    """As if returns were normal."""
    return NormalDist(fmean(gains), stdev(gains)).inv_cdf(TAIL)


def normal_cvar(gains: Sequence[float]) -> float:
    """The mean of a normal distribution's tail: mean - stdev * density(quantile) / share."""
    standard = NormalDist()
    return fmean(gains) - stdev(gains) * standard.pdf(standard.inv_cdf(TAIL)) / TAIL


# --- of results, whether of trades or of days -------------------------------------------------------------------------------


def win_rate(results: Sequence[float], *, with_even: bool) -> float:
    """Winners over all, or over those that were not even."""
    won = sum(result > 0 for result in results)
    return won / (len(results) if with_even else sum(result != 0 for result in results))


def mean_win(results: Sequence[float]) -> float:
    """Of those above zero."""
    return fmean(result for result in results if result > 0)


def mean_loss(results: Sequence[float]) -> float:
    """Of those below zero."""
    return fmean(result for result in results if result < 0)


def payoff(results: Sequence[float]) -> float:
    """The mean win over the mean loss."""
    return mean_win(results) / -mean_loss(results)


def kelly(results: Sequence[float]) -> float:
    """The share of the account to stake."""
    won = win_rate(results, with_even=False)
    return won - (1 - won) / payoff(results)


def profit_factor(results: Sequence[float]) -> float:
    """What was won over what was lost."""
    return sum(result for result in results if result > 0) / -sum(result for result in results if result < 0)


def longest_run(results: Sequence[float], sign: int) -> int:
    """The most in a row that are above zero, or with a minus below."""
    return max(_runs(results, sign), default=0)


def _runs(results: Sequence[float], sign: int) -> Iterator[int]:
    run = 0
    for result in results:
        run = run + 1 if result * sign > 0 else 0
        yield run
