"""Markets that are there at once, and what somebody reads of one: for tests of feeds that are shared."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tests.unit.feeds.reading import Placed
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.ports import Feed, FeedInfo

SYMBOLS = ("EUR_USD", "USD_JPY")
NS_PER_S = 1_000_000_000
START_NS = 1_704_146_400 * NS_PER_S


def ticks_of(count: int, *, first: int = 1, symbols: Sequence[str] = SYMBOLS, every_ms: int = 250) -> list[Tick]:
    """A market whose every tick is another, with sizes now and then."""
    return [
        Tick(
            symbols[position % len(symbols)],
            START_NS + position * every_ms * 1_000_000,
            Decimal(110_000 + position * 7 % 1_000) / Decimal(100_000),
            Decimal(110_002 + position * 7 % 1_000) / Decimal(100_000),
            position,
            Decimal(position) if position % 3 else None,
            Decimal("0.10") if position % 5 else None,
        )
        for position in range(first, first + count)
    ]


class Market:
    """A feed of ticks that are there, in windows of some length. Satisfies Feed."""

    def __init__(self, ticks: Sequence[Tick], *, live: bool = False, data: str = "data", window_max: int = 64) -> None:
        symbols = tuple(dict.fromkeys(tick.instrument for tick in ticks)) or SYMBOLS
        self.info = FeedInfo(
            name="market", instruments=symbols, replayable=not live, live=live, fingerprint="" if live else data
        )
        self.ticks = ticks
        self._window_max = window_max
        self._at = 0

    async def open(self, after: int, seen: int = 0) -> None:
        self._at = next((at for at, tick in enumerate(self.ticks) if tick.position > after), len(self.ticks))

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        ticks = self.ticks[self._at : self._at + min(ticks_max, self._window_max)]
        self._at += len(ticks)
        return TickWindow(ticks) if ticks else None

    async def close(self) -> None:
        """There is nothing to let go of."""

    def quality(self) -> dict[str, int]:
        return {"ticks": self._at}

    def progress(self) -> float | None:
        return None


class Read:
    """What was read: ticks, bars with the tick that they come before, and behind which positions gaps were told."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.bars: list[Placed] = []
        self.gaps: list[int] = []
        self.lost: list[int | None] = []  # with each gap, how many of the numbers were ticks, where the writer says so

    @property
    def at(self) -> int:
        return self.ticks[-1].position if self.ticks else 0

    def take(self, window: TickWindow) -> None:
        positions = [tick.position for tick in window.ticks]
        assert positions == list(range(positions[0], positions[0] + len(positions)))
        assert positions[0] > self.at
        if window.gap:
            self.gaps.append(positions[0] - 1)
            self.lost.append(window.lost)
        self.ticks += window.ticks
        for index in sorted(window.bars):
            self.bars += [(positions[0] + index, bar) for bar in window.bars[index]]


async def read_on(feed: Feed, read: Read, count: int | None = None, ticks_max: int = 100) -> bool:
    """Read so many ticks more; False when the feed has ended before that."""
    left = count if count is not None else 10**9
    while left > 0:
        window = await feed.next_window(min(left, ticks_max))
        if window is None:
            return False
        read.take(window)
        left -= len(window.ticks)
    return True


async def read_all(feed: Feed, after: int = 0, ticks_max: int = 100) -> Read:
    """From a position to the end."""
    read = Read()
    try:
        await feed.open(after, after)
        await read_on(feed, read, ticks_max=ticks_max)
    finally:
        await feed.close()
    return read
