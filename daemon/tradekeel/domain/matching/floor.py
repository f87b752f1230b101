"""What happens to orders: executions, the exits that hang on an entry, and everything that one tick sets off.

The floor knows no requests; the matcher brings orders in and asks it to end them. Every way in which an order ends
passes through :meth:`Floor.end`, so that an entry never ends without its waiting exits.
"""

from __future__ import annotations

from decimal import Decimal

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching.account import Execution, PositionKey, VenueAccount, by_age
from tradekeel.domain.matching.costs import taken_price
from tradekeel.domain.matching.registry import Registry
from tradekeel.domain.matching.rules import Ending, Refusal
from tradekeel.domain.matching.working import (
    ONE_SHOT,
    OPEN_STATES,
    OrderState,
    WorkingOrder,
    distance_of,
    limit_of,
    limit_reached,
    stop_of,
    stop_reached,
    tighter,
    trailed_stop,
)
from tradekeel.domain.messages import Liquidity, TransactionKind
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import OrderType, Side, TimeInForce
from tradekeel.domain.sessions import rollovers_between
from tradekeel.domain.ticks import Tick

# Looked up once: going through an enum's class costs as much as two sums.
_BUY = Side.BUY
_DORMANT, _WORKING, _FILLED, _CANCELED = (
    OrderState.DORMANT,
    OrderState.WORKING,
    OrderState.FILLED,
    OrderState.CANCELED,
)
_ACCEPTED, _AMENDED = TransactionKind.ORDER_ACCEPTED, TransactionKind.ORDER_AMENDED
_IOC, _FOK = TimeInForce.IOC, TimeInForce.FOK
_TAKER, _MAKER = Liquidity.TAKER, Liquidity.MAKER
_MARKET, _TRAILING = OrderType.MARKET, OrderType.TRAILING_STOP
_SIDES = tuple(Side)

_ENDED = {
    OrderState.CANCELED: TransactionKind.ORDER_CANCELED,
    OrderState.EXPIRED: TransactionKind.ORDER_EXPIRED,
}


class Room:
    """What a tick offers on each side; None is without limit. Used up by its executions in time priority."""

    def __init__(self, tick: Tick, instrument: Instrument) -> None:
        self._to_buy = None if tick.ask_size is None else instrument.quantity(tick.ask_size)
        self._to_sell = None if tick.bid_size is None else instrument.quantity(tick.bid_size)

    def offers(self, side: Side, wanted: Decimal) -> Decimal:
        """How much of ``wanted`` can be had."""
        left = self._to_buy if side is _BUY else self._to_sell
        return wanted if left is None else max(min(wanted, left), ZERO)

    def use(self, side: Side, quantity: Decimal) -> None:
        """So much is gone."""
        if side is _BUY:
            self._to_buy = None if self._to_buy is None else self._to_buy - quantity
        else:
            self._to_sell = None if self._to_sell is None else self._to_sell - quantity


