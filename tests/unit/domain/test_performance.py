"""Performance: the figures equal a dumb recomputation over the whole history, and what is undefined is None."""

from __future__ import annotations

import statistics
from decimal import Decimal
from fractions import Fraction
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.make import NOON_NS, SECOND_NS, dec, trade
from tradekeel.domain.money import ZERO
from tradekeel.domain.performance import PerformanceState, PerformanceTracker
from tradekeel.domain.rows import MetricsCheckpoint, PerformanceSnapshot
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import Defect

DAY_NS = 86_400 * SECOND_NS
equities = st.decimals(min_value=1, max_value=10**6, places=2)
profits = st.decimals(min_value=-1000, max_value=1000, places=4)


numbers = count()


def closed(pnl: Decimal | str | int, **fields: Any) -> Trade:
    """A closed trade, each with an id of its own."""
    known: dict[str, Any] = {"status": TradeStatus.CLOSED, "gross_pnl": Decimal(pnl), "trade_id": f"t{next(numbers)}"}
    return trade(**(known | fields))


def days(*equity: Decimal | int) -> PerformanceTracker:
    """A tracker that saw one equity a day, at noon."""
    tracker = PerformanceTracker()
    for number, value in enumerate(equity):
        tracker.equity_observed(Decimal(value), NOON_NS + number * DAY_NS)
    return tracker


class TestBeforeAnythingHappened:
    def test_everything_that_is_undefined_is_none(self):
        tracker = PerformanceTracker()
        assert tracker.win_rate is tracker.sharpe is tracker.average_risk_reward is None
        assert tracker.report().drawdown.deepest is None
        assert tracker.snapshot("e1", 5).equity == ZERO

    def test_one_day_has_no_sharpe_ratio_and_neither_have_two_that_are_alike(self):
        assert days(100).sharpe is None
        assert days(100, 110).sharpe is None  # one finished day
        assert days(100, 100, 100).sharpe is None
        assert days(100, 100, 110).sharpe is not None


class TestTrades:
    def test_are_counted_by_what_they_brought(self):
        tracker = PerformanceTracker()
        for pnl in ("10", "-4", "0", "5"):
            tracker.trade_closed(closed(pnl))
        sums = tracker.state.trades
        assert (sums.total, sums.winning, sums.losing, sums.pnl) == (4, 2, 1, dec(11))
        assert tracker.win_rate == dec("0.5")

    def test_count_net_of_fees_and_financing(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed(3, entry_fee=dec(2), exit_fee=dec(2), financing=dec("-0.5")))
        assert (tracker.state.trades.pnl, tracker.state.trades.losing) == (dec("-1.5"), 1)

    def test_of_wild_levels_are_counted_and_taken_back_to_the_last_digit(self):
        tracker = PerformanceTracker()
        usual = closed(1, entered_quantity=dec(1), entry_value=dec("1.1"))
        usual = structs.replace(usual, initial_stop_loss=dec("1.0"), take_profit=dec("1.3"))
        wild = structs.replace(usual, trade_id="wild", initial_stop_loss=dec("1.099999999999"), take_profit=dec("1e39"))
        tracker.trade_closed(wild)
        tracker.trade_closed(usual)
        tracker.trade_reopened(wild)
        assert tracker.average_risk_reward == dec(2)

    def test_without_a_stop_or_target_do_not_move_the_average_risk_reward(self):
        tracker = PerformanceTracker()
        shape = {"entered_quantity": dec(1), "entry_value": dec("1.1"), "initial_stop_loss": dec("1.0")}
        tracker.trade_closed(closed(1, **shape, take_profit=dec("1.3")))
        tracker.trade_closed(closed(1, **shape, take_profit=dec("1.2")))
        tracker.trade_closed(closed(1))
        assert tracker.average_risk_reward == dec("1.5")

    def test_that_a_late_fill_reopened_are_taken_back(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed(7))
        before = tracker.save()
        again = closed("-3.1")
        tracker.trade_closed(again)
        tracker.trade_reopened(again)
        assert tracker.state == PerformanceTracker.load(before).state

    def test_that_are_taken_back_leave_no_best_trade_and_no_streak_behind(self):
        tracker = PerformanceTracker()
        results = [closed(pnl) for pnl in (1, 2, 50, 3, -1)]
        for one in results:
            tracker.trade_closed(one)
        tracker.trade_reopened(results[2])
        tracker.trade_closed(structs.replace(results[2], gross_pnl=dec(-60)))
        report = tracker.report()
        assert (report.trades.best, report.trades.worst) == (dec(3), dec(-60))
        assert (report.streaks.longest_winning, report.streaks.longest_losing) == (3, 2)

    def test_slipped_before_they_were_taken_back_and_after(self):
        tracker = PerformanceTracker()
        one = closed(1)
        tracker.trade_slipped(one.trade_id, dec("0.3"))
        tracker.trade_closed(one)
        tracker.trade_reopened(one)
        tracker.trade_slipped(one.trade_id, dec("0.2"))
        tracker.trade_closed(one)
        assert tracker.report().trades.slippage_cost == dec("0.5")
        assert not tracker.state.costs.of_open

    def test_that_are_taken_back_keep_that_their_prices_were_seen(self):
        tracker = PerformanceTracker()
        one = closed(1)
        tracker.trade_slipped(one.trade_id, dec(0))
        tracker.trade_closed(one)
        tracker.trade_reopened(one)
        tracker.trade_closed(one)
        assert tracker.report().trades.slippage_cost == 0

    def test_that_were_never_counted_cannot_be_taken_back(self):
        tracker = PerformanceTracker()
        before = tracker.save()
        tracker.trade_reopened(closed(1))
        assert tracker.save() == before

    def test_that_close_twice_are_a_defect(self):
        tracker, one = PerformanceTracker(), closed(1)
        tracker.trade_closed(one)
        with pytest.raises(Defect, match="closed twice"):
            tracker.trade_closed(one)

    @pytest.mark.parametrize("status", [s for s in TradeStatus if s is not TradeStatus.CLOSED])
    def test_that_are_not_closed_are_a_defect(self, status):
        with pytest.raises(Defect, match="only closed trades are counted"):
            PerformanceTracker().trade_closed(trade(status=status))
        with pytest.raises(Defect, match="only closed trades are counted"):
            PerformanceTracker().trade_reopened(trade(status=status))

    @given(st.lists(profits, max_size=30), st.randoms(use_true_random=False))
    def test_give_the_same_figures_in_whatever_order_they_close(self, results, random):
        shuffled = list(results)
        random.shuffle(shuffled)
        one, other = PerformanceTracker(), PerformanceTracker()
        for pnl in results:
            one.trade_closed(closed(pnl))
        for pnl in shuffled:
            other.trade_closed(closed(pnl))
        assert one.state.trades == other.state.trades
        assert one.report().trades == other.report().trades
        assert one.state.trades.pnl == sum(results, ZERO)
        assert one.state.trades.winning == sum(p > 0 for p in results)
        assert one.state.trades.losing == sum(p < 0 for p in results)


