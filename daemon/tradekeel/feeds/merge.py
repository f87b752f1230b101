"""Several instruments' quotes as one sequence of ticks: by time, and at the same time in the order of the config.

Each stream is in order, whatever its rows were (:class:`~tradekeel.feeds.rows.BadRows`), so ticks that are older than the last
one known of every stream can be put out: nothing that comes later can belong before them. One sort a round does the work, and
it is stable, which settles ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from operator import itemgetter
from typing import Any

from msgspec import Struct

from tradekeel.domain.bars import Origin, enough_history
from tradekeel.domain.ticks import Tick
from tradekeel.errors import DataError
from tradekeel.feeds.context import FeedContext
from tradekeel.feeds.pace import Pacer, parse_speed
from tradekeel.feeds.replay import Elsewhere, ReplayFeed, Start
from tradekeel.feeds.rows import Quotes
from tradekeel.feeds.stream import PartStream
from tradekeel.ports import FeedInfo

_Entry = tuple[int, str, Decimal, Decimal, Decimal | None, Decimal | None]


class _Mark(Struct, frozen=True):
    """A place to begin again: how many ticks in all, and what came before of each instrument."""

    position: int
    origins: dict[str, Origin]


class _Lane:
    """One stream in the merge, and what of it waits to be put out."""

    def __init__(self, instrument: str, stream: PartStream[Any]) -> None:  # Any: whatever it is read from
        self.instrument = instrument
        self.stream = stream
        self.ended = False
        self.failure: DataError | None = None  # what ended it, when all that came before is out
        self.origin = Origin()
        self.waiting: list[_Entry] = []

    def reset(self, origin: Origin) -> None:
        self.stream.seek(origin.ticks)
        self.origin = origin
        self.ended = False
        self.failure = None
        self.waiting = []

    def read(self) -> Quotes | None:
        """The quotes of the stream's next piece, noting its end."""
        quotes = self.stream.read()
        self.ended = quotes is None
        return quotes

    def passed(self, count: int, latest_ns: int) -> None:
        """So many quotes have been put out."""
        self.origin = Origin(self.origin.ticks + count, latest_ns)

    def fetch(self) -> None:
        """Read on, and keep it waiting."""
        if self.failure is not None:
            return
        try:
            quotes = self.read()
        except DataError as error:
            self.failure = error
            return
        if quotes is None:
            return
        none = repeat(None)
        self.waiting.extend(
            zip(
                quotes.times_ns,
                repeat(self.instrument),
                quotes.bids,
                quotes.asks,
                quotes.bid_sizes or none,
                quotes.ask_sizes or none,
            )
        )

    def older_than(self, horizon_ns: int | None) -> list[_Entry]:
        """Take what is older than the horizon (all of it if there is none)."""
        if horizon_ns is None:
            taken, self.waiting = self.waiting, []
            return taken
        count = sum(1 for entry in self.waiting if entry[0] < horizon_ns)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def merged(
    streams: Mapping[str, PartStream[Any]],
    fingerprint: str,
    context: FeedContext,
    speed: str | float,
    wait_max_s: float | None,
    elsewhere: Elsewhere | None = None,
) -> ReplayFeed:
    """The feed of these streams, one an instrument, at the speed that is set; ``elsewhere`` where a server brings the rows."""
    if context.watch is not None:
        for symbol, stream in streams.items():
            stream.watched(symbol, context.watch)
    pace = parse_speed(speed)
    info = FeedInfo(
        name=context.name,
        instruments=tuple(streams),
        replayable=True,
        fingerprint=fingerprint,
        total_bytes=sum(stream.bytes_total for stream in streams.values()),
    )
    return ReplayFeed(
        info,
        MergedFiles(streams),
        timeframes=context.timeframes,
        sleeper=context.sleeper,
        pacer=None if pace is None else Pacer(pace, context.sleeper, wait_max_s),
        elsewhere=elsewhere,
    )


