"""Two executions, lined up trade by trade, with what differs and why, as far as the books of both can tell.

Trades belong together that are of the same strategy, instrument and side, and whose entries are nearest to each other: of all
such pairs within the tolerance the nearest is taken first, of equally near ones the earlier. What is left is missing in the
second one, or extra there. Trades that never filled are nobody's counterpart; they explain why one is missing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from heapq import heappop, heappush

from msgspec import Struct

from tradekeel.backtest.reporting.model import Traded
from tradekeel.domain.booknews import price_seen
from tradekeel.domain.instruments import PIPS_STEP, shown_price
from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.domain.money import WORKING, ZERO, Rounding, divide, ledger, plain, round_to
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.times import NS_PER_MS, NS_PER_S, iso
from tradekeel.domain.trades import Trade, TradeSide

TOLERANCE_NS = 60 * NS_PER_S
"""How far the entries of a pair may be apart, in event time."""

MS = Decimal("0.001")
"""Of a second."""

MISSING, EXTRA, DIFFERS = "missing", "extra", "differs"

Pips = Callable[[str], Decimal | None]
"""The size of an instrument's pip; None where nobody knows it."""

Key = tuple[str, str, TradeSide]


class Change(Struct, frozen=True, kw_only=True):
    """One thing that differs in a pair. Values are text, exact; ``by`` is the second less the first."""

    what: str  # entry time, entry price, size, exit time, exit price, reason, status, fees, financing, pnl
    first: str
    second: str
    by: str = ""


class Difference(Struct, frozen=True, kw_only=True):
    """A pair that differs, or a trade that only one of the two has."""

    kind: str
    strategy: str
    instrument: str
    side: TradeSide
    first_trade: str | None
    second_trade: str | None
    entry_ns: int  # of the first one, or of the only one
    changes: tuple[Change, ...]
    why: tuple[str, ...]
    pnl: Decimal  # of the second less of the first: what a trade that is missing there has made is taken off
    trade_pnl: Decimal | None = None  # the trade's own, where only one of the two has it


class Totals(Struct, frozen=True, kw_only=True):
    """What one execution's trades came to."""

    name: str
    execution: str
    currency: str
    trades: int
    pnl: Decimal
    fees: Decimal
    financing: Decimal
    archived: int = 0  # older trades in archives that cannot be read, and were not looked at
    lacking: str = ""  # which archives, and why
    remedy: str = ""  # what to do about the first of them
    open: int = 0  # that hold something still: what they have booked is in pnl, and what they would bring is not


class Comparison(Struct, frozen=True, kw_only=True):
    """What comparing two executions has come to."""

    first: Totals
    second: Totals
    pairs: int
    same: int
    differing: int
    missing: int
    extra: int
    pnl: Decimal  # of the second less of the first
    differences: tuple[Difference, ...]  # by entry time

    @property
    def is_same(self) -> bool:
        """Whether every trade has one that is just like it. What is in archives that cannot be read nobody knows."""
        return not self.differences and not self.first.archived and not self.second.archived


def compare(first: Traded, second: Traded, pips: Pips, tolerance_ns: int = TOLERANCE_NS) -> Comparison:
    """Line up two executions. Raises ValueError for a tolerance below zero."""
    if tolerance_ns < 0:
        raise ValueError(f"a tolerance is not below zero, found {tolerance_ns}")
    ones, others = _Side(first), _Side(second)
    pairs = list(pair_up(ones.entered, others.entered, tolerance_ns))
    found = [_changed(one, other, ones, others, pips) for one, other in pairs]
    differing = [difference for difference in found if difference is not None]
    paired = ({one.trade_id for one, _ in pairs}, {other.trade_id for _, other in pairs})
    missing = [
        _only(MISSING, trade, ones, others, paired[1], tolerance_ns)
        for trade in ones.entered
        if trade.trade_id not in paired[0]
    ]
    extra = [
        _only(EXTRA, trade, others, ones, paired[0], tolerance_ns)
        for trade in others.entered
        if trade.trade_id not in paired[1]
    ]
    totals = _totals(first, ones.entered), _totals(second, others.entered)
    return Comparison(
        first=totals[0],
        second=totals[1],
        pairs=len(pairs),
        same=len(pairs) - len(differing),
        differing=len(differing),
        missing=len(missing),
        extra=len(extra),
        pnl=_less(totals[1].pnl, totals[0].pnl),
        differences=tuple(sorted((*differing, *missing, *extra), key=_in_order)),
    )


def _in_order(difference: Difference) -> tuple[int, str, str, str, str]:
    return (
        difference.entry_ns,
        difference.strategy,
        difference.instrument,
        difference.first_trade or "",
        difference.second_trade or "",
    )


# --- pairs ------------------------------------------------------------------------------------------------------------------


