"""What a follower of the journal keeps: the account as it stood at one journal entry.

Strategists and the monitor do not own the books. They read journal entries from their own cursor and keep a light
view: the open trades and live orders that concern them, positions, balance, latches. An entry comes with the rows it
changed, so following costs a few dictionary writes; a view is always *as of* its inbox, which is what lets a strategy
be replayed exactly.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import TransactionKind
from tradekeel.domain.money import LEDGER, ZERO
from tradekeel.domain.orders import Order
from tradekeel.domain.positions import Position, PositionKey, hold
from tradekeel.domain.rows import ExecutionRow, Latch, StrategyRow, StrategyStatus
from tradekeel.domain.trades import Trade


class View(Struct):
    """See the module. ``strategy`` None follows the whole account."""

    strategy: str | None
    inbox: int = 0
    balance: Decimal = ZERO
    paused: bool = False
    latch: Latch = Latch.OPEN
    status: StrategyStatus = StrategyStatus.ACTIVE
    decisions: int = 0
    trades: dict[str, Trade] = {}
    orders: dict[str, Order] = {}
    positions: dict[PositionKey, Position] = {}
    ending: bool = False  # the run is over: nothing is sent any more but cancels
    renewed: set[str] = set()  # never-sent orders whose decision was taken again: no news for the strategy

    @staticmethod
    def of(book: Book, strategy: str | None) -> View:
        """The view at the book's present sequence."""
        row = book.execution
        line = book.strategies.get(strategy) if strategy is not None else None
        view = View(
            strategy=strategy,
            inbox=book.sequence,
            balance=book.money.balance,
            trades={k: t for k, t in book.trades.items() if strategy is None or t.strategy == strategy},
            orders={k: o for k, o in book.orders.items() if strategy is None or o.strategy == strategy},
            positions=dict(book.positions),
            ending=book.ending,
        )
        if row is not None:
            view.paused, view.latch = row.paused, row.latch
        if line is not None:
            view.status, view.decisions = line.row.status, line.row.decisions
        return view

    def follow(self, entry: Entry) -> None:
        """Move on by one entry."""
        self.inbox = entry.sequence
        record = entry.record
        if isinstance(record, r.VenueReported):
            self._money(record, entry.moved)
        elif isinstance(record, r.ExecutionStarted) and record.opening is not None:
            self.balance = record.opening.balance
            self.positions = {(p.instrument, p.ref): p for p in record.opening.positions}
        elif isinstance(record, r.OrdersIntended) and self.strategy is not None:
            self.renewed.update(o.renews for o in record.orders if o.renews is not None)
        elif isinstance(record, r.ExecutionEnding):
            self.ending = True
        for row in entry.rows:
            kind = type(row)
            if kind is Order:
                self._order(row)  # type: ignore[arg-type]  # narrowed by the exact class
            elif kind is Trade:
                self._trade(row)  # type: ignore[arg-type]  # likewise
            elif kind is ExecutionRow:
                self.paused, self.latch = row.paused, row.latch  # type: ignore[union-attr]  # likewise
            elif kind is StrategyRow and row.strategy == self.strategy:  # type: ignore[union-attr]  # likewise
                self.status, self.decisions = row.status, row.decisions  # type: ignore[union-attr,assignment]  # likewise

    def _order(self, order: Order) -> None:
        if self.strategy is not None and order.strategy != self.strategy:
            return
        if order.is_terminal:
            self.orders.pop(order.client_order_id, None)
        else:
            self.orders[order.client_order_id] = order

    def _trade(self, trade: Trade) -> None:
        if self.strategy is not None and trade.strategy != self.strategy:
            return
        if trade.is_open:
            self.trades[trade.trade_id] = trade
        else:
            self.trades.pop(trade.trade_id, None)

    def _money(self, record: r.VenueReported, moved: Position | None) -> None:
        news = record.transaction
        fill = news.fill
        if fill is not None:
            if record.allocations:  # a fill of which no trade gets a share was told before
                self.balance = LEDGER.subtract(LEDGER.add(self.balance, fill.realised), fill.fee)
        elif news.kind in (TransactionKind.DEPOSITED, TransactionKind.FINANCED):
            self.balance = LEDGER.add(self.balance, news.amount)
        if moved is not None:
            hold(self.positions, moved)

    def net_positions(self) -> dict[str, Position]:
        """Net position an instrument: the sum over references on a hedging account."""
        held = self.positions.values()
        net = {position.instrument: position for position in held if position.ref is None}
        for position in held:
            if position.ref is None:
                continue
            symbol = position.instrument
            known = net.get(symbol) or Position(symbol)
            net[symbol] = Position(symbol, known.quantity + position.quantity, known.cost + position.cost)
        return net
