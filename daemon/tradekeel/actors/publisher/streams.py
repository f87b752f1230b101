"""The journal as streams of events: each execution's records behind a cursor, and the cursor is where the stream ends.

Nothing is kept here that a kill could take: what was published is asked of the stream itself, at the start and whenever an
answer does not come or is not the one that was expected. Where the stream is gone, it is filled again from the journal, as far
back as one is kept. Where it is ahead of the journal, or tells otherwise than it, it is of other books (an older copy was put
back, say), and begins anew; so does one that ends before what is in the books, because the rest was archived meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

from tradekeel.actors.publisher.patience import BooksFailed, Patience, read
from tradekeel.actors.publisher.runs import Runs
from tradekeel.ports.publication import Event, JournalSource, Publication, Run

PAGE = 200
"""Records that are read and published at once: some milliseconds of work."""

LAST_TYPE = "execution_closed"


class Stream:
    """One execution's stream."""

    def __init__(self, execution: str, random: Random) -> None:
        self.execution = execution
        self.sent: int | None = None  # where it ends; None: that is to be asked
        self.ended = 0  # behind which number it wanted to go on, when it was last asked to go on elsewhere
        self.anew = False  # it may begin behind ``sent``
        self.was_there = False
        self.patience = Patience(random)


class Streams:
    """See the module."""

    name = "events"

    def __init__(
        self,
        source: JournalSource,
        publication: Publication,
        runs: Runs,
        *,
        keep: int,
        look_every_s: float,
        random: Random,
    ) -> None:
        """About ``keep`` events are kept of each execution; every ``look_every_s`` it is seen whether they are still there."""
        self._source, self._publication, self._runs = source, publication, runs
        self._keep, self._look_every_s, self._random = keep, look_every_s, random
        self._streams: dict[str, Stream] = {}
        self._opened: set[str] = set()  # accounts
        self._over: set[str] = set()  # executions whose last record is published, or that are not ours to publish
        self._looked_s = -inf
        self.published = 0
        self.replaced = 0  # streams that were begun anew, because they were of other books
        self.refilled = 0  # streams that were gone

    @property
    def behind(self) -> int:
        """How many records are durable and not published."""
        reached = self._runs.reached
        return sum(max(0, reached.get(s.execution, 0) - (s.sent or 0)) for s in self._streams.values())

    @property
    def trouble(self) -> Patience | None:
        """That of one that does not go on."""
        return next((s.patience for s in self._streams.values() if s.patience.reason), None)

    def due_s(self) -> float:
        """When there is something to do: -inf for at once."""
        times = [s.patience.not_before_s for s in self._streams.values() if self._is_behind(s)]
        if self._runs.are_missing or len(self._opened) < len(self._runs.of):
            times.append(self._runs.due_s)
        return min([self._looked_s + self._look_every_s, *times])

    async def step(self, now_s: float) -> bool:
        """A page of each stream that is behind; whether there is more to do at once."""
        await self._open(now_s)
        if now_s - self._looked_s >= self._look_every_s:
            self._looked_s = now_s
            await self._look()
        more = False
        for stream in list(self._streams.values()):
            if self._is_behind(stream) and stream.patience.is_over(now_s):
                try:
                    more |= await self._advance(stream, now_s)
                except BooksFailed as error:
                    stream.patience.failed(error, now_s)
        return more

    async def finish(self, now_s: float) -> None:
        """Everything that is left, also of a stream that was to wait a while: what it waited for may be there by now."""
        for stream in self._streams.values():
            stream.patience.went_well()
        while await self.step(now_s):
            pass

    def _is_behind(self, stream: Stream) -> bool:
        return stream.sent is None or stream.sent < self._runs.reached.get(stream.execution, 0)

    # --- which streams ------------------------------------------------------------------------------------------------

    async def _open(self, now_s: float) -> None:
        """Streams for the executions that have none yet."""
        await self._runs.look(now_s)
        for account, runs in self._runs.of.items():
            if account not in self._opened:
                unfinished = await self._unfinished(runs)
                self._over.update(run.row.execution for run in runs[len(unfinished) :])
                self._opened.add(account)
            for run in runs:
                execution = run.row.execution
                if execution not in self._over and execution not in self._streams:
                    self._streams[execution] = Stream(execution, self._random)

    async def _unfinished(self, runs: Sequence[Run]) -> Sequence[Run]:
        """From the newest back to the last one that was published whole. Where nothing was ever published: the newest alone."""
        begun = 1
        for number, run in enumerate(runs):
            newest = await self._publication.newest(run.row.execution)
            if newest is not None and newest.type == LAST_TYPE:
                return runs[: max(number, 1)]  # the newest one is looked at more closely, whatever it is
            if newest is not None:
                begun = number + 1
        return runs[:begun]

    # --- one stream ---------------------------------------------------------------------------------------------------

    async def _advance(self, stream: Stream, now_s: float) -> bool:
        execution = stream.execution
        if stream.sent is None:
            await self._place(stream)
        sent, reached = stream.sent, self._runs.reached[execution]
        assert sent is not None
        if sent >= reached:
            return False
        events = await read(self._source.events(execution, sent, PAGE))
        if not events:
            stream.patience.not_yet(now_s)  # acknowledged, and waits for the books' server: there is nothing wrong
            return False
        end = await self._append(stream, sent, events)
        if end != events[-1].sequence:
            return True  # somebody has been at it: where it ends is looked at anew
        self.published += len(events)
        stream.patience.went_well()
        if events[-1].type == LAST_TYPE:
            del self._streams[execution]
            self._over.add(execution)
        return end < reached

    async def _append(self, stream: Stream, sent: int, events: Sequence[Event]) -> int:
        """Where it ends then; until that is known, and if it is not what was expected, nobody believes to know it."""
        stream.sent, anew = None, stream.anew
        end = await self._publication.append(stream.execution, sent, events, keep=self._keep, anew=anew)
        if end == (events[-1].sequence if events else sent):
            stream.sent, stream.anew = end, anew and not events
        else:
            stream.ended = end
        return end

    async def _place(self, stream: Stream) -> None:
        """Find out where it ends, and whether it is of these books."""
        execution, reached = stream.execution, self._runs.reached[stream.execution]
        archived = self._runs.archived(execution)
        newest = await self._publication.newest(execution)
        ended, stream.ended = stream.ended, 0
        if ended > (0 if newest is None else newest.sequence):
            # Somebody has taken its newest entries away, and it gives none of their ids again.
            if archived <= ended <= reached:
                stream.sent, stream.anew, stream.was_there = ended, False, True
                return
            await self._publication.forget(execution)
            self.replaced += 1
            newest = None
        if newest is not None and not await self._goes_on(execution, newest, archived):
            await self._publication.forget(execution)
            self.replaced += 1
            newest = None
        if newest is None:
            stream.sent, stream.anew = max(archived, reached - self._keep), True
            self.refilled += stream.was_there
        else:
            stream.sent, stream.anew = newest.sequence, False
        stream.was_there = True

    async def _goes_on(self, execution: str, newest: Event, archived: int) -> bool:
        """Whether it is of these books, and they can go on behind it: the records up to ``archived`` are not in them."""
        if newest.sequence < max(archived, 1):
            return False
        if newest.sequence == archived:
            return True  # by all that can be told
        mine = await read(self._source.events(execution, newest.sequence - 1, 1))
        return bool(mine) and mine[0].is_like(newest)

    async def _look(self) -> None:
        """A server may have lost what it had, and what comes next may be long in coming."""
        for stream in list(self._streams.values()):
            if stream.sent is not None and not stream.anew:
                await self._append(stream, stream.sent, ())
