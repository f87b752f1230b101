"""The monitor's core: exits that we keep, equity, loss limits, performance; fed by ticks, told of trades by the journal.

Like a strategist it follows the journal by stamp, so after a restart it walks through its past the same way: an exit
that it asked for then is in the journal, and the trade is closing by the time its tick comes round again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from operator import attrgetter

import msgspec
from msgspec import Struct, structs

from tradekeel.domain import records as r
from tradekeel.domain.booknews import price_seen
from tradekeel.domain.entries import Entry
from tradekeel.domain.exits import ExitAction, ExitWatch, StopMove
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Stamp, TransactionKind
from tradekeel.domain.money import WORKING, ZERO, ledger
from tradekeel.domain.orders import Order, OrderStatus, Purpose, Side
from tradekeel.domain.performance import PerformanceReport, PerformanceState, PerformanceTracker
from tradekeel.domain.positions import Quote
from tradekeel.domain.protocol import EquitySeen
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.risk_losses import Marks, RiskMonitor, RiskState, Trip
from tradekeel.domain.rows import Latch, Row
from tradekeel.domain.sessions import session_at
from tradekeel.domain.ticks import Extremes, Tick, TickWindow
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.domain.view import View
from tradekeel.errors import Defect


class MonitorState(Struct, kw_only=True):
    """What a cut keeps of the monitor."""

    position: int
    stamp: int
    best: dict[str, Decimal]
    quotes: dict[str, Quote]
    risk: RiskState
    tracker: PerformanceState
    equity: Decimal | None = None  # at these quotes; None where a price or a rate is missing


class Watched(Struct, frozen=True):
    """What one tick made the monitor ask for."""

    exits: tuple[ExitAction, ...] = ()
    moves: tuple[StopMove, ...] = ()
    trip: Trip | None = None

    def __bool__(self) -> bool:
        return bool(self.exits or self.moves or self.trip is not None)


LOOK_EVERY_NS = 300 * NS_PER_S
"""How often the equity is observed, in the market's time, while something is held: some twenty microseconds each."""

_time_of = attrgetter("ts_ns")

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(MonitorState)


