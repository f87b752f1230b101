"""EmaCross: two exponential averages of the mid; where the fast one crosses the slow one, the trade turns.

``average += 2 / (n + 1) * (price - average)``, begun with the first price. A cross counts once ``warm_up`` prices were
seen. It is followed at the quote at hand, or, when that is too early (an entry is in flight, or ``gap_s`` after the
last signal is not over), as soon as it is not, unless the averages have crossed back by then. With ``timeframe`` the
prices are the closes of bars, and a cross is followed at the tick that completed the bar.

Averages are floats: they are indicators. They hold bid + ask, twice the mid, which spares a Decimal division a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar

from msgspec import Struct, structs

from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Emit, Request
from tradekeel.domain.money import ZERO
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
from tradekeel.strategies.desk import Desk, after_fill, after_order, leave_again
from tradekeel.strategies.parameters import about
from tradekeel.strategies.routing import Routed, cover, route
from tradekeel.strategies.turning import RETRY_EXIT_S, SignalParameters, turn


class EmaCrossParameters(SignalParameters, frozen=True, kw_only=True):
    """Parameters of EmaCross."""

    fast: Annotated[int, about("prices in the fast average", ge=1, le=100_000)] = 10
    slow: Annotated[int, about("prices in the slow average", ge=2, le=100_000)] = 100
    timeframe: Annotated[str, about('"" for every tick, or bars: 5s, 1m, 4h, 100t')] = ""
    warm_up: Annotated[int, about("prices before the first signal; 0 for as many as slow", ge=0)] = 0
    gap_s: Annotated[int, about("least time between two signals that are followed", ge=0, unit="seconds")] = 0
    stop_loss_pips: Annotated[Decimal, about("stop from the quote; 0 for none", ge=0, unit="pips")] = ZERO
    take_profit_pips: Annotated[Decimal, about("target from the quote; 0 for none", ge=0, unit="pips")] = ZERO
    trailing_pips: Annotated[Decimal, about("trailing distance; 0 for none", ge=0, unit="pips")] = ZERO

    def check(self) -> None:
        """The fast average is the shorter one."""
        if self.fast >= self.slow:
            raise InputError(f"fast ({self.fast}) must be below slow ({self.slow})")
        if self.timeframe:
            parse_timeframe(self.timeframe)

    @property
    def prices_needed(self) -> int:
        """Prices before the first signal."""
        return self.warm_up or self.slow


class Following(Struct, frozen=True, gc=False):
    """The part of the state that few ticks change."""

    desk: Desk = Desk()
    signal: int = 0  # a cross that is not followed yet: +1 up, -1 down
    followed_ns: int = 0  # when the last one was
    alert: bool = False  # something is to be done at the next tick: a signal, or an exit again


class EmaState(Routed, frozen=True, gc=False):
    """State of one instrument; ``others`` are those of the other ones. The averages hold bid + ask."""

    others: tuple[EmaState, ...] = ()
    fast: float = 0.0
    slow: float = 0.0
    count: int = 0
    above: int = 0  # +1 the fast average is above, -1 below, 0 before they differ
    following: Following = Following()


Result = tuple[EmaState, Sequence[Request]]


class EmaCross(Strategy[EmaCrossParameters, EmaState]):
    """Turns with the cross of a fast and a slow exponential average, on ticks or bars."""

    kind: ClassVar[str] = "ema_cross"
    Params = EmaCrossParameters
    State = EmaState

    def __init__(self, params: EmaCrossParameters) -> None:
        super().__init__(params)
        self._fast_share = 2.0 / (params.fast + 1)
        self._slow_share = 2.0 / (params.slow + 1)
        self._needed = params.prices_needed
        self._on_ticks = not params.timeframe

    def timeframes(self) -> tuple[str, ...]:
        """The bars whose closes are averaged, if any."""
        return (self.params.timeframe,) if self.params.timeframe else ()

    def is_warm(self, state: EmaState) -> bool:
        """Each instrument has seen its warm-up."""
        return state.count >= self._needed and all(part.count >= self._needed for part in state.others)

    def on_start(self, event: Started, state: EmaState, context: StrategyContext) -> Result:
        """After a long gap of a live feed the averages are of another time: begin them anew, and keep the trades."""
        state = cover(state, context.instruments, lambda symbol: EmaState(instrument=symbol))
        if event.gap_ns > self.params.reset_gap_s * NS_PER_S:
            state = structs.replace(_anew(state), others=tuple(_anew(part) for part in state.others))
        return state, NOTHING

    def on_tick(self, tick: Tick, state: EmaState, context: StrategyContext) -> Result:
        """Average, compare, and follow what is to be followed."""
        if tick.instrument != state.instrument:
            return route(state, tick.instrument, lambda part: self.on_tick(tick, part, context))
        if not self._on_ticks:
            return self._act(tick, state, context) if state.following.alert else (state, NOTHING)
        price = float(tick.bid + tick.ask)
        count, fast, slow, before = state.count, state.fast, state.slow, state.above
        if not count:
            return self._average(price, state), NOTHING
        # From here on this is _average, spelled out: a call less a tick.
        fast += self._fast_share * (price - fast)
        slow += self._slow_share * (price - slow)
        above = 1 if fast > slow else -1 if fast < slow else before
        following = state.following if above == before else self._crossed(state, above)
        state = EmaState(state.instrument, state.others, fast, slow, count + 1, above, following)
        return self._act(tick, state, context) if following.alert else (state, NOTHING)

    def on_bar(self, bar: Bar, state: EmaState, context: StrategyContext) -> Result:
        """Average the close; the tick that completed the bar comes next and is acted upon."""
        if self._on_ticks or bar.timeframe != self.params.timeframe:
            return state, NOTHING
        price = float(bar.close + bar.close)
        return route(state, bar.instrument, lambda part: (self._average(price, part), NOTHING))

    def on_fill(self, event: FillEvent, state: EmaState, context: StrategyContext) -> Result:
        """An entry was filled, or a trade closed, by whomever."""
        return route(state, event.trade.symbol, lambda part: _settle(part, after_fill(part.following.desk, event).desk))

    def on_order(self, event: OrderUpdate, state: EmaState, context: StrategyContext) -> Result:
        """A refused entry is given up (the next cross decides anew); a failed exit is asked for again."""
        return route(
            state,
            event.order.instrument,
            lambda part: _settle(part, after_order(part.following.desk, event, RETRY_EXIT_S).desk),
        )

    def _average(self, price: float, state: EmaState) -> EmaState:
        count = state.count + 1
        if count == 1:
            fast = slow = price
        else:
            fast, slow = state.fast, state.slow
            fast += self._fast_share * (price - fast)
            slow += self._slow_share * (price - slow)
        above = 1 if fast > slow else -1 if fast < slow else state.above
        following = state.following if above == state.above else self._crossed(state, above)
        return EmaState(state.instrument, state.others, fast, slow, count, above, following)

    def _crossed(self, state: EmaState, above: int) -> Following:
        """A cross is a signal once enough prices were seen; the first difference of the two is none."""
        if not state.above or state.count < self._needed:
            return state.following
        return Following(state.following.desk, above, state.following.followed_ns, True)

    def _act(self, tick: Tick, state: EmaState, context: StrategyContext) -> Result:
        desk, signal, followed_ns, _ = structs.astuple(state.following)
        again: Sequence[Request] = NOTHING
        if desk.leave_again_ns and tick.ts_ns >= desk.leave_again_ns:
            desk, again = leave_again(desk, state.instrument)
        gap_ns = self.params.gap_s * NS_PER_S
        early = desk.in_flight or (followed_ns and tick.ts_ns < followed_ns + gap_ns)
        if early or not signal:
            after = Following(desk, signal, followed_ns, bool(signal or desk.leave_again_ns))
            return structs.replace(state, following=after), again
        params, instrument = self.params, context.instruments[tick.instrument]
        desk, requests = turn(
            tick,
            desk,
            signal,
            params,
            context,
            timeframe=params.timeframe,
            pattern="ema_cross",
            stop=_distance(instrument, params.stop_loss_pips),
            target=_distance(instrument, params.take_profit_pips),
            trailing=_distance(instrument, params.trailing_pips),
        )
        if requests:
            followed_ns = tick.ts_ns
            requests = (_told(state, signal, instrument), *requests)
        after = Following(desk, 0, followed_ns, bool(desk.leave_again_ns))
        return structs.replace(state, following=after), (*again, *requests)


def _distance(instrument: Instrument, pips: Decimal) -> Decimal | None:
    return instrument.from_pips(pips) if pips else None


def _told(state: EmaState, signal: int, instrument: Instrument) -> Emit:
    digits = instrument.price_digits + 2
    return Emit(
        type="ema_cross",
        data={
            "instrument": state.instrument,
            "direction": "up" if signal > 0 else "down",
            "fast": f"{state.fast / 2:.{digits}f}",
            "slow": f"{state.slow / 2:.{digits}f}",
        },
    )


def _settle(state: EmaState, desk: Desk) -> Result:
    known = state.following
    if desk is known.desk:
        return state, NOTHING
    alert = bool(known.signal or desk.leave_again_ns)
    return structs.replace(state, following=Following(desk, known.signal, known.followed_ns, alert)), NOTHING


def _anew(state: EmaState) -> EmaState:
    known = state.following
    following = Following(known.desk, 0, known.followed_ns, bool(known.desk.leave_again_ns))
    return EmaState(instrument=state.instrument, others=state.others, following=following)
