"""Where a backtest's ticks come from: anything that gives windows of ticks, one after the other, without waiting."""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import msgspec

from tradekeel.backtest.tickchecks import check_kinds, check_order, crossed
from tradekeel.domain.bars import BarSet
from tradekeel.domain.ids import derived_id
from tradekeel.domain.money import on_grid
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.errors import Defect, InputError
from tradekeel.ports import BuildsBars, Feed, FeedInfo, last_bars_of

WINDOW_TICKS = 2_048
"""Ticks that are conducted at a time. What a backtest does is the same with any number."""

T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


OFF_GRID = "off_grid_accepted"
"""Among a source's counts, as feeds count it: ticks with a price that is no whole number of its instrument's steps."""

CROSSED = "crossed_accepted"
"""Likewise: ticks with a bid above their ask."""


class TickDataSource(Protocol):
    """Ticks with positions from 1 on, without a gap, whose time never steps back, and the same each time they are read.

    Strategies of bars want a source that :class:`~tradekeel.ports.BuildsBars`, too, and one that
    :class:`~tradekeel.ports.TellsLastBars` where the very last of bars of so many ticks is to be told.
    """

    info: FeedInfo

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind position ``after``. Raises :class:`~tradekeel.errors.DataError` where the data is refused."""
        ...

    def quality(self) -> Mapping[str, int]:
        """Rows by kind so far, as :meth:`tradekeel.ports.Feed.quality` tells them."""
        ...

    def progress(self) -> float | None:
        """Share of the ticks that were delivered, 0 to 1, if known."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class FeedSource:
    """The ticks of a feed that never waits: a file, a made-up market at full speed. A :class:`TickDataSource`."""

    def __init__(self, feed: Feed, window_ticks: int = WINDOW_TICKS) -> None:
        if not isinstance(feed, Feed):
            raise InputError(
                f"{type(feed).__name__} is no feed: `tick_data` of tradekeel.scripting makes a source of a file's path"
            )
        if not feed.info.replayable:
            raise InputError(
                f"feed {feed.info.name} cannot be replayed, so nothing can be tested on it: take one with a file or a seed"
            )
        self.info = feed.info
        self._feed = feed
        self._window_ticks = window_ticks

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """Have the feed build them. InputError where it cannot be asked to."""
        if not isinstance(self._feed, BuildsBars):
            raise InputError(f"feed {self.info.name} cannot be asked for bars: it has no build_bars(timeframes)")
        self._feed.build_bars(timeframes)

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind a position."""
        at_once(self._feed.open(after))
        while (window := at_once(self._feed.next_window(self._window_ticks))) is not None:
            yield window

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return last_bars_of(self._feed)

    def quality(self) -> Mapping[str, int]:
        """Rows by kind so far."""
        return self._feed.quality()

    def progress(self) -> float | None:
        """Share delivered."""
        return self._feed.progress()

    def close(self) -> None:
        """Let go of the feed."""
        at_once(self._feed.close())


class TicksSource:
    """Ticks that are in memory. A :class:`TickDataSource`.

    Raises :class:`~tradekeel.errors.InputError` for none, for positions that do not count from 1, and for time that runs
    backwards.
    """

    def __init__(
        self,
        ticks: Sequence[Tick],
        *,
        name: str = "ticks",
        timeframes: Mapping[str, Sequence[str]] | None = None,
        steps: Mapping[str, Decimal] | None = None,
        window_ticks: int = WINDOW_TICKS,
    ) -> None:
        """``steps``: of each instrument's price; ticks that are off them are counted (:meth:`quality`)."""
        if not ticks:
            raise InputError(f"{name}: there are no ticks")
        ticks = list(ticks) if isinstance(ticks, deque) else ticks  # which has no parts
        check_kinds(ticks, name)
        check_order(ticks, name)
        self._crossed = crossed(ticks)
        self._off_grid = 0 if steps is None else _off_grid(ticks, steps)
        self._ticks = ticks
        self.build_bars(timeframes or {})
        self._window_ticks = window_ticks
        self._delivered = 0
        self.info = FeedInfo(
            name=name,
            instruments=tuple(dict.fromkeys(tick.instrument for tick in ticks)),
            replayable=True,
            fingerprint=_fingerprint(ticks),
            total=len(ticks),
        )

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """Have windows these bars."""
        self._timeframes = dict(timeframes)
        self._bars = BarSet({})

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return self._bars.finish()

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind a position; bars are built from the first tick on, whatever that is."""
        bars = self._bars = BarSet(self._timeframes)
        if bars and after:
            bars.fill(self._ticks[:after])
        self._delivered = after
        for start in range(after, len(self._ticks), self._window_ticks):
            ticks = self._ticks[start : start + self._window_ticks]
            self._delivered = start + len(ticks)
            yield TickWindow(ticks, bars.fill(ticks) if bars else {}, instruments=self.info.instruments)

    def quality(self) -> Mapping[str, int]:
        """Ticks delivered; and of all ticks, those with a price off its step, and those with a bid above their ask."""
        odd = {OFF_GRID: self._off_grid, CROSSED: self._crossed}
        return {"ticks": self._delivered, **{kind: count for kind, count in odd.items() if count}}

    def progress(self) -> float | None:
        """Share delivered."""
        return self._delivered / len(self._ticks)

    def close(self) -> None:
        """Nothing is held."""


class CutSource:
    """The ticks of another source between two times (nanoseconds UTC; the end excluded). A :class:`TickDataSource`.

    Positions count anew, and bars begin with the first tick. Where that is, is found by going through all that comes before.
    """

    def __init__(
        self,
        source: TickDataSource,
        start_ns: int | None,
        end_ns: int | None,
        timeframes: Mapping[str, Sequence[str]],
    ) -> None:
        self.info = msgspec.structs.replace(
            source.info,
            fingerprint=derived_id("", "cut", source.info.fingerprint, str(start_ns), str(end_ns)),
            total=None,
        )
        self._source = source
        self._start_ns = -sys.maxsize if start_ns is None else start_ns
        self._end_ns = sys.maxsize if end_ns is None else end_ns
        self.build_bars(timeframes)
        self._over = False

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """Have windows these bars, of the ticks that are left."""
        self._timeframes = dict(timeframes)
        self._bars = BarSet({})

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick before the end."""
        return self._bars.finish()

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind a position."""
        bars = self._bars = BarSet(self._timeframes)
        position = 0
        self._over = False
        for window in self._source.windows():
            ticks = [
                Tick(t.instrument, t.ts_ns, t.bid, t.ask, position + n, t.bid_size, t.ask_size)
                for n, t in enumerate((t for t in window.ticks if self._start_ns <= t.ts_ns < self._end_ns), start=1)
            ]
            if not ticks:
                if window.ticks[0].ts_ns >= self._end_ns:
                    break
                continue
            built = bars.fill(ticks) if bars else {}
            position = ticks[-1].position
            rest = TickWindow(ticks, built, instruments=self.info.instruments).behind(after)
            if rest is not None:
                yield rest
        self._over = True

    def quality(self) -> Mapping[str, int]:
        """Rows by kind, those outside included."""
        return self._source.quality()

    def progress(self) -> float | None:
        """Share of the other source that was gone through."""
        return 1.0 if self._over else self._source.progress()

    def close(self) -> None:
        """Let go of the other source."""
        self._source.close()


def at_once(waiting: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that never waits for anything. Defect if it does."""
    try:
        waiting.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    waiting.close()
    raise Defect("a feed waits, and there is nobody else to wait for: it cannot be stepped")


def _off_grid(ticks: Sequence[Tick], steps: Mapping[str, Decimal]) -> int:
    """How many ticks have a price off its step. There are few different prices, and to look at those is quick."""
    bids, asks = ({(tick.instrument, price(tick)) for tick in ticks} for price in map(attrgetter, ("bid", "ask")))
    stray = {(symbol, price) for symbol, price in bids | asks if not on_grid(price, steps[symbol])}
    if not stray:
        return 0
    return sum((tick.instrument, tick.bid) in stray or (tick.instrument, tick.ask) in stray for tick in ticks)


def _fingerprint(ticks: Sequence[Tick]) -> str:
    """A hash over every tick."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(ticks), WINDOW_TICKS):
        digest.update(_ENCODER.encode(ticks[start : start + WINDOW_TICKS]))
    return digest.hexdigest()
