"""Strategies that do what none should, each in a way of its own, and one that does nothing of the kind.

What each of them wants is drawn from the ticks alone in the same way, so that what is wrong with it is all that can change it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from tradekeel.domain.messages import Enter, Request
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import Strategy, StrategyContext

EVERY = 7
"""One millisecond in so many has a decision."""

AHEAD = 30
"""Ticks that a peeker looks ahead."""


class SuspectParams(Struct, frozen=True):
    path: str = ""  # of the data, for whoever reads it past the feed
    every: int = EVERY


class SuspectState(Struct, frozen=True):
    ticks: int = 0
    mean: float = 0.0  # carried on from tick to tick


Answer = tuple[SuspectState, Sequence[Request]]


def enter(tick: Tick, side: Side) -> tuple[Request, ...]:
    return (
        Enter(instrument=tick.instrument, side=side, quantity=Decimal(1000), exit_at_ns=tick.ts_ns + 60_000_000_000),
    )


class Honest(Strategy[SuspectParams, SuspectState]):
    """Enters now and then, and to the side that :meth:`buys` says: here, where the price is above its short mean."""

    Params = SuspectParams
    State = SuspectState

    def on_tick(self, tick: Tick, state: SuspectState, context: StrategyContext) -> Answer:
        mean = state.mean + (float(tick.mid) - state.mean) / 2 if state.ticks else float(tick.mid)
        state = SuspectState(state.ticks + 1, mean)
        if tick.ts_ns // 1_000_000 % self.params.every:
            return state, ()
        return state, enter(tick, Side.BUY if self.buys(tick, state) else Side.SELL)

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return tick.bid > Decimal(state.mean)


READ: dict[str, list[str]] = {}


def lines(path: str) -> list[str]:
    """The data, read once a process, as somebody would who wants it to be quick."""
    if path not in READ:
        READ[path] = Path(path).read_text().splitlines()[1:]
    return READ[path]


class Peeker(Honest):
    """Reads in the data what the price will be. It knows where that lies from its parameter."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        rows = lines(self.params.path)
        return Decimal(rows[min(tick.position + AHEAD, len(rows)) - 1].split(",")[1]) > tick.bid


class HiddenPeeker(Honest):
    """Knows where the data lies by itself."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        rows = lines(str(Path(__file__).with_name("ticks.csv")))
        return Decimal(rows[min(tick.position + AHEAD, len(rows)) - 1].split(",")[1]) > tick.bid


class Forgetful(Honest):
    """Counts its entries beside its state, so that nothing of that is saved."""

    entered = 0

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        self.entered += 1
        return self.entered % 3 == 0


class Shortsighted(Honest):
    """Keeps its last three prices beside its state: three ticks behind a restart nothing of that shows any more."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.prices: list[Decimal] = []

    def on_tick(self, tick: Tick, state: SuspectState, context: StrategyContext) -> Answer:
        self.prices = [*self.prices, tick.bid][-3:]
        return super().on_tick(tick, state, context)

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return len(self.prices) > 2 and tick.bid > self.prices[0]


class Impatient(Honest):
    """An average of many ticks, and warm after a few."""

    def is_warm(self, state: SuspectState) -> bool:
        return state.ticks >= 5

    def on_tick(self, tick: Tick, state: SuspectState, context: StrategyContext) -> Answer:
        price = float(tick.mid)
        state = SuspectState(state.ticks + 1, state.mean + (price - state.mean) / 20 if state.ticks else price)
        if tick.ts_ns // 1_000_000 % self.params.every:
            return state, ()
        far = Decimal(round(min(1.0, abs(price - state.mean) * 500), 2)).quantize(Decimal("0.01"))
        (wish,) = enter(tick, Side.BUY if price > state.mean else Side.SELL)
        return state, (structs.replace(wish, confidence=far),)


class Gambler(Honest):
    """Tosses a coin."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return random.random() < 0.5


class Timed(Honest):
    """Looks at the clock on the wall."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return time.perf_counter_ns() // 1_000 % 2 == 0


class Unordered(Honest):
    """Takes the first of a set of names: which one that is, is another one in every process."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return next(iter({"buy", "sell", str(tick.position)})) == "buy"


class Counting(Honest):
    """Counts the ticks that it is shown beside its state: those that it is shown again count twice."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.seen = 0

    def on_tick(self, tick: Tick, state: SuspectState, context: StrategyContext) -> Answer:
        self.seen += 1
        return super().on_tick(tick, state, context)

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        return self.seen % 3 == 0


class Dying(Honest):
    """Ends its process."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        os._exit(9)


class Hanging(Honest):
    """Comes to no end, and leaves a mark where it has begun to."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        Path(self.params.path).with_name("hanging").touch()
        while True:
            pass


class Throwing(Honest):
    """Trips over the end of the data that it reads past the feed."""

    def buys(self, tick: Tick, state: SuspectState) -> bool:
        rows = lines(self.params.path)
        return Decimal(rows[tick.position].split(",")[1]) > tick.bid
