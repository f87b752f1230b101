"""The recorder: the one writer of the books.

Groups that arrive while a commit is under way are committed together by the next one (group commit): the disk sets
the pace, and the batch grows with the load. An answer means durable. A group that a constraint refuses goes back to
its sender alone; an I/O error fails the batch and this actor, and with it the process: after a failed fsync nothing
in memory can be trusted.

Books on a server may be away. Commits are kept on this side then, by the books themselves; an account cannot be loaded, since
what waits is missing there. Whoever asks for one waits until the server has everything, and the others trade on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.domain.protocol import Commit, JournalsGrew, LoadAccount, LoadedAccount, StoreStands
from tradekeel.domain.records import Group
from tradekeel.errors import GroupRefused, StoreAway
from tradekeel.runtime.actor import Actor, ActorRef, Envelope, MailboxLimits, Reply
from tradekeel.runtime.clock import FOREVER_S
from tradekeel.runtime.loop import Worker

UNTIL_STOPPED_S = FOREVER_S


class Written(Protocol):
    """Where a committed group stands in its journal."""

    @property
    def last(self) -> int:
        """Sequence of its last record."""


class Books(Protocol):
    """What the recorder needs of a store; every method blocks and runs on the recorder's own thread."""

    def commit(self, groups: Sequence[Group]) -> Sequence[Any]:
        """Make groups durable in one transaction: for each its place in the journal, or GroupRefused."""

    def load(self, account: str, progress: Callable[[], object]) -> LoadedAccount:
        """Everything that an account needs to go on. StoreAway where that cannot be had for now.

        ``progress`` is called for each page of a long journal; what it raises ends the reading.
        """

    def close(self) -> None:
        """Close the file."""

    @property
    def tend_every_s(self) -> float | None:
        """How often :meth:`tend` wants to be called; None where there is nothing to keep up."""

    def tend(self) -> bool:
        """What is to be done though nobody commits: a lease renewed, what waits brought to the server. Whether there is more."""

    def stands(self) -> StoreStands:
        """How it is with the store."""

    @property
    def asks(self) -> bool:
        """Whether a server is being asked at this moment, within deadlines of the books' own. Any thread may ask."""


class _NobodyWaits(Exception):
    """Whoever asked for an account has gone: the rest of its journal need not be read."""


class _Tend(Struct, frozen=True):
    """It is time to look after the books."""


class _Done(Struct, frozen=True):
    """The disk is free again; whoever waited was answered already."""


