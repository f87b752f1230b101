"""Strategies that want something at the same tick, and answer what comes of it. Loaded as a user's file."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.messages import Enter, Request
from tradekeel.domain.orders import OrderType, Side
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import OrderUpdate, Strategy, StrategyContext

EVERY = 20
FAR = Decimal("0.01")


class Nothing(Struct, frozen=True):
    """No parameters."""


class Answering(Struct, frozen=True):
    """How often it has answered since its last wish."""

    answers: int = 0


class Answers(Strategy[Nothing, Answering]):
    """Wants an order every so many ticks; of each that the venue takes it wants one more, twice."""

    Params = Nothing
    State = Answering

    def on_tick(self, tick: Tick, state: Answering, context: StrategyContext) -> tuple[Answering, Sequence[Request]]:
        if tick.position % EVERY:
            return state, ()
        return Answering(), (_quote(tick.instrument, tick.ask),)

    def on_order(
        self, event: OrderUpdate, state: Answering, context: StrategyContext
    ) -> tuple[Answering, Sequence[Request]]:
        if event.event != "accepted" or state.answers == 2 or event.order.price is None:
            return state, ()
        return Answering(state.answers + 1), (_quote(event.order.instrument, event.order.price),)


def _quote(instrument: str, price: Decimal) -> Enter:
    return Enter(
        instrument=instrument,
        side=Side.BUY,
        quantity=Decimal(1_000),
        type=OrderType.LIMIT,
        price=price - FAR,
    )
