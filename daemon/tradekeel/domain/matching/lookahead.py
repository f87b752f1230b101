"""Looking ahead without acting: which ticks would change anything?

Most ticks touch nothing. The look-ahead knows, per instrument, the nearest prices at which anything would happen: the
tops of the trigger books, tightened by the margin guard. A window of ticks is summed up once
(:mod:`~tradekeel.domain.matching.windows`), and whatever of it stays between the levels is passed in a comparison or two
an instrument. It may stop at a tick that turns out to change nothing; it never passes one that would.

Nothing here is state: it all follows from the account and the orders, and is built again when they have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tradekeel.domain.matching.account import VenueAccount
from tradekeel.domain.matching.rates import Range
from tradekeel.domain.matching.registry import Registry
from tradekeel.domain.matching.triggers import Levels
from tradekeel.domain.matching.windows import BLOCK_TICKS, Span, WindowSums
from tradekeel.domain.money import ledger
from tradekeel.domain.sessions import next_rollover
from tradekeel.domain.ticks import NEVER_NS, Tick, TickWindow


class LookAhead:
    """Answers whether ticks are quiet for one account."""

    def __init__(self, account: VenueAccount, orders: Registry) -> None:
        self._account = account
        self._orders = orders
        self._levels: dict[str, Levels] | None = None
        self._event_ns = NEVER_NS  # of expiries and rollovers, which concern every tick
        self._due_ns = NEVER_NS  # of anything at all: before it, only quotes matter
        self._rolled_ns = self._roll_ns = 0  # from a time on, this is the next rollover
        self._sums: WindowSums | None = None  # of the window that was last asked about
        self._asked, self._answer = 0, -1  # from this index on there, the answer is the same until anything changes

    def forget(self) -> None:
        """Orders, positions or the time have changed: build the levels again when they are next needed."""
        self._levels = None
        self._answer = -1

    def is_quiet(self, tick: Tick) -> bool:
        """Whether a tick, the next one, would change nothing but marks."""
        now_ns = max(tick.ts_ns, self._account.ts_ns)
        book = self._orders.books.get(tick.instrument)
        if book is not None and book.levels.touched(tick.bid, tick.ask, now_ns):
            return False
        levels = self._levels if self._levels is not None else self._build()
        return not self._reaches(tick, levels, now_ns)

    def quiet_until(self, window: TickWindow, start: int) -> int:
        """First index from ``start`` whose tick may change anything; ``len(window.ticks)`` if none does."""
        ticks = window.ticks
        count = len(ticks)
        index = max(start, self._account.position - ticks[0].position + 1)
        if index >= count:
            return max(count, start)
        # After a market order the very next tick decides, and nothing else need be looked at.
        tick = ticks[index]
        book = self._orders.books.get(tick.instrument)
        if book is not None and book.levels.touched(tick.bid, tick.ask, max(tick.ts_ns, self._account.ts_ns)):
            return index
        levels = self._levels if self._levels is not None else self._build()
        if not levels and self._event_ns == NEVER_NS:
            return count
        sums = self._sums_of(window)
        if not self._asked <= index <= self._answer:
            self._asked, self._answer = index, self._scan(sums, index, levels)
        return self._answer

    def latest(self, window: TickWindow, start: int, stop: int) -> list[Tick]:
        """The last tick of each instrument among ``ticks[start:stop]`` of a window, in order."""
        return self._sums_of(window).latest(start, stop)

    def _sums_of(self, window: TickWindow) -> WindowSums:
        sums = self._sums
        if sums is None or sums.window is not window:
            sums = self._sums = WindowSums(window)
            self._answer = -1
        return sums

    def _scan(self, sums: WindowSums, index: int, levels: dict[str, Levels]) -> int:
        ticks = sums.ticks
        # The quotes as they will be, followed only once the guard is left: up to this index they are taken in.
        marks: dict[str, Tick] = {}
        followed = max(0, self._account.position - ticks[0].position + 1)
        index = self._first_reaching(sums, index, levels)
        while index < len(ticks):
            now_ns = 0 if self._due_ns == NEVER_NS else sums.time(index, self._account.ts_ns)
            if self._acts(ticks[index], now_ns):
                return index
            # No order is touched, so it is the guard that was left: look at the margin itself, and go on from here
            # if it holds.
            marks = marks or dict(self._account.marks)
            marks.update((passed.instrument, passed) for passed in ticks[followed : index + 1])
            followed = index + 1
            with ledger():
                balance = self._account.balance
                if self._account.margin.is_called(balance, marks):
                    return index
                levels = self._combine(self._account.margin.guard(balance, marks))
            index += 1
            if index < len(ticks):
                index = self._first_reaching(sums, index, levels)
        return len(ticks)

    def _first_reaching(self, sums: WindowSums, index: int, levels: dict[str, Levels]) -> int:
        """The first index from ``index`` whose tick reaches beyond the levels; the number of ticks if none does."""
        ticks, count = sums.ticks, len(sums.ticks)
        # Up to there it is all a matter of prices.
        timed = count if self._due_ns == NEVER_NS else sums.first_at(self._due_ns, index, self._account.ts_ns)
        passes = partial(self._passes, levels=levels)
        while index < timed:
            block = sums.first_block(index // BLOCK_TICKS, passes)
            if block is None:
                index = timed
                break
            index = max(index, block * BLOCK_TICKS)
            end = min((block + 1) * BLOCK_TICKS, timed)
            index = self._first_quote(ticks, index, end, levels)
            if index < end:
                return index
        for at in range(timed, count):
            if self._reaches(ticks[at], levels, sums.time(at, self._account.ts_ns)):
                return at
        return count

    def _first_quote(self, ticks: Sequence[Tick], start: int, stop: int, levels: dict[str, Levels]) -> int:
        """The first index from ``start`` whose quote reaches beyond the levels; ``stop`` if none does."""
        for at in range(start, stop):
            tick = ticks[at]
            level = levels.get(tick.instrument)
            if level is None:
                if self._is_news(tick):
                    return at
            elif not (level.bid_low < tick.bid < level.bid_high and level.ask_low < tick.ask < level.ask_high):
                return at
        return stop

    def _reaches(self, tick: Tick, levels: dict[str, Levels], now_ns: int) -> bool:
        """Whether a tick, with which the event time is ``now_ns``, reaches beyond the levels."""
        if now_ns >= self._event_ns:
            return True
        level = levels.get(tick.instrument)
        return self._is_news(tick) if level is None else level.touched(tick.bid, tick.ask, now_ns)

    def _acts(self, tick: Tick, now_ns: int) -> bool:
        """Whether anything but the margin needs a look at a tick."""
        if now_ns >= self._event_ns or self._is_news(tick):
            return True
        book = self._orders.books.get(tick.instrument)
        return book is not None and book.levels.touched(tick.bid, tick.ask, now_ns)

    def _passes(self, span: Span, levels: dict[str, Levels]) -> bool:
        """Whether no quote of a span reaches beyond the levels."""
        for symbol, (bid_low, bid_high, ask_low, ask_high) in span.items():
            level = levels.get(symbol)
            if level is None:
                if symbol not in self._account.marks and self._account.margin.is_watched:
                    return False
            elif (
                bid_low <= level.bid_low
                or bid_high >= level.bid_high
                or ask_low <= level.ask_low
                or ask_high >= level.ask_high
            ):
                return False
        return True

    def _is_news(self, tick: Tick) -> bool:
        """Whether a tick is the first of a pair that may change how the positions are converted."""
        return tick.instrument not in self._account.marks and self._account.margin.is_watched

    # --- levels
    # --------------------------------------------------------------------------------------------------------

    def _build(self) -> dict[str, Levels]:
        account = self._account
        self._event_ns = self._orders.next_expiry_ns
        if account.is_financed():
            if not self._rolled_ns <= account.ts_ns < self._roll_ns:
                self._rolled_ns, self._roll_ns = account.ts_ns, next_rollover(account.ts_ns).ts_ns
            self._event_ns = min(self._event_ns, self._roll_ns)
        guard = account.known_guard
        if guard is None:
            with ledger():
                guard = account.guard()
        self._levels = levels = self._combine(guard)
        self._due_ns = min([self._event_ns, *[level.due_ns for level in levels.values()]])
        return levels

    def _combine(self, guard: dict[str, Range]) -> dict[str, Levels]:
        """The levels of the orders, and of the guard where it is nearer."""
        levels = {symbol: book.levels for symbol, book in self._orders.books.items() if len(book)}
        for symbol, bounds in guard.items():
            own = levels.get(symbol)
            levels[symbol] = Levels(*bounds) if own is None else own.within(bounds)
        return levels
