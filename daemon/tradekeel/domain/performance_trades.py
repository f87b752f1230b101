"""What performance keeps of closed trades: the last closings one by one, and sums of all and of each group before them.

A sum could be taken back, a best trade or a longest streak cannot: what would be the best without it is not in what is kept.
So a closing goes into the sums only when nothing can open its trade again. Until then it stands in the log, from which it is
simply taken out, and the figures are made of sums and log together (:meth:`TradeLog.settled`).

Closings leave the log :data:`SETTLED_AT_ONCE` at a time. Those that are alike are put together first, once by :data:`What` and
once by :data:`How`, which costs half of counting each trade in each of its groups. Sums are exact, so it changes no digit.
"""

from __future__ import annotations

import decimal
from collections import defaultdict
from decimal import Decimal
from itertools import islice

import msgspec
from msgspec import Struct, field

from tradekeel.domain.bookstate import ENDED_KEPT_MAX
from tradekeel.domain.money import PRECISION, WORKING, ZERO, Rounding
from tradekeel.domain.positions import COST_STEP
from tradekeel.domain.trades import RATIO_STEP, Trade
from tradekeel.errors import Defect

REOPENABLE_MAX = ENDED_KEPT_MAX
"""Closings that can be taken back: as many as the book keeps closed trades for late fills. An older trade is never opened
again: its fill is an adopted trade."""

SETTLED_AT_ONCE = 500
"""So many more are in the log before they leave it."""

GROUPS_MAX = 100
"""Groups of one kind. Keys are free text where a strategy writes them (tags); trades of what comes later are counted under
:data:`OTHER` together."""

TAGS_MAX = 8
"""Of one trade's tags so many are looked at, in its own order."""

OTHER = "(other)"
"""The group of everything for which there was no more room."""

SUMS = decimal.Context(
    prec=2 * PRECISION,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Inexact],
)
"""Ratios and squares have more digits than amounts: exact still, with twice the room."""

_HALF_EVEN = Rounding.DISPLAY.mode


class TradeSums(Struct):
    """Sums over closed trades, as every version has kept them."""

    total: int = 0
    winning: int = 0
    losing: int = 0
    pnl: Decimal = ZERO
    risk_reward_count: int = 0
    risk_reward_sum: Decimal = ZERO


class GroupSums(Struct, array_like=True):
    """Sums over closed trades, in account currency and nanoseconds. An array when saved: a state has many of these."""

    count: int = 0
    winning: int = 0
    losing: int = 0
    profit: Decimal = ZERO  # of the winners
    loss: Decimal = ZERO  # of the losers, not above zero
    squares: Decimal = ZERO  # of each trade's result
    fees: Decimal = ZERO
    slippage: Decimal | None = None  # of the trades where it is known of any fill; None: of none
    winning_timed: int = 0  # winners whose entry and exit times are known
    winning_ns: int = 0
    losing_timed: int = 0
    losing_ns: int = 0
    best: Decimal | None = None
    worst: Decimal | None = None

    def add(self, closing: Closing) -> None:
        """One more trade. To be called within :data:`SUMS`, as :meth:`merge` is."""
        pnl, held_ns = closing.pnl, closing.held_ns
        self.count += 1
        self.squares += pnl * pnl
        if pnl > ZERO:
            self.winning += 1
            self.profit += pnl
            if held_ns is not None:
                self.winning_timed += 1
                self.winning_ns += held_ns
        elif pnl:
            self.losing += 1
            self.loss += pnl
            if held_ns is not None:
                self.losing_timed += 1
                self.losing_ns += held_ns
        self.fees += closing.fees
        self.slippage = _with(self.slippage, closing.slippage)
        if self.best is None or pnl > self.best:
            self.best = pnl
        if self.worst is None or pnl < self.worst:
            self.worst = pnl

    def merge(self, more: GroupSums) -> None:
        """All trades of ``more``, which has some."""
        self.count += more.count
        self.winning += more.winning
        self.losing += more.losing
        self.profit += more.profit
        self.loss += more.loss
        self.squares += more.squares
        self.fees += more.fees
        self.slippage = _with(self.slippage, more.slippage)
        self.winning_timed += more.winning_timed
        self.winning_ns += more.winning_ns
        self.losing_timed += more.losing_timed
        self.losing_ns += more.losing_ns
        if more.best is not None and (self.best is None or more.best > self.best):
            self.best = more.best
        if more.worst is not None and (self.worst is None or more.worst < self.worst):
            self.worst = more.worst


