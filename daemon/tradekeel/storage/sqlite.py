"""Books in a SQLite file: one writer, and readers beside it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, ClassVar

from tradekeel.errors import InputError, StoreCorrupt, StoreUnavailable
from tradekeel.storage import files
from tradekeel.storage.backend import Backend, Connection, Engines, Restored, Restoring, Tool, Values
from tradekeel.storage.backups import Doing, Heed, back_up, copies_of, size_of
from tradekeel.storage.files import BUSY_TIMEOUT_MS, CHECKED_AT_START_BYTES_MAX, Progress
from tradekeel.storage.torn import is_torn

if TYPE_CHECKING:
    import aiosqlite
    from sqlalchemy.engine import Connection as SqlConnection
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from tradekeel.errors import StoreError
    from tradekeel.storage.schema import Standing

_FILE = "file"
"""Under which a pool remembers what a connection has opened."""

READERS_MAX = 4
"""Connections that read beside each other, each in a thread of its own."""

ROWS_AT_ONCE = 1_000
"""Rows that a connection's thread hands over together."""

BUSY_SHORTLY_MS = 50
"""How long a repository's connection waits inside SQLite, where nobody can call it back; it tries again until its deadline."""

STEPS_BETWEEN_SIGNS = 1_000_000
"""Instructions of SQLite's machine between two signs that a migration goes on: some hundredths of a second."""