class MergedFiles:
    """The ticks of one or several instruments' files. A :class:`~tradekeel.feeds.replay.Source`."""

    def __init__(self, streams: Mapping[str, PartStream[Any]]) -> None:
        self._lanes = [_Lane(instrument, stream) for instrument, stream in streams.items()]
        self._position = 0
        self._marks = [_Mark(0, {lane.instrument: Origin() for lane in self._lanes})]
        self._files = tuple(0 for _ in self._lanes)

    def seek(self, after: int, timeframes: Mapping[str, Sequence[str]]) -> Start:
        """Begin at the latest place known from before that lies early enough, or at the beginning."""
        known = [mark for mark in self._marks if mark.position <= after]
        reached = known[-1].origins
        mark = next(
            mark
            for mark in reversed(known)
            if all(
                enough_history(timeframes.get(symbol, ()), origin, reached[symbol])
                for symbol, origin in mark.origins.items()
            )
        )
        self._position = mark.position
        for lane in self._lanes:
            lane.reset(mark.origins[lane.instrument])
        return Start(mark.position, mark.origins)

    def read(self) -> list[Tick] | None:
        """The ticks of the next piece, which may be none; None at the end."""
        self._remember()
        return self._read_one(self._lanes[0]) if len(self._lanes) == 1 else self._read_many()

    def _remember(self) -> None:
        """Where a file has ended since the last time, note the place."""
        files = tuple(lane.stream.part for lane in self._lanes)
        if files != self._files and self._position > self._marks[-1].position:
            self._marks.append(_Mark(self._position, {lane.instrument: lane.origin for lane in self._lanes}))
        self._files = files

    def _read_one(self, lane: _Lane) -> list[Tick] | None:
        quotes = lane.read()
        if quotes is None or not quotes.times_ns:
            return None if quotes is None else []
        times, bids, asks, bid_sizes, ask_sizes = quotes
        first, count = self._position + 1, len(times)
        positions = range(first, first + count)
        self._position += count
        lane.passed(count, times[-1])
        if bid_sizes is None and ask_sizes is None:
            return list(map(Tick, repeat(lane.instrument), times, bids, asks, positions))
        none = repeat(None)
        return list(
            map(Tick, repeat(lane.instrument), times, bids, asks, positions, bid_sizes or none, ask_sizes or none)
        )

    def _read_many(self) -> list[Tick] | None:
        for lane in self._lanes:
            if not lane.waiting and not lane.ended:
                lane.fetch()
                if lane.failure is not None:
                    raise lane.failure
        still_open = [lane for lane in self._lanes if not lane.ended]
        if any(not lane.waiting for lane in still_open):
            return []  # nothing is known of this one yet, so nothing can be said to come before it
        slowest = min(still_open, key=lambda lane: lane.waiting[-1][0], default=None)
        horizon_ns = None if slowest is None else slowest.waiting[-1][0]
        if horizon_ns is not None and slowest is not None and slowest.failure is not None:
            horizon_ns += 1  # nothing follows any more that could belong before them
        entries: list[_Entry] = []
        for lane in self._lanes:
            taken = lane.older_than(horizon_ns)
            if taken:
                lane.passed(len(taken), taken[-1][0])
            entries += taken
        if not entries:
            if slowest is None:
                return None
            slowest.fetch()  # all that is known of it has one time, and more may follow
            return []
        entries.sort(key=itemgetter(0))
        first = self._position + 1
        self._position += len(entries)
        return [
            Tick(symbol, ts_ns, bid, ask, position, bid_size, ask_size)
            for position, (ts_ns, symbol, bid, ask, bid_size, ask_size) in enumerate(entries, start=first)
        ]

    def close(self) -> None:
        """Let go of the files."""
        for lane in self._lanes:
            lane.stream.close()

    def counts(self) -> dict[str, int]:
        """Rows by kind, over all instruments."""
        total = {"rows": 0}
        for lane in self._lanes:
            for kind, count in lane.stream.counts().items():
                total[kind] = total.get(kind, 0) + count
        return total

    def progress(self) -> float | None:
        """Share of the stored bytes that has been read."""
        total = sum(lane.stream.bytes_total for lane in self._lanes)
        return sum(lane.stream.bytes_read for lane in self._lanes) / total if total else 1.0
