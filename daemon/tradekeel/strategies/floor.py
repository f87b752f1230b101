"""FloorStrategy: buys a falling market in layers, each with its own target, above a floor where everything is left.

A *cycle* opens with layer 0 at the market. Each time the price moves ``retracement_pips`` against the deepest layer,
measured from its fill, the next layer opens, until ``max_layers`` are open. Every layer has its own take-profit,
``take_profit_pips`` from the quote that its decision saw, kept by the platform. A deep layer that took its profit opens
again when the price falls again. When all layers are closed the cycle is over and the next one begins. A short cycle
is the mirror image: it sells a rising market, and its floor is a ceiling.

**The lock.** Volatility is the range of the mid price over the last ``volatility_window_s`` seconds, highest less lowest
in percent of the lowest (:mod:`~tradekeel.strategies.volatility`). From ``volatility_threshold`` percent on no layer
opens. It unlocks when volatility has come down to ``volatility_unlock_ratio`` of the threshold, so that it does not
flicker. Layers that are open keep their exits.

**The floor.** When the price is ``floor_stop_pips`` beyond the outermost layer's entry (longs: the bid) everything is
closed with the reason stop_loss, an entry in flight as soon as it fills; ``retry_delay_s`` later a new cycle may begin.

Nothing is entered while an entry is in flight, while paused or locked, or within ``retry_delay_s`` of a refused entry.
Each decision is an event: cycle_started, layer_opened, layer_refused, layer_closed, layer_locked, layer_unlocked,
layer_capped, floor_stop, cycle_closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from msgspec import structs

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Cancel, Emit, Enter, Request
from tradekeel.domain.money import ONE, ZERO, Rounding, divide, plain
from tradekeel.domain.orders import Purpose, Side
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.strategies import volatility
from tradekeel.strategies.base import (
    NOTHING,
    FillEvent,
    OrderUpdate,
    Started,
    Strategy,
    StrategyContext,
)
from tradekeel.strategies.desk import (
    Desk,
    Held,
    after_fill,
    after_order,
    begin,
    leave,
    leave_again,
    marks,
)
from tradekeel.strategies.parameters import Parameters, about
from tradekeel.strategies.routing import Routed, cover, route
from tradekeel.strategies.volatility import Window

UNITS_STEP = Decimal("1e-8")
"""Grid on which a layer's size is computed before it is rounded down to the instrument's own."""


NEVER_BELOW = ZERO
"""A level that no price falls to."""

NEVER_ABOVE = Decimal(10) ** 18
"""A level that no price rises to."""


class FloorParameters(Parameters, frozen=True, kw_only=True):
    """Parameters of FloorStrategy."""

    initial_units: Annotated[Decimal, about("size of layer 0", gt=0, unit="units")] = Decimal(1000)
    max_layers: Annotated[int, about("layers that may be open at once", ge=1, le=100)] = 5
    retracement_pips: Annotated[
        Decimal, about("move against the deepest layer that opens the next", gt=0, unit="pips")
    ] = Decimal(10)
    take_profit_pips: Annotated[Decimal, about("target of each layer", gt=0, unit="pips")] = Decimal(20)
    stop_loss_pips: Annotated[Decimal, about("stop of each layer; 0 for none", ge=0, unit="pips")] = ZERO
    floor_stop_pips: Annotated[
        Decimal, about("beyond the outermost layer, where everything is closed; 0 for none", ge=0, unit="pips")
    ] = ZERO
    direction: Annotated[
        Literal["long", "short", "auto"],
        about("auto: each cycle follows the move over the volatility window"),
    ] = "long"
    momentum_pips: Annotated[
        Decimal, about("auto: move over the window that gives a cycle its direction", gt=0, unit="pips")
    ] = Decimal(5)
    progression: Annotated[
        Literal["constant", "additive", "multiplicative", "inverse"],
        about("size of layer n: u, u*(1+n*f), u*f^n, u/(1+n*f), with f the factor"),
    ] = "constant"
    progression_factor: Annotated[Decimal, about("the f of the progression", gt=0, le=100)] = ONE
    units_max: Annotated[Decimal, about("units held and in flight together; 0 for no limit", ge=0, unit="units")] = ZERO
    volatility_threshold: Annotated[
        Decimal, about("range of the mid from which on no layer opens; 0 for never", ge=0, unit="percent")
    ] = Decimal("0.5")
    volatility_unlock_ratio: Annotated[Decimal, about("share of the threshold at which it unlocks", gt=0, le=1)] = (
        Decimal("0.8")
    )
    volatility_window_s: Annotated[
        int, about("window of the range", ge=volatility.SLICES, le=604_800, unit="seconds")
    ] = 1800
    retry_delay_s: Annotated[
        int, about("pause after a refused entry, a failed exit or a floor stop", ge=0, le=86_400, unit="seconds")
    ] = 60
    confidence: Annotated[
        Decimal | None, about("stated with each entry, for the account's signal filter", ge=0, le=1)
    ] = None

    def check(self) -> None:
        """A stop inside the retracement would close each layer before the next could open."""
        if ZERO < self.stop_loss_pips <= self.retracement_pips and self.max_layers > 1:
            raise InputError(
                f"stop_loss_pips ({self.stop_loss_pips}) must be above retracement_pips ({self.retracement_pips}), "
                "or 0: otherwise a layer is stopped out before the next one can open"
            )
        if self.units_max and self.units_max < self.initial_units:
            raise InputError(
                f"units_max ({self.units_max}) is below initial_units ({self.initial_units}): no layer could open"
            )
        if self.progression == "multiplicative" and self.progression_factor == ONE and self.max_layers > 1:
            raise InputError(
                "progression multiplicative with progression_factor 1 is constant: choose a factor, or constant"
            )

    def units(self, layer: int) -> Decimal:
        """Size of a layer before it is put on the instrument's grid."""
        first, factor = self.initial_units, self.progression_factor
        if self.progression == "additive":
            return first * (1 + layer * factor)
        if self.progression == "multiplicative":
            return first * factor**layer
        if self.progression == "inverse":
            return divide(first, 1 + layer * factor, UNITS_STEP, Rounding.SIZE)
        return first


