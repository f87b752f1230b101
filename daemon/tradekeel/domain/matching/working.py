"""An order as the venue holds it, and the questions that its type answers: what touches it, and where does a trailing stop go.

A market order is due at once. A limit is touched when the other side reaches it, a stop when the market runs through
it. A stop that has triggered is a market order, a stop-limit that has triggered is a limit. The prices at which a
tick touches an order are :class:`Trigger` s; :mod:`~tradekeel.domain.matching.triggers` keeps them sorted so that one
comparison answers for thousands.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, StrEnum

from msgspec import Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.money import ZERO, Rounding, round_to
from tradekeel.domain.orders import OrderType, Side, TimeInForce
from tradekeel.errors import Defect


class OrderState(StrEnum):
    """Where an order stands at the venue."""

    DORMANT = "dormant"  # an attached exit whose entry has no fill yet
    WORKING = "working"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


OPEN_STATES = frozenset({OrderState.DORMANT, OrderState.WORKING})

_BUY = Side.BUY  # looked up once: going through an enum's class costs as much as two sums
_MARKET, _TRAILING = OrderType.MARKET, OrderType.TRAILING_STOP


class WorkingOrder(Struct, kw_only=True):
    """One order and everything the venue must remember about it. ``rank`` is its place in time priority."""

    venue_order_id: str
    client_order_id: str
    instrument: str
    side: Side
    type: OrderType
    quantity: Decimal
    closes: Decimal = (
        ZERO  # entries: so much of it, filled first, closes what was held: its attached exits protect the rest
    )
    filled: Decimal = ZERO
    time_in_force: TimeInForce = TimeInForce.GTC
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_distance: Decimal | None = None
    expire_at_ns: int | None = None
    reduce_only: bool = False
    position_ref: str | None = None
    state: OrderState = OrderState.WORKING
    rank: int = 0
    accepted_position: int = 0  # it meets ticks after this one only
    due_ns: int = 0  # and only from this event time on
    triggered_at: int | None = None  # position of the tick that triggered its stop
    parent: str | None = None  # attached exits: venue id of the entry
    children: tuple[str, ...] = ()  # entries: venue ids of the attached exits
    siblings: tuple[str, ...] = ()  # attached exits: those that share the position with it (OCO)
    fee_raw: Decimal = ZERO  # commission so far, before minimum and rounding
    fee: Decimal = ZERO  # commission booked so far
    correlation_id: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it may still do anything."""
        return self.state in OPEN_STATES

    @property
    def remaining(self) -> Decimal:
        """What may still fill."""
        return self.quantity - self.filled

    @property
    def waits_for_stop(self) -> bool:
        """Whether its stop has yet to be reached."""
        return self.type in STOP_TYPES and self.triggered_at is None

    @property
    def is_limit(self) -> bool:
        """Whether a limit price bounds its fills."""
        return self.type in LIMIT_TYPES

    @property
    def is_immediate(self) -> bool:
        """Whether its first eligible tick decides: market orders, and whatever does not rest."""
        return not self.waits_for_stop and (not self.is_limit or self.time_in_force in ONE_SHOT)


LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
ONE_SHOT = frozenset({TimeInForce.IOC, TimeInForce.FOK})


class When(IntEnum):
    """What must happen for an order to be looked at."""

    BID_FALLS = 0  # bid <= key
    BID_RISES = 1  # bid >= key
    ASK_FALLS = 2  # ask <= key
    ASK_RISES = 3  # ask >= key
    DUE = 4  # event time >= key, nanoseconds


Trigger = tuple[When, Decimal | int]

_BID_FALLS, _BID_RISES, _ASK_FALLS, _ASK_RISES, _DUE = When


def triggers(order: WorkingOrder, instrument: Instrument, ts_ns: int) -> tuple[Trigger, ...]:
    """When a tick must look at a working order; ``ts_ns`` is the event time now."""
    buys = order.side is _BUY
    if order.type is _MARKET or order.due_ns > ts_ns or order.is_immediate:
        return ((_DUE, order.due_ns),)
    if order.waits_for_stop:
        stop = stop_of(order)
        reached = (_ASK_RISES if buys else _BID_FALLS, stop)
        if order.type is not _TRAILING:
            return (reached,)
        # The market must run a whole step further than the stop's distance before the stop moves.
        reach = distance_of(order) + instrument.tick_size
        return (reached, (_ASK_FALLS, stop - reach) if buys else (_BID_RISES, stop + reach))
    return ((_ASK_FALLS if buys else _BID_RISES, limit_of(order)),)


def stop_reached(order: WorkingOrder, bid: Decimal, ask: Decimal) -> bool:
    """Whether the market is at the stop or through it: buys look at the ask, sells at the bid."""
    return ask >= stop_of(order) if order.side is _BUY else bid <= stop_of(order)


def limit_reached(order: WorkingOrder, bid: Decimal, ask: Decimal) -> bool:
    """Whether the limit can fill: buys against the ask, sells against the bid."""
    return ask <= limit_of(order) if order.side is _BUY else bid >= limit_of(order)


def trailed_stop(side: Side, distance: Decimal, instrument: Instrument, bid: Decimal, ask: Decimal) -> Decimal:
    """Where a trailing stop belongs at this quote, on the price grid, never nearer than ``distance``."""
    if side is _BUY:
        return round_to(ask + distance, instrument.tick_size, Rounding.PRICE_UP)
    return round_to(bid - distance, instrument.tick_size, Rounding.PRICE_DOWN)


def tighter(side: Side, candidate: Decimal, stop: Decimal) -> bool:
    """Whether ``candidate`` protects more than ``stop``: lower for a buy stop, higher for a sell stop."""
    return candidate < stop if side is _BUY else candidate > stop


def stop_of(order: WorkingOrder) -> Decimal:
    """The stop price of an order that has one."""
    if order.stop_price is None:
        raise Defect(f"order {order.venue_order_id} has no stop price")
    return order.stop_price


def limit_of(order: WorkingOrder) -> Decimal:
    """The limit price of an order that has one."""
    if order.price is None:
        raise Defect(f"order {order.venue_order_id} has no limit price")
    return order.price


def distance_of(order: WorkingOrder) -> Decimal:
    """The trailing distance of an order that has one."""
    if order.trail_distance is None:
        raise Defect(f"order {order.venue_order_id} has no trailing distance")
    return order.trail_distance