def pair_up(ones: Sequence[Trade], others: Sequence[Trade], tolerance_ns: int) -> list[tuple[Trade, Trade]]:
    """Which trades belong together; see the module. Both have entered."""
    by_key: dict[Key, list[Trade]] = {}
    for other in sorted(others, key=_entry):
        by_key.setdefault(_key(other), []).append(other)
    times = {key: [_entry(trade)[0] for trade in trades] for key, trades in by_key.items()}
    offers = [
        _nearest_first(by_key.get(_key(one), ()), times.get(_key(one), ()), _entry(one)[0], tolerance_ns)
        for one in ones
    ]
    taken: set[str] = set()
    nearest: list[tuple[int, tuple[int, str], tuple[int, str], int, Trade]] = []  # the best that each can still have

    def look_again(number: int) -> None:
        for gap, other in offers[number]:
            if other.trade_id not in taken:
                heappush(nearest, (gap, _entry(ones[number]), _entry(other), number, other))
                return

    for number in range(len(ones)):
        look_again(number)
    pairs = []
    while nearest:
        *_, number, other = heappop(nearest)
        if other.trade_id in taken:
            look_again(number)
        else:
            taken.add(other.trade_id)
            pairs.append((ones[number], other))
    return pairs


def _nearest_first(
    some: Sequence[Trade], times: Sequence[int], at: int, tolerance_ns: int
) -> Iterator[tuple[int, Trade]]:
    """Trades within the tolerance of a time with their distance, of equally near ones the earlier first: one by one, since all of
    them for each of thousands of trades are more than there is room for. ``times`` are theirs, ascending.
    """
    above = bisect_left(times, at)
    below = above
    while True:
        gap_above = times[above] - at if above < len(times) else tolerance_ns + 1
        gap_below = at - times[below - 1] if below else tolerance_ns + 1
        gap = min(gap_above, gap_below)
        if gap > tolerance_ns:
            return
        if gap_below == gap:
            first = bisect_left(times, times[below - 1])
            yield from ((gap, other) for other in some[first:below])
            below = first
        else:
            yield gap, some[above]
            above += 1


def _key(trade: Trade) -> Key:
    return trade.strategy or "", trade.symbol, trade.side


def _entry(trade: Trade) -> tuple[int, str]:
    return trade.entry_time_ns or 0, trade.trade_id


def _generated(signal: Signal) -> int:
    return signal.generated_at_ns


class _Side:
    """One execution, with its signals and orders at hand."""

    def __init__(self, traded: Traded) -> None:
        self.traded = traded
        self.entered = [trade for trade in traded.trades if trade.entry_time_ns is not None]
        self.orders: Mapping[str, Order] = {order.client_order_id: order for order in traded.orders}
        self.signals: Mapping[str, Signal] = {signal.signal_id: signal for signal in traded.signals}
        self.by_signal: dict[str, Order] = {}
        for order in traded.orders:
            if order.signal_id is not None:
                self.by_signal[order.signal_id] = order
        self.wanted: dict[Key, list[Signal]] = {}
        for signal in sorted(traded.signals, key=lambda signal: (signal.generated_at_ns, signal.signal_id)):
            key = (signal.strategy, signal.symbol, TradeSide.of(signal.side))
            self.wanted.setdefault(key, []).append(signal)

    def decided_ns(self, trade: Trade) -> int:
        """When the trade was wanted."""
        signal = self.signals.get(trade.signal_id or "")
        return signal.generated_at_ns if signal is not None else trade.created_ns

    def seen(self, trade: Trade) -> Decimal | None:
        """What the entry's slippage is measured from: the price that the decision saw, or asked for."""
        order = self.orders.get(trade.entry_order_id)
        return None if order is None else price_seen(order)

    def asked(self, trade: Trade) -> Decimal:
        """The size that was asked for."""
        order = self.orders.get(trade.entry_order_id)
        return trade.quantity if order is None else order.quantity

    def nearest_wish(self, key: Key, at_ns: int, tolerance_ns: int, paired: Collection[str]) -> Signal | None:
        """The signal of this kind that is nearest to a time, within the tolerance; not one that a pair came of."""
        wanted = self.wanted.get(key, [])
        first = bisect_left(wanted, at_ns - tolerance_ns, key=_generated)
        behind = bisect_right(wanted, at_ns + tolerance_ns, key=_generated)
        near = (signal for signal in wanted[first:behind] if signal.trade_id not in paired)
        return min(near, key=lambda signal: (abs(signal.generated_at_ns - at_ns), signal.signal_id), default=None)


# --- what differs in a pair, and why ------------------------------------------------------------------------------------------


