"""What the venue refuses before it looks at the market, and in which words.

The codes are the venue's own vocabulary: they appear as the reason of ORDER_REJECTED transactions and, where an order
dies later, of ORDER_CANCELED. They are stable: people grep for them.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching.working import STOP_TYPES
from tradekeel.domain.messages import OrderRequest
from tradekeel.domain.money import ZERO, on_grid
from tradekeel.domain.orders import AttachedExit, OrderType, Side, TimeInForce

ATTACHED_MAX = 8
CLIENT_ID_CHARACTERS_MAX = 64


# Looked up once: going through an enum's class costs as much as two sums.
_GTD = TimeInForce.GTD
_LIMIT, _STOP, _TRAILING = OrderType.LIMIT, OrderType.STOP, OrderType.TRAILING_STOP


class Refusal(StrEnum):
    """Why an order was rejected, or canceled by the venue, or a cancel or an amend refused."""

    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    CLIENT_ID_INVALID = "CLIENT_ID_INVALID"
    TYPE_INVALID = "TYPE_INVALID"  # a trailing stop is an attached exit only
    PRICE_MISSING = "PRICE_MISSING"
    PRICE_INVALID = "PRICE_INVALID"  # zero or less, or a price that the type does not have
    PRICE_PRECISION = "PRICE_PRECISION"
    QUANTITY_PRECISION = "QUANTITY_PRECISION"
    QUANTITY_TOO_SMALL = "QUANTITY_TOO_SMALL"
    QUANTITY_TOO_LARGE = "QUANTITY_TOO_LARGE"
    EXPIRY_MISSING = "EXPIRY_MISSING"
    EXPIRY_IN_PAST = "EXPIRY_IN_PAST"
    ATTACHED_INVALID = "ATTACHED_INVALID"
    WRONG_SIDE = "WRONG_SIDE"
    DUPLICATE_CLIENT_ID = "DUPLICATE_CLIENT_ID"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    NO_PRICE = "NO_PRICE"
    NO_CONVERSION = "NO_CONVERSION"
    UNKNOWN_POSITION = "UNKNOWN_POSITION"
    REDUCE_ONLY_NOTHING = "REDUCE_ONLY_NOTHING"
    INSUFFICIENT_MARGIN = "INSUFFICIENT_MARGIN"
    SIMULATED_REJECT = "SIMULATED_REJECT"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    ALREADY_TRIGGERED = "ALREADY_TRIGGERED"


class Ending(StrEnum):
    """Why the venue ended an order that it had accepted."""

    CLIENT_REQUEST = "client_request"
    IOC_REMAINDER = "ioc_remainder"
    FOK_UNFILLED = "fok_unfilled"
    OCO = "oco"
    PARENT_ENDED = "parent_ended"
    EXIT_FILLED = "exit_filled"  # an entry still working when one of its exits fills
    NOTHING_TO_REDUCE = "nothing_to_reduce"
    MARGIN_CALL = "margin_call"
    GTD = "gtd"
    RUN_ENDED = "run_ended"  # the feed begins another run


def form_refusal(request: OrderRequest, instrument: Instrument | None, now_ns: int) -> Refusal | None:
    """What is wrong with the request itself, whatever the market and the account; None if nothing is."""
    if instrument is None:
        return Refusal.UNKNOWN_INSTRUMENT
    if not 0 < len(request.client_order_id) <= CLIENT_ID_CHARACTERS_MAX:
        return Refusal.CLIENT_ID_INVALID
    refusal = _prices_refusal(request, instrument) or _quantity_refusal(request.quantity, instrument)
    if refusal is None and request.time_in_force is _GTD:
        refusal = _expiry_refusal(request, now_ns)
    if refusal is None and request.attached:
        refusal = _attached_refusal(request, instrument)
    return refusal


def price_refusal(price: Decimal | None, instrument: Instrument) -> Refusal | None:
    """What is wrong with a price that an order must have."""
    if price is None:
        return Refusal.PRICE_MISSING
    if not price.is_finite() or price <= ZERO:
        return Refusal.PRICE_INVALID
    return None if on_grid(price, instrument.tick_size) else Refusal.PRICE_PRECISION


_PRICED = {
    OrderType.MARKET: (False, False),
    OrderType.LIMIT: (True, False),
    OrderType.STOP: (False, True),
    OrderType.STOP_LIMIT: (True, True),
}
"""Whether a type has a limit price, and a stop price."""


def _prices_refusal(request: OrderRequest, instrument: Instrument) -> Refusal | None:
    priced = _PRICED.get(request.type)
    if priced is None:
        return Refusal.TYPE_INVALID
    has_price, has_stop = priced
    refusal = None
    if has_price:
        refusal = price_refusal(request.price, instrument)
    elif request.price is not None:
        refusal = Refusal.PRICE_INVALID
    if refusal is None and has_stop:
        refusal = price_refusal(request.stop_price, instrument)
    elif refusal is None and request.stop_price is not None:
        refusal = Refusal.PRICE_INVALID
    return refusal


def _quantity_refusal(quantity: Decimal, instrument: Instrument) -> Refusal | None:
    if not quantity.is_finite() or quantity < instrument.quantity_min:
        return Refusal.QUANTITY_TOO_SMALL
    if quantity > instrument.quantity_max:
        return Refusal.QUANTITY_TOO_LARGE
    return None if on_grid(quantity, instrument.lot_step) else Refusal.QUANTITY_PRECISION


def _expiry_refusal(request: OrderRequest, now_ns: int) -> Refusal | None:
    if request.expire_at_ns is None:
        return Refusal.EXPIRY_MISSING
    return Refusal.EXPIRY_IN_PAST if request.expire_at_ns <= now_ns else None


def _attached_refusal(request: OrderRequest, instrument: Instrument) -> Refusal | None:
    ids = {request.client_order_id, *(exit_.client_order_id for exit_ in request.attached)}
    if (
        request.reduce_only
        or request.position_ref is not None
        or len(request.attached) > ATTACHED_MAX
        or len(ids) <= len(request.attached)
        or any(not 0 < len(i) <= CLIENT_ID_CHARACTERS_MAX for i in ids)
    ):
        return Refusal.ATTACHED_INVALID
    for exit_ in request.attached:
        refusal = _exit_refusal(exit_, instrument)
        if refusal is not None:
            return refusal
    return None if _exits_surround(request) else Refusal.WRONG_SIDE


def _exit_refusal(exit_: AttachedExit, instrument: Instrument) -> Refusal | None:
    if exit_.type is _STOP:
        return price_refusal(exit_.stop_price, instrument)
    if exit_.type is _LIMIT:
        return price_refusal(exit_.price, instrument)
    if exit_.type is not _TRAILING:
        return Refusal.ATTACHED_INVALID
    refusal = price_refusal(exit_.trail_distance, instrument)
    if refusal is None and exit_.stop_price is not None:
        refusal = price_refusal(exit_.stop_price, instrument)
    return refusal


def _exits_surround(request: OrderRequest) -> bool:
    """Whether every stop lies on the losing side of every target, and both on their side of the entry's own price."""
    stops = [e.stop_price for e in request.attached if e.type in STOP_TYPES and e.stop_price is not None]
    targets = [e.price for e in request.attached if e.type is _LIMIT and e.price is not None]
    entry = [p for p in (request.price if request.price is not None else request.stop_price,) if p is not None]
    if request.side is Side.BUY:
        return _ascend(stops, entry) and _ascend(entry, targets) and _ascend(stops, targets)
    return _ascend(entry, stops) and _ascend(targets, entry) and _ascend(targets, stops)


def _ascend(lower: list[Decimal], upper: list[Decimal]) -> bool:
    return not lower or not upper or max(lower) < min(upper)
