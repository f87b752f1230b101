"""When a replica is read from: as long as it answers, and never behind what one has written oneself.

Behind each commit the primary is asked how far its log has come. A read that comes later asks the replica first whether it has
come so far; if it has not, the primary answers. Once it has, it is not asked again until the next write. Where nobody can say how
far a write of ours has come, because its answer was lost, reads go to the primary until another write has been answered.

A replica that fails is left alone for a while. The read that found out goes to the primary within its own deadline, and whoever
reads is told nothing: an older answer, or none, is not what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import named
from tradekeel.storage.backend import Backend
from tradekeel.storage.repositories.calls import Call, ReplicaBehind, Work

T = TypeVar("T")

REST_NS: Final = 30_000_000_000
"""How long a replica that failed is left alone."""

_CONFLICT: Final = (
    "40001"  # the replica ended a question that stood in the way of what it had to repeat: it is well itself
)


class ReplicaUse:
    """See the module. One belongs to one open database. ``now_ns`` is UTC; a clock that is set back only ends a rest."""

    def __init__(self, backend: Backend, now_ns: Callable[[], int]) -> None:
        self._backend, self._now_ns = backend, now_ns
        self._failed_ns: int | None = None
        self._written: int | None = None  # how far a replica must have come; None: whatever it has will do
        self._lost = False  # nobody knows how far it must have come
        self.said: str | None = None
        """Why it is left alone."""

    def may_be_asked(self) -> bool:
        """Whether a read may go to the replica."""
        if self._lost:
            return False
        return self._failed_ns is None or not 0 <= self._now_ns() - self._failed_ns < REST_NS

    def checked(self, work: Work[T]) -> Work[T]:
        """The work, where the replica has all that we have written; ReplicaBehind else."""

        async def ask(db: AsyncConnection, call: Call) -> T:
            wanted = self._written
            if wanted is not None:
                if not await self._backend.has_come(db, wanted):
                    raise ReplicaBehind
                if self._written == wanted:
                    self._written = None
            return await work(db, call)

        return ask

    def learn_from(self, call: Call) -> None:
        """What a call has found out about the replica."""
        error = call.replica_error
        if error is None and not (call.at_replica and call.timed_out):
            if call.at_replica:
                self._failed_ns = self.said = None
            return
        conflict = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _CONFLICT
        if isinstance(error, ReplicaBehind) or conflict:
            return
        self._failed_ns = self._now_ns()
        why = "it did not answer in time" if error is None else named(getattr(error, "orig", None) or error)
        self.said = f"{self._backend.replica} is not read from for {REST_NS // 10**9} s: {why}"

    async def committing(self, call: Call, db: AsyncConnection) -> None:
        """Commit, and learn how far a replica must come to have it."""
        failures: tuple[type[Exception], ...] = (DBAPIError, *self._backend.errors)
        try:
            await call.commit(db)
        except BaseException:
            self._lost = True
            raise
        try:
            position = await self._backend.log_position(db)
        except failures:
            self._lost = True  # it is durable all the same: who reads it goes to where it was written
        else:
            self._written, self._lost = max(position, self._written or 0), False
