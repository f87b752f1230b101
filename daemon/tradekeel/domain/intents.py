"""From what is wanted to what would be sent: signals, orders and trades, with derived ids and nothing decided yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.domain import ids
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Decision, Enter, OrderRequest, Signal
from tradekeel.domain.money import LEDGER, WORKING, ZERO
from tradekeel.domain.orders import AttachedExit, Order, OrderType, Purpose, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.trades import Trade, TradeSide

_HUNDRED = Decimal(100)

ATTEMPTS_MAX = 16
"""How often one decision may be renewed after a proof that its order never arrived; each needs a crash of its own."""


class AccountTerms(Struct, frozen=True, kw_only=True):
    """What an account's orders have in common."""

    account: str
    venue: str
    currency: str
    instruments: Mapping[str, Instrument]
    exits_at_venue: bool  # attached stops and targets go to the venue; otherwise the monitor keeps them
    hedging: bool = False
    leverage: Decimal | None = None
    parameter_mode: str | None = None
    replayable: bool = True  # the feed gives the same ticks again
    live: bool = False  # its ticks are of their moment, which passes while we work; otherwise time waits for us
    send_within_ns: int | None = None  # live: an entry that could not be sent by then is not sent at all


class Bracket(Struct, frozen=True):
    """An entry with all that belongs to it."""

    signal: Signal
    trade: Trade
    entry: Order
    attached: tuple[Order, ...]


def bracket(
    enter: Enter,
    leg: int,
    decision: Decision,
    numbering: ids.Numbering,
    terms: AccountTerms,
    quote: Quote | None,
    session: str | None,
) -> Bracket:
    """The signal, trade and orders that an :class:`~tradekeel.domain.messages.Enter` stands for. Pure construction."""
    instrument = terms.instruments[enter.instrument]
    made = ids.leg_ids(numbering, decision.strategy, decision.number, leg)
    correlation = made.signal
    seen = None if quote is None else (quote.ask if enter.side is Side.BUY else quote.bid)
    wanted = enter.price if enter.price is not None else (enter.stop_price if enter.stop_price is not None else seen)
    trail = _trail(enter, instrument, wanted)
    entry = Order(
        made.order,
        numbering.execution,
        terms.account,
        decision.strategy,
        enter.instrument,
        enter.side,
        enter.type,
        Purpose.ENTRY,
        enter.quantity,
        time_in_force=enter.time_in_force,
        price=enter.price,
        stop_price=enter.stop_price,
        expire_at_ns=enter.expire_at_ns,
        trade_id=made.trade,
        signal_id=correlation,
        decision=decision.number,
        leg=leg,
        correlation_id=correlation,
        reference_price=seen,
        created_ns=decision.ts_ns,
        updated_ns=decision.ts_ns,
        stamp=decision.stamp,
    )
    signal = Signal(
        correlation,
        numbering.execution,
        decision.strategy,
        enter.instrument,
        enter.timeframe,
        enter.side,
        confidence=enter.confidence,
        entry_price=wanted,
        stop_loss=enter.stop_loss,
        take_profit=enter.take_profit,
        session=session,
        pattern_type=enter.pattern_type,
        generated_at_ns=decision.ts_ns,
        rl_state_key=enter.rl_state_key,
        rl_action_key=enter.rl_action_key,
        trade_id=entry.trade_id,
    )
    attached = _attached(entry, enter, trail, numbering) if terms.exits_at_venue else ()
    return Bracket(signal, _trade(enter, entry, terms, trail, session, bool(attached)), entry, attached)


def turning(made: Bracket, against: Sequence[Trade]) -> Bracket:
    """The same entry, closing trades that are held the other way on its way: by what they hold it is larger."""
    closed = sum((trade.open_quantity for trade in against), ZERO)
    entry = structs.replace(
        made.entry,
        quantity=LEDGER.add(made.entry.quantity, closed),
        closes=tuple(trade.trade_id for trade in against),
    )
    return Bracket(made.signal, made.trade, entry, made.attached)


def _trail(enter: Enter, instrument: Instrument, price: Decimal | None) -> Decimal | None:
    if enter.trailing_distance is not None:
        return instrument.price(enter.trailing_distance)
    if enter.trailing_percent is None or price is None:
        return None
    distance = WORKING.divide(WORKING.multiply(price, enter.trailing_percent), _HUNDRED)
    return max(instrument.price(distance), instrument.tick_size)


def _trade(
    enter: Enter, entry: Order, terms: AccountTerms, trail: Decimal | None, session: str | None, at_venue: bool
) -> Trade:
    if entry.trade_id is None:
        raise AssertionError("an entry always names its trade")
    return Trade(
        trade_id=entry.trade_id,
        signal_id=entry.signal_id,
        execution=entry.execution,
        account=entry.account,
        strategy=entry.strategy,
        venue=terms.venue,
        symbol=entry.instrument,
        side=TradeSide.of(entry.side),
        quantity=entry.quantity,
        leverage=terms.leverage,
        stop_loss=enter.stop_loss,
        initial_stop_loss=enter.stop_loss,
        take_profit=enter.take_profit,
        trailing_distance=trail,
        trailing_percent=enter.trailing_percent,
        exit_at_ns=enter.exit_at_ns,
        session=session,
        timeframe=enter.timeframe,
        pattern_type=enter.pattern_type,
        model=enter.model,
        confidence_score=enter.confidence,
        meta_strategy_id=enter.meta_strategy_id,
        regime=enter.regime,
        rl_state_key=enter.rl_state_key,
        rl_action_key=enter.rl_action_key,
        entry_order_id=entry.client_order_id,
        correlation_id=entry.correlation_id,
        parameter_mode=terms.parameter_mode,
        tags=enter.tags,
        metadata=enter.metadata,
        exits_at_venue=at_venue,
        created_ns=entry.created_ns,
        updated_ns=entry.created_ns,
    )


