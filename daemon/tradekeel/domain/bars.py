"""Bars, built from ticks as they pass: time bars ("5s", "1m", "4h", "1d") and tick bars ("100t"), of the mid price.

A time bar covers ``[start_ns, end_ns)`` counted from midnight UTC and holds at least one tick: a span without a tick has no
bar. It is complete when the first tick at or after its end arrives. A tick bar is complete with its Nth tick and is
delivered before the tick that follows in the feed, of whatever instrument.

Bars are pure functions of the ticks, so whoever reads a feed again gets the same bars. A reader that does not want to
start at the very beginning says how many ticks of each instrument came before (:class:`Origin`): tick bars then end
where they always end, and time bars are right from the first bar that begins after the origin.

Ticks are folded a run at a time: one search finds where a bar ends, and C loops find its high and low. Folding one tick is
folding a run of one, so there is one set of rules. A tick that is older than its predecessor (a feed may be told to
accept such rows) counts in the bar that is open: a delivered bar is never changed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from operator import le

from msgspec import Struct

from tradekeel.domain.ticks import TWO, Bar, Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError

DAY_S = 86_400
TICKS_MAX = 1_000_000

_PATTERN = re.compile(r"([1-9][0-9]{0,6})([smhdt])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_ALLOWED = (
    'allowed are time bars whose span divides a day ("1s", "5s", "1m", "15m", "1h", "4h", "1d") '
    f'and tick bars of 1 to {TICKS_MAX:,} ticks ("100t")'
)


class Timeframe(Struct, frozen=True):
    """What a bar spans: ``span_ns`` of time or ``ticks`` ticks; the other is 0."""

    text: str
    span_ns: int = 0
    ticks: int = 0


@lru_cache(maxsize=256)
def parse_timeframe(text: str) -> Timeframe:
    """The timeframe written as ``text``. Raises :class:`InputError` that says what is allowed."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InputError(f"timeframe {text!r}: {_ALLOWED}")
    count, unit = int(match[1]), match[2]
    if unit == "t":
        if count > TICKS_MAX:
            raise InputError(f"timeframe {text!r}: {_ALLOWED}")
        return Timeframe(text, ticks=count)
    seconds = count * _SECONDS[unit]
    if DAY_S % seconds:
        raise InputError(f"timeframe {text!r} does not divide a day evenly: {_ALLOWED}")
    return Timeframe(text, span_ns=seconds * NS_PER_S)


class Origin(Struct, frozen=True):
    """What passed of one instrument before its bars begin: how many ticks, and the latest time among them."""

    ticks: int = 0
    latest_ns: int = 0


NOTHING_BEFORE = Origin()


class BarBuilder:
    """Builds the bars of one instrument and one timeframe.

    Prices are kept doubled (bid + ask) until a bar is complete: halving is the dear part, and exact either way.
    """

    __slots__ = (
        "_count",
        "_end_ns",
        "_high",
        "_last",
        "_latest_ns",
        "_low",
        "_open",
        "_start_ns",
        "instrument",
        "timeframe",
    )

    def __init__(self, instrument: str, timeframe: str, origin: Origin = NOTHING_BEFORE) -> None:
        self.instrument = instrument
        self.timeframe = parse_timeframe(timeframe)
        self._count = origin.ticks % self.timeframe.ticks if self.timeframe.ticks else 0
        self._latest_ns = origin.latest_ns
        self._start_ns = self._end_ns = origin.latest_ns
        self._open: Decimal | None = None
        self._high = self._low = Decimal(0)
        self._last: Tick | None = None

    def add(self, tick: Tick) -> tuple[Bar, ...]:
        """Take the next tick; the bar that is complete because of it, if any."""
        self._latest_ns = max(self._latest_ns, tick.ts_ns)
        return tuple(bar for _, bar in self.extend([tick], [tick.bid + tick.ask], [self._latest_ns]))

    def extend(self, ticks: Sequence[Tick], sums: Sequence[Decimal], times: Sequence[int]) -> list[tuple[int, Bar]]:
        """Take a run of ticks; each complete bar with the index of the tick that completed it.

        ``sums`` are bid + ask of each tick, and ``times`` the latest time seen up to each tick (so they never fall).
        """
        done: list[tuple[int, Bar]] = []
        start, count = 0, len(ticks)
        by_time = self.timeframe.span_ns > 0
        while start < count:
            if self._open is None:
                self._begin(sums[start], times[start])
            if by_time:
                stop = bisect_left(times, self._end_ns, start, count)
            else:
                stop = min(count, start + self.timeframe.ticks - self._count)
            if stop > start:
                self._take(ticks, sums, start, stop)
            if by_time and stop < count:
                done.append((stop, self._finish(ticks[stop].position)))
            elif not by_time and self._count == self.timeframe.ticks:
                self._end_ns = times[stop - 1] + 1
                done.append((stop - 1, self._finish(ticks[stop - 1].position)))
            start = stop
        return done

    def _begin(self, doubled: Decimal, time_ns: int) -> None:
        self._open = self._high = self._low = doubled
        span_ns = self.timeframe.span_ns
        self._start_ns = time_ns - time_ns % span_ns if span_ns else time_ns
        self._end_ns = self._start_ns + span_ns

    def _take(self, ticks: Sequence[Tick], sums: Sequence[Decimal], start: int, stop: int) -> None:
        part = sums[start:stop]
        highest, lowest = max(part), min(part)
        if highest > self._high:
            self._high = highest
        if lowest < self._low:
            self._low = lowest
        self._count += stop - start
        self._last = ticks[stop - 1]

    def _finish(self, position: int) -> Bar:
        assert self._open is not None
        assert self._last is not None
        last = self._last
        bar = Bar(
            instrument=self.instrument,
            timeframe=self.timeframe.text,
            start_ns=self._start_ns,
            end_ns=self._end_ns,
            open=self._open / TWO,
            high=self._high / TWO,
            low=self._low / TWO,
            close=last.mid,
            ticks=self._count,
            position=position,
            spread=last.spread,
        )
        self._open = self._last = None
        self._count = 0
        return bar