class FloorState(Routed, frozen=True, gc=False):
    """State of one instrument; ``others`` are those of the other ones."""

    others: tuple[FloorState, ...] = ()
    window: Window = Window()
    locked: bool = False
    sign: int = 0  # direction of the cycle: +1, -1, 0 between cycles
    cycle: int = 0
    enter_at: Decimal = NEVER_BELOW  # ask (long) or bid (short) that opens the next layer
    stop_at: Decimal = NEVER_BELOW  # bid (long) or ask (short) that touches the floor
    stopping: bool = False  # the floor was touched; waits until everything is closed
    urgent: bool = False  # an exit failed and is due again at some time
    capped: int = -1  # the layer of which it was said that the size limits do not allow it
    desk: Desk = Desk()


Result = tuple[FloorState, Sequence[Request]]


class FloorStrategy(Strategy[FloorParameters, FloorState]):
    """Opens layers against a retracement, each with its own take-profit, locked by volatility, closed at a floor."""

    kind: ClassVar[str] = "floor"
    Params = FloorParameters
    State = FloorState

    def is_warm(self, state: FloorState) -> bool:
        """Only a direction that is read from the market needs history."""
        window_s = self.params.volatility_window_s
        return self.params.direction != "auto" or all(part.window.is_full(window_s) for part in (state, *state.others))

    def on_start(self, event: Started, state: FloorState, context: StrategyContext) -> Result:
        """Give each instrument its place; what was saved goes on."""
        return cover(state, context.instruments, lambda symbol: FloorState(instrument=symbol)), NOTHING

    def on_tick(self, tick: Tick, state: FloorState, context: StrategyContext) -> Result:
        """Measure; then most ticks of a cycle end with two comparisons."""
        if tick.instrument != state.instrument:
            return route(state, tick.instrument, lambda part: self.on_tick(tick, part, context))
        bid, ask, window = tick.bid, tick.ask, state.window
        total = bid + ask
        requests: Sequence[Request] = NOTHING
        if total > window.high or total < window.low or tick.ts_ns >= window.slice_end_ns:
            state, requests = self._measure(state, tick, total)
        if not state.urgent:
            if state.sign > 0:
                if ask > state.enter_at and bid > state.stop_at:
                    return state, requests
            elif state.sign < 0 and bid < state.enter_at and ask < state.stop_at:
                return state, requests
        state, more = self._act(tick, state, context)
        return state, (*requests, *more)

    def on_fill(self, event: FillEvent, state: FloorState, context: StrategyContext) -> Result:
        """A layer was filled or closed, by whomever."""
        return route(state, event.trade.symbol, lambda part: self._fill(event, part, context))

    def on_order(self, event: OrderUpdate, state: FloorState, context: StrategyContext) -> Result:
        """An entry or an exit came to nothing: forget the layer, or ask for the exit again later."""
        return route(state, event.order.instrument, lambda part: self._order(event, part, context))

    # --- on ticks

    def _measure(self, state: FloorState, tick: Tick, total: Decimal) -> Result:
        window = volatility.advance(state.window, tick.ts_ns, total, self.params.volatility_window_s)
        threshold = self.params.volatility_threshold
        locked = state.locked
        if threshold:
            if not locked:
                locked = window.reaches(threshold)
            else:
                locked = window.exceeds(threshold * self.params.volatility_unlock_ratio)
        after = structs.replace(state, window=window, locked=locked)
        if locked is state.locked:
            return after, NOTHING
        name = "layer_locked" if locked else "layer_unlocked"
        return after, (_tell(name, state, volatility=window.percent(), threshold=threshold),)

    def _act(self, tick: Tick, state: FloorState, context: StrategyContext) -> Result:
        """Something may be due at this tick: a repeated exit, the floor, a layer, a new cycle."""
        desk = state.desk
        if state.urgent and tick.ts_ns >= desk.leave_again_ns:
            desk, exits = leave_again(desk, state.instrument)
            return structs.replace(state, desk=desk, urgent=False), exits
        if state.sign and _touched(tick.bid, tick.ask, state.stop_at, state.sign):
            return self._stop(tick, state, context)
        if state.sign and not _touched(tick.ask, tick.bid, state.enter_at, state.sign):
            return state, NOTHING
        if state.locked or desk.in_flight or context.paused or not context.warm:
            return state, NOTHING
        if tick.ts_ns < desk.enter_from_ns:
            return state, NOTHING
        instrument = context.instruments[tick.instrument]
        sign = state.sign or self._direction(tick, state, instrument)
        return self._open(tick, state, sign, instrument) if sign else (state, NOTHING)

    def _direction(self, tick: Tick, state: FloorState, instrument: Instrument) -> int:
        """Direction of a new cycle, 0 to wait: set, or that of the move over a full window."""
        if self.params.direction != "auto":
            return 1 if self.params.direction == "long" else -1
        if not state.window.is_full(self.params.volatility_window_s):
            return 0
        moved = tick.bid + tick.ask - state.window.oldest()
        if abs(moved) < 2 * self.params.momentum_pips * instrument.pip_size:  # of bid + ask, twice the mid
            return 0
        return 1 if moved > ZERO else -1

    def _open(self, tick: Tick, state: FloorState, sign: int, instrument: Instrument) -> Result:
        """Ask for the next layer, and with layer 0 begin a cycle."""
        layer = max((held.slot for held in state.desk.kept), default=-1) + 1
        units = min(instrument.quantity(self.params.units(layer)), instrument.quantity_max)
        limit = self.params.units_max
        if units < instrument.quantity_min or (limit and state.desk.units + units > limit):
            if state.capped == layer:
                return state, NOTHING
            told = _tell("layer_capped", state, layer=layer, units=units, held=state.desk.units, units_max=limit)
            return structs.replace(state, capped=layer), (told,)
        quote = tick.ask if sign > 0 else tick.bid
        begins = not state.sign
        cycle = state.cycle + 1 if begins else state.cycle
        desk = begin(state.desk, slot=layer, sign=sign, price=quote, quantity=units)
        after = structs.replace(state, sign=sign, cycle=cycle, desk=desk)
        after = self._levels(after, instrument)
        entry = self._entry(after, layer, units, quote, instrument)
        told = _tell("layer_opened", after, layer=layer, units=units, price=quote, take_profit=entry.take_profit)
        if begins:
            side = "long" if sign > 0 else "short"
            return after, (_tell("cycle_started", after, direction=side), told, entry)
        return after, (told, entry)

    def _entry(self, state: FloorState, layer: int, units: Decimal, quote: Decimal, instrument: Instrument) -> Enter:
        params, sign = self.params, state.sign
        target = instrument.price(quote + sign * instrument.from_pips(params.take_profit_pips))
        stop = None
        if params.stop_loss_pips:
            stop = instrument.price(quote - sign * instrument.from_pips(params.stop_loss_pips))
        return Enter(
            instrument=instrument.symbol,
            side=Side.BUY if sign > 0 else Side.SELL,
            quantity=units,
            take_profit=target,
            stop_loss=stop,
            confidence=params.confidence,
            pattern_type="floor",
            tags=("floor", f"layer-{layer}"),
            metadata=marks(state.desk, layer=layer, cycle=state.cycle),
        )

    def _stop(self, tick: Tick, state: FloorState, context: StrategyContext) -> Result:
        """The floor: leave everything, cancel what has not filled, and wait until nothing is left."""
        desk, exits = leave(state.desk, state.instrument, "stop_loss")
        desk = structs.replace(desk, enter_from_ns=tick.ts_ns + self.params.retry_delay_s * NS_PER_S)
        cancels = tuple(
            Cancel(client_order_id=order.client_order_id)
            for order in context.working_orders
            if order.purpose is Purpose.ENTRY and order.instrument == state.instrument
        )
        told = _tell("floor_stop", state, bid=tick.bid, ask=tick.ask, floor=state.stop_at, layers=len(desk.held))
        after = structs.replace(state, desk=desk, stopping=True)
        return self._levels(after, context.instruments[tick.instrument]), (told, *exits, *cancels)

    def _levels(self, state: FloorState, instrument: Instrument) -> FloorState:
        """The state with the prices at which the next layer opens and the floor is touched."""
        kept, sign = state.desk.kept, state.sign
        never = NEVER_BELOW if sign >= 0 else NEVER_ABOVE
        enter_at = stop_at = never
        if sign and kept and not state.stopping:
            deepest = max(kept, key=lambda held: held.slot)
            if deepest.slot + 1 < self.params.max_layers and len(kept) < self.params.max_layers:
                enter_at = deepest.price - sign * instrument.from_pips(self.params.retracement_pips)
            if self.params.floor_stop_pips:
                outermost = min(held.price * sign for held in kept) * sign
                stop_at = outermost - sign * instrument.from_pips(self.params.floor_stop_pips)
        return structs.replace(state, enter_at=enter_at, stop_at=stop_at, urgent=bool(state.desk.leave_again_ns))

    # --- on news

    def _fill(self, event: FillEvent, state: FloorState, context: StrategyContext) -> Result:
        settled = after_fill(state.desk, event)
        entry = settled.entry
        if entry is None:
            return state, NOTHING
        state = structs.replace(state, desk=settled.desk)
        requests: list[Request] = []
        if settled.closed:
            trade = event.trade
            requests.append(
                _tell(
                    "layer_closed", state, layer=entry.slot, trade=trade.trade_id, reason=trade.exit_reason or "",
                    pnl=trade.pnl,
                )
            )  # fmt: skip
        elif settled.late:
            state, more = self._adopt(state, entry)
            requests.extend(more)
        if state.stopping and entry.sign and not settled.closed:
            desk, exits = leave(state.desk, state.instrument, "stop_loss")
            state = structs.replace(state, desk=desk)
            requests.extend(exits)
        return self._after_news(state, requests, context)

    def _adopt(self, state: FloorState, entry: Held) -> Result:
        """A layer that was given up was filled after all: it joins the cycle where it fits, otherwise it is left."""
        fits = state.sign in (0, entry.sign) and len(state.desk.kept) <= self.params.max_layers
        told = _tell("layer_opened", state, layer=entry.slot, units=entry.quantity, price=entry.price, late=True)
        if fits:
            return structs.replace(state, sign=entry.sign), (told,)
        desk, exits = leave(state.desk, state.instrument, "signal", attempt=entry.attempt)
        return structs.replace(state, desk=desk), (told, *exits)

    def _order(self, event: OrderUpdate, state: FloorState, context: StrategyContext) -> Result:
        settled = after_order(state.desk, event, self.params.retry_delay_s)
        if settled.desk is state.desk:
            return state, NOTHING
        state = structs.replace(state, desk=settled.desk)
        requests: list[Request] = []
        if settled.refused and settled.entry is not None:
            layer = settled.entry.slot
            requests.append(_tell("layer_refused", state, layer=layer, outcome=event.event, reason=event.reason))
        elif settled.closed and settled.entry is not None:
            requests.append(_tell("layer_closed", state, layer=settled.entry.slot, trade=settled.entry.trade_id))
        return self._after_news(state, requests, context)

    def _after_news(self, state: FloorState, requests: list[Request], context: StrategyContext) -> Result:
        """New levels; and when nothing is left, the end of the cycle."""
        if state.sign and not state.desk.held:
            requests.append(_tell("cycle_closed", state, stopped=state.stopping))
            state = structs.replace(state, sign=0, stopping=False)
        state = structs.replace(state, capped=-1)
        instrument = context.instruments.get(state.instrument)
        if instrument is None:  # it is traded no more, and what is left of it comes to its end
            return state, requests
        return self._levels(state, instrument), requests


def _touched(reaching: Decimal, other: Decimal, level: Decimal, sign: int) -> bool:
    """Whether a price has come to ``level`` from above (long) or from below (short, where the other side counts)."""
    return reaching <= level if sign > 0 else other >= level


def _tell(event: str, state: FloorState, **data: Decimal | int | str | bool | None) -> Emit:
    """A strategy event; decimals as text."""
    shown = {key: plain(value) if isinstance(value, Decimal) else value for key, value in data.items()}
    return Emit(type=event, data={"instrument": state.instrument, "cycle": state.cycle, **shown})
