"""The strategist's core: news and ticks in their one order, a stop at every decision, and a way back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, getcontext
from typing import Any

import msgspec
import pytest
from msgspec import Struct, structs

from tests.unit.domain.executor_desk import ExecutorDesk, K, Side, buy, leave, placed_in
from tests.unit.domain.markets import tick_bars
from tests.unit.domain.world import EUR, NS, RUN, START_NS, ticks_of
from tradekeel.domain.effects import Effects
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Cancel, Decision, Emit, MoveStop, Request, SetTimer, Stamp
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.rows import CHECKPOINT_BYTES_MAX, Latch
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.domain.view import View
from tradekeel.errors import Defect, InputError
from tradekeel.strategies.base import (
    AnyStrategy,
    FillEvent,
    OrderUpdate,
    Paused,
    Resumed,
    Started,
    Stopped,
    Strategy,
    StrategyContext,
    TimerFired,
)
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore
from tradekeel.strategies.saving import ExecutionState, decode_execution_state

D = Decimal
Wishes = dict[str, Sequence[Request]]
after, before = Stamp.after, Stamp.before


class Params(Struct, frozen=True):
    pass


class Log(Struct, frozen=True):
    """What the strategy was told, in order."""

    told: tuple[str, ...] = ()


class Scribe(Strategy[Params, Log]):
    """Writes down everything it is told; asks for what ``wishes`` says, by the line it has just written."""

    Params, State = Params, Log

    def __init__(self, wishes: Wishes | None = None, timeframes: tuple[str, ...] = (), warm_from: int = 0) -> None:
        super().__init__(Params())
        self.wishes = wishes or {}
        self.warm_from = warm_from
        self._frames = timeframes

    def timeframes(self) -> tuple[str, ...]:
        return self._frames

    def is_warm(self, state: Log) -> bool:
        return sum(line.startswith("tick") for line in state.told) >= self.warm_from

    def _write(self, line: str, state: Log) -> tuple[Log, Sequence[Request]]:
        return Log((*state.told, line)), self.wishes.get(line, ())

    def on_start(self, event: Started, state: Log, context: StrategyContext) -> Any:
        return self._write(f"start resumed={event.resumed} gap={event.gap_ns}", state)

    def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
        return self._write(f"tick {tick.position}", state)

    def on_bar(self, bar: Bar, state: Log, context: StrategyContext) -> Any:
        return self._write(f"bar {bar.timeframe} {bar.position}", state)

    def on_fill(self, event: FillEvent, state: Log, context: StrategyContext) -> Any:
        word = "in" if event.opens else "out"
        return self._write(f"fill {word} {event.quantity} {event.trade.status} balance {context.balance}", state)

    def on_order(self, event: OrderUpdate, state: Log, context: StrategyContext) -> Any:
        return self._write(f"order {event.order.purpose} {event.event}", state)

    def on_timer(self, event: TimerFired, state: Log, context: StrategyContext) -> Any:
        return self._write(f"timer {event.name}", state)

    def on_pause(self, event: Paused, state: Log, context: StrategyContext) -> Any:
        return self._write(f"pause {event.reason}", state)

    def on_resume(self, event: Resumed, state: Log, context: StrategyContext) -> Any:
        return self._write("resume", state)

    def on_stop(self, event: Stopped, state: Log, context: StrategyContext) -> Any:
        return self._write(f"stop {event.reason}", state)


SAY = (Emit(type="said"),)


def core_of(
    strategy: AnyStrategy, view: View | None = None, saved: bytes | None = None, symbols: Sequence[str] = (EUR,)
) -> StrategistCore:
    settings = StrategySettings(name="a", execution=RUN, instruments={s: CATALOGUE[s] for s in symbols})
    state = None if saved is None else decode_execution_state(saved)
    return StrategistCore(strategy, settings, view or View(strategy="a"), state)


def window(start: int = 1, stop: int = 6, **more: Any) -> TickWindow:
    """Ticks ``start`` to ``stop``."""
    ticks = ticks_of(["1.1"] * stop, **more)
    return TickWindow(tuple(ticks[start - 1 :]))


def told(core: StrategistCore) -> list[str]:
    return list(core.state.told)


def ticks(*positions: int) -> list[str]:
    return [f"tick {p}" for p in positions]


# --- running and deciding ---------------------------------------------------------------------------------------------


def test_it_runs_to_the_stamp_it_is_told_and_no_tick_further() -> None:
    core = core_of(Scribe())

    assert core.run(window(), after(3)) == after(3)
    assert core.run(window(), before(5)) == before(5)
    assert told(core) == ticks(1, 2, 3, 4)
    assert (core.position, core.ticks_processed, core.last_tick_ns) == (4, 4, START_NS + 3 * NS)


def test_it_stops_at_the_first_decision_and_holds_it() -> None:
    core = core_of(Scribe({"tick 2": SAY, "tick 4": SAY}))

    assert core.run(window(), after(6)) == after(2)
    assert core.run(window(), after(6)) == after(2), "until it is confirmed it goes nowhere"
    assert told(core) == ticks(1, 2)

    decision = core.confirm(window(), after(2))
    assert decision is not None
    assert (decision.number, decision.position, decision.stamp, decision.requests) == (1, 2, after(2), SAY)
    assert decode_execution_state(decision.state).position == 2
    assert core.run(window(), after(6)) == after(4)


def test_ticks_that_were_seen_and_ticks_of_others_are_passed_over() -> None:
    core = core_of(Scribe(), symbols=("GBP_USD",))
    mixed = [Tick("GBP_USD" if n % 3 == 0 else EUR, n, D("1.1"), D("1.2"), n) for n in range(1, 9)]
    part = TickWindow(tuple(mixed))

    core.run(part, after(8))
    core.run(part, after(8))

    assert told(core) == ticks(3, 6)
    assert (core.position, core.ticks_processed, core.last_tick_ns) == (8, 2, 6)


def test_without_ticks_it_only_moves_its_stamp() -> None:
    core = core_of(Scribe())

    assert core.run(None, after(9)) == after(9)
    assert core.position == 0


def test_a_timer_is_set_without_a_decision_and_fires_at_the_first_tick_from_then_on() -> None:
    at_ns = START_NS + 2 * NS + 1
    core = core_of(Scribe({"tick 1": (SetTimer(name="t", at_ns=at_ns),)}))

    core.run(window(), after(6))

    assert told(core) == [*ticks(1, 2, 3), "timer t", *ticks(4, 5, 6)]
    assert not core.timers


def test_timers_fire_in_the_order_of_their_times_and_a_new_time_replaces_the_old() -> None:
    wishes: Wishes = {
        "tick 1": tuple(SetTimer(name=name, at_ns=START_NS + at) for name, at in (("a", NS), ("b", 0), ("c", 0))),
        "timer b": (SetTimer(name="a", at_ns=START_NS + 3 * NS), SetTimer(name="b", at_ns=START_NS + 3 * NS)),
    }
    core = core_of(Scribe(wishes))

    core.run(window(), after(4))

    assert told(core) == ["tick 1", "timer b", "timer c", *ticks(2, 3), "timer a", "timer b", "tick 4"]


def test_timer_bar_and_tick_of_one_moment_are_one_decision() -> None:
    wishes: Wishes = {
        "tick 1": (SetTimer(name="t", at_ns=START_NS + 5 * NS),),
        "timer t": (Emit(type="timer"),),
        "bar 5t 6": (Emit(type="bar"),),
        "tick 6": (Emit(type="tick"),),
    }
    core = core_of(Scribe(wishes, timeframes=("5t",)))
    part = TickWindow(window().ticks, tick_bars(window().ticks))

    assert core.run(part, after(6)) == after(6)

    assert core.held is not None
    assert [e.type for e in core.held.requests if isinstance(e, Emit)] == ["timer", "bar", "tick"]
    assert core.held.number == 1


def test_bars_of_other_timeframes_and_instruments_are_not_for_it() -> None:
    core = core_of(Scribe(timeframes=("1m",)))
    part = TickWindow(window().ticks, tick_bars(window().ticks))

    core.run(part, after(6))

    assert told(core) == ticks(1, 2, 3, 4, 5, 6)
    assert core.ticks_processed == 6


def test_a_bar_of_its_own_that_a_foreign_tick_completes_is_told() -> None:
    core = core_of(Scribe(timeframes=("5t",)))
    foreign = Tick("GBP_USD", START_NS + 9 * NS, D(1), D(2), 6)
    own = window(1, 5).ticks
    part = TickWindow((*own, foreign), {5: tick_bars([*own, foreign])[5]})

    core.run(part, after(6))

    assert told(core) == [*ticks(1, 2, 3, 4, 5), "bar 5t 6"]
    assert (core.ticks_processed, core.last_tick_ns) == (5, START_NS + 4 * NS)


def test_a_strategy_that_wants_no_ticks_gets_none() -> None:
    class Bars(Scribe):
        on_tick = Strategy.on_tick

    core = core_of(Bars(timeframes=("5t",)))
    part = TickWindow(window().ticks, tick_bars(window().ticks))

    core.run(part, after(6))

    assert told(core) == ["bar 5t 6"]
    assert core.ticks_processed == 6


# --- agreeing ---------------------------------------------------------------------------------------------------------


def test_when_somebody_else_decided_earlier_it_comes_back_and_takes_the_same_way_again() -> None:
    core = core_of(Scribe({"tick 5": SAY, "tick 1": (SetTimer(name="t", at_ns=START_NS + 2 * NS),)}))
    core.run(window(), after(6))
    assert core.stamp == after(5)

    assert core.confirm(window(), after(2)) is None

    assert told(core) == ticks(1, 2)
    assert (core.position, core.stamp, core.held, core.decisions) == (2, after(2), None, 0)
    assert core.timers == {"t": START_NS + 2 * NS}
    assert core.run(window(), after(6)) == after(5)
    assert told(core) == [*ticks(1, 2), "timer t", *ticks(3, 4, 5)]
    assert core.confirm(window(), after(5)) is not None


def test_a_decision_of_an_earlier_stamp_is_handed_over_and_one_of_a_later_is_kept() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe({"pause lunch": SAY}))
    desk.core.at(before(3))
    tell(core, desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns)))
    core.run(window(), after(2))
    core.run(window(), before(3))
    assert core.held is not None

    assert core.confirm(window(), after(2)) is None
    assert core.held is not None
    assert core.confirm(window(), before(3)) is not None


def test_a_strategy_that_decides_differently_the_second_time_is_told_on() -> None:
    class Fickle(Scribe):
        calls = 0

        def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
            self.calls += 1
            return state, SAY if self.calls == 7 else ()

    core = core_of(Fickle())
    core.run(window(), after(5))

    with pytest.raises(InputError, match="it is not pure"):
        core.confirm(window(), after(4))


# --- news -------------------------------------------------------------------------------------------------------------


def follower(desk: ExecutorDesk, strategy: AnyStrategy, **more: Any) -> StrategistCore:
    """A strategist that begins with the desk's account as it is."""
    return core_of(strategy, View.of(desk.book, "a"), **more)


