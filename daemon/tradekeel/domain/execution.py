"""The executor's core: decisions become intents, venue news becomes books, and every doubt becomes a question.

One instance owns the book of one account. Each public method is one step: it decides, applies its records to the book
at once (the core runs ahead of the disk), and returns :class:`~tradekeel.domain.effects.Effects`. The shell makes
records, rows and checkpoints durable in one transaction and only then performs the requests, in order.

Three parties may want out of one trade: its strategy, the monitor, a person. The first takes the claim: what a later
one may ask for is what is held less what live, unsent and unknown exits may already take (:meth:`Book.closable`).
Protective orders that the venue holds are cancelled first, and their end is confirmed before the exit takes their
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec
from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.allocation import allocate
from tradekeel.domain.book import ORDER_EVENTS, Book
from tradekeel.domain.effects import (
    AmendOrder,
    CancelOrder,
    Effects,
    LookUpOrder,
    PlaceOrder,
    VenueAsk,
)
from tradekeel.domain.ids import content_digest
from tradekeel.domain.intents import (
    ATTEMPTS_MAX,
    AccountTerms,
    Bracket,
    ExitWish,
    bracket,
    exit_order,
    order_request,
    renewed,
)
from tradekeel.domain.memory import PriceMemory
from tradekeel.domain.messages import (
    Cancel,
    Decision,
    Emit,
    Enter,
    Exit,
    MoveStop,
    Signal,
    SignalStatus,
    Stamp,
    TransactionKind,
    VenueTransaction,
)
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import (
    Order,
    OrderEvent,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    allows,
    contradicts_proof,
)
from tradekeel.domain.positions import Quote, Rate, conversion_path, rate_along
from tradekeel.domain.risk import RiskGate, pending_of, risk_reward
from tradekeel.domain.risk_view import Denial, RiskView
from tradekeel.domain.sessions import session_at
from tradekeel.domain.ticks import Extremes
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, tightens
from tradekeel.domain.view import Entry
from tradekeel.errors import Defect

ACCOUNT_DECIDER = "#account"
"""Who decided an order that no strategy decided; part of its id."""

_DIGEST = msgspec.msgpack.Encoder(decimal_format="string")


class Equity(msgspec.Struct, frozen=True):
    """What the monitor last said about the account: the gate's measure of loss and drawdown."""

    equity: Decimal
    day_start: Decimal
    peak: Decimal


class Draft(msgspec.Struct):
    """What one decision comes to, while its requests are gone through."""

    leg: int  # number of the next exit leg; entries use the number of their request
    signals: list[Signal] = []
    orders: list[Order] = []
    trades: list[Trade] = []
    taken: list[Order] = []  # entries of this very decision count as pending for the next one
    claimed: dict[str, Decimal] = {}  # trade id to what exits of this very decision may take
    waits_for: dict[str, dict[str, None]] = {}  # instrument to the siblings that its exits wait for


class Asker(NamedTuple):
    """Who asks for an exit, and as which leg of which decision; when."""

    source: str  # strategy, monitor, operator
    decider: str
    number: int
    leg: int
    now_ns: int


