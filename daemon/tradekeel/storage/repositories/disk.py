"""What a script does when the disk under its books fails: it stops at the first time, as a daemon's store does.

After an fsync that failed, a system may forget which pages it still has to write, and later commits "succeed" on top of what is
not there. So the connection is not used again, nothing more is written, and the log stays as it is for whoever looks at it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import StoreUnavailable, named
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend, Engines


class Disk:
    """How the disk was found by those who write. Shared by all copies of a :class:`Database`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.said: str | None = None  # how it failed; None while it has not
        self._keeper: AsyncConnection | None = None

    def refuse_if_failed(self, doing: str) -> None:
        """StoreUnavailable where it has."""
        if self.said is not None:
            raise StoreUnavailable(
                f"{self._backend.described}: {doing}: nothing is written there, because the disk failed before ({self.said}). "
                "Look at it (space, mount, errors in the kernel log), then close the books and open them anew"
            )

    @asynccontextmanager
    async def watched(self, db: AsyncConnection, engines: Engines) -> AsyncIterator[None]:
        """Somebody writes. Where the disk fails, the connection is let go of for good."""
        try:
            yield
        except DBAPIError as error:
            if error.orig is not None and self._backend.is_failed_disk(error.orig):
                self.said = self.said or named(error.orig)
                await self._keep_log(engines)
                await db.invalidate()
            raise

    async def let_go(self) -> None:
        """Nobody holds another connection any more."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.invalidate()
            await keeper.close()

    async def _keep_log(self, engines: Engines) -> None:
        """SQLite folds the log into the file when the last connection is closed, unless that one cannot write: it is the one that
        is kept. On a disk that has just failed, the log may be the only good copy.
        """
        if self._keeper is not None or engines.reading is engines.writing:
            return
        failures: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, *self._backend.errors)
        try:
            self._keeper = await engines.reading.connect()
            await self._keeper.execute(select(tables.executions.c.execution).limit(1))
        except failures:
            pass  # books that cannot even be read are folded by nobody