class Recorder(Actor):
    """See the module."""

    mailbox_limits = MailboxLimits(reliable_max=4_096)
    batch_max = 4_096

    def __init__(
        self,
        open_books: Callable[[], Books | None],
        worker: Worker,
        groups_max: int,
        control: ActorRef | None = None,
        publisher: ActorRef | None = None,
    ) -> None:
        """``open_books`` gives none where it gave up for a stop: one that came before there was anybody to hear it.

        ``control`` is told how it is with the books, whenever that changes; ``publisher`` that journals have grown.
        """
        self._open_books = open_books
        self._worker = worker
        self._groups_max = groups_max
        self._waiting: list[tuple[Commit | LoadAccount, Reply | None]] = []
        self._put_off: list[tuple[LoadAccount, Reply | None]] = []  # until the books' server has all that waits for it
        self._busy = False
        self._done = 0  # pieces of work that the thread has come back from
        self._pages = 0  # of the journal, read while accounts were loaded: one piece of work may be many
        self._books: Books | None = None
        self._control = control
        self._publisher = publisher
        self._told: StoreStands | None = None
        self._to_tend = False

    async def on_start(self) -> None:
        books = self._books = await self._worker.call(self._open_books)
        if books is None:
            self.system.request_stop()
            await self.clock.sleep(UNTIL_STOPPED_S)  # there is nothing to start the others with
            return
        self.resources.push_async_callback(self._close)
        self._tell()
        if books.tend_every_s is not None:
            self.spawn(self._tend_in_time, books.tend_every_s)

    async def _tend_in_time(self, every_s: float) -> None:
        while True:
            await self.clock.sleep(every_s)
            self.post(_Tend())

    async def _close(self) -> None:
        if self._books is not None:
            await self._worker.call(self._books.close)

    async def handle_batch(self, envelopes: list[Envelope]) -> None:
        """All groups of a batch of mail go into one transaction, up to a question between them."""
        for message, reply in envelopes:
            await self.handle(message, reply)
        if self._busy:
            return
        self._put_off_loads()
        if self._waiting:
            self._begin()
        elif self._to_tend:
            self._busy, self._to_tend = True, False
            self.spawn(self._tend, name="tend")

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case Commit() | LoadAccount():
                self._waiting.append((message, reply))
            case _Done():
                self._busy = False
                self._done += 1
                self._tell()
            case _Tend():
                self._to_tend = True
            case _:
                raise TypeError(f"the recorder does not know {type(message).__name__}")

    def _put_off_loads(self) -> None:
        """While the server is away, or has not got everything yet, accounts wait for it, and whoever commits goes first."""
        asked = self._put_off or (self._waiting and isinstance(self._waiting[0][0], LoadAccount))
        if not asked or self._books is None:
            return
        if self._books.stands().is_direct:
            self._waiting[:0] = self._put_off
            self._put_off.clear()
            return
        while self._waiting and isinstance(self._waiting[0][0], LoadAccount):
            message, reply = self._waiting.pop(0)
            assert isinstance(message, LoadAccount)
            self._put_off.append((message, reply))
            self._to_tend = True  # now and not at the next look: the server may be back

    def _begin(self) -> None:
        """One thing at a time, in the order it came: an account is loaded with everything that was sent for it before.

        A restarted executor would otherwise go on from books that a commit of the one before it has yet to change.
        """
        self._busy = True
        first, reply = self._waiting[0]
        if isinstance(first, LoadAccount):
            del self._waiting[0]
            self.spawn(self._load, first, reply, name="load")
            return
        batch: list[tuple[Group, Reply | None]] = []
        for message, reply in self._waiting[: self._groups_max]:
            if not isinstance(message, Commit):
                break
            batch.append((message.group, reply))
        del self._waiting[: len(batch)]
        self.spawn(self._commit, tuple(batch), name="commit")

    async def _commit(self, batch: tuple[tuple[Group, Reply | None], ...]) -> None:
        assert self._books is not None
        results = await self._worker.call(self._books.commit, [group for group, _ in batch])
        for (_, reply), result in zip(batch, results, strict=True):
            if reply is None:
                if isinstance(result, GroupRefused):
                    raise result  # nobody waits for the answer: the defect must not pass unseen
            elif isinstance(result, GroupRefused):
                reply.fail(result)
            else:
                reply.send(result)
        if self._publisher is not None and self._publisher.alive:
            self._tell_publisher(self._publisher, batch, results)
        self.post(_Done())

    def _tell_publisher(self, publisher: ActorRef, batch: Sequence[tuple[Group, Reply | None]], results: Any) -> None:
        """How far the journals go, in one slot of its mailbox: it reads them in its own time, and nobody waits for it."""
        written = zip(batch, results, strict=True)
        reached = {
            group.execution: result.last for (group, _), result in written if not isinstance(result, GroupRefused)
        }
        publisher.latest("journals", JournalsGrew(reached), JournalsGrew.merged)

    async def _tend(self) -> None:
        """A piece at a time, so that whoever commits has a turn in between."""
        assert self._books is not None
        self._to_tend = await self._worker.call(self._books.tend)
        self.post(_Done())

    def _tell(self) -> None:
        """Control hears of every change, the newest last."""
        assert self._books is not None
        stands = self._books.stands()
        if self._control is not None and stands != self._told and self._control.alive:
            self._told = stands
            self._control.latest("store", stands)

    async def _load(self, asked: LoadAccount, reply: Reply | None) -> None:
        """A long journal takes its time, and a stop must not wait for it: that is over when its executor has gone."""
        assert self._books is not None
        assert reply is not None

        def note_page() -> None:
            self._pages += 1  # on the recorder's own thread: nobody else counts
            if reply.expired:
                raise _NobodyWaits

        if not reply.expired:
            with suppress(_NobodyWaits):
                try:
                    reply.send(await self._worker.call(self._books.load, asked.account, note_page))
                except StoreAway:
                    self._put_off.append((asked, reply))
        self.post(_Done())

    @property
    def works(self) -> bool:
        """A server that is slow to answer is given up by the books themselves; a disk that hangs only the watchdog sees."""
        return self._busy and not (self._books is not None and self._books.asks)

    @property
    def progress(self) -> int:
        """What has come back from the thread. Mail is none: it comes in time, and says nothing of a thread that hangs."""
        return self._done + self._pages

    def settled(self) -> bool:
        return not self._busy and not self._waiting and super().settled()
