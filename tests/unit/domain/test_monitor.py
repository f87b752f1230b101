"""The monitor's core: it follows the journal by stamp, acts at exactly the right ticks, and goes on from anywhere."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.days import costs, world
from tests.unit.domain.executor_desk import ExecutorDesk, K, buy, leave, placed_in
from tests.unit.domain.gambler import Gambler, GamblerParams
from tests.unit.domain.markets import walk
from tests.unit.domain.world import EUR, NS, START_NS, Unlucky, World, ticks_of
from tradekeel.domain import records as r
from tradekeel.domain.effects import Effects
from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import MoveStop
from tradekeel.domain.monitor import MonitorCore, Watched, last_quotes
from tradekeel.domain.orders import OrderType
from tradekeel.domain.positions import Quote
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch
from tradekeel.domain.sessions import Session
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.domain.trades import CloseReason, TradeStatus
from tradekeel.domain.view import View
from tradekeel.errors import Defect

D = Decimal
NONE = RiskLimits()
DAY_NS = 86_400 * NS


class Pair:
    """An executor on its desk, and a monitor that follows it."""

    def __init__(self, limits: RiskLimits = NONE, **more: Any) -> None:
        self.desk = ExecutorDesk(at_venue=False, **more)
        self.limits = limits
        self.entries: list[Entry] = []
        self.monitor = self.fresh(View.of(self.desk.book, None))

    def fresh(self, view: View, saved: bytes | None = None) -> MonitorCore:
        return MonitorCore(view, {EUR: CATALOGUE[EUR]}, "USD", self.limits, saved)

    def tell(self, *steps: Effects) -> None:
        """Journal entries reach the monitor."""
        entries = [entry for step in steps for entry in step.entries]
        self.entries.extend(entries)
        self.monitor.deliver(entries)

    def open(self, **more: Any) -> str:
        """An open trade of 1000, entered at 1.10010 at the desk's tick."""
        decided = self.desk.decide(buy(**more))
        (entry_id,) = placed_in(decided)
        self.tell(decided, self.desk.fill(self.desk.order(entry_id)))
        return self.desk.order(entry_id).trade_id or ""

    def tick(self, bid: str, position: int | None = None) -> Tick:
        """The next tick, not yet shown to the monitor."""
        self.desk.tick(bid)
        at = self.desk.position if position is None else position
        return Tick(EUR, START_NS + at * NS, D(bid), D(bid) + D("0.00010"), at)

    def at(self, bid: str) -> Watched:
        """The next tick, looked at by itself."""
        return self.monitor.at(self.tick(bid))


# --- following --------------------------------------------------------------------------------------------------------


def test_entries_come_in_order_without_a_gap_and_twice_is_once() -> None:
    pair = Pair()
    pair.open()
    last = pair.entries[-1]

    pair.monitor.deliver(pair.entries)
    assert len(pair.monitor.news) == len(pair.entries)
    with pytest.raises(Defect, match="follows"):
        pair.monitor.deliver([structs.replace(last, sequence=last.sequence + 2)])


def test_a_trade_is_watched_from_the_tick_at_which_it_was_filled() -> None:
    pair = Pair()
    trade_id = pair.open(stop_loss="1.09000")

    seen = pair.at("1.08990")

    assert [(e.trade_id, e.reason) for e in seen.exits] == [(trade_id, CloseReason.STOP_LOSS)]
    assert seen


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("fate", ["works", "unknown", "refused"])
def test_while_an_exit_of_a_part_is_under_way_the_rest_is_watched(fate: str, restarted: bool) -> None:
    pair = Pair()
    trade = pair.desk.trade(pair.desk.book.trades[pair.open(stop_loss="1.09000")])
    part = pair.desk.decide(leave(trade, 100))
    (exit_id,) = placed_in(part)
    pair.tell(part, pair.desk.accept(pair.desk.order(exit_id)))
    if fate == "unknown":
        pair.tell(pair.desk.keep(pair.desk.core.missing(exit_id, "the venue does not have it", pair.desk.now_ns)))
    if fate == "refused":
        pair.tell(pair.desk.news(K.ORDER_CANCELED, pair.desk.order(exit_id)))
    if restarted:
        pair.monitor = pair.fresh(View.of(pair.desk.book, None))

    (wish,) = pair.at("1.08990").exits

    asked = pair.desk.keep(
        pair.desk.core.exit_trades([(wish.trade_id, wish.reason.value)], "monitor", pair.desk.now_ns)
    )
    assert pair.desk.order(placed_in(asked)[0]).quantity == (1000 if fate == "refused" else 900)
    pair.tell(asked)
    assert not pair.at("1.08980"), "all of it is claimed now"


