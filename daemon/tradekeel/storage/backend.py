"""What the books need of a database, so that one store, one reader and one proof run on SQLite and on PostgreSQL alike.

A :class:`Backend` says where books are, opens connections to them, and puts the driver's complaints into our words. Behind
the connection everything is the same: the SQL with ``?`` for values, amounts and JSON as exact text whatever the column is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from tradekeel.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlalchemy.engine import Connection as SqlConnection
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from tradekeel.errors import StoreError
    from tradekeel.storage.backups import Doing, Heed
    from tradekeel.storage.files import Progress
    from tradekeel.storage.schema import Standing

RESTORE = "Stop the daemon and put a copy back that you have made (`tradekeel db backup`): `tradekeel db restore`."
"""What a person does about damage."""

Values: TypeAlias = Sequence[Any]
"""What stands in the places of the ``?``."""


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that it wrote."""

    def fetchone(self) -> Any:
        """The next row, None after the last."""

    def fetchall(self) -> list[Any]:
        """All that are left."""

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...


class Connection(Protocol):
    """A connection that begins no transactions by itself. It may pass from thread to thread, one at a time."""

    def execute(self, sql: str, values: Any = (), /) -> Rows:
        """Run one statement."""

    def stream(self, sql: str, values: Any = (), /) -> Iterator[Any]:
        """The rows of a question one after the other, few of them in memory; within a transaction, beside other questions."""

    def executemany(self, sql: str, values: Any, /) -> Rows:
        """Run one statement for each of many rows; ``rowcount`` is of all of them."""

    def together(self) -> AbstractContextManager[object]:
        """What is asked within may go in one exchange: what it gave, and what it was refused for, is known behind it."""

    def rollback(self) -> None:
        """End the transaction, if one is open, and forget it."""

    def close(self) -> None:
        """Let go of it."""


class Engines(NamedTuple):
    """Pools of connections that begin no transactions by themselves; the first two may be one."""

    reading: AsyncEngine
    writing: AsyncEngine
    replica: AsyncEngine | None = None  # of a server that follows, for reading; what it has may be a little old

    async def dispose(self) -> None:
        """Close what is not in use."""
        for engine in {self.reading, self.writing, self.replica}:
            if engine is not None:
                await engine.dispose()


class Restoring(NamedTuple):
    """What whoever puts books back hands in."""

    now_ns: int
    work: Path  # a folder for what is under way, beside the books
    aside: Path  # the folder to be made for the books that are replaced
    progress: Callable[[str, int, int], None]
    point: Callable[[str], object]


class Restored(NamedTuple):
    """Books that were put back from a copy."""

    version: str  # the schema of the copy; the books have the newest
    executions: int
    records: int
    replaced: str | None  # where the books are now that were there before


class Tool(Enum):
    """What a tool does to books in which daemons have runs that go on."""

    MOVES = "moves"  # nothing that a run goes on with is changed
    WRITES = "writes"  # not where a daemon that has died may have acknowledged more than is there
    REPLACES = "replaces"  # whatever was acknowledged: these are other books now


