"""Looking ahead without acting: which ticks would change anything?

Most ticks touch nothing. The look-ahead knows, per instrument, the nearest prices at which anything would happen: the
tops of the trigger books, tightened by the margin guard. A window of ticks is summed up in blocks, each by the range
of its quotes; a block that stays between the levels is passed in one comparison an instrument. It may stop at a tick
that turns out to change nothing; it never passes one that would.

Nothing here is state: it all follows from the account and the orders, and is built again when they have changed.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.matching.account import VenueAccount
from tradekeel.domain.matching.rates import Range
from tradekeel.domain.matching.registry import Registry
from tradekeel.domain.matching.triggers import NEVER_NS, Levels
from tradekeel.domain.money import ledger
from tradekeel.domain.sessions import next_rollover
from tradekeel.domain.ticks import Tick, TickWindow

BLOCK_TICKS = 64


class _Block(Struct, gc=False):
    """The range that quotes and times cover over some ticks."""

    ranges: dict[str, list[Decimal]]  # lowest and highest bid, lowest and highest ask
    ts_max_ns: int


class LookAhead:
    """Answers whether ticks are quiet for one account."""

    def __init__(self, account: VenueAccount, orders: Registry) -> None:
        self._account = account
        self._orders = orders
        self._levels: dict[str, Levels] | None = None
        self._event_ns = NEVER_NS
        self._guard: dict[str, Range] = {}
        self._guard_version = -1
        self._rolled_ns = self._roll_ns = 0  # from a time on, this is the next rollover
        self._window: TickWindow | None = None
        self._blocks: list[_Block | None] = []

    def forget(self) -> None:
        """Orders, positions or the time have changed: build the levels again when they are next needed."""
        self._levels = None

    def is_quiet(self, tick: Tick) -> bool:
        """Whether a tick, the next one, would change nothing but marks."""
        levels = self._levels if self._levels is not None else self._build()
        now_ns = max(tick.ts_ns, self._account.ts_ns)
        if now_ns >= self._event_ns:
            return False
        level = levels.get(tick.instrument)
        if level is None:
            return not self._is_news(tick)
        return not level.touched(tick.bid, tick.ask, now_ns)

    def quiet_until(self, window: TickWindow, start: int) -> int:
        """First index from ``start`` whose tick may change anything; ``len(window.ticks)`` if none does."""
        ticks = window.ticks
        count = len(ticks)
        index = max(start, self._account.position - window.first_position + 1)
        levels = self._levels if self._levels is not None else self._build()
        if index >= count or (not levels and self._event_ns == NEVER_NS):
            return max(count, start)
        if window is not self._window:
            self._window = window
            self._blocks = [None] * -(-count // BLOCK_TICKS)
        return self._scan(window, index, levels)

    def _scan(self, window: TickWindow, index: int, levels: dict[str, Levels]) -> int:
        ticks = window.ticks
        count = len(ticks)
        now_ns = self._account.ts_ns
        # The quotes as they will be, followed only once the guard is left: up to this index they are taken in.
        marks: dict[str, Tick] = {}
        followed = max(0, self._account.position - window.first_position + 1)
        while index < count:
            block = self._blocks[index // BLOCK_TICKS] or self._sum_up(window, index // BLOCK_TICKS)
            end = min((index // BLOCK_TICKS + 1) * BLOCK_TICKS, count)
            if self._passes(block, levels, max(now_ns, block.ts_max_ns)):
                now_ns = max(now_ns, block.ts_max_ns)
                index = end
                continue
            for at in range(index, end):
                tick = ticks[at]
                now_ns = max(now_ns, tick.ts_ns)
                if self._acts(tick, now_ns):
                    return at
                level = levels.get(tick.instrument)
                if level is None or not level.touched(tick.bid, tick.ask, now_ns):
                    continue
                # No order is touched, so it is the guard that was left: look at the margin itself, and go on from
                # here if it holds.
                marks = marks or dict(self._account.marks)
                marks.update((passed.instrument, passed) for passed in ticks[followed : at + 1])
                followed = at + 1
                with ledger():
                    balance = self._account.sums.balance
                    if self._account.margin.is_called(balance, marks):
                        return at
                    levels = self._combine(self._account.margin.guard(balance, marks))
            index = end
        return count

    def _acts(self, tick: Tick, now_ns: int) -> bool:
        """Whether anything but the margin needs a look at this tick."""
        if now_ns >= self._event_ns or self._is_news(tick):
            return True
        book = self._orders.books.get(tick.instrument)
        return book is not None and book.levels.touched(tick.bid, tick.ask, now_ns)

    def _passes(self, block: _Block, levels: dict[str, Levels], now_ns: int) -> bool:
        """Whether no tick of a block can touch anything."""
        if now_ns >= self._event_ns:
            return False
        for symbol, (bid_low, bid_high, ask_low, ask_high) in block.ranges.items():
            level = levels.get(symbol)
            if level is None:
                if self._account.margin.is_watched and symbol not in self._account.marks:
                    return False
            elif (
                bid_low <= level.bid_low
                or bid_high >= level.bid_high
                or ask_low <= level.ask_low
                or ask_high >= level.ask_high
                or now_ns >= level.due_ns
            ):
                return False
        return True

    def _is_news(self, tick: Tick) -> bool:
        """Whether a tick is the first of a pair that may change how the positions are converted."""
        return self._account.margin.is_watched and tick.instrument not in self._account.marks

    def _sum_up(self, window: TickWindow, number: int) -> _Block:
        ticks = window.ticks[number * BLOCK_TICKS : (number + 1) * BLOCK_TICKS]
        ranges: dict[str, list[Decimal]] = {}
        ts_max_ns = 0
        for tick in ticks:
            bid, ask = tick.bid, tick.ask
            ts_max_ns = max(ts_max_ns, tick.ts_ns)
            known = ranges.get(tick.instrument)
            if known is None:
                ranges[tick.instrument] = [bid, bid, ask, ask]
                continue
            if bid < known[0]:
                known[0] = bid
            elif bid > known[1]:
                known[1] = bid
            if ask < known[2]:
                known[2] = ask
            elif ask > known[3]:
                known[3] = ask
        block = _Block(ranges, ts_max_ns)
        self._blocks[number] = block
        return block

    # --- levels
    # --------------------------------------------------------------------------------------------------------

    def _build(self) -> dict[str, Levels]:
        account = self._account
        self._event_ns = self._orders.next_expiry_ns
        if account.is_financed():
            if not self._rolled_ns <= account.ts_ns < self._roll_ns:
                self._rolled_ns, self._roll_ns = account.ts_ns, next_rollover(account.ts_ns).ts_ns
            self._event_ns = min(self._event_ns, self._roll_ns)
        if self._guard_version != account.version or not self._inside_guard():
            with ledger():
                self._guard = account.margin.guard(account.sums.balance, account.marks)
            self._guard_version = account.version
        self._levels = self._combine(self._guard)
        return self._levels

    def _inside_guard(self) -> bool:
        marks = self._account.marks
        return all(
            low[0] < marks[symbol].bid < low[1] and low[2] < marks[symbol].ask < low[3]
            for symbol, low in self._guard.items()
        )

    def _combine(self, guard: dict[str, Range]) -> dict[str, Levels]:
        levels = {symbol: book.levels for symbol, book in self._orders.books.items()}
        for symbol, (bid_low, bid_high, ask_low, ask_high) in guard.items():
            own = levels.get(symbol)
            levels[symbol] = (
                Levels(bid_low, bid_high, ask_low, ask_high)
                if own is None
                else Levels(
                    max(own.bid_low, bid_low),
                    min(own.bid_high, bid_high),
                    max(own.ask_low, ask_low),
                    min(own.ask_high, ask_high),
                    own.due_ns,
                )
            )
        return levels
