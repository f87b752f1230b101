"""Strategies that misbehave, each in one way at one moment, after they have opened a trade with a stop and a target.

Loaded by a scenario's daemon as a user's file. What must differ between two incarnations ("only the first time") is kept in a
file that the environment names, since everything else is the same again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct, structs

from tradekeel.domain.messages import Cancel, Emit, Enter, Exit, MoveStop, Request, SetTimer
from tradekeel.domain.orders import OrderType, Side, TimeInForce
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.strategies.base import FillEvent, OrderUpdate, Started, Stopped, Strategy, StrategyContext, TimerFired
from tradekeel.strategies.parameters import Parameters, about

MARK = "TROUBLE_MARK"
"""The environment variable that names the file which remembers that it has happened."""

OPENS_AT = 5
RESTS_AT = 6
UNITS = Decimal(1_000)
ODD_TIME: Any = 1.5


class Trouble(Exception):
    """What these strategies throw."""


class UnspeakableTrouble(Exception):
    """One that does not say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("not to be told")

    __repr__ = __str__


class TroubleParameters(Parameters, frozen=True, kw_only=True):
    """Which trouble, and when."""

    what: Annotated[str, about("what it does")] = "nothing"
    at: Annotated[int, about("from which tick on", ge=0)] = 20
    pips: Annotated[Decimal, about("distance of stop and target", gt=0)] = Decimal(4)


class TroubleState(Struct, frozen=True):
    """What it remembers."""

    ticks: int = 0
    fills: int = 0
    ballast: bytes = b""
    odd: Any = None


Result = tuple[TroubleState, Sequence[Request]]