def test_a_tick_that_was_seen_changes_nothing() -> None:
    pair = Pair()
    pair.open(stop_loss="1.09000")
    low = pair.tick("1.08990")
    pair.monitor.at(low)
    before = pair.monitor.save()

    assert not pair.monitor.at(low)
    window = TickWindow((low,))
    assert pair.monitor.quiet_until(window, 0, 1) == 1
    assert pair.monitor.passed(window, 0, 1, last_quotes(window, 0, 1), window.extremes()) is None
    assert pair.monitor.save() == before


def test_news_that_belongs_to_a_later_tick_is_told_before_that_tick_and_not_earlier() -> None:
    pair = Pair()
    pair.at("1.10000")
    decided = pair.desk.decide(buy(stop_loss="1.09000"))
    ticks = [pair.tick("1.10000") for _ in range(6)]
    (entry_id,) = placed_in(decided)
    filled = pair.desk.fill(pair.desk.order(entry_id), position=5)
    pair.tell(decided, filled)
    window = TickWindow(tuple(ticks))  # ticks 3 to 8

    stop = pair.monitor.quiet_until(window, 0, 6)

    assert window.ticks[stop].position == filled.entries[0].record.stamp // 2
    assert pair.monitor.view.trades[pair.desk.order(entry_id).trade_id or ""].status is TradeStatus.PENDING
    assert pair.monitor.quiet_until(window, stop, 6) == 6
    assert pair.monitor.view.trades[pair.desk.order(entry_id).trade_id or ""].status is TradeStatus.OPEN


@pytest.mark.parametrize("restarted", [False, True])
def test_what_strategies_answer_to_the_news_of_a_tick_comes_behind_the_look_at_it(restarted: bool) -> None:
    pair = Pair()
    trade_id = pair.open(stop_loss="1.09000")
    tick = pair.tick("1.10000")
    window = TickWindow((tick,))
    saved, view = pair.monitor.save(), deepcopy(pair.monitor.view)
    news = pair.desk.news(K.FINANCED, amount=D(1), instrument=EUR, position=tick.position)
    answer = pair.desk.decide(MoveStop(trade_id=trade_id, stop_loss=D("1.10005")), stamp=news.entries[0].record.stamp)
    assert {entry.record.stamp for entry in (*news.entries, *answer.entries)} == {2 * tick.position}
    if restarted:
        pair.monitor = pair.fresh(view, saved)
        pair.monitor.deliver(pair.entries)
        pair.tell(news, answer)
        assert pair.monitor.quiet_until(window, 0, 1) == 0
    else:
        pair.tell(news)

    assert not pair.monitor.at(tick).exits, "when it looked, the stop was further away"

    if not restarted:
        pair.tell(answer)
    (exit_,) = pair.monitor.at(pair.tick("1.10000")).exits
    assert exit_.trade_id == trade_id


def test_quiet_ticks_are_passed_with_the_last_quote_of_each_instrument() -> None:
    ticks = [
        Tick("EUR_USD", 1, D(1), D(2), 1),
        Tick("GBP_USD", 2, D(3), D(4), 2),
        Tick("EUR_USD", 3, D(5), D(6), 3),
        Tick("EUR_USD", 4, D(7), D(8), 4),
    ]

    assert last_quotes(TickWindow(tuple(ticks)), 0, 3) == {
        "EUR_USD": Quote(D(5), D(6), 3),
        "GBP_USD": Quote(D(3), D(4), 2),
    }