def tell(core: StrategistCore, *steps: Effects) -> None:
    core.deliver([entry for step in steps for entry in step.entries])


def test_news_is_told_between_the_ticks_it_belongs_between() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    desk.core.at(before(3))
    paused = desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))
    desk.core.at(after(4))
    tell(core, paused, desk.keep(desk.core.pause(False, "", "anna", desk.now_ns)))

    reached: list[int] = []
    while not reached or reached[-1] < after(6):
        reached.append(core.run(window(), after(6)))

    assert told(core) == [*ticks(1, 2), "pause lunch", *ticks(3, 4), "resume", *ticks(5, 6)]
    assert reached == [after(2), after(4), after(6)], "it stops where news is due, so that all come there first"


def test_news_that_is_due_is_told_of_before_anything_else_may_happen() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    desk.core.at(after(4))
    tell(core, desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns)))

    reached = core.run(window(), after(4))

    assert (reached, told(core)) == (after(4), ticks(1, 2, 3, 4))
    assert core.has_more(reached)
    assert core.run(window(), after(4)) == after(4)
    assert not core.has_more(after(4))
    assert told(core)[-1] == "pause lunch"


def test_entries_come_in_order_without_a_gap_and_twice_is_once() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    step = desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))

    tell(core, step, step)
    assert core.read_to == step.entries[-1].sequence
    with pytest.raises(Defect, match=r"journal entry .* follows"):
        core.deliver([structs.replace(step.entries[0], sequence=core.read_to + 2)])
    core.run(None, after(9))
    assert told(core) == ["pause lunch"]
    assert core.read_to == core.view.inbox


