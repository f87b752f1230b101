"""Orders in doubt: asked about, never sent again, and decided anew only after a proof.

A restart, a timeout, a venue that has forgotten an order: the exposure is frozen as UNKNOWN until the venue has told
us what became of it. An order that is *proved* never to have arrived is NOT_SENT, and if the market that it was
decided on is still there, the same decision is taken again under a new id (see architecture.md, Renewal).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import structs

from tradekeel.domain.account import AMEND, CANCEL, PLACE, Step
from tradekeel.domain.closing import Closing
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, LookUpOrder, PlaceOrder, VenueAsk
from tradekeel.domain.intents import ATTEMPTS_MAX, renewed
from tradekeel.domain.messages import Stamp
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus, Purpose
from tradekeel.domain.rows import Latch
from tradekeel.domain.sending import MAKES_ROOM


class Doubting(Closing):
    """Clears up what became of orders."""

    def recover(self, now_ns: int) -> Effects:
        """After a restart, once: what was intended or submitted may have been sent. Ask about all of it, send none of it.

        What waits for a sibling's end was certainly not sent: it goes on waiting, or goes out if that end is among the news.
        """
        step = Step(self.book)
        if self._recovered:
            return step.effects()
        self._recovered = True
        if self.is_halted:
            self._give_up_waiting(step, "halted before its place was free", now_ns)
        # In the order in which they were asked for: an exit's cancels went out with it, before its siblings' own turn.
        for waiting in list(self.book.waiting):
            for sibling in self.book.orders[waiting].after_cancel_of:
                self._cancel(step, sibling, None, MAKES_ROOM, now_ns)
        for order in list(self.book.orders.values()):
            if order.client_order_id not in self.book.waiting:
                self._ask_about(step, order, now_ns)
        with ledger():
            for key in list(self._unfollowed):
                self._follow_end(step, self._unfollowed.pop(key), now_ns)
        for trade in list(self.book.trades.values()):
            self._keep_protecting(step, trade.trade_id, now_ns)
            if self._keeps_levels_there(trade):
                self._hold_levels(step, trade, leaving=True)
        for name in self.book.strategies:
            if self.is_retired(name):  # it may have been taken out of the configuration just now
                self._cancel_entries(step, f"strategy {name} is retired", now_ns, name)
        with ledger():
            self._free_waiting(step, now_ns)
            self._stay_flat(step, now_ns)
        step.requests = self.in_order(dict.fromkeys(step.requests))
        return step.effects()

    def _ask_about(self, step: Step, order: Order, now_ns: int) -> None:
        if order.in_doubt and self._own_request(order):
            if order.status in (OrderStatus.INTENDED, OrderStatus.SUBMITTED):
                self._change(step, order, OrderEvent.LOSE, "restarted before an answer was recorded", now_ns)
            step.ask(LookUpOrder(order.client_order_id))
        if self.book.is_to_be_canceled(order.client_order_id):
            self._cancel(step, order.client_order_id, None, "", now_ns)

    def hold_levels(self, client_order_id: str) -> Effects:
        """Whether a level reached the venue is not known: ask again for what the order's trade wants by now."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        trade = self.book.trades.get(order.trade_id or "") if order is not None else None
        if trade is not None and self._keeps_levels_there(trade):
            self._hold_levels(step, trade)
        return step.effects()

    def in_order(self, asks: Iterable[VenueAsk]) -> list[VenueAsk]:
        """What a recovery asks for, as it would have gone out without it: in the order in which it was asked for the first time.

        A cancel is asked for again at once, and an order only when it is proved that it never arrived: that says nothing
        about which of them came first. What is asked for now for the first time comes last.
        """
        return sorted(asks, key=self._turn_of)

    def _turn_of(self, ask: VenueAsk) -> float:
        turns = self._turns
        match ask:
            case PlaceOrder(request):
                order = self.book.order(request.client_order_id)
                renews = order.renews if order is not None else None
                known = turns.get((PLACE, request.client_order_id), turns.get((PLACE, renews or "")))
            case CancelOrder(key):
                known = turns.get((CANCEL, key))
            case AmendOrder(key):
                order = self.book.order(key)
                known = turns.get((AMEND, (order.trade_id if order is not None else None) or ""))
            case _:
                known = None
        return math.inf if known is None else known

    def _own_request(self, order: Order) -> bool:
        """Attached exits travel with their entry: while that is in doubt, or working, they are not asked about."""
        return order.parent_id is None or order.parent_id not in self.book.orders

    def lost(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The answer to a request never came."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.in_doubt and order.status is not OrderStatus.UNKNOWN:
            self._change(step, order, OrderEvent.LOSE, reason, now_ns)
            step.ask(LookUpOrder(client_order_id))
        return step.effects()

    def missing(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The venue was known to have the order, and does not have it any more: its exposure is frozen, and it is looked up."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.status is not OrderStatus.UNKNOWN:
            self._change(step, order, OrderEvent.LOSE, reason, now_ns)
            step.ask(LookUpOrder(client_order_id))
        return step.effects()

    def not_sent(self, client_order_id: str, reason: str, now_ns: int, *, never_arrived: bool = False) -> Effects:
        """It is certain that the venue never got the order: our last check stopped it, or the venue's record proved it.

        After such a proof the decision is taken again if the market it was made on is still there (see architecture.md, Renewal).
        """
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is None or not order.in_doubt or order.seen_at_venue:
            return step.effects()
        with ledger():
            children = self._children(client_order_id)
            renews = never_arrived and self._market_is_still_there(order)
            if renews:
                self._renew(step, order, children, now_ns)
            for gone in (*children, order):
                self._change(step, gone, OrderEvent.PROVE_NOT_SENT, reason, now_ns)
            if renews:
                self._hold_again(step, order)
            self._follow_end(step, order, now_ns)
            self._free_waiting(step, now_ns)
            if (never_arrived or order.closes) and not renews:
                self._stay_flat(step, now_ns)
        return step.effects()

    def refused(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The venue answered no and keeps no record of it: the order does not exist there."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.in_doubt and not order.seen_at_venue:
            for child in self._children(client_order_id):
                self._change(step, child, OrderEvent.PROVE_NOT_SENT, reason, now_ns)
            self._change(step, order, OrderEvent.REJECT, reason, now_ns)
            with ledger():
                self._free_waiting(step, now_ns)
                if order.closes:
                    self._stay_flat(step, now_ns)
        return step.effects()

    def _market_is_still_there(self, order: Order) -> bool:
        return (
            not self.terms.live
            and not self.book.is_to_be_canceled(order.client_order_id)
            and order.attempt < ATTEMPTS_MAX
            and Stamp.position(order.stamp) == Stamp.position(self.stamp)
            and self._may_trade(order)
            and self._has_its_trades(order)
        )

    def _has_its_trades(self, order: Order) -> bool:
        """Whether an exit still has all of its trade to close; one that goes with an entry is nothing by itself.

        So an entry that turns must have all that it was to close.
        """
        if order.purpose is Purpose.ENTRY:
            return not order.closes or self._turn_room(order) >= order.quantity
        return order.parent_id is None and self._room(order) >= order.quantity

    def _may_trade(self, order: Order) -> bool:
        row = self.book.execution
        if row is None or row.latch is Latch.HALTED:
            return False
        if order.purpose is Purpose.EXIT:
            return True
        return row.latch is Latch.OPEN and not row.paused and not self.is_retired(order.strategy)

    def _renew(self, step: Step, order: Order, children: Sequence[Order], now_ns: int) -> None:
        # Its place was free when it went out the first time: it waits for nobody, or it would be sent a second time.
        again = structs.replace(renewed(order, now_ns), after_cancel_of=())
        why = f"{order.client_order_id} never arrived and the market has not moved since"
        self._take_again(step, again, order, children, why, now_ns)
        self._place(step, again)

    def resolve(self, client_order_id: str, outcome: OrderStatus, by: str, now_ns: int) -> Effects:
        """A person says what became of an order in doubt: not_sent, rejected, canceled or expired."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        event = _RESOLUTIONS.get(outcome)
        if order is None or order.status is not OrderStatus.UNKNOWN or event is None:
            return step.effects()
        if outcome is OrderStatus.NOT_SENT and order.seen_at_venue:
            return step.effects()
        # Attached exits that the venue has been seen to hold belong to what was filled: nothing was said of those.
        unseen = (child for child in self._children(client_order_id) if not child.seen_at_venue)
        for gone in (*unseen, order):
            self._change(step, gone, event, f"resolved by {by}", now_ns)
        with ledger():
            self._follow_end(step, order, now_ns)
            self._free_waiting(step, now_ns)
            if order.closes:
                self._stay_flat(step, now_ns)
        return step.effects()


_RESOLUTIONS = {
    OrderStatus.NOT_SENT: OrderEvent.PROVE_NOT_SENT,
    OrderStatus.REJECTED: OrderEvent.REJECT,
    OrderStatus.CANCELED: OrderEvent.CANCEL,
    OrderStatus.EXPIRED: OrderEvent.EXPIRE,
}