class Sqlite(Backend):
    """A file."""

    name = "sqlite"
    label = "SQLite"
    ask_version: ClassVar[str] = "SELECT sqlite_version()"
    begin_write: ClassVar[str] = "BEGIN IMMEDIATE"
    begin_read: ClassVar[str] = "BEGIN"
    row_number: ClassVar[str] = "rowid"
    errors = (sqlite3.Error, OSError)
    sender_errors = (
        sqlite3.IntegrityError,
        sqlite3.DataError,  # larger than any row may be
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,  # a type that the driver does not know
    )

    def __init__(self, path: Path, make_state: Callable[[], object] | None = None) -> None:
        """``make_state`` makes the state directory that the file is in; a folder that a person named is his to make."""
        self.path = path
        self.state = path.parent  # whose daemon alone writes while it runs
        self._make_state = make_state

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def dialect(self) -> Dialect:
        from sqlalchemy.dialects import sqlite

        return sqlite.dialect()

    def exists(self) -> bool:
        return self.path.exists()

    def make_home(self) -> None:
        if self._make_state is not None:
            self._make_state()

    def keep_name(self) -> None:
        files.sync(self.path.parent)  # the file's name is as durable as its content

    def connect(self, *, read_only: bool = False) -> files.FileConnection:
        return files.connect(self.path, read_only=read_only)

    @contextmanager
    def journal_open(self, db: Connection) -> Iterator[None]:
        from tradekeel.storage.tables import JOURNAL_TRIGGERS

        [trigger] = [statement for statement in JOURNAL_TRIGGERS if "journal_refuses_delete" in statement]
        db.execute("DROP TRIGGER journal_refuses_delete")
        yield
        db.execute(trigger)

    def refuse_holders(self, db: Connection, accounts: Sequence[str], doing: Tool) -> None:
        """Books of a state directory are held by its lock, which whoever asks has taken."""

    def refuse_all_but_owner(self, db: Connection) -> None:
        """A file belongs to whoever may write it."""

    def look(self) -> files.FileConnection:
        return files.connect_to_look(self.path)

    def make_durable(self, db: Any) -> None:
        files.make_durable(db)

    def settle(self, db: Connection) -> None:
        """Fold the log into the file. Where an fsync has failed, the system may still show what never reached the disk: a commit
        behind that in the same log would be lost with it when the power goes. Whoever reads is not waited for.
        """
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def tables(self, execute: Any) -> set[str]:
        return {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def damage(self, db: Connection, findings_max: int, *, quick: bool = False) -> Iterator[str]:
        if quick:
            pages, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
            if pages * size > CHECKED_AT_START_BYTES_MAX:
                return
        for (text,) in db.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check({findings_max})"):
            if text != "ok":
                yield str(text)

    def broken_references(self, db: Connection) -> Iterator[str]:
        for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
            yield f"{table}, row {rowid}: what it refers to in {parent} does not exist"

    def table_bytes(self, db: Connection) -> dict[str, int]:
        try:
            rows = db.execute(
                "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
                "WHERE s.aggregate = TRUE GROUP BY m.tbl_name"
            ).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table: dbstat" in str(error):  # this SQLite was built without it
                return {}
            raise
        return {str(name): int(size) for name, size in rows}

    def find(
        self, db: Connection, select: str, names: Sequence[str], execution: str, keys: Sequence[Values]
    ) -> Iterator[Any]:
        sql = f"{select} WHERE execution = ? AND {' AND '.join(f'{name} = ?' for name in names)}"
        for key in keys:
            yield from db.execute(sql, (execution, *key))

    def engine(self) -> AsyncEngine:
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import StaticPool

        # One connection, in its own thread: questions come one after another.
        return create_async_engine("sqlite+aiosqlite://", async_creator=self._reading, poolclass=StaticPool)

    async def _reading(self) -> aiosqlite.Connection:
        import aiosqlite

        connection = await aiosqlite.connect(
            files.address(self.path, "ro"), uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1_000
        )
        await connection.execute("PRAGMA query_only = ON")
        return connection

    # --- for repositories ------------------------------------------------------------------------------------------------

    def engines(self) -> Engines:
        return Engines(self._pool(READERS_MAX, read_only=True), self._pool(1, read_only=False))

    def _pool(self, size: int, *, read_only: bool) -> AsyncEngine:
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import AsyncAdaptedQueuePool

        async def connected() -> aiosqlite.Connection:
            import aiosqlite

            failed: list[Exception] = []

            def connect() -> sqlite3.Connection:
                try:
                    return self._for_repositories(read_only)
                except self.errors as error:  # raised here, it would leave the driver's thread to end by itself
                    failed.append(error)
                    return sqlite3.connect(":memory:")

            connection = aiosqlite.Connection(connect, iter_chunk_size=ROWS_AT_ONCE)
            connection._thread.daemon = True  # a script that forgets to close its books ends all the same
            await connection
            if failed:
                await connection.close()
                raise failed[0]
            return connection

        engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=connected,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=size,
            max_overflow=0,
            pool_timeout=WAIT_MAX_S,
        )
        self._follow_the_name(engine)
        return engine

    def _follow_the_name(self, engine: AsyncEngine) -> None:
        """A connection stays with the file that it has opened, also when `tradekeel db restore` has put other books in its place:
        what is written there then would be in no books. So each call looks, and is given a new one.
        """
        from sqlalchemy import event
        from sqlalchemy.exc import DisconnectionError

        def opened(connection: Any, record: ConnectionPoolEntry) -> None:
            record.info[_FILE] = files.file_at(self.path)

        def used(connection: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
            if record.info[_FILE] != files.file_at(self.path):
                raise DisconnectionError(f"other books are in the place of {self}")

        event.listen(engine.sync_engine, "connect", opened)
        event.listen(engine.sync_engine, "checkout", used)

    def _for_repositories(self, read_only: bool) -> sqlite3.Connection:
        db = self.connect(read_only=read_only)
        db.execute(f"PRAGMA busy_timeout = {BUSY_SHORTLY_MS}")
        if not read_only:
            self.make_durable(db)
        return db

    async def interrupt(self, raw: Any) -> None:
        await raw.interrupt()

    def cut_off(self, raw: Any) -> None:
        """A disk that does not answer leaves nothing to cut: its thread is waited for."""

    async def held_by(self, db: AsyncConnection, account: str) -> str | None:
        # Nobody else writes while this transaction lasts, and a daemon that has just taken its lock waits for that before
        # it reads (Store.open): so the lock need only be looked at. A restore waits for it, too, before it puts others in place.
        holder = self._holder()
        if holder is None and (await db.get_raw_connection()).info[_FILE] != files.file_at(self.path):
            raise StoreUnavailable(
                f"{self}: nothing was written, because other books were put in their place: try again"
            )
        return holder

    def _holder(self) -> str | None:
        """Who has the directory that the file is in, whatever link leads to it. StoreUnavailable for books that are torn."""
        real = Path(os.path.realpath(self.path))
        for folder in dict.fromkeys((self.state, real.parent)):
            holder = holder_of(folder / "lock")
            if holder is not None:
                return holder
        if is_torn(real, real.parent / "restoring"):
            raise StoreUnavailable(
                f"{self}: nothing is written there, because a `tradekeel db restore` was killed: run it again, or start the "
                "daemon, which goes on with the books from before it"
            )
        return None

    def is_busy(self, error: BaseException | None) -> bool:
        return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def is_failed_disk(self, error: BaseException | None) -> bool:
        return _code(error) == sqlite3.SQLITE_IOERR

    def refused(self, error: BaseException | None) -> str | None:
        return _REFUSALS.get(getattr(error, "sqlite_errorname", ""))

    def copy(self, target: Path, progress: Progress | None = None) -> None:
        files.back_up(self.path, target, progress)

    def restore(self, copy: Path, when: Restoring) -> Restored:
        from tradekeel.storage.restoring import put_back

        return put_back(self.path, copy, when)

    # --- migrations ------------------------------------------------------------------------------------------------------

    def check_migration(self, execute: Any, standing: Standing, *, backup: bool) -> None:
        """Beside a daemon nobody gets here: it holds the state directory, and SQLite has one writer at a time."""
        closed = [
            str(place) for place in (self.path, self.path.parent) if place.exists() and not os.access(place, os.W_OK)
        ]
        if closed:
            raise StoreUnavailable(
                f"{self} cannot be migrated: this user may not write {' and '.join(closed)}. Nothing was changed."
            )
        if backup and standing.version is not None:
            copies_of(self.path).refuse_without_room(size_of(execute))

    @property
    def backup_described(self) -> str:
        return f"{self} is copied into {copies_of(self.path).folder}"

    def back_up_before(self, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
        return back_up(self.path, version, now_ns, kept, doing, heed)

    def forget_backups(self, kept: int, *, newest: str) -> None:
        copies_of(self.path).forget(kept, newest=newest)

    @contextmanager
    def migrating(self, goes_on: Callable[[], object], heed: Heed) -> Iterator[SqlConnection]:
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import StaticPool

        def sign() -> int:
            goes_on()
            return 0  # anything else would interrupt the statement

        with closing(self.connect()) as db:
            db.set_progress_handler(sign, STEPS_BETWEEN_SIGNS)
            # A rebuilt table would take its referring rows with it; references are checked before the commit instead.
            db.execute("PRAGMA foreign_keys = OFF")
            engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            with _as_the_driver_says(), engine.connect() as connection, connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise StoreCorrupt(f"the migration would leave rows without what they refer to: {tuple(broken)}")

    def in_our_words(self, error: Exception, doing: str) -> StoreError:
        assert isinstance(error, sqlite3.Error | OSError)
        return files.in_our_words(error, self.path, doing)

    def last_words(self, db: Connection) -> None:
        # SQLite folds the log into the file when the last connection is closed. On a disk that has just failed, the log
        # may be the only good copy: a connection that cannot write goes last.
        with suppress(sqlite3.Error), closing(files.connect(self.path, read_only=True)) as last:
            last.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.close()
        db.close()


class InMemory(Sqlite):
    """A file on a file system in memory: nothing of it outlives the machine's next start, nor :meth:`forget`.

    ``state`` is the state directory of the daemon whose books they are.
    """

    name = "memory"

    def __init__(self, path: Path, state: Path) -> None:
        super().__init__(path)
        self.state = state

    @property
    def described(self) -> str:
        return "memory (nothing is kept)"

    def connect(self, *, read_only: bool = False) -> files.FileConnection:
        """Whoever may make the books makes their folder: a script has no daemon that did it before."""
        if not read_only:
            self._have_folder()
        return super().connect(read_only=read_only)

    def restore(self, copy: Path, when: Restoring) -> Restored:
        raise InputError(f"{self.described}: nothing can be put back there")

    def remove(self) -> None:
        """Leave nothing behind."""
        rmtree(self.path.parent, ignore_errors=True)

    def forget(self) -> None:
        """Begin with nothing, in a folder that only this user can look into. StoreUnavailable where somebody else has made it."""
        self.remove()
        try:
            self.path.parent.mkdir(mode=0o700)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path.parent}, where books in memory would be, cannot be made anew ({error}): another user may have made "
                "it. Have it removed (as root), or keep the books in a file (storage.enabled = true)"
            ) from error

    def _have_folder(self) -> None:
        """PermissionError where somebody else has made it: everybody may write beside it, and it holds what is ours to see."""
        folder = self.path.parent
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        there = folder.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or stat.S_IMODE(there.st_mode) & 0o077:
            raise PermissionError(f"{folder} is no folder of this user's alone: have it removed (as root)")


