"""Shared ticks in memory: for tests, and to be held against what a server does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import anyio
from msgspec import Struct

from tradekeel.ports.ticks import Begun, Counts, Piece, SharedTick, StreamGone, StreamHead, StreamReplaced, Writing


class Sequenced(Struct):
    """One sequence as the server keeps it. ``ticks`` are by position, oldest first."""

    head: StreamHead
    data: str
    writer: str
    last: int
    counts: Mapping[str, Counts]
    ticks: dict[int, SharedTick]
    ended_at: int = -1  # the position behind which the writer's feed has ended


class MemoryStreams:
    """The server in all of this: whoever has it sees what others wrote."""

    def __init__(self) -> None:
        self.by_name: dict[str, Sequenced] = {}
        self._news = anyio.Event()
        self.fault: Callable[[str], Exception | None] = lambda doing: None
        """Asked before everything that is done: what it gives is raised, as a server that is away raises."""

    def of(self, name: str, doing: str) -> Sequenced | None:
        """A sequence, if there is one."""
        error = self.fault(doing)
        if error is not None:
            raise error
        return self.by_name.get(name)

    def put(self, name: str, sequenced: Sequenced) -> None:
        """In the place of whatever was there."""
        self.by_name[name] = sequenced

    def lose(self, name: str) -> None:
        """It is not there any more."""
        self.by_name.pop(name, None)

    def tell(self) -> None:
        """Something was written."""
        self._news.set()
        self._news = anyio.Event()

    async def hear(self, wait_s: float) -> None:
        """Until something is written."""
        with anyio.move_on_after(wait_s):
            await self._news.wait()


class MemoryTicks:
    """See ``ports/ticks.py``. Satisfies :class:`~tradekeel.ports.ticks.SharedTicks`."""

    def __init__(self, streams: MemoryStreams, name: str) -> None:
        self.name = name
        self._streams = streams

    @property
    def described(self) -> str:
        return f"the tick stream {self.name!r} in memory"

    def look(self) -> StreamHead:
        known = self._streams.of(self.name, "look")
        if known is None:
            raise StreamGone
        head = known.head
        return StreamHead(run=head.run, instruments=head.instruments, live=head.live, last=known.last)

    async def read(self, run: str, after: int, count: int) -> Piece:
        known = self._of_run(run, "read")
        ticks = list(islice((tick for position, tick in known.ticks.items() if position > after), count))
        last = ticks[-1].tick.position if ticks else after
        ended = len(ticks) < count and known.ended_at == known.last and known.ended_at in (last, after)
        return Piece(last=known.last, first=next(iter(known.ticks), 0), ticks=ticks, ended=ended)

    async def read_back(self, run: str, before: int, count: int) -> Piece:
        known = self._of_run(run, "read back")
        found = islice((tick for position, tick in reversed(known.ticks.items()) if position < before), count)
        ticks = list(found)[::-1]
        return Piece(last=known.last, first=next(iter(known.ticks), 0), ticks=ticks, ended=False)

    async def wait(self, after: int, wait_s: float) -> None:
        known = self._streams.of(self.name, "wait")
        if known is None or max(known.ticks, default=0) <= after:
            await self._streams.hear(wait_s)

    async def begin(self, head: StreamHead, data: str, writer: str) -> Begun:
        known = self._streams.of(self.name, "begin")
        is_new = known is None or (known.data, known.head.instruments, known.head.live) != (
            data,
            head.instruments,
            head.live,
        )
        if known is None or is_new:
            known = Sequenced(head, data, writer, head.last, {}, {})
            self._streams.put(self.name, known)
        known.writer = writer
        return Begun(run=known.head.run, last=known.last, counts=known.counts, is_new=is_new)

    async def append(self, writing: Writing, ticks: Sequence[SharedTick], counts: Mapping[str, Counts]) -> None:
        known = self._of_run(writing.run, "append")
        if known.head.live and known.writer != writing.writer:
            raise StreamReplaced(f"writer {known.writer}")
        fresh = [shared for shared in ticks if shared.tick.position > known.last]
        if fresh:
            known.ticks.update((shared.tick.position, shared) for shared in fresh)
            known.last, known.counts = fresh[-1].tick.position, dict(counts)
        if writing.ended:
            known.ended_at = known.last
        for position in list(islice(known.ticks, max(0, len(known.ticks) - writing.ticks_max))):
            del known.ticks[position]
        self._streams.tell()

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _of_run(self, run: str, doing: str) -> Sequenced:
        known = self._streams.of(self.name, doing)
        if known is None:
            raise StreamGone
        if known.head.run != run:
            raise StreamReplaced(f"run {known.head.run}")
        return known
