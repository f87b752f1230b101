"""A strategy that does everything a strategy can do, by lot: what it wants at a tick is a hash of its seed and the position.

It is pure, as every strategy has to be, and its state remembers a digest of all it was told, so that two runs that were told
different things, or the same in another order, take different decisions from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b

from msgspec import Struct, structs

from tradekeel.domain.messages import Cancel, Emit, Enter, Exit, MoveStop, Request, SetTimer
from tradekeel.domain.orders import OrderType, Purpose, Side, TimeInForce
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.domain.trades import Trade, TradeSide, TradeStatus
from tradekeel.strategies.base import (
    FillEvent,
    OrderUpdate,
    Paused,
    Resumed,
    Started,
    Stopped,
    Strategy,
    StrategyContext,
    TimerFired,
)

D = Decimal
ANSWERS_MAX = 400
"""News after which nothing is entered in answer to news any more, or a tick might have no end."""

Out = tuple["GamblerState", Sequence[Request]]


class GamblerParams(Struct, frozen=True):
    """``one_in``: how rarely it wants anything. ``open_max``: trades at once."""

    seed: int = 1
    one_in: int = 5
    open_max: int = 4
    answers: bool = False  # decides on news, too
    bars: bool = False
    turns: bool = False  # two market entries in three turn what is held the other way


class GamblerState(Struct, frozen=True):
    """``told`` is a digest of everything it was told, in order."""

    told: str = ""
    ticks: int = 0
    news: int = 0


class Gambler(Strategy[GamblerParams, GamblerState]):
    """See the module."""

    Params = GamblerParams
    State = GamblerState

    def timeframes(self) -> tuple[str, ...]:
        return ("5t",) if self.params.bars else ()

    def on_start(self, event: Started, state: GamblerState, context: StrategyContext) -> Out:
        return state, ()  # a restart is no news: it must not change the way from here on

    def on_tick(self, tick: Tick, state: GamblerState, context: StrategyContext) -> Out:
        lot = self._lot(state, "tick", tick.position)
        if lot % self.params.one_in:
            return GamblerState(state.told, state.ticks + 1, state.news), ()
        after = self._hear(state, "wanted", tick.position)
        return after, self._wishes(lot // self.params.one_in, tick, context)

    def on_bar(self, bar: Bar, state: GamblerState, context: StrategyContext) -> Out:
        return self._hear(state, "bar", bar.position), ()

    def on_fill(self, event: FillEvent, state: GamblerState, context: StrategyContext) -> Out:
        heard = ("fill", str(event.fill.price), str(event.quantity), event.opens, event.trade.status.value)
        after = self._hear(state, *heard, str(context.balance), len(context.open_trades))
        if self.params.answers and self._lot(after, "answer", after.news) % 3 == 0:
            return after, (Emit(type="answered", data={"news": after.news}),)
        return after, ()

    def on_order(self, event: OrderUpdate, state: GamblerState, context: StrategyContext) -> Out:
        if event.event == "unknown":
            return state, ()  # a restart asks about what it may have sent: no reason to decide anything else
        after = self._hear(state, "order", event.event, event.order.purpose.value, str(event.order.quantity))
        if self.params.answers and event.event == "accepted" and self._lot(after, "late", after.news) % 4 == 0:
            return after, (Cancel(client_order_id=event.order.client_order_id),)
        return after, ()

    def on_timer(self, event: TimerFired, state: GamblerState, context: StrategyContext) -> Out:
        return self._hear(state, "timer", event.ts_ns), (Emit(type="timer"),)

    def on_pause(self, event: Paused, state: GamblerState, context: StrategyContext) -> Out:
        return self._hear(state, "pause"), ()

    def on_resume(self, event: Resumed, state: GamblerState, context: StrategyContext) -> Out:
        return self._hear(state, "resume"), ()

    def on_stop(self, event: Stopped, state: GamblerState, context: StrategyContext) -> Out:
        return state, (Emit(type="stopped"),)

    def _lot(self, state: GamblerState, *parts: object) -> int:
        text = "|".join(str(p) for p in (self.params.seed, state.told, *parts))
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())

    def _hear(self, state: GamblerState, *parts: object) -> GamblerState:
        told = blake2b("|".join(str(p) for p in (state.told, *parts)).encode(), digest_size=8).hexdigest()
        return structs.replace(state, told=told, news=state.news + 1)

    # --- what it may want

    def _wishes(self, lot: int, tick: Tick, context: StrategyContext) -> tuple[Request, ...]:
        kind, lot = lot % 12, lot // 12
        open_trades = [t for t in context.open_trades if t.status is TradeStatus.OPEN]
        if kind <= 4 and len(context.open_trades) < self.params.open_max:
            return (self._enter(lot, tick),)
        if kind == 5 and len(context.open_trades) + 1 < self.params.open_max:
            return (self._enter(lot, tick), self._enter(lot // 7, tick), Emit(type="two", data={"at": tick.position}))
        if kind == 6:
            at_ns = tick.ts_ns + (lot % 9) * 1_000_000_000
            return (SetTimer(name=f"t{lot % 2}", at_ns=at_ns), Emit(type="timer set"))
        if kind == 7 and context.working_orders:
            order = context.working_orders[lot % len(context.working_orders)]
            return (Cancel(client_order_id=order.client_order_id),)
        if not open_trades:
            return ()
        trade = open_trades[lot % len(open_trades)]
        if kind == 8:
            return (Exit(instrument=trade.symbol, trade_id=trade.trade_id),)
        if kind == 9:
            return (Exit(instrument=trade.symbol, quantity=D(700), reason="signal"),)
        if kind == 10:
            return (_tighter(trade, tick, lot),)
        half = Exit(instrument=trade.symbol, trade_id=trade.trade_id, quantity=D(300))
        return (half, Exit(instrument=trade.symbol, trade_id=trade.trade_id))

    def _enter(self, lot: int, tick: Tick) -> Enter:
        buy = lot % 2 == 0
        sign = 1 if buy else -1
        price = tick.ask if buy else tick.bid
        type_ = (OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP)[lot // 2 % 4]
        away = D("0.0002") * sign * (-1 if type_ is OrderType.LIMIT else 1)
        level = price + away if type_ is not OrderType.MARKET else price
        exits = lot // 8 % 6
        gap = D("0.0004") + D(lot // 48 % 5) * D("0.0001")
        return Enter(
            instrument=tick.instrument,
            side=Side.BUY if buy else Side.SELL,
            quantity=D(1000) + D(lot // 240 % 3) * D(500),
            type=type_,
            reverse=self.params.turns and type_ is OrderType.MARKET and bool(lot // 720 % 3),
            price=level if type_ is OrderType.LIMIT else None,
            stop_price=level if type_ is OrderType.STOP else None,
            time_in_force=TimeInForce.GTD if exits == 5 and type_ is not OrderType.MARKET else TimeInForce.GTC,
            expire_at_ns=tick.ts_ns + 6_000_000_000 if exits == 5 and type_ is not OrderType.MARKET else None,
            stop_loss=level - gap * sign if exits in (0, 1, 4) else None,
            take_profit=level + gap * sign if exits in (0, 2, 4) else None,
            trailing_distance=gap if exits in (3, 4) else None,
            exit_at_ns=tick.ts_ns + 9_000_000_000 if exits == 1 else None,
        )


class Reckless(Gambler):
    """Wants up to four things at once: also levels of trades that have not begun, and the end of its own protection.

    It answers news with orders, exits, and levels that the market has touched already.
    """

    def on_fill(self, event: FillEvent, state: GamblerState, context: StrategyContext) -> Out:
        after, wanted = super().on_fill(event, state, context)
        return after, (*wanted, *self._answer(after, event.fill.price, event.ts_ns, context))

    def on_order(self, event: OrderUpdate, state: GamblerState, context: StrategyContext) -> Out:
        after, wanted = super().on_order(event, state, context)
        price = event.order.price or event.order.stop_price or event.order.reference_price
        if wanted or event.event == "unknown" or price is None:
            return after, wanted
        return after, self._answer(after, price, event.ts_ns, context)

    def _answer(self, state: GamblerState, price: Decimal, ts_ns: int, context: StrategyContext) -> tuple[Request, ...]:
        lot = self._lot(state, "reckless", state.news)
        if not self.params.answers or lot % 3:
            return ()
        kind, lot = lot // 3 % 8, lot // 24
        tick = Tick(context.instrument.symbol, ts_ns, price, price + D("0.0001"), 0)
        if kind <= 4 and context.open_trades:
            trade = context.open_trades[lot % len(context.open_trades)]
            beyond = D("0.0010") * (1 if trade.side is TradeSide.LONG else -1)
            levels = (price, price + beyond, price - beyond)
            if kind == 4:
                return (Exit(instrument=trade.symbol, trade_id=trade.trade_id, quantity=D((300, 1000)[lot % 2])),)
            return (MoveStop(trade_id=trade.trade_id, stop_loss=levels[lot % 3]),)
        if kind <= 6 and len(context.open_trades) < self.params.open_max and state.news < ANSWERS_MAX:
            return (self._enter(lot, tick),)
        return ()

    def _wishes(self, lot: int, tick: Tick, context: StrategyContext) -> tuple[Request, ...]:
        wanted: list[Request] = []
        for turn in range(1 + lot % 4):
            draw = int.from_bytes(blake2b(f"{lot}|{turn}".encode(), digest_size=6).digest())
            entered = sum(isinstance(request, Enter) for request in wanted)
            wish = self._wish(draw % 14, draw // 14, tick, context, entered)
            if wish is not None:
                wanted.append(wish)
        return (*wanted, Emit(type="wanted", data={"count": len(wanted)})) if wanted else ()

    def _wish(self, kind: int, lot: int, tick: Tick, context: StrategyContext, entered: int) -> Request | None:
        trades, orders = context.open_trades, context.working_orders
        own = [order for order in orders if order.purpose is Purpose.EXIT]
        trade = trades[lot % len(trades)] if trades else None
        if kind <= 4:
            return self._enter(lot, tick) if len(trades) + entered < self.params.open_max else None
        if kind == 5:
            return SetTimer(name=f"t{lot % 2}", at_ns=tick.ts_ns + (lot % 9) * 1_000_000_000)
        if kind in (6, 7):
            among = orders if kind == 6 else own
            return Cancel(client_order_id=among[lot % len(among)].client_order_id) if among else None
        if trade is None:
            return None
        if kind in (8, 9):
            return _tighter(trade, tick, lot // 5)
        part = None if kind == 10 else D((1, 100, 300, 450, 700, 999, 1000, 1600)[lot // 8 % 8])
        return Exit(instrument=trade.symbol, trade_id=trade.trade_id if lot % 3 else None, quantity=part)


def _tighter(trade: Trade, tick: Tick, lot: int) -> MoveStop:
    near = D("0.0002") + D(lot % 3) * D("0.0003")
    if trade.side is TradeSide.LONG:
        return MoveStop(trade_id=trade.trade_id, stop_loss=tick.bid - near, take_profit=tick.bid + near)
    return MoveStop(trade_id=trade.trade_id, stop_loss=tick.ask + near, take_profit=tick.ask - near)


__all__ = ["Gambler", "GamblerParams", "GamblerState", "Purpose", "Reckless"]