class MonitorCore:
    """See the module. ``view`` is the account as of the saved state's inbox.

    ``days_a_year`` is what figures are annualised with; None: what the saved state says. No tick before ``begins_ns`` counts
    (event time): a backtest only warms strategies up until then.
    """

    def __init__(
        self,
        view: View,
        instruments: Mapping[str, Instrument],
        currency: str,
        limits: RiskLimits,
        saved: bytes | None,
        days_a_year: int | None = None,
        begins_ns: int = 0,
    ) -> None:
        self.view = view
        self._begins_ns = begins_ns
        self.limits = limits
        self.news: deque[Entry] = deque()
        self.watch = ExitWatch()
        self.marks = Marks(instruments, currency)
        state = _DECODER.decode(saved) if saved else None
        self.position = state.position if state else 0
        self.stamp = state.stamp if state else 0
        self.quotes: dict[str, Quote] = dict(state.quotes) if state else {}
        self.risk = RiskMonitor(limits, state.risk if state else None)
        self.tracker = PerformanceTracker(state.tracker if state else None, days_a_year)
        self.tracker.balance_changed(view.balance)  # before anything is booked it is what the account was opened with
        self.watch.best.update(state.best if state else {})
        for order in view.orders.values():
            self.watch.claimed(order)
        self.watch.changed(view.trades.values())

    # --- news ------------------------------------------------------------------------------------------------------------

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Queue journal entries, in order."""
        last = self.news[-1].sequence if self.news else self.view.inbox
        for entry in entries:
            if entry.sequence <= last:
                continue
            if entry.sequence != last + 1:
                raise Defect(f"monitor: journal entry {entry.sequence} follows {last}")
            self.news.append(entry)
            last = entry.sequence

    def follow(self, stamp: int) -> None:
        """Take over all queued news up to ``stamp``."""
        while self.news and self.news[0].record.stamp <= stamp:
            self._follow(self.news.popleft())
        self.stamp = max(self.stamp, stamp)

    def _follow_to(self, position: int) -> None:
        """Take over what there was to know when this core looked at a tick.

        Strategies answer the tick's own news behind that look, under the same stamp: whatever begins with such an answer waits.
        After a restart it is queued together with the news, and an exit would be asked for one tick too early.
        """
        stamp = Stamp.before(position)
        while self.news and self.news[0].record.stamp <= stamp:
            record = self.news[0].record
            if position > self.position and record.stamp == stamp and isinstance(record, r.DecisionTaken):
                break
            self._follow(self.news.popleft())
        self.stamp = max(self.stamp, stamp)

    def _follow(self, entry: Entry) -> None:
        record, before = entry.record, self.view.latch
        trades: list[Trade] = []
        exits: list[Order] = []
        for row in entry.rows:
            kind = type(row)
            if kind is Trade:
                trades.append(row)  # type: ignore[arg-type]  # narrowed by the exact class
            elif kind is Order and (row.purpose is Purpose.EXIT or row.closes):  # type: ignore[union-attr]  # likewise
                exits.append(row)  # type: ignore[arg-type]  # likewise
        if isinstance(record, r.VenueReported):
            if record.allocations:
                self._count_fill(record, entry.rows)
            if trades:
                self._count(trades, record)
            self.view.follow(entry)
            self._watch_again(trades, exits)
            self._take_money(record)
            return
        if trades:
            self._count(trades, record)
        self.view.follow(entry)
        self._watch_again(trades, exits)
        self._take(record, before)

    def _watch_again(self, trades: Sequence[Trade], exits: Sequence[Order]) -> None:
        """The trades that changed, and those of which an exit took, or let go of, a part."""
        if not trades and not exits:
            return
        changed = {trade.trade_id: trade for trade in trades}
        for order in exits:
            self.watch.claimed(order)
            for trade_id in order.exits_of:
                if trade_id in self.view.trades:
                    changed.setdefault(trade_id, self.view.trades[trade_id])
        self.watch.changed(changed.values())

    def _take(self, record: r.Record, latch_before: Latch) -> None:
        if isinstance(record, r.OrdersIntended):
            self._asked_for(record)
        elif isinstance(record, r.LatchChanged) and latch_before is not Latch.OPEN and record.latch is Latch.OPEN:
            equity = self.equity()
            if equity is not None:
                self.risk.rearm(equity, record.ts_ns)

    def _asked_for(self, record: r.OrdersIntended) -> None:
        """Exits that this core asked for. One that the gate denied has closed nothing: its trade is watched again."""
        for order in record.orders:
            trade = self.view.trades.get(order.trade_id or "")
            if trade is None or order.source != "monitor" or order.renews is not None:
                continue
            self.watch.asked[trade.trade_id] = Stamp.position(record.stamp)
            if order.status is OrderStatus.DENIED:
                self.watch.changed([trade])

    def _count(self, trades: Sequence[Trade], record: r.Record) -> None:
        """Count a trade when it closes; one that a late fill opens again is taken back as it was counted.

        Asked before the view moves on: what it holds is what was open until now.
        """
        held = {trade.trade_id for trade in trades if trade.trade_id in self.view.trades}
        for trade in trades:
            if trade.is_open and trade.trade_id not in held:
                held.add(trade.trade_id)
                closed = _as_closed(trade, record)
                if closed is not None:
                    self.tracker.trade_reopened(closed)
            elif trade.status is TradeStatus.CLOSED and trade.trade_id in held:
                held.discard(trade.trade_id)
                self.tracker.trade_closed(trade)

    def _count_fill(self, record: r.VenueReported, rows: Sequence[Row]) -> None:
        """What a fill cost, at the rate that the venue has booked it at. One that was told before has no allocations."""
        fill = record.transaction.fill
        if fill is None:
            return
        order = next(
            (row for row in rows if isinstance(row, Order) and row.client_order_id == fill.client_order_id), None
        )
        seen = price_seen(order) if order is not None else None
        notional = _product(fill.quantity, fill.price, fill.rate)
        self.tracker.fill_booked(notional, fill.fee, priced=seen is not None)
        if seen is None:
            return
        slipped = WORKING.subtract(fill.price, seen) if fill.side is Side.BUY else WORKING.subtract(seen, fill.price)
        for part in record.allocations:
            cost = _product(part.quantity, slipped, fill.rate) if slipped else ZERO
            self.tracker.trade_slipped(part.trade_id, cost)

    def _take_money(self, record: r.VenueReported) -> None:
        news = record.transaction
        if news.kind is TransactionKind.DEPOSITED:
            self.risk.moved_funds(news.amount)
            self.tracker.funds_moved(news.amount)
        if news.kind is TransactionKind.FINANCED:
            self.tracker.financed(news.amount)
        self.tracker.balance_changed(self.view.balance)
        if news.kind in (TransactionKind.ORDER_FILLED, TransactionKind.FINANCED):
            self._observe(record.ts_ns)

    def _observe(self, ts_ns: int) -> None:
        self.tracker.positions_held(bool(self.view.positions), ts_ns)
        equity = self.equity()
        if equity is not None:
            self.tracker.equity_observed(equity, ts_ns)

    def _next_news_index(self, window: TickWindow, stop: int) -> int:
        """Ticks before this index may pass before the next queued news is due."""
        if not self.news:
            return stop
        due = self.news[0].record.stamp
        position = Stamp.position(due) + (due % 2)  # news behind tick q comes before tick q + 1
        return max(0, min(stop, position - window.first_position))

    # --- ticks -----------------------------------------------------------------------------------------------------------

    def quiet_until(self, window: TickWindow, start: int, stop: int) -> int:
        """The first index in ``[start, stop)`` at which the monitor acts, or must be told news first; else ``stop``."""
        start = max(start, min(stop, self.position + 1 - window.first_position))
        if start >= stop:
            return stop
        self._follow_to(window.ticks[start].position)
        stop = max(start, self._next_news_index(window, stop))
        if start >= stop:
            return start
        stop = self._until_day_ends(window, start, stop)
        stop = self.watch.quiet_until(window, start, stop, closing=self._may_close)
        if start >= stop or not self.limits.needs_equity:
            return stop
        return self._equity_quiet(window, start, stop)

    def _until_day_ends(self, window: TickWindow, start: int, stop: int) -> int:
        """The first tick that counts, and a trading day's first, are looked at by themselves: returns are measured there."""
        ticks = window.ticks
        if ticks[start].ts_ns < self._begins_ns:
            due_ns = self._begins_ns
        elif not self.tracker.state.ticks:
            return start
        else:
            due_ns = self.tracker.state.returns.day_ends_ns
        if not due_ns or ticks[stop - 1].ts_ns < due_ns:
            return stop
        return next(index for index in range(start, stop) if ticks[index].ts_ns >= due_ns)

    def _equity_quiet(self, window: TickWindow, start: int, stop: int) -> int:
        """The longest prefix that is vouched for, found by halving: a limit or a new day is near at most now and then."""
        with ledger():
            while start < stop:
                bounds = self.marks.equity_range(
                    self.view.balance, self.view.positions.values(), self.quotes, window.extremes(start, stop)
                )
                if bounds is not None and self.risk.quiet(bounds, window.ticks[stop - 1].ts_ns):
                    return stop
                stop = start + (stop - start) // 2
        return start

    def skip(self, position: int) -> None:
        """The ticks up to ``position`` will never be seen."""
        self.position = max(self.position, position)

    def passed(
        self, window: TickWindow, start: int, stop: int, quotes: Mapping[str, Quote], extremes: Mapping[str, Extremes]
    ) -> EquitySeen | None:
        """The ticks in ``[start, stop)`` went by quietly: these were the last quotes among them, and this their range."""
        unseen = max(start, self.position + 1 - window.first_position)
        if unseen >= stop:
            return self.seen()
        if unseen > start:
            start = unseen  # a resumed feed repeats what was seen
            quotes, extremes = last_quotes(window, unseen, stop), window.extremes(unseen, stop)
        bounds = None
        if self.limits.needs_equity:
            with ledger():
                bounds = self.marks.equity_range(self.view.balance, self.view.positions.values(), self.quotes, extremes)
        if window.ticks[stop - 1].ts_ns >= self._begins_ns:
            self._see_first(quotes, window, start, stop)
            self._look_now_and_then(window, start, stop)
            self.tracker.ticks_processed(stop - start)
        self.quotes.update(quotes)
        self.position = window.ticks[stop - 1].position
        self.stamp = max(self.stamp, Stamp.before(self.position))
        if bounds is not None:
            equity = self.equity()
            if equity is not None:
                self.risk.skip(bounds, equity)
        return self.seen()

    def _look_now_and_then(self, window: TickWindow, start: int, stop: int) -> None:
        """Observe the equity at the first tick of each five minutes of the market in which something is held: it moves with each
        tick, and a fall between two fills would not be seen.
        """
        ticks = window.ticks
        due_ns = self._next_look_ns()
        while self.view.positions and ticks[stop - 1].ts_ns >= due_ns:
            index = min(bisect_left(ticks, due_ns, start, stop, key=_time_of), stop - 1)
            self.quotes.update(last_quotes(window, start, index + 1))
            equity = self.equity()
            if equity is not None:
                self.tracker.equity_observed(equity, ticks[index].ts_ns)
            start, due_ns = index + 1, _next_look_behind(ticks[index].ts_ns)

    def _next_look_ns(self) -> int:
        return _next_look_behind(self.tracker.state.curve.last_ns)

    def _see_first(self, last: Mapping[str, Quote], window: TickWindow, start: int, stop: int) -> None:
        """An instrument's first quote, however many ticks went by at once."""
        new = last.keys() - self.tracker.state.first_mids.keys()
        for index in range(start, stop):
            if not new:
                return
            tick = window.ticks[index]
            if tick.instrument in new:
                self.tracker.quote_seen(tick.instrument, tick.bid, tick.ask)
                new.discard(tick.instrument)

    def at(self, tick: Tick) -> Watched:
        """One tick that is not quiet."""
        self._follow_to(tick.position)
        if tick.position <= self.position:
            return Watched()
        self.position = tick.position
        self.quotes[tick.instrument] = Quote(tick.bid, tick.ask, tick.ts_ns)
        if tick.ts_ns >= self._begins_ns:
            self._count_tick(tick)
        exits, moves = self.watch.at(tick, closing=self._may_close)
        trip = None
        if self.limits.needs_equity:
            equity = self.equity()
            trip = self.risk.observe(equity, tick.ts_ns) if equity is not None else None
            if trip is not None and not trip.latch.is_above(self.view.latch):
                trip = None  # it is latched already, by this very tick if a restart has come back to it
        return Watched(tuple(exits), tuple(moves), trip)

    def _count_tick(self, tick: Tick) -> None:
        state = self.tracker.state
        is_first, ends_ns = not state.ticks, state.returns.day_ends_ns
        self.tracker.quote_seen(tick.instrument, tick.bid, tick.ask)
        self.tracker.ticks_processed()
        is_due = bool(self.view.positions) and tick.ts_ns >= self._next_look_ns()
        if is_first or is_due or (ends_ns and tick.ts_ns >= ends_ns):
            self._observe(tick.ts_ns)

    @property
    def _may_close(self) -> bool:
        """While the account is halted no exit would be taken: they wait for the release, and act at the next tick."""
        return self.view.latch is not Latch.HALTED

    # --- figures ---------------------------------------------------------------------------------------------------------

    def equity(self) -> Decimal | None:
        """Balance and unrealised profit at the latest quotes; None where a price or rate is missing."""
        with ledger():
            return self.marks.equity(self.view.balance, self.view.positions.values(), self.quotes)

    def seen(self) -> EquitySeen | None:
        """What the gate's loss limits are measured on, if any is set."""
        if not self.limits.needs_equity:
            return None
        state = self.risk.state
        if state.last_equity is None or state.day_start_equity is None or state.peak_equity is None:
            return None
        return EquitySeen(state.last_equity, state.day_start_equity, state.peak_equity)

    def snapshot(
        self, execution: str, ts_ns: int, parameter_mode: str | None, *, with_metrics: bool = True
    ) -> r.SnapshotTaken:
        """The account's figures now. Taking one changes none of them. Metrics are the state that they come from."""
        session = session_at(ts_ns)
        figures = self.tracker.snapshot(execution, ts_ns, session, parameter_mode)
        equity = self.equity()
        if equity is not None:
            figures = structs.replace(figures, equity=equity)
        metrics = self.tracker.checkpoint(execution, ts_ns) if with_metrics else None
        return r.SnapshotTaken(ts_ns=ts_ns, snapshot=figures, metrics=metrics)

    def report(self) -> PerformanceReport:
        """Every figure of the account's run so far, in milliseconds. Making it changes none of them."""
        return report_of(_DECODER.decode(self.save()))

    def save(self) -> bytes:
        """The state for a cut."""
        return _ENCODER.encode(
            MonitorState(
                position=self.position,
                stamp=self.stamp,
                best=self.watch.best,
                quotes=self.quotes,
                risk=self.risk.state,
                tracker=self.tracker.state,
                equity=self.equity(),
            )
        )


