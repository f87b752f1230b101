"""Books in memory: the same tables and the same SQL, gone with the process."""

from __future__ import annotations

import sqlite3
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import finalize

from tradekeel.storage import files
from tradekeel.storage.backend import Engines
from tradekeel.storage.sqlite import Sqlite

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_NUMBERS = count(1)


class Memory(Sqlite):
    """A SQLite database that is nowhere. Its connections share it, and it is there as long as this object."""

    name: ClassVar[str] = "memory"
    outlives_us: ClassVar[bool] = False

    def __init__(self) -> None:
        number = next(_NUMBERS)
        super().__init__(Path(f"memory-{number}"))
        self._address = f"file:tradekeel-memory-{number}?mode=memory&cache=shared"
        self._keeper = self._connected()
        # Nobody has to close it: who lets go of the object lets go of the books. (From 3.13 on Python warns of connections that
        # are left to the garbage collector.)
        self._forgotten = finalize(self, self._keeper.close)

    def __str__(self) -> str:
        return "memory"

    @property
    def described(self) -> str:
        return "memory"

    def exists(self) -> bool:
        return bool(self.tables(self._keeper.execute))

    def keep_name(self) -> None:
        """It has none."""

    def _connected(self) -> files.FileConnection:
        db = sqlite3.connect(
            self._address,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=files.FileConnection,
        )
        db.text_factory = files.as_it_stands
        db.create_collation(files.BY_AMOUNT, files.compare_amounts)
        return db

    def connect(self, *, read_only: bool = False) -> files.FileConnection:
        db = self._connected()
        if read_only:
            db.execute("PRAGMA query_only = ON")
        return db

    def look(self) -> files.FileConnection:
        return self.connect(read_only=True)

    def make_durable(self, db: Any) -> None:
        db.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Forget everything, once all other connections are closed."""
        self._forgotten()

    def engines(self) -> Engines:
        # One connection for all: those that share a database in memory would lock each other out of its tables.
        one = self._pool(1, read_only=False)
        return Engines(one, one)

    async def held_by(self, db: AsyncConnection, account: str) -> str | None:
        return None  # nobody else can reach it
