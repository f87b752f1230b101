"""The life of an order, in one table.

An order is born as an *intent*: a row that is durable before a single byte is sent. From there three different things
may end it without the venue ever having seen it, and they are three different words. ``DENIED``: our own gate said no.
``NOT_SENT``: it was proved never to have reached the venue (a pause caught it, or the venue's gap-free record does not know
it). ``REJECTED``: the venue saw it and said no.

Once it may have been sent, only the venue can say what it is. A timeout, a lost connection, or a restart that finds an
intent without an answer makes it ``UNKNOWN``: a state in which the exposure is frozen, nothing is sent again, and every
lookup continues until the venue has told us. ``UNKNOWN`` leads everywhere because the truth may be anything.

Two rules keep the books whole whatever arrives, and in whatever order. A late fill always books: a venue may report the
cancel before the fill that preceded it, so terminal states accept ``FILL`` and stay what they are, unless the order is
now complete, in which case it is ``FILLED``. And events that repeat what is known (an accept after a fill) change
nothing. A fill of a ``DENIED``, ``NOT_SENT`` or ``REJECTED`` order, or beyond the order's quantity, or any sign of life
of a ``NOT_SENT`` one contradicts what we were sure of: it is booked all the same (the venue's money is real), the state
stays, and the account is halted by whoever applies it (:func:`contradicts_proof`).

::

    INTENDED ─▶ SUBMITTED ─▶ ACCEPTED ─▶ PARTIALLY_FILLED ─▶ FILLED
        │           │            │               │
        │           │            └──▶ CANCEL_REQUESTED ──▶ CANCELED
        ├─▶ DENIED  ├─▶ REJECTED └──▶ EXPIRED
        ├─▶ NOT_SENT│
        └─▶ UNKNOWN ◀┘ ──▶ any of them, once somebody has told us

The table is the only authority: :func:`next_status` raises :class:`~tradekeel.errors.IllegalTransition` for anything it does
not list, and changes nothing.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, structs

from tradekeel.domain.money import ZERO, ledger
from tradekeel.errors import Defect, IllegalTransition


class Side(StrEnum):
    """Direction of an order or fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order takes its price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"  # only as an attached exit


class TimeInForce(StrEnum):
    """How long an order works."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"


class Purpose(StrEnum):
    """Whether an order opens a trade or closes (a part of) one. Only entries add exposure on purpose."""

    ENTRY = "entry"
    EXIT = "exit"


class OrderStatus(StrEnum):
    """The states of an order's life."""

    INTENDED = "intended"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_REQUESTED = "cancel_requested"
    CANCELED = "canceled"
    EXPIRED = "expired"
    DENIED = "denied"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class OrderEvent(StrEnum):
    """What can happen to an order."""

    DENY = "deny"
    SUBMIT = "submit"
    ACCEPT = "accept"
    REJECT = "reject"
    FILL = "fill"  # any fill; whether it completes the order is decided from the quantities
    REQUEST_CANCEL = "request_cancel"
    WITHDRAW_CANCEL = "withdraw_cancel"  # we do not want it any more; if it is under way it may still come true
    REFUSE_CANCEL = "refuse_cancel"
    CANCEL = "cancel"
    EXPIRE = "expire"
    LOSE = "lose"  # nobody can say what became of it
    PROVE_NOT_SENT = "prove_not_sent"


S, E = OrderStatus, OrderEvent

