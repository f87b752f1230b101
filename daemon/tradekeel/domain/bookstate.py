"""What a book holds of an execution, and how it is read and saved.

It keeps what may still change: live orders, open trades, and a bounded tail of ended ones for late fills. Its size
follows the open business, not the history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Struct

from tradekeel.domain import records as r
from tradekeel.domain.ids import Numbering
from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.money import LEDGER, ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Purpose, Side, in_order_of_decision
from tradekeel.domain.positions import Position
from tradekeel.domain.rows import ExecutionRow, StrategyRow
from tradekeel.domain.trades import Trade
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

    row: StrategyRow
    digest: str = ""  # of the last decision
    events: int = 0  # number of its last strategy event
    joined: int = 0  # journal sequence at which it came (back) to a run under way; 0: it was there from the start


class BookState(Struct):
    """A book as it is saved in a checkpoint."""

    execution: ExecutionRow | None
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
    fill_ids: dict[str, tuple[str, ...]] = {}
    sampled: int = 0
    flattened: bool = False
    cancels_wanted: list[str] = []
    turn: r.Turn | None = None
    ending: bool = False
    counted_since: str = ""


class OpenBooks:
    """The state of one execution. Read its attributes freely; only a fold changes them."""

    def __init__(self) -> None:
        self.execution: ExecutionRow | None = None
        self.sequence = 0  # last journal record applied
        self.stamp = 0
        self.cursor = 0  # last venue transaction booked
        self.sampled = 0  # feed position of the last tick in the journal
        self.exit_decisions = 0  # exits that the monitor or a person decided: the number of the last
        self.counted_since = ""  # the last halt or release: see :attr:`numbering`
        self.money = Money()
        self.trades_gross = ZERO  # realised by trades, before fees and financing: what attribution compares
        self.orders: dict[str, Order] = {}  # live, oldest first; a renewed one in its place
        self.ended: dict[str, Order] = {}  # the last few that ended
        self.trades: dict[str, Trade] = {}  # open, oldest first
        self.closed: dict[str, Trade] = {}  # the last few that closed
        self.positions: dict[PositionKey, Position] = {}
        self.moved: Position | None = None  # by the fill that the last record told of
        self.strategies: dict[str, StrategyLine] = {}
        self.signals: dict[str, Signal] = {}  # not yet executed or failed
        self.fill_ids: dict[str, tuple[str, ...]] = {}  # of the orders that were filled last, by instrument and order
        self.waiting: dict[str, None] = {}  # exits that are held until their siblings' end is confirmed, oldest first
        self.flattened = False  # everything was to be closed, and nobody has resumed since
        self.ending = False  # the run is over: nothing is sent any more but cancels
        self.turn: r.Turn | None = None  # the last decision
        self.cancels_wanted: dict[
            str, None
        ] = {}  # unknown orders that are to end as soon as the venue has told of them
        self.freed_by: defaultdict[str, dict[str, None]] = defaultdict(dict)  # order id -> what waits for its end
        self.exits: defaultdict[str, set[str]] = defaultdict(set)  # trade id -> live exits, attached ones included
        self.children: defaultdict[str, set[str]] = defaultdict(set)  # entry id -> live attached exits
        self.at_position: defaultdict[str, set[str]] = defaultdict(set)  # position's reference -> open trades
        self.working: dict[tuple[str, Side], Decimal] = {}  # what live orders, attached exits excepted, may still fill
        self._nets: dict[str, Decimal] | None = (
            None  # by instrument; None: a position has changed since they were summed
        )

    @property
    def execution_id(self) -> str:
        """The execution's id; a book without its first record has none."""
        if self.execution is None:
            raise Defect("the book has no execution yet")
        return self.execution.execution

    @property
    def numbering(self) -> Numbering:
        """In which decisions are counted now."""
        return Numbering(self.execution_id, self.counted_since)

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

    def knows_fill(self, fill: Fill) -> bool:
        """Whether this fill was booked before: the same instrument, order and fill id, whatever entry tells of it."""
        return fill.fill_id in self.fill_ids.get(_order_key(fill), ())

    def _remember_fill(self, fill: Fill) -> None:
        key = _order_key(fill)
        self._keep(self.fill_ids, key, (*self.fill_ids.get(key, ()), fill.fill_id))

    def live_exits(self, trade_id: str, attached: bool | None = None) -> list[Order]:
        """Live exits of a trade; ``attached`` chooses venue-held protective ones, or the others: entries that turn it, too."""
        found = sorted((self.orders[i] for i in self.exits.get(trade_id, ())), key=in_order_of_decision)
        return found if attached is None else [o for o in found if (o.parent_id is not None) is attached]

    def closable(self, trade: Trade) -> Decimal:
        """What an exit may still ask for: held, less what live, unsent and unknown exits of others already may take.

        An entry that turns may take all of it: how much of its fills goes to which trade is not fixed before they come.
        """
        taken = sum((o.open_quantity for o in self.live_exits(trade.trade_id, attached=False)), ZERO)
        return max(trade.open_quantity - taken, ZERO)

    def is_to_be_canceled(self, client_order_id: str) -> bool:
        """Whether a live order's cancel was asked for, and neither answered nor withdrawn."""
        order = self.orders.get(client_order_id)
        asked = order is not None and order.status is OrderStatus.CANCEL_REQUESTED
        return asked or client_order_id in self.cancels_wanted

    def trades_at(self, position_ref: str | None) -> Iterator[Trade]:
        """The open trades of a hedging account's position, oldest first; None stands for all positions."""
        if position_ref is None:
            yield from self.trades.values()
            return
        here = self.at_position.get(position_ref, ())
        if len(here) > 1:  # seldom, and then in the order of all trades
            yield from (trade for trade in self.trades.values() if trade.trade_id in here)
        else:
            yield from (self.trades[trade_id] for trade_id in here)

    def nets(self) -> Mapping[str, Decimal]:
        """The signed net quantity of each instrument that is held, over all its positions.

        Summed anew after a change rather than kept up to date: its digits then are those of the positions that there are,
        whichever there were before, and stay the same after a restart.
        """
        if self._nets is None:
            self._nets = {}
            for (symbol, _), position in self.positions.items():
                self._nets[symbol] = LEDGER.add(self._nets.get(symbol, ZERO), position.quantity)
        return self._nets

    def net(self, instrument: str) -> Decimal:
        """The signed net quantity of an instrument over all positions."""
        return self.nets().get(instrument, ZERO)

    @property
    def attribution(self) -> Decimal:
        """What netting booked differently from the trades: realised by the account less realised by trades."""
        with ledger():
            return self.money.realised - self.trades_gross

    def _hold(self, trade: Trade) -> None:
        """Store an open trade where it, or the position that it belongs to, may be new."""
        self.trades[trade.trade_id] = trade
        if trade.position_ref is not None:
            self.at_position[trade.position_ref].add(trade.trade_id)

    def _hold_positions(self, positions: Iterable[Position]) -> None:
        """These are the positions that there are."""
        self.positions = {(p.instrument, p.ref): p for p in positions}
        self._nets = None

    def _index(self, order: Order) -> None:
        if order.renews in self.orders:
            self._take_place(order)
        else:
            self.orders[order.client_order_id] = order
        if order.purpose is Purpose.EXIT and order.trade_id is not None:
            self.exits[order.trade_id].add(order.client_order_id)
        elif order.closes:
            for trade_id in order.closes:
                self.exits[trade_id].add(order.client_order_id)
        if order.parent_id is not None:
            self.children[order.parent_id].add(order.client_order_id)
        if order.after_cancel_of and order.status is OrderStatus.INTENDED:
            self.waiting[order.client_order_id] = None
            for sibling in order.after_cancel_of:
                self.freed_by[sibling][order.client_order_id] = None
        self._count_working(order, order.open_quantity)

    def _take_place(self, order: Order) -> None:
        """A renewed order stands where the one stands that it renews: after a restart, what was decided first goes out first."""
        orders = list(self.orders.items())
        self.orders.clear()
        for key, known in orders:
            self.orders[key] = known
            if key == order.renews:
                self.orders[order.client_order_id] = order

    def _count_working(self, order: Order, change: Decimal) -> None:
        if order.parent_id is None and change:
            key = (order.instrument, order.side)
            self.working[key] = LEDGER.add(self.working.get(key, ZERO), change)

    def _waits_no_more(self, order: Order) -> None:
        del self.waiting[order.client_order_id]
        for sibling in order.after_cancel_of:
            waiting = self.freed_by[sibling]
            waiting.pop(order.client_order_id, None)
            if not waiting:
                del self.freed_by[sibling]

    def _drop_exit(self, order: Order) -> None:
        """An order is no live exit of anything any more."""
        if order.trade_id is not None:
            self._drop(self.exits, order.trade_id, order.client_order_id)
        for trade_id in order.closes:
            self._drop(self.exits, trade_id, order.client_order_id)

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
            self.fill_ids,
            self.sampled,
            self.flattened,
            list(self.cancels_wanted),
            self.turn,
            self.ending,
            self.counted_since,
        )
        return STATE_ENCODER.encode(state)


def _order_key(fill: Fill) -> str:
    return f"{fill.instrument} {fill.venue_order_id or fill.client_order_id}"


STATE_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


STATE_DECODER = msgspec.msgpack.Decoder(BookState)