def _changed(one: Trade, other: Trade, ones: _Side, others: _Side, pips: Pips) -> Difference | None:
    with ledger():
        amounts = {
            "fees": (one.entry_fee + one.exit_fee, other.entry_fee + other.exit_fee),
            "financing": (one.financing, other.financing),
            "pnl": (one.pnl, other.pnl),
        }
    pip = pips(one.symbol)
    changes = [
        _time("entry time", one.entry_time_ns, other.entry_time_ns),
        _price("entry price", one.entry_price, other.entry_price, pip),
        _amount("size", one.entered_quantity, other.entered_quantity),
        _word("status", one.status.value, other.status.value),
        _time("exit time", one.exit_time_ns, other.exit_time_ns),
        _price("exit price", one.exit_price, other.exit_price, pip),
        _word("reason", one.exit_reason and one.exit_reason.value, other.exit_reason and other.exit_reason.value),
        *(_amount(what, first, second) for what, (first, second) in amounts.items()),
    ]
    kept = tuple(change for change in changes if change is not None)
    if not kept:
        return None
    return Difference(
        kind=DIFFERS,
        strategy=one.strategy or "",
        instrument=one.symbol,
        side=one.side,
        first_trade=one.trade_id,
        second_trade=other.trade_id,
        entry_ns=one.entry_time_ns or 0,
        changes=kept,
        why=tuple(_why(one, other, ones, others, {change.what for change in kept})),
        pnl=_less(amounts["pnl"][1], amounts["pnl"][0]),
    )


def _why(one: Trade, other: Trade, ones: _Side, others: _Side, what: set[str]) -> Iterable[str]:
    """What the books say of each thing that differs."""
    decided, decided_there = ones.decided_ns(one), others.decided_ns(other)
    if "entry time" in what:
        if decided != decided_there:
            yield f"decided {_seconds(decided_there - decided)} apart"
        else:
            waits = [_seconds((trade.entry_time_ns or 0) - decided) for trade in (one, other)]
            yield f"decided at the same moment, filled {waits[0]} and {waits[1]} later: latency"
    if "entry price" in what:
        yield from _why_price(one, other, ones.seen(one), others.seen(other))
    if "size" in what:
        asked, asked_there = ones.asked(one), others.asked(other)
        if asked != asked_there:
            yield f"asked for {plain(asked)} and {plain(asked_there)}"
        else:
            yield f"asked for {plain(asked)} in both, and filled in part"
    if "reason" in what and one.exit_reason is not None and other.exit_reason is not None:
        yield f"left by {one.exit_reason.value} and {other.exit_reason.value}"
    elif {"exit price", "exit time"} & what and one.exit_reason is other.exit_reason and one.exit_reason is not None:
        if one.stop_loss != other.stop_loss:
            yield f"the stop stood at {_level(one)} and {_level(other)}"
        else:
            yield f"left by {one.exit_reason.value} in both, filled elsewhere: slippage or latency"
    if "status" in what:
        yield "one of the two is not over"
    if what == {"pnl"}:
        yield "converted at another rate"


def _why_price(one: Trade, other: Trade, seen: Decimal | None, seen_there: Decimal | None) -> Iterable[str]:
    if seen is None or seen_there is None:
        yield "the price that was seen is not in the books"
    elif seen == seen_there:
        slips = [_slipped(trade, seen) for trade in (one, other)]
        yield f"both saw {plain(seen)}, slippage {slips[0]} and {slips[1]}"
    else:
        yield f"decided on other quotes: {plain(seen)} and {plain(seen_there)}"


def _slipped(trade: Trade, seen: Decimal) -> str:
    """How much dearer than seen, as a price; below zero is cheaper."""
    got = trade.entry_price
    slip = ZERO if got is None else WORKING.multiply(WORKING.subtract(got, seen), Decimal(trade.side.sign))
    return shown_price(slip, trade.symbol)


def _level(trade: Trade) -> str:
    return "none" if trade.stop_loss is None else shown_price(trade.stop_loss, trade.symbol)


def _time(what: str, first: int | None, second: int | None) -> Change | None:
    if first == second:
        return None
    by = _seconds(second - first) if first is not None and second is not None else ""
    return Change(what=what, first=_moment(first), second=_moment(second), by=by)


def _price(what: str, first: Decimal | None, second: Decimal | None, pip: Decimal | None) -> Change | None:
    if first == second:
        return None
    by = ""
    if first is not None and second is not None:
        apart = WORKING.subtract(second, first)
        by = plain(apart) if pip is None else f"{plain(divide(apart, pip, PIPS_STEP, Rounding.DISPLAY))} pips"
    return Change(what=what, first=_plain(first), second=_plain(second), by=by)


def _amount(what: str, first: Decimal, second: Decimal) -> Change | None:
    if first == second:
        return None
    return Change(what=what, first=plain(first), second=plain(second), by=plain(_less(second, first)))


