"""The formulas over daily returns, each by hand, and where they are undefined."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec
from tradekeel.domain import performance_days as formulas
from tradekeel.domain.performance_days import HUNDRED, YEAR_NS, Curve
from tradekeel.domain.performance_trades import SUMS
from tradekeel.domain.sessions import DAY_NS

gains_lists = st.lists(
    st.decimals(min_value=Decimal("-0.2"), max_value=Decimal("0.2"), places=6), min_size=2, max_size=60
)


def gains(*values: str) -> list[Decimal]:
    return [Decimal(value) for value in values]


def sums(values: list[Decimal]) -> tuple[int, Decimal, Decimal]:
    total = squares = Decimal(0)
    for value in values:
        total, squares = SUMS.add(total, value), SUMS.add(squares, SUMS.multiply(value, value))
    return len(values), total, squares


class TestGrowth:
    def test_compounds(self):
        assert formulas.growth(gains("0.1", "-0.1", "0.5")) == dec("1.485")
        assert formulas.growth([]) == 1

    def test_is_annualised_by_calendar_time(self):
        doubled = formulas.cagr(dec(2), 2 * YEAR_NS)
        assert doubled is not None
        assert float(doubled) == pytest.approx(2**0.5 - 1)
        assert formulas.cagr(dec("1.1"), YEAR_NS) == pytest.approx(dec("0.1"))
        half = formulas.cagr(dec("0.9"), YEAR_NS // 2)
        assert half is not None
        assert float(half) == pytest.approx(-0.19)

    def test_is_not_annualised_over_less_than_a_day_nor_where_nothing_is_left(self):
        assert formulas.cagr(dec("1.1"), DAY_NS - 1) is None
        assert formulas.cagr(dec("1e30"), DAY_NS) is not None
        assert formulas.cagr(dec(0), YEAR_NS) is None
        assert formulas.cagr(dec("-0.5"), YEAR_NS) is None


FOUR = gains("0.01", "-0.02", "0.03", "0.00")


class TestRatiosOfDailyReturns:
    def test_volatility_is_the_sample_deviation_of_a_year(self):
        found = formulas.volatility(*sums(FOUR), 252)
        assert found is not None
        assert float(found) == pytest.approx(statistics.stdev(map(float, FOUR)) * 252**0.5)
        assert formulas.volatility(*sums(FOUR[:1]), 252) is None
        assert formulas.volatility(*sums(gains("0.1", "0.1")), 252) == 0

    def test_sortino_divides_by_the_downside_over_all_days(self):
        found = formulas.sortino(FOUR, 252)  # 0.005 / sqrt(0.0004 / 4) = 0.5
        assert found is not None
        assert float(found) == pytest.approx(0.5 * 252**0.5, abs=1e-6)
        assert formulas.sortino(gains("0.1", "0.2"), 252) is None
        assert formulas.sortino(gains("-0.1"), 252) is None

    def test_omega_is_gains_over_losses(self):
        assert formulas.omega(FOUR) == 2
        assert formulas.omega(gains("0.1")) is None
        assert formulas.omega([]) is None
        assert formulas.omega(gains("-0.1")) == 0

    def test_the_ulcer_index_counts_each_day_below_the_highest(self):
        # 1.1, 0.88 (20 % below), 1.1 (there again), 0.99 (10 % below)
        found = formulas.ulcer_index(gains("0.1", "-0.2", "0.25", "-0.1"))
        assert found is not None
        assert float(found) == pytest.approx(100 * math.sqrt((0.04 + 0.01) / 4), abs=1e-6)
        assert formulas.ulcer_index(gains("-0.1")) == 10, "the beginning is a peak"
        assert formulas.ulcer_index([]) is None

    @given(gains_lists)
    def test_sharpe_and_sortino_equal_the_textbook(self, values):
        floats = [float(value) for value in values]
        spread = statistics.stdev(floats)
        found = formulas.sharpe(*sums(values), 365)
        if found is None:
            assert spread < 1e-9
        else:
            assert float(found) == pytest.approx(statistics.fmean(floats) / spread * 365**0.5, rel=1e-6, abs=2e-6)
        below = math.sqrt(sum(min(value, 0) ** 2 for value in floats) / len(floats))
        ratio = formulas.sortino(values, 365)
        if ratio is None:
            assert below == 0
        else:
            assert float(ratio) == pytest.approx(statistics.fmean(floats) / below * 365**0.5, rel=1e-6, abs=2e-6)


TWENTY_ONE = [Decimal(n) / 100 for n in range(-10, 11)]  # quantiles fall on days: -0.10, -0.09, …


class TestTails:
    def test_are_interpolated_between_neighbours(self):
        ordered = gains("1", "2", "4")
        assert [formulas.quantile(ordered, dec(share)) for share in ("0", "0.25", "0.5", "0.75", "1")] == [
            1,
            dec("1.5"),
            2,
            3,
            4,
        ]
        assert formulas.quantile(gains("7"), dec("0.05")) == 7

    def test_value_at_risk_is_the_return_of_one_day_in_twenty(self):
        assert formulas.value_at_risk(TWENTY_ONE) == dec("-0.09")
        assert formulas.expected_shortfall(TWENTY_ONE) == dec("-0.095")
        assert formulas.tail_ratio(TWENTY_ONE) == 1
        assert formulas.tail_ratio([*TWENTY_ONE[:-2], dec("0.18"), dec("0.18")]) == 2

    def test_of_fewer_than_twenty_days_are_undefined(self):
        few = TWENTY_ONE[:19]
        assert formulas.value_at_risk(few) is formulas.expected_shortfall(few) is formulas.tail_ratio(few) is None
        assert formulas.value_at_risk(TWENTY_ONE[:20]) is not None

    def test_a_ratio_to_nothing_is_undefined(self):
        assert formulas.tail_ratio([dec(0)] * 20) is None

    @given(st.lists(st.decimals(min_value=-1, max_value=1, places=6), min_size=20, max_size=80))
    def test_the_shortfall_is_never_better_than_the_value_at_risk(self, values):
        bound, mean = formulas.value_at_risk(values), formulas.expected_shortfall(values)
        assert bound is not None
        assert mean is not None
        assert min(values) - Decimal("1e-20") <= mean <= bound
        cut = statistics.quantiles(values, n=20, method="inclusive")[0]
        assert float(bound) == pytest.approx(float(cut), abs=1e-12)


class TestFalls:
    def test_of_one_value_the_steeper_is_from_the_lower_peak(self):
        curve = Curve()
        for ts_ns, (equity, peak) in enumerate(((100, 100), (90, 100), (200, 200), (185, 200), (200, 200))):
            if equity < peak:
                curve.falls(Decimal(peak - equity), Decimal(peak), ts_ns)
            else:
                curve.rises(ts_ns)
        assert curve.deepest is not None
        assert curve.steepest is not None
        deepest, steepest = curve.deepest, curve.steepest
        assert (deepest.value, steepest.value) == (dec(15), dec(10))
        assert (deepest.peak_ns, deepest.trough_ns, deepest.recovered_ns) == (2, 3, 4)
        assert (steepest.peak_ns, steepest.trough_ns, steepest.recovered_ns) == (0, 1, 2)

    def test_from_a_peak_of_nothing_are_compared_by_value(self):
        curve = Curve()
        curve.rises(1)
        curve.falls(dec(5), dec(0), 2)
        curve.rises(3)
        curve.falls(dec(4), dec(10), 4)
        _, steepest = curve.worst()
        assert steepest is not None
        assert steepest.value == 5

    def test_a_ratio_is_in_percent_of_a_hundred(self):
        assert formulas.percent(dec("0.1234567891")) == dec("12.345679")
        assert formulas.percent(None) is None
        assert HUNDRED == 100
