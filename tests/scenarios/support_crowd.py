"""A strategy that orders at every tick, for a crowd of them: loaded by a scenario's daemon as a user's file."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from msgspec import Struct

from tradekeel.domain.messages import Enter, Exit, Request
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import Strategy, StrategyContext
from tradekeel.strategies.parameters import Parameters, about

UNITS = Decimal(1_000)


class EagerParameters(Parameters, frozen=True, kw_only=True):
    """Whether it orders at all: one that only looks on shows what the same ticks cost without orders."""

    orders: Annotated[bool, about("whether it orders")] = True


class EagerState(Struct, frozen=True):
    """How often it has asked."""

    entries: int = 0
    exits: int = 0


class Eager(Strategy[EagerParameters, EagerState]):
    """Opens a trade if it has none, and closes the ones it has: at every tick one or the other."""

    Params = EagerParameters
    State = EagerState

    def on_tick(self, tick: Tick, state: EagerState, context: StrategyContext) -> tuple[EagerState, Sequence[Request]]:
        """Ask."""
        if not self.params.orders:
            return state, ()
        held = [trade.trade_id for trade in context.open_trades if trade.open_quantity]
        if held:
            return EagerState(state.entries, state.exits + len(held)), tuple(
                Exit(instrument=tick.instrument, trade_id=trade) for trade in held
            )
        enter = Enter(instrument=tick.instrument, side=Side.BUY, quantity=UNITS)
        return EagerState(state.entries + 1, state.exits), (enter,)
