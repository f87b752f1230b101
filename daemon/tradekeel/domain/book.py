"""The books of one execution: a fold of its journal, and nothing else.

:meth:`Book.apply` is the only thing that changes a book. It takes one journal record and returns the rows that
changed, which are the projections. The executor applies what it decides, recovery applies what it reads, ``verify``
applies everything from the first record on and compares: all three run this code, so they cannot drift apart.

The book keeps what may still change: live orders, open trades, and a bounded tail of ended ones for late fills. Its
size follows the open business, not the history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from msgspec import Struct, structs

from tradekeel.domain import orders as order_rules
from tradekeel.domain import records as r
from tradekeel.domain import trades as trade_rules
from tradekeel.domain.instruments import ledger_step
from tradekeel.domain.messages import Fill, Signal, SignalStatus, TransactionKind, VenueTransaction
from tradekeel.domain.money import LEDGER, ZERO, ledger, share_out
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.positions import Position
from tradekeel.domain.trades import CloseReason, ExitBooking, Trade, TradeEvent, TradeStatus
from tradekeel.errors import Defect

ENDED_KEPT_MAX = 1_000
"""Ended orders and closed trades that stay in memory for late fills; a later one still books, as an adopted trade."""

PositionKey = tuple[str, str | None]
_V = TypeVar("_V")


class Money(Struct, frozen=True):
    """The account's booked amounts, in its currency."""

    deposits: Decimal = ZERO
    realised: Decimal = ZERO
    financing: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        """Deposits + realised + financing - fees, exactly."""
        earned = LEDGER.add(LEDGER.add(self.deposits, self.realised), self.financing)
        return LEDGER.subtract(earned, self.fees)


class StrategyLine(Struct, frozen=True):
    """What the book keeps of a strategy beside its row."""

    row: r.StrategyRow
    digest: str = ""  # of the last decision
    events: int = 0  # number of its last strategy event


class BookState(Struct):
    """A book as it is saved in a checkpoint."""

    execution: r.ExecutionRow | None
    sequence: int
    stamp: int
    cursor: int
    exit_decisions: int
    money: Money
    trades_gross: Decimal
    orders: list[Order]
    ended: list[Order]
    trades: list[Trade]
    closed: list[Trade]
    positions: list[Position]
    strategies: list[StrategyLine]
    signals: list[Signal]


