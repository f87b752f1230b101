"""A strategy that says which bars it has heard of, for scenarios in which a user's file counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tradekeel.domain.messages import Emit, Request
from tradekeel.domain.ticks import Bar
from tradekeel.strategies.base import Stopped, Strategy, StrategyContext
from tradekeel.strategies.parameters import Parameters

TICKS_A_BAR = 20


class Heard(Struct, frozen=True):
    """How many bars it has heard of."""

    bars: int = 0


class Hears(Strategy[Parameters, Heard]):
    """Says each bar, and at its end how many there were."""

    kind = "hears"
    Params = Parameters
    State = Heard

    def timeframes(self) -> tuple[str, ...]:
        return (f"{TICKS_A_BAR}t",)

    def on_bar(self, bar: Bar, state: Heard, context: StrategyContext) -> Any:
        said: Sequence[Request] = (Emit(type="bar", data={"position": bar.position}),)
        return Heard(state.bars + 1), said

    def on_stop(self, event: Stopped, state: Heard, context: StrategyContext) -> Any:
        return state, (Emit(type="bars", data={"count": state.bars}),)
