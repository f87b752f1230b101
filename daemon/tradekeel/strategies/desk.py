"""A strategy's own book of what it asked for and what became of it, as part of its state.

Between a decision and the news of it lie a disk, a venue and, live, any number of ticks. A strategy that looked at the
account to see whether it has asked already would ask twice. So it writes down each entry as an *attempt* before
anything can be known of it, and lets the news settle it:

* an attempt is *in flight* until its entry order is over (filled, or ended short of that): at most one at a time, and
  nothing is entered meanwhile. "Unknown" does not end it, because the order may have been executed;
* what it got is *held* until the trade is closed, whoever closed it;
* a fill that comes after the end of its order (venues do that) makes it held again;
* an exit that ended without closing the trade is asked for again, later. So is that of a trade which an entry was to
  close on its way (``Enter(reverse=True)``): by then the entry may be refused, and the exit is not.

Attempts are recognised by the trade's metadata, which travels with it from the request on.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from tradekeel.domain.messages import Exit, Request
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Purpose
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import TradeStatus
from tradekeel.strategies.base import ORDER_ENDED, FillEvent, OrderUpdate


class Held(Struct, frozen=True, gc=False):
    """One entry that may fill, or that has filled and is not closed."""

    attempt: int  # counts the strategy's entries from 1
    slot: int  # the strategy's own number for it (a layer); 0 where it has none
    sign: int  # +1 long, -1 short
    price: Decimal  # of the latest entry fill; the quote that the decision saw until there is one
    asked: Decimal  # units
    quantity: Decimal = ZERO  # units held now
    trade_id: str = ""  # known from the first fill on
    out: str = ""  # why it is to be left; "" while it is to be kept
    leaving: bool = False  # an exit for all of it was asked for and has not failed


class Desk(Struct, frozen=True, gc=False):
    """The attempts of a strategy that are in flight or held, oldest first."""

    attempts: int = 0
    in_flight: int = 0  # the attempt whose entry order is not over; 0 for none
    held: tuple[Held, ...] = ()
    enter_from_ns: int = 0  # no entry before, after one was refused
    leave_again_ns: int = 0  # from then on exits are due that failed, or that a late fill made necessary; 0 for none

    @property
    def units(self) -> Decimal:
        """What is held, and what the attempt in flight may still bring."""
        return sum((h.asked if h.attempt == self.in_flight else h.quantity for h in self.held), ZERO)

    @property
    def kept(self) -> tuple[Held, ...]:
        """What is held and not to be left."""
        return tuple(h for h in self.held if not h.out)


class Settled(Struct, frozen=True, gc=False):
    """The desk after some news, and the entry that the news was about."""

    desk: Desk
    entry: Held | None = None  # as it is after the news, or was before it went
    closed: bool = False  # it was held and is not any more
    refused: bool = False  # its order ended and brought nothing
    late: bool = False  # it had been given up, and was filled after all


def begin(desk: Desk, *, slot: int, sign: int, price: Decimal, quantity: Decimal) -> Desk:
    """An entry is being asked for; its request carries :func:`marks`."""
    number = desk.attempts + 1
    entry = Held(number, slot, sign, price, quantity)
    return structs.replace(desk, attempts=number, in_flight=number, held=(*desk.held, entry))


def marks(desk: Desk, **more: int | str) -> dict[str, Any]:
    """The metadata by which the attempt in flight is recognised again."""
    return {"attempt": desk.in_flight, **more}


def after_fill(desk: Desk, event: FillEvent) -> Settled:
    """The desk after a fill of one of the strategy's trades."""
    trade = event.trade
    known = next((held for held in desk.held if held.trade_id == trade.trade_id), None)
    number = known.attempt if known is not None else _marked(trade.metadata, desk)
    if known is None:
        known = next((held for held in desk.held if held.attempt == number), None)
    if not number or (known is None and not event.opens):
        return Settled(desk)  # adopted from the venue, or given up long ago: not of this desk
    late = known is None
    sign = trade.side.sign
    before = known or Held(number, int(trade.metadata.get("layer", 0)), sign, event.fill.price, trade.quantity)
    entry = structs.replace(
        before,
        price=event.fill.price if event.opens else before.price,
        quantity=trade.open_quantity,
        trade_id=trade.trade_id,
        leaving=before.leaving and not event.opens,  # the exit that was asked for is too small now
    )
    again_ns = max(event.ts_ns, 1) if before.out and event.opens else desk.leave_again_ns
    in_flight = 0 if number == desk.in_flight and _entry_over(event) else desk.in_flight
    over = trade.status is TradeStatus.CLOSED
    held = _without(desk, number) if over else _with(desk, entry)
    after = structs.replace(desk, in_flight=in_flight, held=held, leave_again_ns=again_ns)
    return Settled(after, entry, closed=over, late=late)