def _attached(entry: Order, enter: Enter, trail: Decimal | None, numbering: ids.Numbering) -> tuple[Order, ...]:
    wishes: list[tuple[OrderType, str, Decimal]] = []
    if enter.stop_loss is not None:
        wishes.append((OrderType.STOP, "stop_loss", enter.stop_loss))
    if enter.take_profit is not None:
        wishes.append((OrderType.LIMIT, "take_profit", enter.take_profit))
    if trail is not None:
        wishes.append((OrderType.TRAILING_STOP, "trailing_stop", trail))
    return tuple(_child(entry, numbering, number, *wish) for number, wish in enumerate(wishes, start=1))


def _child(entry: Order, numbering: ids.Numbering, number: int, type_: OrderType, reason: str, level: Decimal) -> Order:
    leg = entry.leg * 10 + number
    return Order(
        ids.client_order_id(numbering, f"{entry.strategy}/attached", entry.decision, leg),
        entry.execution,
        entry.account,
        entry.strategy,
        entry.instrument,
        entry.side.opposite,
        type_,
        Purpose.EXIT,
        quantity=entry.quantity,
        price=level if type_ is OrderType.LIMIT else None,
        stop_price=level if type_ is OrderType.STOP else None,
        trail_distance=level if type_ is OrderType.TRAILING_STOP else None,
        reduce_only=True,
        trade_id=entry.trade_id,
        parent_id=entry.client_order_id,
        oco_group=entry.client_order_id,
        close_reason=reason,
        decision=entry.decision,
        leg=leg,
        attempt=entry.attempt,
        correlation_id=entry.correlation_id,
        created_ns=entry.created_ns,
        updated_ns=entry.created_ns,
        stamp=entry.stamp,
    )


class ExitWish(Struct, frozen=True, kw_only=True):
    """An exit somebody wants: which trade, how much of it, why, and who asks."""

    trade: Trade
    quantity: Decimal
    reason: str
    source: str  # strategy, monitor, operator
    decider: str  # part of the id: the strategy's name, or "#account"
    number: int
    leg: int
    ts_ns: int
    stamp: int
    reference_price: Decimal | None
    reduce_only: bool
    after_cancel_of: tuple[str, ...]


def exit_order(wish: ExitWish, numbering: ids.Numbering) -> Order:
    """The market order that closes a part of a trade."""
    trade = wish.trade
    return Order(
        ids.client_order_id(numbering, wish.decider, wish.number, wish.leg),
        numbering.execution,
        trade.account,
        trade.strategy,
        trade.symbol,
        trade.side.entry_side.opposite,
        OrderType.MARKET,
        Purpose.EXIT,
        wish.quantity,
        reduce_only=wish.reduce_only,
        position_ref=trade.position_ref,
        trade_id=trade.trade_id,
        after_cancel_of=wish.after_cancel_of,
        close_reason=wish.reason,
        source=wish.source,
        decision=wish.number,
        leg=wish.leg,
        correlation_id=trade.correlation_id,
        reference_price=wish.reference_price,
        created_ns=wish.ts_ns,
        updated_ns=wish.ts_ns,
        stamp=wish.stamp,
    )


def renewed(order: Order, now_ns: int, parent: Order | None = None) -> Order:
    """The same decision as a new order with a new id: only after a proof that ``order`` never arrived."""
    attempt = order.attempt + 1
    return structs.replace(
        order,
        client_order_id=ids.derived_id("tk", order.client_order_id, "renewed", attempt),
        attempt=attempt,
        renews=order.client_order_id,
        parent_id=order.parent_id if parent is None else parent.client_order_id,
        oco_group=order.oco_group if parent is None else parent.client_order_id,
        status=type(order.status).INTENDED,
        status_reason="",
        submitted_ns=None,
        created_ns=now_ns,
        updated_ns=now_ns,
    )


def order_request(order: Order, attached: tuple[Order, ...] = (), closes: Decimal = ZERO) -> OrderRequest:
    """What goes over the wire for an order; ``closes`` of its quantity closes what is held."""
    return OrderRequest(
        client_order_id=order.client_order_id,
        instrument=order.instrument,
        side=order.side,
        type=order.type,
        quantity=order.quantity,
        time_in_force=order.time_in_force,
        price=order.price,
        stop_price=order.stop_price,
        expire_at_ns=order.expire_at_ns,
        reduce_only=order.reduce_only,
        position_ref=order.position_ref,
        closes=closes,
        attached=tuple(
            AttachedExit(
                client_order_id=child.client_order_id,
                type=child.type,
                price=child.price,
                stop_price=child.stop_price,
                trail_distance=child.trail_distance,
            )
            for child in attached
        ),
        correlation_id=order.correlation_id,
    )
