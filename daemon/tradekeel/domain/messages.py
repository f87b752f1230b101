"""What the parts of an account say to each other about trading: wishes, decisions, venue news, commands.

Commands are imperative, events past tense. All are frozen and tagged, so they can be journaled and read back.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import AttachedExit, OrderType, Side, TimeInForce


class Stamp:
    """Where in the feed something happened: ``2 * position`` before the strategies saw that tick, ``+ 1`` after.

    Journal records carry the stamp, so that a replay can deliver them between the same two ticks as the first time.
    """

    @staticmethod
    def before(position: int) -> int:
        """While the venue, the fills and the monitor were at the tick."""
        return 2 * position

    @staticmethod
    def after(position: int) -> int:
        """From the strategies' step on the tick until the next tick."""
        return 2 * position + 1

    @staticmethod
    def position(stamp: int) -> int:
        """The tick that a stamp belongs to."""
        return stamp // 2


# --- what a strategy may ask for -------------------------------------------------------------------------------------


class Enter(Struct, frozen=True, tag="enter", tag_field="request", kw_only=True):
    """Open a trade. Distances and prices in quote currency; ``quantity`` in base units.

    ``reverse``: closes, with the same order, what the strategy holds the other way in this instrument. Market entries only;
    ``quantity`` stays what the new trade is to hold.
    """

    instrument: str
    side: Side
    quantity: Decimal
    type: OrderType = OrderType.MARKET
    reverse: bool = False
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at_ns: int | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    trailing_percent: Decimal | None = None
    exit_at_ns: int | None = None  # closed by time at the first tick from then on
    confidence: Decimal | None = None
    timeframe: str | None = None
    pattern_type: str | None = None
    model: str | None = None
    meta_strategy_id: str | None = None
    regime: str | None = None
    rl_state_key: str | None = None
    rl_action_key: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}  # JSON values, the strategy's own


class Exit(Struct, frozen=True, tag="exit", tag_field="request", kw_only=True):
    """Close a trade, or with ``trade_id`` None the strategy's open trades of ``instrument`` first in, first out."""

    instrument: str
    trade_id: str | None = None
    quantity: Decimal | None = None  # None: all of it
    reason: str = "signal"


class Cancel(Struct, frozen=True, tag="cancel", tag_field="request", kw_only=True):
    """Cancel a working order of the strategy."""

    client_order_id: str


class MoveStop(Struct, frozen=True, tag="move_stop", tag_field="request", kw_only=True):
    """Tighten a trade's stop, or move its target. A stop that would loosen is refused."""

    trade_id: str
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class SetTimer(Struct, frozen=True, tag="set_timer", tag_field="request", kw_only=True):
    """Call ``on_timer(name)`` at the first moment from ``at_ns`` on; the same name set again replaces the timer."""

    name: str
    at_ns: int


class Emit(Struct, frozen=True, tag="emit", tag_field="request", kw_only=True):
    """Record a strategy event: a decision worth explaining later. ``data`` holds JSON values and Decimals as text."""

    type: str
    data: dict[str, Any] = {}


Request = Enter | Exit | Cancel | MoveStop | SetTimer | Emit


# --- signals and decisions -------------------------------------------------------------------------------------------


class SignalStatus(StrEnum):
    """What became of a signal."""

    PENDING = "pending"
    DENIED = "denied"
    ORDERED = "ordered"
    EXECUTED = "executed"
    FAILED = "failed"


class Signal(Struct, frozen=True):
    """What a strategy wanted, before any risk check, and what became of it. Its first fields may go by their place: see Order."""

    signal_id: str
    execution: str
    strategy: str
    symbol: str
    timeframe: str | None
    side: Side
    confidence: Decimal | None
    entry_price: Decimal | None  # the price wanted, or the quote seen for a market entry
    stop_loss: Decimal | None
    take_profit: Decimal | None
    session: str | None
    pattern_type: str | None
    generated_at_ns: int
    executed: bool = False
    execution_status: SignalStatus = SignalStatus.PENDING
    status_reason: str = ""
    rl_state_key: str | None = None
    rl_action_key: str | None = None
    trade_id: str | None = None