def lines(core: StrategistCore, *steps: Effects) -> list[str]:
    """What the strategy is told of these steps."""
    core.run(window(1, 1), after(1))
    already = len(told(core))
    tell(core, *steps)
    while core.has_more(after(1)):
        core.run(None, after(1))
    return told(core)[already:]


def test_the_life_of_a_trade_in_the_words_of_its_strategy() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    decided = desk.decide(buy(stop_loss="1.09000"))
    entry = desk.order(placed_in(decided)[0])
    (stop,) = desk.children(entry)

    assert lines(core, decided, desk.accept(entry)) == ["order entry accepted"]
    assert lines(core, desk.fill(entry, 400)) == ["fill in 400 OPEN balance 10000"]
    assert lines(core, desk.accept(stop, quantity=D(400))) == ["order exit accepted"]
    assert lines(core, desk.fill(entry, 600)) == ["fill in 600 OPEN balance 10000"]
    assert lines(core, desk.news(K.ORDER_AMENDED, stop, quantity=D(1000))) == []
    assert lines(core, desk.fill(stop, price="1.09010")) == ["fill out 1000 CLOSED balance 9990.00000"]


def test_whatever_else_may_become_of_an_order() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())

    def entered() -> tuple[Effects, Any]:
        step = desk.decide(buy())
        return step, desk.order(placed_in(step)[0])

    for kind, word in ((K.ORDER_REJECTED, "rejected"), (K.ORDER_CANCELED, "canceled"), (K.ORDER_EXPIRED, "expired")):
        step, order = entered()
        assert lines(core, step, desk.news(kind, order)) == [f"order entry {word}"]
    step, order = entered()
    lost = desk.keep(desk.core.lost(order.client_order_id, "timeout", desk.now_ns))
    assert lines(core, step, lost) == ["order entry unknown"]
    gone = desk.keep(desk.core.resolve(order.client_order_id, OrderStatus.NOT_SENT, "anna", desk.now_ns))
    assert lines(core, gone) == ["order entry not_sent"]
    for outcome, word in ((OrderStatus.REJECTED, "rejected"), (OrderStatus.EXPIRED, "expired")):
        step, order = entered()
        lost = desk.keep(desk.core.lost(order.client_order_id, "timeout", desk.now_ns))
        found = desk.keep(desk.core.resolve(order.client_order_id, outcome, "anna", desk.now_ns))
        assert lines(core, step, lost, found) == ["order entry unknown", f"order entry {word}"]
    step, order = entered()
    refused = desk.keep(desk.core.refused(order.client_order_id, "no such instrument", desk.now_ns))
    assert lines(core, step, refused) == ["order entry rejected"]
    paused = desk.keep(desk.core.pause(True, "", "anna", desk.now_ns))
    assert lines(core, paused, desk.decide(buy())) == ["pause ", "order entry denied"]