# --- exits that fail --------------------------------------------------------------------------------------------------


def exits_of(pair: Pair, seen: Watched) -> Effects:
    wishes = [(exit_.trade_id, exit_.reason.value) for exit_ in seen.exits]
    return pair.desk.keep(pair.desk.core.exit_trades(wishes, "monitor", pair.desk.now_ns))


def test_an_exit_that_the_gate_denied_is_asked_for_again_at_the_next_tick() -> None:
    pair = Pair(limits=NONE)
    pair.desk.core.gate = type(pair.desk.core.gate)(RiskLimits(messages_per_second=1))
    trade_id = pair.open(stop_loss="1.09000")
    pair.desk.core.gate.rates.note_message(pair.desk.now_ns + NS)  # another message leaves no room for this one
    first = pair.at("1.08990")

    pair.tell(exits_of(pair, first))

    assert pair.desk.book.trades[trade_id].status is TradeStatus.OPEN
    assert [exit_.trade_id for exit_ in pair.at("1.08990").exits] == [trade_id]


def test_an_exit_that_the_venue_refused_is_asked_for_again_at_the_next_tick() -> None:
    pair = Pair()
    pair.open(stop_loss="1.09000")
    asked = exits_of(pair, pair.at("1.08990"))
    (exit_id,) = placed_in(asked)
    pair.tell(asked, pair.desk.news(K.ORDER_REJECTED, pair.desk.order(exit_id), reason="no"))

    assert pair.at("1.08995").exits


def test_while_halted_exits_wait_for_the_release_and_then_act() -> None:
    pair = Pair()
    pair.open(stop_loss="1.09000")
    pair.at("1.10000")
    pair.tell(pair.desk.core.latch(Latch.HALTED, "wished", "anna", pair.desk.now_ns))

    low = pair.tick("1.08990")
    window = TickWindow((low,))
    assert pair.monitor.quiet_until(window, 0, 1) == 1, "a tick at which nothing can be done is quiet"
    assert not pair.monitor.at(low)

    pair.tell(pair.desk.core.release("looked", "anna", pair.desk.now_ns))
    assert pair.at("1.08990").exits


def test_while_reduce_only_exits_go_on() -> None:
    pair = Pair()
    pair.open(stop_loss="1.09000")
    pair.tell(pair.desk.core.latch(Latch.REDUCE_ONLY, "wished", "anna", pair.desk.now_ns))

    assert pair.at("1.08990").exits


# --- equity and limits ------------------------------------------------------------------------------------------------


def test_equity_is_the_balance_and_what_is_held_at_the_last_quotes() -> None:
    pair = Pair()
    pair.monitor.follow(0)
    assert pair.monitor.equity() == 10_000
    pair.open()
    pair.monitor.follow(10**9)
    assert pair.monitor.equity() is None, "there is no price yet"

    pair.at("1.10510")
    assert pair.monitor.equity() == D("10005.0000")
    assert pair.monitor.seen() is None, "nobody asks for it"


def test_a_loss_limit_trips_at_the_very_tick_and_once() -> None:
    pair = Pair(RiskLimits(daily_loss_max=D(5), on_trip="halt"))
    pair.open()
    pair.at("1.10010")
    window = TickWindow(tuple(pair.tick(bid) for bid in ("1.09900", "1.09511", "1.09510", "1.09000")))

    assert pair.monitor.quiet_until(window, 0, 4) == 2
    pair.monitor.passed(window, 0, 2, last_quotes(window, 0, 2), window.extremes(0, 2))
    seen = pair.monitor.at(window.ticks[2])

    assert seen.trip is not None
    assert (seen.trip.latch, seen.trip.found, seen.trip.allowed) == (Latch.HALTED, "5.0000", "5")
    equity = pair.monitor.seen()
    assert equity is not None
    assert (equity.equity, equity.day_start) == (D("9995.0000"), D("10000.0000"))
    assert pair.monitor.at(window.ticks[3]).trip is None


