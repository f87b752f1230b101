"""A strategy that says at each start how long its market went unseen."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tradekeel.domain.messages import Emit, Request
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import Started, Strategy, StrategyContext
from tradekeel.strategies.parameters import Parameters

TELLS_EVERY = 5


class NoParameters(Parameters, frozen=True):
    """There is nothing to choose."""


class Seen(Struct, frozen=True):
    """How many ticks it has seen."""

    ticks: int = 0


class Waiting(Strategy[NoParameters, Seen]):
    """Trades nothing."""

    Params = NoParameters
    State = Seen

    def on_start(self, event: Started, state: Seen, context: StrategyContext) -> tuple[Seen, Sequence[Request]]:
        """Tell."""
        return state, (Emit(type="started", data={"gap_ns": event.gap_ns, "ticks": state.ticks}),)

    def on_tick(self, tick: Tick, state: Seen, context: StrategyContext) -> tuple[Seen, Sequence[Request]]:
        """Tell now and then, so that it is saved."""
        after = Seen(state.ticks + 1)
        return after, (Emit(type="seen", data={"ticks": after.ticks}),) if after.ticks % TELLS_EVERY == 0 else ()
