"""Trades: round trips. One entry order opens a trade, exits close it, and every unit of every fill is allocated to one.

A trade is ``PENDING`` from the moment its entry is decided, ``OPEN`` from the first fill, ``CLOSING`` while an exit holds
the claim on it, ``CLOSED`` when nothing of it is left and its entry cannot fill any more, ``FAILED`` when its entry ended
without a fill. Profit is computed from allocations: what was paid for the closed part (released cost) against what it
brought, converted at the rate the venue booked on the closing fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct, structs

from tradekeel.domain.money import WORKING, ZERO, Rounding, divide, ledger
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import COST_STEP, convert
from tradekeel.errors import Defect, IllegalTransition

RATIO_STEP = Decimal("0.000001")
_HUNDRED = Decimal(100)


class TradeSide(StrEnum):
    """Direction of a trade."""

    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def sign(self) -> int:
        """+1 long, -1 short."""
        return 1 if self is TradeSide.LONG else -1

    @property
    def entry_side(self) -> Side:
        """The side of the order that opens it."""
        return Side.BUY if self is TradeSide.LONG else Side.SELL

    @staticmethod
    def of(side: Side) -> TradeSide:
        """The direction that an entry on ``side`` takes."""
        return TradeSide.LONG if side is Side.BUY else TradeSide.SHORT


class TradeStatus(StrEnum):
    """The states of a trade."""

    PENDING = "PENDING"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


OPEN_STATES = (TradeStatus.PENDING, TradeStatus.OPEN, TradeStatus.CLOSING)
"""A trade in one of these holds, or may still come to hold, something."""

HOLDING_STATES = (TradeStatus.OPEN, TradeStatus.CLOSING)
"""A trade in one of these holds something."""


class TradeEvent(StrEnum):
    """What can happen to a trade."""

    ENTER = "enter"  # a fill of its entry
    CLAIM = "claim"  # an exit takes the claim
    RELEASE = "release"  # the exit ended and something is left
    CLOSE = "close"  # the last unit is gone and the entry is over
    FAIL = "fail"  # the entry ended without a fill


T, V = TradeStatus, TradeEvent
TRANSITIONS: dict[TradeStatus, dict[TradeEvent, TradeStatus]] = {
    T.PENDING: {V.ENTER: T.OPEN, V.FAIL: T.FAILED},
    T.OPEN: {V.ENTER: T.OPEN, V.CLAIM: T.CLOSING, V.CLOSE: T.CLOSED},
    T.CLOSING: {V.ENTER: T.CLOSING, V.CLAIM: T.CLOSING, V.RELEASE: T.OPEN, V.CLOSE: T.CLOSED},
    T.CLOSED: {V.ENTER: T.OPEN},  # a late fill of the entry opens it again
    T.FAILED: {V.ENTER: T.OPEN},  # a late fill of an entry that was thought dead
}


class CloseReason(StrEnum):
    """Why a trade was closed: what asked for the exit, never guessed from the sign of the profit."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    SIGNAL = "signal"
    TIME = "time"
    MANUAL = "manual"
    MARGIN_CALL = "margin_call"
    VENUE = "venue"
    RECONCILE = "reconcile"


