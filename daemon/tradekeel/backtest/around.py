"""Sources around another one: what is looked at, counted or refused on the way from the data to a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tradekeel.backtest.source import TickDataSource
from tradekeel.backtest.tickchecks import check_instruments, check_kinds, check_order
from tradekeel.domain.sessions import closed_ns_between, market_open
from tradekeel.domain.ticks import Bar, TickWindow
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import DataError, InputError
from tradekeel.ports import last_bars_of

DAY_NS = 86_400 * NS_PER_S

MARKET_CLOSED = "market_closed"
"""Among a source's counts: ticks from Friday to Sunday 17:00 in New York, of markets that rest then."""


class AroundSource(ABC):
    """Another source, and nothing else. A :class:`~tradekeel.backtest.source.TickDataSource`."""

    def __init__(self, source: TickDataSource) -> None:
        self.info = source.info
        self._source = source

    @abstractmethod
    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind a position."""

    def last_bars(self) -> tuple[Bar, ...]:
        """Its last bars."""
        return last_bars_of(self._source)

    def quality(self) -> Mapping[str, int]:
        """Its counts."""
        return self._source.quality()

    def progress(self) -> float | None:
        """Share delivered."""
        return self._source.progress()

    def close(self) -> None:
        """Let go of it."""
        self._source.close()


class CountingSource(AroundSource):
    """Another source, all of whose windows are looked at: what is counted is the same wherever a run goes on from."""

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """Its windows. What lies before ``after`` is gone through, too."""
        self._begin()
        for window in self._source.windows():
            self._look_at(window)
            rest = window.behind(after)
            if rest is not None:
                yield rest

    @abstractmethod
    def _begin(self) -> None:
        """Nothing has been counted yet."""

    @abstractmethod
    def _look_at(self, window: TickWindow) -> None:
        """Count what there is to count of these ticks, which come next."""


class CheckedSource(AroundSource):
    """A source that may be anybody's. InputError where it is not what it has to be: see :class:`TicksSource`."""

    def __init__(self, source: TickDataSource, reached: int = 0, *, judged: bool = False) -> None:
        """``reached`` is the tick that it has got to before: it has no fewer when it is read again. Of ticks that were ``judged``
        one by one before they came, only the first of each window is looked at again: the others are of the same hand.
        """
        super().__init__(source)
        self._reached = reached
        self._is_judged = judged

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """Its windows, each looked at before anybody trades on it."""
        name, last = self.info.name, None
        for window in self._given(after):
            ticks = window.ticks
            if not ticks:
                continue  # whoever filters ticks may have none left of some
            check_kinds(ticks[:1] if self._is_judged else ticks, name, after)
            check_instruments(ticks, name, self.info.instruments, after)
            check_order(ticks, name, after, last)
            if last is None:
                self._refuse_wrong_counts()
            last = ticks[-1]
            after = last.position
            yield window
        if after < self._reached:
            raise InputError(
                f"{name} has ended behind tick {after:,}, and was at tick {self._reached:,} before: windows(after) is to give "
                "the same ticks each time; those of an iterator that was gone through are not there again"
            )

    def _refuse_wrong_counts(self) -> None:
        """Before all of the work is done: they are asked for behind it, too."""
        quality: Any = self._source.quality()
        progress: Any = self._source.progress()
        if not isinstance(quality, Mapping):
            raise InputError(
                f"{self.info.name}: quality() gave a {type(quality).__name__}: give counts by kind, or {{}}"
            )
        if progress is not None and not isinstance(progress, (int, float)):
            raise InputError(
                f"{self.info.name}: progress() gave a {type(progress).__name__}: give the share from 0 to 1, or None"
            )

    def _given(self, after: int) -> Iterator[TickWindow]:
        """What the source gives, as far as it is windows."""
        name = self.info.name
        given: Any = self._source.windows(after)
        if not isinstance(given, Iterable):
            raise InputError(f"{name}: windows(after) gave a {type(given).__name__}: it is to {_HOW_TO_WINDOW}")
        for window in given:
            if not isinstance(window, TickWindow):
                raise InputError(f"{name}: windows(after) gave a {type(window).__name__}: it is to {_HOW_TO_WINDOW}")
            ticks: Any = window.ticks
            if not isinstance(ticks, Sequence):
                raise InputError(f"{name}: a window has a {type(ticks).__name__} for its ticks: give them as a list")
            yield window


