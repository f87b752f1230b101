"""The tracker's state: how large it gets, what a snapshot's checkpoint leaves out, and how an older version is read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.unit.domain.make import NOON_NS, SECOND_NS, dec, trade
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.domain.performance_state import CHECKPOINT_DAYS, VERSION
from tradekeel.domain.performance_trades import REOPENABLE_MAX, SETTLED_AT_ONCE
from tradekeel.domain.sessions import trading_day
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus

DAY_NS = 86_400 * SECOND_NS
CHECKPOINT_BYTES_MAX = 4_000
TEN_YEARS_BYTES_MAX = 300_000


def closed(number: int, at_ns: int, **fields: Any) -> Trade:
    known: dict[str, Any] = {
        "trade_id": f"tr{number:026d}",
        "status": TradeStatus.CLOSED,
        "gross_pnl": Decimal(number % 17 - 8) / 100,
        "entry_time_ns": at_ns - SECOND_NS,
        "exit_time_ns": at_ns,
        "exit_reason": CloseReason.STOP_LOSS,
        "session": "LONDON",
        "tags": ("floor", f"layer-{number % 5}"),
    }
    return trade(**(known | fields))


def after(days: int) -> PerformanceTracker:
    tracker = PerformanceTracker()
    for number in range(days):
        at_ns = NOON_NS + number * DAY_NS
        tracker.equity_observed(Decimal(1_000_000 + number * number % 997) / 100, at_ns)
        tracker.trade_closed(closed(number, at_ns))
    return tracker


def test_a_checkpoint_stays_small_and_the_state_grows_by_its_days_alone() -> None:
    year, decade = after(252), after(2_600)

    assert len(year.checkpoint("e1", 1).data) < CHECKPOINT_BYTES_MAX
    assert len(decade.checkpoint("e1", 1).data) < CHECKPOINT_BYTES_MAX
    assert len(decade.save()) < TEN_YEARS_BYTES_MAX
    assert len(decade.state.log.last) < REOPENABLE_MAX + SETTLED_AT_ONCE


def test_the_state_says_what_its_figures_are_annualised_with_until_it_is_told_otherwise() -> None:
    told = PerformanceTracker(days_a_year=365)
    read = PerformanceTracker.load(told.save())
    assert (read.report().days_a_year, PerformanceTracker().report().days_a_year) == (365, 252)
    assert PerformanceTracker.load(told.save(), 360).report().days_a_year == 360


def test_a_state_of_before_that_could_be_said_has_the_days_that_it_was_made_with() -> None:
    plain = msgspec.msgpack.decode(PerformanceTracker().save())
    del plain["days_a_year"]
    assert PerformanceTracker.load(msgspec.msgpack.encode(plain)).report().days_a_year == 252


def test_a_checkpoint_tells_all_sums_and_the_newest_days() -> None:
    tracker = after(60)

    told = PerformanceTracker.load(tracker.checkpoint("e1", 1).data)

    assert told.snapshot("e1", 1) == tracker.snapshot("e1", 1)
    one, other = told.report(), tracker.report()
    assert (one.trades, one.groups, one.streaks, one.drawdown) == (
        other.trades,
        other.groups,
        other.streaks,
        other.drawdown,
    )
    newest = list(other.periods.by_day)[-CHECKPOINT_DAYS:]
    assert {day: one.periods.by_day[day] for day in newest} == {day: other.periods.by_day[day] for day in newest}


def test_taking_a_checkpoint_changes_nothing() -> None:
    tracker = after(30)
    before = tracker.save()

    tracker.checkpoint("e1", 1)
    tracker.report()

    assert tracker.save() == before


FIRST_VERSION = msgspec.msgpack.encode(
    {
        "version": 1,
        "ticks": 900,
        "balance": "1030",
        "equity": "1025",
        "peak_equity": "1040",
        "max_drawdown": "60",
        "max_drawdown_peak": "1020",
        "trades": {
            "total": 3,
            "winning": 2,
            "losing": 1,
            "pnl": "30",
            "risk_reward_count": 1,
            "risk_reward_sum": "2",
        },
        "returns": {
            "day": "2014-05-08",
            "day_ends_ns": NOON_NS + 9 * 3_600 * SECOND_NS,
            "day_start_equity": "1010",
            "day_deposits": "0",
            "count": 2,
            "total": "0.01",
            "squares": "0.0005",
        },
    }
)


class TestTheFirstVersion:
    def test_is_read_and_its_totals_go_on(self):
        tracker = PerformanceTracker.load(FIRST_VERSION)
        tracker.trade_closed(closed(9, NOON_NS))

        assert tracker.state.version == VERSION
        row = tracker.snapshot("e1", 1)
        assert (row.total_trades, row.winning_trades, row.max_drawdown) == (4, 3, dec(60))
        assert row.pnl == dec("30.01")
        assert row.sharpe is not None

    def test_had_no_groups_and_the_report_says_how_much_is_missing(self):
        tracker = PerformanceTracker.load(FIRST_VERSION)
        tracker.equity_observed(dec(1030), NOON_NS)
        tracker.equity_observed(dec(1050), NOON_NS + DAY_NS)
        tracker.trade_closed(closed(9, NOON_NS + DAY_NS))

        report = tracker.report()

        assert (report.earlier_trades, report.earlier_days) == (3, 2)
        assert (report.total_trades, report.trades.count) == (4, 1)
        assert (report.returns.days, report.returns.total_pnl) == (3, dec(20))
        assert report.drawdown.deepest is not None
        assert (report.drawdown.deepest.value, report.drawdown.deepest.peak_ns) == (dec(60), None)
        assert report.drawdown.deepest.duration_ns is None

    def test_counted_trades_that_may_be_opened_again(self):
        tracker = PerformanceTracker.load(FIRST_VERSION)

        tracker.trade_reopened(closed(9, NOON_NS, gross_pnl=dec(10)))

        assert (tracker.state.trades.total, tracker.state.trades.pnl, tracker.state.earlier_trades) == (2, dec(20), 2)
        assert tracker.report().trades.count == 0

    def test_is_upgraded_once(self):
        tracker = PerformanceTracker.load(FIRST_VERSION)
        tracker.trade_closed(closed(9, NOON_NS))

        assert PerformanceTracker.load(tracker.save()).state == tracker.state

    def test_may_have_seen_nothing(self):
        tracker = PerformanceTracker.load(msgspec.msgpack.encode({"version": 1}))
        assert tracker.report() == PerformanceTracker().report()


def test_days_of_a_version_that_kept_no_fees_by_day_have_none_and_no_wrong_ones() -> None:
    day = trading_day(NOON_NS)
    kept = {"log": {"days": {day.toordinal(): (1, 1, 0, "5", "0")}}, "version": VERSION}
    tracker = PerformanceTracker.load(msgspec.msgpack.encode(kept))
    for number, at_ns in enumerate((NOON_NS, NOON_NS + DAY_NS)):
        tracker.trade_closed(closed(number, at_ns, entry_fee=dec("0.3")))

    before, after_it = tracker.report().periods.by_day.values()

    assert (before.trades, before.fees) == (2, None)
    assert (after_it.trades, after_it.fees) == (1, dec("0.3"))
    (month,) = tracker.report().periods.by_month.values()
    assert (month.trades, month.fees) == (3, None)


def test_a_later_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(msgspec.ValidationError, match="start the one that has saved them"):
        PerformanceTracker.load(msgspec.msgpack.encode({"version": VERSION + 1}))