class Step:
    """Collects one step's outcome; every record goes through the book on its way."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.entries: list[Entry] = []
        self.checkpoints: list[r.Checkpoint] = []
        self.requests: list[VenueAsk] = []

    def record(self, record: r.Record) -> None:
        """Apply ``record`` to the book and keep it for the journal."""
        rows = tuple(self._book.apply(record))
        self.entries.append(Entry(self._book.sequence, record, rows))

    def ask(self, request: VenueAsk) -> None:
        """Do this once the records are durable."""
        self.requests.append(request)

    def effects(self) -> Effects:
        """The step as a value."""
        return Effects(tuple(self.entries), tuple(self.checkpoints), tuple(self.requests))


class ExecutorCore:
    """See the module. Reads no clock: ``now_ns`` is event time in replay, UTC now on a live feed."""

    def __init__(self, book: Book, terms: AccountTerms, gate: RiskGate) -> None:
        self.book = book
        self.terms = terms
        self.gate = gate
        self.quotes: dict[str, Quote] = {}
        self.memories: dict[str, PriceMemory] = {}
        self.stamp = book.stamp
        self.seen_to = 0  # feed position up to which the memories reach
        self._owed: dict[str, int] = {}  # trades closed beyond that: their best and worst prices come later
        self.equity: Equity | None = None
        self.ready = False  # intents are refused until this incarnation is reconciled
        self._recovered = False  # nothing is sent before it is known what an earlier incarnation may have sent

    # --- the market ----------------------------------------------------------------------------------------------------

    def resume(self, memories: Mapping[str, PriceMemory], seen_to: int, entries: Iterable[Entry]) -> None:
        """Go on from a cut at feed position ``seen_to``, with the ``entries`` of the journal behind it.

        An exit that was booked before the feed had come back to its tick says nothing of best and worst prices: these
        are still owed.
        """
        self.memories, self.seen_to = dict(memories), seen_to
        for entry in entries:
            record = entry.record
            if isinstance(record, r.VenueReported):
                exits = {part.trade_id for part in record.allocations if not part.opens}
                self._owed.update(dict.fromkeys(exits - record.best.keys(), record.transaction.position))
            elif isinstance(record, r.ExcursionSeen):
                self._owed.pop(record.trade_id, None)

    def see(self, position: int, quotes: Mapping[str, Quote], extremes: Mapping[str, Extremes], now_ns: int) -> Effects:
        """Ticks up to ``position`` have passed everybody: the latest quotes, and the range that was covered."""
        self.quotes.update(quotes)
        for symbol, covered in extremes.items():
            memory = self.memories.get(symbol)
            if memory is None:
                memory = self.memories[symbol] = PriceMemory.empty()
            memory.see(position, covered)
        self.seen_to = max(self.seen_to, position)
        return self._pay_excursions(position, now_ns) if self._owed else Effects()

    def _pay_excursions(self, position: int, now_ns: int) -> Effects:
        """Best and worst prices of trades whose close was booked before the feed had come back to it (after a restart)."""
        step = Step(self.book)
        for trade_id, closed_at in list(self._owed.items()):
            if closed_at > position:
                continue
            del self._owed[trade_id]
            best, worst = self._excursions([trade_id])
            if best or worst:
                step.record(
                    r.ExcursionSeen(
                        ts_ns=now_ns,
                        stamp=self.stamp,
                        trade_id=trade_id,
                        best=best.get(trade_id),
                        worst=worst.get(trade_id),
                    )
                )
        return step.effects()

    def at(self, stamp: int) -> None:
        """Everything from here on happens at ``stamp``."""
        self.stamp = max(self.stamp, stamp)

    # --- decisions -----------------------------------------------------------------------------------------------------

    def decide(self, decision: Decision, now_ns: int) -> Effects:
        """One decision of a strategy: all of it is recorded in one group, denials included."""
        if not self.ready:
            raise Defect(f"decision {decision.number} of {decision.strategy} came before reconciliation")
        digest = content_digest(_DIGEST.encode((decision.position, decision.requests)))
        line = self.book.strategies.get(decision.strategy)
        if line is None:
            raise Defect(f"strategy {decision.strategy} was never registered")
        if decision.number <= line.row.decisions:
            if decision.number == line.row.decisions and digest != line.digest:
                raise Defect(f"decision {decision.number} of {decision.strategy} came twice with different content")
            return Effects()
        self.at(decision.stamp)
        step = Step(self.book)
        with ledger():
            draft = self._draft(decision, now_ns)
            events = self._events(decision, line.events)
            step.record(
                r.DecisionTaken(
                    ts_ns=now_ns,
                    stamp=decision.stamp,
                    correlation_id=draft.signals[0].signal_id if draft.signals else "",
                    strategy=decision.strategy,
                    number=decision.number,
                    digest=digest,
                    position=decision.position,
                    inbox=decision.inbox,
                    signals=tuple(draft.signals),
                    orders=tuple(draft.orders),
                    trades=tuple(draft.trades),
                    events=tuple(events),
                )
            )
            self._release_new(step, draft.orders, now_ns)
            for request in decision.requests:
                if isinstance(request, Cancel):
                    self._cancel(step, request.client_order_id, decision.strategy, "strategy", now_ns)
                elif isinstance(request, MoveStop):
                    self._move_stop(step, request, decision.strategy, now_ns)
        step.checkpoints.append(self._checkpoint_of(decision))
        return step.effects()

    def _checkpoint_of(self, decision: Decision) -> r.Checkpoint:
        return r.Checkpoint(
            execution=self.book.execution_id,
            owner=decision.strategy,
            position=decision.position,
            inbox=decision.inbox,
            ts_ns=decision.ts_ns,
            version=decision.state_version,
            state=decision.state,
        )

    def _draft(self, decision: Decision, now_ns: int) -> Draft:
        """What the decision asks for, decided request by request in its order: that is also the order of sending."""
        draft = Draft(leg=len(decision.requests))
        session = session_at(now_ns)
        for leg, request in enumerate(decision.requests):
            if isinstance(request, Enter):
                self._draft_entry(draft, decision, leg, request, session, now_ns)
            elif isinstance(request, Exit):
                self._draft_exits(draft, decision, request, now_ns)
        return draft

    def _draft_entry(
        self, draft: Draft, decision: Decision, leg: int, request: Enter, session: str | None, now_ns: int
    ) -> None:
        if request.instrument not in self.terms.instruments:
            raise Defect(f"{decision.strategy} wants to trade {request.instrument}, which the account does not know")
        quote = self.quotes.get(request.instrument)
        made = bracket(request, leg, decision, self.book.execution_id, self.terms, quote, session)
        view = self._entry_view(made, draft.taken, session)
        view.ready = self.ready and decision.warm
        denial = self.gate.check_entry(made.entry, view, now_ns)
        if denial is not None:
            draft.orders.append(self._denied(made.entry, denial))
            draft.signals.append(_signal(made, SignalStatus.DENIED, denial.sentence))
            return
        entry = made.entry
        if not self.terms.hedging:
            # On a netting account an entry that overtook the exit before it would flatten the position, and the
            # venue would drop every order that has nothing left to reduce: it waits for what the exit waits for.
            ahead = tuple(draft.waits_for.get(request.instrument, ()))
            entry = structs.replace(entry, after_cancel_of=ahead) if ahead else entry
        draft.taken.append(entry)
        draft.signals.append(_signal(made, SignalStatus.ORDERED, ""))
        draft.orders.extend((entry, *made.attached))
        draft.trades.append(made.trade)

    @staticmethod
    def _denied(order: Order, denial: Denial) -> Order:
        why = f"{denial.code}: {denial.sentence}"
        trade_id = None if order.purpose is Purpose.ENTRY else order.trade_id  # an entry's trade never comes to be
        return structs.replace(order, status=OrderStatus.DENIED, status_reason=why, trade_id=trade_id)

    def _draft_exits(self, draft: Draft, decision: Decision, request: Exit, now_ns: int) -> None:
        left = request.quantity
        for trade in self._exit_targets(request, decision.strategy):
            closable = self.book.closable(trade) - draft.claimed.get(trade.trade_id, ZERO)
            quantity = closable if left is None else min(closable, left)
            if quantity <= ZERO:
                continue
            by = Asker("strategy", decision.strategy, decision.number, draft.leg, now_ns)
            order = exit_order(self._wish(trade, quantity, request.reason, by, draft.orders), self.book.execution_id)
            draft.leg += 1
            denial = self.gate.check_exit(order, self._exit_view(closable), now_ns)
            if denial is not None:
                draft.orders.append(self._denied(order, denial))
                continue
            draft.orders.append(order)
            draft.waits_for.setdefault(trade.symbol, {}).update(dict.fromkeys(order.after_cancel_of))
            draft.claimed[trade.trade_id] = draft.claimed.get(trade.trade_id, ZERO) + quantity
            if left is not None:
                left -= quantity

    def _exit_targets(self, request: Exit, strategy: str) -> list[Trade]:
        if request.trade_id is not None:
            trade = self.book.trades.get(request.trade_id)
            return [] if trade is None or trade.strategy != strategy else [trade]
        return [t for t in self.book.trades.values() if t.strategy == strategy and t.symbol == request.instrument]

    def _wish(self, trade: Trade, quantity: Decimal, reason: str, by: Asker, drafted: Sequence[Order]) -> ExitWish:
        """``drafted`` are the orders of the same step so far, which the book does not have yet."""
        side = trade.side.entry_side.opposite
        quote = self.quotes.get(trade.symbol)
        return ExitWish(
            trade=trade,
            quantity=quantity,
            reason=CloseReason(reason).value,
            source=by.source,
            decider=by.decider,
            number=by.number,
            leg=by.leg,
            ts_ns=by.now_ns,
            stamp=self.stamp,
            reference_price=None if quote is None else (quote.ask if side is Side.BUY else quote.bid),
            reduce_only=self.terms.hedging or self._reduces(trade.symbol, side, quantity, drafted),
            after_cancel_of=tuple(
                child.client_order_id for child in self.book.live_exits(trade.trade_id, attached=True)
            ),
        )

    def _reduces(self, symbol: str, side: Side, quantity: Decimal, drafted: Sequence[Order]) -> bool:
        """Whether an order reduces the net whatever fills before it: the venue would drop a reduce-only one that does not."""
        against = -self.book.net(symbol) * side.sign
        if against < quantity:
            return False
        ahead = self.book.working.get((symbol, side), ZERO)
        ahead += sum(
            (o.open_quantity for o in drafted if o.instrument == symbol and o.side is side and o.parent_id is None),
            ZERO,
        )
        return against - ahead >= quantity

    def _events(self, decision: Decision, last: int) -> list[r.StrategyEvent]:
        emits = [e for e in decision.requests if isinstance(e, Emit)]
        return [
            r.StrategyEvent(
                execution=self.book.execution_id,
                strategy=decision.strategy,
                sequence=last + n,
                type=emit.type,
                ts_ns=decision.ts_ns,
                data=emit.data,
            )
            for n, emit in enumerate(emits, start=1)
        ]

    # --- release -------------------------------------------------------------------------------------------------------

    def _release_new(self, step: Step, orders: Iterable[Order], now_ns: int) -> None:
        """Ask for what may go now: entries with their attached exits, and exits whose place is free."""
        waiting_on: list[str] = []
        for order in orders:
            if order.is_terminal or order.parent_id is not None:
                continue
            if order.purpose is Purpose.EXIT:
                self._end_entry(step, order, now_ns)
            if self._held_by(order):
                waiting_on.extend(order.after_cancel_of)
                continue
            self._place(step, order)
        for child in dict.fromkeys(waiting_on):
            self._cancel(step, child, None, "an exit takes its place", now_ns)

    def _end_entry(self, step: Step, exit_: Order, now_ns: int) -> None:
        """An exit of all that a trade holds ends an entry that still works, or it would fill into a trade that is left."""
        trade = self.book.trades.get(exit_.trade_id or "")
        entry = self.book.orders.get(trade.entry_order_id) if trade is not None else None
        if trade is None or entry is None or entry.purpose is not Purpose.ENTRY:
            return
        if exit_.quantity >= trade.open_quantity:
            self._cancel(step, entry.client_order_id, None, "its trade is being closed", now_ns)

    def _held_by(self, order: Order) -> bool:
        return any(sibling in self.book.orders for sibling in order.after_cancel_of)

    def _children(self, client_order_id: str) -> tuple[Order, ...]:
        """The live exits attached to an entry, in the order of their legs."""
        found = (self.book.orders[i] for i in self.book.children.get(client_order_id, ()))
        return tuple(sorted(found, key=lambda child: child.leg))

    def _place(self, step: Step, order: Order) -> None:
        attached = self._children(order.client_order_id)
        step.ask(PlaceOrder(order_request(order, attached), order.purpose is Purpose.ENTRY, order.deadline_ns))

    def _free_waiting(self, step: Step, now_ns: int) -> None:
        """Exits that waited for a sibling's end: send them, or give them up if nothing is left to close."""
        for client_order_id in list(self.book.waiting):
            order = self.book.orders[client_order_id]
            if self._held_by(order):
                continue
            if order.purpose is Purpose.ENTRY:
                self._change(step, order, OrderEvent.SUBMIT, "", now_ns)
                self._place(step, self.book.orders[client_order_id])
                continue
            room = self._room(order)
            if room < order.quantity:
                smaller = self._smaller(step, order, room, now_ns) if room > ZERO else None
                self._change(
                    step, order, OrderEvent.PROVE_NOT_SENT, "a protective order closed the trade first", now_ns
                )
                if smaller is not None:
                    self._place(step, smaller)
                continue
            self._change(step, order, OrderEvent.SUBMIT, "", now_ns)
            self._place(step, order)

    def _room(self, order: Order) -> Decimal:
        """How much of its trade an exit may close: what is held, less what the other exits of it may still take."""
        trade = self.book.trades.get(order.trade_id or "")
        if trade is None:
            return ZERO
        others = (
            exit_.open_quantity
            for exit_ in self.book.live_exits(trade.trade_id, attached=False)
            if exit_.client_order_id != order.client_order_id
        )
        return trade.open_quantity - sum(others, ZERO)

    def _smaller(self, step: Step, order: Order, quantity: Decimal, now_ns: int) -> Order:
        """The same exit for what is left. It takes the claim before the larger one lets go of it."""
        smaller = structs.replace(renewed(order, now_ns), quantity=quantity, after_cancel_of=())
        step.record(
            r.OrdersIntended(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=order.correlation_id,
                orders=(smaller,),
                reason="what is left of the trade",
            )
        )
        return smaller

    def _change(self, step: Step, order: Order, event: OrderEvent, reason: str, now_ns: int) -> None:
        step.record(
            r.OrderChanged(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=order.correlation_id,
                client_order_id=order.client_order_id,
                event=event.value,
                reason=reason,
            )
        )

    def _cancel(self, step: Step, client_order_id: str, strategy: str | None, reason: str, now_ns: int) -> None:
        order = self.book.orders.get(client_order_id)
        if order is None or (strategy is not None and (order.strategy, order.source) != (strategy, "strategy")):
            return  # it ended in the meantime, or is somebody else's: of another strategy, the monitor or a person
        if order.status is OrderStatus.INTENDED and self._held_by(order):
            for gone in (*self._children(client_order_id), order):
                self._change(step, gone, OrderEvent.PROVE_NOT_SENT, f"canceled before it was sent: {reason}", now_ns)
            return
        if order.status is OrderStatus.INTENDED and order.parent_id is not None:
            parent = self.book.orders.get(order.parent_id)
            if parent is not None and parent.status is OrderStatus.INTENDED:
                return  # it goes with its parent
        if order.status is OrderStatus.INTENDED:
            self._change(step, order, OrderEvent.SUBMIT, "", now_ns)  # it was asked for in the step that decided it
        if order.status not in (OrderStatus.CANCEL_REQUESTED, OrderStatus.UNKNOWN):
            self._change(step, order, OrderEvent.REQUEST_CANCEL, reason, now_ns)
        step.ask(CancelOrder(client_order_id))

    def _move_stop(self, step: Step, move: MoveStop, strategy: str, now_ns: int) -> None:
        """Move a trade's levels. The trade says at once what is wanted, so that a restart asks the venue for it again."""
        trade = self.book.trades.get(move.trade_id)
        if trade is None or trade.strategy != strategy:
            return  # it closed in the meantime, or is somebody else's
        stop = move.stop_loss if move.stop_loss is not None and tightens(trade, move.stop_loss) else None
        if stop is None and move.take_profit is None:
            return
        step.record(
            r.StopMoved(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=trade.correlation_id,
                trade_id=trade.trade_id,
                stop_loss=stop,
                take_profit=move.take_profit,
                source="strategy",
            )
        )
        if trade.exits_at_venue:
            self._amend(step, trade.trade_id, stop, move.take_profit, now_ns)

    def _amend(self, step: Step, trade_id: str, stop: Decimal | None, target: Decimal | None, now_ns: int) -> None:
        """Move the attached exits. Where one is wanted that the venue does not hold, the monitor takes over all of them."""
        children = self.book.live_exits(trade_id, attached=True)
        stops = [c for c in children if c.type is not OrderType.LIMIT]
        targets = [c for c in children if c.type is OrderType.LIMIT]
        if (stop is not None and not stops) or (target is not None and not targets):
            for child in children:
                self._cancel(step, child.client_order_id, None, "the monitor takes its place", now_ns)
            return
        moves = [(c, stop) for c in stops if c.type is OrderType.STOP or len(stops) == 1]
        moves.extend((c, target) for c in targets)
        for child, level in moves:
            if level is not None:
                step.ask(AmendOrder(child.client_order_id, format(level, "f")))

    # --- exits of the monitor and of people ------------------------------------------------------------------------------

    def exit_trades(self, wishes: Sequence[tuple[str, str]], source: str, now_ns: int) -> Effects:
        """Close trades whole, (trade id, reason) each, for the monitor or a person.

        Trades that are claimed already are left alone.
        """
        step = Step(self.book)
        with ledger():
            self._exit_all(step, wishes, source, now_ns)
        return step.effects()

    def _exit_all(self, step: Step, wishes: Sequence[tuple[str, str]], source: str, now_ns: int) -> None:
        orders: list[Order] = []
        number = self.book.exit_decisions + 1
        for leg, (trade_id, reason) in enumerate(wishes):
            trade = self.book.trades.get(trade_id)
            if trade is None:
                continue
            closable = self.book.closable(trade)
            if closable <= ZERO:
                continue
            by = Asker(source, ACCOUNT_DECIDER, number, leg, now_ns)
            order = exit_order(self._wish(trade, closable, reason, by, orders), self.book.execution_id)
            denial = self.gate.check_exit(order, self._exit_view(closable), now_ns)
            orders.append(order if denial is None else self._denied(order, denial))
        if orders:
            step.record(r.OrdersIntended(ts_ns=now_ns, stamp=self.stamp, orders=tuple(orders), reason=source))
            self._release_new(step, orders, now_ns)

    def move_stop(
        self, trade_id: str, stop: Decimal, best: Decimal | None, worst: Decimal | None, now_ns: int
    ) -> Effects:
        """The monitor trailed a stop that we keep."""
        step = Step(self.book)
        trade = self.book.trades.get(trade_id)
        if trade is not None and tightens(trade, stop):
            step.record(
                r.StopMoved(
                    ts_ns=now_ns,
                    stamp=self.stamp,
                    correlation_id=trade.correlation_id,
                    trade_id=trade_id,
                    stop_loss=stop,
                    take_profit=None,
                    source="trailing",
                    best=best,
                    worst=worst,
                )
            )
        return step.effects()

    # --- news ------------------------------------------------------------------------------------------------------------

    def news(self, transactions: Iterable[VenueTransaction], now_ns: int) -> Effects:
        """Book the venue's record from our cursor on. Entries that were booked already are skipped; a gap is a defect."""
        step = Step(self.book)
        with ledger():
            for entry in transactions:
                if entry.sequence <= self.book.cursor:
                    continue
                self._book_entry(step, entry, now_ns)
            if self._recovered or self.ready:
                self._free_waiting(step, now_ns)
        return step.effects()

    def _book_entry(self, step: Step, entry: VenueTransaction, now_ns: int) -> None:
        when = entry.ts_ns if self.terms.replayable else now_ns
        stamp = self._news_stamp(entry)
        self.at(stamp)
        fill = entry.fill
        if entry.kind is not TransactionKind.ORDER_FILLED or fill is None:
            order = self.book.order(entry.client_order_id)
            correlation = order.correlation_id if order is not None else ""
            step.record(r.VenueReported(ts_ns=when, stamp=stamp, correlation_id=correlation, transaction=entry))
            self._check_news(step, order, entry, now_ns)
        else:
            before = self.book.order(fill.client_order_id)
            if before is not None and before.trade_id is not None and self.book.trade(before.trade_id) is None:
                before = None  # so long ago that its trade is history: the units are adopted
            allotment = allocate(fill, before, self.book.trades.values(), self.book.execution_id, self.book.currency)
            exits = [part.trade_id for part in allotment.parts if not part.opens]
            seen = entry.position <= self.seen_to
            best, worst = self._excursions(exits if seen else ())
            step.record(
                r.VenueReported(
                    ts_ns=when,
                    stamp=stamp,
                    correlation_id=before.correlation_id if before is not None else "",
                    transaction=entry,
                    allocations=allotment.parts,
                    adopted=allotment.adopted,
                    reason=_close_reason(before, entry),
                    best=best,
                    worst=worst,
                )
            )
            if not seen:
                self._owed.update(dict.fromkeys(exits, entry.position))
            after = self.book.order(fill.client_order_id)
            if before is not None and after is not None:
                why = contradicts_proof(before, after)
                if why is not None:
                    self._latch(step, r.Latch.HALTED, why, "books", now_ns)
        self._follow_up(step, entry, now_ns)
        if entry.balance is not None and entry.balance != self.book.money.balance:
            why = f"the venue's balance after its entry {entry.sequence} is {entry.balance}, ours {self.book.money.balance}"
            self._latch(step, r.Latch.HALTED, why, "books", now_ns)

    def _follow_up(self, step: Step, entry: VenueTransaction, now_ns: int) -> None:
        """What has to be asked for because of this news."""
        order = self.book.orders.get(entry.client_order_id or "")
        row = self.book.execution
        if order is None or row is None:
            return
        if entry.kind is TransactionKind.CANCEL_REFUSED:
            if order.status is OrderStatus.UNKNOWN:
                step.ask(LookUpOrder(order.client_order_id))  # a refusal does not say whether it ever arrived
        elif order.purpose is Purpose.ENTRY and row.latch is not r.Latch.OPEN:
            self._cancel(step, order.client_order_id, None, f"{row.latch}: {row.latch_reason}", now_ns)

    def _check_news(self, step: Step, before: Order | None, entry: VenueTransaction, now_ns: int) -> None:
        """News that contradicts what we know is kept in the journal, changes nothing else, and halts the account."""
        if before is None:
            return
        event = ORDER_EVENTS.get(entry.kind)
        if event is not None and not allows(before.status, event):
            why = f"the venue reports {entry.kind} of order {before.client_order_id}, which is {before.status}"
            self._latch(step, r.Latch.HALTED, why, "books", now_ns)
            return
        after = self.book.order(before.client_order_id)
        why_not = contradicts_proof(before, after) if after is not None else None
        if why_not is not None:
            self._latch(step, r.Latch.HALTED, why_not, "books", now_ns)

    def _news_stamp(self, entry: VenueTransaction) -> int:
        """At its tick, before the strategies see it; an answer belongs where its request was made: never before that."""
        return max(self.stamp, Stamp.before(entry.position))

    def _excursions(self, trade_ids: Iterable[str]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        best: dict[str, Decimal] = {}
        worst: dict[str, Decimal] = {}
        for trade_id in trade_ids:
            trade = self.book.trade(trade_id)
            memory = self.memories.get(trade.symbol) if trade is not None else None
            if trade is None or memory is None:
                continue
            high, low = memory.excursion(trade)
            if high is not None:
                best[trade_id] = high
            if low is not None:
                worst[trade_id] = low
        return best, worst

    # --- doubt -----------------------------------------------------------------------------------------------------------

    def recover(self, now_ns: int) -> Effects:
        """After a restart, once: what was intended or submitted may have been sent. Ask about all of it, send none of it.

        What waits for a sibling's end was certainly not sent: it goes on waiting, or goes out if that end is among the news.
        """
        step = Step(self.book)
        if self._recovered:
            return step.effects()
        self._recovered = True
        for order in list(self.book.orders.values()):
            if order.client_order_id in self.book.waiting:
                for sibling in order.after_cancel_of:
                    self._cancel(step, sibling, None, "an exit takes its place", now_ns)
                continue
            if order.in_doubt and self._own_request(order):
                if order.status in (OrderStatus.INTENDED, OrderStatus.SUBMITTED):
                    self._change(step, order, OrderEvent.LOSE, "restarted before an answer was recorded", now_ns)
                step.ask(LookUpOrder(order.client_order_id))
            if order.status is OrderStatus.CANCEL_REQUESTED:
                step.ask(CancelOrder(order.client_order_id))
        for trade in list(self.book.trades.values()):
            if trade.exits_at_venue and trade.open_quantity:
                self._amend_again(step, trade, now_ns)
        with ledger():
            self._free_waiting(step, now_ns)
        step.requests = list(dict.fromkeys(step.requests))
        return step.effects()

    def _amend_again(self, step: Step, trade: Trade, now_ns: int) -> None:
        """A level that was wanted and that the venue never confirmed may not have reached it. Asking twice is harmless."""
        children = self.book.live_exits(trade.trade_id, attached=True)
        stops = [c.stop_price for c in children if c.type is not OrderType.LIMIT and c.stop_price is not None]
        stop = trade.stop_loss
        if stop is not None and not (stops and all(_tighter(trade.side, stop, level) for level in stops)):
            stop = None
        targets = [c.price for c in children if c.type is OrderType.LIMIT]
        target = trade.take_profit if targets and trade.take_profit not in targets else None
        if stop is not None or target is not None:
            self._amend(step, trade.trade_id, stop, target, now_ns)

    def _own_request(self, order: Order) -> bool:
        """Attached exits travel with their entry: while that is in doubt, or working, they are not asked about."""
        return order.parent_id is None or order.parent_id not in self.book.orders

    def lost(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The answer to a request never came."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.in_doubt and order.status is not OrderStatus.UNKNOWN:
            if order.status is not OrderStatus.CANCEL_REQUESTED:  # that it is to be canceled must not be forgotten
                self._change(step, order, OrderEvent.LOSE, reason, now_ns)
            step.ask(LookUpOrder(client_order_id))
        return step.effects()

    def missing(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The venue was known to have the order, and does not have it any more: its exposure is frozen, and it is looked up."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.status is not OrderStatus.UNKNOWN:
            self._change(step, order, OrderEvent.LOSE, reason, now_ns)
            step.ask(LookUpOrder(client_order_id))
        return step.effects()

    def not_sent(self, client_order_id: str, reason: str, now_ns: int, *, never_arrived: bool = False) -> Effects:
        """It is certain that the venue never got the order: our last check stopped it, or the venue's record proved it.

        After such a proof the decision is taken again if the market it was made on is still there (see architecture.md, Renewal).
        """
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is None or not order.in_doubt or order.seen_at_venue:
            return step.effects()
        with ledger():
            children = self._children(client_order_id)
            if never_arrived and self._market_is_still_there(order):
                self._renew(step, order, children, now_ns)
            for gone in (*children, order):
                self._change(step, gone, OrderEvent.PROVE_NOT_SENT, reason, now_ns)
            self._free_waiting(step, now_ns)
        return step.effects()

    def refused(self, client_order_id: str, reason: str, now_ns: int) -> Effects:
        """The venue answered no and keeps no record of it: the order does not exist there."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        if order is not None and order.in_doubt and not order.seen_at_venue:
            for child in self._children(client_order_id):
                self._change(step, child, OrderEvent.PROVE_NOT_SENT, reason, now_ns)
            self._change(step, order, OrderEvent.REJECT, reason, now_ns)
            self._free_waiting(step, now_ns)
        return step.effects()

    def _market_is_still_there(self, order: Order) -> bool:
        return (
            self.terms.replayable
            and order.status is not OrderStatus.CANCEL_REQUESTED
            and order.attempt < ATTEMPTS_MAX
            and Stamp.position(order.stamp) == Stamp.position(self.stamp)
            and self._may_trade(order)
            and (order.purpose is Purpose.ENTRY or self._may_close(order))
        )

    def _may_close(self, order: Order) -> bool:
        """Whether an exit still has all of its trade to close; one that goes with an entry is nothing by itself."""
        return order.parent_id is None and self._room(order) >= order.quantity

    def _may_trade(self, order: Order) -> bool:
        row = self.book.execution
        if row is None or row.latch is r.Latch.HALTED:
            return False
        return order.purpose is Purpose.EXIT or (row.latch is r.Latch.OPEN and not row.paused)

    def _renew(self, step: Step, order: Order, children: Sequence[Order], now_ns: int) -> None:
        # Its place was free when it went out the first time: it waits for nobody, or it would be sent a second time.
        again = structs.replace(renewed(order, now_ns), after_cancel_of=())
        orders = (again, *(renewed(child, now_ns, parent=again) for child in children))
        step.record(
            r.OrdersIntended(
                ts_ns=now_ns,
                stamp=self.stamp,
                correlation_id=order.correlation_id,
                orders=orders,
                reason=f"{order.client_order_id} never arrived and the market has not moved since",
            )
        )
        self._place(step, again)

    def resolve(self, client_order_id: str, outcome: OrderStatus, by: str, now_ns: int) -> Effects:
        """A person says what became of an order in doubt: not_sent, rejected, canceled or expired."""
        step = Step(self.book)
        order = self.book.orders.get(client_order_id)
        event = _RESOLUTIONS.get(outcome)
        if order is None or order.status is not OrderStatus.UNKNOWN or event is None:
            return step.effects()
        if outcome is OrderStatus.NOT_SENT and order.seen_at_venue:
            return step.effects()
        for gone in (*self._children(client_order_id), order):
            self._change(step, gone, event, f"resolved by {by}", now_ns)
        self._free_waiting(step, now_ns)
        return step.effects()

    # --- latches ---------------------------------------------------------------------------------------------------------

    def pause(self, paused: bool, reason: str, by: str, now_ns: int) -> Effects:
        """No new entries, or entries again."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.paused is not paused:
            self._record_latch(step, paused, row.latch, reason, by, now_ns)
        return step.effects()

    def latch(self, latch: r.Latch, reason: str, by: str, now_ns: int) -> Effects:
        """Reduce-only or halted, never back: see :meth:`release`."""
        step = Step(self.book)
        self._latch(step, latch, reason, by, now_ns)
        return step.effects()

    def _latch(self, step: Step, latch: r.Latch, reason: str, by: str, now_ns: int) -> None:
        row = self.book.execution
        if row is None or not latch.is_above(row.latch):
            return
        self._record_latch(step, row.paused, latch, reason, by, now_ns)
        self._cancel_entries(step, f"{latch}: {reason}", now_ns)

    def release(self, reason: str, by: str, now_ns: int) -> Effects:
        """A person ends a halt or a reduce-only state."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.latch is not r.Latch.OPEN:
            self._record_latch(step, row.paused, r.Latch.OPEN, reason, by, now_ns)
        return step.effects()

    def _record_latch(self, step: Step, paused: bool, latch: r.Latch, reason: str, by: str, now_ns: int) -> None:
        step.record(r.LatchChanged(ts_ns=now_ns, stamp=self.stamp, paused=paused, latch=latch, reason=reason, by=by))

    def cancel_entries(self, reason: str, now_ns: int, *, everything: bool = False) -> Effects:
        """Cancel every working order that would add exposure; protective orders stay, unless ``everything`` is to go."""
        step = Step(self.book)
        self._cancel_entries(step, reason, now_ns)
        if everything:
            for order in list(self.book.orders.values()):
                if order.purpose is Purpose.EXIT:
                    self._cancel(step, order.client_order_id, None, reason, now_ns)
        return step.effects()

    def _cancel_entries(self, step: Step, reason: str, now_ns: int) -> None:
        for order in list(self.book.orders.values()):
            if order.purpose is Purpose.ENTRY:
                self._cancel(step, order.client_order_id, None, reason, now_ns)

    def flatten(self, by: str, now_ns: int) -> Effects:
        """Cancel entries, close every trade, then pause."""
        step = Step(self.book)
        with ledger():
            self._cancel_entries(step, "flatten", now_ns)
            wishes = [(trade_id, CloseReason.MANUAL.value) for trade_id in self.book.trades]
            self._exit_all(step, wishes, "operator", now_ns)
            row = self.book.execution
            if row is not None and not row.paused:
                self._record_latch(step, True, row.latch, "flatten", by, now_ns)
        return step.effects()

    def note(self, record: r.Record) -> Effects:
        """Record something that the executor does not decide: a snapshot, a status, a comparison."""
        step = Step(self.book)
        step.record(record)
        return step.effects()

    # --- what the gate needs -----------------------------------------------------------------------------------------------

    def _entry_view(self, made: Bracket, taken: Sequence[Order], session: str | None) -> RiskView:
        signal, limits = made.signal, self.gate.limits
        view = self._common_view(session)
        view.confidence = signal.confidence
        view.risk_reward = risk_reward(made.entry.side, signal.entry_price, signal.stop_loss, signal.take_profit)
        view.open_orders = len(self.book.orders) + len(taken)
        if (
            limits.position_max is not None
            or limits.position_notional_max is not None
            or limits.exposure_max is not None
        ):
            view.pending = pending_of([*self.book.orders.values(), *taken])
            view.positions = {symbol: self.book.net(symbol) for symbol, _ in self.book.positions}
        if (
            limits.notional_max is not None
            or limits.position_notional_max is not None
            or limits.exposure_max is not None
        ):
            view.rates = self._rates()
        return view

    def _exit_view(self, closable: Decimal) -> RiskView:
        view = self._common_view(None)
        view.closable = closable
        return view

    def _common_view(self, session: str | None) -> RiskView:
        row, equity = self.book.execution, self.equity
        return RiskView(
            account_currency=self.terms.currency,
            instruments=self.terms.instruments,
            quotes=self.quotes,
            balance=self.book.money.balance,
            equity=None if equity is None else equity.equity,
            day_start_equity=None if equity is None else equity.day_start,
            peak_equity=None if equity is None else equity.peak,
            latch=r.Latch.OPEN if row is None else row.latch,
            paused=row is not None and row.paused,
            ready=self.ready,
            session=session,
            parameter_mode=self.terms.parameter_mode,
        )

    def _rates(self) -> dict[str, Rate]:
        rates: dict[str, Rate] = {}
        for instrument in self.terms.instruments.values():
            path = conversion_path(instrument.quote, self.terms.currency, self.terms.instruments)
            rate = None if path is None else rate_along(path, self.quotes)
            if rate is not None:
                rates[instrument.quote] = rate
        return rates


# --- small rules -----------------------------------------------------------------------------------------------------------

_RESOLUTIONS = {
    OrderStatus.NOT_SENT: OrderEvent.PROVE_NOT_SENT,
    OrderStatus.REJECTED: OrderEvent.REJECT,
    OrderStatus.CANCELED: OrderEvent.CANCEL,
    OrderStatus.EXPIRED: OrderEvent.EXPIRE,
}


def _tighter(side: TradeSide, stop: Decimal, than: Decimal) -> bool:
    return stop > than if side is TradeSide.LONG else stop < than


def _close_reason(order: Order | None, entry: VenueTransaction) -> str | None:
    """Why this fill closes what it closes: what our order was for, or what the venue says of its own doing."""
    if order is not None:
        return order.close_reason or CloseReason.SIGNAL.value
    return CloseReason.MARGIN_CALL.value if entry.reason == CloseReason.MARGIN_CALL else CloseReason.VENUE.value


def _signal(made: Bracket, status: SignalStatus, reason: str) -> Signal:
    trade_id = made.trade.trade_id if status is SignalStatus.ORDERED else None
    return structs.replace(made.signal, execution_status=status, status_reason=reason, trade_id=trade_id)
