"""One call to a database, with a deadline that holds whatever the server does.

Cancellation never reaches a driver in the middle of what it says: who is interrupted between two bytes of a protocol leaves a
statement running on the server, or a connection in a state that nobody knows. Instead the work is shielded, and somebody else
watches the time. When it is over, or the caller is cancelled, the watcher first asks the server to end the statement, and then
takes the connection away; the work fails with the driver's own error, which is put into our words here. A commit that has
begun is let be a little longer, because afterwards nobody could say what became of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tradekeel.errors import (
    InputError,
    StoreTimeout,
    StoreUnanswered,
    StoreUnavailable,
    named,
)
from tradekeel.storage.backend import Backend

REPLICA_SHARE = 0.5
"""How much of its deadline a call spends on getting a connection to a replica; then it asks the primary."""

COMMIT_GRACE_S = 1.0
"""How much longer than its deadline a commit may take."""

GENTLE_S = 0.25
"""How long a statement that was asked to end may take for it."""

BUSY_PAUSE_S = 0.005

T = TypeVar("T")
Work = Callable[[AsyncConnection, "Call"], Awaitable[T]]
Replica = tuple[AsyncEngine, Work[T]]
"""A replica's connections, and what is asked there."""


class ReplicaBehind(Exception):  # it never leaves a call
    """The replica has not got what must be seen."""