class Trade(Struct, frozen=True, kw_only=True):
    """A round trip. Prices in quote currency, ``quantity`` in base units, pnl, fees and margin in account currency."""

    trade_id: str
    signal_id: str | None
    execution: str
    account: str
    strategy: str | None
    venue: str
    symbol: str
    side: TradeSide
    status: TradeStatus = TradeStatus.PENDING
    quantity: Decimal  # what the entry asked for
    entered_quantity: Decimal = ZERO  # what the entry got
    entry_value: Decimal = ZERO  # sum of price * quantity of entry allocations
    exited_quantity: Decimal = ZERO
    exit_value: Decimal = ZERO
    open_cost: Decimal = ZERO  # entry value not yet released by exits
    leverage: Decimal | None = None
    margin: Decimal = ZERO  # what its entry fills tied up, at their prices and rates
    entry_time_ns: int | None = None
    entry_fee: Decimal = ZERO
    entry_slippage: Decimal = ZERO  # adverse price distance times quantity, quote currency; negative is improvement
    exit_time_ns: int | None = None
    exit_fee: Decimal = ZERO
    exit_slippage: Decimal = ZERO
    exit_reason: CloseReason | None = None
    financing: Decimal = ZERO
    stop_loss: Decimal | None = None
    initial_stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    trailing_percent: Decimal | None = None
    exit_at_ns: int | None = None
    best_price: Decimal | None = None
    worst_price: Decimal | None = None
    gross_pnl: Decimal = ZERO  # account currency, before fees and financing
    session: str | None = None
    timeframe: str | None = None
    pattern_type: str | None = None
    model: str | None = None
    confidence_score: Decimal | None = None
    meta_strategy_id: str | None = None
    regime: str | None = None
    rl_state_key: str | None = None
    rl_action_key: str | None = None
    entry_order_id: str
    exit_order_ids: tuple[str, ...] = ()
    venue_order_id: str | None = None
    venue_trade_ids: tuple[str, ...] = ()
    position_ref: str | None = None
    liquidity: str | None = None
    correlation_id: str = ""
    parameter_mode: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}  # free-form, the strategy's own; JSON values only
    exits_at_venue: bool = False  # its stop and target are venue orders, not our monitor's
    entry_position: int = 0  # feed position of the first entry fill: earlier ticks say nothing about this trade
    created_ns: int = 0
    updated_ns: int = 0
    version: int = 0

    @property
    def open_quantity(self) -> Decimal:
        """Units still held."""
        return self.entered_quantity - self.exited_quantity

    @property
    def holds(self) -> bool:
        """Whether it was entered and is not left altogether: of those that are open a pending one holds nothing yet."""
        return self.status in HOLDING_STATES

    @property
    def is_open(self) -> bool:
        """Whether the trade holds, or may still come to hold, anything."""
        return self.status in OPEN_STATES

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry price, for display."""
        return _average(self.entry_value, self.entered_quantity)

    @property
    def exit_price(self) -> Decimal | None:
        """Average exit price, for display."""
        return _average(self.exit_value, self.exited_quantity)

    @property
    def pnl(self) -> Decimal:
        """Realised profit in account currency: gross less fees plus financing. Exact."""
        return self.gross_pnl - self.entry_fee - self.exit_fee + self.financing

    @property
    def pnl_percentage(self) -> Decimal | None:
        """Price return of the closed part in percent of its entry, in the trade's direction; None before an exit."""
        entry, exit_ = self.entry_price, self.exit_price
        if entry is None or exit_ is None:
            return None
        return divide(WORKING.multiply(self._gain(entry, exit_), _HUNDRED), entry, RATIO_STEP, Rounding.DISPLAY)

    @property
    def r_multiple(self) -> Decimal | None:
        """Price result in units of the initial risk (entry to initial stop); None without a stop or an exit."""
        entry, exit_, stop = self.entry_price, self.exit_price, self.initial_stop_loss
        if entry is None or exit_ is None or stop is None or entry == stop:
            return None
        return divide(self._gain(entry, exit_), _distance(entry, stop), RATIO_STEP, Rounding.DISPLAY)

    @property
    def risk_reward_ratio(self) -> Decimal | None:
        """Distance to the target over distance to the initial stop, from the entry; None without both."""
        entry, stop, target = self.entry_price, self.initial_stop_loss, self.take_profit
        if entry is None or stop is None or target is None or entry == stop:
            return None
        return divide(_distance(target, entry), _distance(entry, stop), RATIO_STEP, Rounding.DISPLAY)

    def _gain(self, entry: Decimal, exit_: Decimal) -> Decimal:
        return WORKING.multiply(WORKING.subtract(exit_, entry), Decimal(self.side.sign))


def _average(value: Decimal, quantity: Decimal) -> Decimal | None:
    return divide(value, quantity, COST_STEP, Rounding.DISPLAY) if quantity else None


def _distance(one: Decimal, other: Decimal) -> Decimal:
    # Levels are a strategy's own figures: they may be further apart than the ledger has digits, and are only shown.
    return WORKING.subtract(one, other).copy_abs()


def next_status(status: TradeStatus, event: TradeEvent) -> TradeStatus:
    """The state that follows, or :class:`~tradekeel.errors.IllegalTransition`; nothing is changed either way."""
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransition("trade", status, event) from None


