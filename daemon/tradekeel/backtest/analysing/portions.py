"""The same ticks in other ways: handed out in other portions, cut off, replaced behind a tick, or begun later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from tradekeel.domain.bars import BarSet, Origin
from tradekeel.domain.ticks import Tick, TickWindow

Timeframes = Mapping[str, Sequence[str]]
"""The bars that are wanted of each instrument."""


def portioned(windows: Iterable[TickWindow], ticks_max: Callable[[], int]) -> Iterator[TickWindow]:
    """The same windows in pieces of at most so many ticks; asked before each piece."""
    for window in windows:
        start, count = 0, len(window.ticks)
        while start < count:
            stop = min(count, start + ticks_max())
            yield window if stop - start == count else _piece(window, start, stop)
            start = stop


def until(windows: Iterable[TickWindow], position: int) -> Iterator[TickWindow]:
    """What there is up to a tick. Nothing behind it is read any further than the source reads by itself."""
    for window in windows:
        if window.last_position >= position:
            yield _piece(window, 0, position - window.first_position + 1)
            return
        yield window


def mirrored(windows: Iterable[TickWindow], position: int, timeframes: Timeframes) -> Iterator[TickWindow]:
    """Behind a tick the market does the opposite: each instrument's prices upside down about its last mid up to there.

    Prices stay on their grid, since twice the mid is bid + ask. An instrument without a tick by then goes upside down about its
    first. Where a price would come to nothing or less, the market stands still.
    """
    bars, middles = BarSet(timeframes), dict[str, Decimal]()
    for window in windows:
        ticks: list[Tick] = []
        for tick in window.ticks:
            if tick.position <= position:
                middles[tick.instrument] = tick.bid + tick.ask
                ticks.append(tick)
            else:
                ticks.append(_opposite(tick, middles.setdefault(tick.instrument, tick.bid + tick.ask)))
        built = bars.fill(ticks) if bars else {}
        yield TickWindow(ticks, built, gap=window.gap, lost=window.lost, instruments=window.instruments)


def later(windows: Iterable[TickWindow], position: int, timeframes: Timeframes) -> Iterator[TickWindow]:
    """The ticks behind a position, counted anew from 1.

    Bars begin there, too: one that was under way holds what is left of it, as at every begin of a feed. Bars of so many ticks
    end where they end in the whole data.
    """
    origins: dict[str, Origin] = {}
    bars: BarSet | None = None
    for window in windows:
        seen = max(0, min(len(window.ticks), position + 1 - window.first_position))
        for tick in window.ticks[:seen]:
            before = origins.get(tick.instrument, Origin())
            origins[tick.instrument] = Origin(before.ticks + 1, max(before.latest_ns, tick.ts_ns))
        ticks = [
            Tick(t.instrument, t.ts_ns, t.bid, t.ask, t.position - position, t.bid_size, t.ask_size)
            for t in window.ticks[seen:]
        ]
        if ticks:
            bars = BarSet(timeframes, origins) if bars is None else bars
            built = bars.fill(ticks) if bars else {}
            yield TickWindow(ticks, built, gap=window.gap and not seen, instruments=window.instruments)


def _piece(window: TickWindow, start: int, stop: int) -> TickWindow:
    bars = {index - start: made for index, made in window.bars.items() if start <= index < stop}
    gap = window.gap and not start
    return TickWindow(window.ticks[start:stop], bars, gap, window.lost if gap else None, window.instruments)


def _opposite(tick: Tick, doubled: Decimal) -> Tick:
    bid, ask = doubled - tick.ask, doubled - tick.bid
    if bid <= 0:
        bid = ask = doubled / 2
    return Tick(tick.instrument, tick.ts_ns, bid, ask, tick.position, tick.bid_size, tick.ask_size)
