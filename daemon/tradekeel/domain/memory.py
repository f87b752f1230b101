"""The best and the worst price since any moment, in little space.

A trade wants the highest and the lowest price since its entry, and thousands of trades may be open. Instead of updating each on
every tick, an instrument remembers its extremes as four monotonic stacks of (position, price): a price that a later one
exceeds can never again be the highest since anything, so it is forgotten. What is left answers "highest since position p" by
bisection. Pushing is O(1) amortised.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from operator import ge, le

from msgspec import Struct

from tradekeel.domain.ticks import Extremes
from tradekeel.domain.trades import Trade, TradeSide

DEPTH_MAX = 4_096
"""Entries kept a stack. Beyond it the two oldest are merged, which can only move the oldest extremes to a later position."""


class Stack(Struct):
    """(position, price) pairs whose prices fall (highs) or rise (lows) with the position."""

    positions: list[int] = []
    prices: list[Decimal] = []

    def push(self, position: int, price: Decimal, beats: Callable[[Decimal, Decimal], bool]) -> None:
        """Remember ``price`` at ``position``; ``beats(new, old)`` tells whether the old one is forgotten."""
        prices, positions = self.prices, self.positions
        if positions and position <= positions[-1]:
            return  # a resumed feed repeats what was seen
        while prices and beats(price, prices[-1]):
            prices.pop()
            positions.pop()
        prices.append(price)
        positions.append(position)
        if len(prices) > DEPTH_MAX:
            del prices[1], positions[0]

    def since(self, position: int) -> Decimal | None:
        """The extreme over everything pushed at ``position`` or later."""
        index = bisect_left(self.positions, position)
        return self.prices[index] if index < len(self.prices) else None


class PriceMemory(Struct):
    """Extremes of one instrument's bid and ask."""

    bid_high: Stack
    bid_low: Stack
    ask_high: Stack
    ask_low: Stack

    @staticmethod
    def empty() -> PriceMemory:
        """A memory of nothing."""
        return PriceMemory(Stack(), Stack(), Stack(), Stack())

    def see(self, position: int, extremes: Extremes) -> None:
        """Remember the range that was covered up to ``position``."""
        self.bid_high.push(position, extremes.bid_high, ge)
        self.bid_low.push(position, extremes.bid_low, le)
        self.ask_high.push(position, extremes.ask_high, ge)
        self.ask_low.push(position, extremes.ask_low, le)

    def excursion(self, trade: Trade) -> tuple[Decimal | None, Decimal | None]:
        """Best and worst closing price of a trade since its entry: bids for a long, asks for a short."""
        since = trade.entry_position
        if trade.side is TradeSide.LONG:
            best, worst = self.bid_high.since(since), self.bid_low.since(since)
            return _pick(max, trade.best_price, best), _pick(min, trade.worst_price, worst)
        best, worst = self.ask_low.since(since), self.ask_high.since(since)
        return _pick(min, trade.best_price, best), _pick(max, trade.worst_price, worst)


def _pick(choose: Callable[[Decimal, Decimal], Decimal], known: Decimal | None, seen: Decimal | None) -> Decimal | None:
    if known is None or seen is None:
        return seen if known is None else known
    return choose(known, seen)
