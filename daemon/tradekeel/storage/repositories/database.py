"""Books that a script opens itself: it reads them, and writes into them, each write a transaction that the journal tells of."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, TypeVar

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.ports.repositories.paging import TIMEOUT_S
from tradekeel.storage import schema
from tradekeel.storage.backend import Backend, Engines, backend_at
from tradekeel.storage.repositories.calls import Call
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.disk import Disk
from tradekeel.storage.repositories.making import make_books, refuse_to_make
from tradekeel.storage.repositories.replicas import ReplicaUse

T = TypeVar("T")
Clock = Callable[[], int]
"""UTC now, in nanoseconds."""

TIMEOUT_MAX_S = 3_600.0


class Database:
    """Open it with :meth:`open`, or use it as ``async with Database(place, now_ns=clock) as books``.

    ``by`` stands in the journal beside everything that is written. In a program of one's own ``time.time_ns`` is the clock.
    """

    def __init__(
        self,
        place: Backend | Path,
        *,
        now_ns: Clock,
        by: str = "script",
        timeout_s: float = TIMEOUT_S,
        migrate: bool = True,
    ) -> None:
        """Without ``migrate`` no books are made where there are none."""
        self.backend = backend_at(place)
        self.migrate = migrate
        self.now_ns = now_ns
        self.by = by
        self.timeout_s = sensible(timeout_s)
        self._engines: Engines | None = None
        self._replicas: ReplicaUse | None = None
        self._at_primary = False
        self._disk = Disk(self.backend)

    async def open(self, *, make: bool = True) -> Self:
        """Open the books, and make them where there are none, unless they are only to be read (``make``).

        Making them takes some tenths of a second, once, and has a deadline of its own: MAKING_TIMEOUT_S. StoreUnavailable
        (also without books, where none are made), StoreTooOld for books of an older version, which the daemon or
        `tradekeel db upgrade` brings up to date, StoreCorrupt, StoreTooNew, StoreTimeout, StoreUnanswered.
        """
        doing = "opening it"
        if not self.backend.exists():
            await self._make(doing, make)
        self._engines = self.backend.engines()
        self._replicas = None if self._engines.replica is None else ReplicaUse(self.backend, self.now_ns)
        self._disk.said = None
        try:
            standing = await self._call(doing, None).run(self._engines.reading, self._standing)
            if standing.version is None:
                await self._make(doing, make)
            else:
                schema.refuse_other(standing, self.backend)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise
        return self

    async def _make(self, doing: str, asked_for: bool) -> None:
        if self.backend.outlives_us and not (asked_for and self.migrate):
            raise refuse_to_make(self.backend, doing, may_migrate=self.migrate)
        await make_books(self.backend, self.now_ns, doing)

    async def close(self) -> None:
        """Let go of all connections. It can be opened again."""
        engines, self._engines = self._engines, None
        if engines is not None:
            await engines.dispose()
        await self._disk.let_go()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def fresh(self) -> Self:
        """The same open books, read at the primary: for what somebody else may have written a moment ago. Not to be closed."""
        other = copy.copy(self)
        other._at_primary = True
        return other

    @property
    def replica_said(self) -> str | None:
        """Why the replica is left alone for now; None while it is asked, or where there is none."""
        return None if self._replicas is None else self._replicas.said

    async def ask_replica(self, doing: str, work: Callable[[AsyncConnection], Awaitable[T]], timeout_s: float) -> T:
        """Ask the replica and nobody else, however it stands."""
        replica = self._open_engines().replica
        if replica is None:
            raise InputError(f"{self.backend.described} has no replica")

        async def ask(db: AsyncConnection, call: Call) -> T:
            return await work(db)

        call = self._call(doing, timeout_s)
        call.at_replica = True
        return await call.run(replica, ask)

    async def _standing(self, db: AsyncConnection, call: Call) -> schema.Standing:
        return await db.run_sync(lambda sync: schema.standing_of(sync.exec_driver_sql, self.backend))

    # --- calls -----------------------------------------------------------------------------------------------------------

    async def read(
        self,
        doing: str,
        work: Callable[[AsyncConnection], Awaitable[T]],
        timeout_s: float | None = None,
        *,
        one_moment: bool = False,
        at_primary: bool = False,
    ) -> T:
        """Ask something; with ``one_moment`` all of it sees the same state of the books.

        Where there is a replica it is asked, unless it is said to be ``at_primary``: what this object has written is seen either
        way, what others wrote a moment ago only there. It may be asked twice, so it must change nothing.
        """

        async def ask(db: AsyncConnection, call: Call) -> T:
            if one_moment:
                await call.begin(db, writing=False)
            return await work(db)

        engines, call, use = self._open_engines(), self._call(doing, timeout_s), self._replicas
        if use is None or engines.replica is None or at_primary or self._at_primary or not use.may_be_asked():
            return await call.run(engines.reading, ask)
        try:
            return await call.run(engines.reading, ask, (engines.replica, use.checked(ask)))
        finally:
            use.learn_from(call)

    async def write(self, action: str, work: Callable[[Change], Awaitable[T]], timeout_s: float | None = None) -> T:
        """Change something, all of it or nothing; ``action`` says in the journal what was done.

        Errors: see :mod:`tradekeel.ports.repositories`. Once a disk did not take it, nothing more is written before the books are
        opened anew (StoreUnavailable): a system that has failed to write a page may call the next try a success.
        """

        async def change(db: AsyncConnection, call: Call) -> T:
            self.refuse_if_failed(action)  # it may have failed while this waited for its turn
            async with self._disk.watched(db, engines):
                await call.begin(db, writing=True)
                changed = Change(db, self.backend, self.now_ns(), action, self.by)
                result = await work(changed)
                await changed.journal()
                if self._replicas is None:
                    await call.commit(db)
                else:
                    await self._replicas.committing(call, db)
            return result

        self.refuse_if_failed(action)
        engines = self._open_engines()
        return await self._call(action, timeout_s).run(engines.writing, change)

    def refuse_if_failed(self, doing: str) -> None:
        """StoreUnavailable where a write has found that the disk fails: books that are only half of use are not up."""
        self._disk.refuse_if_failed(doing)

    def _call(self, doing: str, timeout_s: float | None) -> Call:
        return Call(self.backend, doing, self.timeout_s if timeout_s is None else sensible(timeout_s))

    def _open_engines(self) -> Engines:
        if self._engines is None:
            raise StoreUnavailable(f"{self.backend} is not open: `async with Database(place, now_ns=clock) as books`")
        return self._engines


def sensible(timeout_s: float) -> float:
    """The deadline of a call, in seconds. InputError for one that makes no sense."""
    if not 0 < timeout_s <= TIMEOUT_MAX_S:
        raise InputError(f"timeout_s is {timeout_s}: allowed are numbers above 0, up to {TIMEOUT_MAX_S:g} seconds")
    return timeout_s