def move(trade: Trade, event: TradeEvent, now_ns: int, **changes: object) -> Trade:
    """The trade after ``event``, with further fields changed."""
    status = next_status(trade.status, event)
    return structs.replace(trade, status=status, updated_ns=now_ns, version=trade.version + 1, **changes)


def enter(trade: Trade, quantity: Decimal, price: Decimal, fee: Decimal, now_ns: int, **changes: object) -> Trade:
    """Allocate ``quantity`` of an entry fill to the trade."""
    if quantity <= ZERO:
        raise Defect(f"trade {trade.trade_id}: an allocation is above zero, found {quantity}")
    with ledger():
        value = quantity * price
        return move(
            trade,
            TradeEvent.ENTER,
            now_ns,
            entered_quantity=trade.entered_quantity + quantity,
            entry_value=trade.entry_value + value,
            open_cost=trade.open_cost + value,
            entry_fee=trade.entry_fee + fee,
            entry_time_ns=trade.entry_time_ns if trade.entry_time_ns is not None else now_ns,
            **changes,
        )


def tightens(trade: Trade, stop: Decimal) -> bool:
    """Whether ``stop`` is nearer to the market than the stop that the trade has. Stops never loosen."""
    if trade.stop_loss is None:
        return True
    return stop > trade.stop_loss if trade.side is TradeSide.LONG else stop < trade.stop_loss


class ExitBooking(Struct, frozen=True, kw_only=True):
    """One exit allocation: part of a fill that closes ``quantity`` of a trade at ``price``."""

    quantity: Decimal
    price: Decimal
    fee: Decimal  # account currency
    rate: Decimal  # quote to account currency, as the venue booked it
    reason: CloseReason
    order_id: str | None
    account_currency: str
    entry_over: bool  # whether the trade's entry order can fill no more


def leave(trade: Trade, booking: ExitBooking, now_ns: int, **changes: object) -> Trade:
    """Allocate a part of an exit fill to the trade; closes it when nothing is left and the entry is over."""
    held = trade.open_quantity
    if not ZERO < booking.quantity <= held:
        raise Defect(f"trade {trade.trade_id}: cannot close {booking.quantity} of {held}")
    with ledger():
        value = booking.quantity * booking.price
        whole = booking.quantity == held
        released = (
            trade.open_cost
            if whole
            else divide(trade.open_cost * booking.quantity, held, COST_STEP, Rounding.RELEASED_COST)
        )
        gross = convert((value - released) * trade.side.sign, booking.rate, booking.account_currency)
        ids = trade.exit_order_ids
        if booking.order_id is not None and booking.order_id not in ids:
            ids = (*ids, booking.order_id)
        fields: dict[str, object] = {
            "exited_quantity": trade.exited_quantity + booking.quantity,
            "exit_value": trade.exit_value + value,
            "open_cost": trade.open_cost - released,
            "exit_fee": trade.exit_fee + booking.fee,
            "gross_pnl": trade.gross_pnl + gross,
            "exit_time_ns": now_ns,
            "exit_reason": booking.reason,
            "exit_order_ids": ids,
        } | changes
        if whole and booking.entry_over:
            return move(trade, TradeEvent.CLOSE, now_ns, **fields)
        return structs.replace(trade, updated_ns=now_ns, version=trade.version + 1, **fields)


class Allocation(Struct, frozen=True, kw_only=True):
    """How much of one fill belongs to one trade. ``opens`` tells an entry part from an exit part."""

    trade_id: str
    quantity: Decimal
    opens: bool
    fee: Decimal


def split_fill(quantity: Decimal, closable: Iterable[tuple[str, Decimal]]) -> tuple[list[tuple[str, Decimal]], Decimal]:
    """Hand ``quantity`` to the trades of ``closable`` (id, open units) in order; returns the parts and what is left over.

    No more of ``closable`` is asked for than is needed.
    """
    parts: list[tuple[str, Decimal]] = []
    left = quantity
    for trade_id, held in closable:
        part = min(left, held)
        if part > ZERO:
            parts.append((trade_id, part))
            left -= part
        if left <= ZERO:
            break
    return parts, left
