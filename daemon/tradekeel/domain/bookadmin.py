"""What people wrote through repositories, in the book: rows removed and rows put.

A daemon that goes on from here must see its strategies, signals, trades and orders as they are in the tables. Money, positions
and attribution follow the venue's record and nothing else: what somebody writes down, or throws away, moves no money.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.booknews import NewsFold
from tradekeel.domain.bookstate import StrategyLine
from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.domain.orders import Order
from tradekeel.domain.rows import Row, StrategyEvent, StrategyRow, VenueCursor
from tradekeel.domain.trades import Trade


class AdminFold(NewsFold):
    """Folds :class:`~tradekeel.domain.records.Administered`."""

    def _administered(self, record: r.Administered) -> list[Row]:
        for removed in record.removed:
            self._remove(removed)
        rows = list(record.put)
        for row in rows:
            put = self._PUT.get(type(row))
            if put is not None:
                put(self, row)
        return rows

    # --- removing ------------------------------------------------------------------------------------------------------

    def _remove(self, removed: r.Removed) -> None:
        if removed.table == "orders":
            for order in [o for o in (*self.orders.values(), *self.ended.values()) if removed.takes(o)]:
                self._forget_order(order)
        elif removed.table == "trades":
            for trade in [t for t in (*self.trades.values(), *self.closed.values()) if removed.takes(t)]:
                self._forget_trade(trade)
        elif removed.table == "signals":
            self.signals = {key: signal for key, signal in self.signals.items() if not removed.takes(signal)}
        elif removed.table == "strategies":
            self.strategies = {key: line for key, line in self.strategies.items() if not removed.takes(line.row)}

    def _forget_order(self, order: Order) -> None:
        key = order.client_order_id
        self.ended.pop(key, None)
        self.cancels_wanted.pop(key, None)
        if self.orders.pop(key, None) is None:
            return
        self._count_working(order, -order.open_quantity)
        if key in self.waiting:
            self._waits_no_more(order)
        self._drop_exit(order)
        if order.parent_id is not None:
            self._drop(self.children, order.parent_id, key)

    def _forget_trade(self, trade: Trade) -> None:
        self.closed.pop(trade.trade_id, None)
        self.trades.pop(trade.trade_id, None)
        if trade.position_ref is not None:
            self._drop(self.at_position, trade.position_ref, trade.trade_id)

    # --- putting -------------------------------------------------------------------------------------------------------

    def _put_strategy(self, row: StrategyRow) -> None:
        known = self.strategies.get(row.strategy)
        self.strategies[row.strategy] = StrategyLine(row) if known is None else structs.replace(known, row=row)

    def _put_signal(self, signal: Signal) -> None:
        if signal.execution_status in (SignalStatus.PENDING, SignalStatus.ORDERED):
            self.signals[signal.signal_id] = signal
        else:
            self.signals.pop(signal.signal_id, None)

    def _put_trade(self, trade: Trade) -> None:
        known = self.trade(trade.trade_id)
        if known is not None and known.position_ref is not None:
            self._drop(self.at_position, known.position_ref, known.trade_id)
        if trade.is_open:
            self.closed.pop(trade.trade_id, None)
            self._hold(trade)
        else:
            self.trades.pop(trade.trade_id, None)
            self._keep(self.closed, trade.trade_id, trade)

    def _put_order(self, order: Order) -> None:
        known = self.order(order.client_order_id)
        if known is not None:
            self._forget_order(known)
        if order.is_terminal:
            self._keep(self.ended, order.client_order_id, order)
        else:
            self._index(order)

    def _put_event(self, event: StrategyEvent) -> None:
        line = self.strategies.get(event.strategy)
        if line is not None:
            self.strategies[event.strategy] = structs.replace(line, events=max(line.events, event.sequence))

    def _put_cursor(self, cursor: VenueCursor) -> None:
        if self.execution is not None and cursor.venue == self.execution.venue:
            self.cursor = cursor.sequence

    _PUT: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        StrategyRow: _put_strategy,
        Signal: _put_signal,
        Trade: _put_trade,
        Order: _put_order,
        StrategyEvent: _put_event,
        VenueCursor: _put_cursor,
    }
