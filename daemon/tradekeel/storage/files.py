"""The file itself: connections with the right pragmas, whole copies, and SQLite's complaints in our words."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tradekeel.errors import StoreBlocked, StoreCorrupt, StoreError, StoreUnavailable
from tradekeel.storage.backend import RESTORE
from tradekeel.storage.checksums import journal_crc

BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for somebody else's lock. There is one writer, so only a copy being made can hold one."""

CACHE_KIB = 8 * 1024
WAL_KEPT_BYTES_MAX = 64 * 1024 * 1024
"""A write-ahead log that a long reader let grow is cut back to this."""

CHECKPOINT_PAGES = 4_000
"""The log is folded back into the file every so many pages (16 MB): rarely enough to stay out of nearly every commit's way,
and pages that many commits touch are written back once."""

CHECKED_AT_START_BYTES_MAX = 4 * 1024 * 1024
"""A file up to this size has its structure checked at every start; a larger one when it is verified."""

COPY_PAGES = 1_024

_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_UNREADABLE_TEXT = "Could not decode to UTF-8"  # the driver's own complaint: it has no code

Progress = Callable[[int, int], object]
"""Called with what is done and what there is in all."""


def address(path: Path, mode: str) -> str:
    """The URI of a file; spaces, question marks and the like in its name stay part of the name."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


class FileConnection(sqlite3.Connection):
    """The driver's own, with what books need of a connection beside that."""

    def stream(self, sql: str, values: Any = ()) -> Iterator[Any]:
        """The rows of a question, each read when it is asked for."""
        return self.execute(sql, values)

    def together(self) -> AbstractContextManager[None]:
        """There are no exchanges that could be saved."""
        return nullcontext()


def connect_to_look(path: Path) -> FileConnection:
    """A connection for a short look at books that nobody may be using, which leaves no file behind that was not there.

    Where there is no write-ahead log, SQLite would make one even to read. There, too, nobody has the file open, so that it is
    read as it stands; if somebody opens it meanwhile, what is seen is not to be trusted.
    """
    if path.with_name(path.name + "-wal").exists():
        return connect(path, read_only=True)
    return sqlite3.connect(f"{address(path, 'ro')}&immutable=1", uri=True, isolation_level=None, factory=FileConnection)


