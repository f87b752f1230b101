"""Which trade does a unit of a fill belong to?

An entry's fill opens its own trade. An exit's fill closes the trade that the exit was for. The fills of an entry that
turns close first the trades that it names, whole and in its order, and then open its own. Whatever is left over (a
flip, an overfill, a fill that a person or the venue caused) closes the instrument's open trades first in, first out,
and what is left even then is a position nobody decided: it becomes an *adopted* trade, so that every unit of the net
position belongs to exactly one trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.ids import derived_id
from tradekeel.domain.instruments import ledger_step
from tradekeel.domain.messages import Fill
from tradekeel.domain.money import ZERO, ledger, share_out
from tradekeel.domain.orders import Order, Purpose
from tradekeel.domain.trades import Allocation, Trade, TradeSide, TradeStatus, split_fill


class Allotment(Struct, frozen=True):
    """The parts of one fill, and the trade to adopt for units that belong to none."""

    parts: tuple[Allocation, ...]
    adopted: Trade | None = None


def allocate(
    fill: Fill,
    order: Order | None,
    named: Trade | None,
    others: Iterable[Trade],
    execution: str,
    currency: str,
    turned: Sequence[Trade] = (),
) -> Allotment:
    """Allocate every unit of ``fill``.

    ``order`` is ours or None, and ``named`` the open trade that it is for. ``others`` are the account's open trades, oldest
    first: they are gone through only if ``named`` leaves something over, and no further than until nothing is left.
    ``turned`` are those that an entry closes on its way (:attr:`~tradekeel.domain.orders.Order.closes`), as far as they are open.
    """
    with ledger():
        if order is not None and order.closes and named is not None:
            return _turn(fill, named, turned, others, execution, currency)
        if order is not None and order.purpose is Purpose.ENTRY and order.trade_id is not None:
            return Allotment((Allocation(trade_id=order.trade_id, quantity=fill.quantity, opens=True, fee=fill.fee),))
        parts, left = split_fill(fill.quantity, _closable(fill, named, others))
        adopted = _adopt(fill, left, execution) if left > ZERO else None
        quantities = [(trade_id, quantity, False) for trade_id, quantity in parts]
        if adopted is not None:
            quantities.append((adopted.trade_id, left, True))
        return _shared(fill, quantities, adopted, currency)


def _turn(
    fill: Fill, own: Trade, turned: Sequence[Trade], others: Iterable[Trade], execution: str, currency: str
) -> Allotment:
    """A fill of an entry that turns. Its own trade never comes out larger than it was asked for.

    Something is left behind that only where somebody else closed one of the trades while the order was under way.
    """
    parts, left = split_fill(fill.quantity, ((t.trade_id, t.open_quantity) for t in turned if _closes(fill, t)))
    quantities = [(trade_id, quantity, False) for trade_id, quantity in parts]
    opened = min(left, max(own.quantity - own.entered_quantity, ZERO))
    if opened > ZERO:
        quantities.append((own.trade_id, opened, True))
        left -= opened
    adopted = None
    if left > ZERO:
        gone = {trade_id for trade_id, _ in parts}
        more, left = split_fill(left, (c for c in _closable(fill, None, others) if c[0] not in gone))
        quantities.extend((trade_id, quantity, False) for trade_id, quantity in more)
        adopted = _adopt(fill, left, execution) if left > ZERO else None
        if adopted is not None:
            quantities.append((adopted.trade_id, left, True))
    return _shared(fill, quantities, adopted, currency)


def _shared(
    fill: Fill, quantities: Sequence[tuple[str, Decimal, bool]], adopted: Trade | None, currency: str
) -> Allotment:
    """Each part with its share of the fee; the last takes the remainder."""
    fees = share_out(fill.fee, [quantity for _, quantity, _ in quantities], ledger_step(currency))
    return Allotment(
        tuple(
            Allocation(trade_id=trade_id, quantity=quantity, opens=opens, fee=fee)
            for (trade_id, quantity, opens), fee in zip(quantities, fees, strict=True)
        ),
        adopted,
    )


def _closable(fill: Fill, named: Trade | None, others: Iterable[Trade]) -> Iterator[tuple[str, Decimal]]:
    if named is not None and _closes(fill, named):
        yield named.trade_id, named.open_quantity
    for trade in others:
        if named is not None and trade.trade_id == named.trade_id:
            continue
        if fill.position_ref in (None, trade.position_ref) and _closes(fill, trade):
            yield trade.trade_id, trade.open_quantity


def _closes(fill: Fill, trade: Trade) -> bool:
    return trade.symbol == fill.instrument and trade.side.entry_side is not fill.side and trade.open_quantity > ZERO


def _adopt(fill: Fill, quantity: Decimal, execution: str) -> Trade:
    return Trade(
        trade_id=derived_id("tr", execution, "adopted", fill.venue_sequence),
        signal_id=None,
        execution=execution,
        account=fill.account,
        strategy=None,
        venue=fill.venue,
        symbol=fill.instrument,
        side=TradeSide.of(fill.side),
        status=TradeStatus.PENDING,
        quantity=quantity,
        entry_order_id=fill.client_order_id or f"venue:{fill.venue_order_id}",
        position_ref=fill.position_ref,
        tags=("adopted",),
        created_ns=fill.ts_ns,
        updated_ns=fill.ts_ns,
    )