class Backend(ABC):
    """Where books are. ``str`` names the place for people; it holds no password."""

    name: ClassVar[str]
    """One word: sqlite, postgresql, memory."""

    label: ClassVar[str]  # as its makers write it
    copy_suffix: ClassVar[str] = ".db"  # of a copy's name

    daemon: str | None = None
    """Whose books they are, where several daemons share them; None where there is but one."""

    outlives_us: ClassVar[bool] = True  # what is made there is still there when this process has ended

    ask_version: ClassVar[str]  # the question for the version of the program behind it
    begin_write: ClassVar[str]
    begin_read: ClassVar[str]  # everything read until the end is of one moment
    bytewise: ClassVar[str | None] = (
        None  # the collation that compares texts byte by byte, where a database has others, too
    )
    row_number: ClassVar[str]  # an expression that tells the rows of a table apart, a whole number
    errors: tuple[type[Exception], ...]  # all that the driver and the system raise
    sender_errors: tuple[type[Exception], ...]  # of these, what only a bug in who writes can raise

    @property
    def described(self) -> str:
        """The kind and the place, in a few words."""
        return f"{self.name} {self}"

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """SQLAlchemy's word for it, with ``?`` for values. One for all that is asked of a backend: it remembers what it made."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything to open, as far as that can be told without opening it."""

    def make_home(self) -> None:  # noqa: B027  # most places are not ours to make
        """Before books are made for whoever has no daemon that made their place: make it, where it is ours to make."""

    @abstractmethod
    def keep_name(self) -> None:
        """Books that were just made bear their name for good."""

    @abstractmethod
    def connect(self, *, read_only: bool = False) -> Connection:
        """A connection; raises one of :attr:`errors`."""

    def connect_for_long(self) -> Connection:
        """A connection for whoever is alone with the books: a statement may take as long as it takes."""
        return self.connect()

    @abstractmethod
    def journal_open(self, db: Connection) -> AbstractContextManager[None]:
        """Within a transaction: records may be deleted meanwhile, which the journal refuses otherwise."""

    @abstractmethod
    def refuse_holders(self, db: Connection, accounts: Sequence[str], doing: Tool) -> None:
        """AlreadyRunning where a daemon holds one of the accounts; until the transaction ends none comes to.

        What is more than moved, a daemon that comes back is made to see.
        """

    @abstractmethod
    def refuse_all_but_owner(self, db: Connection) -> None:
        """StoreDenied for somebody who may only trade: what deletes history is run as the owner."""

    def look(self) -> Connection:
        """A connection for a short look at books that nobody may be using, which leaves nothing behind."""
        return self.connect(read_only=True)

    def refuse_replaced(self, db: Connection, doing: str) -> None:  # noqa: B027  # a file that is open stays the same file
        """StoreUnavailable where a reading transaction no longer sees the tables that it began with, at the end of it."""

    @abstractmethod
    def make_durable(self, db: Connection) -> None:
        """Every commit on the disk before it is acknowledged, references enforced."""

    def settle(self, db: Connection) -> None:  # noqa: B027  # a server has done that before it answers
        """What a process that died has left behind is where everything else is, before anything is written on top of it."""

    @abstractmethod
    def tables(self, execute: Any) -> set[str]:
        """The names of the tables that there are. ``execute`` runs a statement on whatever connection there is."""

    @abstractmethod
    def damage(self, db: Connection, findings_max: int, *, quick: bool = False) -> Iterator[str]:
        """What is wrong with the structure that holds the rows, a sentence each; ``quick`` looks at what a start has time for."""

    @abstractmethod
    def broken_references(self, db: Connection) -> Iterator[str]:
        """Rows that refer to something that does not exist, a sentence each."""

    @abstractmethod
    def table_bytes(self, db: Connection) -> dict[str, int]:
        """How much room each table takes, its indexes included; {} where nobody can tell."""

    @abstractmethod
    def find(
        self, db: Connection, select: str, names: Sequence[str], execution: str, keys: Sequence[Values]
    ) -> Iterator[Any]:
        """The rows of an execution with these keys, in any order, in as few exchanges as there can be.

        ``select`` is a question without a WHERE, and ``names`` the columns whose values make a key.
        """

    @abstractmethod
    def engine(self) -> AsyncEngine:
        """For reading, beside whoever writes."""

    # --- for repositories ------------------------------------------------------------------------------------------------

    @abstractmethod
    def engines(self) -> Engines:
        """For whoever reads and writes beside an event loop. InputError where a library is missing."""

    @property
    def replica(self) -> str | None:
        """The server that follows and is read from, for people; None without one."""
        return None

    async def log_position(self, db: AsyncConnection) -> int:
        """How far the server's own log has come, asked behind a commit: a replica that has come so far has that commit."""
        raise InputError(f"{self.described} has no replica")

    async def has_come(self, db: AsyncConnection, position: int) -> bool:
        """Whether a replica has come so far."""
        raise InputError(f"{self.described} has no replica")

    @abstractmethod
    async def interrupt(self, raw: Any) -> None:
        """Ask for the end of what runs on a driver's connection: it fails then, or was done just before."""

    @abstractmethod
    def cut_off(self, raw: Any) -> None:
        """End a driver's connection that no longer answers: whoever waits for it is told of an error."""

    @abstractmethod
    async def held_by(self, db: AsyncConnection, account: str) -> str | None:
        """Who may write for the account instead of us, None if nobody. Raises AlreadyRunning where nobody may for now, with why.

        Asked within a transaction that writes: until its end nobody comes to hold it who would not see what it wrote.
        """

    @abstractmethod
    def is_busy(self, error: BaseException | None) -> bool:
        """Whether somebody else is writing, so that one may try again."""

    def is_undone(self, error: BaseException | None) -> bool:
        """Whether the server took a whole transaction back because another was in its way, so that it may be done once more."""
        return False

    def is_failed_disk(self, error: BaseException | None) -> bool:
        """Whether a disk of this machine did not take what was written: what is written there from then on proves nothing."""
        return False

    @abstractmethod
    def refused(self, error: BaseException | None) -> str | None:
        """Which kind of rule the database held a row to, in a word: unique, reference, rule; None where it was none."""

    # --- copies and migrations -------------------------------------------------------------------------------------------

    @abstractmethod
    def copy(self, target: Path, progress: Progress | None = None) -> None:
        """Copy the books to ``target`` beside a running daemon: the view of one moment, and nobody waits for it.

        Raises StoreUnavailable or StoreCorrupt; a file at ``target`` is never replaced.
        """

    def restore(self, copy: Path, when: Restoring) -> Restored:
        """Put a copy in the place of the books, which are put aside; whoever calls is alone with them.

        The copy is proved first: StoreCorrupt for one that is damaged, StoreTooNew; nothing was changed then.
        """
        raise InputError(f"{self.described}: a copy of these books is not put back by Tradekeel")

    # --- migrations: see tradekeel.storage.migrating --------------------------------------------------------------------

    @abstractmethod
    def migrating(self, goes_on: Callable[[], object], heed: Heed) -> AbstractContextManager[SqlConnection]:
        """A transaction in which the schema may be changed, alone: whoever else wants to waits for its end.

        ``goes_on`` is called now and then while it lasts. While it is waited for, ``heed`` may raise to end that.
        """

    def beyond_tables(self, metadata: MetaData) -> Iterator[str]:
        """The statements that make what the schema has here beside its tables, indexes and their triggers."""
        return iter(())

    @abstractmethod
    def check_migration(self, execute: Any, standing: Standing, *, backup: bool) -> None:
        """Whether it may be begun: StoreUnavailable without the rights, without room for the copy, beside somebody who writes."""

    @property
    @abstractmethod
    def backup_described(self) -> str:
        """Where the copy before a migration goes, in words."""

    @abstractmethod
    def back_up_before(self, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
        """Copy the books before a migration from ``version``; the copy's name. Each try makes one, and trims."""

    @abstractmethod
    def forget_backups(self, kept: int, *, newest: str) -> None:
        """Delete all but the last ``kept`` of these copies."""

    def after_migration(self, connection: SqlConnection) -> tuple[str, ...]:
        """What is to be put right whenever the schema was looked after, in its transaction; what a person should know of that."""
        return ()

    @abstractmethod
    def in_our_words(self, error: Exception, doing: str) -> StoreError:
        """What the driver or the system said, as the store error it means: what happened, where, and what to do."""

    @abstractmethod
    def last_words(self, db: Connection) -> None:
        """Let go of the connection of a store that has failed: nothing is written any more."""


def backend_at(place: Backend | Path) -> Backend:
    """Where books are: a path is a SQLite file."""
    if isinstance(place, Backend):
        return place
    from tradekeel.storage.sqlite import Sqlite

    return Sqlite(place)
