"""The account as the executor knows it: its books, the market, and what the gate must be told.

:class:`AccountCore` is the lowest layer of the executor's core. The layers above it are told apart by what they may
do: send (:mod:`~tradekeel.domain.sending`), decide (:mod:`~tradekeel.domain.deciding`), close trades whole
(:mod:`~tradekeel.domain.closing`), hold back (:mod:`~tradekeel.domain.latching`), book the venue's news
(:mod:`~tradekeel.domain.booking`), and clear up doubt (:mod:`~tradekeel.domain.doubting`). Whatever happens, happens
as a :class:`Step`: records that are applied to the book at once, and requests that follow when they are durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.effects import Effects, VenueAsk
from tradekeel.domain.entries import Entry
from tradekeel.domain.intents import AccountTerms, Bracket
from tradekeel.domain.memory import PriceMemory
from tradekeel.domain.money import LEDGER
from tradekeel.domain.orders import Order, OrderEvent, OrderStatus
from tradekeel.domain.positions import Quote, Rate, conversion_path, rate_along
from tradekeel.domain.risk import RiskGate, pending_of, risk_reward
from tradekeel.domain.risk_view import RiskView
from tradekeel.domain.rows import Checkpoint, Latch, StrategyStatus
from tradekeel.domain.ticks import Extremes
from tradekeel.domain.trades import Trade

SAMPLES_WAITING_MAX = 1_000
"""Sampled ticks that wait for a cut; so many, and they are journaled without one."""

PLACE, CANCEL, AMEND = "place", "cancel", "amend"
"""What a request is, for its turn."""


class Equity(msgspec.Struct, frozen=True):
    """What the monitor last said about the account: the gate's measure of loss and drawdown."""

    equity: Decimal
    day_start: Decimal
    peak: Decimal


