"""What a window of ticks holds, summed up: so that thousands of ticks are passed in a comparison or two.

The ticks are taken in blocks, and the blocks in pairs, pairs of pairs, and so on up to the whole window: a tree of
:data:`Span` s. Whoever looks for the first tick that is out of some bounds asks the whole window first, and where that
reaches beyond them the largest spans from there on, and goes into those that do. A span is summed up when it is first
asked for, and once a window.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

from tradekeel.domain.matching.rates import Range
from tradekeel.domain.ticks import Tick, TickWindow

BLOCK_TICKS = 32

Span = dict[str, Range]
"""The range that the quotes of each instrument cover over some ticks."""


class WindowSums:
    """The spans of one window, and its event time."""

    def __init__(self, window: TickWindow) -> None:
        self.window = window
        self.ticks: Sequence[Tick] = window.ticks
        self.symbols = {tick.instrument for tick in window.ticks}
        count = -(-len(window.ticks) // BLOCK_TICKS)
        self._levels: list[list[Span | None]] = [[None] * count]  # blocks, pairs of blocks, pairs of those
        while count > 1:
            count = -(-count // 2)
            self._levels.append([None] * count)
        self._whole: Span | None = None
        self._times: list[int] | None = None

    def first_block(self, number: int, passes: Callable[[Span], bool]) -> int | None:
        """The first block from ``number`` on that does not pass; None if all do.

        ``passes`` must be true of a span only if it is true of each of its parts.
        """
        if self._whole is None:
            self._whole = self._sum_up(self.ticks)
        if passes(self._whole):
            return None
        level, top = 0, len(self._levels) - 1
        while number < len(self._levels[level]):
            if passes(self._span(level, number)):
                number += 1
                while level < top and not number % 2:
                    level, number = level + 1, number // 2
            elif level:
                level, number = level - 1, number * 2
            else:
                return number
        return None

    def time(self, index: int, before_ns: int) -> int:
        """The event time with a tick, if it was ``before_ns`` before the ticks: it never runs backwards."""
        if self._times is None:
            self._times = list(accumulate([tick.ts_ns for tick in self.ticks], max))
        return max(self._times[index], before_ns)

    def first_at(self, ts_ns: int, start: int, before_ns: int) -> int:
        """The first index from ``start`` on at which the event time is ``ts_ns`` or later."""
        if self.time(start, before_ns) >= ts_ns or self._times is None:
            return start
        return bisect_left(self._times, ts_ns, start)

    def latest(self, start: int, stop: int) -> list[Tick]:
        """The last tick of each instrument among ``ticks[start:stop]``, in order. There is at least one."""
        if len(self.symbols) == 1:
            return [self.ticks[stop - 1]]
        found: dict[str, Tick] = {}
        for at in range(stop - 1, start - 1, -1):
            tick = self.ticks[at]
            if tick.instrument not in found:
                found[tick.instrument] = tick
                if len(found) == len(self.symbols):
                    break
        return list(found.values())[::-1]

    def _span(self, level: int, number: int) -> Span:
        span = self._levels[level][number]
        if span is None:
            if level:
                span = self._pair(level - 1, number * 2)
            else:
                span = self._sum_up(self.ticks[number * BLOCK_TICKS : (number + 1) * BLOCK_TICKS])
            self._levels[level][number] = span
        return span

    def _pair(self, level: int, first: int) -> Span:
        one = self._span(level, first)
        if first + 1 == len(self._levels[level]):
            return one
        both = dict(one)
        for symbol, second in self._span(level, first + 1).items():
            own = one.get(symbol)
            both[symbol] = second if own is None else _joined(own, second)
        return both

    def _sum_up(self, ticks: Sequence[Tick]) -> Span:
        if len(self.symbols) == 1:
            return {ticks[0].instrument: _range(ticks)}
        by_symbol: dict[str, list[Tick]] = {}
        for tick in ticks:
            by_symbol.setdefault(tick.instrument, []).append(tick)
        return {symbol: _range(own) for symbol, own in by_symbol.items()}


def _range(ticks: Sequence[Tick]) -> Range:
    # Among some ticks there are few different prices, and to find them costs less than to compare each tick's.
    bids, asks = {tick.bid for tick in ticks}, {tick.ask for tick in ticks}
    return min(bids), max(bids), min(asks), max(asks)


def _joined(one: Range, other: Range) -> Range:
    bid_low, bid_high, ask_low, ask_high = other
    return (
        min(one[0], bid_low),
        max(one[1], bid_high),
        min(one[2], ask_low),
        max(one[3], ask_high),
    )
