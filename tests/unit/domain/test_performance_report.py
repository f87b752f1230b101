"""The report: a story worked out by hand, a dumb twin that keeps everything in lists, and the keys of its groups."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.dumb_performance import DAY_NS, Dumb, near
from tests.unit.domain.make import NOON_NS, SECOND_NS, dec, quote, trade
from tradekeel.domain.performance import PerformanceReport, PerformanceTracker
from tradekeel.domain.performance_report import DayFigure, FallFigures, GroupFigures
from tradekeel.domain.performance_trades import GROUPS_MAX, OTHER, REOPENABLE_MAX, SETTLED_AT_ONCE, TAGS_MAX
from tradekeel.domain.sessions import trading_day
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus

HOUR_NS = 3_600 * SECOND_NS


def closed(
    trade_id: str, pnl: str | int | Decimal, at_ns: int = NOON_NS, held_ns: int = HOUR_NS, **fields: Any
) -> Trade:
    known: dict[str, Any] = {
        "trade_id": trade_id,
        "status": TradeStatus.CLOSED,
        "gross_pnl": Decimal(pnl),
        "entry_time_ns": at_ns - held_ns,
        "exit_time_ns": at_ns,
        "exit_reason": CloseReason.SIGNAL,
        "session": "LONDON",
    }
    return trade(**(known | fields))


def a_story() -> PerformanceTracker:
    """Four days from Thursday noon: up, down, up, down again, with four trades and a deposit."""
    tracker = PerformanceTracker()
    tracker.funds_moved(dec(10_000))
    tracker.balance_changed(dec(10_000))
    tracker.quote_seen("EUR_USD", dec("1.0999"), dec("1.1001"))
    tracker.ticks_processed(400)

    tracker.equity_observed(dec(10_000), NOON_NS)  # Thursday
    tracker.positions_held(True, NOON_NS + HOUR_NS)
    tracker.fill_booked(dec(11_000), dec("0.5"), priced=True)
    tracker.trade_slipped("t1", dec("0.2"))
    tracker.fill_booked(dec(11_100), dec("0.5"), priced=True)
    tracker.trade_closed(closed("t1", 101, NOON_NS + 2 * HOUR_NS, entry_fee=dec("0.5"), exit_fee=dec("0.5")))
    tracker.positions_held(False, NOON_NS + 2 * HOUR_NS)
    tracker.equity_observed(dec(10_100), NOON_NS + 2 * HOUR_NS)

    tracker.equity_observed(dec(10_100), NOON_NS + DAY_NS)  # Friday
    friday_ns = NOON_NS + DAY_NS + HOUR_NS
    tracker.trade_closed(closed("t2", -50, friday_ns, 2 * HOUR_NS, side=TradeSide.SHORT, tags=("floor", "layer-1")))
    tracker.trade_closed(closed("t3", -151, friday_ns, 4 * HOUR_NS, side=TradeSide.SHORT, financing=dec(-1)))
    tracker.financed(dec(-1))
    tracker.equity_observed(dec(9_898), friday_ns)

    tracker.equity_observed(dec(9_898), NOON_NS + 4 * DAY_NS)  # Monday
    tracker.funds_moved(dec(5_000))
    tracker.equity_observed(dec(14_898), NOON_NS + 4 * DAY_NS + 1)
    tracker.trade_closed(closed("t4", 400, NOON_NS + 4 * DAY_NS + HOUR_NS, tags=("floor",)))
    tracker.equity_observed(dec(15_298), NOON_NS + 4 * DAY_NS + HOUR_NS)

    tracker.equity_observed(dec(15_000), NOON_NS + 5 * DAY_NS)  # Tuesday, not over
    return tracker


class TestAStory:
    report = a_story().report({"EUR_USD": quote("1.1549", "1.1551"), "GBP_USD": quote("1.5", "1.6")})

    def test_of_trades(self):
        assert self.report.trades == GroupFigures(
            count=4,
            winning=2,
            losing=2,
            win_rate=dec("0.5"),
            pnl=dec(298),
            gross_profit=dec(500),
            gross_loss=dec(-202),
            profit_factor=dec("2.475248"),
            expectancy=dec("74.5"),
            average_win=dec(250),
            average_loss=dec(-101),
            payoff=dec("2.475248"),
            best=dec(400),
            worst=dec(-152),
            sqn=dec("0.619753"),  # twice the mean of 74.5 over the deviation of 240.4184…
            kelly=dec("0.298"),  # 0.5 - 0.5 / 2.4752…
            average_win_ns=HOUR_NS,
            average_loss_ns=3 * HOUR_NS,
            fees=dec(1),
            slippage_cost=dec("0.2"),
        )
        streaks = self.report.streaks
        assert (streaks.longest_winning, streaks.longest_losing, streaks.current) == (1, 2, 1)

    def test_of_returns(self):
        returns = self.report.returns
        assert returns.total_pnl == 0, "earned 400, and lost as much again: 15,000 are the deposits"
        gains = [100 / 10_000, -202 / 10_100, 102 / 9_898]
        assert near(returns.total_return_percent, (1 + gains[0]) * (1 + gains[1]) * (1 + gains[2]) * 100 - 100)
        assert returns.cagr_percent is not None
        assert (returns.days, returns.winning_days, returns.losing_days) == (3, 2, 1)
        assert returns.best_day == DayFigure(day=date(2014, 5, 12), return_percent=dec("1.030511"), earned=dec(102))
        assert returns.worst_day == DayFigure(day=date(2014, 5, 9), return_percent=dec(-2), earned=dec(-202))
        assert returns.omega == dec("1.015256")  # 0.0203051… / 0.02
        assert returns.recovery_factor == 0
        assert returns.value_at_risk_percent is returns.expected_shortfall_percent is returns.tail_ratio is None

    def test_of_drawdowns(self):
        drawdown = self.report.drawdown
        assert drawdown.deepest == FallFigures(
            value=dec(298),
            percent=dec("1.947967"),
            peak_ns=NOON_NS + 4 * DAY_NS + HOUR_NS,
            trough_ns=NOON_NS + 5 * DAY_NS,
            recovered_ns=None,
            duration_ns=23 * HOUR_NS,
        )
        assert drawdown.steepest == FallFigures(
            value=dec(202),
            percent=dec(2),
            peak_ns=NOON_NS + DAY_NS,
            trough_ns=NOON_NS + DAY_NS + HOUR_NS,
            recovered_ns=NOON_NS + 4 * DAY_NS + HOUR_NS,
            duration_ns=73 * HOUR_NS,
        )
        assert (drawdown.longest_ns, drawdown.under_water_ns) == (73 * HOUR_NS, 96 * HOUR_NS)
        assert drawdown.under_water_percent == 80  # 96 of 120 hours

    def test_of_costs_and_exposure(self):
        costs = self.report.costs
        assert (costs.fees, costs.financing, costs.slippage_cost) == (dec(1), dec(-1), dec("0.2"))
        assert (costs.fills, costs.fills_unpriced, costs.turnover) == (2, 0, dec(22_100))
        assert costs.turnover_ratio == dec("1.964532")  # the days began with 10,000, 10,100, 9,898 and 15,000
        assert self.report.exposure_percent == dec("0.833333")  # one of 120 hours

    def test_of_the_market(self):
        market = self.report.market
        assert market.change_percent == {"EUR_USD": 5}, "an instrument counts from its first quote, or not at all"
        assert market.buy_and_hold_percent == 5

    def test_of_groups(self):
        groups = self.report.groups
        assert {key: g.pnl for key, g in groups.by_side.items()} == {"LONG": 500, "SHORT": -202}
        assert {key: g.pnl for key, g in groups.by_tag.items()} == {"": -52, "floor": 350, "layer-1": -50}
        assert {key: g.count for key, g in groups.by_exit_reason.items()} == {"signal": 4}
        assert list(groups.by_session) == ["LONDON"]
        assert list(groups.by_strategy) == ["floor"]
        assert list(groups.by_instrument) == ["EUR_USD"]

    def test_of_periods(self):
        periods = self.report.periods
        assert {name: (p.trades, p.earned) for name, p in periods.by_day.items()} == {
            "2014-05-08": (1, dec(100)),
            "2014-05-09": (2, dec(-202)),
            "2014-05-12": (1, dec(102)),
            "2014-05-13": (0, dec(0)),
        }
        assert {name: (p.days, p.pnl, p.earned) for name, p in periods.by_week.items()} == {
            "2014-W19": (2, dec(-102), dec(-102)),
            "2014-W20": (2, dec(400), dec(102)),
        }
        assert list(periods.by_weekday) == ["Monday", "Tuesday", "Thursday", "Friday"]
        assert list(periods.by_month) == ["2014-05"]
        (year,) = periods.by_year.values()
        assert (year.trades, year.winning, year.losing, year.pnl) == (4, 2, 2, dec(298))
        assert (year.fees, periods.by_day["2014-05-13"].fees) == (self.report.trades.fees, dec(0))
        assert year.return_percent == self.report.returns.total_return_percent

    def test_goes_to_json_and_back_with_every_digit(self):
        text = msgspec.json.encode(self.report)
        assert msgspec.json.decode(text, type=PerformanceReport) == self.report
        assert json.loads(text)["trades"]["profit_factor"] == "2.475248"


class TestWhatIsUndefined:
    def test_is_none_before_anything_happened(self):
        report = PerformanceTracker().report()
        defined = {"days", "winning_days", "losing_days"}
        returns = structs.asdict(report.returns)
        assert {name: value for name, value in returns.items() if name not in defined and value is not None} == {}
        assert (report.equity, report.first_ns, report.last_ns, report.exposure_percent) == (None,) * 4
        falls = report.drawdown
        assert structs.asdict(falls) == dict.fromkeys(structs.asdict(falls))
        assert report.costs.slippage_cost is report.costs.turnover_ratio is report.market.buy_and_hold_percent is None
        assert report.trades.best is report.trades.sqn is report.trades.win_rate is report.trades.slippage_cost is None

    def test_is_what_would_be_divided_by_no_loss(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed("a", 5))
        trades = tracker.report().trades
        assert (trades.profit_factor, trades.payoff, trades.kelly, trades.sqn) == (None, None, None, None)
        assert trades.win_rate == trades.best / 5 == 1 if trades.best else False

    def test_is_the_slippage_of_fills_that_nobody_saw_a_price_for(self):
        tracker = PerformanceTracker()
        tracker.fill_booked(dec(10), dec(0), priced=False)
        costs = tracker.report().costs
        assert (costs.slippage_cost, costs.fills, costs.fills_unpriced) == (None, 1, 1)
        tracker.fill_booked(dec(10), dec(0), priced=True)
        assert tracker.report().costs.slippage_cost == 0

    def test_is_the_slippage_of_a_group_where_nobody_saw_a_price_for_any_fill(self):
        tracker = PerformanceTracker()
        tracker.trade_slipped("a", dec(0))  # filled at just the price that was seen
        tracker.trade_closed(closed("a", 5, tags=("seen",)))
        tracker.trade_closed(closed("b", 5, tags=("unseen",)))
        report = PerformanceTracker.load(tracker.save()).report()
        assert report.trades.slippage_cost == report.groups.by_tag["seen"].slippage_cost == 0
        assert report.groups.by_tag["unseen"].slippage_cost is None

    def test_is_how_long_a_trade_was_held_whose_times_are_not_known(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed("a", 5, entry_time_ns=None))
        tracker.trade_closed(closed("b", 5, held_ns=7))
        tracker.trade_closed(closed("c", -5, exit_time_ns=None))
        report = tracker.report()
        assert (report.trades.average_win_ns, report.trades.average_loss_ns) == (7, None)
        assert sum(day.trades for day in report.periods.by_day.values()) == 2

    def test_is_the_percent_of_a_fall_from_nothing(self):
        tracker = PerformanceTracker()
        tracker.equity_observed(dec(-5), NOON_NS)
        tracker.equity_observed(dec(-8), NOON_NS + 1)
        report = tracker.report()
        assert report.drawdown.deepest is not None
        assert (report.drawdown.deepest.value, report.drawdown.deepest.percent) == (dec(3), None)
        assert report.returns.calmar is None

    def test_is_a_return_of_nothing(self):
        tracker = PerformanceTracker()
        tracker.equity_observed(dec(0), NOON_NS)
        tracker.equity_observed(dec(5), NOON_NS + DAY_NS)
        report = tracker.report()
        assert (report.returns.days, report.returns.total_pnl) == (0, dec(5))
        assert report.periods.by_day["2014-05-08"].return_percent is None
        assert report.periods.by_day["2014-05-08"].earned == 5


def test_wild_equities_have_figures_too() -> None:
    for wild in ((dec("0.0003"), dec(10**15), dec("0.0007"), dec(10**15), dec(5)), (dec(10**9), dec("-1e9"), dec(3))):
        tracker = PerformanceTracker()
        for number, equity in enumerate(wild):
            tracker.equity_observed(equity, NOON_NS + number * DAY_NS)
        assert tracker.report().returns.total_return_percent is not None


class TestGroups:
    def test_of_free_text_have_a_bound(self):
        tracker = PerformanceTracker()
        for n in range(GROUPS_MAX + 5):
            tracker.trade_closed(closed(f"t{n}", 1, tags=(f"tag-{n}", f"again-{n}"), strategy=f"s{n}"))
        groups = tracker.report().groups
        assert len(groups.by_tag) == len(groups.by_strategy) == GROUPS_MAX + 1
        assert groups.by_strategy[OTHER].count == 5
        assert groups.by_tag[OTHER].count == GROUPS_MAX // 2 + 5, "once, though both tags of a trade are there"

    def test_look_at_so_many_tags_of_a_trade(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed("t", 1, tags=tuple(f"tag-{n}" for n in range(TAGS_MAX + 3))))
        assert len(tracker.report().groups.by_tag) == TAGS_MAX

    def test_of_trades_that_nobody_decided_have_no_name(self):
        tracker = PerformanceTracker()
        tracker.trade_closed(closed("t", 1, strategy=None, session=None, exit_reason=None))
        groups = tracker.report().groups
        for found in (groups.by_strategy, groups.by_session, groups.by_exit_reason, groups.by_tag):
            assert list(found) == [""]


# --- beside the dumb twin ---------------------------------------------------------------------------------------------

kinds = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["a", "b", None]),
        "symbol": st.sampled_from(["EUR_USD", "USD_JPY"]),
        "side": st.sampled_from(list(TradeSide)),
        "session": st.sampled_from(["LONDON", None]),
        "exit_reason": st.sampled_from([CloseReason.STOP_LOSS, CloseReason.SIGNAL, None]),
        "tags": st.sampled_from([(), ("x",), ("x", "y"), ("z",)]),
        "entry_fee": st.sampled_from([dec(0), dec("0.11")]),
        "held_ns": st.integers(0, 3 * DAY_NS),
    }
)
amounts = st.decimals(min_value=-500, max_value=500, places=2)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("closed"), st.tuples(amounts, kinds)),
        st.tuples(st.just("reopened"), st.integers(0, 9)),
        st.tuples(st.just("equity"), st.decimals(min_value=5_000, max_value=15_000, places=2)),
        st.tuples(st.just("funds"), st.decimals(min_value=-100, max_value=1_000, places=2)),
        st.tuples(st.just("hours"), st.integers(1, 60)),
    ),
    max_size=60,
)


class Both:
    """A tracker and the dumb one, told the same."""

    def __init__(self) -> None:
        self.tracker, self.dumb, self.now_ns = PerformanceTracker(), Dumb(), NOON_NS
        self.number = 0

    def happen(self, what: str, value: Any) -> None:
        self.now_ns += SECOND_NS
        tracker = self.tracker
        if what == "hours":
            self.now_ns += value * HOUR_NS
            return
        if what == "closed":
            pnl, fields = value
            self.number += 1
            value = closed(f"t{self.number}", pnl, self.now_ns, **fields)
            tracker.trade_closed(value)
        elif what == "reopened":
            if len(self.dumb.trades) <= value:
                return
            value = self.dumb.trades[-1 - value]
            tracker.trade_reopened(value)
        elif what == "equity":
            tracker.equity_observed(value, self.now_ns)
        else:
            tracker.funds_moved(value)
        self.dumb.tell(what, value, self.now_ns)

    def compare_trades(self) -> None:
        report, trades = self.tracker.report(), self.dumb.trades
        agree(report.trades, self.dumb.of(trades))
        assert report.total_trades == self.tracker.state.trades.total == len(trades)
        assert self.tracker.state.trades.pnl == sum((t.pnl for t in trades), dec(0))
        assert (report.streaks.longest_winning, report.streaks.longest_losing) == self.dumb.streaks()
        keys: dict[str, Callable[[Trade], tuple[str, ...]]] = {
            "by_strategy": lambda t: (t.strategy or "",),
            "by_instrument": lambda t: (t.symbol,),
            "by_side": lambda t: (t.side.value,),
            "by_session": lambda t: (t.session or "",),
            "by_exit_reason": lambda t: ("" if t.exit_reason is None else t.exit_reason.value,),
            "by_tag": lambda t: t.tags or ("",),
        }
        for name, key in keys.items():
            found: dict[str, GroupFigures] = getattr(report.groups, name)
            assert set(found) == {one for t in trades for one in key(t)}
            for one, figures in found.items():
                agree(figures, self.dumb.of([t for t in trades if one in key(t)]))
        by_day: dict[str, list[Trade]] = {}
        for t in trades:
            by_day.setdefault(trading_day(t.exit_time_ns or 0).isoformat(), []).append(t)
        for day, period in report.periods.by_day.items():
            assert period.trades == len(by_day.get(day, []))
            assert period.pnl == sum((t.pnl for t in by_day.get(day, [])), dec(0))
            assert period.fees == sum((t.entry_fee + t.exit_fee for t in by_day.get(day, [])), dec(0))
        assert set(by_day) <= set(report.periods.by_day)

    def compare_equity(self) -> None:
        report, dumb = self.tracker.report(), self.dumb
        gains = dumb.gains()
        assert report.returns.days == len(gains)
        assert report.returns.total_pnl == dumb.total_pnl()
        assert report.returns.winning_days == sum(gain > 0 for gain in gains)
        best = report.returns.best_day
        assert near(best.return_percent if best else None, max(gains) * 100 if gains else None)
        won, lost = sum(g for g in gains if g > 0), -sum(g for g in gains if g < 0)
        assert near(report.returns.omega, won / lost if lost else None)
        deepest, expected = report.drawdown.deepest, dumb.deepest()
        assert (deepest is None) is (expected is None)
        if deepest is not None:
            found = (Fraction(deepest.value), deepest.peak_ns, deepest.trough_ns, deepest.recovered_ns)
            assert found == expected
        assert report.drawdown.under_water_ns == dumb.under_water_ns()


def agree(found: GroupFigures, expected: dict[str, Any]) -> None:
    wrong = {
        name: (getattr(found, name), value) for name, value in expected.items() if not near(getattr(found, name), value)
    }
    assert not wrong


@given(happenings)
def test_every_figure_of_trades_is_the_dumb_ones(sequence):
    both = Both()
    for what, value in sequence:
        both.happen(what, value)
    both.compare_trades()


@given(happenings)
def test_every_figure_of_the_equity_is_the_dumb_ones(sequence):
    both = Both()
    for what, value in sequence:
        both.happen(what, value)
    both.compare_equity()


@given(happenings, st.sets(st.integers(0, 60)))
def test_saved_and_loaded_anywhere_the_end_is_the_same_byte_for_byte(sequence, cuts):
    plain, broken = Both(), Both()
    for number, (what, value) in enumerate(sequence):
        plain.happen(what, value)
        if number in cuts:
            broken.tracker = PerformanceTracker.load(broken.tracker.save())
        broken.happen(what, value)
    assert broken.tracker.save() == plain.tracker.save()
    assert broken.tracker.report() == plain.tracker.report()


@pytest.mark.untraced
@pytest.mark.parametrize("seed", range(3))
def test_far_more_trades_than_can_be_taken_back_make_the_same_figures(seed):
    chosen = random.Random(seed)
    both, many = Both(), REOPENABLE_MAX + 3 * SETTLED_AT_ONCE
    for number in range(many):
        kind = {
            "strategy": chosen.choice("abc"),
            "symbol": chosen.choice(["EUR_USD", "USD_JPY"]),
            "side": chosen.choice(list(TradeSide)),
            "tags": chosen.choice([(), ("x",), ("x", "y")]),
        }
        both.happen("closed", (Decimal(chosen.randint(-400, 500)).scaleb(-2), kind))
        both.happen("hours", 1)
        if number % 20 == 0:
            both.happen("reopened", chosen.randrange(min(REOPENABLE_MAX, len(both.dumb.trades))))
        if number % 500 == 0:
            both.tracker = PerformanceTracker.load(both.tracker.save())
    assert len(both.tracker.state.log.last) < REOPENABLE_MAX + SETTLED_AT_ONCE
    both.compare_trades()