TRANSITIONS: dict[OrderStatus, dict[OrderEvent, OrderStatus]] = {
    S.INTENDED: {
        E.DENY: S.DENIED,
        E.SUBMIT: S.SUBMITTED,
        E.PROVE_NOT_SENT: S.NOT_SENT,
        E.LOSE: S.UNKNOWN,
        E.REFUSE_CANCEL: S.INTENDED,  # of a cancel that overtook it, or that was for an order never sent
        # a venue's stream may be faster than the reply to the request itself
        E.ACCEPT: S.ACCEPTED,
        E.REJECT: S.REJECTED,
        E.FILL: S.PARTIALLY_FILLED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
    },
    S.SUBMITTED: {
        E.REFUSE_CANCEL: S.SUBMITTED,
        E.ACCEPT: S.ACCEPTED,
        E.REJECT: S.REJECTED,
        E.FILL: S.PARTIALLY_FILLED,
        E.REQUEST_CANCEL: S.CANCEL_REQUESTED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.LOSE: S.UNKNOWN,
        E.PROVE_NOT_SENT: S.NOT_SENT,
    },
    S.ACCEPTED: {
        E.ACCEPT: S.ACCEPTED,
        E.FILL: S.PARTIALLY_FILLED,
        E.REQUEST_CANCEL: S.CANCEL_REQUESTED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.REJECT: S.REJECTED,  # some venues accept the message and reject the order
        E.REFUSE_CANCEL: S.ACCEPTED,  # of an amendment, or the second answer to a cancel that was asked for twice
        E.LOSE: S.UNKNOWN,
    },
    S.PARTIALLY_FILLED: {
        E.ACCEPT: S.PARTIALLY_FILLED,
        E.FILL: S.PARTIALLY_FILLED,
        E.REQUEST_CANCEL: S.CANCEL_REQUESTED,
        E.REFUSE_CANCEL: S.PARTIALLY_FILLED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.LOSE: S.UNKNOWN,
    },
    S.CANCEL_REQUESTED: {
        E.ACCEPT: S.CANCEL_REQUESTED,
        E.FILL: S.CANCEL_REQUESTED,
        E.REQUEST_CANCEL: S.CANCEL_REQUESTED,
        E.WITHDRAW_CANCEL: S.ACCEPTED,  # both: UNKNOWN where nobody has accepted it yet, see apply
        E.REFUSE_CANCEL: S.ACCEPTED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.REJECT: S.REJECTED,
        E.LOSE: S.UNKNOWN,
        E.PROVE_NOT_SENT: S.NOT_SENT,
    },
    S.UNKNOWN: {
        E.ACCEPT: S.ACCEPTED,
        E.REJECT: S.REJECTED,
        E.FILL: S.PARTIALLY_FILLED,
        E.REQUEST_CANCEL: S.UNKNOWN,  # the book remembers the wish; first the venue must say that the order exists
        E.WITHDRAW_CANCEL: S.UNKNOWN,
        E.REFUSE_CANCEL: S.UNKNOWN,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.LOSE: S.UNKNOWN,
        E.PROVE_NOT_SENT: S.NOT_SENT,
    },
    # Terminal states: repeated news changes nothing, late fills book.
    S.FILLED: {E.ACCEPT: S.FILLED, E.FILL: S.FILLED, E.REFUSE_CANCEL: S.FILLED, E.CANCEL: S.FILLED, E.EXPIRE: S.FILLED},
    S.CANCELED: {
        E.ACCEPT: S.CANCELED,
        E.FILL: S.CANCELED,
        E.REFUSE_CANCEL: S.CANCELED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.CANCELED,
    },
    S.EXPIRED: {
        E.ACCEPT: S.EXPIRED,
        E.FILL: S.EXPIRED,
        E.REFUSE_CANCEL: S.EXPIRED,
        E.EXPIRE: S.EXPIRED,
        E.CANCEL: S.EXPIRED,
    },
    S.REJECTED: {E.REJECT: S.REJECTED, E.FILL: S.REJECTED, E.REFUSE_CANCEL: S.REJECTED},
    # News of the venue's about an order that was proved unsent contradicts the proof: taken in, and halts the account.
    S.NOT_SENT: {
        E.FILL: S.NOT_SENT,
        E.PROVE_NOT_SENT: S.NOT_SENT,
        E.ACCEPT: S.NOT_SENT,
        E.REJECT: S.NOT_SENT,
        E.CANCEL: S.NOT_SENT,
        E.EXPIRE: S.NOT_SENT,
        E.REFUSE_CANCEL: S.NOT_SENT,
    },
    S.DENIED: {E.FILL: S.DENIED},
}

