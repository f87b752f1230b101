"""What the gate is told and what it answers: the view of an account, what may still fill, and the denial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.money import LEDGER, ZERO
from tradekeel.domain.orders import Order, Purpose, Side
from tradekeel.domain.positions import Quote, Rate
from tradekeel.domain.rows import Latch


class DenialCode(StrEnum):
    """Why the gate said no. Stable: strategies and alerts may rely on these words."""

    HALTED = "halted"
    REDUCE_ONLY = "reduce_only"
    PAUSED = "paused"
    NOT_READY = "not_ready"
    STOPPING = "stopping"
    STORE_AWAY = "store_away"
    INSTRUMENT_UNKNOWN = "instrument_unknown"
    INSTRUMENT_NOT_ALLOWED = "instrument_not_allowed"
    QUANTITY_INVALID = "quantity_invalid"
    QUANTITY_MAX = "quantity_max"
    PRICE_INVALID = "price_invalid"
    PRICE_MISSING = "price_missing"
    PRICE_STALE = "price_stale"
    PRICE_COLLAR = "price_collar"
    RATE_MISSING = "rate_missing"
    RATE_STALE = "rate_stale"
    NOTIONAL_MAX = "notional_max"
    POSITION_MAX = "position_max"
    POSITION_NOTIONAL_MAX = "position_notional_max"
    EXPOSURE_MAX = "exposure_max"
    OPEN_ORDERS_MAX = "open_orders_max"
    ORDERS_PER_SECOND = "orders_per_second"
    ORDERS_PER_MINUTE = "orders_per_minute"
    MESSAGES_PER_SECOND = "messages_per_second"
    EQUITY_MISSING = "equity_missing"
    DAILY_LOSS_MAX = "daily_loss_max"
    DRAWDOWN_MAX = "drawdown_max"
    DRAWDOWN_MAX_PERCENT = "drawdown_max_percent"
    CONFIDENCE = "confidence"
    RISK_REWARD = "risk_reward"
    NOTHING_TO_CLOSE = "nothing_to_close"
    CLOSABLE_SIZE = "closable_size"


class Denial(Struct, frozen=True, gc=False):
    """The gate's no: a stable code, a sentence for people, and the two figures that were compared."""

    code: DenialCode
    sentence: str
    found: str | None = None
    allowed: str | None = None

    def __str__(self) -> str:
        return self.sentence

    @staticmethod
    def exceeded(code: DenialCode, what: str, found: Decimal, allowed: Decimal, unit: str = "") -> Denial:
        """A sentence of one form: "the order is worth 12000.5 USD, allowed are 10000"."""
        seen, limit = f"{found:f}", f"{allowed:f}"
        return Denial(code, f"{what} {seen}{' ' if unit else ''}{unit}, allowed are {limit}", seen, limit)


class Pending(Struct, frozen=True, gc=False):
    """What may still fill in an instrument, by side: live, INTENDED, SUBMITTED and UNKNOWN orders; an OCO group counts once."""

    buy: Decimal = ZERO
    sell: Decimal = ZERO


NOTHING_PENDING = Pending()


class RiskView(Struct, kw_only=True):
    """What the gate needs to know of the account; it only reads. None means "not known", and denies where it is needed.

    Between the entries of one decision the caller adds what it has already drafted to ``pending`` and ``open_orders``.
    """

    account_currency: str
    instruments: Mapping[str, Instrument]
    quotes: Mapping[str, Quote]
    rates: Mapping[str, Rate] = {}
    """Currency to account currency. The account's own currency needs no entry."""
    positions: Mapping[str, Decimal] = {}
    """Signed net units by instrument."""
    pending: Mapping[str, Pending] = {}
    """By instrument, without the order that is checked."""
    open_orders: int = 0
    """Orders that are not ended, attached exits included, without the one that is checked."""
    attached: int = 0
    """Exits that travel with the entry that is checked: venues count them as orders, too."""
    balance: Decimal | None = None
    equity: Decimal | None = None
    day_start_equity: Decimal | None = None
    peak_equity: Decimal | None = None
    latch: Latch = Latch.OPEN
    paused: bool = False
    ready: bool = True
    """The account is reconciled and the strategy is warm."""
    stopping: bool = False
    """The daemon is being stopped, or the run is over: an entry now would be on its own. For exits: the run is over."""
    held: str = ""
    """Why there is no new exposure for now, beside what is latched; empty where nothing holds it."""
    session: str | None = None
    parameter_mode: str | None = None
    confidence: Decimal | None = None
    """Of the signal behind the entry."""
    risk_reward: Decimal | None = None
    """Of the signal behind the entry: see :func:`~tradekeel.domain.risk_signals.risk_reward`."""
    closable: Decimal = ZERO
    """Exits: what of the trade is not yet claimed by other exits."""
    closing: Decimal = ZERO
    """Entries that turn: what of the order closes trades, and is therefore nothing new."""


def pending_of(orders: Iterable[Order]) -> dict[str, Pending]:
    """What may still fill of ``orders``, by instrument and side.

    Entries and exits both count: on an account that nets, a closing buy moves the net as an opening one does. Siblings of an OCO
    group cancel each other, so only the largest counts, and exits that wait to take their place count instead of them if they
    come to more; exits attached to an entry that has not filled close nothing but that entry, and do not count while it is in
    ``orders``. An entry that turns counts whole, and in the place of the protective exits of the trades that it closes: what
    they fill before they end, it is smaller by.
    """
    live = {o.client_order_id: o for o in orders if not o.is_terminal}
    totals: dict[str, dict[Side, Decimal]] = {}
    groups: dict[tuple[str, str, Side], _Group] = {}
    grouped: list[tuple[str, Order]] = []
    replaced: set[str] = set()
    for order in live.values():
        sides = totals.setdefault(order.instrument, {Side.BUY: ZERO, Side.SELL: ZERO})
        name = _group_of(order, live)
        if name is None:
            sides[order.side] = LEDGER.add(sides[order.side], order.open_quantity)
        else:
            grouped.append((name, order))
        if order.closes:
            replaced.update(i for i in order.after_cancel_of if i in live and live[i].trade_id in order.closes)
    for name, order in grouped:
        if order.client_order_id not in replaced:
            groups.setdefault((order.instrument, name, order.side), _Group()).count(order, live)
    for (symbol, _, side), group in groups.items():
        totals[symbol][side] = LEDGER.add(totals[symbol][side], max(group.largest, group.instead))
    return {symbol: Pending(sides[Side.BUY], sides[Side.SELL]) for symbol, sides in totals.items()}


class _Group(Struct):
    """Orders of which only some can fill: siblings that cancel each other, and what takes their place."""

    largest: Decimal = ZERO
    instead: Decimal = ZERO

    def count(self, order: Order, live: Mapping[str, Order]) -> None:
        left = order.open_quantity
        if order.oco_group is None:
            self.instead = LEDGER.add(self.instead, left)
            return
        parent = live.get(order.parent_id) if order.parent_id is not None else None
        self.largest = max(self.largest, left if parent is None else min(left, parent.filled_quantity))


def _group_of(order: Order, live: Mapping[str, Order]) -> str | None:
    """The OCO group that an order belongs to, or whose place it waits for: it is sent when the last of it has ended."""
    if order.oco_group is not None or order.purpose is not Purpose.EXIT:
        return order.oco_group
    return next((live[sibling].oco_group for sibling in order.after_cancel_of if sibling in live), None)
