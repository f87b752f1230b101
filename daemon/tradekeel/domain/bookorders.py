"""How orders begin and end in the book, and what that means for their trades and signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import structs

from tradekeel.domain import orders as order_rules
from tradekeel.domain import records as r
from tradekeel.domain import trades as trade_rules
from tradekeel.domain.bookstate import OpenBooks
from tradekeel.domain.messages import SignalStatus
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus, Purpose
from tradekeel.domain.rows import Row
from tradekeel.domain.trades import Trade, TradeEvent, TradeStatus
from tradekeel.errors import Defect


class OrderFold(OpenBooks):
    """Folds what happens to orders on our side."""

    def _add_orders(self, orders: Iterable[Order], now_ns: int) -> list[Row]:
        rows: list[Row] = []
        for order in orders:
            if self.order(order.client_order_id) is not None:
                raise Defect(f"order {order.client_order_id} exists already")
            rows.append(order)
            if order.is_terminal:
                self._keep(self.ended, order.client_order_id, order)
                continue
            self._index(order)
            if order.closes:
                rows.extend(self._claim_turned(order, now_ns))
            trade = self.trade(order.trade_id)
            if trade is None:
                continue
            if order.purpose is Purpose.ENTRY and order.renews is not None:
                trade = structs.replace(
                    trade, entry_order_id=order.client_order_id, version=trade.version + 1, updated_ns=now_ns
                )
            elif order.purpose is Purpose.EXIT and order.parent_id is None:
                trade = trade_rules.move(trade, TradeEvent.CLAIM, now_ns)
            else:
                continue
            self.trades[trade.trade_id] = trade
            rows.append(trade)
        return rows

    def _claim_turned(self, order: Order, now_ns: int) -> Iterator[Trade]:
        """An entry that turns takes the claim on each trade that it closes, as an exit does."""
        for trade_id in order.closes:
            trade = self.trades.get(trade_id)
            if trade is not None:
                self.trades[trade_id] = trade_rules.move(trade, TradeEvent.CLAIM, now_ns)
                yield self.trades[trade_id]

    def _order_changed(self, record: r.OrderChanged) -> list[Row]:
        order = self.orders.get(record.client_order_id)
        if order is None:
            raise Defect(f"{record.event} of order {record.client_order_id}, which is not live")
        event = OrderEvent(record.event)
        changes: dict[str, Any] = {"status_reason": record.reason} if record.reason else {}
        if event is OrderEvent.SUBMIT:
            changes["submitted_ns"] = record.ts_ns
        rows = self._put(order, order_rules.apply(order, event, record.ts_ns, **changes), record.ts_ns)
        if event is OrderEvent.REQUEST_CANCEL and order.status is OrderStatus.UNKNOWN:
            self.cancels_wanted[order.client_order_id] = None
        elif event is OrderEvent.WITHDRAW_CANCEL:
            self.cancels_wanted.pop(order.client_order_id, None)
        return rows

    def _put(self, before: Order, after: Order, now_ns: int) -> list[Row]:
        """Store an order's new version, and carry its end over to its trade and signal."""
        key = after.client_order_id
        after = self._remember_cancel(before, after)
        self._count_working(after, after.open_quantity - before.open_quantity)
        if key in self.waiting:  # whatever happened to it, it no longer waits to be sent
            self._waits_no_more(after)
        if not after.is_terminal:
            self.orders[key] = after
            return [after]
        self.orders.pop(key, None)
        self._keep(self.ended, key, after)
        self._drop_exit(after)
        if after.parent_id is not None:
            self._drop(self.children, after.parent_id, key)
        rows: list[Row] = [after]
        trade = self.trades.get(after.trade_id) if after.trade_id is not None else None
        if trade is not None and not before.is_terminal:
            rows.extend(
                self._entry_ended(trade, after, now_ns)
                if after.purpose is Purpose.ENTRY
                else self._exit_ended(trade, now_ns)
            )
        if after.closes and not before.is_terminal:
            for left in [self.trades[trade_id] for trade_id in after.closes if trade_id in self.trades]:
                rows.extend(self._exit_ended(left, now_ns))
        return rows

    def _remember_cancel(self, before: Order, after: Order) -> Order:
        """That an order is to be canceled is not forgotten while nobody knows what became of it, nor when it turns up."""
        key = after.client_order_id
        if after.status is OrderStatus.UNKNOWN:
            if before.status is OrderStatus.CANCEL_REQUESTED:
                self.cancels_wanted[key] = None
            return after
        if key not in self.cancels_wanted:
            return after
        del self.cancels_wanted[key]
        return after if after.is_terminal else structs.replace(after, status=OrderStatus.CANCEL_REQUESTED)

    def _entry_ended(self, trade: Trade, order: Order, now_ns: int) -> list[Row]:
        if trade.entry_order_id != order.client_order_id:
            return []  # renewed: another order carries the trade's entry now
        if not trade.entered_quantity:
            failed = trade_rules.move(trade, TradeEvent.FAIL, now_ns)
            return [*self._end_trade(failed), *self._end_signal(trade.signal_id, SignalStatus.FAILED, order.status)]
        if not trade.open_quantity:
            return self._end_trade(trade_rules.move(trade, TradeEvent.CLOSE, now_ns))
        return []

    def _exit_ended(self, trade: Trade, now_ns: int) -> list[Row]:
        if trade.open_quantity > ZERO and self._unprotected(trade):
            trade = structs.replace(trade, exits_at_venue=False, version=trade.version + 1, updated_ns=now_ns)
            self.trades[trade.trade_id] = trade
            return [trade, *self._free_claim(trade, now_ns)]
        return self._free_claim(trade, now_ns)

    def _unprotected(self, trade: Trade) -> bool:
        """The venue was to keep its exits and holds none any more, whatever the reason: from here on the monitor does."""
        return trade.exits_at_venue and not self.live_exits(trade.trade_id, attached=True)

    def _free_claim(self, trade: Trade, now_ns: int) -> list[Row]:
        if trade.status is not TradeStatus.CLOSING or self.live_exits(trade.trade_id, attached=False):
            return []
        freed = trade_rules.move(trade, TradeEvent.RELEASE, now_ns)
        self.trades[trade.trade_id] = freed
        return [freed]

    def _end_trade(self, trade: Trade) -> list[Row]:
        self.trades.pop(trade.trade_id, None)
        if trade.position_ref is not None:
            self._drop(self.at_position, trade.position_ref, trade.trade_id)
        self._keep(self.closed, trade.trade_id, trade)
        return [trade]

    def _end_signal(self, signal_id: str | None, status: SignalStatus, why: str) -> list[Row]:
        signal = self.signals.pop(signal_id, None) if signal_id is not None else None
        if signal is None:
            return []
        executed = status is SignalStatus.EXECUTED
        return [structs.replace(signal, executed=executed, execution_status=status, status_reason=str(why))]