def test_a_trip_that_is_in_the_journal_is_not_asked_for_again() -> None:
    """After a restart the monitor walks through its past: a person may have released the account since."""
    pair = Pair(RiskLimits(daily_loss_max=D(5)))
    pair.open()
    pair.at("1.10010")
    saved = pair.monitor.save()
    view_then = View.of(pair.desk.book, None)
    low = pair.tick("1.09000")
    assert pair.monitor.at(low).trip is not None
    latched = pair.desk.keep(pair.desk.core.latch(Latch.REDUCE_ONLY, "tripped", "risk", pair.desk.now_ns))

    again = pair.fresh(view_then, saved)
    again.deliver(latched.entries)

    assert again.at(low).trip is None


def test_a_release_measures_anew() -> None:
    pair = Pair(RiskLimits(daily_loss_max=D(5)))
    pair.open()
    pair.at("1.10010")
    assert pair.at("1.09000").trip
    pair.tell(pair.desk.core.latch(Latch.REDUCE_ONLY, "tripped", "risk", pair.desk.now_ns))
    pair.tell(pair.desk.core.release("looked", "anna", pair.desk.now_ns))

    assert pair.at("1.08600").trip is None
    assert pair.at("1.08500").trip


def test_a_deposit_is_neither_profit_nor_loss() -> None:
    pair = Pair(RiskLimits(drawdown_max=D(5)))
    pair.at("1.10000")
    pair.tell(pair.desk.news(K.DEPOSITED, amount=D(-1000)))

    assert pair.at("1.10000").trip is None
    assert pair.monitor.equity() == 9_000
    assert pair.monitor.tracker.state.max_drawdown == 0