class Troubled(Strategy[TroubleParameters, TroubleState]):
    """Opens a trade, leaves an order at the venue, and then does what it is told."""

    Params = TroubleParameters
    State = TroubleState

    def timeframes(self) -> tuple[str, ...]:
        """Bars only where they are needed."""
        return ("5s",) if self.params.what == "throw_in_bar" else ()

    def on_start(self, event: Started, state: TroubleState, context: StrategyContext) -> Result:
        """Throw, if told to."""
        self._throw("start")
        if self.params.what == "throw_in_restart" and event.resumed:
            raise Trouble("it does not start again")
        return state, ()

    def on_tick(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        """Open, rest, and then the trouble."""
        state = structs.replace(state, ticks=state.ticks + 1)
        away = context.instrument.from_pips(self.params.pips)
        if tick.position == OPENS_AT:
            return state, (self._enter(tick, stop_loss=tick.bid - away, take_profit=tick.ask + away),)
        if tick.position == RESTS_AT:
            far = tick.bid - context.instrument.from_pips(Decimal(500))
            return state, (self._enter(tick, type=OrderType.LIMIT, price=far),)
        if tick.position < self.params.at:
            return state, ()
        return self._trouble(tick, state, context)

    def on_bar(self, bar: Bar, state: TroubleState, context: StrategyContext) -> Result:
        """Throw, if told to."""
        self._throw("bar")
        return state, ()

    def on_fill(self, event: FillEvent, state: TroubleState, context: StrategyContext) -> Result:
        """Count, or throw."""
        self._throw("fill")
        return structs.replace(state, fills=state.fills + 1), ()

    def on_order(self, event: OrderUpdate, state: TroubleState, context: StrategyContext) -> Result:
        """Answer a denial with the same again, for ever; or throw."""
        if event.event == "accepted":
            self._throw("order")
        if self.params.what == "answer_for_ever" and event.event == "denied":
            return state, (self._again(event),)
        return state, ()

    def on_timer(self, event: TimerFired, state: TroubleState, context: StrategyContext) -> Result:
        """Throw, if told to."""
        self._throw("timer")
        return state, ()

    def on_stop(self, event: Stopped, state: TroubleState, context: StrategyContext) -> Result:
        """Throw, if told to."""
        self._throw("stop")
        return state, ()

    # --- trouble -------------------------------------------------------------------------------------------------------

    def _throw(self, where: str) -> None:
        if self.params.what == f"throw_in_{where}":
            raise Trouble(f"in on_{where}")

    def _trouble(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        what = self.params.what
        act = getattr(self, f"_do_{what}", None)
        if act is not None:
            result: Result = act(tick, state, context)
            return result
        if what in _ASKS and tick.position == self.params.at:
            return state, _ASKS[what](self, tick, context)
        return state, ()

    def _do_throw_always(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise Trouble(f"at tick {tick.position}")

    def _do_throw_halves(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise Trouble("half of a character: \ud800")

    def _do_throw_at_length(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise Trouble("x" * 3_000_000)

    def _do_throw_unspeakable(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise UnspeakableTrouble

    def _do_throw_once(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        if first_time():
            raise Trouble(f"only this once, at tick {tick.position}")
        return state, ()

    def _do_throw_here_and_there(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        seen = Path(os.environ[MARK])
        if tick.position > int(seen.read_text() if seen.exists() else 0):
            seen.write_text(str(tick.position))
            raise Trouble(f"for the first time at tick {tick.position}")
        return state, ()

    def _do_exit(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise SystemExit(3)

    def _do_interrupt(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        raise KeyboardInterrupt

    def _do_cancelled(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        import asyncio

        raise asyncio.CancelledError

    def _do_recurse(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return self._do_recurse(tick, state, context)

    def _do_hang_once(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        if first_time():
            while True:
                time.sleep(0.01)
        return state, ()

    def _do_none(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return None  # type: ignore[return-value]  # that is the trouble

    def _do_garbage(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return state, ("buy!",)  # type: ignore[return-value]  # that is the trouble

    def _do_impure(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        if int.from_bytes(os.urandom(1)) % 2:
            return state, (Emit(type="whim", data={}),)
        return state, ()

    def _do_ballast(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return structs.replace(state, ballast=bytes(100_000)), (Emit(type="ballast", data={}),)

    def _do_ballast_quietly(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return structs.replace(state, ballast=bytes(100_000)), ()

    def _do_odd_state(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return structs.replace(state, odd=object()), (Emit(type="odd", data={}),)

    def _do_mistyped_state(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return structs.replace(state, fills=tick.ask), (Emit(type="mistyped", data={}),)

    def _do_loose_state(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        return structs.replace(state, odd=tick.ask), (Emit(type="loose", data={}),)

    def _do_three_digits(self, tick: Tick, state: TroubleState, context: StrategyContext) -> Result:
        getcontext().prec = 3
        return state, ()

    def _enter(self, tick: Tick, **changes: Any) -> Enter:
        words: dict[str, Any] = {"instrument": tick.instrument, "side": Side.BUY, "quantity": UNITS}
        return Enter(**(words | changes))

    def _again(self, event: OrderUpdate) -> Enter:
        return Enter(instrument=event.order.instrument, side=event.order.side, quantity=event.order.quantity)


_ASKS: dict[str, Any] = {
    "negative": lambda s, t, c: (s._enter(t, quantity=Decimal(-1)),),
    "zero": lambda s, t, c: (s._enter(t, quantity=Decimal(0)),),
    "nan": lambda s, t, c: (s._enter(t, quantity=Decimal("NaN")),),
    "infinite": lambda s, t, c: (s._enter(t, quantity=Decimal("Infinity")),),
    "float": lambda s, t, c: (s._enter(t, quantity=1000.0),),
    "none_quantity": lambda s, t, c: (s._enter(t, quantity=None),),
    "text_side": lambda s, t, c: (s._enter(t, side="sideways"),),
    "unknown_instrument": lambda s, t, c: (s._enter(t, instrument="XXX_YYY"),),
    "odd_metadata": lambda s, t, c: (s._enter(t, metadata={"a": object()}),),
    "nan_metadata": lambda s, t, c: (s._enter(t, metadata={"a": float("nan")}),),
    "huge_metadata": lambda s, t, c: (s._enter(t, metadata={"a": "x" * 2_000_000}),),
    "odd_tags": lambda s, t, c: (s._enter(t, tags=(1, 2)),),
    "limit_without_price": lambda s, t, c: (s._enter(t, type=OrderType.LIMIT),),
    "stop_beyond": lambda s, t, c: (s._enter(t, stop_loss=t.ask + 1),),
    "huge": lambda s, t, c: (s._enter(t, quantity=Decimal(10) ** 40),),
    "tiny": lambda s, t, c: (s._enter(t, quantity=Decimal(10) ** -40),),
    "odd_reason": lambda s, t, c: (Exit(instrument=t.instrument, reason="because"),),
    "exit_unknown": lambda s, t, c: (Exit(instrument=t.instrument, trade_id="tr-nowhere"),),
    "exit_negative": lambda s, t, c: (Exit(instrument=t.instrument, quantity=Decimal(-5)),),
    "cancel_unknown": lambda s, t, c: (Cancel(client_order_id="tk-nowhere"),),
    "move_unknown": lambda s, t, c: (MoveStop(trade_id="tr-nowhere", stop_loss=t.bid),),
    "off_the_grid": lambda s, t, c: (
        s._enter(t, stop_loss=t.bid - Decimal("0.0010") / 3, take_profit=t.ask + Decimal("0.0010") / 3),
        *(MoveStop(trade_id=trade.trade_id, stop_loss=t.bid - Decimal("0.0002") / 3) for trade in c.open_trades),
        *(Exit(instrument=t.instrument, quantity=Decimal(100) / 3) for trade in c.open_trades),
    ),
    "timer_in_the_past": lambda s, t, c: (SetTimer(name="late", at_ns=0),),
    "timer_float": lambda s, t, c: (SetTimer(name="late", at_ns=ODD_TIME),),
    "throw_in_timer": lambda s, t, c: (SetTimer(name="soon", at_ns=t.ts_ns + 1),),
    "nameless_event": lambda s, t, c: (Emit(type=""),),
    "late_exit": lambda s, t, c: (s._enter(t, exit_at_ns=2**64 - 1),),
    "late_expiry": lambda s, t, c: (
        s._enter(t, type=OrderType.LIMIT, price=t.bid, time_in_force=TimeInForce.GTD, expire_at_ns=2**63),
    ),
    "odd_event": lambda s, t, c: (Emit(type="odd", data={"a": object()}),),
    "thousand": lambda s, t, c: tuple(s._enter(t, quantity=Decimal(1)) for _ in range(1_000)),
    "answer_for_ever": lambda s, t, c: (s._enter(t, quantity=Decimal(10) ** 12),),
}
"""What it asks for, once."""


def first_time() -> bool:
    """Whether this has not happened before, in this process or an earlier one."""
    mark = Path(os.environ[MARK])
    if mark.exists():
        return False
    mark.write_text("it has happened")
    return True