class Streaks(Struct, array_like=True):
    """Trades that won, or lost, one after the other. One that broke even ends either."""

    run: int = 0  # of winners above zero, of losers below
    winning: int = 0  # the longest
    losing: int = 0

    def follow(self, pnl: Decimal) -> None:
        """The next trade's result, in the order in which they closed."""
        if pnl > ZERO:
            self.run = self.run + 1 if self.run > 0 else 1
            self.winning = max(self.winning, self.run)
        elif pnl:
            self.run = self.run - 1 if self.run < 0 else -1
            self.losing = max(self.losing, -self.run)
        else:
            self.run = 0


What = tuple[str, str, str]
"""Strategy, instrument and side of a trade; ``""`` stands for none."""

How = tuple[str, str, tuple[str, ...]]
"""Session, exit reason and tags of a trade, likewise."""


class Closing(Struct, array_like=True, frozen=True):
    """One closed trade as it was counted: what is taken back is this, whatever the trade has become."""

    pnl: Decimal
    fees: Decimal
    slippage: Decimal | None  # None: no price had been seen for any of its fills
    risk_reward: Decimal | None
    held_ns: int | None
    day: int | None  # ordinal of the trading day of its exit
    what: What
    how: How


class Groups(Struct):
    """Sums by what a trade is, each key in the order in which it first came. ``""`` stands for none."""

    strategy: dict[str, GroupSums] = {}
    instrument: dict[str, GroupSums] = {}
    side: dict[str, GroupSums] = {}
    session: dict[str, GroupSums] = {}
    reason: dict[str, GroupSums] = {}
    tag: dict[str, GroupSums] = {}

    def merge_what(self, what: What, more: GroupSums) -> None:
        """Trades that are alike in this."""
        strategy, instrument, side = what
        _room(self.strategy, strategy).merge(more)
        _room(self.instrument, instrument).merge(more)
        _room(self.side, side).merge(more)

    def merge_how(self, how: How, more: GroupSums) -> None:
        """Trades that are alike in that."""
        session, reason, tags = how
        _room(self.session, session).merge(more)
        _room(self.reason, reason).merge(more)
        for group in {id(group): group for group in (_room(self.tag, tag) for tag in tags or ("",))}.values():
            group.merge(more)  # once, also where two tags of a trade have no room of their own


class DayTrades(Struct, array_like=True):
    """The trades that closed in one trading day."""

    count: int = 0
    winning: int = 0
    losing: int = 0
    profit: Decimal = ZERO
    loss: Decimal = ZERO
    fees: Decimal | None = None  # None: a version before has counted some of these trades, and kept no fees by day

    def add(self, closing: Closing) -> None:
        """One more trade. To be called within :data:`SUMS`."""
        pnl = closing.pnl
        self.count += 1
        if self.fees is not None:
            self.fees += closing.fees
        if pnl > ZERO:
            self.winning += 1
            self.profit += pnl
        elif pnl:
            self.losing += 1
            self.loss += pnl