def test_an_order_that_is_taken_again_is_no_news() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    step = desk.decide(buy(stop_loss="1.09000"))
    (entry_id,) = placed_in(step)
    lost = desk.keep(desk.core.lost(entry_id, "timeout", desk.now_ns))
    lines(core, step, lost)

    again = desk.keep(desk.core.not_sent(entry_id, "never arrived", desk.now_ns, never_arrived=True))

    assert lines(core, again) == []


def test_what_concerns_others_is_no_news_and_still_in_the_account() -> None:
    desk = ExecutorDesk(at_venue=False)
    core = follower(desk, Scribe())
    step = desk.decide(buy(), strategy="b")
    order = desk.order(placed_in(step)[0])
    steps = [step, desk.accept(order), desk.fill(order, fee=D(1)), desk.news(K.FINANCED, amount=D(-2), instrument=EUR)]
    steps.append(desk.keep(desk.core.latch(Latch.REDUCE_ONLY, "tripped", "risk", desk.now_ns)))

    assert lines(core, *steps) == []
    assert core.view.balance == 9_997
    assert core.view.net_positions()[EUR].quantity == 1000
    assert not core.view.trades


def test_a_fill_that_belongs_to_several_trades_comes_once_a_trade() -> None:
    desk = ExecutorDesk(at_venue=False)
    for _ in range(2):
        desk.open(buy(300))
    core = follower(desk, Scribe())

    step = desk.fill(None, 500, side=Side.SELL)

    assert [line.split(" balance")[0] for line in lines(core, step)] == ["fill out 300 CLOSED", "fill out 200 OPEN"]


def test_a_decision_that_answers_news_says_what_it_had_read() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe({"pause lunch": SAY}))
    paused = desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))
    resumed = desk.keep(desk.core.pause(False, "", "anna", desk.now_ns))
    tell(core, paused, resumed)

    core.run(None, after(1))

    decision = core.confirm(None, after(1))
    assert decision is not None
    assert decision.inbox == paused.entries[-1].sequence
    assert told(core) == ["pause lunch"], "what comes after it waits"