class TestTheDrawdown:
    @given(st.lists(equities, min_size=1, max_size=40))
    def test_is_the_largest_fall_from_an_earlier_peak(self, seen):
        tracker = PerformanceTracker()
        for number, equity in enumerate(seen):
            tracker.equity_observed(equity, NOON_NS + number)
        falls = [max(seen[: i + 1]) - equity for i, equity in enumerate(seen)]
        assert tracker.state.max_drawdown == max(falls)
        assert tracker.state.peak_equity == max(seen)
        worst = falls.index(max(falls))
        expected = Fraction(falls[worst]) / Fraction(max(seen[: worst + 1])) * 100
        deepest = tracker.report().drawdown.deepest
        found = Fraction(0) if deepest is None or deepest.percent is None else Fraction(deepest.percent)
        assert abs(found - expected) <= Fraction("0.0000005")

    def test_is_not_made_by_a_withdrawal(self):
        tracker = days(1000)
        tracker.funds_moved(dec(-600))
        tracker.equity_observed(dec(400), NOON_NS + 1)
        assert tracker.state.max_drawdown == 0
        tracker.equity_observed(dec(390), NOON_NS + 2)
        deepest = tracker.report().drawdown.deepest
        assert deepest is not None
        assert (tracker.state.max_drawdown, deepest.percent) == (dec(10), dec("2.5"))

    def test_in_percent_is_not_made_steeper_by_a_withdrawal_nor_less_steep_by_a_deposit(self):
        def after(amount: Decimal) -> tuple[Decimal | None, Decimal]:
            tracker = days(10_000)
            tracker.equity_observed(dec(9_000), NOON_NS + 1)
            tracker.funds_moved(amount)
            tracker.equity_observed((dec(9_000) + amount) * dec("0.9"), NOON_NS + 2)  # a tenth of what is there by now
            drawdown = tracker.report().drawdown
            assert drawdown.steepest is not None
            assert drawdown.deepest is not None
            return drawdown.steepest.percent, drawdown.deepest.value

        assert after(dec(-8_000)) == (dec(19), dec(1_100))
        assert after(dec(0)) == (dec(19), dec(1_900))
        assert after(dec(81_000)) == (dec(19), dec(10_000))

    def test_by_shares_is_over_where_the_shares_are_back(self):
        tracker = days(1_000)
        tracker.equity_observed(dec(500), NOON_NS + 1)
        tracker.funds_moved(dec(1_000))
        tracker.equity_observed(
            dec(2_000), NOON_NS + 2
        )  # 500 earned: in money all is back, of shares a third is missing
        drawdown = tracker.report().drawdown
        assert drawdown.deepest is not None
        assert drawdown.steepest is not None
        assert (drawdown.deepest.recovered_ns, drawdown.steepest.recovered_ns) == (NOON_NS + 2, None)
        tracker.equity_observed(dec(3_000), NOON_NS + 3)
        drawdown = tracker.report().drawdown
        assert drawdown.steepest is not None
        assert (drawdown.steepest.percent, drawdown.steepest.recovered_ns) == (dec(50), NOON_NS + 3)

    @pytest.mark.parametrize(("equity", "amount"), [(0, 500), (-5, 500), (100, -100), ("1e-13", 1_000)])
    def test_begins_anew_where_there_is_nothing_to_have_a_share_of(self, equity, amount):
        tracker = days(1_000)
        tracker.equity_observed(dec(equity), NOON_NS + 1)
        tracker.funds_moved(dec(amount))
        tracker.equity_observed(dec(400), NOON_NS + 2)
        tracker.equity_observed(dec(100), NOON_NS + 3)
        steepest = tracker.report().drawdown.steepest
        assert steepest is not None
        assert steepest.percent is not None
        assert steepest.percent >= 75

    moves = st.lists(
        st.tuples(st.decimals("0.5", "1.5", places=2), st.decimals("-0.5", "2", places=2)), min_size=1, max_size=30
    )

    @given(moves)
    def test_in_percent_is_that_of_the_price_of_a_unit(self, moves):
        tracker, equity, units = days(10_000), Fraction(10_000), Fraction(1)
        prices = [Fraction(10_000)]
        for number, (grown, moved) in enumerate(moves, start=1):
            equity = Fraction(round(equity * Fraction(grown), 4))
            tracker.equity_observed(Decimal(equity.numerator) / equity.denominator, NOON_NS + number)
            prices.append(equity / units)
            amount = Fraction(round(equity * Fraction(moved), 4))
            tracker.funds_moved(Decimal(amount.numerator) / amount.denominator)
            units *= (equity + amount) / equity
            equity += amount
        expected = max(1 - price / max(prices[: at + 1]) for at, price in enumerate(prices)) * 100
        steepest = tracker.report().drawdown.steepest
        found = Fraction(0) if steepest is None or steepest.percent is None else Fraction(steepest.percent)
        assert abs(found - expected) <= Fraction("0.000002")

    def test_lasts_no_less_than_nothing_when_a_clock_is_behind(self):
        tracker = days(1000)
        tracker.equity_observed(dec(990), NOON_NS - 5)
        tracker.equity_observed(dec(1001), NOON_NS - 3)
        assert tracker.report().drawdown.under_water_ns == 0

    def test_of_a_rising_account_is_zero(self):
        tracker = days(1, 2, 3)
        assert tracker.state.max_drawdown == 0
        assert tracker.report().drawdown.deepest is None

    def test_a_deposit_before_any_equity_was_seen_is_the_beginning(self):
        tracker = PerformanceTracker()
        tracker.funds_moved(dec(1000))
        tracker.equity_observed(dec(1000), NOON_NS)
        assert tracker.state.peak_equity == dec(1000)


