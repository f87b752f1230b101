"""DonchianBreakout: enters where a bar closes beyond the channel of the bars before it, leaves at a narrower channel.

The entry channel is the highest high and the lowest low of the ``entry_bars`` bars before the one that just closed, the
exit channel of the ``exit_bars`` before it. A close above the upper entry line is a signal up; a close below the lower
exit line leaves longs. Shorts mirror that. Signals are followed at the tick that completed the bar and last until the
next bar.

The stop is ``stop_atr`` times the average true range of the last ``atr_bars`` bars from the quote, ``trailing_atr`` a
trailing distance likewise; the average is the plain mean, and distances are exact, on the price grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar

from msgspec import Struct, structs

from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Emit, Request
from tradekeel.domain.money import ZERO, Rounding, divide, plain
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.strategies.base import (
    NOTHING,
    FillEvent,
    OrderUpdate,
    Started,
    Strategy,
    StrategyContext,
)
from tradekeel.strategies.desk import Desk, after_fill, after_order, leave, leave_again
from tradekeel.strategies.parameters import about
from tradekeel.strategies.routing import Routed, cover, route
from tradekeel.strategies.turning import RETRY_EXIT_S, SignalParameters, turn

BARS_MAX = 500
"""The bars kept are part of the state, which is saved with every decision and may not exceed 64 KiB."""


class DonchianParameters(SignalParameters, frozen=True, kw_only=True):
    """Parameters of DonchianBreakout."""

    timeframe: Annotated[str, about("bars: 5s, 1m, 4h, 100t")] = "1m"
    entry_bars: Annotated[int, about("bars in the channel that is broken", ge=1, le=BARS_MAX)] = 20
    exit_bars: Annotated[int, about("bars in the channel that closes; 0 for none", ge=0, le=BARS_MAX)] = 10
    atr_bars: Annotated[int, about("bars in the average true range", ge=1, le=BARS_MAX)] = 14
    stop_atr: Annotated[Decimal, about("stop in average true ranges; 0 for none", ge=0, le=100)] = Decimal(2)
    trailing_atr: Annotated[Decimal, about("trailing distance in average true ranges; 0 for none", ge=0, le=100)] = ZERO

    def check(self) -> None:
        """Leaving at a wider channel than one entered at would never happen before the opposite signal."""
        parse_timeframe(self.timeframe)
        if self.exit_bars > self.entry_bars:
            raise InputError(f"exit_bars ({self.exit_bars}) must not be above entry_bars ({self.entry_bars})")

    @property
    def bars_kept(self) -> int:
        """Closed bars that a decision looks back on; one more than the ranges, for the close before the first."""
        return max(self.entry_bars, self.exit_bars, self.atr_bars + 1)


class Candle(Struct, frozen=True, gc=False):
    """What is kept of a bar."""

    high: Decimal
    low: Decimal
    close: Decimal


class DonchianState(Routed, frozen=True, gc=False):
    """State of one instrument; ``others`` are those of the other ones."""

    others: tuple[DonchianState, ...] = ()
    alert: bool = False  # something is to be done at the next tick
    candles: tuple[Candle, ...] = ()
    signal: int = 0  # a breakout of the last bar: +1 up, -1 down
    line: Decimal = ZERO  # that it broke
    leave_sign: int = 0  # trades of this direction are to be left
    desk: Desk = Desk()


Result = tuple[DonchianState, Sequence[Request]]


class DonchianBreakout(Strategy[DonchianParameters, DonchianState]):
    """Enters on a close beyond the highest or lowest price of the last bars; stops by the average true range."""

    kind: ClassVar[str] = "donchian"
    Params = DonchianParameters
    State = DonchianState

    def timeframes(self) -> tuple[str, ...]:
        """The bars that make the channels."""
        return (self.params.timeframe,)

    def is_warm(self, state: DonchianState) -> bool:
        """Each instrument has the bars that a decision looks back on."""
        needed = self.params.bars_kept
        return len(state.candles) >= needed and all(len(part.candles) >= needed for part in state.others)

    def on_start(self, event: Started, state: DonchianState, context: StrategyContext) -> Result:
        """After a long gap of a live feed the channel is of another time: begin it anew, and keep the trades."""
        state = cover(state, context.instruments, lambda symbol: DonchianState(instrument=symbol))
        if event.gap_ns > self.params.reset_gap_s * NS_PER_S:
            state = structs.replace(_anew(state), others=tuple(_anew(part) for part in state.others))
        return state, NOTHING

    def on_tick(self, tick: Tick, state: DonchianState, context: StrategyContext) -> Result:
        """Follow what the last bar said."""
        if tick.instrument != state.instrument:
            return route(state, tick.instrument, lambda part: self.on_tick(tick, part, context))
        return self._act(tick, state, context) if state.alert else (state, NOTHING)

    def on_bar(self, bar: Bar, state: DonchianState, context: StrategyContext) -> Result:
        """Compare the close with the channels of the bars before it."""
        if bar.timeframe != self.params.timeframe:
            return state, NOTHING
        return route(state, bar.instrument, lambda part: (self._look(bar, part), NOTHING))

    def on_fill(self, event: FillEvent, state: DonchianState, context: StrategyContext) -> Result:
        """An entry was filled, or a trade closed, by whomever."""
        return route(state, event.trade.symbol, lambda part: _settle(part, after_fill(part.desk, event).desk))

    def on_order(self, event: OrderUpdate, state: DonchianState, context: StrategyContext) -> Result:
        """A refused entry is given up (the next breakout decides anew); a failed exit is asked for again."""
        return route(
            state,
            event.order.instrument,
            lambda part: _settle(part, after_order(part.desk, event, RETRY_EXIT_S).desk),
        )

    def _look(self, bar: Bar, state: DonchianState) -> DonchianState:
        params, before = self.params, state.candles
        kept = (*before, Candle(bar.high, bar.low, bar.close))[-params.bars_kept :]
        signal, line, leave_sign = 0, ZERO, 0
        if len(before) >= params.bars_kept:
            entry = before[-params.entry_bars :]
            upper, lower = max(c.high for c in entry), min(c.low for c in entry)
            if bar.close > upper:
                signal, line = 1, upper
            elif bar.close < lower:
                signal, line = -1, lower
            leave_sign = self._left(bar.close, before)
        alert = bool(signal or leave_sign or state.desk.leave_again_ns)
        return structs.replace(state, alert=alert, candles=kept, signal=signal, line=line, leave_sign=leave_sign)

    def _left(self, close: Decimal, before: tuple[Candle, ...]) -> int:
        """The direction whose trades the exit channel closes: +1 longs, -1 shorts, 0 none."""
        if not self.params.exit_bars:
            return 0
        channel = before[-self.params.exit_bars :]
        if close < min(c.low for c in channel):
            return 1
        return -1 if close > max(c.high for c in channel) else 0

    def _act(self, tick: Tick, state: DonchianState, context: StrategyContext) -> Result:
        desk, requests = state.desk, list[Request]()
        if desk.leave_again_ns and tick.ts_ns >= desk.leave_again_ns:
            desk, exits = leave_again(desk, state.instrument)
            requests.extend(exits)
        if state.signal and not desk.in_flight:
            instrument = context.instruments[tick.instrument]
            params = self.params
            desk, more = turn(
                tick,
                desk,
                state.signal,
                params,
                context,
                timeframe=params.timeframe,
                pattern="donchian_breakout",
                stop=self._distance(state.candles, params.stop_atr, instrument),
                target=None,
                trailing=self._distance(state.candles, params.trailing_atr, instrument),
            )
            if more:
                requests.append(_told("breakout", state, state.signal))
            requests.extend(more)
            state = structs.replace(state, signal=0)
        if state.leave_sign:
            desk, exits = leave(desk, state.instrument, "signal", sign=state.leave_sign)
            if exits:
                requests.append(_told("channel_exit", state, -state.leave_sign))
            requests.extend(exits)
        alert = bool(state.signal or desk.leave_again_ns)
        return structs.replace(state, alert=alert, leave_sign=0, desk=desk), requests

    def _distance(self, candles: tuple[Candle, ...], multiple: Decimal, instrument: Instrument) -> Decimal | None:
        """``multiple`` average true ranges on the price grid, at least one step; None when switched off."""
        if not multiple:
            return None
        count = self.params.atr_bars
        total = sum((_true_range(candles[i - 1], candles[i]) for i in range(-count, 0)), ZERO)
        distance = divide(total * multiple, Decimal(count), instrument.tick_size, Rounding.PRICE_NEAREST)
        return max(distance, instrument.tick_size)


def _true_range(before: Candle, candle: Candle) -> Decimal:
    """The range of a bar, the jump from the close before it included."""
    return max(candle.high, before.close) - min(candle.low, before.close)


def _told(event: str, state: DonchianState, sign: int) -> Emit:
    data = {"instrument": state.instrument, "direction": "up" if sign > 0 else "down"}
    if state.line:
        data["line"] = plain(state.line)
    return Emit(type=event, data={**data, "close": plain(state.candles[-1].close)})


def _settle(state: DonchianState, desk: Desk) -> Result:
    if desk is state.desk:
        return state, NOTHING
    alert = bool(state.signal or state.leave_sign or desk.leave_again_ns)
    return structs.replace(state, desk=desk, alert=alert), NOTHING


def _anew(state: DonchianState) -> DonchianState:
    return DonchianState(
        instrument=state.instrument, others=state.others, desk=state.desk, alert=bool(state.desk.leave_again_ns)
    )
