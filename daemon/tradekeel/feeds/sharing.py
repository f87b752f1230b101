"""Sharing a feed: what its conductor takes is kept for whoever brings it to a stream, within bounds; trading waits for nobody.

A :class:`TappedFeed` is the feed, and drops what passes into an :class:`Outbox`. The conductor goes back now and then; what was
dropped before is not dropped again. What finds no room is left out, the oldest first, and is a gap to whoever reads.

Positions of a recording are those of its feed. A live market that begins again, in another process or another life of its
account, may be given positions that it had before for other ticks: they are shifted behind all that was shared, with a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.feeds.pace import Sleeper
from tradekeel.ports import Feed, FeedInfo, waits_of
from tradekeel.ports.ticks import Begun, Counts, Leap, SharedTick

WAITING_TICKS_MAX = 50_000
"""Of one feed, while its server is away or slow: some 15 MB, and a good hour of a busy market."""

ROOM_POLL_S = 0.002
ROOM_WAITS_MAX = 30_000
"""A recording waits for room as long as the server takes ticks; a minute of that, and they are left out."""

LEAP_TICKS = 1_000_000
"""Between the last position that is known to be shared and the first of a live market that begins again. A server that has lost
its last seconds must not give readers who have seen those other ticks under the same positions."""


class Outbox:
    """The ticks of one feed that wait to be shared. Lives as long as the process."""

    def __init__(self, info: FeedInfo, wake: Callable[[], object], *, ticks_max: int = WAITING_TICKS_MAX) -> None:
        """``wake`` is called when there is something to bring."""
        self.info = info
        self.is_taken = True  # the server takes what is brought, as far as anybody knows
        self.ended = False  # the feed has: nothing follows
        self.run = ""  # of the sequence that these ticks become; empty: not known yet
        self.shared = self.left_out = 0  # ticks
        self._wake = wake
        self._ticks_max = ticks_max
        self._waiting: deque[Tick] = deque()
        self._offered = 0  # the last position that was dropped here, as the feed has it
        self._shift = 0  # from there to the stream's; changes with a live market only
        self._last = 0  # position in the stream that was brought last
        self._known: dict[str, Counts] = {}
        self._leap: Leap | None = None
        self._has_begun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, ticks: int) -> bool:
        """Whether so many more push out none that waits."""
        return not self._waiting or len(self._waiting) + ticks <= self._ticks_max

    # --- the feed's side -------------------------------------------------------------------------------------------------

    def opened(self, after: int) -> None:
        """The feed begins, or goes back."""
        self.ended = False
        if self.info.replayable:
            return
        if self._offered:
            self._shift += max(0, self._offered - after) + 1  # what a live market told meanwhile is gone
        self._offered = after

    def offer(self, window: TickWindow) -> None:
        """Keep what was not offered before."""
        fresh = window.ticks
        if fresh[0].position <= self._offered:
            fresh = fresh[self._offered + 1 - fresh[0].position :]
        if not fresh:
            return
        self._offered = fresh[-1].position
        shift = self._shift
        self._waiting.extend([replace(tick, position=tick.position + shift) for tick in fresh] if shift else fresh)
        too_many = len(self._waiting) - self._ticks_max
        for _ in range(too_many):
            self._waiting.popleft()
        self.left_out += max(0, too_many)
        self._wake()

    def end(self) -> None:
        """The feed has ended."""
        self.ended = True
        self._wake()

    # --- the bringer's side ----------------------------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """The position behind which writing goes on, as far as is known here."""
        return self._last or (self._waiting[0].position - 1 if self._waiting else self._offered + self._shift)

    def begun(self, begun: Begun) -> None:
        """The stream is ready, and has what it has."""
        if not self._has_begun and not self.info.replayable and not begun.is_new:
            first = self._waiting[0].position if self._waiting else self._offered + self._shift + 1
            leap = max(0, begun.last + LEAP_TICKS + 1 - first)
            self._shift += leap
            self._leap = Leap(begun.last, first + leap)
            self._waiting = deque(replace(tick, position=tick.position + leap) for tick in self._waiting)
        if begun.last > self._last or not self._has_begun:
            self._last, self._known = begun.last, dict(begun.counts)
        self._has_begun, self.run = True, begun.run
        while self._waiting and self._waiting[0].position <= self._last:
            self._waiting.popleft()  # brought before, by an earlier life

    def take(self, ticks_max: int) -> tuple[list[SharedTick], Mapping[str, Counts]]:
        """The next ticks to bring, which stay here until they are :meth:`brought`, and the counts behind them."""
        counts = dict(self._known)
        taken = []
        at = self._last
        for tick in islice(self._waiting, ticks_max):
            leap = None
            if tick.position != at + 1:
                counts.clear()
                leap = self._leap if self._leap is not None and self._leap.behind == at else None
            at = tick.position
            before = counts.get(tick.instrument, _NONE)
            known = Counts(before.count + 1, max(before.latest_ns, tick.ts_ns))
            counts[tick.instrument] = known
            taken.append(SharedTick(tick, known.count, known.latest_ns, leap))
        return taken, counts

    def brought(self, ticks: Sequence[SharedTick], counts: Mapping[str, Counts]) -> None:
        """They are in the stream."""
        self._last, self._known = ticks[-1].tick.position, dict(counts)
        self.shared += len(ticks)
        while self._waiting and self._waiting[0].position <= self._last:
            self._waiting.popleft()  # not all of them may be here any more: some may have been pushed out meanwhile


_NONE = Counts(0, 0)


class TappedFeed:
    """A feed that is shared. Satisfies :class:`~tradekeel.ports.Feed`, as the feed inside does."""

    def __init__(self, feed: Feed, outbox: Outbox, sleeper: Sleeper) -> None:
        self.info = feed.info
        self._feed = feed
        self._waits = waits_of(feed)
        self._outbox = outbox
        self._sleeper = sleeper

    async def open(self, after: int, seen: int = 0) -> None:
        """As the feed inside."""
        await self._feed.open(after, seen)
        self._outbox.opened(after)

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        """As the feed inside. A recording waits until there is room for it, as long as the server takes what waits there."""
        if not self.info.live:
            await self._wait_for_room(ticks_max)
        window = await self._feed.next_window(ticks_max)
        if window is None:
            self._outbox.end()
        else:
            self._outbox.offer(window)
        return window

    async def close(self) -> None:
        """As the feed inside."""
        await self._feed.close()

    def quality(self) -> dict[str, int]:
        """As the feed inside, and the ticks that were ``shared``, that wait for it, and that were left out, if there are any."""
        outbox = self._outbox
        told = {"share_waiting": len(outbox), "share_missed": outbox.left_out}
        return {**self._feed.quality(), "shared": outbox.shared, **{what: n for what, n in told.items() if n}}

    def progress(self) -> float | None:
        """As the feed inside."""
        return self._feed.progress()

    def waits(self) -> str | None:
        """As the feed inside."""
        return self._waits()

    async def _wait_for_room(self, ticks: int) -> None:
        outbox = self._outbox
        for _ in range(ROOM_WAITS_MAX):
            if outbox.has_room(ticks) or not outbox.is_taken:
                return
            await self._sleeper.sleep(ROOM_POLL_S)
