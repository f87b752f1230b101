"""One trial: a backtest by the kernel, whose journal nobody keeps, with looks at its figures on the way.

The ticks are read once by each process and held as far as there is room for them, so that a trial costs what its trading costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter

from msgspec import Struct, structs

from tradekeel.backtest.around import AroundSource
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.optimising.windows import Part
from tradekeel.backtest.run import CUT_TICKS, Ran, run
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import WINDOW_TICKS, CutSource, TickDataSource
from tradekeel.domain.bars import BarSet
from tradekeel.domain.entries import Entry
from tradekeel.domain.ids import derived_id
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.errors import DataError
from tradekeel.ports import FeedInfo

TICKS_HELD_MAX = 2_000_000
"""Ticks that a process holds in memory, some 450 bytes each; more are read again by each trial."""

Passing = Callable[[], object]
"""Called now and then while ticks are gone through that nobody is shown. What it raises ends that."""

LOOKS = 10
"""How often a trial that may be pruned is looked at."""

_time_of = attrgetter("ts_ns")


class Market:
    """All ticks of an account's feed, and any part of them as a source. ``make`` opens the feed with bars of these timeframes."""

    def __init__(self, make: Callable[[], TickDataSource], held_max: int = TICKS_HELD_MAX) -> None:
        """Read all of it. Raises DataError where there is nothing, or it is refused."""
        source = make()
        ticks: list[Tick] | None = []
        self.ticks, first_ns, last_ns = 0, 0, 0
        for window in source.windows():
            first_ns = first_ns if self.ticks else window.ticks[0].ts_ns
            last_ns = window.ticks[-1].ts_ns
            self.ticks += len(window.ticks)
            if ticks is not None and self.ticks <= held_max:
                ticks.extend(window.ticks)
            else:
                ticks = None
        if ticks is not None:
            source.close()
        if not self.ticks:
            raise DataError(f"feed {source.info.name} has no ticks: nothing can be tested on it")
        self.info = source.info
        self.part = Part(first_ns, last_ns + 1)
        self._held = ticks
        self._source = (
            source  # of ticks that are not held it stays open: to open it is to read all of it, for its fingerprint
        )
        self._sliced: tuple[Part, Sequence[Tick]] | None = None
        self._looked_at: tuple[Part, bool] | None = None  # a part of ticks that are not held, and whether it has one

    def cut(
        self, part: Part, timeframes: Mapping[str, Sequence[str]], passing: Passing = lambda: None
    ) -> TickDataSource:
        """The ticks of a part; positions count anew, and bars begin with the first tick.

        ``passing`` is called on the way to it, too, which is long where ticks are not held. One such source is read at a time.
        """
        if self._held is None:
            return CutSource(_Read(self._source, passing), part.start_ns, part.end_ns, timeframes)
        if self._sliced is None or self._sliced[0] != part:
            first, end = (bisect_left(self._held, ns, key=_time_of) for ns in (part.start_ns, part.end_ns))
            self._sliced = (part, _numbered(self._held[first:end]))
        return _Slice(self._sliced[1], self._info(part), timeframes)

    def count(self, part: Part, passing: Passing = lambda: None) -> int:
        """How many ticks a part has, at least about; 0 is exact."""
        if self._held is None:
            if self._looked_at is None or self._looked_at[0] != part:
                source = CutSource(_Read(self._source, passing), part.start_ns, part.end_ns, {})
                self._looked_at = (part, next(source.windows(), None) is not None)
            return max(1, self.ticks * part.span_ns // self.part.span_ns) if self._looked_at[1] else 0
        first, end = (bisect_left(self._held, ns, key=_time_of) for ns in (part.start_ns, part.end_ns))
        return end - first

    def _info(self, part: Part) -> FeedInfo:
        """As of a source that was cut at these times."""
        mark = derived_id("", "cut", self.info.fingerprint, str(part.start_ns), str(part.end_ns))
        return structs.replace(self.info, fingerprint=mark, total=None)


def _numbered(ticks: Sequence[Tick]) -> list[Tick]:
    return [
        Tick(each.instrument, each.ts_ns, each.bid, each.ask, number, each.bid_size, each.ask_size)
        for number, each in enumerate(ticks, start=1)
    ]


class _Slice:
    """Ticks that are held. A :class:`~tradekeel.backtest.source.TickDataSource`."""

    def __init__(self, ticks: Sequence[Tick], info: FeedInfo, timeframes: Mapping[str, Sequence[str]]) -> None:
        self.info = info
        self._ticks, self._timeframes = ticks, dict(timeframes)
        self._bars = BarSet({})

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """From the first tick on: a trial is never gone on with."""
        assert not after, "a trial begins at the first tick"
        bars = self._bars = BarSet(self._timeframes)
        size = min(WINDOW_TICKS, max(1, len(self._ticks) // LOOKS))  # a look is between two windows
        for start in range(0, len(self._ticks), size):
            ticks = self._ticks[start : start + size]
            yield TickWindow(ticks, bars.fill(ticks) if bars else {}, instruments=self.info.instruments)

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return self._bars.finish()

    def quality(self) -> Mapping[str, int]:
        """All of it was examined when it was read."""
        return {}

    def progress(self) -> float | None:
        """Nobody asks: a trial is short."""
        return None

    def close(self) -> None:
        """The ticks stay."""


class _Read(AroundSource):
    """A source that is read from its beginning by each trial, and stays open for the next."""

    def __init__(self, source: TickDataSource, passing: Passing) -> None:
        super().__init__(source)
        self._passing = passing

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All of its windows."""
        for window in self._source.windows(after):
            self._passing()
            yield window

    def close(self) -> None:
        """It stays open."""


class _NoJournal:
    """A journal that nobody reads: what the figures are made of is in the cores."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Let go of them."""

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """Let go of them."""

    def last_cut(self) -> Sequence[Checkpoint]:
        """There is never one."""
        return ()


class Tried(Struct, frozen=True):
    """What became of a run."""

    report: PerformanceReport | None  # None: it was broken off
    counted: int  # ticks up to where it came, a warm-up left out


def try_out(
    setup: Setup,
    source: TickDataSource,
    *,
    goes_on: Callable[[int], bool],
    look: Callable[[int, PerformanceReport], bool] | None = None,
    ticks: int = 0,
) -> Tried:
    """Run to the end, or until ``goes_on`` (asked behind each window of ticks) or ``look`` says no.

    ``look`` is asked behind each :data:`LOOKS`-th of the ``ticks`` but the last, at the same ones in each run over them, and not
    within a warm-up, which is none of them: with the number of the look and the figures so far. Raises what
    :func:`tradekeel.backtest.run.run` raises.
    """
    looks = 0

    def at_cut(kernel: Kernel) -> bool:
        nonlocal looks
        if not kernel.counts:
            return True
        looks += 1
        return look is None or looks >= LOOKS or look(looks, kernel.monitor.report())

    every = max(1, ticks // LOOKS) if look is not None else CUT_TICKS
    ran: Ran = run(setup, source, _NoJournal(), goes_on=goes_on, look=at_cut, cut_ticks=every)
    kernel = ran.kernel
    return Tried(kernel.monitor.report() if ran.completed else None, kernel.counts)