class Floor:
    """Applies ticks to the open orders of one account. Called inside the ledger's decimal context."""

    def __init__(self, account: VenueAccount, orders: Registry) -> None:
        self._account = account
        self._orders = orders
        self._moved: set[PositionKey] = set()  # positions whose reduce-only orders must be looked at

    # --- one tick
    # ------------------------------------------------------------------------------------------------------

    def tick(self, tick: Tick) -> None:
        """Everything that one tick sets off."""
        account = self._account
        before_ns = account.ts_ns
        account.reach(tick)
        # Without a time before it (the first tick of a run) no night has passed that anybody could know of.
        if before_ns and account.settings.financing and account.ts_ns > before_ns and account.is_financed():
            for roll in rollovers_between(before_ns, account.ts_ns):
                account.finance(roll)
        if self._orders.expiries:
            for order in self._orders.take_expired(account.ts_ns):
                if order.is_open:
                    self.end(order, OrderState.EXPIRED, Ending.GTD)
        last = account.marks.get(tick.instrument)
        account.see(tick)
        self._match(tick, last)
        if self._moved:
            self._sweep()
        if account.margin.is_watched and account.is_called():
            self._margin_call()
            self._sweep()

    def _match(self, tick: Tick, last: Tick | None) -> None:
        book = self._orders.books.get(tick.instrument)
        if book is None:
            return
        now_ns = self._account.ts_ns
        touched = book.take_touched(tick.bid, tick.ask, now_ns)
        if not touched:
            return
        room = Room(tick, self._account.instruments[tick.instrument])
        for order in self._orders.ordered(touched):
            # An order that was touched may have ended, through a sibling, by the time that it is its turn.
            if order.state in OPEN_STATES:
                self._meet(order, tick, last, room)
            if order.state in OPEN_STATES:
                self._orders.watch(order, now_ns)

    def _meet(self, order: WorkingOrder, tick: Tick, last: Tick | None, room: Room) -> None:
        """One eligible order meets one tick of its instrument."""
        assert tick.position > order.accepted_position, "an order meets only ticks after its acceptance"
        assert self._account.ts_ns >= order.due_ns, "an order meets no tick before it has arrived"
        if order.type is _MARKET:
            self._execute(order, tick, room, None, _TAKER)
            return
        if order.waits_for_stop:
            if not stop_reached(order, tick.bid, tick.ask):
                if order.type is _TRAILING:
                    self._trail(order, tick)
                return
            order.triggered_at = tick.position
            self._orders.touch(order)
        if not order.is_limit:
            self._execute(order, tick, room, None, _TAKER)
        elif limit_reached(order, tick.bid, tick.ask):
            best = tick.ask if order.side is _BUY else tick.bid
            self._execute(order, tick, room, best, _MAKER if _rested(order, tick, last) else _TAKER)
        elif order.time_in_force in ONE_SHOT:
            self._end_unfilled(order)

    def _trail(self, order: WorkingOrder, tick: Tick) -> None:
        instrument = self._account.instruments[order.instrument]
        stop = trailed_stop(order.side, distance_of(order), instrument, tick.bid, tick.ask)
        if tighter(order.side, stop, stop_of(order)):
            order.stop_price = stop
            self._amended(order, price=stop)

    # --- executions
    # ----------------------------------------------------------------------------------------------------

    def _execute(
        self, order: WorkingOrder, tick: Tick, room: Room, limit_fill: Decimal | None, liquidity: Liquidity
    ) -> None:
        """Fill what can be filled at ``limit_fill``, or at the market if it is None."""
        account = self._account
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, account.closable(order.side, order.instrument, order.position_ref))
            if not wanted:
                self.end(order, _CANCELED, Ending.NOTHING_TO_REDUCE)
                return
        part = room.offers(order.side, wanted)
        if not part or (order.time_in_force is _FOK and part < wanted):
            if order.time_in_force in ONE_SHOT:
                self._end_unfilled(order)
            return
        instrument = account.instruments[order.instrument]
        price = limit_fill
        if price is None:
            price = taken_price(instrument, account.settings, tick, order.side, part)
        execution = Execution(instrument, order.side, part, price, liquidity, order.position_ref)
        if not order.reduce_only and not account.affords(execution):
            self.end(order, _CANCELED, Refusal.INSUFFICIENT_MARGIN)
            return
        room.use(order.side, part)
        account.book(execution, order)
        order.filled += part
        self._orders.touch(order)
        self._moved.add((order.instrument, order.position_ref))
        if order.children:
            opened = part if not order.closes else _opened(order, part)
            if opened:
                self._protect(order, opened, tick)
        if order.parent is not None:
            self._release(order, part)
        if not order.remaining:
            order.state = _FILLED
            self._orders.remove(order)
        elif order.time_in_force is _IOC:
            self._end_unfilled(order)

    def _end_unfilled(self, order: WorkingOrder) -> None:
        fok = order.time_in_force is _FOK
        self.end(order, _CANCELED, Ending.FOK_UNFILLED if fok else Ending.IOC_REMAINDER)

    def _protect(self, entry: WorkingOrder, part: Decimal, tick: Tick) -> None:
        """An entry got a fill: its exits begin to work, or grow."""
        for child_id in entry.children:
            child = self._orders.get(child_id)
            if child is None:
                continue
            if child.state is _DORMANT:
                self._activate(child, part, tick)
            else:
                child.quantity += part
                self._amended(child, quantity=child.quantity)

    def _activate(self, child: WorkingOrder, quantity: Decimal, tick: Tick) -> None:
        child.state = _WORKING
        child.quantity = quantity
        child.rank = self._orders.next_rank()
        child.accepted_position = tick.position
        child.due_ns = self._account.ts_ns
        if child.type is OrderType.TRAILING_STOP and child.stop_price is None:
            instrument = self._account.instruments[child.instrument]
            child.stop_price = trailed_stop(child.side, distance_of(child), instrument, tick.bid, tick.ask)
        price = limit_of(child) if child.is_limit else stop_of(child)
        self._account.note_order(_ACCEPTED, child, quantity, price)
        self._orders.watch(child, self._account.ts_ns)
        self._orders.touch(child)

    def _release(self, order: WorkingOrder, part: Decimal) -> None:
        """An exit got a fill: its siblings shrink by it, and an entry that still works is over."""
        for sibling_id in order.siblings:
            sibling = self._orders.get(sibling_id)
            if sibling is None or sibling.state is not _WORKING:
                continue
            if sibling.remaining <= part:
                self.end(sibling, _CANCELED, Ending.OCO)
            else:
                sibling.quantity -= part
                self._amended(sibling, quantity=sibling.quantity)
        entry = self._orders.get(order.parent)
        if entry is not None:
            self.end(entry, _CANCELED, Ending.EXIT_FILLED)

    def _amended(self, order: WorkingOrder, *, price: Decimal | None = None, quantity: Decimal | None = None) -> None:
        self._orders.touch(order)
        self._account.note_order(_AMENDED, order, quantity, price)

    # --- endings
    # -------------------------------------------------------------------------------------------------------

    def end(self, order: WorkingOrder, state: OrderState, reason: str) -> None:
        """An open order is over without being filled whole; exits that wait for its first fill are over with it."""
        order.state = state
        self._orders.remove(order)
        self._account.note_order(_ENDED[state], order, order.remaining, reason=str(reason))
        for child_id in order.children:
            child = self._orders.get(child_id)
            if child is not None and child.state is _DORMANT:
                self.end(child, _CANCELED, Ending.PARENT_ENDED)

    def _sweep(self) -> None:
        """Cancel the reduce-only orders of moved positions that have nothing left to reduce."""
        if self._orders.has_reducers:
            for key in sorted(self._moved, key=by_age):
                for side in _SIDES:
                    if self._account.closable(side, *key):
                        continue
                    for order in self._orders.reducers(key, side):
                        self.end(order, _CANCELED, Ending.NOTHING_TO_REDUCE)
        self._moved.clear()

    def _margin_call(self) -> None:
        """Close positions at the market, the largest loss first, until the margin level is restored."""
        account = self._account
        unrealised, used = account.figures()
        equity = account.balance + unrealised
        account.note(
            TransactionKind.MARGIN_CALLED,
            reason=f"equity {equity:f} at or below {account.settings.margin_call_level:f} of margin {used:f}",
        )
        while account.margin.is_called(account.balance, account.marks):
            key = min(account.sorted_positions(), key=self._worth)
            symbol, ref = key
            quantity = account.held(symbol, ref)
            side = Side.SELL if quantity > ZERO else Side.BUY
            instrument, mark = account.instruments[symbol], account.marks[symbol]
            price = taken_price(instrument, account.settings, mark, side, abs(quantity))
            execution = Execution(instrument, side, abs(quantity), price, _TAKER, ref)
            account.book(execution, None, Ending.MARGIN_CALL)
            self._moved.add(key)

    def _worth(self, key: PositionKey) -> Decimal:
        """Unrealised profit of a position in account currency."""
        account = self._account
        mark = account.marks[key[0]]
        return account.positions[key].unrealised(mark.bid, mark.ask) * account.margin.rate_of(key[0], account.marks)


def _opened(order: WorkingOrder, part: Decimal) -> Decimal:
    """What of the fill of ``part`` that an order just had is beyond the units that close."""
    return min(part, max(order.filled - order.closes, ZERO))


def _rested(order: WorkingOrder, tick: Tick, last: Tick | None) -> bool:
    """Whether a limit was in the book before this tick: then the market came to it, and it is the maker."""
    if order.triggered_at is not None:
        return order.triggered_at < tick.position
    return last is not None and last.position > order.accepted_position and last.ts_ns >= order.due_ns
