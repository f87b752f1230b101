"""The feed around a source of recorded or computed ticks: positions, windows, bars, pace, and going back.

A source yields ticks in blocks and can be asked to begin anew at or before a position; everything else that
:class:`~tradekeel.ports.Feed` promises is here, once, for all of them. After going back, windows hold the same ticks and the
same bars as the first time: the source begins early enough for every bar that is open at the position to be built
from its first tick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from tradekeel.domain.bars import BarSet, Origin
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.errors import DataError, StoreAway
from tradekeel.feeds.pace import Pacer, Sleeper
from tradekeel.ports import FeedInfo


class Start(Struct, frozen=True):
    """Where a source begins: the next tick is ``position + 1``; ``origins`` tells per instrument what came before."""

    position: int
    origins: Mapping[str, Origin]


class Source(Protocol):
    """Where a replay's ticks come from."""

    def seek(self, after: int, timeframes: Mapping[str, Sequence[str]]) -> Start:
        """Begin anew at ``after`` or before it, early enough that all bars are right by then."""
        ...

    def read(self) -> list[Tick] | None:
        """The next ticks, with their positions; None at the end. Raises :class:`DataError`; StoreAway, and may be asked again.

        Empty where a piece of the data held none: however much of it comes to nothing, one step reads no more than a piece.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""

    def counts(self) -> dict[str, int]:
        """Rows by kind."""
        ...

    def progress(self) -> float | None:
        """Share of the data that has been read, if known."""
        ...


class Elsewhere(Protocol):
    """Reads a source whose rows are a server's: nobody here waits for that, however long it takes."""

    @property
    def waits(self) -> str:
        """Why nothing comes at the moment."""
        ...

    async def seek(self, source: Source, after: int, timeframes: Mapping[str, Sequence[str]]) -> Start:
        """As :meth:`Source.seek`."""
        ...

    async def read(self, source: Source) -> list[Tick] | None:
        """As :meth:`Source.read`, and as often as it takes."""
        ...