class Book:
    """The state of one execution. Read its attributes freely; change it through :meth:`apply` only."""

    def __init__(self) -> None:
        self.execution: r.ExecutionRow | None = None
        self.sequence = 0  # last journal record applied
        self.stamp = 0
        self.cursor = 0  # last venue transaction booked
        self.exit_decisions = 0  # exits that the monitor or a person decided: the number of the last
        self.money = Money()
        self.trades_gross = ZERO  # realised by trades, before fees and financing: what attribution compares
        self.orders: dict[str, Order] = {}  # live
        self.ended: dict[str, Order] = {}  # the last few that ended
        self.trades: dict[str, Trade] = {}  # open, oldest first
        self.closed: dict[str, Trade] = {}  # the last few that closed
        self.positions: dict[PositionKey, Position] = {}
        self.strategies: dict[str, StrategyLine] = {}
        self.signals: dict[str, Signal] = {}  # not yet executed or failed
        self.waiting: dict[str, None] = {}  # exits that are held until their siblings' end is confirmed, oldest first
        self.exits: defaultdict[str, set[str]] = defaultdict(set)  # trade id -> live exits, attached ones included
        self.children: defaultdict[str, set[str]] = defaultdict(set)  # entry id -> live attached exits
        self.working: dict[tuple[str, Side], Decimal] = {}  # what live orders, attached exits excepted, may still fill

    # --- reading -------------------------------------------------------------------------------------------------------

    @property
    def execution_id(self) -> str:
        """The execution's id; a book without its first record has none."""
        if self.execution is None:
            raise Defect("the book has no execution yet")
        return self.execution.execution

    @property
    def currency(self) -> str:
        """The account's currency."""
        if self.execution is None:
            raise Defect("the book has no execution yet")
        return self.execution.currency

    def order(self, client_order_id: str | None) -> Order | None:
        """A live or recently ended order."""
        if client_order_id is None:
            return None
        return self.orders.get(client_order_id) or self.ended.get(client_order_id)

    def trade(self, trade_id: str | None) -> Trade | None:
        """An open or recently closed trade."""
        if trade_id is None:
            return None
        return self.trades.get(trade_id) or self.closed.get(trade_id)

    def live_exits(self, trade_id: str, attached: bool | None = None) -> list[Order]:
        """Live exits of a trade; ``attached`` chooses venue-held protective ones, or the others."""
        # In the order in which they were made, never of their ids: what follows is the same in every run.
        found = sorted((self.orders[i] for i in self.exits.get(trade_id, ())), key=_made)
        return found if attached is None else [o for o in found if (o.parent_id is not None) is attached]

    def closable(self, trade: Trade) -> Decimal:
        """What an exit may still ask for: held, less what live, unsent and unknown exits of others already may take."""
        taken = sum((o.open_quantity for o in self.live_exits(trade.trade_id, attached=False)), ZERO)
        return max(trade.open_quantity - taken, ZERO)

    def net(self, instrument: str) -> Decimal:
        """The signed net quantity of an instrument over all positions."""
        return sum((p.quantity for (symbol, _), p in self.positions.items() if symbol == instrument), ZERO)

    @property
    def attribution(self) -> Decimal:
        """What netting booked differently from the trades: realised by the account less realised by trades."""
        with ledger():
            return self.money.realised - self.trades_gross

    # --- folding -------------------------------------------------------------------------------------------------------

    def apply(self, record: r.Record, sequence: int | None = None) -> list[r.Row]:
        """Fold one record; returns the rows it changed, latest versions, in a deterministic order."""
        handler = _HANDLERS.get(type(record))
        if handler is None:
            raise Defect(f"no fold for journal record {type(record).__name__}")
        with ledger():
            rows = handler(self, record)
        self.sequence = sequence if sequence is not None else self.sequence + 1
        self.stamp = max(self.stamp, record.stamp)
        return rows

    def _started(self, record: r.ExecutionStarted) -> list[r.Row]:
        self.execution = record.row
        opening = record.opening
        if opening is None:
            return [record.row]
        self.cursor = opening.cursor
        self.money = Money(deposits=opening.balance)
        self.positions = {(p.instrument, p.ref): p for p in opening.positions}
        self.trades = {t.trade_id: t for t in opening.trades}
        return [record.row, *opening.trades]

    def _change_execution(self, **changes: Any) -> list[r.Row]:
        if self.execution is None:
            raise Defect("a record came before execution_started")
        self.execution = structs.replace(self.execution, **changes)
        return [self.execution]

    def _closed(self, record: r.ExecutionClosed) -> list[r.Row]:
        return self._change_execution(status="closed", closed_ns=record.ts_ns, close_reason=record.reason)

    def _latch(self, record: r.LatchChanged) -> list[r.Row]:
        return self._change_execution(paused=record.paused, latch=record.latch, latch_reason=record.reason)

    def _registered(self, record: r.StrategyRegistered) -> list[r.Row]:
        known = self.strategies.get(record.row.strategy)
        row = record.row if known is None else structs.replace(record.row, decisions=known.row.decisions)
        self.strategies[row.strategy] = structs.replace(known, row=row) if known else StrategyLine(row)
        return [row]

    def _strategy_status(self, record: r.StrategyStatusChanged) -> list[r.Row]:
        line = self._line(record.strategy)
        row = structs.replace(line.row, status=record.status, status_reason=record.reason, updated_ns=record.ts_ns)
        self.strategies[record.strategy] = structs.replace(line, row=row)
        return [row]

    def _line(self, strategy: str) -> StrategyLine:
        line = self.strategies.get(strategy)
        if line is None:
            raise Defect(f"strategy {strategy} was never registered in the journal")
        return line

    def _decision(self, record: r.DecisionTaken) -> list[r.Row]:
        line = self._line(record.strategy)
        if record.number != line.row.decisions + 1:
            raise Defect(f"decision {record.number} of {record.strategy} follows decision {line.row.decisions}")
        row = structs.replace(line.row, decisions=record.number, updated_ns=record.ts_ns)
        events = record.events[-1].sequence if record.events else line.events
        self.strategies[record.strategy] = StrategyLine(row, record.digest, events)
        rows: list[r.Row] = [row]
        for signal in record.signals:
            if signal.execution_status in (SignalStatus.PENDING, SignalStatus.ORDERED):
                self.signals[signal.signal_id] = signal
            rows.append(signal)
        for trade in record.trades:
            if trade.is_open:
                self.trades[trade.trade_id] = trade
            rows.append(trade)
        rows.extend(self._add_orders(record.orders, record.ts_ns))
        rows.extend(record.events)
        return rows

    def _intended(self, record: r.OrdersIntended) -> list[r.Row]:
        if any(order.renews is None for order in record.orders):
            self.exit_decisions += 1
        return self._add_orders(record.orders, record.ts_ns)

    def _add_orders(self, orders: Iterable[Order], now_ns: int) -> list[r.Row]:
        rows: list[r.Row] = []
        for order in orders:
            if self.order(order.client_order_id) is not None:
                raise Defect(f"order {order.client_order_id} exists already")
            rows.append(order)
            if order.is_terminal:
                self._keep(self.ended, order.client_order_id, order)
                continue
            self._index(order)
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

    def _index(self, order: Order) -> None:
        self.orders[order.client_order_id] = order
        if order.purpose is Purpose.EXIT and order.trade_id is not None:
            self.exits[order.trade_id].add(order.client_order_id)
        if order.parent_id is not None:
            self.children[order.parent_id].add(order.client_order_id)
        if order.after_cancel_of and order.status is OrderStatus.INTENDED:
            self.waiting[order.client_order_id] = None
        self._count_working(order, order.open_quantity)

    def _count_working(self, order: Order, change: Decimal) -> None:
        if order.parent_id is None and change:
            key = (order.instrument, order.side)
            self.working[key] = LEDGER.add(self.working.get(key, ZERO), change)

    def _order_changed(self, record: r.OrderChanged) -> list[r.Row]:
        order = self.orders.get(record.client_order_id)
        if order is None:
            raise Defect(f"{record.event} of order {record.client_order_id}, which is not live")
        event = OrderEvent(record.event)
        changes: dict[str, Any] = {"status_reason": record.reason} if record.reason else {}
        if event is OrderEvent.SUBMIT:
            changes["submitted_ns"] = record.ts_ns
        return self._put(order, order_rules.apply(order, event, record.ts_ns, **changes), record.ts_ns)

    def _put(self, before: Order, after: Order, now_ns: int) -> list[r.Row]:
        """Store an order's new version, and carry its end over to its trade and signal."""
        key = after.client_order_id
        self._count_working(after, after.open_quantity - before.open_quantity)
        self.waiting.pop(key, None)  # whatever happened to it, it no longer waits to be sent
        if not after.is_terminal:
            self.orders[key] = after
            return [after]
        self.orders.pop(key, None)
        self._keep(self.ended, key, after)
        if after.trade_id is not None:
            self._drop(self.exits, after.trade_id, key)
        if after.parent_id is not None:
            self._drop(self.children, after.parent_id, key)
        rows: list[r.Row] = [after]
        trade = self.trades.get(after.trade_id) if after.trade_id is not None else None
        if trade is not None and not before.is_terminal:
            rows.extend(
                self._entry_ended(trade, after, now_ns)
                if after.purpose is Purpose.ENTRY
                else self._exit_ended(trade, now_ns)
            )
        return rows

    def _entry_ended(self, trade: Trade, order: Order, now_ns: int) -> list[r.Row]:
        if trade.entry_order_id != order.client_order_id:
            return []  # renewed: another order carries the trade's entry now
        if not trade.entered_quantity:
            failed = trade_rules.move(trade, TradeEvent.FAIL, now_ns)
            return [*self._end_trade(failed), *self._end_signal(trade.signal_id, SignalStatus.FAILED, order.status)]
        if not trade.open_quantity:
            return self._end_trade(trade_rules.move(trade, TradeEvent.CLOSE, now_ns))
        return []

    def _exit_ended(self, trade: Trade, now_ns: int) -> list[r.Row]:
        if trade.open_quantity > ZERO and self._unprotected(trade):
            trade = structs.replace(trade, exits_at_venue=False, version=trade.version + 1, updated_ns=now_ns)
            self.trades[trade.trade_id] = trade
            return [trade, *self._free_claim(trade, now_ns)]
        return self._free_claim(trade, now_ns)

    def _unprotected(self, trade: Trade) -> bool:
        """The venue was to keep its exits and holds none any more, whatever the reason: from here on the monitor does."""
        return trade.exits_at_venue and not self.live_exits(trade.trade_id, attached=True)

    def _free_claim(self, trade: Trade, now_ns: int) -> list[r.Row]:
        if trade.status is not TradeStatus.CLOSING or self.live_exits(trade.trade_id, attached=False):
            return []
        freed = trade_rules.move(trade, TradeEvent.RELEASE, now_ns)
        self.trades[trade.trade_id] = freed
        return [freed]

    def _end_trade(self, trade: Trade) -> list[r.Row]:
        self.trades.pop(trade.trade_id, None)
        self._keep(self.closed, trade.trade_id, trade)
        return [trade]

    def _end_signal(self, signal_id: str | None, status: SignalStatus, why: str) -> list[r.Row]:
        signal = self.signals.pop(signal_id, None) if signal_id is not None else None
        if signal is None:
            return []
        executed = status is SignalStatus.EXECUTED
        return [structs.replace(signal, executed=executed, execution_status=status, status_reason=str(why))]

    @staticmethod
    def _drop(index: defaultdict[str, set[str]], key: str, value: str) -> None:
        held = index.get(key)
        if held is not None:
            held.discard(value)
            if not held:
                del index[key]

    @staticmethod
    def _keep(ring: dict[str, _V], key: str, value: _V) -> None:
        ring.pop(key, None)
        ring[key] = value
        if len(ring) > ENDED_KEPT_MAX:
            del ring[next(iter(ring))]

    # --- venue news ----------------------------------------------------------------------------------------------------

    def _reported(self, record: r.VenueReported) -> list[r.Row]:
        news = record.transaction
        if news.sequence != self.cursor + 1:
            raise Defect(f"venue transaction {news.sequence} follows {self.cursor}: the venue's record has a gap")
        self.cursor = news.sequence
        rows = self._NEWS[news.kind](self, record, news)
        if self.execution is not None:
            venue = self.execution.venue
            rows.append(
                r.VenueCursor(execution=self.execution_id, venue=venue, sequence=news.sequence, updated_ns=record.ts_ns)
            )
        return rows

    def _deposited(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
        self.money = structs.replace(self.money, deposits=self.money.deposits + news.amount)
        return []

    def _order_news(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
        order = self.order(news.client_order_id)
        if order is None:
            return []  # somebody else's order on the same account: only its fills concern us
        event = ORDER_EVENTS[news.kind]
        if not order_rules.allows(order.status, event):
            return []  # a contradiction: it stays in the journal, and the executor halts the account
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

    def _amended(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
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

    def _level_moved(self, order: Order, price: Decimal | None, now_ns: int) -> list[r.Row]:
        """An attached exit is at ``price`` now, and its trade says so: of a stop and a trail, the tighter."""
        trade = self.trades.get(order.trade_id or "")
        if trade is None or order.parent_id is None or price is None:
            return []
        field = "take_profit" if order.type is OrderType.LIMIT else "stop_loss"
        if field == "stop_loss" and not trade_rules.tightens(trade, price):
            return []
        moved = structs.replace(trade, **{field: price}, version=trade.version + 1, updated_ns=now_ns)
        self.trades[trade.trade_id] = moved
        return [moved]

    def _financed(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
        self.money = structs.replace(self.money, financing=self.money.financing + news.amount)
        ref = news.venue_order_id  # on a hedging account the position that it was booked on
        held = [
            trade
            for trade in self.trades.values()
            if trade.symbol == news.instrument and trade.open_quantity and ref in (None, trade.position_ref)
        ]
        if not held:
            return []
        shares = share_out(news.amount, [t.open_quantity for t in held], ledger_step(self.currency))
        rows: list[r.Row] = []
        for trade, share in zip(held, shares, strict=True):
            after = structs.replace(
                trade, financing=trade.financing + share, version=trade.version + 1, updated_ns=record.ts_ns
            )
            self.trades[trade.trade_id] = after
            rows.append(after)
        return rows

    def _margin_called(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
        return []

    def _filled(self, record: r.VenueReported, news: VenueTransaction) -> list[r.Row]:
        fill = news.fill
        if fill is None:
            raise Defect(f"venue transaction {news.sequence} is a fill without a fill")
        self._book_money(fill)
        rows: list[r.Row] = [fill]
        if record.adopted is not None:
            self.trades[record.adopted.trade_id] = record.adopted
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
        key = (fill.instrument, fill.position_ref)
        held = self.positions.get(key) or Position(fill.instrument, ref=fill.position_ref)
        position = held.apply(fill.side, fill.quantity, fill.price).position
        if position.quantity:
            self.positions[key] = position
        else:
            self.positions.pop(key, None)
        self.money = structs.replace(
            self.money, realised=self.money.realised + fill.realised, fees=self.money.fees + fill.fee
        )

    def _allocate(
        self, record: r.VenueReported, fill: Fill, part: trade_rules.Allocation, order: Order | None
    ) -> list[r.Row]:
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
            entry_over=entry is None or entry.purpose is not Purpose.ENTRY,  # adopted: it came with an exit's fill
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
    ) -> list[r.Row]:
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
            entry_position=record.stamp // 2 if first else trade.entry_position,
        )
        if self._unprotected(after):  # a late fill: its exits have ended with the entry
            after = structs.replace(after, exits_at_venue=False)
        self.closed.pop(after.trade_id, None)
        self.trades[after.trade_id] = after
        return [after, *self._end_signal(after.signal_id, SignalStatus.EXECUTED, "")]

    def _stop_moved(self, record: r.StopMoved) -> list[r.Row]:
        trade = self.trades.get(record.trade_id)
        if trade is None:
            return []  # it closed in the meantime: nothing is left to protect
        changes: dict[str, Any] = {"version": trade.version + 1, "updated_ns": record.ts_ns}
        for name in ("stop_loss", "take_profit"):
            if getattr(record, name) is not None:
                changes[name] = getattr(record, name)
        for name in ("best", "worst"):
            if getattr(record, name) is not None:
                changes[f"{name}_price"] = getattr(record, name)
        after = structs.replace(trade, **changes)
        self.trades[after.trade_id] = after
        return [after]

    def _excursion(self, record: r.ExcursionSeen) -> list[r.Row]:
        trade = self.trade(record.trade_id)
        if trade is None:
            return []  # it was closed so long ago that it is history
        changes = {k: v for k, v in (("best_price", record.best), ("worst_price", record.worst)) if v is not None}
        after = structs.replace(trade, version=trade.version + 1, **changes)
        (self.trades if after.trade_id in self.trades else self.closed)[after.trade_id] = after
        return [after]

    def _parameter(self, record: r.ParameterChanged) -> list[r.Row]:
        return [record.change]

    def _snapshot(self, record: r.SnapshotTaken) -> list[r.Row]:
        return [record.snapshot] if record.metrics is None else [record.snapshot, record.metrics]

    def _noted(self, record: r.Record) -> list[r.Row]:
        return []

    _NEWS: ClassVar[dict[TransactionKind, Callable[[Book, r.VenueReported, VenueTransaction], list[r.Row]]]] = {
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

    # --- saving --------------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """The book as bytes, for a checkpoint."""
        state = BookState(
            self.execution,
            self.sequence,
            self.stamp,
            self.cursor,
            self.exit_decisions,
            self.money,
            self.trades_gross,
            list(self.orders.values()),
            list(self.ended.values()),
            list(self.trades.values()),
            list(self.closed.values()),
            list(self.positions.values()),
            list(self.strategies.values()),
            list(self.signals.values()),
        )
        return _STATE_ENCODER.encode(state)

    @staticmethod
    def load(data: bytes) -> Book:
        """The book from a checkpoint; raises ``msgspec`` errors on anything else."""
        state = _STATE_DECODER.decode(data)
        book = Book()
        book.execution, book.sequence, book.stamp, book.cursor = (
            state.execution,
            state.sequence,
            state.stamp,
            state.cursor,
        )
        book.money, book.trades_gross = state.money, state.trades_gross
        book.exit_decisions = state.exit_decisions
        for order in state.orders:
            book._index(order)
        book.ended = {o.client_order_id: o for o in state.ended}
        book.trades = {t.trade_id: t for t in state.trades}
        book.closed = {t.trade_id: t for t in state.closed}
        book.positions = {(p.instrument, p.ref): p for p in state.positions}
        book.strategies = {line.row.strategy: line for line in state.strategies}
        book.signals = {s.signal_id: s for s in state.signals}
        return book


def _made(order: Order) -> tuple[int, int, str]:
    return order.created_ns, order.leg, order.client_order_id


def _slippage(order: Order | None, fill: Fill, quantity: Decimal) -> Decimal:
    """Adverse distance from the price the decision saw, times quantity (quote currency); zero where no price was seen."""
    if order is None:
        return ZERO
    seen = order.reference_price
    if order.type is OrderType.LIMIT:
        seen = order.price
    elif order.type in (OrderType.STOP, OrderType.TRAILING_STOP):
        seen = order.stop_price
    if seen is None:
        return ZERO
    return (fill.price - seen) * fill.side.sign * quantity


ORDER_EVENTS = {
    TransactionKind.ORDER_ACCEPTED: OrderEvent.ACCEPT,
    TransactionKind.ORDER_REJECTED: OrderEvent.REJECT,
    TransactionKind.ORDER_CANCELED: OrderEvent.CANCEL,
    TransactionKind.ORDER_EXPIRED: OrderEvent.EXPIRE,
    TransactionKind.CANCEL_REFUSED: OrderEvent.REFUSE_CANCEL,
}

_HANDLERS = cast(
    "dict[type, Callable[[Book, Any], list[r.Row]]]",
    {
        r.ExecutionStarted: Book._started,
        r.ExecutionClosed: Book._closed,
        r.DaemonStarted: Book._noted,
        r.StrategyRegistered: Book._registered,
        r.StrategyStatusChanged: Book._strategy_status,
        r.DecisionTaken: Book._decision,
        r.OrdersIntended: Book._intended,
        r.OrderChanged: Book._order_changed,
        r.VenueReported: Book._reported,
        r.StopMoved: Book._stop_moved,
        r.ExcursionSeen: Book._excursion,
        r.LatchChanged: Book._latch,
        r.ParameterChanged: Book._parameter,
        r.SnapshotTaken: Book._snapshot,
        r.TickSampled: Book._noted,
        r.Reconciled: Book._noted,
        r.Administered: Book._noted,
    },
)

_STATE_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_STATE_DECODER = msgspec.msgpack.Decoder(BookState)
