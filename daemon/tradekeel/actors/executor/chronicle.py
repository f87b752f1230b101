"""What the log says of an account's trading: trades opened and closed, orders denied and rejected, halts and pauses.

The lines follow from journal entries that are durable, and from nothing else, so the log never says what a crash takes
back; and what was durable before a process began is not told again. An entry that says nothing to people costs a look
into a dictionary. What comes too often is counted: trades beyond so many a second (a replay at full speed closes thousands), and
of one strategy's orders that come to nothing for one reason the first is told at once, the others once a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, ClassVar

from msgspec import Struct

from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import shown_amount, shown_price
from tradekeel.domain.messages import Fill, TransactionKind
from tradekeel.domain.money import ledger, plain
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import Trade
from tradekeel.ports import Say

TRADES_PER_S_MAX = 20
"""Lines of trades in a second; the others are counted."""
SECOND_S = 1.0
COUNT_EVERY_S = 60.0
TROUBLES_MAX = 100
"""Reasons that are told apart; a venue that words each refusal differently must not fill the memory."""
OTHER = "other reasons"
REASON_CHARACTERS_MAX = 80


class Trouble(Struct):
    """Orders of one strategy that came to nothing for one reason: how many since it was last told of."""

    due_s: float
    count: int = 0
    last: str = ""


class Chronicle:
    """One an account; it outlives the executor's incarnations. Times are monotonic seconds."""

    def __init__(self, account: str, currency: str, say: Say, shows: Callable[[str], bool]) -> None:
        self.account = account
        self.currency = currency
        self._say = say
        self._shows = shows
        self._execution = ""
        self._told_to = 0  # journal sequence
        self._open: set[str] = set()  # trades that were told of as open
        self._paused, self._latch = False, Latch.OPEN
        self._lines = 0  # of trades, in the second that ends at:
        self._second_ends_s = 0.0
        self._left_out = {"opened": 0, "closed": 0}
        self._troubles: dict[tuple[str, str], Trouble] = {}
        self.due_s: float | None = None
        """When a count is to be told at the latest; None while there is none."""

    def begin(self, book: Book, entries: Iterable[Entry], now_s: float) -> None:
        """An incarnation goes on from ``book``, which includes ``entries``.

        Of these only what became durable in this process, and whose news its executor did not live to get, is still to be told.
        """
        row = book.execution
        if row is not None and row.execution == self._execution:
            self.tell([entry for entry in entries if entry.sequence > self._told_to], now_s)
        self._execution = "" if row is None else row.execution
        self._told_to = book.sequence
        self._open = {trade.trade_id for trade in book.trades.values() if trade.entered_quantity}
        if row is not None:
            self._paused, self._latch = row.paused, row.latch

    def tell(self, entries: Iterable[Entry], now_s: float) -> None:
        """These are durable."""
        detailed = self._shows("DEBUG")
        for entry in entries:
            self._told_to = entry.sequence
            teller = self._TELLERS.get(type(entry.record))
            if teller is not None:
                teller(self, entry, entry.record, now_s)
            if detailed:
                self._tell_details(entry)

    def tell_counts(self, now_s: float) -> None:
        """What was counted and is due."""
        if now_s >= self._second_ends_s:
            self._tell_left_out()
        for key, trouble in list(self._troubles.items()):
            if now_s >= trouble.due_s:
                self._tell_trouble(key, trouble)
                if trouble.count:
                    trouble.count, trouble.due_s = 0, now_s + COUNT_EVERY_S
                else:
                    del self._troubles[key]  # it has stopped: should it come again, that is news
        self.due_s = min((trouble.due_s for trouble in self._troubles.values()), default=None)
        if any(self._left_out.values()):
            self._due_by(self._second_ends_s)

    def end(self) -> None:
        """The account stops: nothing that was counted stays unsaid."""
        self._tell_left_out()
        for key, trouble in self._troubles.items():
            self._tell_trouble(key, trouble)
        self._troubles.clear()
        self.due_s = None

    def _due_by(self, at_s: float) -> None:
        self.due_s = at_s if self.due_s is None else min(self.due_s, at_s)

    # --- trades ----------------------------------------------------------------------------------------------------------

    def _started(self, entry: Entry, record: r.ExecutionStarted, now_s: float) -> None:
        self._execution = record.row.execution
        self._paused, self._latch = record.row.paused, record.row.latch
        self._open = set() if record.opening is None else {trade.trade_id for trade in record.opening.trades}
        if record.opening is not None:
            count = len(record.opening.trades)
            carried = f" and {count} open trade{'s' if count > 1 else ''} carried over" if count else ""
            balance = f"balance {plain(record.opening.balance)} {self.currency}{carried}"
            text = (
                f"run {record.row.number} of {self.account} begins, with the last one's {balance} (--fresh begins anew)"
            )
            self._say("INFO", text, account=self.account)

    def _reported(self, entry: Entry, record: r.VenueReported, now_s: float) -> None:
        for row in entry.rows:
            if type(row) is not Trade:
                continue
            known = row.trade_id in self._open
            if not known and row.is_open and row.entered_quantity:
                self._open.add(row.trade_id)
                self._tell_trade("opened", row, now_s)
            elif known and not row.is_open:
                self._open.discard(row.trade_id)
                self._tell_trade("closed", row, now_s)
        if record.transaction.kind is TransactionKind.ORDER_REJECTED:
            for row in entry.rows:
                if type(row) is Order and row.client_order_id == record.transaction.client_order_id:
                    self._in_trouble(row, "rejected by the venue", record.transaction.reason, now_s)

    def _tell_trade(self, what: str, trade: Trade, now_s: float) -> None:
        if now_s >= self._second_ends_s:
            self._tell_left_out()
            self._lines, self._second_ends_s = 0, now_s + SECOND_S
        self._lines += 1
        if self._lines > TRADES_PER_S_MAX:
            self._left_out[what] += 1
            self._due_by(self._second_ends_s)
        elif self._shows("INFO"):
            self._say("INFO", _opened(trade) if what == "opened" else self._closed(trade), **self._fields(trade))

    def _tell_left_out(self) -> None:
        counts = [f"{count} more {what}" for what, count in self._left_out.items() if count]
        if counts:
            self._left_out = dict.fromkeys(self._left_out, 0)
            text = f"trades: {', '.join(counts)} within a second, too many for a line each (tradekeel trades)"
            self._say("INFO", text, account=self.account)

    def _closed(self, trade: Trade) -> str:
        size = f"{trade.side} {plain(trade.exited_quantity)} {trade.symbol} at {_price(trade.exit_price, trade.symbol)}"
        with ledger():
            pnl = trade.pnl
        shown = f"pnl {shown_amount(pnl, self.currency)} {self.currency}"
        return f"{_who(trade)} closed {size} by {trade.exit_reason}: {shown}"

    def _fields(self, row: Trade | Order) -> dict[str, str]:
        fields = {"account": self.account, "strategy": row.strategy or "", "correlation_id": row.correlation_id}
        if isinstance(row, Order):
            fields["order_id"] = row.client_order_id
        else:
            fields["order_id"] = row.exit_order_ids[-1] if row.exit_order_ids else row.entry_order_id
        fields["trade_id"] = row.trade_id or ""
        return {name: value for name, value in fields.items() if value}

    # --- orders that come to nothing -------------------------------------------------------------------------------------

    def _intended(self, entry: Entry, record: r.DecisionTaken | r.OrdersIntended, now_s: float) -> None:
        for order in record.orders:
            if order.status is OrderStatus.DENIED:
                self._in_trouble(order, "denied", order.status_reason, now_s)

    def _changed(self, entry: Entry, record: r.OrderChanged, now_s: float) -> None:
        if record.event != OrderEvent.LOSE.value:
            return
        for row in entry.rows:
            if type(row) is Order and row.client_order_id == record.client_order_id:
                self._in_trouble(row, "unknown, and looked up", record.reason, now_s)

    def _in_trouble(self, order: Order, what: str, reason: str, now_s: float) -> None:
        code = (reason.partition(":")[0] if order.status is OrderStatus.DENIED else reason)[:REASON_CHARACTERS_MAX]
        key = (order.strategy or order.source, f"{what}, {code}" if code else what)
        trouble = self._troubles.get(key)
        if trouble is None and len(self._troubles) >= TROUBLES_MAX:
            key = ("", OTHER)
            trouble = self._troubles.get(key)
        if trouble is not None:
            trouble.count += 1
            trouble.last = reason
            return
        self._troubles[key] = Trouble(now_s + COUNT_EVERY_S)
        self._due_by(now_s + COUNT_EVERY_S)
        text = f"{_who(order)}: {order.purpose} order {what}: {_wanted(order)}: {reason}"
        self._say("WARNING", text, **self._fields(order))

    def _tell_trouble(self, key: tuple[str, str], trouble: Trouble) -> None:
        if trouble.count:
            who, what = key
            text = f"{who + ': ' if who else ''}{trouble.count} more orders {what}, within a minute; the last: {trouble.last}"
            self._say("WARNING", text, **{"account": self.account} | ({"strategy": who} if who else {}))

    # --- what may be traded ----------------------------------------------------------------------------------------------

    def _latched(self, entry: Entry, record: r.LatchChanged, now_s: float) -> None:
        why = f"by {record.by}: {record.reason}"
        if record.latch is not self._latch:
            if record.latch is Latch.OPEN:
                self._say("INFO", f"{self.account} is released {why}", account=self.account)
            else:
                text = f"{self.account} is {record.latch.value} {why} (tradekeel release)"
                self._say("WARNING", text, account=self.account)
        if record.paused and not self._paused:
            text = f"{self.account} is paused {why}: no new entries (tradekeel resume)"
            self._say("INFO", text, account=self.account)
        elif self._paused and not record.paused:
            self._say("INFO", f"{self.account} takes entries again {why}", account=self.account)
        self._paused, self._latch = record.paused, record.latch

    # --- everything, for whoever asked for it ----------------------------------------------------------------------------

    def _tell_details(self, entry: Entry) -> None:
        """Orders and fills, one line each."""
        record = entry.record
        what = record.__struct_config__.tag
        if isinstance(record, r.VenueReported):
            what = f"venue: {record.transaction.kind}"
        elif isinstance(record, r.OrderChanged):
            what = f"{record.event}{': ' if record.reason else ''}{record.reason}"
        elif not isinstance(record, r.DecisionTaken | r.OrdersIntended):
            return
        for row in entry.rows:
            if isinstance(row, Fill):
                size = f"{row.side} {plain(row.quantity)} {row.instrument} at {plain(row.price)}, fee {plain(row.fee)}"
                fields = {"order_id": row.client_order_id or "", "correlation_id": record.correlation_id}
                self._say("DEBUG", f"fill {row.fill_id}: {size}", account=self.account, **fields)
            elif isinstance(row, Order):
                text = f"{row.purpose} order is {row.status} ({what}): {_wanted(row)}"
                self._say("DEBUG", text, **self._fields(row))

    _TELLERS: ClassVar[dict[type, Callable[[Any, Entry, Any, float], None]]] = {
        r.ExecutionStarted: _started,
        r.VenueReported: _reported,
        r.DecisionTaken: _intended,
        r.OrdersIntended: _intended,
        r.OrderChanged: _changed,
        r.LatchChanged: _latched,
    }


def _who(row: Trade | Order) -> str:
    return row.strategy or (row.source if isinstance(row, Order) else "no strategy")


def _wanted(order: Order) -> str:
    price = order.price or order.stop_price
    at = "" if price is None else f" at {plain(price)}"
    return f"{order.side} {plain(order.quantity)} {order.instrument} {order.type}{at}"


def _opened(trade: Trade) -> str:
    part = "" if trade.entered_quantity >= trade.quantity else f" of {plain(trade.quantity)}"
    levels = ", ".join(
        f"{name} {plain(level)}"
        for name, level in (("stop", trade.stop_loss), ("target", trade.take_profit))
        if level is not None
    )
    size = f"{trade.side} {plain(trade.entered_quantity)}{part} {trade.symbol}"
    again = " again" if trade.exited_quantity else ""
    return f"{_who(trade)} opened {size}{again} at {_price(trade.entry_price, trade.symbol)}{f' ({levels})' if levels else ''}"


def _price(value: Decimal | None, symbol: str) -> str:
    return "?" if value is None else shown_price(value, symbol)