TERMINAL = frozenset({S.FILLED, S.CANCELED, S.EXPIRED, S.DENIED, S.REJECTED, S.NOT_SENT})
"""States that no event but a late fill changes."""

IN_DOUBT = frozenset({S.INTENDED, S.SUBMITTED, S.UNKNOWN})
"""States that a restart must ask the venue about; :attr:`Order.in_doubt` adds the one that takes a second look."""


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """The state that follows, or :class:`~tradekeel.errors.IllegalTransition`; nothing is changed either way."""
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransition("order", status, event) from None


def allows(status: OrderStatus, event: OrderEvent) -> bool:
    """Whether the table has an answer."""
    return event in TRANSITIONS[status]


class AttachedExit(Struct, frozen=True, kw_only=True):
    """A protective order that the venue keeps for an entry; siblings cancel each other (OCO).

    ``type`` STOP is a stop-loss at ``stop_price``, LIMIT a take-profit at ``price``, TRAILING_STOP trails the best price by
    ``trail_distance`` (price units). It becomes active with the entry's fills, for the quantity filled.
    """

    client_order_id: str
    type: OrderType
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_distance: Decimal | None = None


class Order(Struct, frozen=True):
    """One instruction to a venue, and everything known about its life. Amounts in base units, prices in quote.

    Where many are made the first fields go by their place: a call with more than fifteen names takes several times as long.
    """

    client_order_id: str
    execution: str
    account: str
    strategy: str | None  # None: a person, the monitor for an adopted trade, or the venue itself
    instrument: str
    side: Side
    type: OrderType
    purpose: Purpose
    quantity: Decimal
    time_in_force: TimeInForce = TimeInForce.GTC
    price: Decimal | None = None  # limit
    stop_price: Decimal | None = None
    trail_distance: Decimal | None = None
    expire_at_ns: int | None = None  # GTD
    reduce_only: bool = False
    position_ref: str | None = None  # hedging: the venue's id of the position that an exit reduces
    trade_id: str | None = None
    signal_id: str | None = None
    parent_id: str | None = None  # attached exits: the entry they protect
    oco_group: str | None = None
    after_cancel_of: tuple[str, ...] = ()  # not sent before these siblings are confirmed ended
    close_reason: str | None = None  # exits: why (see trades.CloseReason)
    source: str = "strategy"  # strategy, monitor, operator, venue
    decision: int = 0
    leg: int = 0
    attempt: int = 0
    renews: str | None = None  # the never-sent order whose decision this one takes again
    status: OrderStatus = OrderStatus.INTENDED
    status_reason: str = ""
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO  # sum of price * quantity over fills, exact
    fee: Decimal = ZERO  # account currency
    venue_order_id: str | None = None
    correlation_id: str = ""
    reference_price: Decimal | None = None  # the touch at the decision, for slippage and the collar
    created_ns: int = 0
    submitted_ns: int | None = None
    updated_ns: int = 0
    deadline_ns: int | None = None  # unsent after this: not sent at all
    stamp: int = 0  # where in the feed it was decided (see records.Stamp)
    closes: tuple[str, ...] = ()  # an entry that turns: the trades that its first units close, in this order

    @property
    def open_quantity(self) -> Decimal:
        """What may still fill; zero once terminal."""
        return ZERO if self.status in TERMINAL else max(self.quantity - self.filled_quantity, ZERO)

    @property
    def is_terminal(self) -> bool:
        """Whether the order's life is over (late fills excepted)."""
        return self.status in TERMINAL

    @property
    def seen_at_venue(self) -> bool:
        """Whether the venue has ever told us that it has the order."""
        return self.venue_order_id is not None or self.filled_quantity > ZERO

    @property
    def exits_of(self) -> tuple[str, ...]:
        """The trades that it closes something of: an exit of its own, an entry that turns of those the other way."""
        if self.purpose is Purpose.EXIT and self.trade_id is not None:
            return (self.trade_id,)
        return self.closes

    @property
    def in_doubt(self) -> bool:
        """Whether only the venue can say what became of it. A cancel may have been asked for before anybody answered."""
        if self.status is S.CANCEL_REQUESTED:
            return not self.seen_at_venue
        return self.status in IN_DOUBT