_HOW_TO_WINDOW = "yield windows of ticks, each made with TickWindow(ticks)"


class HoursSource(CountingSource):
    """Another source, and how many of its ticks came while their market is closed: of more than a few the time zone is wrong."""

    def __init__(self, source: TickDataSource, resting: Collection[str]) -> None:
        """``resting`` are the instruments whose market rests at the weekend."""
        super().__init__(source)
        self._resting = frozenset(resting)
        self._closed = 0

    def _begin(self) -> None:
        self._closed = 0

    def _look_at(self, window: TickWindow) -> None:
        ticks = window.ticks
        if self._resting and closed_ns_between(ticks[0].ts_ns, ticks[-1].ts_ns + 1):
            self._closed += sum(tick.instrument in self._resting and not market_open(tick.ts_ns) for tick in ticks)

    def quality(self) -> Mapping[str, int]:
        """Its counts, and ours where there is any."""
        counts = super().quality()
        return {**counts, MARKET_CLOSED: self._closed} if self._closed else counts


class SpanSource(AroundSource):
    """A source that was cut. Where nothing is left of it, it is refused with from when to when there is something."""

    def __init__(self, source: TickDataSource, whole: Callable[[], TickDataSource]) -> None:
        """``whole`` opens the same before it was cut: to find where that ends is to read all of it."""
        super().__init__(source)
        self._whole = whole

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """Its windows. DataError where it has none, and the whole has some."""
        is_empty = not after  # behind the last tick there is none either
        for window in self._source.windows(after):
            is_empty = False
            yield window
        if is_empty:
            self._refuse()

    def _refuse(self) -> None:
        whole = self._whole()
        try:
            first_ns = last_ns = None
            for window in whole.windows():
                first_ns = window.ticks[0].ts_ns if first_ns is None else first_ns
                last_ns = window.ticks[-1].ts_ns
        finally:
            whole.close()
        if first_ns is not None and last_ns is not None:
            raise DataError(
                f"feed {self.info.name} has no ticks between its start and its end: nothing can be tested on it. Its ticks are "
                f"from {iso(first_ns)} to {iso(last_ns)}"
            )


class WarmUpSource(CountingSource):
    """Another source that is read from before the start on, and how much of what was asked for there is in it."""

    def __init__(self, source: TickDataSource, asked_ns: int, begins_ns: int, *, rests: bool) -> None:
        """Asked for are the ticks from ``asked_ns`` to ``begins_ns`` (event time); ``rests``: the market does at the weekend."""
        super().__init__(source)
        self.asked_ns = asked_ns
        self.first_ns: int | None = None  # of the source's first tick, wherever that is
        self.ticks = 0  # before the start, so far
        self._begins_ns = begins_ns
        self._rests = rests

    def _begin(self) -> None:
        self.first_ns, self.ticks = None, 0

    def _look_at(self, window: TickWindow) -> None:
        ticks = window.ticks
        if self.first_ns is None:
            self.first_ns = ticks[0].ts_ns
        if ticks[0].ts_ns < self._begins_ns:
            self.ticks += bisect_left(ticks, self._begins_ns, key=lambda tick: tick.ts_ns)

    @property
    def is_short(self) -> bool:
        """Whether the data begins clearly later than asked: a tenth of the warm-up, a day at most, and no weekend counts."""
        if self.first_ns is None:
            return False
        lacks_ns = self.first_ns - self.asked_ns
        if self._rests:
            lacks_ns -= closed_ns_between(self.asked_ns, self.first_ns)
        return lacks_ns > min((self._begins_ns - self.asked_ns) // 10, DAY_NS)
