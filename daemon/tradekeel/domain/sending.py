"""What goes to the venue, and when: an order's turn, its place, its cancel.

Protective orders that the venue holds are cancelled before an exit takes their place, and their end is confirmed
first; an entry that was decided behind an exit of the same instrument does not overtake it. What is held back so
waits in the book (:attr:`Book.waiting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.account import AccountCore, Step
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, PlaceOrder, VenueAsk
from tradekeel.domain.intents import order_request, renewed
from tradekeel.domain.messages import MoveStop
from tradekeel.domain.money import LEDGER, ZERO
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import Trade, TradeSide, tightens

MAKES_ROOM = "an exit takes its place"
GIVES_UP = "the monitor takes its place"
"""Why a protective order is canceled."""


class Drafted(msgspec.Struct):
    """The orders of one step so far, which the book does not have yet, and what they may fill."""

    orders: list[Order] = []
    working: dict[tuple[str, Side], Decimal] = {}  # attached exits excepted, as in the book

    def add(self, *orders: Order) -> None:
        """These come next."""
        for order in orders:
            self.orders.append(order)
            if order.parent_id is None:
                key = (order.instrument, order.side)
                self.working[key] = LEDGER.add(self.working.get(key, ZERO), order.open_quantity)


class Sending(AccountCore):
    """Releases orders in their turn, cancels them, moves their levels."""

    def _release_new(self, step: Step, orders: Iterable[Order], now_ns: int) -> None:
        """Ask for what may go now: entries with their attached exits, and exits whose place is free."""
        # Cancels behind orders, as their records stand behind the decision's: a restart asks in the order of the records.
        asked = [order for order in orders if not order.is_terminal and order.parent_id is None]
        waiting_on: list[str] = []
        for order in asked:
            if self._held_by(order):
                waiting_on.extend(order.after_cancel_of)
            else:
                self._place(step, order)
        for order in asked:
            for trade_id in order.exits_of:
                self._end_entry(step, trade_id, now_ns)
        for child in dict.fromkeys(waiting_on):
            self._cancel(step, child, None, MAKES_ROOM, now_ns)

    def _end_entry(self, step: Step, trade_id: str, now_ns: int) -> None:
        """An exit of all that a trade holds ends an entry that still works, or it would fill into a trade that is left."""
        trade = self.book.trades.get(trade_id)
        entry = self.book.orders.get(trade.entry_order_id) if trade is not None else None
        if trade is None or entry is None or entry.trade_id != trade_id or entry.purpose is not Purpose.ENTRY:
            return
        if self.book.closable(trade) <= ZERO:
            self._cancel(step, entry.client_order_id, None, "its trade is being closed", now_ns)

    def _held_by(self, order: Order) -> bool:
        """Whether something that it waits for has not ended, or has and is not followed yet: one end at a time frees others."""
        live, unfollowed = self.book.orders, self._unfollowed
        return any(sibling in live or sibling in unfollowed for sibling in order.after_cancel_of)

    def _children(self, client_order_id: str) -> tuple[Order, ...]:
        """The live exits attached to an entry, in the order of their legs."""
        found = (self.book.orders[i] for i in self.book.children.get(client_order_id, ()))
        return tuple(sorted(found, key=lambda child: child.leg))

    def _place(self, step: Step, order: Order) -> None:
        attached = self._children(order.client_order_id)
        closes = ZERO
        if order.closes:
            closes = LEDGER.subtract(order.quantity, self.book.trades[order.trade_id or ""].quantity)
        request = order_request(order, attached, closes)
        step.ask(PlaceOrder(request, order.purpose is Purpose.ENTRY, order.deadline_ns))

    def _follow_end(self, step: Step, ended: Order, now_ns: int) -> None:
        """An order has ended. What waited for that may go out, and the trade of an attached exit may be without a stop.

        Of each end by itself, in the order of the news: after a restart the same news may come in other portions.
        """
        for client_order_id in list(self.book.freed_by.get(ended.client_order_id, ())):
            if client_order_id in self.book.waiting:
                self._free(step, self.book.orders[client_order_id], now_ns)
        if ended.parent_id is not None and ended.trade_id is not None:
            self._keep_protecting(step, ended.trade_id, now_ns)

    def _free_waiting(self, step: Step, now_ns: int) -> None:
        """Whatever waits for nothing any more."""
        for client_order_id in list(self.book.waiting):
            if client_order_id in self.book.waiting:
                self._free(step, self.book.orders[client_order_id], now_ns)

    def _free(self, step: Step, order: Order, now_ns: int) -> None:
        """An order that waited for a sibling's end: send it, or give it up if nothing is left to close."""
        if self._held_by(order):
            return
        if order.purpose is Purpose.ENTRY:
            if order.closes and self._turn_room(order) < order.quantity:
                self._turn_less(step, order, now_ns)
                return
            self._change(step, order, OrderEvent.SUBMIT, "", now_ns)
            self._place(step, self.book.orders[order.client_order_id])
            return
        room = self._room(order)
        if room < order.quantity:
            smaller = self._smaller(step, order, room, now_ns) if room > ZERO else None
            self._change(step, order, OrderEvent.PROVE_NOT_SENT, "a protective order closed the trade first", now_ns)
            if smaller is not None:
                self._place(step, smaller)
            return
        self._change(step, order, OrderEvent.SUBMIT, "", now_ns)
        self._place(step, order)

    def _room(self, order: Order) -> Decimal:
        """How much of its trade an exit may close: what is held, less what the other exits of it may still take."""
        trade = self.book.trades.get(order.trade_id or "")
        if trade is None:
            return ZERO
        others = (
            exit_.open_quantity
            for exit_ in self.book.live_exits(trade.trade_id, attached=False)
            if exit_.client_order_id != order.client_order_id
        )
        return trade.open_quantity - sum(others, ZERO)

    def _smaller(self, step: Step, order: Order, quantity: Decimal, now_ns: int) -> Order:
        """The same exit for what is left. It takes the claim before the larger one lets go of it."""
        smaller = structs.replace(renewed(order, now_ns), quantity=quantity, after_cancel_of=())
        step.record(
            r.OrdersIntended(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=order.correlation_id,
                orders=(smaller,),
                reason="what is left of the trade",
            )
        )
        return smaller

    def _turn_room(self, order: Order) -> Decimal:
        """What an entry that turns may come to by now: its own trade, and what the trades that it closes still hold."""
        own = self.book.trades.get(order.trade_id or "")
        if own is None:
            return ZERO
        held = (self.book.trades[i].open_quantity for i in order.closes if i in self.book.trades)
        return sum(held, own.quantity)

    def _turn_less(self, step: Step, order: Order, now_ns: int) -> None:
        """A protective order has closed a part of what the entry was to close: it gets smaller by as much."""
        left = tuple(i for i in order.closes if i in self.book.trades and self.book.trades[i].open_quantity)
        smaller = structs.replace(
            renewed(order, now_ns), quantity=self._turn_room(order), closes=left, after_cancel_of=()
        )
        why = "what is left of the trades that it closes"
        children = self._children(order.client_order_id)
        self._take_again(step, smaller, order, children, why, now_ns)
        for gone in (*children, order):
            self._change(step, gone, OrderEvent.PROVE_NOT_SENT, "a protective order closed a part first", now_ns)
        self._place(step, self.book.orders[smaller.client_order_id])
        self._hold_again(step, order)

    def _take_again(
        self, step: Step, again: Order, order: Order, children: Iterable[Order], why: str, now_ns: int
    ) -> None:
        """Record the order that stands for one never sent, with its attached exits. Claims are taken before they are let go."""
        step.record(
            r.OrdersIntended(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=order.correlation_id,
                orders=(again, *(renewed(child, now_ns, parent=again) for child in children)),
                reason=why,
            )
        )

    def _hold_again(self, step: Step, order: Order) -> None:
        """The levels of a renewed entry's exits may have been moved since it was decided."""
        trade = self.book.trades.get(order.trade_id or "")
        if trade is not None and trade.exits_at_venue and order.purpose is Purpose.ENTRY:
            self._hold_levels(step, trade)

    def _reduces(self, symbol: str, side: Side, quantity: Decimal, drafted: Drafted) -> bool:
        """Whether an order reduces the net whatever fills before it: the venue would drop a reduce-only one that does not."""
        against = -self.book.net(symbol) * side.sign
        if against < quantity:
            return False
        ahead = self.book.working.get((symbol, side), ZERO) + drafted.working.get((symbol, side), ZERO)
        return against - ahead >= quantity

    def _cancel_entries(self, step: Step, reason: str, now_ns: int, strategy: str | None = None) -> None:
        """Cancel every working entry; of one strategy, or all."""
        for order in list(self.book.orders.values()):
            if order.purpose is Purpose.ENTRY and strategy in (None, order.strategy):
                self._cancel(step, order.client_order_id, None, reason, now_ns)

    def is_wanted(self, ask: VenueAsk) -> bool:
        """Whether a request that is durable is still to go out: what it was for may have changed before its turn came."""
        match ask:
            case PlaceOrder(request):
                order = self.book.orders.get(request.client_order_id)
                return order is not None and order.status is not OrderStatus.UNKNOWN
            case CancelOrder(client_order_id):
                return self.book.is_to_be_canceled(client_order_id)
        return True

    def cancel_again(self, client_order_id: str, now_ns: int) -> Effects:
        """A cancel was not answered, or refused while something waits for it: it is asked for once more, if it is wanted."""
        step = Step(self.book)
        if self.book.is_to_be_canceled(client_order_id) or client_order_id in self.book.freed_by:
            self._cancel(step, client_order_id, None, MAKES_ROOM, now_ns)
        return step.effects()

    @property
    def is_halted(self) -> bool:
        """Whether nothing may be sent until a person says so."""
        row = self.book.execution
        return row is not None and row.latch is Latch.HALTED

    def _give_up_waiting(self, step: Step, reason: str, now_ns: int) -> None:
        """Exits that wait for the end of protective orders: these stay, and what was to take their place is not sent.

        Nor are they canceled for anything else: while an account is halted nothing would take their place.
        """
        for client_order_id in list(self.book.waiting):
            order = self.book.orders[client_order_id]
            if order.purpose is Purpose.EXIT and self._held_by(order):
                self._change(step, order, OrderEvent.PROVE_NOT_SENT, reason, now_ns)
        for order in list(self.book.orders.values()):
            if order.parent_id is not None and self.book.is_to_be_canceled(order.client_order_id):
                self._change(step, order, OrderEvent.WITHDRAW_CANCEL, reason, now_ns)

    def _cancel(
        self,
        step: Step,
        client_order_id: str,
        strategy: str | None,
        reason: str,
        now_ns: int,
        *,
        for_good: bool = False,
    ) -> None:
        """Ask for an order's end; one that was not sent yet ends at once. ``for_good``: a stop even of a halted account."""
        order = self.book.orders.get(client_order_id)
        if order is None or (strategy is not None and (order.strategy, order.source) != (strategy, "strategy")):
            return  # it ended in the meantime, or is somebody else's: of another strategy, the monitor or a person
        if order.parent_id is not None and self.is_halted and not for_good:
            return  # nothing would take its place before the release
        if order.status is OrderStatus.INTENDED and self._held_by(order):
            for gone in (*self._children(client_order_id), order):
                self._change(step, gone, OrderEvent.PROVE_NOT_SENT, f"canceled before it was sent: {reason}", now_ns)
            return
        if order.status is OrderStatus.INTENDED and order.parent_id is not None:
            parent = self.book.orders.get(order.parent_id)
            if parent is not None and parent.status is OrderStatus.INTENDED:
                return  # it goes with its parent
        if order.status is OrderStatus.INTENDED:
            self._change(step, order, OrderEvent.SUBMIT, "", now_ns)  # it was asked for in the step that decided it
        if not self.book.is_to_be_canceled(client_order_id):
            self._change(step, order, OrderEvent.REQUEST_CANCEL, reason, now_ns)
            self.gate.rates.note_message(now_ns)
        step.ask(CancelOrder(client_order_id, protective=order.parent_id is not None and not for_good))

    def _move_stop(self, step: Step, move: MoveStop, strategy: str, now_ns: int) -> None:
        """Move a trade's levels. The trade says at once what is wanted, so that a restart asks the venue for it again."""
        trade = self.book.trades.get(move.trade_id)
        if trade is None or trade.strategy != strategy:
            return  # it closed in the meantime, or is somebody else's
        stop, target = self._on_grid(trade, move.stop_loss), self._on_grid(trade, move.take_profit)
        stop = stop if stop is not None and tightens(trade, stop) else None
        if stop is None and target is None:
            return
        step.record(
            r.StopMoved(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=trade.correlation_id,
                trade_id=trade.trade_id,
                stop_loss=stop,
                take_profit=target,
                source="strategy",
            )
        )
        if trade.exits_at_venue:
            self._count_amends(stop, target, now_ns)
            self._amend(step, trade.trade_id, stop, target, now_ns)

    def _on_grid(self, trade: Trade, level: Decimal | None) -> Decimal | None:
        """The nearest price that the venue takes; None where there is none."""
        instrument = self.terms.instruments.get(trade.symbol)
        if level is None or instrument is None:
            return level
        return instrument.price(level) or None

    def _hold_levels(self, step: Step, trade: Trade, *, leaving: bool = False) -> None:
        """Ask the venue for the levels that the trade wants and that the venue has not confirmed. Asking twice is harmless.

        After a restart, and when one of several exits has ended: the stop that stays keeps the level of a trail that is gone.
        ``leaving``: also of exits that are to be canceled, as far as a move was asked of them and not the monitor's taking over.
        """
        there = self.book.live_exits(trade.trade_id, attached=True)
        going = [child for child in there if child.status is OrderStatus.CANCEL_REQUESTED]
        # Where the monitor takes over, it does so from all of them, whoever wanted one of them gone before.
        is_taken_over = any(child.status_reason == GIVES_UP for child in going)
        leaving = leaving and not is_taken_over and self._has_its_target(trade, there)
        children = [child for child in there if leaving or child not in going]
        held = [child.stop_price for child in children if child.type is not OrderType.LIMIT]
        stop = trade.stop_loss
        # A trail has no level of its own before its entry has filled.
        if stop is not None and not (
            held and all(level is None or _tighter(trade.side, stop, level) for level in held)
        ):
            stop = None
        targets = [c.price for c in children if c.type is OrderType.LIMIT]
        target = trade.take_profit if targets and trade.take_profit not in targets else None
        self._ask_for_levels(step, children, stop, target)

    def _keep_protecting(self, step: Step, trade_id: str | None, now_ns: int) -> None:
        """One of several exits at the venue has ended: stops never loosen, so those that stay take over its level.

        If no stop is left that is wanted, the monitor takes over all that there is; so it does where a target was wished for
        that the venue never had. A target that is gone leaves the stop at the venue, where it outlives us.
        """
        trade = self.book.trades.get(trade_id or "")
        if trade is None or not self._keeps_levels_there(trade):
            return
        children = self.book.live_exits(trade.trade_id, attached=True)
        wants_stop = trade.stop_loss is not None or trade.trailing_distance is not None
        has_stop = any(child.type is not OrderType.LIMIT for child in children)
        stop_is_gone = wants_stop and not has_stop
        if trade.open_quantity and (stop_is_gone or (trade.take_profit and not self._ever_had_target(trade))):
            for child in children:
                if child.status is not OrderStatus.CANCEL_REQUESTED:
                    self._cancel(step, child.client_order_id, None, GIVES_UP, now_ns)
            return
        self._hold_levels(step, trade)

    def _keeps_levels_there(self, trade: Trade) -> bool:
        """Whether the venue has its attached exits: at work, or waiting for the first fill of an entry that it has."""
        entry = self.book.orders.get(trade.entry_order_id)
        return trade.exits_at_venue and bool(trade.open_quantity or (entry is not None and entry.seen_at_venue))

    def _has_its_target(self, trade: Trade, there: Sequence[Order]) -> bool:
        """Whether no target is wished for but one that the venue has, or had until it was canceled."""
        if trade.take_profit is None or any(child.type is OrderType.LIMIT for child in there):
            return True
        ended = (o for o in self.book.ended.values() if o.parent_id == trade.entry_order_id)
        return any(o.type is OrderType.LIMIT and o.price == trade.take_profit for o in ended)

    def _ever_had_target(self, trade: Trade) -> bool:
        orders = (*self.book.live_exits(trade.trade_id, attached=True), *self.book.ended.values())
        return any(o.parent_id == trade.entry_order_id and o.type is OrderType.LIMIT for o in orders)

    def _amend(self, step: Step, trade_id: str, stop: Decimal | None, target: Decimal | None, now_ns: int) -> None:
        """Move the attached exits. Where one is wanted that the venue does not hold, the monitor takes over all of them."""
        children = self.book.live_exits(trade_id, attached=True)
        stops = [c for c in children if c.type is not OrderType.LIMIT]
        targets = [c for c in children if c.type is OrderType.LIMIT]
        if (stop is not None and not stops) or (target is not None and not targets):
            for child in children:
                self._cancel(step, child.client_order_id, None, GIVES_UP, now_ns)
            return
        self._ask_for_levels(step, children, stop, target)

    @staticmethod
    def _ask_for_levels(step: Step, children: Sequence[Order], stop: Decimal | None, target: Decimal | None) -> None:
        stops = [c for c in children if c.type is not OrderType.LIMIT]
        moves = [(c, stop) for c in stops if c.type is OrderType.STOP or len(stops) == 1]
        moves.extend((c, target) for c in children if c.type is OrderType.LIMIT)
        for child, level in moves:
            if level is not None:
                step.ask(AmendOrder(child.client_order_id, format(level, "f")))


def _tighter(side: TradeSide, stop: Decimal, than: Decimal) -> bool:
    return stop > than if side is TradeSide.LONG else stop < than
