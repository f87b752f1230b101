"""A strategy's decision becomes intents and denials, all of it in one record.

Requests are gone through in the order they were made, because that is also the order of sending.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec
from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.effects import Effects
from tradekeel.domain.ids import content_digest
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.intents import Bracket, ExitWish, bracket, exit_order, turning
from tradekeel.domain.messages import Cancel, Decision, Emit, Enter, Exit, MoveStop, Signal, SignalStatus
from tradekeel.domain.money import WORKING, ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Purpose, Side
from tradekeel.domain.risk_view import Denial, DenialCode
from tradekeel.domain.rows import Checkpoint, StrategyEvent
from tradekeel.domain.sending import Drafted, Sending
from tradekeel.domain.sessions import session_at
from tradekeel.domain.trades import CloseReason, Trade
from tradekeel.errors import Defect

_DIGEST = msgspec.msgpack.Encoder(decimal_format="string")


class Draft(msgspec.Struct):
    """What one decision comes to, while its requests are gone through."""

    leg: int  # number of the next exit leg; entries use the number of their request
    drafted: Drafted = msgspec.field(default_factory=Drafted)
    signals: list[Signal] = []
    trades: list[Trade] = []
    taken: list[Order] = []  # what is not denied, attached exits included: it counts for the entries behind it
    claimed: dict[str, Decimal] = {}  # trade id to what exits of this very decision may take
    waits_for: dict[str, dict[str, None]] = {}  # instrument to the siblings that its exits wait for


class Asker(NamedTuple):
    """Who asks for an exit, and as which leg of which decision; when."""

    source: str  # strategy, monitor, operator
    decider: str
    number: int
    leg: int
    now_ns: int


class Deciding(Sending):
    """Decides entries and exits."""

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
                    orders=tuple(draft.drafted.orders),
                    trades=tuple(draft.trades),
                    events=tuple(events),
                    told_to=decision.told_to,
                )
            )
            self._release_new(step, draft.drafted.orders, now_ns)
            for request in decision.requests:
                if isinstance(request, Cancel):
                    self._cancel(step, request.client_order_id, decision.strategy, "strategy", now_ns)
                elif isinstance(request, MoveStop):
                    self._move_stop(step, request, decision.strategy, now_ns)
        if decision.state:  # a run that saves at its cuts only has none
            step.checkpoints.append(self._checkpoint_of(decision))
        return step.effects()

    def _checkpoint_of(self, decision: Decision) -> Checkpoint:
        return Checkpoint(
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
        against = self._held_against(decision.strategy, request) if request.reverse else []
        if against and not self._turns_at_once(draft, request, against):
            self._leave_first(draft, decision, against, now_ns)
            against = []
        plain = bracket(request, leg, decision, self.book.numbering, self.terms, quote, session)
        made = turning(plain, against) if against else plain
        view = self._entry_view(made, draft.taken, session)
        view.ready = self.ready and decision.warm
        denial = self.gate.check_entry(made.entry, view, now_ns)
        if denial is not None:
            draft.drafted.add(self._denied(plain.entry, denial))
            draft.signals.append(_signal(made, SignalStatus.DENIED, denial.sentence))
            self._leave_first(draft, decision, against, now_ns)  # an exit is always let out
            return
        entry = made.entry
        if self.terms.send_within_ns is not None:  # by the clock: the tick may be older, or of a clock that goes ahead
            entry = structs.replace(entry, deadline_ns=now_ns + self.terms.send_within_ns)
        if not self.terms.hedging:
            # On a netting account an entry that overtook the exit before it would flatten the position, and the
            # venue would drop every order that has nothing left to reduce: it waits for what the exit waits for.
            if against:
                self._claim_whole(draft, request.instrument, against)
            ahead = tuple(draft.waits_for.get(request.instrument, ()))
            entry = structs.replace(entry, after_cancel_of=ahead) if ahead else entry
        draft.taken.extend((entry, *made.attached))
        draft.signals.append(_signal(made, SignalStatus.ORDERED, ""))
        draft.drafted.add(entry, *made.attached)
        draft.trades.append(made.trade)

    def _held_against(self, strategy: str, enter: Enter) -> list[Trade]:
        """What the strategy holds the other way in the entry's instrument, oldest first."""
        return [
            trade
            for trade in self.book.trades.values()
            if trade.strategy == strategy
            and trade.symbol == enter.instrument
            and trade.open_quantity > ZERO
            and trade.side.entry_side is not enter.side
        ]

    def _turns_at_once(self, draft: Draft, enter: Enter, against: list[Trade]) -> bool:
        """Whether one order may do it. Otherwise exits go out, and the entry behind them.

        Where each trade is a position of its own, it would open another one. An exit that is under way may take a part of a
        trade, and whose fill comes first nobody knows. And the venue takes no order beyond its largest.
        """
        instrument = self.terms.instruments[enter.instrument]
        if self.terms.hedging or any(self._closable(draft, trade) != trade.open_quantity for trade in against):
            return False
        whole = sum((trade.open_quantity for trade in against), enter.quantity)
        return whole <= instrument.quantity_max

    def _closable(self, draft: Draft, trade: Trade) -> Decimal:
        """What an exit may still ask for, exits of this very decision counted."""
        return self.book.closable(trade) - draft.claimed.get(trade.trade_id, ZERO)

    def _leave_first(self, draft: Draft, decision: Decision, against: list[Trade], now_ns: int) -> None:
        """The exits of what an entry was to close with its own order."""
        for trade in against:
            self._draft_exits(draft, decision, Exit(instrument=trade.symbol, trade_id=trade.trade_id), now_ns)

    def _claim_whole(self, draft: Draft, symbol: str, against: list[Trade]) -> None:
        """An entry that turns takes these trades, and waits for the end of what protects them at the venue."""
        waits = draft.waits_for.setdefault(symbol, {})
        for trade in against:
            draft.claimed[trade.trade_id] = trade.open_quantity
            attached = self.book.live_exits(trade.trade_id, attached=True)
            waits.update(dict.fromkeys(child.client_order_id for child in attached))

    @staticmethod
    def _denied(order: Order, denial: Denial) -> Order:
        why = f"{denial.code}: {denial.sentence}"
        trade_id = None if order.purpose is Purpose.ENTRY else order.trade_id  # an entry's trade never comes to be
        return structs.replace(order, status=OrderStatus.DENIED, status_reason=why, trade_id=trade_id)

    def _draft_exits(self, draft: Draft, decision: Decision, request: Exit, now_ns: int) -> None:
        instrument = self.terms.instruments.get(request.instrument)
        left, whole = request.quantity, None
        if left is not None and instrument is not None:
            whole = instrument.quantity(left)  # never more than was asked for
            left = whole or left
        for trade in self._exit_targets(request, decision.strategy):
            closable = self._closable(draft, trade)
            quantity = closable if left is None else min(closable, left)
            if quantity <= ZERO:
                continue
            by = Asker("strategy", decision.strategy, decision.number, draft.leg, now_ns)
            order = exit_order(self._wish(trade, quantity, request.reason, by, draft.drafted), self.book.numbering)
            draft.leg += 1
            denial = _too_small(order, instrument) if instrument is not None and whole == ZERO else None
            denial = denial or self.gate.check_exit(order, self._exit_view(closable), now_ns)
            if denial is not None:
                draft.drafted.add(self._denied(order, denial))
                continue
            draft.drafted.add(order)
            draft.taken.append(order)
            draft.waits_for.setdefault(trade.symbol, {}).update(dict.fromkeys(order.after_cancel_of))
            draft.claimed[trade.trade_id] = draft.claimed.get(trade.trade_id, ZERO) + quantity
            if left is not None:
                left = WORKING.subtract(left, quantity)  # a wish, of any digits: what is taken from a trade is exact

    def _exit_targets(self, request: Exit, strategy: str) -> list[Trade]:
        if request.trade_id is not None:
            trade = self.book.trades.get(request.trade_id)
            return [] if trade is None or trade.strategy != strategy else [trade]
        return [t for t in self.book.trades.values() if t.strategy == strategy and t.symbol == request.instrument]

    def _wish(self, trade: Trade, quantity: Decimal, reason: str, by: Asker, drafted: Drafted) -> ExitWish:
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

    def _events(self, decision: Decision, last: int) -> list[StrategyEvent]:
        emits = [e for e in decision.requests if isinstance(e, Emit)]
        return [
            StrategyEvent(
                execution=self.book.execution_id,
                strategy=decision.strategy,
                sequence=last + n,
                type=emit.type,
                ts_ns=decision.ts_ns,
                data=emit.data,
            )
            for n, emit in enumerate(emits, start=1)
        ]


def _signal(made: Bracket, status: SignalStatus, reason: str) -> Signal:
    trade_id = made.trade.trade_id if status is SignalStatus.ORDERED else None
    return structs.replace(made.signal, execution_status=status, status_reason=reason, trade_id=trade_id)


def _too_small(order: Order, instrument: Instrument) -> Denial:
    sentence = f"{instrument.symbol} is traded in steps of {instrument.lot_step:f} units, found {order.quantity:f}"
    return Denial(DenialCode.QUANTITY_INVALID, sentence, f"{order.quantity:f}", f"{instrument.lot_step:f}")
