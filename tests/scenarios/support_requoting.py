"""Strategies that keep one order in the market, and answer its end with the next one. Loaded as a user's file."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.messages import Cancel, Enter, Request
from tradekeel.domain.orders import OrderType, Side
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import OrderUpdate, Stopped, Strategy, StrategyContext

FAR = Decimal("0.01")
UNITS = Decimal(1_000)


class Nothing(Struct, frozen=True):
    """No parameters."""


class Quoting(Struct, frozen=True):
    """Whether it has begun."""

    begun: bool = False


class Requotes(Strategy[Nothing, Quoting]):
    """A limit far from the market; another one when that was canceled."""

    Params = Nothing
    State = Quoting

    def on_tick(self, tick: Tick, state: Quoting, context: StrategyContext) -> tuple[Quoting, Sequence[Request]]:
        if state.begun:
            return state, ()
        return Quoting(begun=True), (self.quote(tick.instrument, tick.ask - FAR),)

    def on_order(
        self, event: OrderUpdate, state: Quoting, context: StrategyContext
    ) -> tuple[Quoting, Sequence[Request]]:
        if event.event not in ("canceled", "expired") or event.order.price is None:
            return state, ()
        return state, (self.next(event.order.instrument, event.order.price),)

    def next(self, instrument: str, price: Decimal) -> Enter:
        """What follows a quote that has ended."""
        return self.quote(instrument, price)

    def quote(self, instrument: str, price: Decimal) -> Enter:
        """An order that does not fill."""
        return Enter(instrument=instrument, side=Side.BUY, quantity=UNITS, type=OrderType.LIMIT, price=price)


class Replaces(Requotes):
    """The same, but what follows is a market order."""

    def next(self, instrument: str, price: Decimal) -> Enter:
        return Enter(instrument=instrument, side=Side.BUY, quantity=UNITS)


class Withdraws(Requotes):
    """The same, but its last word is to cancel what it has in the market."""

    def on_stop(self, event: Stopped, state: Quoting, context: StrategyContext) -> tuple[Quoting, Sequence[Request]]:
        return state, [Cancel(client_order_id=order.client_order_id) for order in context.working_orders]