WAIT_MAX_S = 3_600.0
"""Whoever waits for a connection has a deadline of his own."""

_REFUSALS = {
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "reference",
    "SQLITE_CONSTRAINT_CHECK": "rule",
    "SQLITE_CONSTRAINT_NOTNULL": "rule",
    "SQLITE_TOOBIG": "rule",
}

_NO_DAEMONS = (b"command", b"backtest")  # behind the process id in a lock, as statedir/layout.py writes it there
_LOCK = struct.Struct("hhqqi")  # struct flock of <fcntl.h>: type, whence, start, length, pid


def holder_of(lock: Path) -> str | None:
    """Who holds the lock of a state directory, None if nobody does. Takes nothing and changes nothing."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
        if kind == fcntl.F_UNLCK:
            return None
        pid, *words = os.pread(descriptor, 32, 0).split() or (b"",)
        who = f"a {words[0].decode()}" if words and words[0] in _NO_DAEMONS else "a daemon"
        return f"{who} (process {pid.decode()})" if pid.isdigit() else who
    finally:
        os.close(descriptor)


def _code(error: BaseException | None) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF


@contextmanager
def _as_the_driver_says() -> Iterator[None]:
    """SQLAlchemy wraps what SQLite says of the disk; whoever opens the file wants to hear it plainly. Our bugs stay bugs."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(error.orig, sqlite3.Error) and code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT):
            raise error.orig from error
        raise