def apply(order: Order, event: OrderEvent, now_ns: int, **changes: object) -> Order:
    """The order after ``event`` (not FILL: see :func:`fill`). ``changes`` are further fields that the event sets.

    Two things the table cannot know depend on the fills. An order that is accepted again, or whose cancel is refused or
    withdrawn, is PARTIALLY_FILLED if it has fills; and if nobody has ever seen it at the venue, a refused cancel says
    nothing ("no such order" is a refusal, too), so it is UNKNOWN. An order that was seen at the venue cannot be proved unsent.
    """
    if event is OrderEvent.FILL:
        raise Defect("fills carry quantities: use fill()")
    if event is OrderEvent.PROVE_NOT_SENT and order.seen_at_venue and not order.is_terminal:
        raise IllegalTransition("order", order.status, event)
    status = next_status(order.status, event)
    if status is S.ACCEPTED and order.filled_quantity > ZERO:
        status = S.PARTIALLY_FILLED
    elif order.status is S.CANCEL_REQUESTED and status is S.ACCEPTED and order.in_doubt:
        status = S.UNKNOWN
    return structs.replace(order, status=status, updated_ns=now_ns, **changes)


def fill(order: Order, quantity: Decimal, price: Decimal, fee: Decimal, now_ns: int) -> Order:
    """The order after a fill of ``quantity`` (> 0) at ``price``. Late fills and overfills book like any other."""
    if quantity <= ZERO:
        raise Defect(f"fill of {quantity} on order {order.client_order_id}: a fill's quantity is above zero")
    status = next_status(order.status, OrderEvent.FILL)
    with ledger():
        filled = order.filled_quantity + quantity
        value = order.filled_value + quantity * price
        fees = order.fee + fee
    if filled >= order.quantity and status not in (S.NOT_SENT, S.DENIED, S.REJECTED):
        status = S.FILLED
    return structs.replace(
        order, status=status, filled_quantity=filled, filled_value=value, fee=fees, updated_ns=now_ns
    )


def contradicts_proof(before: Order, after: Order) -> str | None:
    """Why news of the venue's that was just applied must halt the account, or None.

    A fill of an order that was denied, rejected or proved unsent; a fill beyond the quantity; any sign of life of an order
    that was proved unsent, or that was taken for ended without the venue ever having shown it (a person said so).
    """
    filled = after.filled_quantity > before.filled_quantity
    if before.status in (S.NOT_SENT, S.DENIED, S.REJECTED) and filled:
        return f"order {after.client_order_id} was {before.status} and has a fill"
    if (before.status is S.NOT_SENT and after.venue_order_id is not None) or _turns_up(before, after):
        return f"order {after.client_order_id} was {before.status} and the venue has it as {after.venue_order_id}"
    if filled and after.filled_quantity > after.quantity:
        done = f"{after.filled_quantity} of {after.quantity}"
        return f"order {after.client_order_id} is filled beyond its quantity: {done}"
    return None


def _turns_up(before: Order, after: Order) -> bool:
    """Whether an order that had ended unseen is shown by the venue for the first time."""
    ended = before.status in (S.CANCELED, S.EXPIRED)
    return ended and before.venue_order_id is None and after.venue_order_id is not None


def in_order_of_decision(order: Order) -> tuple[int, str, int, int, int]:
    """A key to sort orders by; never by their ids, which are random on a live account: the same in every run."""
    return order.created_ns, order.source, order.decision, order.leg, order.attempt