class _Group:
    """All bars of one instrument."""

    __slots__ = ("builders", "latest_ns")

    def __init__(self, builders: list[BarBuilder], latest_ns: int) -> None:
        self.builders = builders
        self.latest_ns = latest_ns

    def extend(self, ticks: Sequence[Tick]) -> list[tuple[int, BarBuilder, Bar]]:
        """Each complete bar with the index in ``ticks`` of the tick that completed it."""
        times = [tick.ts_ns for tick in ticks]
        if times[0] < self.latest_ns or not all(map(le, times, times[1:])):
            times = list(accumulate(times, max, initial=self.latest_ns))[1:]
        self.latest_ns = times[-1]
        sums = [tick.bid + tick.ask for tick in ticks]
        return [(i, builder, bar) for builder in self.builders for i, bar in builder.extend(ticks, sums, times)]


class BarSet:
    """The bars of all instruments of a feed, in the places that :class:`~tradekeel.domain.ticks.TickWindow` gives them.

    At one place the tick bars that the tick before completed come first, then the time bars that this tick
    completes, each in the order of the instrument's timeframes.
    """

    def __init__(self, timeframes: Mapping[str, Sequence[str]], origins: Mapping[str, Origin] | None = None) -> None:
        """``timeframes`` maps instruments to timeframes; ``origins`` says what passed before (nothing, as a rule)."""
        self._groups: dict[str, _Group] = {}
        for instrument, texts in timeframes.items():
            origin = (origins or {}).get(instrument, NOTHING_BEFORE)
            builders = [BarBuilder(instrument, text, origin) for text in dict.fromkeys(texts)]
            if builders:
                self._groups[instrument] = _Group(builders, origin.latest_ns)
        self._waiting: list[Bar] = []

    def __bool__(self) -> bool:
        """Whether any bars are built at all."""
        return bool(self._groups)

    def add(self, tick: Tick) -> tuple[Bar, ...]:
        """Take the next tick of the feed; the bars that come before it."""
        return self.fill([tick]).get(0, ())

    def fill(self, ticks: Sequence[Tick]) -> dict[int, tuple[Bar, ...]]:
        """Take the next ticks of the feed; ``TickWindow.bars`` for a window of exactly these ticks."""
        before: dict[int, list[Bar]] = {}  # tick bars, complete before the tick at this index
        at: dict[int, list[Bar]] = {}  # time bars, completed by the tick at this index
        if self._waiting and ticks:
            before[0] = self._waiting
            self._waiting = []
        for group, run, indexes in self._runs(ticks):
            for within, builder, bar in group.extend(run):
                index = within if indexes is None else indexes[within]
                if builder.timeframe.span_ns:
                    at.setdefault(index, []).append(bar)
                elif index + 1 < len(ticks):
                    before.setdefault(index + 1, []).append(bar)
                else:
                    self._waiting.append(bar)
        return {i: (*before.get(i, ()), *at.get(i, ())) for i in sorted({*before, *at})}

    def finish(self) -> tuple[Bar, ...]:
        """The feed has ended: the tick bars that its last tick completed, once. Time bars stay incomplete, and unsaid."""
        bars, self._waiting = tuple(self._waiting), []
        return bars

    def _runs(self, ticks: Sequence[Tick]) -> list[tuple[_Group, Sequence[Tick], list[int] | None]]:
        """The ticks of each instrument that has bars, with their indexes (None: all of them, in place)."""
        symbols = {tick.instrument for tick in ticks}
        if len(symbols) == 1:
            group = self._groups.get(symbols.pop())
            return [] if group is None else [(group, ticks, None)]
        runs: list[tuple[_Group, Sequence[Tick], list[int] | None]] = []
        for symbol, group in self._groups.items():
            indexes = [i for i, tick in enumerate(ticks) if tick.instrument == symbol]
            if indexes:
                runs.append((group, [ticks[i] for i in indexes], indexes))
        return runs


def enough_history(timeframes: Sequence[str], origin: Origin, later: Origin) -> bool:
    """Whether bars that are begun at ``origin`` are right from the moment ``later`` on.

    Nothing before the origin may belong to a bar that is open at that moment. (An instrument that has been silent for
    days still has its bar of then open.)
    """
    if origin.ticks == 0:
        return True
    for frame in map(parse_timeframe, timeframes):
        if frame.ticks:
            if origin.ticks % frame.ticks and later.ticks - origin.ticks < frame.ticks:
                return False
        elif origin.latest_ns >= later.latest_ns - later.latest_ns % frame.span_ns:
            return False
    return True
