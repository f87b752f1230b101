"""The venue's record in the book: money, positions, fills and their allocations to trades."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from msgspec import structs

from tradekeel.domain import orders as order_rules
from tradekeel.domain import records as r
from tradekeel.domain import trades as trade_rules
from tradekeel.domain.bookorders import OrderFold
from tradekeel.domain.instruments import ledger_step
from tradekeel.domain.messages import Fill, SignalStatus, TransactionKind, VenueTransaction
from tradekeel.domain.money import ZERO, share_out
from tradekeel.domain.orders import Order, OrderEvent, OrderType
from tradekeel.domain.positions import book_fill
from tradekeel.domain.rows import Row, VenueCursor
from tradekeel.domain.trades import CloseReason, ExitBooking, Trade, TradeStatus
from tradekeel.errors import Defect

ORDER_EVENTS = {
    TransactionKind.ORDER_ACCEPTED: OrderEvent.ACCEPT,
    TransactionKind.ORDER_REJECTED: OrderEvent.REJECT,
    TransactionKind.ORDER_CANCELED: OrderEvent.CANCEL,
    TransactionKind.ORDER_EXPIRED: OrderEvent.EXPIRE,
    TransactionKind.CANCEL_REFUSED: OrderEvent.REFUSE_CANCEL,
}


class NewsFold(OrderFold):
    """Folds the venue's news."""

    def _reported(self, record: r.VenueReported) -> list[Row]:
        news = record.transaction
        if news.sequence != self.cursor + 1:
            raise Defect(f"venue transaction {news.sequence} follows {self.cursor}: the venue's record has a gap")
        self.cursor = news.sequence
        rows = self._NEWS[news.kind](self, record, news)
        if self.execution is not None:
            venue = self.execution.venue
            rows.append(
                VenueCursor(execution=self.execution_id, venue=venue, sequence=news.sequence, updated_ns=record.ts_ns)
            )
        return rows

    def _deposited(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        self.money = structs.replace(self.money, deposits=self.money.deposits + news.amount)
        return []

    def _order_news(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        order = self.order(news.client_order_id)
        if order is None:
            return []  # somebody else's order on the same account: only its fills concern us
        event = ORDER_EVENTS[news.kind]
        if not order_rules.allows(order.status, event):
            return []  # a contradiction: it stays in the journal, and the executor halts the account
        if event is OrderEvent.REFUSE_CANCEL and news.price is not None:
            return self._level_refused(order, news.price, record.ts_ns)
        changes: dict[str, Any] = {}
        if news.venue_order_id is not None:
            changes["venue_order_id"] = news.venue_order_id
        if news.reason:
            changes["status_reason"] = news.reason
        if news.kind is TransactionKind.ORDER_ACCEPTED:
            if order.submitted_ns is None:
                changes["submitted_ns"] = news.ts_ns
            if order.parent_id is not None and news.quantity is not None:
                changes["quantity"] = news.quantity
        trail = news.price if event is OrderEvent.ACCEPT and order.type is OrderType.TRAILING_STOP else None
        if trail is not None:
            changes["stop_price"] = trail  # where the venue begins to trail
        rows = self._put(order, order_rules.apply(order, event, record.ts_ns, **changes), record.ts_ns)
        rows.extend(self._level_moved(order, trail, record.ts_ns))
        return rows

    def _amended(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        order = self.orders.get(news.client_order_id or "")
        if order is None:
            return []
        changes: dict[str, Any] = {"updated_ns": record.ts_ns}
        if news.quantity is not None:
            changes["quantity"] = news.quantity
        if news.price is not None:
            changes["price" if order.type is OrderType.LIMIT else "stop_price"] = news.price
        after = structs.replace(order, **changes)
        self.orders[order.client_order_id] = after
        return [after, *self._level_moved(order, news.price, record.ts_ns)]

    def _level_moved(self, order: Order, price: Decimal | None, now_ns: int) -> list[Row]:
        """An attached stop is at ``price`` now, and its trade says so: of a stop and a trail, the tighter.

        A target may move either way, so that an older wish of ours, confirmed now, looks like a newer one: the trade says
        what was wished last, and the order where it is.
        """
        trade = self.trades.get(order.trade_id or "")
        if trade is None or order.parent_id is None or price is None or order.type is OrderType.LIMIT:
            return []
        if not trade_rules.tightens(trade, price):
            return []
        moved = structs.replace(trade, stop_loss=price, version=trade.version + 1, updated_ns=now_ns)
        self.trades[trade.trade_id] = moved
        return [moved]

    def _level_refused(self, order: Order, price: Decimal, now_ns: int) -> list[Row]:
        """The venue keeps an attached exit where it is: what its trade says is what the venue holds, not what was wished.

        Unless something else was wished since: the answer to that is still to come.
        """
        trade = self.trades.get(order.trade_id or "")
        if trade is None or order.parent_id is None or not trade.exits_at_venue:
            return []
        children = self.live_exits(trade.trade_id, attached=True)
        if order.type is OrderType.LIMIT:
            targets = [c.price for c in children if c.type is OrderType.LIMIT and c.price is not None]
            field, held = "take_profit", targets[0] if targets else trade.take_profit
        else:
            stops = [c.stop_price for c in children if c.type is not OrderType.LIMIT and c.stop_price is not None]
            tightest = max if trade.side is trade_rules.TradeSide.LONG else min
            field, held = "stop_loss", tightest(stops) if stops else trade.stop_loss
        if held == getattr(trade, field) or price != getattr(trade, field):
            return []
        kept = structs.replace(trade, **{field: held}, version=trade.version + 1, updated_ns=now_ns)
        self.trades[trade.trade_id] = kept
        return [kept]

    def _financed(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        self.money = structs.replace(self.money, financing=self.money.financing + news.amount)
        ref = news.venue_order_id  # on a hedging account the position that it was booked on
        held = [trade for trade in self.trades_at(ref) if trade.symbol == news.instrument and trade.open_quantity]
        if not held:
            return []
        shares = share_out(news.amount, [t.open_quantity for t in held], ledger_step(self.currency))
        rows: list[Row] = []
        for trade, share in zip(held, shares, strict=True):
            after = structs.replace(
                trade, financing=trade.financing + share, version=trade.version + 1, updated_ns=record.ts_ns
            )
            self.trades[trade.trade_id] = after
            rows.append(after)
        return rows

    def _margin_called(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        return []

    def _filled(self, record: r.VenueReported, news: VenueTransaction) -> list[Row]:
        fill = news.fill
        if fill is None:
            raise Defect(f"venue transaction {news.sequence} is a fill without a fill")
        if not record.allocations:
            return []  # told a second time (see OpenBooks.knows_fill)
        self._book_money(fill)
        self._remember_fill(fill)
        rows: list[Row] = [fill]
        if record.adopted is not None:
            self._hold(record.adopted)
        before = self.order(fill.client_order_id)
        after = None
        if before is not None:
            after = order_rules.fill(before, fill.quantity, fill.price, fill.fee, record.ts_ns)
            if after.venue_order_id is None:
                after = structs.replace(after, venue_order_id=fill.venue_order_id)
        for part in record.allocations:
            rows.extend(self._allocate(record, fill, part, after))
        if before is not None and after is not None:
            rows.extend(self._put(before, after, record.ts_ns))
        return rows

    def _book_money(self, fill: Fill) -> None:
        self.moved = book_fill(self.positions, fill)
        self._nets = None
        self.money = structs.replace(
            self.money, realised=self.money.realised + fill.realised, fees=self.money.fees + fill.fee
        )

    def _allocate(
        self, record: r.VenueReported, fill: Fill, part: trade_rules.Allocation, order: Order | None
    ) -> list[Row]:
        trade = self.trade(part.trade_id)
        if trade is None:
            raise Defect(f"fill {fill.fill_id} is allocated to trade {part.trade_id}, which is not known")
        ids = trade.venue_trade_ids if fill.fill_id in trade.venue_trade_ids else (*trade.venue_trade_ids, fill.fill_id)
        if part.opens:
            return self._enter(record, fill, part, trade, order, ids)
        entry = self.orders.get(trade.entry_order_id)
        extremes = {
            k: v[trade.trade_id]
            for k, v in (("best_price", record.best), ("worst_price", record.worst))
            if trade.trade_id in v
        }
        slip = _slippage(order, fill, part.quantity)
        booking = ExitBooking(
            quantity=part.quantity,
            price=fill.price,
            fee=part.fee,
            rate=fill.rate,
            reason=CloseReason(record.reason or CloseReason.VENUE),
            order_id=fill.client_order_id,
            account_currency=self.currency,
            entry_over=entry is None or entry.trade_id != trade.trade_id,  # adopted: it came with another trade's order
        )
        after = trade_rules.leave(
            trade, booking, fill.ts_ns, venue_trade_ids=ids, exit_slippage=trade.exit_slippage + slip, **extremes
        )
        self.trades_gross += after.gross_pnl - trade.gross_pnl
        if after.status is TradeStatus.CLOSED:
            return self._end_trade(after)
        self.trades[after.trade_id] = after
        return [after]

    def _enter(
        self,
        record: r.VenueReported,
        fill: Fill,
        part: trade_rules.Allocation,
        trade: Trade,
        order: Order | None,
        ids: tuple[str, ...],
    ) -> list[Row]:
        first = not trade.entered_quantity
        after = trade_rules.enter(
            trade,
            part.quantity,
            fill.price,
            part.fee,
            fill.ts_ns,
            venue_trade_ids=ids,
            venue_order_id=fill.venue_order_id,
            position_ref=fill.position_ref if first else trade.position_ref,
            liquidity=fill.liquidity.value,
            entry_slippage=trade.entry_slippage + _slippage(order, fill, part.quantity),
            margin=trade.margin + record.margin.get(trade.trade_id, ZERO),
            entry_position=record.stamp // 2 if first else trade.entry_position,
        )
        if self._unprotected(after):  # a late fill: its exits have ended with the entry
            after = structs.replace(after, exits_at_venue=False)
        self.closed.pop(after.trade_id, None)
        self._hold(after)
        return [after, *self._end_signal(after.signal_id, SignalStatus.EXECUTED, "")]

    _NEWS: ClassVar[dict[TransactionKind, Callable[[NewsFold, r.VenueReported, VenueTransaction], list[Row]]]] = {
        TransactionKind.DEPOSITED: _deposited,
        TransactionKind.ORDER_ACCEPTED: _order_news,
        TransactionKind.ORDER_REJECTED: _order_news,
        TransactionKind.ORDER_CANCELED: _order_news,
        TransactionKind.ORDER_EXPIRED: _order_news,
        TransactionKind.CANCEL_REFUSED: _order_news,
        TransactionKind.ORDER_AMENDED: _amended,
        TransactionKind.ORDER_FILLED: _filled,
        TransactionKind.FINANCED: _financed,
        TransactionKind.MARGIN_CALLED: _margin_called,
    }


def _slippage(order: Order | None, fill: Fill, quantity: Decimal) -> Decimal:
    """Adverse distance from :func:`price_seen`, times quantity (quote currency); zero where no price was seen."""
    seen = None if order is None else price_seen(order)
    return ZERO if seen is None else (fill.price - seen) * fill.side.sign * quantity


def price_seen(order: Order) -> Decimal | None:
    """What a fill's price is measured from: a limit order's own price, a stop order's stop, with a limit or without, and of a
    market order the touch at its decision (best ask to buy, best bid to sell); None where it saw none.
    """
    if order.type is OrderType.LIMIT:
        return order.price
    if order.type in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP):
        return order.stop_price
    return order.reference_price