class Step:
    """Collects one step's outcome; every record goes through the book on its way."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.entries: list[Entry] = []
        self.checkpoints: list[Checkpoint] = []
        self.requests: list[VenueAsk] = []

    def record(self, record: r.Record) -> None:
        """Apply ``record`` to the book and keep it for the journal."""
        self.entries.append(self._book.entry(record))

    def ask(self, request: VenueAsk) -> None:
        """Do this once the records are durable."""
        self.requests.append(request)

    def effects(self) -> Effects:
        """The step as a value."""
        return Effects(tuple(self.entries), tuple(self.checkpoints), tuple(self.requests))


class AccountCore:
    """The books, the market and the gate of one account.

    Reads no clock: ``now_ns`` is event time in replay, UTC now on a live feed.
    """

    def __init__(self, book: Book, terms: AccountTerms, gate: RiskGate) -> None:
        self.book = book
        self.terms = terms
        self.gate = gate
        self.quotes: dict[str, Quote] = {}
        self.memories: dict[str, PriceMemory] = {}
        self.stamp = book.stamp
        self.seen_to = 0  # feed position up to which the memories reach
        self._owed: dict[str, int] = {}  # trades closed beyond that: their best and worst prices come later
        self._samples: list[r.TickSampled] = []
        self.equity: Equity | None = None
        self.held = ""  # why there is no new exposure for now: the books' server is away
        self.stopping = False  # the process is about to end: no new entries
        self.ready = False  # intents are refused until this incarnation is reconciled
        self._turns: dict[tuple[str, str], int] = {}  # when what is under way was asked for (see Doubting.in_order)
        self._unfollowed: dict[str, Order] = {}  # that ended, in this order, before a start could act on it
        self._recovered = False  # nothing is sent before it is known what an earlier incarnation may have sent

    @property
    def _may_ask(self) -> bool:
        """Whether it is known what an earlier incarnation may have sent: nothing is asked for before."""
        return self._recovered or self.ready

    def at(self, stamp: int) -> None:
        """Everything from here on happens at ``stamp``."""
        self.stamp = max(self.stamp, stamp)

    def is_retired(self, strategy: str | None) -> bool:
        """Whether a strategy may add nothing any more: it has failed, or is no longer configured or enabled."""
        line = self.book.strategies.get(strategy or "")
        return line is not None and not line.row.status.runs

    def note(self, record: r.Record) -> Effects:
        """Record something that the executor does not decide: a snapshot, a status, a comparison."""
        step = Step(self.book)
        step.record(record)
        return step.effects()

    def sample(self, ticks: Iterable[r.TickSampled]) -> Effects:
        """A few ticks of many, to be journaled. After a restart the feed comes to some of them again: each is taken once."""
        for tick in ticks:
            last = self._samples[-1].position if self._samples else self.book.sampled
            if tick.position > last:
                self._samples.append(tick)
        return self.journal_samples() if len(self._samples) >= SAMPLES_WAITING_MAX else Effects()

    def journal_samples(self) -> Effects:
        """Those that wait become records. A commit for each would cost more than it tells, so they wait for the next cut."""
        step = Step(self.book)
        for tick in self._samples:
            step.record(structs.replace(tick, stamp=self.stamp))
        self._samples.clear()
        return step.effects()

    def resume(self, memories: Mapping[str, PriceMemory], seen_to: int, entries: Iterable[Entry]) -> None:
        """Go on from a cut at feed position ``seen_to``, with the ``entries`` of the journal behind it."""
        self.memories, self.seen_to = dict(memories), seen_to
        live = self.book.orders
        self._turns = {(CANCEL, key): 0 for key, o in live.items() if o.status is OrderStatus.CANCEL_REQUESTED}
        self.retrace(entries)

    def retrace(self, entries: Iterable[Entry]) -> None:
        """What followed from the entries behind the cut, in their order; a long journal comes page by page.

        An exit that was booked before the feed had come back to its tick says nothing of best and worst prices: these
        are still owed.
        """
        for entry in entries:
            self._count_again(entry)
            self._note_turns(entry)
            record = entry.record
            if isinstance(record, r.VenueReported):
                exits = {part.trade_id for part in record.allocations if not part.opens}
                self._owed.update(dict.fromkeys(exits - record.best.keys(), record.transaction.position))
            elif isinstance(record, r.ExcursionSeen):
                self._owed.pop(record.trade_id, None)

    def _note_turns(self, entry: Entry) -> None:
        """What was asked for behind this entry, by what it was about. Requests go out in the order of their records."""
        record, turns, turn = entry.record, self._turns, entry.sequence
        if isinstance(record, r.DecisionTaken | r.OrdersIntended):
            for order in record.orders:
                if order.parent_id is None and not order.after_cancel_of:
                    turns[PLACE, order.client_order_id] = turns.get((PLACE, order.renews or ""), turn)
        elif isinstance(record, r.OrderChanged):
            if record.event == OrderEvent.REQUEST_CANCEL.value:
                turns[CANCEL, record.client_order_id] = turn
            elif record.event == OrderEvent.SUBMIT.value:
                turns.setdefault((PLACE, record.client_order_id), turn)
        elif isinstance(record, r.StopMoved):
            turns[AMEND, record.trade_id] = turn

    def _count_again(self, entry: Entry) -> None:
        """What went out since the cut counts in the rates as it did the first time: by the same rules, at the same moment."""
        record, rates = entry.record, self.gate.rates
        if isinstance(record, r.DecisionTaken | r.OrdersIntended):
            for order in record.orders:
                # Attached exits travel with their entry, and a renewal was counted when it was decided.
                if order.status is not OrderStatus.DENIED and order.parent_id is None and order.renews is None:
                    rates.note_order(record.ts_ns)
        elif isinstance(record, r.OrderChanged):
            if record.event == OrderEvent.REQUEST_CANCEL.value:
                rates.note_message(record.ts_ns)
        elif isinstance(record, r.StopMoved) and record.source == "strategy" and _at_venue(entry):
            self._count_amends(record.stop_loss, record.take_profit, record.ts_ns)

    def _count_amends(self, stop: Decimal | None, target: Decimal | None, now_ns: int) -> None:
        for level in (stop, target):
            if level is not None:
                self.gate.rates.note_message(now_ns)

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

    def _record_latch(
        self, step: Step, paused: bool, latch: Latch, reason: str, by: str, now_ns: int, *, flatten: bool = False
    ) -> None:
        follows = StrategyStatus.ACTIVE if paused else StrategyStatus.PAUSED
        step.record(
            r.LatchChanged(
                ts_ns=now_ns,
                stamp=self.stamp,
                paused=paused,
                latch=latch,
                reason=reason,
                by=by,
                strategies=tuple(name for name, line in self.book.strategies.items() if line.row.status is follows),
                flatten=flatten,
            )
        )

    def _entry_view(self, made: Bracket, taken: Sequence[Order], session: str | None) -> RiskView:
        """``taken`` are the orders of the same decision so far, which the book does not have yet."""
        signal, limits = made.signal, self.gate.limits
        view = self._common_view(session)
        view.confidence = signal.confidence
        view.risk_reward = risk_reward(made.entry.side, signal.entry_price, signal.stop_loss, signal.take_profit)
        view.open_orders = len(self.book.orders) + len(taken)
        view.attached = len(made.attached)
        entry = made.entry
        if entry.closes:
            view.closing = LEDGER.subtract(entry.quantity, made.trade.quantity)
        if (
            limits.position_max is not None
            or limits.position_notional_max is not None
            or limits.exposure_max is not None
        ):
            ahead = [*self.book.orders.values(), *taken]
            if entry.closes:  # it takes the place of what protects the trades that it closes
                ahead = [order for order in ahead if order.parent_id is None or order.trade_id not in entry.closes]
            view.pending = pending_of(ahead)
            view.positions = self.book.nets()
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
        view.stopping = self.book.ending
        return view

    def _common_view(self, session: str | None) -> RiskView:
        # One by one: as many named values in one call cost several times as much.
        row, equity = self.book.execution, self.equity
        view = RiskView(
            account_currency=self.terms.currency,
            instruments=self.terms.instruments,
            quotes=self.quotes,
            session=session,
        )
        view.balance = self.book.money.balance
        if equity is not None:
            view.equity, view.day_start_equity, view.peak_equity = equity.equity, equity.day_start, equity.peak
        if row is not None:
            view.latch, view.paused = row.latch, row.paused
        view.ready, view.stopping = self.ready, self.stopping or self.book.ending
        view.held, view.parameter_mode = self.held, self.terms.parameter_mode
        return view

    def _rates(self) -> dict[str, Rate]:
        rates: dict[str, Rate] = {}
        for instrument in self.terms.instruments.values():
            path = conversion_path(instrument.quote, self.terms.currency, self.terms.instruments)
            rate = None if path is None else rate_along(path, self.quotes)
            if rate is not None:
                rates[instrument.quote] = rate
        return rates


def _at_venue(entry: Entry) -> bool:
    """Whether the trade that an entry changed has its exits at the venue."""
    return any(isinstance(row, Trade) and row.exits_at_venue for row in entry.rows)
