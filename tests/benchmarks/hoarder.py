"""A strategy that opens trade after trade and never closes one, from a given tick on. The daemon loads it from this file.

Like the witness it writes files, as no strategy should: when the first tick arrives, and when it has what it wanted.
"""

from __future__ import annotations

import os
import time
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from tradekeel.domain.messages import Enter
from tradekeel.domain.orders import Side
from tradekeel.strategies.base import Strategy


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many trades, from which tick on, how many a tick."""

    trades: int = 10_000
    after: int = 0
    each: int = 1


class Had(Struct, frozen=True):
    """What it has."""

    ticks: int = 0
    asked: int = 0
    filled: int = 0


FAR = Decimal("0.5")


class Hoarder(Strategy[Wanted, Had]):
    """See the module."""

    kind = "hoarder"
    Params = Wanted
    State = Had
    noted = False

    def on_tick(self, tick, state, context):
        if not Hoarder.noted:
            Hoarder.noted = True
            _note("first", f"{time.monotonic_ns()} {time.process_time_ns()}")
        ticks = state.ticks + 1
        if ticks <= self.params.after or state.asked >= self.params.trades:
            return Had(ticks, state.asked, state.filled), ()
        enter = Enter(
            instrument="EUR_USD",
            side=Side.BUY,
            quantity=Decimal(1),
            stop_loss=tick.bid - FAR,
            take_profit=tick.ask + FAR,
            confidence=Decimal("0.7"),
            pattern_type="hoard",
            metadata={"tick": ticks},
        )
        each = min(self.params.each, self.params.trades - state.asked)
        return Had(ticks, state.asked + each, state.filled), (enter,) * each

    def on_fill(self, event, state, context):
        after = Had(state.ticks, state.asked, state.filled + 1)
        if after.filled == self.params.trades:
            _note("full", str(time.monotonic_ns()))
        return after, ()


def _note(what: str, text: str) -> None:
    Path(os.environ["TRADEKEEL_BENCH_NOTES"]).with_suffix(f".{what}").write_text(text)