class ReplayFeed:
    """A feed of such a source, paced where that is a live market. Satisfies :class:`~tradekeel.ports.Feed`."""

    def __init__(
        self,
        info: FeedInfo,
        source: Source,
        *,
        timeframes: Mapping[str, Sequence[str]],
        sleeper: Sleeper,
        pacer: Pacer | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``pacer`` None hands out ticks as fast as they are taken; ``elsewhere`` is how a source is read that is a server's."""
        self.info = info
        self._source = source
        self._sleeper = sleeper
        self._pacer = pacer
        self._elsewhere = elsewhere
        self._bars = BarSet({})
        self._last_bars: tuple[Bar, ...] = ()
        self._buffer: list[Tick] = []
        self._at = 0  # the next tick to deliver, in the buffer
        self._position = 0  # of the last tick delivered
        self._latest_ns = 0  # of a live market: the time of the last tick delivered
        self._ended = False
        self._failure: DataError | None = None
        self._total = info.total
        self._opened = False
        self.build_bars(timeframes)

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """Have windows these bars from the next :meth:`open` on."""
        self._timeframes = {symbol: tuple(texts) for symbol, texts in timeframes.items() if texts}

    async def open(self, after: int, seen: int = 0) -> None:
        """Be ready to deliver from position ``after + 1``. Raises :class:`DataError` if the feed is not that long."""
        assert after >= 0, "positions count from 1"
        self._buffer, self._at, self._ended, self._failure, self._last_bars = [], 0, False, None, ()
        if self._pacer is not None:
            self._pacer.reset()
        start = await self._seek(after)
        assert start.position <= after
        self._bars = BarSet(self._timeframes, start.origins)
        self._position = start.position
        self._opened = True
        while self._position < after:
            await self._refill(1)
            if self._failure is not None:
                raise self._failure
            count = min(after - self._position, len(self._buffer) - self._at)
            if not count:
                raise DataError(
                    f"feed {self.info.name} has only {self._position:,} ticks, but {after:,} were taken from it before: "
                    "has its data been changed?"
                )
            self._take(count)
            await self._sleeper.sleep(0)  # a long way to go must not keep others from running

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        """The next ticks, at most ``ticks_max``; None at the end. Raises :class:`DataError` where the data is refused."""
        assert ticks_max >= 1, "a window is never empty"
        assert self._opened, "open the feed first"
        await self._refill(1 if self._pacer is not None else ticks_max)
        stop = min(len(self._buffer), self._at + ticks_max)
        if stop == self._at:
            if self._failure is not None:
                raise self._failure
            self._last_bars += self._bars.finish()  # where nothing was left of it when it was opened
            return None
        if self._pacer is not None:
            stop = await self._pacer.due(self._buffer, self._at, stop)
        count = stop - self._at
        await self._refill(
            count + 1
        )  # whether it ends here; nothing is taken before the last wait, which may be cut short
        ticks, bars = self._take(count)
        if self._ended and self._at == len(self._buffer) and (last := self._bars.finish()):
            bars, self._last_bars = {**bars, len(ticks): last}, last
        return TickWindow(ticks, bars, instruments=self.info.instruments)

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return self._last_bars

    async def close(self) -> None:
        """Let go of everything."""
        if self._elsewhere is None:  # else it may be at it still, and between two reads nothing is open
            self._source.close()
        self._buffer, self._at, self._opened = [], 0, False

    def waits(self) -> str | None:
        """Why no rows come from the server. None: no server brings them, or it does: silence between two ticks is the pace's."""
        return None if self._elsewhere is None else self._elsewhere.waits or None

    def quality(self) -> dict[str, int]:
        """Rows read and ticks delivered, and every kind of bad row with what was done about it."""
        return {"ticks": self._position, **self._source.counts()}

    def progress(self) -> float | None:
        """Share of the feed delivered, 0 to 1, if known."""
        if self._total is not None:
            return self._position / self._total if self._total else 1.0
        return self._source.progress()

    def _take(self, count: int) -> tuple[list[Tick], dict[int, tuple[Bar, ...]]]:
        """The next ticks of the buffer, delivered, and their bars."""
        ticks = self._buffer[self._at : self._at + count]
        if not self.info.replayable and self._pacer is not None:
            ticks = self._stamped(ticks, self._pacer)
        self._at += count
        self._position = ticks[-1].position
        return ticks, self._bars.fill(ticks) if self._bars else {}

    def _stamped(self, ticks: Sequence[Tick], pacer: Pacer) -> list[Tick]:
        """A live market's ticks have the clock's time as it is when they are delivered: it may have been set since the market
        began, or the machine has slept. What is told never goes back in time.
        """
        behind_ns = self._sleeper.now_ns() - pacer.market_ns()
        times_ns = accumulate((tick.ts_ns + behind_ns for tick in ticks), max, initial=self._latest_ns)
        stamped = [replace(tick, ts_ns=ts_ns) for tick, ts_ns in zip(ticks, islice(times_ns, 1, None), strict=True)]
        self._latest_ns = stamped[-1].ts_ns
        return stamped

    async def _refill(self, wanted: int) -> None:
        """Have so many ticks in the buffer, if there are any more. What goes wrong waits until the ticks before it are out.

        Others run in between where data comes to nothing: millions of rows may stand before `start`.
        """
        while len(self._buffer) - self._at < wanted and not self._ended and self._failure is None:
            try:
                more = await self._read()
            except DataError as error:
                self._failure = error
                return
            except StoreAway as error:  # nobody waits for it here: the feed ends
                self._failure = DataError(str(error))
                return
            if more is None:
                self._ended = True
                self._total = _last_position(self._buffer, self._position)
            elif more:
                self._buffer = self._buffer[self._at :] + more if self._at < len(self._buffer) else more
                self._at = 0
            else:
                await self._sleeper.sleep(0)

    async def _seek(self, after: int) -> Start:
        if self._elsewhere is None:
            return self._source.seek(after, self._timeframes)
        return await self._elsewhere.seek(self._source, after, self._timeframes)

    async def _read(self) -> list[Tick] | None:
        return self._source.read() if self._elsewhere is None else await self._elsewhere.read(self._source)


def _last_position(buffer: Sequence[Tick], position: int) -> int:
    """How many ticks there are, once the last has been read."""
    return buffer[-1].position if buffer else position