class TestTheSharpeRatio:
    @given(st.lists(st.integers(9_000, 11_000), min_size=4, max_size=30))
    def test_equals_the_textbook_over_finished_days(self, seen):
        tracker = days(*seen)
        returns = [after / before - 1 for before, after in pairwise(seen)]
        spread = statistics.stdev(returns)
        if tracker.sharpe is None:
            assert spread < 1e-9
        else:
            assert float(tracker.sharpe) == pytest.approx(statistics.fmean(returns) / spread * 252**0.5, abs=2e-5)

    def test_has_the_sign_of_the_mean(self):
        falling, rising = days(1000, 990, 970, 960), days(1000, 1010, 1030, 1040)
        assert falling.sharpe is not None
        assert rising.sharpe is not None
        assert falling.sharpe < 0 < rising.sharpe

    def test_does_not_take_a_deposit_for_a_return(self):
        with_deposit = PerformanceTracker()
        with_deposit.equity_observed(dec(1000), NOON_NS)
        with_deposit.equity_observed(dec(1100), NOON_NS + DAY_NS)
        with_deposit.funds_moved(dec(1100))
        with_deposit.equity_observed(dec(2200), NOON_NS + DAY_NS + 1)
        with_deposit.equity_observed(dec(2420), NOON_NS + 2 * DAY_NS)  # 220 on 1100: the day began before the deposit
        without = days(1000, 1100, 1320)
        assert [with_deposit.state.returns.total, without.state.returns.total] == [dec("0.3"), dec("0.3")]
        assert with_deposit.sharpe == without.sharpe is not None

    def test_counts_a_day_from_its_first_equity_to_the_next_days(self):
        tracker = days(1000)
        for number, equity in enumerate((900, 1300, 1100), start=1):
            tracker.equity_observed(dec(equity), NOON_NS + number)
        tracker.equity_observed(dec(1200), NOON_NS + DAY_NS)
        assert (tracker.state.returns.count, tracker.state.returns.total) == (1, dec("0.2"))

    def test_of_markets_that_never_rest_has_more_days_a_year(self):
        week, always = days(100, 101, 103, 102), days(100, 101, 103, 102)
        always.state.days_a_year = 365
        assert week.sharpe is not None
        assert always.sharpe is not None
        assert always.sharpe / week.sharpe == pytest.approx((Decimal(365) / 252).sqrt(), abs=Decimal("1e-5"))

    def test_days_that_begin_with_nothing_have_no_return(self):
        assert days(0, 100, 100).state.returns.count == 1

    def test_of_wild_returns_is_still_a_figure(self):
        assert days(dec("0.0001"), dec(10**9), dec("0.0001"), dec(10**9), 5).sharpe is not None
        assert days(dec("0.0003"), dec(10**15), dec("0.0007"), dec(10**15), 5).sharpe is not None