def test_the_context_is_as_of_the_news_that_was_told() -> None:
    seen: list[StrategyContext] = []

    class Looking(Scribe):
        def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
            seen.append(context)
            return state, ()

    desk = ExecutorDesk()
    trade = desk.open()
    core = follower(desk, Looking())
    core.run(window(), after(1))
    tell(core, desk.decide(leave(trade)))
    core.run(window(), after(2))

    assert [t.status for c in seen for t in c.open_trades] == ["OPEN", "CLOSING"]
    assert [len(c.working_orders) for c in seen] == [0, 1]
    assert seen[0].open_positions[EUR].quantity == 1000
    assert (seen[0].strategy, seen[0].execution, seen[0].pip_size) == ("a", RUN, D("0.0001"))


# --- start and stop ---------------------------------------------------------------------------------------------------


def test_the_start_comes_first_and_may_decide() -> None:
    core = core_of(Scribe({"start resumed=False gap=0": SAY}))

    assert core.start(START_NS) is True
    assert core.run(window(), after(6)) == 0
    decision = core.confirm(window(), 0)
    assert decision is not None
    assert (decision.position, decision.stamp, decision.ts_ns) == (0, 0, START_NS)


def test_a_restart_is_told_as_one() -> None:
    first = core_of(Scribe())
    assert first.start(START_NS) is False
    second = core_of(Scribe(), saved=first.save())

    second.start(START_NS, gap_ns=5)

    assert told(second) == ["start resumed=False gap=0", "start resumed=True gap=5"]


def test_the_last_decision_closes_and_enters_nothing() -> None:
    trade_exit, entry = leave(quantity=5), buy(700)
    core = core_of(Scribe({"stop the day is over": (trade_exit, entry, Emit(type="bye"))}))

    decision = core.stop(START_NS, "the day is over")

    assert decision is not None
    assert [type(request).__name__ for request in decision.requests] == ["Exit", "Emit", "Emit"]
    (left_out, _) = [request for request in decision.requests if isinstance(request, Emit)]
    assert left_out.type == "entry_left_out"
    assert left_out.data["quantity"] == "700"
    assert decode_execution_state(decision.state).decisions == 1
    assert core.stop(START_NS, "again") is None


def last_bar(timeframe: str = "5t", symbol: str = EUR) -> Bar:
    price = Decimal("1.1")
    return Bar(symbol, timeframe, START_NS, START_NS + 1, price, price, price, price, ticks=5, position=5)


def test_the_bars_of_the_very_last_tick_come_before_the_end_and_nothing_is_entered_on_them() -> None:
    core = core_of(Scribe({"bar 5t 5": (*SAY, buy(700))}, timeframes=("5t",)))
    core.run(window(), Stamp.after(6))
    bars = [last_bar(), last_bar("7t"), last_bar(symbol="USD_JPY")]

    decision = core.stop(START_NS, "the feed has ended", for_good=True, bars=bars)

    assert told(core)[-2:] == ["bar 5t 5", "stop the feed has ended"]
    assert decision is not None
    assert [request.type for request in decision.requests if isinstance(request, Emit)] == ["said", "entry_left_out"]
    assert core.stop(START_NS, "the feed has ended", for_good=True, bars=bars) is None
    assert told(core)[-1] == "stop the feed has ended"


def test_the_end_of_the_run_is_taken_once_also_by_the_process_that_comes_back_to_it() -> None:
    script: dict[str, Any] = {"stop the feed has ended": SAY, "stop now": SAY}
    stopped = core_of(Scribe(script)).stop(START_NS, "now")
    assert stopped is not None
    core = core_of(Scribe(script), saved=stopped.state)

    ended = core.stop(START_NS, "the feed has ended", for_good=True)

    assert ended is not None, "a stop of the process is not the end"
    again = core_of(Scribe(script), saved=ended.state)
    assert again.stop(START_NS, "the feed has ended", for_good=True) is None


def test_a_stop_before_a_decision_was_confirmed_takes_it_along() -> None:
    core = core_of(Scribe({"start resumed=False gap=0": SAY, "stop now": SAY}))
    core.start(START_NS)

    decision = core.stop(START_NS, "now")

    assert decision is not None
    assert (decision.number, len(decision.requests)) == (1, 2)


def test_a_decision_on_top_of_one_that_was_not_confirmed_is_a_defect() -> None:
    core = core_of(Scribe({"start resumed=False gap=0": SAY, "start resumed=True gap=0": SAY}))
    core.start(START_NS)

    with pytest.raises(Defect, match="decided again before"):
        core.start(START_NS)


