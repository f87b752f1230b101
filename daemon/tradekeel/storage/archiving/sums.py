"""What the rows that go came to: figures that go on being told, and what is held without their fills."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import UNSET, structs

from tradekeel.domain.messages import Fill, TransactionKind
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Side
from tradekeel.domain.positions import Position, PositionKey, book_fill
from tradekeel.domain.records import ExecutionStarted, Record, VenueReported
from tradekeel.domain.refused import Refused
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.storage.archives import Figures, Kept, Turnover
from tradekeel.storage.archiving.segments import Key, Rows, Versions

_Positions = dict[PositionKey, Position]


class Began:
    """What an execution began with, as far as its records say so."""

    def __init__(self, first: Figures, before: Figures | None, *, has_reported: bool) -> None:
        """``before`` is what is known from pieces in front of this one, in which the venue has reported something, or not yet.

        In front of the ``first`` one that is the balance which the execution's own row tells of, zero where it tells of none,
        and what its strategies' fills had come to in executions before it.
        """
        self.figures = first if before is None else before
        self._is_first = before is None
        self._has_reported = has_reported

    def look(self, record: Record) -> None:
        """The next record: the first may have an opening, and a new account's first entry of the venue is a deposit."""
        if self._is_first and isinstance(record, ExecutionStarted) and record.opening is not None:
            self.figures = structs.replace(self.figures, positions=tuple(record.opening.positions))
        self._is_first = False
        if isinstance(record, VenueReported) and not self._has_reported:
            self._has_reported = True
            if not self.figures.opening and record.transaction.kind is TransactionKind.DEPOSITED:
                self.figures = structs.replace(self.figures, opening=record.transaction.amount)


def figures_with(
    before: Figures, kept_before: Kept, versions: Versions, moved: Rows, removed: Collection[Key]
) -> Figures:
    """The figures behind a piece of the journal.

    ``before`` are those in front of it, ``kept_before`` the rows that were there then, ``versions`` those behind it, and of
    these ``moved`` go. Positions have all fills up to there in them, also those that stay, but for those ``removed`` since.
    """
    gross, fees, financing, realised = before.gross, before.fees, before.financing, before.realised
    opened = before.opened
    closed, won, rejected = before.closed, before.won, before.rejected
    refused = Refused(before.denied, before.rejections or {})
    with ledger():
        for trade in moved.get(Trade, ()):
            gross += trade.gross_pnl
            fees += trade.entry_fee + trade.exit_fee
            financing += trade.financing
            opened += trade.holds
            closed += trade.status is TradeStatus.CLOSED
            won += trade.status is TradeStatus.CLOSED and trade.pnl > 0
        for fill in moved.get(Fill, ()):
            realised += fill.realised
    for order in moved.get(Order, ()):
        rejected += order.status is OrderStatus.REJECTED
        refused.take(order.status, order.status_reason)
    held, of = _held(before, kept_before, versions, removed)
    return Figures(
        gross=gross,
        fees=fees,
        financing=financing,
        realised=realised,
        opened=opened,
        closed=closed,
        won=won,
        orders=before.orders + len(moved.get(Order, ())),
        rejected=rejected,
        denied=refused.denied,
        rejections=refused.rejections or UNSET,
        opening=before.opening,
        positions=tuple(held.values()),
        strategies={name: tuple(positions.values()) for name, positions in sorted(of.items()) if positions},
        turnover=_turnover(before.turnover, moved.get(Fill, ())),
        removed=tuple(key for key in versions.keyed(Fill) if key in removed),
    )


def _held(
    before: Figures, kept_before: Kept, versions: Versions, removed: Collection[Key]
) -> tuple[_Positions, dict[str, _Positions]]:
    """What is held, and what the fills of each strategy's orders come to."""
    held = _by_key(before.positions)
    of = {name: _by_key(positions) for name, positions in before.strategies.items()}
    counted = {versions.key(fill) for fill in kept_before.fills} - set(before.removed)
    for key, fill in versions.keyed(Fill).items():
        if key in counted or key in removed:
            continue
        book_fill(held, fill)
        order = versions.keyed(Order).get((fill.client_order_id,))
        if order is not None:
            book_fill(of.setdefault(order.strategy, {}), fill)
    return held, of


def _by_key(positions: Sequence[Position]) -> _Positions:
    return {(position.instrument, position.ref): position for position in positions}


def _turnover(before: Sequence[Turnover], fills: Sequence[Fill]) -> tuple[Turnover, ...]:
    sums = {(one.venue, one.instrument, one.position_ref): one for one in before}
    for fill in fills:
        key = (fill.venue, fill.instrument, fill.position_ref or "")
        is_buy = fill.side is Side.BUY
        with ledger():
            value = fill.quantity * fill.price
            one = sums.get(key) or Turnover(*key, first_ns=fill.ts_ns, last_ns=fill.ts_ns)
            sums[key] = structs.replace(
                one,
                bought=one.bought + (fill.quantity if is_buy else ZERO),
                bought_value=one.bought_value + (value if is_buy else ZERO),
                sold=one.sold + (ZERO if is_buy else fill.quantity),
                sold_value=one.sold_value + (ZERO if is_buy else value),
                realised=one.realised + fill.realised,
                fee=one.fee + fill.fee,
                fills=one.fills + 1,
                first_ns=min(one.first_ns, fill.ts_ns),
                last_ns=max(one.last_ns, fill.ts_ns),
            )
    return tuple(sums[key] for key in sorted(sums))