class TestTheState:
    events = st.lists(
        st.one_of(
            st.tuples(st.just("tick"), st.integers(1, 500)),
            st.tuples(st.just("equity"), equities),
            st.tuples(st.just("trade"), profits),
            st.tuples(st.just("funds"), profits),
            st.tuples(st.just("balance"), equities),
            st.tuples(st.just("hours"), st.integers(1, 40)),
        ),
        max_size=40,
    )

    @staticmethod
    def tell(tracker: PerformanceTracker, event: tuple[str, Any], now_ns: int) -> int:
        kind, value = event
        if kind == "tick":
            tracker.ticks_processed(value)
        elif kind == "equity":
            tracker.equity_observed(value, now_ns)
        elif kind == "trade":
            tracker.trade_closed(closed(value, trade_id=f"t{tracker.state.trades.total}"))
        elif kind == "funds":
            tracker.funds_moved(value)
        elif kind == "balance":
            tracker.balance_changed(value)
        else:
            return now_ns + int(value) * 3_600 * SECOND_NS
        return now_ns

    @given(events, st.integers(0, 40))
    def test_saved_and_loaded_anywhere_goes_on_as_if_nothing_happened(self, sequence, cut):
        through, now_ns = PerformanceTracker(), NOON_NS
        for event in sequence:
            now_ns = self.tell(through, event, now_ns)
        broken, now_ns = PerformanceTracker(), NOON_NS
        for number, event in enumerate(sequence):
            if number == cut:
                broken = PerformanceTracker.load(broken.save())
            now_ns = self.tell(broken, event, now_ns)
        assert broken.save() == through.save()
        assert broken.snapshot("e1", now_ns) == through.snapshot("e1", now_ns)

    def test_is_refused_if_it_is_something_else(self):
        with pytest.raises(msgspec.DecodeError):
            PerformanceTracker.load(b"\x81")

    def test_becomes_a_row(self):
        tracker = days(100)
        assert tracker.checkpoint("e1", 9) == MetricsCheckpoint(execution="e1", ts_ns=9, data=tracker.save())


def test_a_snapshot_is_a_row_of_all_figures():
    tracker = PerformanceTracker(PerformanceState())
    tracker.balance_changed(dec(1010))
    tracker.equity_observed(dec(1020), NOON_NS)
    tracker.equity_observed(dec(1005), NOON_NS + 1)
    tracker.trade_closed(closed(10))
    assert tracker.snapshot("e1", NOON_NS, "LONDON", "calm") == PerformanceSnapshot(
        execution="e1",
        ts_ns=NOON_NS,
        total_trades=1,
        winning_trades=1,
        losing_trades=0,
        win_rate=dec(1),
        pnl=dec(10),
        balance=dec(1010),
        equity=dec(1005),
        sharpe=None,
        max_drawdown=dec(15),
        average_risk_reward=None,
        session="LONDON",
        parameter_mode="calm",
    )


def test_equity_of_an_account_without_marks_is_its_balance():
    tracker = PerformanceTracker()
    tracker.balance_changed(dec(7))
    assert tracker.snapshot("e1", NOON_NS).equity == dec(7)
