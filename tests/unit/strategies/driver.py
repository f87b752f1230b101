"""A market small enough to compute by hand: it runs one strategy, fills its orders, and holds it to purity.

Every handler is called twice with the same arguments and must answer the same; whenever something was asked for, the
state goes through msgpack and back, as a restart would take it. Market entries fill at the quote of the tick that decided them,
attached targets and stops at their price when the bid (longs) or ask (shorts) of a later tick has reached them; exits
at the quote. With ``auto=False`` nothing happens by itself, and a test plays the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import structs

from tradekeel.domain import orders as o
from tradekeel.domain import trades as t
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.messages import Cancel, Emit, Enter, Exit, Fill, Liquidity, Request
from tradekeel.domain.money import ONE, ZERO
from tradekeel.domain.orders import Order, OrderEvent, OrderType, Purpose, Side
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.domain.trades import CloseReason, ExitBooking, Trade, TradeSide, TradeStatus
from tradekeel.strategies.base import (
    AnyStrategy,
    FillEvent,
    OrderUpdate,
    Started,
    StrategyContext,
    check_strategy_class,
)

SECOND = 1_000_000_000
EUR_USD = CATALOGUE["EUR_USD"]
ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


def D(value: str | int) -> Decimal:  # noqa: N802  # reads like a number in a test
    return Decimal(value)


class Market:
    """One strategy, its state, its trades, and a venue that does what it is told."""

    def __init__(
        self,
        strategy: AnyStrategy,
        instruments: Sequence[Instrument] = (EUR_USD,),
        *,
        auto: bool = True,
        resumed_state: Any = None,
    ) -> None:
        check_strategy_class(type(strategy))
        self.strategy = strategy
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.auto = auto
        self.paused = False
        self.now_ns = 0
        self.position = 0
        self.trades: dict[str, Trade] = {}
        self.orders: dict[str, Order] = {}
        self.exits_wanted: list[tuple[str, CloseReason]] = []
        self.last: dict[str, Tick] = {}
        self.log: list[Request] = []
        self.decoder = msgspec.msgpack.Decoder(strategy.State)
        self.state = strategy.initial_state() if resumed_state is None else resumed_state
        self.call(strategy.on_start, Started(ts_ns=0, resumed=resumed_state is not None))

    # --- running the strategy

    def context(self, symbol: str) -> StrategyContext:
        instrument = self.instruments.get(symbol) or next(iter(self.instruments.values()))
        return StrategyContext(
            balance=D(10_000),
            open_positions={},
            instrument=instrument,
            pip_size=instrument.pip_size,
            instruments=self.instruments,
            open_trades=tuple(trade for trade in self.trades.values() if trade.is_open),
            working_orders=tuple(order for order in self.orders.values() if not order.is_terminal),
            paused=self.paused,
        )

    def call(self, handler: Callable[..., tuple[Any, Sequence[Request]]], event: Any) -> list[Request]:
        symbol = _symbol(event) or next(iter(self.instruments))
        context, before = self.context(symbol), self.state
        state, requests = handler(event, before, context)
        again, requests_again = handler(event, before, context)
        assert state == again, "the same event from the same state led to another state"
        assert list(requests) == list(requests_again), "the same event led to other requests"
        if requests:
            state = self.decoder.decode(ENCODER.encode(state))
            assert state == again, "the state does not survive msgpack"
        self.state = state
        self.log.extend(requests)
        for request in requests:
            self.take(request)
        return list(requests)

    def take(self, request: Request) -> None:
        if isinstance(request, Enter):
            self.intend(request)
        elif isinstance(request, Exit):
            assert request.trade_id is not None
            self.exits_wanted.append((request.trade_id, CloseReason(request.reason)))

    def intend(self, enter: Enter) -> None:
        number = len(self.orders) + 1
        side = TradeSide.of(enter.side)
        against = [t for t in self.open if enter.reverse and t.symbol == enter.instrument and t.side is not side]
        trade = Trade(
            trade_id=f"T{number}", signal_id=None, execution="x", account="a", strategy="s", venue="v",
            symbol=enter.instrument, side=TradeSide.of(enter.side), quantity=enter.quantity,
            stop_loss=enter.stop_loss, take_profit=enter.take_profit, entry_order_id=f"O{number}",
            tags=enter.tags, metadata=enter.metadata,
        )  # fmt: skip
        order = Order(
            client_order_id=f"O{number}", execution="x", account="a", strategy="s", instrument=enter.instrument,
            side=enter.side, type=OrderType.MARKET, purpose=Purpose.ENTRY,
            quantity=sum((t.open_quantity for t in against), enter.quantity),
            trade_id=trade.trade_id, closes=tuple(t.trade_id for t in against),
        )  # fmt: skip
        self.trades[trade.trade_id] = trade
        self.orders[order.client_order_id] = order

    def tick(
        self, bid: str | Decimal, ask: str | Decimal, *, at_s: int | None = None, symbol: str = ""
    ) -> list[Request]:
        """One tick, in the order of a replay: fills first, then the strategy; returns what it asked for on the tick."""
        self.now_ns = self.now_ns + SECOND if at_s is None else at_s * SECOND
        return self.feed(Tick(symbol or next(iter(self.instruments)), self.now_ns, Decimal(bid), Decimal(ask)))

    def feed(self, tick: Tick) -> list[Request]:
        self.now_ns = tick.ts_ns
        self.position += 1
        self.last[tick.instrument] = tick
        if self.auto:
            self.match(tick)
        requests = self.call(self.strategy.on_tick, tick)
        if self.auto:
            self.execute()
        return requests

    def bar(self, bar: Bar) -> list[Request]:
        return self.call(self.strategy.on_bar, bar)

    # --- the venue

    def match(self, tick: Tick) -> None:
        """Attached targets and stops of trades that were open before this tick."""
        for trade in self.open:
            if trade.symbol != tick.instrument:
                continue
            long = trade.side is TradeSide.LONG
            price = tick.bid if long else tick.ask
            sign = trade.side.sign
            if trade.take_profit is not None and (price - trade.take_profit) * sign >= 0:
                self.close(trade.trade_id, trade.take_profit, CloseReason.TAKE_PROFIT)
            elif trade.stop_loss is not None and (price - trade.stop_loss) * sign <= 0:
                self.close(trade.trade_id, price, CloseReason.STOP_LOSS)
        self.execute()

    def execute(self) -> None:
        """Exits and market entries at the last quote, until nothing is asked for any more."""
        for _ in range(100):
            pending = [order for order in self.orders.values() if not order.is_terminal]
            if not pending and not self.exits_wanted:
                return
            wanted, self.exits_wanted = self.exits_wanted, []
            for trade_id, reason in wanted:
                trade = self.trades[trade_id]
                if trade.open_quantity > ZERO:
                    quote = self.last[trade.symbol]
                    self.close(trade_id, quote.bid if trade.side is TradeSide.LONG else quote.ask, reason)
            for order in pending:
                quote = self.last[order.instrument]
                self.fill(order.client_order_id, quote.ask if order.side is Side.BUY else quote.bid)
        raise AssertionError("a strategy keeps asking")

    def fill(self, order_id: str, price: str | Decimal, quantity: Decimal | None = None) -> list[Request]:
        order = self.orders[order_id]
        units = order.quantity - order.filled_quantity if quantity is None else quantity
        order = self.orders[order_id] = o.fill(order, units, Decimal(price), ZERO, self.now_ns)
        assert order.trade_id is not None
        for trade_id in order.closes:
            part = min(units, self.trades[trade_id].open_quantity)
            if part:
                self.close(trade_id, price, CloseReason.SIGNAL, part, order)
                units -= part
        if not units:
            return []
        trade = t.enter(self.trades[order.trade_id], units, Decimal(price), ZERO, self.now_ns)
        self.trades[trade.trade_id] = trade
        return self.tell_fill(order, trade, order.side, units, Decimal(price), opens=True)

    def close(
        self,
        trade_id: str,
        price: str | Decimal,
        reason: CloseReason,
        quantity: Decimal | None = None,
        order: Order | None = None,
    ) -> list[Request]:
        trade = self.trades[trade_id]
        units = trade.open_quantity if quantity is None else quantity
        entry_over = self.orders[trade.entry_order_id].is_terminal
        booking = ExitBooking(
            quantity=units, price=Decimal(price), fee=ZERO, rate=ONE, reason=reason, order_id=f"X{trade_id}",
            account_currency="USD", entry_over=entry_over,
        )  # fmt: skip
        trade = t.leave(trade, booking, self.now_ns)
        self.trades[trade_id] = trade
        return self.tell_fill(order, trade, trade.side.entry_side.opposite, units, Decimal(price), opens=False)

    def tell_fill(
        self, order: Order | None, trade: Trade, side: Side, units: Decimal, price: Decimal, *, opens: bool
    ) -> list[Request]:
        fill = Fill(
            fill_id="f", account="a", venue="v", instrument=trade.symbol, side=side, quantity=units, price=price, fee=ZERO,
            realised=ZERO, rate=ONE, liquidity=Liquidity.TAKER, ts_ns=self.now_ns, venue_order_id="v", client_order_id=None,
        )  # fmt: skip
        event = FillEvent(fill=fill, order=order, trade=trade, opens=opens, quantity=units, ts_ns=self.now_ns)
        return self.call(self.strategy.on_fill, event)

    def end(self, order_id: str, event: OrderEvent, word: str, reason: str = "") -> list[Request]:
        """An order is over without (all of) its fills; its trade follows."""
        order = o.apply(self.orders[order_id], event, self.now_ns)
        self.orders[order_id] = order
        trade = self.trades[order.trade_id or ""]
        if trade.status is TradeStatus.PENDING and order.is_terminal:
            self.trades[trade.trade_id] = t.move(trade, t.TradeEvent.FAIL, self.now_ns)
        elif order.is_terminal and trade.is_open and trade.open_quantity == ZERO:
            self.trades[trade.trade_id] = t.move(trade, t.TradeEvent.CLOSE, self.now_ns)
        return self.call(self.strategy.on_order, OrderUpdate(order=order, event=word, reason=reason, ts_ns=self.now_ns))

    def fail_exit(self, trade_id: str, word: str = "rejected") -> list[Request]:
        """An exit that the strategy asked for came to nothing."""
        self.exits_wanted = [wanted for wanted in self.exits_wanted if wanted[0] != trade_id]
        trade = self.trades[trade_id]
        order = Order(
            client_order_id=f"X{trade_id}", execution="x", account="a", strategy="s", instrument=trade.symbol,
            side=trade.side.entry_side.opposite, type=OrderType.MARKET, purpose=Purpose.EXIT,
            quantity=trade.open_quantity, trade_id=trade_id, status=o.OrderStatus.REJECTED,
        )  # fmt: skip
        return self.call(self.strategy.on_order, OrderUpdate(order=order, event=word, ts_ns=self.now_ns))

    # --- what a test asks

    @property
    def working(self) -> list[str]:
        return [order.client_order_id for order in self.orders.values() if not order.is_terminal]

    @property
    def open(self) -> list[Trade]:
        return [trade for trade in self.trades.values() if trade.open_quantity > ZERO]

    def forget(self) -> None:
        self.log.clear()


def events(requests: Iterable[Request]) -> list[str]:
    """The types of the strategy events among some requests."""
    return [request.type for request in requests if isinstance(request, Emit)]


def enters(requests: Iterable[Request]) -> list[Enter]:
    return [request for request in requests if isinstance(request, Enter)]


def exits(requests: Iterable[Request]) -> list[Exit]:
    return [request for request in requests if isinstance(request, Exit)]


def cancels(requests: Iterable[Request]) -> list[Cancel]:
    return [request for request in requests if isinstance(request, Cancel)]


def data_of(requests: Iterable[Request], event: str) -> dict[str, Any]:
    """The data of the only strategy event of a type."""
    found = [request.data for request in requests if isinstance(request, Emit) and request.type == event]
    assert len(found) == 1, f"{len(found)} events {event} among {events(requests)}"
    return found[0]


def replaced(market: Market, **changes: Any) -> None:
    """Change the state by force, to begin a test somewhere in the middle."""
    market.state = structs.replace(market.state, **changes)


def _symbol(event: Any) -> str | None:
    if isinstance(event, FillEvent):
        return event.trade.symbol
    if isinstance(event, OrderUpdate):
        return event.order.instrument
    return getattr(event, "instrument", None)