# --- warm -------------------------------------------------------------------------------------------------------------


def decisions_of(core: StrategistCore, part: TickWindow, until: int) -> list[Decision]:
    found = []
    while core.run(part, until) < until or core.has_more(until):
        decision = core.confirm(part, core.stamp)
        if decision is not None:
            found.append(decision)
    return found


def test_until_it_is_warm_its_decisions_say_so() -> None:
    core = core_of(Scribe({f"tick {n}": SAY for n in range(1, 7)}, warm_from=3))
    core.start(START_NS)

    assert [d.warm for d in decisions_of(core, window(), after(5))] == [False, False, True, True, True]


def test_the_context_says_what_was_said_last() -> None:
    seen: list[bool] = []

    class Looking(Scribe):
        def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
            seen.append(context.warm)
            return self._write(f"tick {tick.position}", state)

    core = core_of(Looking(warm_from=3))
    core.start(START_NS)
    core.run(window(), after(6))

    assert seen == [False, False, False, True, True, True]


def test_once_warm_it_is_asked_no_more_until_there_is_a_gap() -> None:
    class Forgetful(Scribe):
        asked = 0

        def is_warm(self, state: Log) -> bool:
            self.asked += 1
            return self.asked == 2 or self.asked > 3

    strategy = Forgetful()
    core = core_of(strategy)
    core.start(START_NS)
    core.run(window(), after(5))
    assert (strategy.asked, core.warm) == (2, True)

    resumed = core_of(strategy, saved=core.save())
    resumed.start(START_NS)
    assert (strategy.asked, resumed.warm) == (2, True), "in replay there is no gap"

    late = core_of(strategy, saved=core.save())
    late.start(START_NS, gap_ns=NS)
    assert (strategy.asked, late.warm) == (3, False)
    late.run(window(), after(6))
    assert late.warm


def test_a_strategy_that_needs_nothing_is_warm_from_its_start() -> None:
    core = core_of(Scribe())
    assert not core.warm
    core.start(START_NS)
    assert core.warm


@pytest.mark.parametrize("by", ["bar", "timer", "news"])
def test_it_is_asked_after_whatever_it_was_told(by: str) -> None:
    class ByWord(Scribe):
        def is_warm(self, state: Log) -> bool:
            return any(line.startswith(by if by != "news" else "pause") for line in state.told)

    desk = ExecutorDesk()
    core = follower(desk, ByWord({"tick 1": (SetTimer(name="t", at_ns=START_NS + 4 * NS),)}, timeframes=("5t",)))
    core.start(START_NS)
    if by == "news":
        desk.core.at(before(6))
        tell(core, desk.keep(desk.core.pause(True, "", "anna", desk.now_ns)))
    part = TickWindow(window().ticks, tick_bars(window().ticks) if by == "bar" else {})

    core.run(part, after(4))
    assert not core.warm
    while core.run(part, after(6)) < after(6):
        pass
    assert core.warm


def test_going_back_it_is_as_cold_as_it_was() -> None:
    core = core_of(Scribe(warm_from=4))
    core.start(START_NS)
    core.run(window(), after(6))
    core.confirm(window(), after(2))

    cold = not core.warm
    core.run(window(), after(4))
    assert (cold, core.warm) == (True, True)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_everything_it_needs_to_go_on() -> None:
    desk = ExecutorDesk(at_venue=False)
    desk.open()
    core = follower(desk, Scribe({"tick 1": (SetTimer(name="t", at_ns=START_NS + 99 * NS),), "tick 3": SAY}))
    core.start(START_NS)
    core.run(window(), after(3))
    core.confirm(window(), after(3))

    saved = decode_execution_state(core.save())

    assert (saved.position, saved.stamp, saved.decisions, saved.ticks_processed) == (3, after(3), 2, 3)
    assert (saved.timers, saved.started, saved.warm, saved.last_tick_ns) == (
        {"t": START_NS + 99 * NS},
        True,
        True,
        START_NS + 2 * NS,
    )
    assert (saved.current_balance, saved.open_positions, saved.inbox) == (D(10_000), {EUR: D(1000)}, desk.book.sequence)
    again = core_of(Scribe(), View.of(desk.book, "a"), core.save())
    assert again.save() == core.save()
    assert again.state == core.state


