"""The feed of ticks that another daemon shares, through a stream on a Redis server.

It is replayable: a position means the same tick as long as the stream is of the same run, and the stream keeps what it was
given, so a daemon that was killed reads again what it needs and trades what it would have traded. Whether it is *live* is the
writer's to say. A recording waits for whoever reads it. The ticks of a live market are of their moment: whoever reads them late,
because he was away or slow, decides late, by the clock on his wall, and old prices deny his entries.

What a stream does not promise is that everything is there. The writer may have had to leave out ticks, and the oldest go. Both
are gaps in the numbers, which are never passed over: they are counted, and the window behind one says so.

Bars are built here, from every tick. For that the feed begins to read as far back as those bars need that are open where it goes
on. Where that is gone bars begin anew, and that counts as a gap, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from tradekeel.domain.bars import BarSet, parse_timeframe
from tradekeel.domain.ticks import Bar, TickWindow
from tradekeel.errors import DataError, InputError, StoreAway, StoreRefused, StoreUnanswered
from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.patient import PatientReader
from tradekeel.feeds.walking import walk_back
from tradekeel.ports import FeedInfo
from tradekeel.ports.ticks import SharedTick, SharedTicks, StreamGone, StreamHead

PIECE_TICKS = 1_000
"""Read at once; a script of this length keeps a server busy for some milliseconds."""

STREAM = r"\A[a-z0-9][a-z0-9_-]{0,30}\Z"


class RedisFeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for ``kind = "redis"``."""

    stream: Annotated[
        str, Meta(pattern=STREAM, extra={"allowed": "the name of a stream, as the daemon that shares it says"})
    ]
    instruments: Annotated[tuple[str, ...], Meta(min_length=1)]  # those that the stream has, all of them
    start: Literal["new", "oldest"] | Annotated[int, Meta(ge=1)] = "new"  # where somebody begins who has seen nothing
    block_s: Annotated[float, Meta(ge=0.05, le=60)] = 5.0  # how long one question waits for the next tick


def shared_symbols(options: Mapping[str, Any]) -> dict[str, Keys]:
    """Each instrument that a table names, and the key where it does."""
    symbols = options.get("instruments")
    if not isinstance(symbols, list):
        return {}
    return {symbol: ("instruments",) for symbol in symbols if isinstance(symbol, str)}


def look_at_nothing(options: Mapping[str, Any], around: FeedSurroundings) -> Iterator[Problem]:
    """Whether the server and the stream are there shows when they are asked."""
    return iter(())


def shared_feed(settings: RedisFeedSettings, context: FeedContext) -> SharedFeed:
    """Build the feed: look at the stream, and wait for it where the context has the patience.

    Raises InputError, DataError where the stream is not what the settings say, or StoreError.
    """
    if context.stream is None:
        raise InputError(f"feed {context.name} reads from Redis, and no server is named: give redis.url")
    stream = context.stream(settings.stream)
    head = _look(stream, context)
    if sorted(head.instruments) != sorted(settings.instruments):
        raise DataError(
            f"feed {context.name}: {stream.described} has {', '.join(head.instruments)}, and the feed's table says "
            f"{', '.join(settings.instruments)}: write what it has into instruments"
        )
    info = FeedInfo(
        name=context.name,
        instruments=settings.instruments,
        replayable=True,
        live=head.live,
        fingerprint=hashlib.blake2b(repr((settings.stream, head.run)).encode(), digest_size=16).hexdigest(),
    )
    return SharedFeed(info, PatientReader(stream, head.run, context), settings, context)


def _look(stream: SharedTicks, context: FeedContext) -> StreamHead:
    while True:
        try:
            return stream.look()
        except StreamGone:
            missing = f"feed {context.name}: there is not {stream.described}: start the daemon that shares it"
            if context.patience is None:
                raise DataError(missing) from None
        except (StoreAway, StoreUnanswered) as error:
            if context.patience is None:
                raise
            missing = f"feed {context.name}: {error}"
        except StoreRefused as error:
            raise DataError(f"feed {context.name}: {error}") from error
        context.patience(missing)


