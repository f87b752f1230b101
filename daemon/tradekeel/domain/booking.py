"""The venue's news becomes books: each entry of its record exactly once, and nothing that contradicts what we know unseen."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.allocation import Allotment, allocate
from tradekeel.domain.book import ORDER_EVENTS
from tradekeel.domain.closing import FLATTEN
from tradekeel.domain.effects import Effects, LookUpOrder
from tradekeel.domain.latching import Latching
from tradekeel.domain.messages import Fill, Stamp, TransactionKind, VenueTransaction
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Purpose, allows, contradicts_proof
from tradekeel.domain.positions import convert, margin_required
from tradekeel.domain.reconcile import OUR_MARK
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import Allocation, CloseReason


class Booking(Latching):
    """Books the venue's record."""

    def news(self, transactions: Iterable[VenueTransaction], now_ns: int) -> Effects:
        """Book the venue's record from our cursor on. Entries that were booked already are skipped; a gap is a defect."""
        step = Step(self.book)
        with ledger():
            for entry in transactions:
                if entry.sequence <= self.book.cursor:
                    continue
                self._book_entry(step, entry, now_ns)
                order = self.book.order(entry.client_order_id)
                if order is None:
                    continue
                if not self._may_ask:  # before it is known what may be under way nothing is asked for
                    if order.is_terminal:
                        self._unfollowed.setdefault(order.client_order_id, order)
                elif order.is_terminal:
                    self._follow_end(step, order, now_ns)
                elif entry.kind is TransactionKind.ORDER_ACCEPTED and order.parent_id is not None:
                    self._keep_protecting(step, order.trade_id, now_ns)  # one of its siblings may have ended before
                if _leaves_something(entry, order):
                    self._stay_flat(step, now_ns)
        return step.effects()

    def _book_entry(self, step: Step, entry: VenueTransaction, now_ns: int) -> None:
        when = now_ns if self.terms.live else entry.ts_ns
        stamp = self._news_stamp(entry)
        self.at(stamp)
        asked = self.book.orders.get(entry.client_order_id or "")
        turns_up = asked is not None and asked.in_doubt
        fill = entry.fill
        if entry.kind is not TransactionKind.ORDER_FILLED or fill is None or self.book.knows_fill(fill):
            order = self.book.order(entry.client_order_id)
            correlation = order.correlation_id if order is not None else ""
            step.record(r.VenueReported(ts_ns=when, stamp=stamp, correlation_id=correlation, transaction=entry))
            self._check_news(step, order, entry, now_ns)
        else:
            before = self.book.order(fill.client_order_id)
            if before is not None and before.trade_id is not None and self.book.trade(before.trade_id) is None:
                before = None  # so long ago that its trade is history: the units are adopted
            allotment = self._allot(fill, before)
            exits = [part.trade_id for part in allotment.parts if not part.opens]
            seen = entry.position <= self.seen_to
            best, worst = self._excursions(exits if seen else ())
            step.record(
                r.VenueReported(
                    ts_ns=when,
                    stamp=stamp,
                    correlation_id=before.correlation_id if before is not None else "",
                    transaction=entry,
                    allocations=allotment.parts,
                    adopted=allotment.adopted,
                    reason=_close_reason(before, entry),
                    best=best,
                    worst=worst,
                    margin=self._margins(fill, allotment.parts),
                )
            )
            if not seen:
                self._owed.update(dict.fromkeys(exits, entry.position))
            after = self.book.order(fill.client_order_id)
            if before is not None and after is not None:
                why = contradicts_proof(before, after)
                if why is not None:
                    self._latch(step, Latch.HALTED, why, "books", now_ns)
        self._follow_up(step, entry, turns_up, now_ns)
        if entry.balance is not None and entry.balance != self.book.money.balance:
            why = f"the venue's balance after its entry {entry.sequence} is {entry.balance}, ours {self.book.money.balance}"
            self._latch(step, Latch.HALTED, why, "books", now_ns)

    def _allot(self, fill: Fill, order: Order | None) -> Allotment:
        book = self.book
        named = book.trades.get(order.trade_id or "") if order is not None else None
        others = book.trades_at(fill.position_ref)
        if order is None or not order.closes:
            return allocate(fill, order, named, others, book.execution_id, book.currency)
        turned = [book.trades[trade_id] for trade_id in order.closes if trade_id in book.trades]
        own = named or book.trade(order.trade_id)
        return allocate(fill, order, own, others, book.execution_id, book.currency, turned)

    def _margins(self, fill: Fill, parts: Iterable[Allocation]) -> dict[str, Decimal]:
        """What an entry fill ties up for each trade that it opens, at its own price and rate."""
        instrument = self.terms.instruments.get(fill.instrument)
        if instrument is None:
            return {}
        margins: dict[str, Decimal] = {}
        for part in parts:
            if part.opens:
                needed = margin_required(instrument, part.quantity, fill.price, self.terms.leverage)
                margins[part.trade_id] = convert(needed, fill.rate, self.terms.currency)
        return margins

    def _follow_up(self, step: Step, entry: VenueTransaction, turns_up: bool, now_ns: int) -> None:
        """What has to be asked for because of this news. ``turns_up``: of an order that nobody knew to be there."""
        order = self.book.orders.get(entry.client_order_id or "")
        row = self.book.execution
        if order is None or row is None:
            return
        if entry.kind is TransactionKind.CANCEL_REFUSED:
            if order.status is OrderStatus.UNKNOWN:
                step.ask(LookUpOrder(order.client_order_id))  # a refusal does not say whether it ever arrived
        elif turns_up and order.status is OrderStatus.CANCEL_REQUESTED:
            self._cancel(step, order.client_order_id, None, "", now_ns)  # the first request may have come before it
        elif order.purpose is Purpose.ENTRY and row.latch is not Latch.OPEN:
            self._cancel(step, order.client_order_id, None, f"{row.latch}: {row.latch_reason}", now_ns)
        elif (
            order.purpose is Purpose.ENTRY and self.book.flattened and order.status is not OrderStatus.CANCEL_REQUESTED
        ):
            self._cancel(step, order.client_order_id, None, FLATTEN, now_ns)  # it was in doubt when all was to end
        elif order.purpose is Purpose.ENTRY and self.is_retired(order.strategy):
            self._cancel(step, order.client_order_id, None, f"strategy {order.strategy} is retired", now_ns)

    def _check_news(self, step: Step, before: Order | None, entry: VenueTransaction, now_ns: int) -> None:
        """News that contradicts what we know is kept in the journal, changes nothing else, and halts the account."""
        if before is None:
            stranger = entry.client_order_id or ""
            if entry.kind is TransactionKind.ORDER_ACCEPTED and stranger.startswith(OUR_MARK):
                why = (
                    f"the venue took order {stranger}, which has our mark and is not in our books: "
                    "they are older than its record, or somebody else trades here as we do"
                )
                self._latch(step, Latch.HALTED, why, "books", now_ns)
            return
        event = ORDER_EVENTS.get(entry.kind)
        if event is not None and not allows(before.status, event):
            why = f"the venue reports {entry.kind} of order {before.client_order_id}, which is {before.status}"
            self._latch(step, Latch.HALTED, why, "books", now_ns)
            return
        after = self.book.order(before.client_order_id)
        why_not = contradicts_proof(before, after) if after is not None else None
        if why_not is not None:
            self._latch(step, Latch.HALTED, why_not, "books", now_ns)

    def _news_stamp(self, entry: VenueTransaction) -> int:
        """At its tick, before the strategies see it; an answer belongs where its request was made: never before that."""
        return max(self.stamp, Stamp.before(entry.position))


def _leaves_something(entry: VenueTransaction, order: Order) -> bool:
    """Whether this news may leave a trade open that nobody is closing.

    An entry filled, an exit ended with a part of it, or an entry that turns ended, whatever became of it.
    """
    if order.purpose is Purpose.ENTRY:
        return entry.kind is TransactionKind.ORDER_FILLED or (bool(order.closes) and order.is_terminal)
    return order.is_terminal and ZERO < order.filled_quantity < order.quantity


def _close_reason(order: Order | None, entry: VenueTransaction) -> str | None:
    """Why this fill closes what it closes: what our order was for, or what the venue says of its own doing."""
    if order is not None:
        return order.close_reason or CloseReason.SIGNAL.value
    return CloseReason.MARGIN_CALL.value if entry.reason == CloseReason.MARGIN_CALL else CloseReason.VENUE.value