def test_what_it_asked_for_and_was_told_is_counted_and_goes_on_after_a_restart() -> None:
    desk = ExecutorDesk()
    wishes: Wishes = {
        "tick 1": (buy(), buy(), SetTimer(name="t", at_ns=START_NS + 3 * NS), Emit(type="said")),
        "tick 2": (Cancel(client_order_id="tk1"), MoveStop(trade_id="t1", stop_loss=D("1.09")), leave()),
    }
    core = follower(desk, Scribe(wishes))
    first = _decided(core, window(), after(1))
    assert first.metrics == {"signals": 2, "emits": 1}, "a timer is no wish of the account"
    step = desk.decide(buy(), buy(), buy())
    entries = [desk.order(client_id) for client_id in placed_in(step)]
    rejected = desk.news(K.ORDER_REJECTED, entries[0])
    tell(core, step, rejected, desk.fill(entries[1], 400), desk.fill(entries[1], 600), desk.accept(entries[2]))
    desk.keep(desk.core.pause(True, "", "anna", desk.now_ns))
    asked = {"signals": 2, "emits": 1, "cancels": 1, "moves": 1, "exits": 1}
    second = _decided(core, window(), after(2))
    assert second.metrics == asked | {"rejected": 1, "fills": 2}

    again = core_of(Scribe(wishes), View.of(desk.book, "a"), core.save())
    tell(again, desk.decide(buy()))
    again.run(window(), after(3))
    saved = decode_execution_state(again.save())
    assert saved.metrics == second.metrics | {"denied": 1}


def _decided(core: StrategistCore, part: TickWindow, until: int) -> ExecutionState:
    while core.run(part, until) < until or core.has_more(until):
        decision = core.confirm(part, core.stamp)
        if decision is not None:
            return decode_execution_state(decision.state)
    raise AssertionError("it did not decide")


def test_what_is_undone_was_not_asked_for() -> None:
    core = core_of(Scribe({"tick 5": SAY}))
    core.run(window(), after(6))
    assert core.held is not None

    core.confirm(window(), after(2))
    assert decode_execution_state(core.save()).metrics == {}

    core.run(window(), after(6))
    core.confirm(window(), after(5))
    assert decode_execution_state(core.save()).metrics == {"emits": 1}


def test_of_its_last_decision_what_it_left_out_is_no_signal() -> None:
    core = core_of(Scribe({"stop evening": (buy(), leave())}))
    decision = core.stop(START_NS, "evening")
    assert decision is not None
    assert decode_execution_state(decision.state).metrics == {"emits": 1, "exits": 1}


def test_a_state_of_another_version_or_another_form_is_refused() -> None:
    class Other(Scribe):
        state_version = 2

    class Different(Struct, frozen=True):
        told: int

    class Incompatible(Scribe):
        State = Different  # type: ignore[assignment]  # on purpose

    saved = core_of(Scribe()).save()
    with pytest.raises(InputError, match="its saved state has version 1, the code has 2"):
        core_of(Other(), saved=saved)
    with pytest.raises(InputError, match="does not fit its State"):
        core_of(Incompatible(), saved=saved)
    assert core_of(Other()).state_version == 2


def test_a_state_that_is_too_large_is_refused_when_it_is_saved() -> None:
    core = core_of(Scribe())
    core.state = Log(("x" * CHECKPOINT_BYTES_MAX,))

    with pytest.raises(InputError, match=r"its state takes \d+ bytes, at most 65536 are allowed"):
        core.save()


class Mistyped(Scribe):
    """Keeps a list where its state says a tuple: to whoever only reads them they are the same."""

    def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
        return Log([*state.told, f"tick {tick.position}"]), SAY if tick.position == 2 else ()  # type: ignore[arg-type]  # that is the mistake


def test_a_state_that_would_not_come_back_is_refused_with_the_first_decision_and_at_any_checkpoint() -> None:
    core = core_of(Mistyped())
    core.run(window(), after(2))
    with pytest.raises(
        InputError, match="strategy a: its state does not come back from being saved as it was: told is"
    ):
        core.confirm(window(), after(2))
    with pytest.raises(InputError, match="told is"):
        core.save()


def test_it_goes_on_from_the_state_that_was_saved_as_behind_a_restart() -> None:
    class Narrow(Struct, frozen=True):
        seen: float = 0.0

    class Wide(Strategy[Params, Narrow]):
        Params, State = Params, Narrow

        def on_tick(self, tick: Tick, state: Narrow, context: StrategyContext) -> Any:
            return Narrow(tick.position), SAY if tick.position == 2 else ()  # a whole number, which is saved as a float

    core = core_of(Wide(Params()))
    core.run(window(), after(2))
    decision = core.confirm(window(), after(2))
    assert decision is not None
    behind = core_of(Wide(Params()), saved=decision.state)
    assert repr(core.state) == repr(behind.state)


