"""The exits that we keep ourselves: stop-loss, take-profit, trailing stop and time, per trade, from every tick.

A long trade is closed at the bid, so its stop triggers when the bid is at or below it and its target when the bid is
at or above; a short one mirrors that with the ask. A trailing stop follows the best closing price at its distance and
never loosens. Where stop and target are touched by one tick the stop is taken: the worse case is the honest one.

:class:`ExitWatch` answers two questions. *Until where is it quiet?* It keeps, per instrument, the nearest level of
each kind over all trades, so that a window of ticks is cleared with a handful of comparisons against its extremes.
*What happens at this tick?* Only then are trades looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Order
from tradekeel.domain.ticks import NEVER_NS, Extremes, Tick, TickWindow
from tradekeel.domain.trades import HOLDING_STATES, CloseReason, Trade, TradeSide


class Levels(Struct):
    """The nearest levels of one instrument. A tick acts if its bid or ask reaches (or, for a new best, passes) one of them."""

    bid_falls_to: Decimal | None = None  # stops of longs
    bid_rises_to: Decimal | None = None  # targets of longs
    bid_passes: Decimal | None = None  # the lowest best price of trailing longs
    ask_rises_to: Decimal | None = None  # stops of shorts
    ask_falls_to: Decimal | None = None  # targets of shorts
    ask_passes: Decimal | None = None  # the highest best price of trailing shorts
    time_ns: int = NEVER_NS
    trailing_starts: bool = False  # a trailing trade has not seen its first price yet

    def quiet(self, seen: Extremes, last_ns: int, *, closing: bool = True) -> bool:
        """Whether no price within ``seen``, up to ``last_ns``, reaches any level; without ``closing`` only trails count."""
        return not (
            self.trailing_starts
            or (self.bid_passes is not None and seen.bid_high > self.bid_passes)
            or (self.ask_passes is not None and seen.ask_low < self.ask_passes)
            or (closing and self._closes(seen, last_ns))
        )

    def _closes(self, seen: Extremes, last_ns: int) -> bool:
        return (
            last_ns >= self.time_ns
            or (self.bid_falls_to is not None and seen.bid_low <= self.bid_falls_to)
            or (self.bid_rises_to is not None and seen.bid_high >= self.bid_rises_to)
            or (self.ask_rises_to is not None and seen.ask_high >= self.ask_rises_to)
            or (self.ask_falls_to is not None and seen.ask_low <= self.ask_falls_to)
        )

    def acts(self, tick: Tick, *, closing: bool = True) -> bool:
        """Whether this tick reaches any level."""
        bid, ask = tick.bid, tick.ask
        return not self.quiet(Extremes(bid, bid, ask, ask), tick.ts_ns, closing=closing)


class ExitAction(Struct, frozen=True):
    """Close this trade, for this reason."""

    trade_id: str
    reason: CloseReason


class StopMove(Struct, frozen=True):
    """A trailing stop went to ``stop``; ``best`` is the price it follows."""

    trade_id: str
    stop: Decimal
    best: Decimal


class ExitWatch:
    """Levels over the open trades of an account. ``changed`` after every change of a trade; reads ticks, changes only trails."""

    def __init__(self) -> None:
        self.trades: dict[str, Trade] = {}
        self.best: dict[str, Decimal] = {}  # of trailing trades that we keep
        self.claims: dict[str, dict[str, Decimal]] = {}  # what exits under way may still take, by trade and order
        self.asked: dict[str, int] = {}  # trade id to the tick at which an exit was last asked for
        self.turns: dict[
            str, int
        ] = {}  # open trades in the order in which they were decided, never in that of their ids
        self._next_turn = 0
        self.levels: dict[str, Levels] = {}
        """Per instrument. One that belonged to a trade which is gone stays until a tick has reached it: what is said to be
        loud may turn out to be quiet, never the other way round, and thousands of trades need not be gone through at each
        change of one."""

    def changed(self, trades: Iterable[Trade]) -> None:
        """Take over the latest versions. Watched is what holds something that no exit under way has claimed."""
        for trade in trades:
            if trade.is_open and trade.trade_id not in self.turns:
                self._next_turn += 1
                self.turns[trade.trade_id] = self._next_turn
            if trade.status in HOLDING_STATES and _watched(trade) and self._unclaimed(trade) > ZERO:
                self.trades[trade.trade_id] = trade
                if _trails(trade) and trade.best_price is not None:
                    self.best[trade.trade_id] = _better(trade, self.best.get(trade.trade_id), trade.best_price)
                self._add(self.levels.setdefault(trade.symbol, Levels()), trade)
            else:
                self.trades.pop(trade.trade_id, None)
                if not trade.is_open:
                    self.best.pop(trade.trade_id, None)
                    self.asked.pop(trade.trade_id, None)
                    self.turns.pop(trade.trade_id, None)

    def claimed(self, order: Order) -> None:
        """An exit of a strategy, of ours or of a person: what it may still take needs no other. The rest goes on being watched.

        So it is with an entry that turns: of each trade that it closes it may take all it still fills.

        Protective orders that the venue holds claim nothing: they end before another exit takes their place.
        """
        if order.parent_id is not None:
            return
        for trade_id in order.exits_of:
            claims = self.claims.setdefault(trade_id, {})
            claims[order.client_order_id] = order.open_quantity
            if order.is_terminal:
                del claims[order.client_order_id]
                if not claims:
                    del self.claims[trade_id]

    def _unclaimed(self, trade: Trade) -> Decimal:
        return trade.open_quantity - sum(self.claims.get(trade.trade_id, {}).values(), ZERO)

    def _measure(self, symbol: str) -> None:
        """The levels of one instrument, from the trades that there are."""
        levels = Levels()
        watched = False
        for trade in self.trades.values():
            if trade.symbol == symbol:
                self._add(levels, trade)
                watched = True
        if watched:
            self.levels[symbol] = levels
        else:
            self.levels.pop(symbol, None)

    def _add(self, levels: Levels, trade: Trade) -> None:
        levels.time_ns = min(levels.time_ns, trade.exit_at_ns if trade.exit_at_ns is not None else NEVER_NS)
        if trade.exits_at_venue:
            return
        stop, target = self.stop_of(trade), trade.take_profit
        best = self.best.get(trade.trade_id)
        trails = _trails(trade)
        levels.trailing_starts = levels.trailing_starts or (trails and best is None)
        if trade.side is TradeSide.LONG:
            levels.bid_falls_to = _pick(max, levels.bid_falls_to, stop)
            levels.bid_rises_to = _pick(min, levels.bid_rises_to, target)
            levels.bid_passes = _pick(min, levels.bid_passes, best)
        else:
            levels.ask_rises_to = _pick(min, levels.ask_rises_to, stop)
            levels.ask_falls_to = _pick(max, levels.ask_falls_to, target)
            levels.ask_passes = _pick(max, levels.ask_passes, best)

    def stop_of(self, trade: Trade) -> Decimal | None:
        """The stop in force: the trade's own, or its trail if that is tighter."""
        best = self.best.get(trade.trade_id)
        if best is None or trade.trailing_distance is None:
            return trade.stop_loss
        trail = best - trade.trailing_distance * trade.side.sign
        if trade.stop_loss is None:
            return trail
        return max(trade.stop_loss, trail) if trade.side is TradeSide.LONG else min(trade.stop_loss, trail)

    def quiet_until(self, window: TickWindow, start: int, stop: int, *, closing: bool = True) -> int:
        """The first index in ``[start, stop)`` at which a trade would be closed or a trail would move, or ``stop``.

        Without ``closing`` (nothing could be closed) only trails are looked at.
        """
        levels = self.levels
        if not levels or start >= stop:
            return stop
        ticks = window.ticks
        last_ns = ticks[stop - 1].ts_ns
        seen = window.extremes(start, stop)
        loud = {
            symbol: level
            for symbol, level in levels.items()
            if symbol in seen and not level.quiet(seen[symbol], last_ns, closing=closing)
        }
        if not loud:
            return stop
        for index in range(start, stop):
            level = loud.get(ticks[index].instrument)
            if level is not None and level.acts(ticks[index], closing=closing):
                return index
        return stop

    def at(self, tick: Tick, *, closing: bool = True) -> tuple[list[ExitAction], list[StopMove]]:
        """What one tick does, trade by trade in the order they were opened. A trade that is closed is no longer watched."""
        exits: list[ExitAction] = []
        moves: list[StopMove] = []
        level = self.levels.get(tick.instrument)
        if level is None or not level.acts(tick, closing=closing):
            return exits, moves
        here = [trade for trade in self.trades.values() if trade.symbol == tick.instrument]
        for trade in sorted(here, key=lambda trade: self.turns[trade.trade_id]):
            if tick.position <= trade.entry_position:
                continue  # older ticks, and the one that filled it, say nothing about it
            if self.asked.get(trade.trade_id) == tick.position:
                continue  # once a tick: what became of that exit is known already when a restart comes back to it
            reason = self._reason(trade, tick)
            if reason is not None:
                if closing:
                    exits.append(ExitAction(trade.trade_id, reason))
                continue
            move = self._trail(trade, tick)
            if move is not None:
                moves.append(move)
        for action in exits:
            del self.trades[action.trade_id]
        self._measure(tick.instrument)
        return exits, moves

    def _reason(self, trade: Trade, tick: Tick) -> CloseReason | None:
        if not trade.exits_at_venue:
            long = trade.side is TradeSide.LONG
            price = tick.bid if long else tick.ask
            stop, target = self.stop_of(trade), trade.take_profit
            if stop is not None and (price <= stop if long else price >= stop):
                return CloseReason.STOP_LOSS if stop == trade.initial_stop_loss else self._stop_reason(trade, stop)
            if target is not None and (price >= target if long else price <= target):
                return CloseReason.TAKE_PROFIT
        if trade.exit_at_ns is not None and tick.ts_ns >= trade.exit_at_ns:
            return CloseReason.TIME
        return None

    def _stop_reason(self, trade: Trade, stop: Decimal) -> CloseReason:
        best = self.best.get(trade.trade_id)
        distance = trade.trailing_distance
        trailed = best is not None and distance is not None and stop == best - distance * trade.side.sign
        return CloseReason.TRAILING_STOP if trailed else CloseReason.STOP_LOSS

    def _trail(self, trade: Trade, tick: Tick) -> StopMove | None:
        if not _trails(trade):
            return None
        price = tick.bid if trade.side is TradeSide.LONG else tick.ask
        best = self.best.get(trade.trade_id)
        if best is not None and _better(trade, best, price) == best:
            return None
        self.best[trade.trade_id] = price
        stop = self.stop_of(trade)
        return None if stop is None or stop == trade.stop_loss else StopMove(trade.trade_id, stop, price)


def _watched(trade: Trade) -> bool:
    if trade.exit_at_ns is not None:
        return True
    kept = trade.stop_loss is not None or trade.take_profit is not None or trade.trailing_distance is not None
    return kept and not trade.exits_at_venue


def _trails(trade: Trade) -> bool:
    return trade.trailing_distance is not None and not trade.exits_at_venue


def _better(trade: Trade, known: Decimal | None, price: Decimal) -> Decimal:
    if known is None:
        return price
    return max(known, price) if trade.side is TradeSide.LONG else min(known, price)


def _pick(
    choose: Callable[[Decimal, Decimal], Decimal], known: Decimal | None, level: Decimal | None
) -> Decimal | None:
    if known is None or level is None:
        return level if known is None else known
    return choose(known, level)
