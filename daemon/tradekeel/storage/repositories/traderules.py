"""What a change makes of a trade, wherever trades are kept: the same for books in SQL and for notes on a Redis server."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import structs

from tradekeel.domain import trades as trade_rules
from tradekeel.domain.messages import Liquidity
from tradekeel.domain.money import ONE, ZERO, ledger
from tradekeel.domain.trades import CloseReason, ExitBooking, Trade, TradeEvent, TradeStatus
from tradekeel.errors import IllegalTransition, InputError
from tradekeel.storage.repositories.base import changed, fields_changed
from tradekeel.storage.repositories.listing import word_of

STATS_TIMEOUT_S: Final = 60.0
"""The deadline of statistics that name none: they go through every closed trade."""

FIXED: Final = frozenset({"trade_id", "execution", "account", "created_ns", "updated_ns", "version"})

SORTS: Final = (
    *("created_ns", "updated_ns", "entry_time_ns", "exit_time_ns", "symbol", "strategy", "status"),
    *("quantity", "pnl", "trade_id"),
)
TIMES: Final = ("updated_ns", "entry_time_ns", "exit_time_ns")
"""What a list can be sorted by; and what beside ``created_ns`` its times can be about."""

_EVENTS = {
    TradeStatus.OPEN: (TradeEvent.ENTER, TradeEvent.RELEASE),
    TradeStatus.CLOSING: (TradeEvent.CLAIM,),
    TradeStatus.CLOSED: (TradeEvent.CLOSE,),
    TradeStatus.FAILED: (TradeEvent.FAIL,),
}
"""What leads to a status."""


class Closing(NamedTuple):
    """How somebody says that a trade was closed: see :meth:`~tradekeel.ports.repositories.TradeRepository.mark_trade_closed`."""

    price: Decimal
    time_ns: int
    reason: CloseReason
    fee: Decimal = ZERO
    pnl: Decimal | None = None
    rate: Decimal | None = None


def closing(
    price: object,
    time_ns: int,
    reason: CloseReason | str,
    fee: object,
    pnl: object,
    rate: object,
) -> Closing:
    """The words of a call, checked. InputError for amounts that are none, and for a reason that there is not."""
    why = word_of(CloseReason, reason, "reason")
    return Closing(
        _exact("exit_price", price),
        time_ns,
        why,
        _exact("fee", fee),
        None if pnl is None else _exact("pnl", pnl),
        None if rate is None else _exact("rate", rate),
    )


def _exact(name: str, amount: object) -> Decimal:
    if not isinstance(amount, Decimal) or not amount.is_finite():
        raise InputError(f"{name} is {amount!r}: amounts are exact, finite Decimals")
    return amount


def closed(trade: Trade, how: Closing, now_ns: int, currency: str) -> Trade:
    """The trade after all that it still held was closed; ``currency`` is its account's.

    IllegalTransition; InputError where it holds nothing, where a rate is missing, or before it began.
    """
    trade_rules.next_status(trade.status, TradeEvent.CLOSE)
    if not trade.open_quantity:
        raise InputError(f"trade {trade.trade_id} holds nothing that could be closed")
    booking = ExitBooking(
        quantity=trade.open_quantity,
        price=how.price,
        fee=how.fee,
        rate=_rate(trade, currency, how),
        reason=how.reason,
        order_id=None,
        account_currency=currency,
        entry_over=True,
    )
    after = trade_rules.leave(trade, booking, how.time_ns)
    if how.pnl is not None:
        with ledger():
            gross = how.pnl + after.entry_fee + after.exit_fee - after.financing
        after = structs.replace(after, gross_pnl=gross)
    _refuse_crossed(trade, after)
    return structs.replace(after, updated_ns=now_ns)


def updated(trade: Trade, changes: Mapping[str, object], now_ns: int) -> Trade:
    """The trade with some fields changed. InputError for fields and values that cannot be; IllegalTransition."""
    after = changed(trade, changes, FIXED)
    if after.status is not trade.status:
        events = _EVENTS.get(after.status, ())
        if not any(trade_rules.TRANSITIONS[trade.status].get(event) is after.status for event in events):
            raise IllegalTransition("trade", trade.status, events[0] if events else after.status)
    _refuse_crossed(trade, after)
    return structs.replace(after, version=trade.version + 1, updated_ns=now_ns)


def _refuse_crossed(before: Trade, after: Trade) -> None:
    """InputError for a change by which more has left a trade than came in, or it ends before it begins.

    A trade that was so before may change otherwise: what a venue's record says may be saved as it is.
    """
    touched = fields_changed(before, after)
    if touched & {"entered_quantity", "exited_quantity"} and after.exited_quantity > after.entered_quantity:
        raise InputError(
            f"trade {after.trade_id}: exited_quantity {after.exited_quantity} is more than entered_quantity "
            f"{after.entered_quantity}"
        )
    begin, end = after.entry_time_ns, after.exit_time_ns
    if touched & {"entry_time_ns", "exit_time_ns"} and begin is not None and end is not None and end < begin:
        raise InputError(f"trade {after.trade_id}: exit_time_ns {end} is before entry_time_ns {begin}")


def refuse_more_held(before: Trade | None, after: Trade) -> None:
    """InputError for what would make a trade of a daemon's run hold more than it did, or something else.

    The next run takes over the trades that hold something, and sends orders to close all of it. What there is follows from the
    venue's fills, and nobody has it by writing it down; that less is left, somebody may know better.
    """
    if not after.is_open or after.open_quantity <= ZERO:
        return
    had = before.open_quantity if before is not None and before.is_open else ZERO
    is_the_same = before is not None and (before.side, before.symbol, before.position_ref) == (
        after.side,
        after.symbol,
        after.position_ref,
    )
    if not is_the_same or after.open_quantity > had:
        raise InputError(
            f"trade {after.trade_id} would hold {after.open_quantity} {after.side} of {after.symbol}, and the next run of its "
            f"account would close that at the venue, where it is not: it holds {had}"
        )


def _rate(trade: Trade, currency: str, how: Closing) -> Decimal:
    """What converts the quote currency into the account's."""
    if how.rate is not None:
        return how.rate
    quote = trade.symbol.rpartition("_")[2] if "_" in trade.symbol else currency
    if quote != currency and how.pnl is None:
        raise InputError(
            f"trade {trade.trade_id} is in {quote} and its account in {currency}: say the rate between them, or the pnl"
        )
    return ONE


def refuse_forbidden(trade: Trade) -> None:
    """InputError for a trade that the rules of the table ``trades`` do not take, for where there is no such table."""
    failed = trade.status is TradeStatus.FAILED
    entered = trade.entry_time_ns is not None or failed or trade.status is TradeStatus.PENDING
    has_end = trade.exit_reason is not None and trade.exit_time_ns is not None
    rules = {
        "a trade_id says something": bool(trade.trade_id),
        "quantity is above zero": trade.quantity > ZERO or failed,
        "entered_quantity is not negative": trade.entered_quantity >= ZERO,
        "exited_quantity is not negative": trade.exited_quantity >= ZERO,
        "margin is not negative": trade.margin >= ZERO,
        f"liquidity is one of {', '.join(Liquidity)}": trade.liquidity in (None, *Liquidity),
        "a trade that was entered has an entry_time_ns": entered,
        "a closed trade has an exit_reason and an exit_time_ns": trade.status is not TradeStatus.CLOSED or has_end,
    }
    for rule, holds in rules.items():
        if not holds:
            raise InputError(f"trade {trade.trade_id}: {rule}")
