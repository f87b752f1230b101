"""A strategy that uses everything: it decides by a hash of the tick's position, so that every kind of request occurs.

It makes no money and is not meant to. Entries of every type and time in force, brackets, trailing stops, exits by time,
partial exits, cancels, moved stops, timers and events come about as often as their weights say. What it does depends on
the tick and on the account's open business, so a run that comes back to another state than it left is soon found out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from msgspec import Struct, structs

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Cancel, Emit, Enter, Exit, MoveStop, Request, SetTimer
from tradekeel.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from tradekeel.domain.ticks import Tick
from tradekeel.domain.trades import Trade, TradeSide, TradeStatus
from tradekeel.strategies.base import FillEvent, OrderUpdate, Strategy, StrategyContext, TimerFired
from tradekeel.strategies.parameters import Parameters, about

SECOND = 1_000_000_000
TRADES_MAX = 6


class BusyParameters(Parameters, frozen=True, kw_only=True):
    """How busy, and in which directions."""

    seed: Annotated[int, about("other seeds, other decisions", ge=0)] = 1
    every: Annotated[int, about("ticks between two decisions", ge=1)] = 7
    units: Annotated[Decimal, about("size of a trade", gt=0, unit="units")] = Decimal(1000)
    short: Annotated[bool, about("whether it sells, too")] = True


class BusyState(Struct, frozen=True):
    """What it remembers: enough to notice if it ever came back different."""

    steps: int = 0
    fills: int = 0
    ended: int = 0
    timers: int = 0


Result = tuple[BusyState, Sequence[Request]]


class Busy(Strategy[BusyParameters, BusyState]):
    """Decides by a hash of the position."""

    Params = BusyParameters
    State = BusyState

    def on_tick(self, tick: Tick, state: BusyState, context: StrategyContext) -> Result:
        """Every so many ticks, one of everything."""
        if tick.position % self.params.every:
            return state, ()
        draw = _draws(f"{self.params.seed}|{tick.instrument}|{tick.position}")
        state = structs.replace(state, steps=state.steps + 1)
        trades = [t for t in context.open_trades if t.symbol == tick.instrument and t.status is TradeStatus.OPEN]
        working = sorted(
            (o for o in context.working_orders if o.purpose is Purpose.ENTRY and o.instrument == tick.instrument),
            key=lambda order: (order.decision, order.leg),
        )
        told = Emit(type="step", data={"open": len(trades), "working": len(working), "state": structs.asdict(state)})
        choice = draw[0] % 16
        if choice < 9 and len(context.open_trades) < TRADES_MAX:
            return state, (told, self._enter(tick, draw, context))
        if choice < 11 and working:
            return state, (told, Cancel(client_order_id=working[draw[1] % len(working)].client_order_id))
        if choice < 14 and trades:
            return state, (told, self._exit(trades[draw[1] % len(trades)], draw, context))
        if choice == 14 and trades:
            return state, (told, _tighter(trades[draw[1] % len(trades)], tick, draw, context))
        return state, (SetTimer(name=f"timer-{draw[1] % 3}", at_ns=tick.ts_ns + (1 + draw[2] % 20) * SECOND),)

    def _enter(self, tick: Tick, draw: bytes, context: StrategyContext) -> Enter:
        sell = self.params.short and draw[1] % 2 == 1
        sign = -1 if sell else 1
        instrument = context.instruments[tick.instrument]
        price = tick.bid if sell else tick.ask
        type_ = (OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)[draw[2] % 5]
        away = _pips(instrument, 1 + draw[3] % 3)
        limit = stop = None
        if type_ is OrderType.LIMIT:
            limit = price - sign * away
        elif type_ in (OrderType.STOP, OrderType.STOP_LIMIT):
            stop = price + sign * away
            limit = stop + sign * _pips(instrument, 2) if type_ is OrderType.STOP_LIMIT else None
        wanted = limit if limit is not None else stop if stop is not None else price
        gtd = type_ is not OrderType.MARKET and draw[4] % 3 == 0
        return Enter(
            instrument=tick.instrument,
            side=Side.SELL if sell else Side.BUY,
            quantity=instrument.quantity(self.params.units * (1 + draw[6] % 4)),
            type=type_,
            price=limit,
            stop_price=stop,
            time_in_force=_lasting(type_, gtd, draw),
            expire_at_ns=tick.ts_ns + (1 + draw[7] % 60) * SECOND if gtd else None,
            stop_loss=wanted - sign * _pips(instrument, 2 + draw[8] % 6) if draw[9] % 4 else None,
            take_profit=wanted + sign * _pips(instrument, 2 + draw[10] % 6) if draw[11] % 4 else None,
            trailing_distance=_pips(instrument, 2 + draw[12] % 4) if draw[13] % 4 == 0 else None,
            exit_at_ns=tick.ts_ns + (5 + draw[14] % 120) * SECOND if draw[15] % 3 == 0 else None,
        )

    def _exit(self, trade: Trade, draw: bytes, context: StrategyContext) -> Exit:
        part = trade.open_quantity
        if draw[2] % 2:
            part = context.instruments[trade.symbol].quantity(part / 2) or part
        return Exit(instrument=trade.symbol, trade_id=trade.trade_id, quantity=part)

    def on_fill(self, event: FillEvent, state: BusyState, context: StrategyContext) -> Result:
        """Count."""
        return structs.replace(state, fills=state.fills + 1), ()

    def on_order(self, event: OrderUpdate, state: BusyState, context: StrategyContext) -> Result:
        """Count endings that a restart cannot add: an order that never arrived is renewed without a word."""
        if event.event not in ("canceled", "expired", "rejected", "denied"):
            return state, ()
        return structs.replace(state, ended=state.ended + 1), (
            Emit(type="ended", data={"event": event.event, "order": _described(event.order)}),
        )

    def on_timer(self, event: TimerFired, state: BusyState, context: StrategyContext) -> Result:
        """Say so."""
        state = structs.replace(state, timers=state.timers + 1)
        return state, (Emit(type="timer", data={"name": event.name, "state": structs.asdict(state)}),)


def _draws(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _pips(instrument: Instrument, number: int) -> Decimal:
    return instrument.from_pips(Decimal(number))


def _lasting(type_: OrderType, gtd: bool, draw: bytes) -> TimeInForce:
    if gtd:
        return TimeInForce.GTD
    if type_ is OrderType.MARKET and draw[5] % 4 < 2:
        return TimeInForce.IOC if draw[5] % 4 else TimeInForce.FOK
    return TimeInForce.GTC


def _tighter(trade: Trade, tick: Tick, draw: bytes, context: StrategyContext) -> MoveStop:
    away = context.instruments[trade.symbol].from_pips(Decimal(1 + draw[2] % 3))
    stop = tick.bid - away if trade.side is TradeSide.LONG else tick.ask + away
    return MoveStop(trade_id=trade.trade_id, stop_loss=stop)


def _described(order: Order) -> str:
    """An order without what is counted anew after a restart: an exit of the monitor is numbered by its journal record."""
    by = f"decision {order.decision} leg {order.leg}" if order.source == "strategy" else order.source
    return f"{order.purpose} {order.type} {order.side} {order.quantity} {by}"
