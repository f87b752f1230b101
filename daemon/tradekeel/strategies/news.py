"""From journal entries to the events of a strategy."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from tradekeel.domain import records as r
from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import Request, TransactionKind
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus
from tradekeel.domain.ticks import NEVER_NS
from tradekeel.domain.trades import Trade
from tradekeel.domain.view import View
from tradekeel.strategies.base import FillEvent, OrderUpdate, Paused, Resumed

Outcome = tuple[Any, Sequence[Request]]
Happening = tuple[str, Any]


def happenings(entry: Entry, name: str, renewed: Container[str], *, paused_before: bool) -> Sequence[Happening]:
    """What one journal entry means to the strategy called ``name``: the names of handlers to call, each with its event.

    ``renewed`` are never-sent orders whose decision was taken again: to the strategy nothing has happened.
    """
    record = entry.record
    if isinstance(record, r.VenueReported):
        news = record.transaction
        if news.kind is TransactionKind.ORDER_FILLED:
            return [("on_fill", e) for e in _fills(entry, record, name)]
        word = _NEWS_WORDS.get(news.kind)
        return [("on_order", e) for e in _updates(entry, news.reason, word, name)]
    if isinstance(record, r.OrderChanged):
        word = _CHANGE_WORDS.get(record.event)
        if record.client_order_id in renewed:
            return []
        return [("on_order", e) for e in _updates(entry, record.reason, word, name)]
    if isinstance(record, r.DecisionTaken) and record.strategy == name:
        return [
            ("on_order", OrderUpdate(order=o, event="denied", reason=o.status_reason, ts_ns=record.ts_ns))
            for o in record.orders
            if o.status is OrderStatus.DENIED
        ]
    if isinstance(record, r.LatchChanged) and record.paused is not paused_before:
        if record.paused:
            return [("on_pause", Paused(ts_ns=record.ts_ns, reason=record.reason))]
        return [("on_resume", Resumed(ts_ns=record.ts_ns, reason=record.reason))]
    return []


def told_from(news: Sequence[Entry], view: View, *, is_over: bool) -> int:
    """The stamp of the next journal entry that a strategy is to hear of; NEVER_NS for none.

    What came of its last words is told with the end of the execution, and so it is behind a kill between the two: what it
    answers comes to nothing.
    """
    if not news:
        return NEVER_NS
    if is_over and not (view.ending or any(isinstance(entry.record, r.ExecutionEnding) for entry in news)):
        return NEVER_NS
    return news[0].record.stamp


def instrument_of(event: Any) -> str | None:
    """The instrument that an event is about, if it is about one."""
    if isinstance(event, FillEvent):
        return event.trade.symbol
    return event.order.instrument if isinstance(event, OrderUpdate) else None


def _fills(entry: Entry, record: r.VenueReported, name: str) -> list[FillEvent]:
    fill = record.transaction.fill
    if fill is None:
        return []
    order: Order | None = None
    trades: dict[str, Trade] = {}
    for row in entry.rows:
        if type(row) is Trade:
            trades[row.trade_id] = row
        elif type(row) is Order and order is None:
            order = row
    return [
        FillEvent(fill=fill, order=order, trade=trade, opens=part.opens, quantity=part.quantity, ts_ns=record.ts_ns)
        for part in record.allocations
        if (trade := trades.get(part.trade_id)) is not None and trade.strategy == name
    ]


def _updates(entry: Entry, reason: str, word: str | None, name: str) -> list[OrderUpdate]:
    if word is None:
        return []
    return [
        OrderUpdate(order=row, event=word, reason=reason, ts_ns=entry.record.ts_ns)
        for row in entry.rows
        if type(row) is Order and row.strategy == name
    ]


_NEWS_WORDS = {
    TransactionKind.ORDER_ACCEPTED: "accepted",
    TransactionKind.ORDER_REJECTED: "rejected",
    TransactionKind.ORDER_CANCELED: "canceled",
    TransactionKind.ORDER_EXPIRED: "expired",
}
_CHANGE_WORDS = {
    OrderEvent.LOSE.value: "unknown",
    OrderEvent.PROVE_NOT_SENT.value: "not_sent",
    # An answer of the venue's that it keeps no record of, or what a person has found out.
    OrderEvent.REJECT.value: "rejected",
    OrderEvent.CANCEL.value: "canceled",
    OrderEvent.EXPIRE.value: "expired",
}
