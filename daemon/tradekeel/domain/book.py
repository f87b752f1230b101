"""The books of one execution: a fold of its journal, and nothing else.

:meth:`Book.apply` is the only thing that changes a book. It takes one journal record and returns the rows that
changed, which are the projections. The executor applies what it decides, recovery applies what it reads, ``verify``
applies everything from the first record on and compares: all three run this code, so they cannot drift apart.

The book keeps what may still change: live orders, open trades, and a bounded tail of ended ones for late fills. Its
size follows the open business, not the history.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, cast

from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.bookadmin import AdminFold
from tradekeel.domain.booknews import ORDER_EVENTS
from tradekeel.domain.bookstate import ENDED_KEPT_MAX, STATE_DECODER, BookState, Money, PositionKey, StrategyLine
from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import SignalStatus
from tradekeel.domain.money import ledger
from tradekeel.domain.rows import Latch, Row, StrategyStatus
from tradekeel.errors import Defect


class Book(AdminFold):
    """See the module. Change it through :meth:`apply` only."""

    def apply(self, record: r.Record, sequence: int | None = None) -> list[Row]:
        """Fold one record; returns the rows it changed, latest versions, in a deterministic order."""
        handler = _HANDLERS.get(type(record))
        if handler is None:
            raise Defect(f"no fold for journal record {type(record).__name__}")
        self.moved = None
        with ledger():
            rows = handler(self, record)
        self.sequence = sequence if sequence is not None else self.sequence + 1
        self.stamp = max(self.stamp, record.stamp)
        return rows

    def entry(self, record: r.Record, sequence: int | None = None) -> Entry:
        """Fold one record, and give it as its followers get it."""
        rows = tuple(self.apply(record, sequence))
        return Entry(self.sequence, record, rows, self.moved)

    def _started(self, record: r.ExecutionStarted) -> list[Row]:
        self.execution = record.row
        opening = record.opening
        if opening is None:
            return [record.row]
        self.cursor = opening.cursor
        self.money = Money(deposits=opening.balance)
        self._hold_positions(opening.positions)
        for trade in opening.trades:
            self._hold(trade)
        self.strategies = {row.strategy: StrategyLine(row) for row in opening.strategies}
        return [record.row, *opening.strategies, *opening.trades]

    def _change_execution(self, **changes: Any) -> list[Row]:
        if self.execution is None:
            raise Defect("a record came before execution_started")
        self.execution = structs.replace(self.execution, **changes)
        return [self.execution]

    def _ending(self, record: r.ExecutionEnding) -> list[Row]:
        self.ending = True
        return []

    def _closed(self, record: r.ExecutionClosed) -> list[Row]:
        return self._change_execution(status="closed", closed_ns=record.ts_ns, close_reason=record.reason)

    def _latch(self, record: r.LatchChanged) -> list[Row]:
        before = self.execution
        reason = record.reason
        if before is not None and before.latch is record.latch is not Latch.OPEN:
            reason = before.latch_reason  # who pauses an account that is held says nothing of why it is held
        rows = self._change_execution(paused=record.paused, latch=record.latch, latch_reason=reason)
        if before is not None and before.latch is not record.latch and Latch.HALTED in (before.latch, record.latch):
            self.counted_since = (
                f"{self.cursor}/{record.ts_ns}"  # what the venue had told of by then is never the same again
            )
        self.flattened = record.paused and (record.flatten or self.flattened)
        status = StrategyStatus.PAUSED if record.paused else StrategyStatus.ACTIVE
        for strategy in record.strategies:
            rows.extend(self._set_status(strategy, status, record.reason if record.paused else "", record.ts_ns))
        return rows

    def _registered(self, record: r.StrategyRegistered) -> list[Row]:
        known = self.strategies.get(record.row.strategy)
        comes = known is None or known.row.status in (StrategyStatus.DRAFT, StrategyStatus.STOPPED)
        joined = self.sequence + 1 if comes and record.stamp else 0
        if known is None:
            self.strategies[record.row.strategy] = StrategyLine(record.row, joined=joined)
            return [record.row]
        row = structs.replace(record.row, decisions=known.row.decisions)
        self.strategies[row.strategy] = structs.replace(known, row=row, joined=joined if comes else known.joined)
        return [row]

    def _strategy_status(self, record: r.StrategyStatusChanged) -> list[Row]:
        return self._set_status(record.strategy, record.status, record.reason, record.ts_ns)

    def _set_status(self, strategy: str, status: StrategyStatus, reason: str, ts_ns: int) -> list[Row]:
        line = self._line(strategy)
        row = structs.replace(line.row, status=status, status_reason=reason, updated_ns=ts_ns)
        self.strategies[strategy] = structs.replace(line, row=row)
        return [row]

    def _line(self, strategy: str) -> StrategyLine:
        line = self.strategies.get(strategy)
        if line is None:
            raise Defect(f"strategy {strategy} was never registered in the journal")
        return line

    def _decision(self, record: r.DecisionTaken) -> list[Row]:
        line = self._line(record.strategy)
        if record.number != line.row.decisions + 1:
            raise Defect(f"decision {record.number} of {record.strategy} follows decision {line.row.decisions}")
        row = structs.replace(line.row, decisions=record.number, updated_ns=record.ts_ns)
        events = record.events[-1].sequence if record.events else line.events
        self.strategies[record.strategy] = StrategyLine(row, record.digest, events)
        self.turn = r.Turn(
            stamp=record.stamp, sequence=self.sequence + 1, strategy=record.strategy, told_to=record.told_to
        )
        rows: list[Row] = [row]
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

    def _intended(self, record: r.OrdersIntended) -> list[Row]:
        if any(order.renews is None for order in record.orders):
            self.exit_decisions += 1
        return self._add_orders(record.orders, record.ts_ns)

    def _stop_moved(self, record: r.StopMoved) -> list[Row]:
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

    def _excursion(self, record: r.ExcursionSeen) -> list[Row]:
        trade = self.trade(record.trade_id)
        if trade is None:
            return []  # it was closed so long ago that it is history
        changes = {k: v for k, v in (("best_price", record.best), ("worst_price", record.worst)) if v is not None}
        after = structs.replace(trade, version=trade.version + 1, **changes)
        (self.trades if after.trade_id in self.trades else self.closed)[after.trade_id] = after
        return [after]

    def _parameter(self, record: r.ParameterChanged) -> list[Row]:
        return [record.change]

    def _snapshot(self, record: r.SnapshotTaken) -> list[Row]:
        return [record.snapshot] if record.metrics is None else [record.snapshot, record.metrics]

    def _sampled(self, record: r.TickSampled) -> list[Row]:
        self.sampled = max(self.sampled, record.position)
        return []

    def _noted(self, record: r.Record) -> list[Row]:
        return []

    @staticmethod
    def load(data: bytes) -> Book:
        """The book from a checkpoint; raises ``msgspec`` errors on anything else."""
        state = STATE_DECODER.decode(data)
        book = Book()
        book.execution, book.sequence, book.stamp, book.cursor = (
            state.execution,
            state.sequence,
            state.stamp,
            state.cursor,
        )
        book.money, book.trades_gross = state.money, state.trades_gross
        book.exit_decisions, book.sampled = state.exit_decisions, state.sampled
        for order in state.orders:
            book._index(order)
        book.ended = {o.client_order_id: o for o in state.ended}
        for trade in state.trades:
            book._hold(trade)
        book.closed = {t.trade_id: t for t in state.closed}
        book._hold_positions(state.positions)
        book.strategies = {line.row.strategy: line for line in state.strategies}
        book.signals = {s.signal_id: s for s in state.signals}
        book.fill_ids = state.fill_ids
        book.turn, book.ending = state.turn, state.ending
        book.counted_since = state.counted_since
        book.flattened, book.cancels_wanted = state.flattened, dict.fromkeys(state.cancels_wanted)
        return book

    def copy(self) -> Book:
        """The same book, to be folded further by itself. What both hold is frozen, and shared."""
        twin = Book()
        for name, value in vars(self).items():
            held = copy(value) if isinstance(value, dict) else value
            setattr(twin, name, held)
        for index in (twin.exits, twin.children, twin.at_position):
            index.update({key: set(members) for key, members in index.items()})
        twin.freed_by.update({key: dict(waiting) for key, waiting in twin.freed_by.items()})
        return twin


_HANDLERS = cast(
    "dict[type, Callable[[Book, Any], list[Row]]]",
    {
        r.ExecutionStarted: Book._started,
        r.ExecutionEnding: Book._ending,
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
        r.TickSampled: Book._sampled,
        r.Reconciled: Book._noted,
        r.Administered: Book._administered,
    },
)


__all__ = ["ENDED_KEPT_MAX", "ORDER_EVENTS", "Book", "BookState", "Money", "PositionKey", "StrategyLine"]