class Call:
    """What the work and its watcher know of each other."""

    def __init__(self, backend: Backend, doing: str, timeout_s: float) -> None:
        self.backend, self.doing, self.timeout_s = backend, doing, timeout_s
        self.raw: Any = None  # the driver's connection, as soon as there is one
        self.begun = False  # something was said on it that a second try would repeat
        self.committing = False
        self.given_up = False
        self.timed_out = False
        self.done = anyio.Event()
        self.acquiring = anyio.CancelScope()
        self.at_replica = False
        self.replica_error: Exception | None = None  # why the primary was asked in its place

    # --- transactions ----------------------------------------------------------------------------------------------------

    async def begin(self, connection: AsyncConnection, *, writing: bool) -> None:
        """Begin a transaction; whoever else is writing is waited for."""
        statement = self.backend.begin_write if writing else self.backend.begin_read
        while True:
            try:
                await connection.exec_driver_sql(statement)
                self.begun = True
                return
            except DBAPIError as error:
                if self.given_up or not self.backend.is_busy(error.orig):
                    raise
            await anyio.sleep(BUSY_PAUSE_S)

    async def commit(self, connection: AsyncConnection) -> None:
        """Make it durable: from here on it is not given up lightly."""
        if self.given_up:
            raise StoreTimeout("given up")  # whoever gave up says it better
        self.committing = True
        await connection.exec_driver_sql("COMMIT")
        self.committing = False

    # --- the watcher -------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """See that the call ends."""
        try:
            with anyio.move_on_after(self.timeout_s):
                await self.done.wait()
                return
            self.timed_out = True
        finally:
            if not self.done.is_set():
                with anyio.CancelScope(shield=True):
                    await self._give_up()

    async def _give_up(self) -> None:
        self.given_up = True
        self.acquiring.cancel()
        if self.committing and await self._is_done_within(COMMIT_GRACE_S):
            return
        if self.raw is not None and not self.committing:
            await self.backend.interrupt(self.raw)
            if await self._is_done_within(GENTLE_S):
                return
        while not self.done.is_set():
            if self.raw is not None:
                self.backend.cut_off(self.raw)
            await self._is_done_within(GENTLE_S)

    async def _is_done_within(self, limit_s: float) -> bool:
        with anyio.move_on_after(limit_s):
            await self.done.wait()
        return self.done.is_set()

    # --- the work ----------------------------------------------------------------------------------------------------------

    async def run(self, engine: AsyncEngine, work: Work[T], replica: Replica[T] | None = None) -> T:
        """See the module. Where there is a replica, it is asked first, and the primary if that one fails; only work that changes
        nothing may be. Raises StoreError, or what the work raises of ours.
        """
        results: list[T] = []
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch)
            try:
                results.append(await self._somewhere(engine, work, replica))
            except Exception as error:  # noqa: BLE001  # raised below, outside of the task group
                failure = error
                await _unless_cancelled()
            finally:
                self.done.set()
        if results:
            return results[0]
        assert failure is not None
        raise self._explained(failure) from failure

    async def _somewhere(self, engine: AsyncEngine, work: Work[T], replica: Replica[T] | None) -> T:
        if replica is not None:
            self.at_replica = True
            failures: tuple[type[Exception], ...] = (DBAPIError, ReplicaBehind, StoreTimeout, *self.backend.errors)
            try:
                return await self._twice_if_stale(*replica)
            except failures as error:
                if self.given_up:
                    raise
                self.replica_error = error
            self.at_replica = self.begun = False
            self.raw = None
        return await self._twice_if_stale(engine, work)

    async def _twice_if_stale(self, engine: AsyncEngine, work: Work[T]) -> T:
        """Once more where nothing was done for certain: a server that was started again has forgotten its connections, and the
        first to find out tries again; and so does whose whole transaction was taken back because another was in its way.
        """
        try:
            return await self._once(engine, work)
        except DBAPIError as error:
            stale = error.connection_invalidated and not self.begun
            undone = self.backend.is_undone(error.orig) and not self.committing and not self.at_replica
            if self.given_up or not (stale or undone):
                raise
        self.raw = None
        self.begun = False
        return await self._once(engine, work)

    async def _once(self, engine: AsyncEngine, work: Work[T]) -> T:
        connection: AsyncConnection | None = None
        with self.acquiring, anyio.move_on_after(self.timeout_s * REPLICA_SHARE if self.at_replica else None):
            connection = await engine.connect()
        if connection is None:
            raise StoreTimeout("no connection")
        with anyio.CancelScope(shield=True):
            try:
                self.raw = (await connection.get_raw_connection()).driver_connection
                result = await work(connection, self)
            finally:
                await connection.close()
        return result

    def _explained(self, error: Exception) -> Exception:
        where = f"{self.backend.replica if self.at_replica else self.backend.described}: {self.doing}"
        if self.committing and isinstance(error, DBAPIError) and self.backend.is_failed_disk(error.orig):
            return StoreUnanswered(
                f"{where}: the disk failed in the commit ({_first_line(error.orig)}). Whether it was written shows when the "
                "books are opened anew: look at the disk first (space, mount, errors in the kernel log)"
            )
        if self.committing:
            return StoreUnanswered(
                f"{where}: the answer to the commit was lost ({named(error)}). It was written whole, or not at all: read before "
                "you write it again"
            )
        if self.timed_out:
            return StoreTimeout(f"{where} took longer than {self.timeout_s:g} s, and was given up. Nothing was written")
        if isinstance(error, DBAPIError):
            refusal = self.backend.refused(error.orig)
            if refusal is not None:
                return InputError(f"{where}: {_REFUSED[refusal]} ({_first_line(error.orig)})")
            if isinstance(error.orig, self.backend.errors):
                return self.backend.in_our_words(error.orig, self.doing)
            return error
        if isinstance(error, self.backend.errors):
            return self.backend.in_our_words(error, self.doing)
        if isinstance(error, PoolTimeout):
            return StoreUnavailable(f"{where}: no connection was free in time")
        return error


async def _unless_cancelled() -> None:
    """A call that was cancelled ends with that, and not with what its interrupted statement says."""
    await anyio.lowlevel.checkpoint_if_cancelled()


_REFUSED = {
    "unique": "there is already such a row",
    "reference": "it refers to something that does not exist, or something else refers to it",
    "rule": "a value breaks a rule of the table",
}


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]
