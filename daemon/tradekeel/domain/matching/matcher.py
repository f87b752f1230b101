"""The matcher: requests and ticks in, entries of the account's record out.

It is pure: its time is the ticks' time, its chance a hash. The paper venue wraps it in a durable ledger, the backtest
steps it bare, and both get the same entries. The rules are told in docs/paper.md. In one tick things happen in this
order:

1. time: financing of the nights that have passed, then expiries;
2. the orders of the tick's instrument that it touches, by time priority: trigger, trail, fill;
3. reduce-only orders that have nothing left to reduce are canceled;
4. the margin level, and a margin call if it is too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching.account import Execution, VenueAccount, by_age
from tradekeel.domain.matching.chance import happens
from tradekeel.domain.matching.costs import latency_ns, taken_price
from tradekeel.domain.matching.floor import Floor
from tradekeel.domain.matching.lookahead import LookAhead
from tradekeel.domain.matching.registry import Registry
from tradekeel.domain.matching.rules import Ending, Refusal, form_refusal, price_refusal
from tradekeel.domain.matching.state import Changes, MatcherState, Standing
from tradekeel.domain.matching.terms import PaperAccount, PaperSettings
from tradekeel.domain.matching.working import OrderState, WorkingOrder
from tradekeel.domain.messages import (
    Liquidity,
    OrderRequest,
    TransactionKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueTransaction,
)
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import AttachedExit, OrderType, TimeInForce
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.errors import Defect

# Looked up once: going through an enum's class costs as much as two sums.
_MARKET, _LIMIT, _TRAILING = OrderType.MARKET, OrderType.LIMIT, OrderType.TRAILING_STOP
_GTD, _TAKER = TimeInForce.GTD, Liquidity.TAKER
_DORMANT, _WORKING = OrderState.DORMANT, OrderState.WORKING
_ACCEPTED = TransactionKind.ORDER_ACCEPTED


class Matcher:
    """One account at a venue that is driven by ticks.

    Every method that acts returns the entries that it wrote, in order. Ticks come with ascending positions; one that
    was seen already changes nothing.
    """

    def __init__(
        self,
        account: PaperAccount,
        instruments: Mapping[str, Instrument],
        settings: PaperSettings,
        state: MatcherState | None = None,
    ) -> None:
        self._settings = settings
        self._account = VenueAccount(account, instruments, settings)
        self._orders = Registry(instruments)
        self._floor = Floor(self._account, self._orders)
        self._ahead = LookAhead(self._account, self._orders)
        self._untaken: list[VenueTransaction] = []
        self._saved_position = 0
        self._run = ""
        self._run_changed = False
        if state is not None:
            self._restore(state)

    # --- requests
    # ------------------------------------------------------------------------------------------------------

    def open(self, ts_ns: int = 0) -> list[VenueTransaction]:
        """Open a new account with its deposit: the first entry of its record. ``ts_ns`` is the event time it opens at."""
        if self._account.sequence:
            raise Defect("the account is open already")
        self._account.ts_ns = ts_ns
        with ledger():
            self._account.deposit(self._account.terms.deposit)
        return self._done()

    def begin(self, run: str) -> list[VenueTransaction]:
        """A run of a feed begins, or goes on (the same ``run``: nothing happens).

        In another run positions and event time count anew. Orders that still worked are canceled, and of the quotes
        only those are kept that the open positions need to be worth something.
        """
        if run == self._run:
            return []
        with ledger():
            for order in self._orders.in_priority():
                if order.is_open:
                    self._floor.end(order, OrderState.CANCELED, Ending.RUN_ENDED)
            if self._run:
                self._account.start_over()
        self._run, self._run_changed = run, True
        return self._done()

    def place(self, request: OrderRequest) -> list[VenueTransaction]:
        """Take or reject an order at once; it meets the ticks after this one."""
        with ledger():
            instrument = self._account.instruments.get(request.instrument)
            refusal = form_refusal(request, instrument, self._account.ts_ns)
            if refusal is None and instrument is not None:
                refusal = self._refusal(request, instrument)
            if refusal is None:
                self._accept(request)
            else:
                self._reject(request, refusal)
        return self._done()

    def cancel(self, client_order_id: str) -> list[VenueTransaction]:
        """End an open order at once, or refuse to."""
        with ledger():
            order = self._orders.find(client_order_id)
            if order is None:
                self._refuse_change(client_order_id, None, Refusal.ORDER_NOT_FOUND)
            else:
                self._floor.end(order, OrderState.CANCELED, Ending.CLIENT_REQUEST)
        return self._done()

    def amend(self, client_order_id: str, price: Decimal) -> list[VenueTransaction]:
        """Move an open order's price (its stop, if it has one that has not triggered) at once, or refuse to."""
        with ledger():
            order = self._orders.find(client_order_id)
            refusal = self._amend_refusal(order, price)
            if order is None or refusal is not None:
                self._refuse_change(client_order_id, order, refusal or Refusal.ORDER_NOT_FOUND, price)
            else:
                self._amend(order, price)
        return self._done()

    # --- ticks
    # ---------------------------------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> list[VenueTransaction]:
        """Act on the next tick."""
        if tick.position <= self._account.position:
            return []
        if self._ahead.is_quiet(tick):
            self._account.see(tick)
            return []
        return self.step(tick)

    def step(self, tick: Tick) -> list[VenueTransaction]:
        """Act on the next tick without asking whether it is quiet: slower than :meth:`on_tick`, and always right."""
        if tick.position <= self._account.position:
            return []
        with ledger():
            self._floor.tick(tick)
        return self._done()

    def is_quiet(self, tick: Tick) -> bool:
        """Whether the next tick would change nothing but marks. May say no for one that turns out to be."""
        return self._ahead.is_quiet(tick)

    def quiet_until(self, window: TickWindow, start: int) -> int:
        """First index from ``start`` that may change anything, or ``len(window.ticks)``. Changes nothing itself."""
        return self._ahead.quiet_until(window, start)

    def skip(self, position: int) -> None:
        """The ticks up to ``position`` never come."""
        self._account.position = max(self._account.position, position)
        self._ahead.forget()

    def advance(self, window: TickWindow, stop: int) -> None:
        """All ticks of the window before ``stop`` have passed quietly."""
        ticks = window.ticks
        start = max(0, self._account.position - ticks[0].position + 1)
        if start >= stop:
            return
        for tick in self._ahead.latest(window, start, stop):
            self._account.see(tick)

    # --- state
    # ---------------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The last tick seen."""
        return self._account.position

    @property
    def marks(self) -> Mapping[str, Tick]:
        """The last tick of each instrument."""
        return self._account.marks

    @property
    def sequence(self) -> int:
        """The last entry of the record."""
        return self._account.sequence

    @property
    def is_open(self) -> bool:
        """Whether the account has been opened."""
        return self._account.sequence > 0

    def state(self) -> MatcherState:
        """Everything that must be saved to continue from here."""
        return MatcherState(
            standing=self._standing(),
            orders=tuple(self._orders.in_priority()),
            positions=tuple(self._account.positions[key] for key in self._account.sorted_positions()),
        )

    @property
    def has_moved(self) -> bool:
        """Whether the feed's position has changed since changes were last taken."""
        return self._account.position != self._saved_position

    @property
    def has_changes(self) -> bool:
        """Whether anything but the feed's position and the marks has changed since changes were last taken."""
        changed = self._untaken or self._account.changed_positions or self._orders.has_changed
        return bool(changed) or self._run_changed

    def take_changes(self) -> Changes:
        """What changed since this was last called; applied in order, changes add up to :meth:`state`."""
        account = self._account
        keys = sorted(account.changed_positions, key=by_age)
        account.changed_positions.clear()
        self._saved_position = account.position
        self._run_changed = False
        entries, self._untaken = self._untaken, []
        return Changes(
            transactions=tuple(entries),
            orders=self._orders.take_changed(),
            positions=tuple(account.positions[key] for key in keys if key in account.positions),
            closed=tuple(key for key in keys if key not in account.positions),
            standing=self._standing(),
        )

    # --- questions
    # -----------------------------------------------------------------------------------------------------

    def order(self, client_order_id: str) -> VenueOrder | None:
        """An open order; None for one that has ended or never was."""
        order = self._orders.find(client_order_id)
        return None if order is None else describe(order)

    def open_orders(self) -> list[VenueOrder]:
        """The working orders by time priority; exits that wait for their entry's first fill are not working yet."""
        return [describe(o) for o in self._orders.in_priority() if o.state is OrderState.WORKING]

    def positions(self) -> list[VenuePosition]:
        """The open positions."""
        held = (self._account.positions[key] for key in self._account.sorted_positions())
        return [VenuePosition(instrument=p.instrument, quantity=p.quantity, cost=p.cost, ref=p.ref) for p in held]

    def balance(self) -> VenueBalance:
        """The account's figures at the last marks."""
        sums = self._account.sums
        with ledger():
            unrealised, used = self._account.figures()
            return VenueBalance(
                currency=self._account.terms.currency,
                balance=sums.balance,
                unrealised=unrealised,
                margin_used=used,
                deposits=sums.deposits,
                realised=sums.realised,
                financing=sums.financing,
                fees=sums.fees,
                last_sequence=self._account.sequence,
            )

    # --- inside
    # --------------------------------------------------------------------------------------------------------

    def _done(self) -> list[VenueTransaction]:
        self._ahead.forget()
        entries = self._account.take_entries()
        self._untaken.extend(entries)
        return entries

    def _refusal(self, request: OrderRequest, instrument: Instrument) -> Refusal | None:
        """Why the account or the market does not allow a request that is right in itself."""
        account = self._account
        orders = self._orders
        if orders.is_open(request.client_order_id) or any(
            orders.is_open(exit_.client_order_id) for exit_ in request.attached
        ):
            return Refusal.DUPLICATE_CLIENT_ID
        if len(orders) + 1 + len(request.attached) > self._settings.open_orders_max:
            return Refusal.TOO_MANY_ORDERS
        mark = account.marks.get(request.instrument)
        if mark is None:
            return Refusal.NO_PRICE
        if not account.has_rate(instrument):
            return Refusal.NO_CONVERSION
        if _reduces(request):
            refusal = self._position_refusal(request)
            if refusal is not None:
                return refusal
        elif request.type is _MARKET:
            price = taken_price(instrument, self._settings, mark, request.side, request.quantity)
            wanted = Execution(instrument, request.side, request.quantity, price, _TAKER, None)
            if not account.affords(wanted):
                return Refusal.INSUFFICIENT_MARGIN
        if self._settings.reject_rate:
            drawn_for = (request.instrument, account.position, request.side.value, request.quantity)
            if happens(self._settings.reject_rate, self._settings.seed, "reject", *drawn_for):
                return Refusal.SIMULATED_REJECT
        return None

    def _position_refusal(self, request: OrderRequest) -> Refusal | None:
        """Why a request that must reduce a position cannot."""
        account, ref = self._account, request.position_ref
        if ref is not None:
            if not account.held(request.instrument, ref):
                return Refusal.UNKNOWN_POSITION
            if not account.closable(request.side, request.instrument, ref):
                return Refusal.WRONG_SIDE
        elif request.reduce_only:
            if account.terms.hedging:
                return Refusal.UNKNOWN_POSITION
            if not account.closable(request.side, request.instrument, None):
                return Refusal.REDUCE_ONLY_NOTHING
        return None

    def _accept(self, request: OrderRequest) -> None:
        order = self._new_order(request, _WORKING)
        price = order.price if order.stop_price is None else order.stop_price
        self._account.note_order(_ACCEPTED, order, order.quantity, price)
        now_ns = self._account.ts_ns
        self._orders.add(order, now_ns)
        if request.attached:
            for child in self._new_exits(order, request.attached, _DORMANT):
                self._orders.add(child, now_ns)

    def _reject(self, request: OrderRequest, refusal: Refusal) -> None:
        order = self._new_order(request, OrderState.REJECTED)
        self._orders.touch(order)
        self._account.note_order(TransactionKind.ORDER_REJECTED, order, order.quantity, reason=str(refusal))
        for child in self._new_exits(order, request.attached, OrderState.CANCELED):
            # An id that is somebody's open order stays what it is: this exit never came to be.
            if child.client_order_id == order.client_order_id or self._orders.is_open(child.client_order_id):
                continue
            self._orders.touch(child)
            reason = str(Ending.PARENT_ENDED)
            self._account.note_order(TransactionKind.ORDER_CANCELED, child, child.quantity, reason=reason)

    def _new_order(self, request: OrderRequest, state: OrderState) -> WorkingOrder:
        account = self._account
        order_id = account.next_id
        ref = request.position_ref
        if ref is None and account.terms.hedging:
            ref = order_id  # an entry opens a position that bears its name
        delay_ns = latency_ns(self._settings, request.instrument, account.position, request.side, request.quantity)
        # With more names than fifteen Python calls by a dict of them, which takes four times as long: what few orders
        # have is set after it.
        order = WorkingOrder(
            venue_order_id=order_id,
            client_order_id=request.client_order_id,
            instrument=request.instrument,
            side=request.side,
            type=request.type,
            quantity=request.quantity,
            time_in_force=request.time_in_force,
            price=request.price,
            stop_price=request.stop_price,
            position_ref=ref,
            state=state,
            rank=self._orders.next_rank(),
            accepted_position=account.position,
            due_ns=account.ts_ns + delay_ns,
            correlation_id=request.correlation_id,
        )
        if request.time_in_force is _GTD:
            order.expire_at_ns = request.expire_at_ns
        if _reduces(request):
            order.reduce_only = True
        if request.closes:
            order.closes = request.closes
        if request.attached:
            order.children = tuple(f"{order_id}-{n}" for n in range(1, len(request.attached) + 1))
        return order

    def _new_exits(
        self, entry: WorkingOrder, attached: tuple[AttachedExit, ...], state: OrderState
    ) -> list[WorkingOrder]:
        """The exits of an entry, stops first: where a tick meets both, the worse case is taken."""
        exits: list[WorkingOrder] = []
        stops_first = sorted(attached, key=lambda exit_: exit_.type is _LIMIT)
        for child_id, exit_ in zip(entry.children, stops_first, strict=True):
            child = WorkingOrder(
                venue_order_id=child_id,
                client_order_id=exit_.client_order_id,
                instrument=entry.instrument,
                side=entry.side.opposite,
                type=exit_.type,
                quantity=entry.quantity - entry.closes,
                reduce_only=True,
                position_ref=entry.position_ref,
                state=state,
                rank=self._orders.next_rank(),
                accepted_position=self._account.position,
                due_ns=self._account.ts_ns,
                parent=entry.venue_order_id,
                correlation_id=entry.correlation_id,
            )
            if exit_.type is _LIMIT:
                child.price = exit_.price
            else:
                child.stop_price = exit_.stop_price
            if exit_.type is _TRAILING:
                child.trail_distance = exit_.trail_distance
            if len(attached) > 1:
                child.siblings = tuple(other for other in entry.children if other != child_id)
            exits.append(child)
        return exits

    def _amend_refusal(self, order: WorkingOrder | None, price: Decimal) -> Refusal | None:
        if order is None:
            return Refusal.ORDER_NOT_FOUND
        if order.type is OrderType.MARKET:
            return Refusal.TYPE_INVALID
        if order.triggered_at is not None:
            return Refusal.ALREADY_TRIGGERED
        return price_refusal(price, self._account.instruments[order.instrument])

    def _amend(self, order: WorkingOrder, price: Decimal) -> None:
        if order.waits_for_stop:
            order.stop_price = price
        else:
            order.price = price
        order.accepted_position = self._account.position  # at its new price it has met no tick yet
        self._orders.touch(order)
        if order.state is _WORKING:
            self._orders.watch(order, self._account.ts_ns)
        self._account.note_order(TransactionKind.ORDER_AMENDED, order, price=price)

    def _refuse_change(
        self, client_order_id: str, order: WorkingOrder | None, refusal: Refusal, price: Decimal | None = None
    ) -> None:
        self._account.note(
            TransactionKind.CANCEL_REFUSED,
            client_order_id=client_order_id,
            venue_order_id=None if order is None else order.venue_order_id,
            instrument=None if order is None else order.instrument,
            price=price,
            reason=str(refusal),
        )

    def _standing(self) -> Standing:
        account = self._account
        return Standing(
            sequence=account.sequence,
            position=account.position,
            ts_ns=account.ts_ns,
            rank=self._orders.rank,
            sums=account.sums,
            marks=tuple(account.marks[symbol] for symbol in sorted(account.marks)),
            run=self._run,
        )

    def _restore(self, state: MatcherState) -> None:
        standing = state.standing
        self._account.sequence = standing.sequence
        self._account.position = self._saved_position = standing.position
        self._account.ts_ns = standing.ts_ns
        self._run = standing.run
        self._orders.rank = standing.rank
        with ledger():
            self._account.restore(standing.sums, state.positions, standing.marks)
            for order in state.orders:
                self._orders.add(order, standing.ts_ns)
        self._orders.take_changed()


def describe(order: WorkingOrder) -> VenueOrder:
    """An order as the venue tells others about it."""
    return VenueOrder(
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        instrument=order.instrument,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=order.filled,
        state=str(OrderState.WORKING if order.is_open else order.state),
    )


def _reduces(request: OrderRequest) -> bool:
    """Whether a request may never open or add to a position."""
    return request.reduce_only or request.position_ref is not None