def after_order(desk: Desk, event: OrderUpdate, retry_after_s: int) -> Settled:
    """The desk after other news of an order. Refused entries and failed exits wait ``retry_after_s`` before the next."""
    if event.event not in ORDER_ENDED or not event.order.is_terminal:
        return Settled(desk)
    again_ns = event.ts_ns + retry_after_s * NS_PER_S
    if event.order.purpose is Purpose.EXIT:
        return _after_exit_failed(desk, event, again_ns)
    if event.order.closes:
        desk = _after_turn_failed(desk, event, again_ns)
    entry = next((held for held in desk.held if held.attempt == desk.in_flight), None)
    if entry is None or entry.trade_id not in ("", event.order.trade_id):
        return Settled(desk)
    over = entry.quantity <= ZERO
    held = _without(desk, entry.attempt) if over else desk.held
    refused = over and not entry.trade_id
    from_ns = again_ns if event.order.filled_quantity <= ZERO else desk.enter_from_ns
    return Settled(
        structs.replace(desk, in_flight=0, held=held, enter_from_ns=from_ns),
        entry,
        closed=over and not refused,
        refused=refused,
    )


def leave(
    desk: Desk, instrument: str, reason: str, *, sign: int = 0, attempt: int = 0
) -> tuple[Desk, tuple[Request, ...]]:
    """Ask for the exit of everything held (of one direction, or of one attempt) that is not being left already.

    What is in flight without a fill is marked, too: once it fills, ``leave_again_ns`` says that its exit is due.
    """
    held = tuple(
        structs.replace(h, out=reason) if not h.out and sign in (0, h.sign) and attempt in (0, h.attempt) else h
        for h in desk.held
    )
    return leave_again(structs.replace(desk, held=held), instrument)


def leave_again(desk: Desk, instrument: str) -> tuple[Desk, tuple[Request, ...]]:
    """Ask for the exit of whatever is to be left, is held, and has no exit under way."""
    due = {h.trade_id for h in desk.held if h.out and not h.leaving and h.trade_id and h.quantity > ZERO}
    exits = tuple(
        Exit(instrument=instrument, trade_id=h.trade_id, reason=h.out) for h in desk.held if h.trade_id in due
    )
    held = tuple(structs.replace(h, leaving=True) if h.trade_id in due else h for h in desk.held)
    return structs.replace(desk, held=held, leave_again_ns=0), exits


def _after_exit_failed(desk: Desk, event: OrderUpdate, again_ns: int) -> Settled:
    """Only exits that this strategy asked for count: an attached stop that is canceled is somebody else's business."""
    if event.order.parent_id is not None or event.order.source != "strategy":
        return Settled(desk)
    entry = next((h for h in desk.held if h.leaving and h.trade_id == event.order.trade_id), None)
    if entry is None:
        return Settled(desk)
    back = structs.replace(entry, leaving=False)
    return Settled(structs.replace(desk, held=_with(desk, back), leave_again_ns=again_ns), back)


def _after_turn_failed(desk: Desk, event: OrderUpdate, again_ns: int) -> Desk:
    """An entry that was to close what stands against it has ended before it had: what is left is left by exits."""
    closes = event.order.closes
    left = {held.attempt for held in desk.held if held.leaving and held.trade_id in closes}
    if not left:
        return desk
    held = tuple(structs.replace(h, leaving=False) if h.attempt in left else h for h in desk.held)
    return structs.replace(desk, held=held, leave_again_ns=again_ns)


def _entry_over(event: FillEvent) -> bool:
    order, trade = event.order, event.trade
    if order is not None and order.purpose is Purpose.ENTRY and order.is_terminal:
        return True
    return trade.entered_quantity >= trade.quantity or trade.status is TradeStatus.CLOSED


def _marked(metadata: dict[str, Any], desk: Desk) -> int:
    number = metadata.get("attempt", 0)
    return number if isinstance(number, int) and 0 < number <= desk.attempts else 0


def _with(desk: Desk, entry: Held) -> tuple[Held, ...]:
    kept = {held.attempt: held for held in desk.held} | {entry.attempt: entry}
    return tuple(kept[number] for number in sorted(kept))


def _without(desk: Desk, number: int) -> tuple[Held, ...]:
    return tuple(held for held in desk.held if held.attempt != number)
