"""An executor's core on a desk: decisions in, requests out, and a venue that says exactly what a test tells it to say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.unit.domain.world import EUR, NS, RUN, START_NS, execution_row, strategy_row
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, LookUpOrder, PlaceOrder
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.messages import (
    Decision,
    Enter,
    Exit,
    Fill,
    Liquidity,
    Request,
    Stamp,
    TransactionKind,
    VenueTransaction,
)
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Side
from tradekeel.domain.positions import Position, Quote
from tradekeel.domain.recovery import fold
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch
from tradekeel.domain.ticks import Extremes
from tradekeel.domain.trades import Trade

D = Decimal
K = TransactionKind
BID, ASK = D("1.10000"), D("1.10010")


def buy(quantity: int = 1000, **more: Any) -> Enter:
    """A long entry at the market; prices as text."""
    return _enter(Side.BUY, quantity, more)


def sell(quantity: int = 1000, **more: Any) -> Enter:
    """A short one."""
    return _enter(Side.SELL, quantity, more)


def _enter(side: Side, quantity: int, more: dict[str, Any]) -> Enter:
    fields: dict[str, Any] = {name: D(value) if name in _PRICES else value for name, value in more.items()}
    return Enter(instrument=fields.pop("instrument", EUR), side=side, quantity=D(quantity), **fields)


_PRICES = ("stop_loss", "take_profit", "trailing_distance", "price", "stop_price", "confidence")


def leave(trade: Trade | None = None, quantity: int | None = None, **more: Any) -> Exit:
    """An exit of one trade, or of all in the order they were opened."""
    trade_id = None if trade is None else trade.trade_id
    return Exit(instrument=EUR, trade_id=trade_id, quantity=None if quantity is None else D(quantity), **more)


class ExecutorDesk:
    """An account with 10,000 USD, strategies "a" and "b", and a quote of 1.10000/1.10010, at tick 1."""

    def __init__(
        self,
        *,
        at_venue: bool = True,
        hedging: bool = False,
        replayable: bool = True,
        limits: RiskLimits | None = None,
        send_within_ns: int | None = None,
        symbols: tuple[str, ...] = (EUR,),
    ) -> None:
        self.terms = AccountTerms(
            account="paper-1",
            venue="paper",
            currency="USD",
            instruments={symbol: CATALOGUE[symbol] for symbol in symbols},
            exits_at_venue=at_venue,
            hedging=hedging,
            replayable=replayable,
            live=not replayable,
            send_within_ns=send_within_ns,
        )
        self.limits = limits or RiskLimits()
        self.journal: list[bytes] = []
        self.net: dict[str | None, Position] = {}
        self.balance = ZERO
        self.sequence = 0
        self.position = 1
        self._begin(Book())
        self.keep(self.core.note(r.ExecutionStarted(ts_ns=START_NS, row=execution_row())))
        for name in ("a", "b"):
            self.keep(self.core.note(r.StrategyRegistered(ts_ns=START_NS, row=strategy_row(name))))
        self.core.ready = True
        self.news(K.DEPOSITED, amount=D(10_000))

    def _begin(self, book: Book) -> None:
        self.book = book
        self.core = ExecutorCore(book, self.terms, RiskGate(self.limits))
        self.numbers = {name: line.row.decisions for name, line in book.strategies.items()}
        self.core.quotes[EUR] = Quote(BID, ASK, START_NS)

    def begin_again(self) -> None:
        """The process ends and another begins from the journal, and has not asked about anything yet."""
        recovered = fold(Book(), [(n, r.decode_record(row)) for n, row in enumerate(self.journal, 1)])
        self._begin(recovered.book)
        self.core.resume({}, 0, recovered.entries)

    def restart(self) -> Effects:
        """The process ends and another begins from the journal; what it asks about."""
        self.begin_again()
        effects = self.keep(self.core.recover(self.now_ns))
        self.core.ready = True
        return effects

    @property
    def now_ns(self) -> int:
        return START_NS + self.position * NS

    # --- our side

    def keep(self, effects: Effects) -> Effects:
        """Make a step durable."""
        for entry in effects.entries:
            self.journal.append(r.encode_record(entry.record))
        return effects

    def decide(self, *requests: Request, strategy: str = "a", number: int | None = None, **more: Any) -> Effects:
        """The next decision of a strategy."""
        return self.keep(
            self.core.decide(self.decision(*requests, strategy=strategy, number=number, **more), self.now_ns)
        )

    def decision(self, *requests: Request, strategy: str = "a", number: int | None = None, **more: Any) -> Decision:
        if number is None:
            number = self.numbers.get(strategy, 0) + 1
        self.numbers[strategy] = number
        return Decision(
            strategy=strategy,
            number=number,
            position=self.position,
            inbox=self.book.sequence,
            ts_ns=self.now_ns,
            requests=requests,
            state=b"state",
            **({"stamp": Stamp.after(self.position)} | more),
        )

    def tick(self, bid: str, ask: str | None = None) -> Effects:
        """A tick passes everybody."""
        self.position += 1
        low = D(bid)
        high = low + D("0.00010") if ask is None else D(ask)
        self.core.at(Stamp.before(self.position))
        quote = Quote(low, high, self.now_ns)
        return self.keep(self.core.see(self.position, {EUR: quote}, {EUR: Extremes(low, low, high, high)}, self.now_ns))

    # --- the venue's side

    def news(self, kind: TransactionKind, order: Order | None = None, **fields: Any) -> Effects:
        """One entry of the venue's record arrives."""
        return self.keep(self.core.news([self.entry(kind, order, **fields)], self.now_ns))

    def entry(self, kind: TransactionKind, order: Order | None = None, **fields: Any) -> VenueTransaction:
        """The next entry, not yet told."""
        self.sequence += 1
        self.balance += fields.get("amount", ZERO)
        known: dict[str, Any] = {
            "sequence": self.sequence,
            "kind": kind,
            "ts_ns": self.now_ns,
            "position": self.position,
        }
        if order is not None:
            known |= {"client_order_id": order.client_order_id, "instrument": order.instrument}
            if kind is not K.CANCEL_REFUSED:
                known["venue_order_id"] = f"v-{order.client_order_id[-6:]}"
        return VenueTransaction(**(known | {"balance": self.balance} | fields))

    def accept(self, *orders: Order, **fields: Any) -> Effects:
        """The venue has them."""
        entries = [self.entry(K.ORDER_ACCEPTED, order, **({"quantity": order.quantity} | fields)) for order in orders]
        return self.keep(self.core.news(entries, self.now_ns))

    def fill(
        self, order: Order | None, quantity: int | None = None, price: str | None = None, **fields: Any
    ) -> Effects:
        """A fill of ``order``, whole unless told otherwise, at the quote unless told otherwise."""
        return self.keep(self.core.news([self.fill_entry(order, quantity, price, **fields)], self.now_ns))

    def fill_entry(
        self, order: Order | None, quantity: int | None = None, price: str | None = None, **fields: Any
    ) -> VenueTransaction:
        side = order.side if order is not None else fields.pop("side")
        units = D(quantity) if quantity is not None else order.quantity if order is not None else ZERO
        level = D(price) if price is not None else ASK if side is Side.BUY else BID
        ref = fields.pop("ref", None)
        fee = fields.pop("fee", ZERO)
        booking = self.net.get(ref, Position(EUR, ref=ref)).apply(side, units, level)
        self.net[ref] = booking.position
        with ledger():
            self.balance += booking.realised - fee
        number = self.sequence + 1
        client_id = order.client_order_id if order is not None else None
        fill = Fill(
            fill_id=str(number),
            account="paper-1",
            venue="paper",
            instrument=EUR,
            side=side,
            quantity=units,
            price=level,
            fee=fee,
            realised=booking.realised,
            rate=D(1),
            liquidity=Liquidity.TAKER,
            ts_ns=self.now_ns,
            venue_order_id=f"v-{client_id}",
            client_order_id=client_id,
            venue_sequence=number,
            position_ref=ref,
        )
        return self.entry(K.ORDER_FILLED, order, fill=fill, quantity=units, price=level, **fields)

    # --- shortcuts to a state of affairs

    def open(
        self, enter: Enter | None = None, strategy: str = "a", price: str | None = None, ref: str | None = None
    ) -> Trade:
        """A trade that is open, its attached exits working."""
        placed = placed_in(self.decide(enter or buy(), strategy=strategy))
        entry = self.order(placed[0])
        children = self.children(entry)
        self.accept(entry)
        self.fill(entry, price=price, ref=ref)
        for child in children:
            self.accept(child, price=child.price if child.price is not None else child.stop_price)
        trade = self.book.trade(entry.trade_id)
        assert trade is not None
        return trade

    def order(self, client_order_id: str) -> Order:
        """An order as the book has it now."""
        found = self.book.order(client_order_id)
        assert found is not None
        return found

    def trade(self, trade: Trade) -> Trade:
        """A trade as the book has it now."""
        found = self.book.trade(trade.trade_id)
        assert found is not None
        return found

    def children(self, entry: Order) -> list[Order]:
        """The live attached exits of an entry, by leg."""
        ids = self.book.children.get(entry.client_order_id, ())
        return sorted((self.book.orders[i] for i in ids), key=lambda child: child.leg)

    def exits(self, trade: Trade, attached: bool = False) -> list[Order]:
        """The live exits of a trade."""
        return self.book.live_exits(trade.trade_id, attached=attached)

    def latch(self) -> Latch:
        """What may be traded now."""
        assert self.book.execution is not None
        return self.book.execution.latch

    def paused(self) -> bool:
        """Whether entries are paused."""
        assert self.book.execution is not None
        return self.book.execution.paused

    def statuses(self) -> dict[str, OrderStatus]:
        """Every known order's status."""
        return {k: o.status for k, o in (self.book.orders | self.book.ended).items()}


def placed_in(effects: Effects) -> list[str]:
    """Client ids that are to be placed."""
    return [ask.request.client_order_id for ask in effects.requests if isinstance(ask, PlaceOrder)]


def cancels_in(effects: Effects) -> list[str]:
    """Client ids that are to be canceled."""
    return [ask.client_order_id for ask in effects.requests if isinstance(ask, CancelOrder)]


def lookups_in(effects: Effects) -> list[str]:
    """Client ids that are to be looked up."""
    return [ask.client_order_id for ask in effects.requests if isinstance(ask, LookUpOrder)]


def amends_in(effects: Effects) -> list[tuple[str, str]]:
    """Client ids that are to be moved, and where to."""
    return [(ask.client_order_id, ask.price) for ask in effects.requests if isinstance(ask, AmendOrder)]


def records_in(effects: Effects) -> list[str]:
    """The types of a step's records; for changes of orders, the event."""
    return [
        e.record.event if isinstance(e.record, r.OrderChanged) else r.record_type(e.record) for e in effects.entries
    ]


__all__ = ["ASK", "BID", "EUR", "RUN", "D", "ExecutorDesk", "K", "OrderStatus", "Side"]
