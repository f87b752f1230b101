"""Books that are opened when they are first needed, and again when that failed: for who goes on without them meanwhile.

Opening has a deadline of its own, that of calls which name none; the call that opens them has its own behind that. Where there
are no books, a call that writes makes them, and one that reads says that there are none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, TypeVar

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import StoreUnavailable
from tradekeel.ports.repositories.paging import TIMEOUT_S
from tradekeel.storage.backend import Backend
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.database import Clock, Database

T = TypeVar("T")


class LateDatabase(Database):
    """See the module. A call on books that are not open opens them; what that raises, the call raises."""

    def __init__(
        self,
        place: Backend | Path,
        *,
        now_ns: Clock,
        by: str = "script",
        timeout_s: float = TIMEOUT_S,
        migrate: bool = True,
    ) -> None:
        super().__init__(place, now_ns=now_ns, by=by, timeout_s=timeout_s, migrate=migrate)
        self.may_open = False
        self._is_open = False
        self._opening = anyio.Lock()
        self._root = self  # whose connections these are

    async def open(self, *, make: bool = True) -> Self:
        await super().open(make=make)
        self._is_open = True
        return self

    async def close(self) -> None:
        self._is_open = False
        await super().close()

    async def be_open(self, *, make: bool = False) -> None:
        """Open them, unless they are; with ``make`` they are made where there are none. Errors as those of :meth:`open`."""
        root = self._root
        if not root.may_open:
            raise StoreUnavailable(f"{self.backend} is not connected: `async with` the adapter, or connect() it")
        if not root._is_open:
            async with root._opening:
                if not root._is_open:
                    await root.open(make=make)
        self._engines, self._replicas = root._engines, root._replicas

    async def read(
        self,
        doing: str,
        work: Callable[[AsyncConnection], Awaitable[T]],
        timeout_s: float | None = None,
        *,
        one_moment: bool = False,
        at_primary: bool = False,
    ) -> T:
        await self.be_open()
        return await super().read(doing, work, timeout_s, one_moment=one_moment, at_primary=at_primary)

    async def write(self, action: str, work: Callable[[Change], Awaitable[T]], timeout_s: float | None = None) -> T:
        await self.be_open(make=True)
        return await super().write(action, work, timeout_s)