class Decision(Struct, frozen=True, tag="decision", kw_only=True):
    """One step of a strategy that asked for something: its requests, and its state *after* the step, to be saved with them.

    ``number`` counts the strategy's decisions without a gap; with ``position`` (feed) and ``inbox`` (journal) it says what
    the strategy had seen. The same number with other content is a defect.
    """

    strategy: str
    number: int
    position: int
    inbox: int
    stamp: int
    ts_ns: int
    requests: tuple[Request, ...]
    state: bytes  # msgpack of the strategist's ExecutionState
    state_version: int = 1
    warm: bool = True  # the strategy has seen enough to enter; while it has not, its entries are denied
    told_to: int = 0  # the journal's end when all strategies were asked what they want (see records.Turn)


# --- venue news ------------------------------------------------------------------------------------------------------


class Liquidity(StrEnum):
    """Whether a fill added to the book or took from it."""

    MAKER = "maker"
    TAKER = "taker"


class Fill(Struct, frozen=True):
    """One execution that the venue reported; the only thing that moves a position.

    Amounts ``fee`` and ``realised`` are in account currency as the venue booked them (``fee`` > 0 is a cost); ``rate`` is its
    conversion from quote to account currency.
    """

    fill_id: str  # unique with (account, instrument, venue_order_id)
    account: str
    venue: str
    instrument: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal
    rate: Decimal
    liquidity: Liquidity
    ts_ns: int
    venue_order_id: str
    client_order_id: str | None
    venue_sequence: int = 0
    position_ref: str | None = None  # hedging: the position that it opened or reduced


class TransactionKind(StrEnum):
    """The kinds of a venue's account transactions."""

    DEPOSITED = "deposited"
    ORDER_ACCEPTED = "order_accepted"
    ORDER_REJECTED = "order_rejected"
    ORDER_FILLED = "order_filled"
    ORDER_CANCELED = "order_canceled"
    ORDER_EXPIRED = "order_expired"
    ORDER_AMENDED = "order_amended"  # a venue-held stop moved, or its quantity changed
    CANCEL_REFUSED = "cancel_refused"  # or an amendment: then it says which price was refused
    FINANCED = "financed"  # swap booked on a position
    MARGIN_CALLED = "margin_called"  # the venue begins to close positions


class VenueTransaction(Struct, frozen=True, kw_only=True):
    """One entry of a venue's gap-free account record. ``sequence`` counts from 1; every change of the account is one entry."""

    sequence: int
    kind: TransactionKind
    ts_ns: int
    position: int = 0  # a venue that is fed by our ticks: the tick at which it happened
    client_order_id: str | None = None
    venue_order_id: str | None = None
    instrument: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None  # ORDER_AMENDED: the new stop; CANCEL_REFUSED: the one that was asked for
    fill: Fill | None = None
    amount: Decimal = ZERO  # DEPOSITED, FINANCED: account currency, signed
    reason: str = ""
    balance: Decimal | None = None  # the venue's balance after it


class OrderRequest(Struct, frozen=True, kw_only=True):
    """What goes over the wire for one order, attached exits included."""

    client_order_id: str
    instrument: str
    side: Side
    type: OrderType
    quantity: Decimal
    time_in_force: TimeInForce = TimeInForce.GTC
    price: Decimal | None = None
    stop_price: Decimal | None = None
    expire_at_ns: int | None = None
    reduce_only: bool = False
    position_ref: str | None = None
    closes: Decimal = ZERO  # of the quantity, and filled first: it closes what is held; attached exits protect the rest
    attached: tuple[AttachedExit, ...] = ()
    correlation_id: str = ""


class VenueOrder(Struct, frozen=True, kw_only=True):
    """A venue's answer to "what is this order":

    found orders only; ``state`` is working, filled, canceled, expired or rejected.
    """

    client_order_id: str | None
    venue_order_id: str
    instrument: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    state: str


class VenuePosition(Struct, frozen=True, kw_only=True):
    """A position as the venue keeps it; ``quantity`` is signed."""

    instrument: str
    quantity: Decimal
    cost: Decimal
    ref: str | None = None


class VenueBalance(Struct, frozen=True, kw_only=True):
    """The venue's account figures, in account currency."""

    currency: str
    balance: Decimal  # deposits + realised + financing - fees
    unrealised: Decimal
    margin_used: Decimal
    deposits: Decimal
    realised: Decimal
    financing: Decimal
    fees: Decimal
    last_sequence: int

    @property
    def equity(self) -> Decimal:
        """Balance plus unrealised profit."""
        return self.balance + self.unrealised
