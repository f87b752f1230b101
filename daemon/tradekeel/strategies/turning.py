"""Acting on a signal: leave what stands against it and enter its way, in one decision. Shared by the signal strategies."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Enter, Exit, Request
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Tick
from tradekeel.strategies.base import StrategyContext
from tradekeel.strategies.desk import Desk, begin, leave, marks
from tradekeel.strategies.parameters import Parameters, about

RETRY_EXIT_S = 5
"""An exit that came to nothing is asked for again after so many seconds."""


class SignalParameters(Parameters, frozen=True, kw_only=True):
    """What strategies that follow a signal have in common."""

    units: Annotated[Decimal, about("size of a trade", gt=0, unit="units")] = Decimal(1000)
    direction: Annotated[Literal["both", "long", "short"], about("which signals may enter; all may exit")] = "both"
    reverse: Annotated[
        bool, about("a signal against a trade closes it and enters the other way; false: it only closes")
    ] = True
    one_order: Annotated[
        bool, about("with reverse: one order closes the trade and enters; false: an exit, and an entry")
    ] = False
    reset_gap_s: Annotated[
        int, about("a live feed unseen for longer makes it begin its warm-up anew", ge=0, unit="seconds")
    ] = 300
    confidence: Annotated[
        Decimal | None, about("stated with each entry, for the account's signal filter", ge=0, le=1)
    ] = None

    def allows(self, sign: int) -> bool:
        """Whether an entry in this direction is wanted at all."""
        return self.direction == "both" or (self.direction == "long") == (sign > 0)


def turn(
    tick: Tick,
    desk: Desk,
    sign: int,
    params: SignalParameters,
    context: StrategyContext,
    *,
    timeframe: str,
    pattern: str,
    stop: Decimal | None,
    target: Decimal | None,
    trailing: Decimal | None,
) -> tuple[Desk, Sequence[Request]]:
    """Follow a signal at a quote: exits of trades against it, and an entry unless one that way is held.

    With ``one_order`` the entry closes what stands against it, and no exit of that is asked for.
    ``stop``, ``target`` and ``trailing`` are price distances from the quote. Must not be called with an entry in flight.
    """
    assert not desk.in_flight, "a signal waits until the entry in flight is settled"
    against = any(held.sign == -sign for held in desk.kept)
    along = any(held.sign == sign for held in desk.kept)
    desk, exits = leave(desk, tick.instrument, "signal", sign=-sign)
    if along or (against and not params.reverse) or not params.allows(sign) or context.paused or not context.warm:
        return desk, exits
    instrument: Instrument = context.instruments[tick.instrument]
    quote = tick.ask if sign > 0 else tick.bid
    quantity = min(instrument.quantity(params.units), instrument.quantity_max)
    if quantity < instrument.quantity_min:
        return desk, exits
    at_once = params.one_order and against
    if at_once:
        along_ids = {held.trade_id for held in desk.held if held.sign == sign}
        exits = tuple(request for request in exits if isinstance(request, Exit) and request.trade_id in along_ids)
    desk = begin(desk, slot=0, sign=sign, price=quote, quantity=quantity)
    entry = Enter(
        instrument=tick.instrument,
        side=Side.BUY if sign > 0 else Side.SELL,
        quantity=quantity,
        reverse=at_once,
        stop_loss=None if stop is None else instrument.price(quote - sign * stop),
        take_profit=None if target is None else instrument.price(quote + sign * target),
        trailing_distance=trailing,
        confidence=params.confidence,
        timeframe=timeframe or None,
        pattern_type=pattern,
        tags=(pattern,),
        metadata=marks(desk),
    )
    return desk, (*exits, entry)