def report_of(state: MonitorState) -> PerformanceReport:
    """Every figure as of a saved state, in which the equity at its last quotes counts as one that was observed.

    What is held there may have been held for long, and not even its sign would be known otherwise. The state is used up.
    """
    tracker = PerformanceTracker(state.tracker)
    last_ns = max((quote.ts_ns for quote in state.quotes.values()), default=0)
    if state.equity is not None and state.tracker.ticks and last_ns > state.tracker.curve.last_ns:
        tracker.equity_observed(state.equity, last_ns)
    return tracker.report(state.quotes)


def _as_closed(trade: Trade, record: r.Record) -> Trade | None:
    """The trade as it was closed before this entry fill opened it again; None if it was not."""
    if not isinstance(record, r.VenueReported) or record.transaction.fill is None:
        return None
    price = record.transaction.fill.price
    for part in record.allocations:
        if part.trade_id == trade.trade_id and part.opens and trade.entered_quantity > part.quantity:
            with ledger():
                return structs.replace(
                    trade,
                    status=TradeStatus.CLOSED,
                    entered_quantity=trade.entered_quantity - part.quantity,
                    entry_value=trade.entry_value - part.quantity * price,
                    entry_fee=trade.entry_fee - part.fee,
                )
    return None


def _next_look_behind(now_ns: int) -> int:
    return (now_ns // LOOK_EVERY_NS + 1) * LOOK_EVERY_NS


def _product(one: Decimal, other: Decimal, third: Decimal) -> Decimal:
    return WORKING.multiply(WORKING.multiply(one, other), third)  # at most 25 digits each: it is exact


def last_quotes(window: TickWindow, start: int, stop: int) -> dict[str, Quote]:
    """The last quote of each instrument in ``[start, stop)``."""
    last = window.ticks[stop - 1]
    found = {last.instrument: Quote(last.bid, last.ask, last.ts_ns)}
    if stop - start == 1 or len(window.instruments) == 1:
        return found
    others: dict[str, Tick] = {tick.instrument: tick for tick in window.ticks[start:stop]}
    others.pop(last.instrument, None)
    found.update((symbol, Quote(tick.bid, tick.ask, tick.ts_ns)) for symbol, tick in others.items())
    return found
