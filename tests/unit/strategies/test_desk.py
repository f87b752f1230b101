"""The desk under any order of news: never two entries in flight, and it holds exactly what the trades hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from tests.unit.strategies.driver import D, Market
from tradekeel.domain.messages import Enter, Exit, Request
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import OrderEvent, OrderStatus, Side
from tradekeel.domain.ticks import Tick
from tradekeel.domain.trades import CloseReason
from tradekeel.strategies.base import FillEvent, OrderUpdate, Started, Strategy, StrategyContext
from tradekeel.strategies.desk import (
    Desk,
    after_fill,
    after_order,
    begin,
    leave,
    leave_again,
    marks,
)
from tradekeel.strategies.parameters import Parameters
from tradekeel.strategies.routing import Routed, cover, route
from tradekeel.strategies.turning import SignalParameters, turn

Outcome = tuple["DeskState", Sequence[Request]]


class DeskState(Routed, frozen=True):
    desk: Desk = Desk()


class Nothing(Parameters, frozen=True):
    pass


class Trader(Strategy[Nothing, DeskState]):
    """Enters at each tick that finds nothing in flight; a tick with a bid of 9 leaves everything."""

    Params = Nothing
    State = DeskState

    def on_start(self, event: Started, state: DeskState, context: StrategyContext) -> Outcome:
        return cover(state, context.instruments, lambda symbol: DeskState(instrument=symbol)), ()

    def on_tick(self, tick: Tick, state: DeskState, context: StrategyContext) -> Outcome:
        desk, requests = state.desk, list[Request]()
        if tick.bid == D(9):
            desk, exits = leave(desk, tick.instrument, "signal")
            requests.extend(exits)
        elif desk.leave_again_ns and tick.ts_ns >= desk.leave_again_ns:
            desk, exits = leave_again(desk, tick.instrument)
            requests.extend(exits)
        elif not desk.in_flight and tick.ts_ns >= desk.enter_from_ns:
            desk = begin(desk, slot=0, sign=1, price=tick.ask, quantity=D(10))
            enter = Enter(instrument=tick.instrument, side=Side.BUY, quantity=D(10), metadata=marks(desk))
            requests.append(enter)
        return structs.replace(state, desk=desk), requests

    def on_fill(self, event: FillEvent, state: DeskState, context: StrategyContext) -> Outcome:
        after = after_fill(state.desk, event).desk
        return route(state, event.trade.symbol, lambda part: (structs.replace(part, desk=after), ()))

    def on_order(self, event: OrderUpdate, state: DeskState, context: StrategyContext) -> Outcome:
        after = after_order(state.desk, event, retry_after_s=3).desk
        return route(state, event.order.instrument, lambda part: (structs.replace(part, desk=after), ()))


class Turner(Trader):
    """Turns at each tick that finds nothing in flight: short at a bid of 9, long at any other."""

    def on_tick(self, tick: Tick, state: DeskState, context: StrategyContext) -> Outcome:
        desk, again = state.desk, tuple[Request, ...]()
        if desk.leave_again_ns and tick.ts_ns >= desk.leave_again_ns:
            desk, again = leave_again(desk, tick.instrument)
        if desk.in_flight:
            return structs.replace(state, desk=desk), again
        params = SignalParameters(units=D(10), one_order=True)
        more: dict[str, Any] = {"timeframe": "", "pattern": "x", "stop": None, "target": None, "trailing": None}
        desk, requests = turn(tick, desk, -1 if tick.bid == D(9) else 1, params, context, **more)
        return structs.replace(state, desk=desk), (*again, *requests)


ENDINGS = st.sampled_from(
    [
        (OrderEvent.CANCEL, "canceled"),
        (OrderEvent.EXPIRE, "expired"),
        (OrderEvent.LOSE, "unknown"),
        (OrderEvent.REJECT, "rejected"),
        (OrderEvent.PROVE_NOT_SENT, "not_sent"),
        (OrderEvent.ACCEPT, "accepted"),
    ]
)


class AnyNews(RuleBasedStateMachine):
    """Ticks, fills, ends, late fills, partial closes and failed exits in any order."""

    trader: ClassVar[type[Trader]] = Trader

    def __init__(self) -> None:
        super().__init__()
        self.market = Market(self.trader(Nothing()), auto=False)

    @property
    def desk(self) -> Desk:
        desk: Desk = self.market.state.desk
        return desk

    @rule(leaves=st.booleans(), wait_s=st.integers(1, 5))
    def tick(self, leaves: bool, wait_s: int) -> None:
        bid = D(9) if leaves else D(10)
        before = self.desk
        requests = self.market.tick(bid, D(11), at_s=self.market.now_ns // 1_000_000_000 + wait_s)
        if any(isinstance(request, Enter) for request in requests):
            assert not before.in_flight
        twice = [request.trade_id for request in requests if isinstance(request, Exit)]
        assert len(set(twice)) == len(twice)

    @precondition(lambda self: self.market.orders)
    @rule(pick=st.integers(0, 1000), units=st.integers(1, 10))
    def fill(self, pick: int, units: int) -> None:
        """Any order whose quantity is not reached, also one that has ended: venues report late."""
        open_orders = [o for o in self.market.orders.values() if o.filled_quantity < o.quantity]
        if open_orders:
            order = open_orders[pick % len(open_orders)]
            left = order.quantity - order.filled_quantity
            self.market.fill(order.client_order_id, "11", min(left, Decimal(units)))

    @precondition(lambda self: self.market.working)
    @rule(ending=ENDINGS)
    def end(self, ending: tuple[Any, str]) -> None:
        order = self.market.orders[self.market.working[-1]]
        if ending[0] is OrderEvent.REJECT and order.status is OrderStatus.PARTIALLY_FILLED:
            return
        if ending[0] is OrderEvent.PROVE_NOT_SENT and order.filled_quantity:
            return
        if ending[0] is OrderEvent.PROVE_NOT_SENT and order.status is OrderStatus.ACCEPTED:
            return
        self.market.end(order.client_order_id, *ending)

    @precondition(lambda self: self.market.open)
    @rule(pick=st.integers(0, 1000), units=st.integers(1, 10))
    def close(self, pick: int, units: int) -> None:
        trade = self.market.open[pick % len(self.market.open)]
        if trade.trade_id in self.turned:
            return  # claimed: nobody else may leave it
        part = min(Decimal(units), trade.open_quantity)
        self.market.close(trade.trade_id, "10", CloseReason.MANUAL, part)

    @precondition(lambda self: self.market.exits_wanted)
    @rule()
    def fail_exit(self) -> None:
        trade_id, _ = self.market.exits_wanted[0]
        self.market.fail_exit(trade_id)

    @property
    def turned(self) -> set[str]:
        """What an entry under way is to close."""
        return {trade_id for key in self.market.working for trade_id in self.market.orders[key].closes}

    @invariant()
    def it_holds_what_the_trades_hold(self) -> None:
        held = {h.trade_id: h.quantity for h in self.desk.held if h.quantity > ZERO}
        assert held == {trade.trade_id: trade.open_quantity for trade in self.market.open}

    @invariant()
    def at_most_one_entry_is_in_flight_and_it_is_the_latest(self) -> None:
        working = self.market.working
        assert len(working) <= 1
        assert bool(self.desk.in_flight) == bool(working)
        if working:
            assert self.desk.in_flight == self.desk.attempts

    @invariant()
    def what_is_to_be_left_has_an_exit_or_is_due(self) -> None:
        wanted = {trade_id for trade_id, _ in self.market.exits_wanted}
        for held in self.desk.held:
            if held.out and held.quantity > ZERO:
                assert (held.leaving and held.trade_id in wanted | self.turned) or self.desk.leave_again_ns


AnyNews.TestCase.settings = settings(stateful_step_count=30)
TestAnyNews = AnyNews.TestCase


class AnyNewsOfTurns(AnyNews):
    """The same of a strategy whose entries close what stands against them."""

    trader = Turner


AnyNewsOfTurns.TestCase.settings = settings(stateful_step_count=30)
TestAnyNewsOfTurns = AnyNewsOfTurns.TestCase