class TradeLog(Struct):
    """Everything that is kept of closed trades: ``last`` one by one, and sums of those before them."""

    total: GroupSums = field(default_factory=GroupSums)
    streaks: Streaks = field(default_factory=Streaks)
    groups: Groups = field(default_factory=Groups)
    days: dict[int, DayTrades] = {}  # by ordinal of the trading day
    last: dict[str, Closing] = {}  # by trade, in the order in which they closed

    def add(self, trade_id: str, closing: Closing) -> None:
        """A trade closed. To be called within :data:`SUMS`."""
        last = self.last
        if trade_id in last:
            raise Defect(f"trade {trade_id} closed twice")
        last[trade_id] = closing
        if len(last) >= REOPENABLE_MAX + SETTLED_AT_ONCE:
            leaving = list(islice(last, SETTLED_AT_ONCE))
            self._settle([last.pop(trade_id) for trade_id in leaving])

    def take(self, trade_id: str) -> Closing | None:
        """A trade is open again: as if it had not closed. None if it is not among the last that did."""
        return self.last.pop(trade_id, None)

    def settled(self) -> TradeLog:
        """The same as if none of it could be taken back any more; this one stays as it is."""
        log = _LOG_IN.decode(_LOG_OUT.encode(self))
        with decimal.localcontext(SUMS):
            log._settle(list(log.last.values()))
        log.last.clear()
        return log

    def _settle(self, closings: list[Closing]) -> None:
        what: defaultdict[What, GroupSums] = defaultdict(GroupSums)
        how: defaultdict[How, GroupSums] = defaultdict(GroupSums)
        follow, days = self.streaks.follow, self.days
        for closing in closings:
            what[closing.what].add(closing)
            how[closing.how].add(closing)
            follow(closing.pnl)
            if closing.day is not None:
                day = days.get(closing.day)
                if day is None:
                    day = days[closing.day] = DayTrades(fees=ZERO)
                day.add(closing)
        for one, sums in what.items():
            self.total.merge(sums)
            self.groups.merge_what(one, sums)
        for other, sums in how.items():
            self.groups.merge_how(other, sums)


def _with(known: Decimal | None, more: Decimal | None) -> Decimal | None:
    if known is None or more is None:
        return more if known is None else known
    return known + more


_LOG_OUT = msgspec.msgpack.Encoder(decimal_format="string")
_LOG_IN = msgspec.msgpack.Decoder(TradeLog)


def _room(groups: dict[str, GroupSums], key: str) -> GroupSums:
    """The group in which trades with this key are counted."""
    found = groups.get(key)
    if found is None:
        if len(groups) >= GROUPS_MAX:
            key = OTHER
        found = groups.setdefault(key, GroupSums())
    return found


def closing_of(trade: Trade, slippage: Decimal | None, day: int | None) -> Closing:
    """What is counted of a closed trade. To be called within :data:`SUMS`."""
    entered_ns, exited_ns = trade.entry_time_ns, trade.exit_time_ns
    reason, session, tags = trade.exit_reason, trade.session, trade.tags
    return Closing(
        net_of(trade),
        trade.entry_fee + trade.exit_fee,
        slippage,
        risk_reward(trade),
        None if entered_ns is None or exited_ns is None else exited_ns - entered_ns,
        day,
        (trade.strategy or "", trade.symbol, trade.side.value),
        (
            str(session) if session else "",
            reason.value if reason is not None else "",
            tags if len(tags) <= TAGS_MAX else tags[:TAGS_MAX],
        ),
    )


def net_of(trade: Trade) -> Decimal:
    """:attr:`~tradekeel.domain.trades.Trade.pnl`. To be called within :data:`SUMS`: it is exact there."""
    return trade.gross_pnl - trade.entry_fee - trade.exit_fee + trade.financing


def risk_reward(trade: Trade) -> Decimal | None:
    """:attr:`~tradekeel.domain.trades.Trade.risk_reward_ratio`, at a fraction of its cost."""
    stop, target = trade.initial_stop_loss, trade.take_profit
    if stop is None or target is None or not trade.entered_quantity:
        return None
    before = decimal.getcontext()
    decimal.setcontext(WORKING)
    try:
        entry = (trade.entry_value / trade.entered_quantity).quantize(COST_STEP, _HALF_EVEN)
        if entry == stop:
            return None
        return (abs(target - entry) / abs(entry - stop)).quantize(RATIO_STEP, _HALF_EVEN)
    except decimal.InvalidOperation:  # levels so far off that the quotient has more digits than are computed with
        return trade.risk_reward_ratio
    finally:
        decimal.setcontext(before)