# --- whose arithmetic it is ---------------------------------------------------------------------------------------------


class Careless(Strategy[Params, Log]):
    """Says what a third is to it, and leaves its thread with three digits."""

    Params, State = Params, Log

    def timeframes(self) -> tuple[str, ...]:
        getcontext().prec = 3
        return ()

    def initial_state(self) -> Log:
        return self._thirds(Log())

    def is_warm(self, state: Log) -> bool:
        getcontext().prec = 3
        return True

    def _thirds(self, state: Log) -> Log:
        third = str(D(1) / 3)
        getcontext().prec = 3
        return Log((*state.told, third))

    def on_start(self, event: Started, state: Log, context: StrategyContext) -> Any:
        return self._thirds(state), (SetTimer(name="soon", at_ns=START_NS),)

    def on_timer(self, event: TimerFired, state: Log, context: StrategyContext) -> Any:
        return self._thirds(state), ()

    def on_tick(self, tick: Tick, state: Log, context: StrategyContext) -> Any:
        return (self._thirds(state), SAY) if tick.position == 3 else (state, ())

    def on_stop(self, event: Stopped, state: Log, context: StrategyContext) -> Any:
        return self._thirds(state), ()


def test_what_a_strategy_does_to_decimals_context_reaches_nobody_and_no_call_after_it() -> None:
    precision = getcontext().prec
    core = core_of(Careless(Params()))
    core.start(START_NS)
    core.run(window(), after(6))
    core.confirm(window(), after(3))
    core.stop(START_NS, "evening")
    assert told(core) == ["0." + "3" * 28] * 5
    assert getcontext().prec == precision


def test_something_else_is_no_saved_state() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_execution_state(b"nothing")
    assert isinstance(decode_execution_state(core_of(Scribe()).save()), ExecutionState)


def test_what_cannot_be_asked_for_is_the_strategys_error() -> None:
    core = core_of(Scribe({"tick 2": (buy(instrument="XAU_USD"),)}))

    with pytest.raises(InputError, match="not among its instruments"):
        core.run(window(), after(6))


def test_ticks_that_a_live_feed_has_lost_hold_no_news_back() -> None:
    desk = ExecutorDesk()
    core = follower(desk, Scribe())
    desk.core.at(after(40))
    tell(core, desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns)))

    core.skip(40)
    core.skip(7)
    core.run(None, after(40))

    assert told(core) == ["pause lunch"]
    assert core.position == 40


def test_a_timer_that_it_sets_while_cold_does_not_stop_it_from_warming_up() -> None:
    core = core_of(Scribe({"tick 1": (SetTimer(name="t", at_ns=START_NS + 99 * NS),)}, warm_from=3))
    core.start(START_NS)

    core.run(window(), after(2))
    assert (core.warm, core.position) == (False, 2)
    core.run(window(), after(3))
    assert (core.warm, core.position) == (True, 3)


def test_nor_does_a_timer_that_fires() -> None:
    core = core_of(Scribe({"tick 1": (SetTimer(name="t", at_ns=START_NS + NS),)}, warm_from=3))
    core.start(START_NS)

    core.run(window(), after(3))

    assert (core.warm, told(core)[-1]) == (True, "tick 3")


def test_the_context_of_news_is_that_of_its_instrument() -> None:
    seen: list[str] = []

    class Looking(Scribe):
        def on_fill(self, event: FillEvent, state: Log, context: StrategyContext) -> Any:
            seen.append(context.instrument.symbol)
            return state, ()

        def on_timer(self, event: TimerFired, state: Log, context: StrategyContext) -> Any:
            seen.append(context.instrument.symbol)
            return state, ()

    desk = ExecutorDesk(at_venue=False)
    wishes: Wishes = {"tick 1": (SetTimer(name="t", at_ns=START_NS + NS),)}
    core = follower(desk, Looking(wishes), symbols=("GBP_USD", EUR))
    step = desk.decide(buy())
    tell(core, step, desk.fill(desk.order(placed_in(step)[0])))

    while core.run(window(), after(3)) < after(3):
        pass

    assert seen == [EUR, "GBP_USD"], "a timer is about none: the first one that is configured"