def test_a_new_trading_day_is_looked_at_by_itself() -> None:
    pair = Pair()
    pair.open()
    pair.at("1.10000")
    pair.tell(pair.desk.news(K.FINANCED, amount=D("-1"), instrument=EUR))
    pair.at("1.10000")  # the tracker has a day from here on
    first = pair.desk.position + 1
    ticks = [Tick(EUR, START_NS + n * DAY_NS // 4, D("1.1"), D("1.1001"), first + n) for n in range(6)]
    window = TickWindow(tuple(ticks))

    begins = pair.monitor.quiet_until(window, 0, 6)

    assert 0 < begins < 6
    assert ticks[begins].ts_ns >= pair.monitor.tracker.state.returns.day_ends_ns > ticks[begins - 1].ts_ns
    before = pair.monitor.tracker.state.returns.count
    pair.monitor.passed(window, 0, begins, last_quotes(window, 0, begins), window.extremes(0, begins))
    pair.monitor.at(ticks[begins])
    assert pair.monitor.tracker.state.returns.count == before + 1


def test_equity_that_cannot_be_known_is_never_called_quiet() -> None:
    pair = Pair(RiskLimits(daily_loss_max=D(5)))
    pair.open()
    window = TickWindow((Tick("GBP_USD", START_NS, D(1), D(2), 9),))

    assert pair.monitor.quiet_until(window, 0, 1) == 0
    pair.monitor.at(window.ticks[0])
    assert pair.monitor.seen() is None


# --- figures ----------------------------------------------------------------------------------------------------------


def closed_trade(pair: Pair, **more: Any) -> str:
    trade_id = pair.open(**more)
    decided = pair.desk.decide(leave())
    (exit_id,) = placed_in(decided)
    pair.tell(decided, pair.desk.fill(pair.desk.order(exit_id), price="1.10110"))
    pair.monitor.follow(10**9)
    return trade_id


def test_a_trade_counts_once_when_it_closes() -> None:
    pair = Pair()

    trade_id = closed_trade(pair)

    sums = pair.monitor.tracker.state.trades
    assert (sums.total, sums.winning, sums.pnl) == (1, 1, D("1.0000"))
    seen = pair.desk.core.note(r.ExcursionSeen(ts_ns=1, stamp=99, trade_id=trade_id, best=D("1.2"), worst=None))
    pair.tell(seen)
    pair.monitor.follow(10**9)
    assert sums.total == 1, "what is learnt of it later does not close it again"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trade_that_a_late_fill_opens_again_is_taken_back_as_it_was_counted(restarted: bool) -> None:
    pair = Pair()
    limits: dict[str, Any] = {
        "type": OrderType.LIMIT,
        "price": "1.10010",
        "stop_loss": "1.09000",
        "take_profit": "1.12000",
    }
    decided = pair.desk.decide(buy(**limits))
    entry = pair.desk.order(placed_in(decided)[0])
    pair.tell(decided, pair.desk.fill(entry, 400, fee=D("0.2")), pair.desk.news(K.ORDER_CANCELED, entry))
    left = pair.desk.decide(leave())
    pair.tell(left, pair.desk.fill(pair.desk.order(placed_in(left)[0]), 400, price="1.10110"))
    pair.monitor.follow(10**9)
    assert pair.monitor.tracker.state.trades.total == 1
    if restarted:
        pair.monitor = pair.fresh(View.of(pair.desk.book, None), pair.monitor.save())

    pair.tell(pair.desk.fill(entry, 600, price="1.10000", fee=D("0.3")))
    pair.monitor.follow(10**9)

    sums = pair.monitor.tracker.state.trades
    assert (sums.total, sums.pnl, sums.risk_reward_count, sums.risk_reward_sum) == (0, D(0), 0, D(0))
    (again,) = pair.monitor.watch.trades.values()
    assert again.open_quantity == 600


def test_a_snapshot_tells_the_figures_and_changes_none() -> None:
    pair = Pair()
    closed_trade(pair)
    pair.open()
    pair.at("1.10510")
    before = pair.monitor.save()

    taken = pair.monitor.snapshot("run-1", START_NS, "normal")

    figures = taken.snapshot
    assert (figures.total_trades, figures.balance, figures.equity) == (1, D("10001.0000"), D("10006.0000"))
    assert (figures.session, figures.parameter_mode) == (Session.NY, "normal")
    assert taken.metrics is not None
    assert pair.monitor.save() == before


def test_before_anything_is_booked_the_balance_is_what_the_account_was_opened_with() -> None:
    monitor = Pair().monitor

    assert monitor.snapshot("run-1", START_NS, None).snapshot.balance == monitor.view.balance == 10_000
    assert monitor.report().balance == 10_000


def test_without_a_price_a_snapshot_tells_the_last_equity_that_was_known() -> None:
    pair = Pair()
    pair.open()
    pair.monitor.follow(10**9)

    assert pair.monitor.snapshot("run-1", START_NS, None).snapshot.equity == pair.monitor.tracker.state.balance


def test_the_account_is_looked_at_on_the_very_first_tick_and_is_worth_its_deposit() -> None:
    pair = Pair()
    window = TickWindow(tuple(pair.tick("1.10000") for _ in range(3)))

    assert pair.monitor.quiet_until(window, 0, 3) == 0
    pair.monitor.at(window.ticks[0])

    assert pair.monitor.quiet_until(window, 1, 3) == 3
    curve = pair.monitor.tracker.state.curve
    assert (curve.first_ns, curve.first_equity) == (window.ticks[0].ts_ns, D(10_000))


@pytest.mark.parametrize("at_once", [True, False])
def test_the_market_is_measured_from_the_first_quote_of_each_instrument(at_once: bool) -> None:
    pair = Pair()
    pair.at("1.10000")
    first = pair.desk.position + 1
    quoted = [("GBP_USD", "1.5"), (EUR, "1.1"), ("GBP_USD", "1.8"), (EUR, "1.21")]
    ticks = [Tick(name, START_NS + n * NS, D(bid), D(bid), first + n) for n, (name, bid) in enumerate(quoted)]
    window = TickWindow(tuple(ticks))

    if at_once:
        pair.monitor.passed(window, 0, 4, last_quotes(window, 0, 4), window.extremes())
    else:
        for tick in ticks:
            pair.monitor.at(tick)

    market = pair.monitor.report().market
    assert market.change_percent == {EUR: D("9.995000"), "GBP_USD": D(20)}  # the euro's first quote was 1.10005
    assert market.buy_and_hold_percent == D("14.9975")


def test_what_fills_cost_is_counted_at_the_price_that_was_seen() -> None:
    pair = Pair()
    decided = pair.desk.decide(buy())
    entry = pair.desk.order(placed_in(decided)[0])
    assert entry.reference_price is not None
    pair.tell(decided, pair.desk.fill(entry, price=str(entry.reference_price + D("0.00003")), fee=D("0.07")))
    pair.monitor.follow(10**9)

    costs = pair.monitor.report().costs
    assert (costs.fills, costs.fills_unpriced, costs.fees) == (1, 0, D("0.07"))
    assert costs.slippage_cost == D("0.03")
    assert costs.turnover == 1000 * (entry.reference_price + D("0.00003"))


def test_figures_that_the_version_before_has_saved_go_on() -> None:
    pair = Pair()
    closed_trade(pair)
    pair.at("1.10000")
    saved = msgspec.msgpack.decode(pair.monitor.save())
    kept = ("ticks", "balance", "equity", "peak_equity", "max_drawdown", "max_drawdown_peak", "trades")
    days = {"day", "day_ends_ns", "day_start_equity", "day_deposits", "count", "total", "squares"}
    older = {"version": 1} | {name: saved["tracker"][name] for name in kept}
    older["returns"] = {name: value for name, value in saved["tracker"]["returns"].items() if name in days}
    saved["tracker"] = older

    pair.monitor = pair.fresh(View.of(pair.desk.book, None), msgspec.msgpack.encode(saved))
    closed_trade(pair)

    taken = pair.monitor.snapshot("run-1", START_NS, None).snapshot
    assert (taken.total_trades, taken.pnl) == (2, D("2.0000"))
    report = pair.monitor.report()
    assert (report.total_trades, report.earlier_trades, report.trades.count) == (2, 1, 1)


# --- properties -------------------------------------------------------------------------------------------------------


class Recorder(World):
    """A world that writes down what its monitor asked for, and that can look at every tick by itself."""

    every_tick = False

    def start(self) -> None:
        super().start()
        self.asked: list[tuple[int, str]] = []

    def _window(self, window: TickWindow) -> None:
        if not self.every_tick:
            super()._window(window)
            return
        for index in range(len(window.ticks)):
            acts = self.matcher.quiet_until(window, index) == index
            self.loud(window, index, venue_acts=acts)

    def _watch(self, tick: Tick) -> bool:
        first = self.book.sequence
        answered = super()._watch(tick)
        for entry in self.tail[first:]:
            if isinstance(entry.record, r.OrdersIntended | r.StopMoved | r.LatchChanged):
                self.asked.append((tick.position, r.record_type(entry.record)))
        return answered


def recorded(seed: int, *, every_tick: bool, **more: Any) -> Recorder:
    gamblers = {name: Gambler(GamblerParams(seed=seed + n)) for n, name in enumerate("ab")}
    found = Recorder(walk(seed, 60), gamblers, exits_at_venue=False, **more)
    found.every_tick = every_tick
    found.run()
    return found


@pytest.mark.untraced
@given(st.integers(0, 10**6), st.sampled_from([1, 7, 16, 64]), st.booleans())
def test_skipping_quiet_ticks_is_the_same_as_looking_at_each(seed: int, window: int, limited: bool) -> None:
    limits = RiskLimits(daily_loss_max=D(2), drawdown_max=D("2.5")) if limited else NONE

    skipping = recorded(seed, every_tick=False, window=window, limits=limits)
    looking = recorded(seed, every_tick=True, window=window, limits=limits)

    assert skipping.asked == looking.asked
    assert skipping.journal == looking.journal
    assert skipping.monitor.tracker.state == looking.monitor.tracker.state
    assert skipping.monitor.risk.state == looking.monitor.risk.state


@pytest.mark.untraced
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_restored_from_any_cut_it_has_the_same_future(seed: int, at: float, back: float) -> None:
    """And ticks that it has seen already, fed again by a feed that had to go back, change nothing."""
    limits = RiskLimits(daily_loss_max=D(3), drawdown_max=D(4))
    done = world(seed, settings=costs, limits=limits, exits_at_venue=False, cut_every=0).run()
    entries = tuple(done.tail)
    position = int(at * len(done.ticks))

    def fed(core: MonitorCore, start: int, stop: int) -> None:
        """The conductor's way with a monitor alone: its wishes are in the journal already."""
        window = TickWindow(tuple(done.ticks[start:stop])) if start < stop else None
        index = 0
        while window is not None and index < stop - start:
            calm = core.quiet_until(window, index, stop - start)
            if calm > index:
                core.passed(window, index, calm, last_quotes(window, index, calm), window.extremes(index, calm))
                index = calm
            else:
                core.at(window.ticks[index])
                index += 1

    def fresh(view: View, saved: bytes | None) -> MonitorCore:
        core = MonitorCore(view, done.instruments, "USD", limits, saved)
        core.deliver([e for e in entries if e.sequence > view.inbox])
        return core

    straight = fresh(View(strategy=None), None)
    fed(straight, 0, position)
    straight.follow(2 * position + 1)
    restored = fresh(deepcopy(straight.view), straight.save())
    fed(straight, position, len(done.ticks))

    fed(restored, int(back * position), len(done.ticks))

    assert restored.save() == straight.save()
    assert restored.watch.trades == straight.watch.trades
    assert restored.view.balance == done.book.money.balance


@pytest.mark.untraced
@given(st.integers(0, 10**6), st.booleans())
def test_what_a_run_comes_to_is_what_its_books_say(seed: int, hedging: bool) -> None:
    done = world(seed, settings=costs, hedging=hedging, cut_every=0).run()
    done.monitor.deliver([entry for entry in done.tail if entry.sequence > done.monitor.view.inbox])
    done.monitor.follow(10**9)
    book, report = done.book, done.monitor.report()
    trades = (*book.trades.values(), *book.closed.values())
    closed = [trade for trade in trades if trade.status is TradeStatus.CLOSED]

    assert (report.trades.count, report.trades.pnl) == (len(closed), sum((t.pnl for t in closed), D(0)))
    assert report.trades.fees == sum((t.entry_fee + t.exit_fee for t in closed), D(0))
    assert (report.costs.fees, report.costs.financing) == (book.money.fees, book.money.financing)
    fills = [entry.fill for entry in done.record if entry.fill is not None]
    assert report.costs.fills == len(fills)
    assert report.costs.turnover == sum((f.quantity * f.price for f in fills), D(0)), (
        "the account's currency is the quote's"
    )
    slipped = sum((t.entry_slippage + t.exit_slippage for t in trades), D(0))
    assert report.costs.slippage_cost == (slipped if fills else None)
    slipped_closed = sum((t.entry_slippage + t.exit_slippage for t in closed), D(0))
    assert report.trades.slippage_cost == (slipped_closed if closed else None)
    assert report.equity is not None
    assert report.returns.total_pnl == report.equity - book.money.deposits
    earned = [day.earned for day in report.periods.by_day.values() if day.earned is not None]
    assert sum(earned, D(0)) == report.returns.total_pnl
    if fills and not book.positions:
        assert report.equity == book.money.balance


def test_the_monitor_of_a_killed_world_has_the_same_figures() -> None:
    plain = world(5, limits=RiskLimits(daily_loss_max=D(1000))).run()
    killed = world(5, Unlucky([100, 260, 400]), limits=RiskLimits(daily_loss_max=D(1000))).run()

    assert killed.monitor.risk.state == plain.monitor.risk.state
    assert killed.monitor.tracker.state == plain.monitor.tracker.state


def test_a_world_without_strategies_is_quiet() -> None:
    quiet = World(ticks_of(["1.1"] * 5), {"a": Gambler(GamblerParams(one_in=10**9))}).run()

    assert not quiet.book.trades