def _word(what: str, first: str | None, second: str | None) -> Change | None:
    return None if first == second else Change(what=what, first=first or "", second=second or "")


def _plain(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def _moment(ns: int | None) -> str:
    return "" if ns is None else iso(ns)


def _seconds(ns: int) -> str:
    """To the millisecond, where it is one or more; the times themselves are exact."""
    exact = Decimal(ns).scaleb(-9)
    shown = round_to(exact, MS, Rounding.DISPLAY) if abs(ns) >= NS_PER_MS else exact
    return f"{plain(shown.normalize())} s"


def _less(one: Decimal, other: Decimal) -> Decimal:
    with ledger():
        return one - other


# --- trades that only one has -------------------------------------------------------------------------------------------------


def _only(
    kind: str, trade: Trade, having: _Side, lacking: _Side, paired: Collection[str], tolerance_ns: int
) -> Difference:
    with ledger():
        pnl = trade.pnl if kind == EXTRA else -trade.pnl
    return Difference(
        kind=kind,
        strategy=trade.strategy or "",
        instrument=trade.symbol,
        side=trade.side,
        first_trade=trade.trade_id if kind == MISSING else None,
        second_trade=trade.trade_id if kind == EXTRA else None,
        entry_ns=trade.entry_time_ns or 0,
        changes=(),
        why=(_why_not(trade, having, lacking, paired, tolerance_ns),),
        pnl=pnl,
        trade_pnl=trade.pnl,
    )


def _why_not(trade: Trade, having: _Side, lacking: _Side, paired: Collection[str], tolerance_ns: int) -> str:
    """Why the other execution has no such trade."""
    name, decided = lacking.traded.name, having.decided_ns(trade)
    first_ns, last_ns = lacking.traded.first_ns, lacking.traded.last_ns
    if first_ns is None or last_ns is None:
        return f"{name} has no journal"
    if decided < first_ns:
        return f"{name} had not begun, or had done nothing yet: its journal begins at {_moment(first_ns)}"
    signal = lacking.nearest_wish(_key(trade), decided, tolerance_ns, paired)
    if signal is None:
        return _not_wanted(trade, lacking, decided, tolerance_ns)
    if signal.execution_status is SignalStatus.DENIED:
        return f"denied by {name}: {signal.status_reason}"
    order = lacking.by_signal.get(signal.signal_id)
    if order is None:
        return f"wanted by {name}, and no order followed: {signal.status_reason or signal.execution_status.value}"
    if order.filled_quantity:
        return f"wanted by {name} at {_moment(signal.generated_at_ns)}, and filled beyond the tolerance"
    return _came_to_nothing(order, name)


def _not_wanted(trade: Trade, lacking: _Side, decided: int, tolerance_ns: int) -> str:
    name, last_ns = lacking.traded.name, lacking.traded.last_ns
    if last_ns is not None and decided > last_ns:
        return f"{name} had ended, or has not come so far: its journal ends at {_moment(last_ns)}"
    strategy, symbol, side = _key(trade)
    if not any(key[0] == strategy for key in lacking.wanted):
        return f"{name} has no signal of strategy {strategy}"
    if lacking.nearest_wish((strategy, symbol, side), decided, tolerance_ns, ()) is not None:
        return f"no such signal: what {name} wanted then became trades of other pairs"
    other_side = TradeSide.SHORT if side is TradeSide.LONG else TradeSide.LONG
    if lacking.nearest_wish((strategy, symbol, other_side), decided, tolerance_ns, ()) is not None:
        return f"another signal: {name} wanted {other_side.value} then"
    return f"no such signal: {name} wanted nothing then"


_NOTHING = {
    OrderStatus.DENIED: "denied by",
    OrderStatus.REJECTED: "rejected by the venue of",
    OrderStatus.CANCELED: "canceled in",
    OrderStatus.EXPIRED: "expired in",
    OrderStatus.NOT_SENT: "not sent by",
    OrderStatus.UNKNOWN: "nobody knows what became of it in",
}


def _came_to_nothing(order: Order, name: str) -> str:
    what = _NOTHING.get(order.status, f"still {order.status.value} in")
    return f"{what} {name}" + (f": {order.status_reason}" if order.status_reason else "")


def _totals(traded: Traded, entered: Sequence[Trade]) -> Totals:
    with ledger():
        return Totals(
            name=traded.name,
            execution=traded.run.execution,
            currency=traded.run.currency,
            trades=len(entered),
            pnl=sum((trade.pnl for trade in entered), ZERO),
            fees=sum((trade.entry_fee + trade.exit_fee for trade in entered), ZERO),
            financing=sum((trade.financing for trade in entered), ZERO),
            archived=traded.archived,
            lacking=traded.lacking,
            remedy=traded.remedy,
            open=sum(trade.holds for trade in entered),
        )
