"""Quotes: a tick, a window of ticks as the feed hands them on, and the bars built from them.

A feed numbers its ticks from 1 without a gap (``position``); a replayable feed gives the same tick the same position
every time, which is what makes "resume where we were" exact. Where time waits for us it is the ticks' own: ``ts_ns`` never
steps back from one tick to the next, so the last of many ticks has the latest time of them all. Ticks travel in windows: one
message, many ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ZERO

TWO = Decimal(2)
NEVER_NS = 2**63 - 1  # a time later than any tick's: of what is not due


class Tick(Struct, frozen=True, gc=False):
    """A bid/ask quote of one instrument. ``ts_ns`` is UTC; sizes are units of base available at the quote, if known."""

    instrument: str
    ts_ns: int
    bid: Decimal
    ask: Decimal
    position: int = 0
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None

    @property
    def mid(self) -> Decimal:
        """The middle of bid and ask."""
        return (self.bid + self.ask) / TWO

    @property
    def spread(self) -> Decimal:
        """Ask less bid."""
        return self.ask - self.bid


class Extremes(Struct, frozen=True, gc=False):
    """The range that bid and ask covered over some ticks, so that no touched stop is missed."""

    bid_low: Decimal
    bid_high: Decimal
    ask_low: Decimal
    ask_high: Decimal
    count: int = 1


class Bar(Struct, frozen=True, gc=False):
    """An OHLC aggregate of the mid price. ``end_ns`` is exclusive; ``position`` is that of the tick that completed it."""

    instrument: str
    timeframe: str  # "5s", "1m", "4h" for time bars, "100t" for tick bars
    start_ns: int
    end_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    ticks: int
    position: int = 0
    spread: Decimal = ZERO  # at the close


class TickWindow(Struct, frozen=True):
    """Consecutive ticks with consecutive positions. ``bars[i]`` are complete once ``ticks[i]`` is known: they come before it.

    A time bar is complete when the first tick at or after its end arrives; a tick bar with its last tick (and then comes
    before the following tick; at the end of a feed it stands behind the last one, and strategies are told of it with the end).

    ``instruments`` are those that may be among the ticks, where the feed says so: of a single one the last quote is that of the
    last tick.

    With ``gap`` ticks before the first are missing that somebody may count on, or bars begin anew with it. Where that is because
    whoever shares a live market was begun anew, ``lost`` says how many are missing of those that it had numbered: the other
    numbers before the first never were.
    """

    ticks: Sequence[Tick]
    bars: dict[int, tuple[Bar, ...]] = {}
    gap: bool = False
    lost: int | None = None
    instruments: tuple[str, ...] = ()

    @property
    def first_position(self) -> int:
        """Position of the first tick (a window is never empty)."""
        return self.ticks[0].position

    @property
    def last_position(self) -> int:
        """Position of the last tick."""
        return self.ticks[-1].position

    def behind(self, position: int) -> TickWindow | None:
        """What of it lies behind a position; None where nothing does."""
        seen = position + 1 - self.first_position
        if seen <= 0:
            return self
        if seen >= len(self.ticks):
            return None
        bars = {index - seen: made for index, made in self.bars.items() if index >= seen}
        return TickWindow(self.ticks[seen:], bars, instruments=self.instruments)

    def extremes(self, start: int = 0, stop: int | None = None) -> dict[str, Extremes]:
        """The range per instrument over ``ticks[start:stop]``."""
        if len(self.instruments) == 1:
            ticks = self.ticks[start:stop]
            return {self.instruments[0]: _covered(ticks)} if ticks else {}
        found: dict[str, list[Decimal]] = {}
        counts: dict[str, int] = {}
        for tick in self.ticks[start:stop]:
            bid, ask = tick.bid, tick.ask
            known = found.get(tick.instrument)
            if known is None:
                found[tick.instrument] = [bid, bid, ask, ask]
                counts[tick.instrument] = 1
                continue
            counts[tick.instrument] += 1
            if bid < known[0]:
                known[0] = bid
            elif bid > known[1]:
                known[1] = bid
            if ask < known[2]:
                known[2] = ask
            elif ask > known[3]:
                known[3] = ask
        return {symbol: Extremes(f[0], f[1], f[2], f[3], counts[symbol]) for symbol, f in found.items()}


def _covered(ticks: Sequence[Tick]) -> Extremes:
    """The range of one instrument's ticks. There are few different prices among them, and to find those is quick."""
    if len(ticks) == 1:
        bid, ask = ticks[0].bid, ticks[0].ask
        return Extremes(bid, bid, ask, ask)
    bids, asks = {tick.bid for tick in ticks}, {tick.ask for tick in ticks}
    return Extremes(min(bids), max(bids), min(asks), max(asks), len(ticks))