class SharedFeed:
    """See the module. Satisfies :class:`~tradekeel.ports.Feed`."""

    def __init__(
        self, info: FeedInfo, reader: PatientReader, settings: RedisFeedSettings, context: FeedContext
    ) -> None:
        self.info = info
        self._reader = reader
        self._settings = settings
        self._timeframes = {symbol: tuple(texts) for symbol, texts in context.timeframes.items() if texts}
        # A tick bar is complete with its last tick, and comes before the next one or with the end. Of a live market nobody
        # waits for either.
        frames = (parse_timeframe(text) for texts in self._timeframes.values() for text in texts)
        self._looks_ahead = not info.live and any(frame.ticks for frame in frames)
        self._bars = BarSet(self._timeframes)
        self._last_bars: tuple[Bar, ...] = ()
        self._buffer: list[SharedTick] = []  # read, and not delivered
        self._position = 0  # of the last tick that was delivered, or behind which it begins
        self._seen = 0
        self._anew = False  # bars begin with the next window, and somebody may count on what they do not have
        self._ended = False
        self._ticks = self._gaps = 0
        self._opened = False

    async def open(self, after: int, seen: int = 0) -> None:
        """Be ready to deliver from position ``after + 1``, or behind what is not there any more.

        Where nobody has seen any of it, that is where the settings say. Raises DataError where the stream is another one.
        """
        assert after >= 0, "positions count from 1"
        self._buffer, self._ended, self._anew, self._last_bars = [], False, False, ()
        begins = not after and not seen
        self._position = await self._beginning() if begins else after
        self._seen = max(seen, self._position)
        self._bars = BarSet(self._timeframes)
        if self._timeframes and self._seen:
            await self._begin_bars(somebody_counts_on_them=not begins)
        self._opened = True

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        """The next ticks, at most ``ticks_max``: what is there, once there is any. None when the writer's feed has ended.

        While the server is away it waits, and says so. Raises DataError where the stream is another one.
        """
        assert ticks_max >= 1, "a window is never empty"
        assert self._opened, "open the feed first"
        await self._fill(1)
        count = self._consecutive(ticks_max)
        if self._looks_ahead and count == len(self._buffer):
            await self._fill(count + 1)
        if not count:
            self._last_bars += self._bars.finish()  # of a live market the end is not seen before it is there
            return None
        # Nothing is taken before the last wait, which may be cut short.
        lost = self._lost(self._buffer[0])
        gap = self._meet_gap(self._buffer[0].tick.position)
        ticks = [shared.tick for shared in self._buffer[:count]]
        del self._buffer[:count]
        self._position = ticks[-1].position
        self._ticks += count
        bars: dict[int, tuple[Bar, ...]] = self._bars.fill(ticks) if self._bars else {}
        if self._ended and not self._buffer and (last := self._bars.finish()):
            bars, self._last_bars = {**bars, count: last}, last
        return TickWindow(ticks, bars, gap, lost if gap else None, self.info.instruments)

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return self._last_bars

    async def close(self) -> None:
        """Let go of the server."""
        self._opened = False
        await self._reader.close()

    def quality(self) -> dict[str, int]:
        """Ticks read and delivered, the ``gaps`` among them, and how often the server was ``away``, if there were any."""
        told = {"gaps": self._gaps, "away": self._reader.times_away}
        return {
            "rows": self._reader.rows,
            "ticks": self._ticks,
            **{what: count for what, count in told.items() if count},
        }

    def progress(self) -> float | None:
        """Unknown: it goes on as long as its writer does."""
        return None

    def waits(self) -> str:
        """Why the stream cannot be read at the moment; its writer may be silent all the same."""
        return self._reader.waits

    # --- where it begins -------------------------------------------------------------------------------------------------

    async def _beginning(self) -> int:
        """Behind which position somebody begins who has seen nothing."""
        start = self._settings.start
        if isinstance(start, int):
            return start - 1
        piece = await self._reader.read(0, 2)  # the oldest entry may be the end of an earlier life
        return piece.ticks[0].tick.position - 1 if start == "oldest" and piece.ticks else piece.last

    async def _begin_bars(self, *, somebody_counts_on_them: bool) -> None:
        """Bars as they would be by now, had they been built all the time, as far as what they are made of is there."""
        behind = self._position
        found = await walk_back(self._reader, self._timeframes, behind, self._seen, PIECE_TICKS)
        self._anew = somebody_counts_on_them and not found.whole
        if found.first > behind + 1:
            if found.is_oldest:
                self._position = found.first - 1  # what came before it is gone, and everybody has seen it
                self._bars = BarSet(self._timeframes, found.origins)
            return
        self._bars = BarSet(self._timeframes, found.origins)
        at = found.first - 1
        while at < behind:
            ticks = [shared.tick for shared in (await self._reader.read(at, PIECE_TICKS)).ticks]
            if not ticks or ticks[0].position != at + 1 or ticks[-1].position - at != len(ticks):
                self._bars, self._anew = (
                    BarSet(self._timeframes),
                    somebody_counts_on_them,
                )  # it was taken away meanwhile
                return
            ticks = ticks[: behind - at]
            self._bars.fill(ticks)
            at = ticks[-1].position

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def _fill(self, wanted: int) -> None:
        """Have so many ticks in the buffer, or know that there are no more."""
        while len(self._buffer) < wanted and not self._ended:
            after = self._buffer[-1].tick.position if self._buffer else self._position
            piece = await self._reader.read(after, PIECE_TICKS)
            self._check(piece.ticks)
            self._buffer += piece.ticks
            self._ended = piece.ended
            if not piece.ticks and not piece.ended:
                await self._reader.wait(after, self._settings.block_s)

    def _check(self, ticks: Sequence[SharedTick]) -> None:
        """Nobody would know what to do with ticks of an instrument that the stream does not say it has."""
        strange = {shared.tick.instrument for shared in ticks}.difference(self.info.instruments)
        if strange:
            raise DataError(
                f"feed {self.info.name}: {self._reader.described} has ticks of {', '.join(sorted(strange))} behind "
                f"{ticks[0].tick.position - 1}, and says that it has only {', '.join(self.info.instruments)}: something else "
                "than Tradekeel writes there. Delete the stream; its writer begins it anew"
            )

    def _consecutive(self, ticks_max: int) -> int:
        """How many ticks from the first of the buffer on are a window: behind a gap begins another."""
        count = min(ticks_max, len(self._buffer))
        if not count:
            return 0
        first = self._buffer[0].tick.position
        if self._buffer[count - 1].tick.position - first == count - 1:
            return count
        return next(at for at in range(1, count) if self._buffer[at].tick.position != first + at)

    def _lost(self, first: SharedTick) -> int | None:
        """Ticks before this one that had a number and are missing, if its writer was begun anew with it or just before."""
        leap = first.leap
        if leap is None:
            return None
        return max(0, leap.behind - max(self._position, self._seen)) + first.tick.position - leap.first

    def _meet_gap(self, first: int) -> bool:
        """Whether the window that begins with this position says so; ticks before it that everybody has seen are no loss."""
        misses = first > self._position + 1
        if misses:
            self._bars = BarSet(self._timeframes)
        gap = self._anew or (misses and first - 1 > self._seen)
        self._gaps += gap
        self._anew = False
        return gap