def connect(path: Path, *, read_only: bool = False) -> FileConnection:
    """A connection that begins no transactions by itself. It may pass from thread to thread, one at a time."""
    db = sqlite3.connect(
        address(path, "ro" if read_only else "rwc"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        factory=FileConnection,
    )
    db.text_factory = as_it_stands
    db.create_collation(BY_AMOUNT, compare_amounts)
    if read_only:
        db.execute("PRAGMA query_only = ON")
    return db


def as_it_stands(text: bytes) -> str:
    """Text with its damage in it, so that whoever checks the row can name it; the driver would only complain about the file."""
    return text.decode("utf-8", "surrogateescape")


BY_AMOUNT = "by_amount"
"""The collation of texts that are amounts."""


def compare_amounts(one: str, other: str) -> int:
    """Which of two amounts is less, to the last digit: SQLite holds them as text, and its own numbers have 16 digits.

    A text that is none comes behind those that are: whoever reads its row names the damage.
    """
    if one == other:
        return 0
    first, second = _sortable(one), _sortable(other)
    return (first > second) - (first < second)


def _sortable(text: str) -> tuple[bool, Decimal, str]:
    try:
        amount = Decimal(text)
    except ArithmeticError:
        return True, _ZERO, text
    return (False, amount, "") if amount.is_finite() else (True, _ZERO, text)


_ZERO = Decimal(0)


def file_at(place: Path | int) -> tuple[int, int] | None:
    """What tells a file, by its path or a descriptor, from any other that comes to bear its name; None where there is none."""
    try:
        found = os.stat(place)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_durable(db: sqlite3.Connection) -> None:
    """Write-ahead log, every commit on the disk before it is acknowledged, references enforced."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log (journal mode stays {mode})")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}")
    db.execute("PRAGMA temp_store = MEMORY")


def copy_database(source: sqlite3.Connection, target: Path, progress: Progress | None = None) -> None:
    """A whole, consistent copy at ``target``, on the disk when this returns; a half-made one never bears the name.

    It is for its maker alone, wherever it is put: the state directory closed the books to everybody else.
    A copy that exists already under that name is kept and an error raised. The source may be in use.
    Pages are copied as they are, so the copy is looked at before it has its name: of a damaged source there is none, and what
    SQLite says of the damage is raised.
    """
    if target.exists():
        raise _exists(target)
    partial = target.with_name(target.name + ".partial")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        partial.touch(0o600)
        ours = file_at(partial)

    def report(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            source.backup(copy, pages=COPY_PAGES, progress=report)
            # One file is easier to carry about than three; the store turns the log on again.
            copy.execute("PRAGMA journal_mode = DELETE")
            _refuse_damaged(copy)
        if file_at(partial) != ours:
            raise made_twice(target)
        sync(partial)
        give_name(partial, target)
        sync(target.parent)
    except sqlite3.OperationalError as error:
        if file_at(partial) != ours:
            raise made_twice(target) from error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_FULL:
            raise
        raise StoreUnavailable(
            f"{target} was not made, because its disk is full ({error}): free some space there, or name another place."
        ) from error
    finally:
        if file_at(partial) == ours:
            # Of a copy that came to nothing SQLite leaves its journal, too.
            for beside in ("", "-journal", "-wal", "-shm"):
                partial.with_name(partial.name + beside).unlink(missing_ok=True)


def give_name(partial: Path, target: Path) -> None:
    """A file that bears the name by now, because somebody else was faster, stays what it is."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # not every file system has second names
        if target.exists():
            raise _exists(target) from None
        partial.rename(target)


def made_twice(target: Path) -> StoreUnavailable:
    return StoreUnavailable(f"{target} was not made here: somebody else is making it. Choose another name.")


def _exists(target: Path) -> StoreUnavailable:
    return StoreUnavailable(f"{target} exists already: a backup is never overwritten. Choose another name.")


def _refuse_damaged(copy: sqlite3.Connection) -> None:
    """The structure of each page, as SQLite sees it, and the checksum of each record, for where pages hold nothing but values.

    Some five seconds for a million records. That the tables follow from them is for a restore, or for `verify`, to prove.
    """
    copy.text_factory = as_it_stands
    [found] = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damage(" ".join(str(found).split()))
    if copy.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'journal'").fetchone() is None:
        return  # there are no books in it, which is for others to say
    for *values, crc in copy.execute(_RECORDS):
        if journal_crc(*values) != crc:
            raise _damage(f"record {values[1]} of execution {values[0]} has a checksum that is off")


_RECORDS = "SELECT execution, sequence, type, ts_ns, correlation_id, payload, crc FROM journal"


def _damage(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """What the system says of something new, while it is written, in our words: see :func:`cannot_be_written`."""
    try:
        yield
    except OSError as error:
        raise cannot_be_written(target, error) from error


def cannot_be_written(target: Path, error: OSError) -> StoreBlocked:
    """What to say where the place of something new is at fault, and not the books."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreBlocked(
            f"{target} was not made, because its disk is full ({error.strerror}): free some space there, or name another place."
        )
    return StoreBlocked(
        f"{target} cannot be written ({error.strerror or error}): its folder must exist and be writable for this user."
    )


def back_up(path: Path, target: Path, progress: Progress | None = None) -> None:
    """Copy the books at ``path`` to ``target`` beside a running daemon: the view of one moment, and nobody waits for it.

    Raises StoreUnavailable or StoreCorrupt; a file at ``target`` is never replaced.
    """
    try:
        with closing(connect(path, read_only=True)) as db:
            # Held until the copy is whole: without it, every commit of the daemon would make the copy begin anew.
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            copy_database(db, target, progress)
    except (sqlite3.Error, OSError) as error:
        raise in_our_words(error, path, f"copying it to {target}, which was not made") from error


def sync(path: Path) -> None:
    """Put a file's content, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def in_our_words(error: sqlite3.Error | OSError, path: Path, doing: str) -> StoreError:
    """What SQLite or the system said, as the store error it means: what happened, where, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _CORRUPT_CODES or _UNREADABLE_TEXT in str(error):
        return StoreCorrupt(f"{path} is damaged ({doing}: {error}). {RESTORE}")
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"the disk is full ({doing} {path}: {error}). Free some space and start again.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(f"{path} is in use by another program ({doing}: {error}). End it and start again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or isinstance(error, PermissionError):
        return StoreUnavailable(
            f"{path} cannot be written ({doing}: {error}). Its folder must be writable for this user, and not read-only."
        )
    if code == sqlite3.SQLITE_CANTOPEN or isinstance(error, FileNotFoundError):
        return StoreUnavailable(
            f"{path} cannot be opened ({doing}: {error}). Its folder must exist and be writable for this user."
        )
    return StoreUnavailable(
        f"{path}: {doing} failed: {error}. Look at the disk (space, mount, errors in the kernel log)."
    )
