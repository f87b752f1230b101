"""A copy put in the place of a file's books: proved first, put in place by one rename, and what was there is kept.

Everything that may fail is done in a folder of its own beside the books. Then the books that are there are made one file, the
log folded into it, and that file gets a second name, which stays with it when the proved copy takes its first. So there are the
old books or the new ones at any moment, and the old ones are never deleted.

The log of damaged books may get lost where somebody tries to fold it, and a log would be played into any file that it lies
beside: so it is copied first, and goes before the copy comes. Whoever opens the books next puts it back if a process was
killed in between (:mod:`tradekeel.storage.torn`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tradekeel.errors import InputError, StoreCorrupt, StoreError
from tradekeel.storage import schema
from tradekeel.storage.backend import RESTORE, Backend, Restored, Restoring, backend_at
from tradekeel.storage.files import connect, connect_to_look, copy_database, in_our_words, sync
from tradekeel.storage.naming import free_path
from tradekeel.storage.store import Store
from tradekeel.storage.torn import is_swapped, log_of, make_whole
from tradekeel.storage.verify import verify


def put_back(path: Path, copy: Path, doing: Restoring) -> Restored:
    """See the module. Raises InputError, StoreError; nothing was changed then."""
    _refuse_nonsense(path, copy)
    work = doing.work
    try:
        _finish_earlier(path, work, doing.aside)
        _make_folder(work)
        proved, version, restored = _prove(work / path.name, copy, doing)
        doing.point("restore.proved")
        if path.exists() or log_of(path).exists():
            _keep_present(path, work / "old")
            doing.point("restore.kept")
        _swap(path, proved)
        doing.point("restore.swapped")
        replaced = _finish_earlier(path, work, doing.aside)
        sync(work.parent)
    except (sqlite3.Error, OSError) as error:
        raise in_our_words(error, path, f"putting {copy} in its place") from error
    return Restored(version, restored.executions, restored.records, None if replaced is None else str(replaced))


def _refuse_nonsense(path: Path, copy: Path) -> None:
    if not copy.is_file():
        raise InputError(f"{copy} is no file: name a copy that `tradekeel db backup` has made")
    if zipfile.is_zipfile(copy):
        raise InputError(
            f"{copy} is a copy of books on a server, and these are in a file: bring them over with `tradekeel db export` there "
            "and `tradekeel db import` here"
        )
    if path.exists() and copy.samefile(path):
        raise InputError(f"{copy} are the books themselves")


# --- the copy --------------------------------------------------------------------------------------------------------


def _prove(made: Path, copy: Path, doing: Restoring) -> tuple[Path, str, Proved]:
    """A copy of the copy, brought up to date and proved: nobody can change it any more."""
    try:
        with closing(connect_to_look(copy)) as source:
            version = schema.version_of(source.execute, backend_at(copy))
            if version is None:
                raise InputError(f"{copy} is an empty database: there are no books in it")
            schema.refuse_newer(version, backend_at(copy))
            copy_database(source, made, lambda done, total: doing.progress("copying", done, total))
    except sqlite3.Error as error:
        said = in_our_words(error, copy, "reading it")
        if isinstance(said, StoreCorrupt):
            said = _damaged(copy, str(error))
        raise said from error
    proved = _proved(backend_at(made), copy, doing)
    with closing(connect(made)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode = DELETE")  # one file, which one rename puts in place
    owner = made.parent.parent.stat()
    if os.geteuid() == 0:
        os.chown(made, owner.st_uid, owner.st_gid)  # root puts back what a daemon of another user opens
    sync(made)
    return made, version, proved


class Proved(NamedTuple):
    """What a proof has read."""

    executions: int
    records: int


def _proved(made: Backend, copy: Path, doing: Restoring) -> Proved:
    try:
        Store.open(made, now_ns=doing.now_ns).close()
        verdict = verify(made, doing.progress)
    except StoreCorrupt as error:
        raise _damaged(copy, _of_the_copy(str(error), made, copy)) from error
    except StoreError as error:
        said = _of_the_copy(str(error), made, copy)
        raise type(error)(f"{copy} is not put in place, and nothing was changed: {said}") from error
    if not verdict.ok:
        raise _damaged(copy, _of_the_copy(verdict.in_short(), made, copy))
    return Proved(verdict.executions, verdict.records)


def _damaged(copy: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(f"{copy} is damaged, and nothing was changed: {what.rstrip('. ')}. Put another copy back.")


def _of_the_copy(said: str, made: Backend, copy: Path) -> str:
    """What was found in our own copy, which is gone, as what it is in the one that was given; what to do is said anew."""
    return said.replace(str(made), str(copy)).replace(RESTORE, "").strip()


# --- the books that are there ----------------------------------------------------------------------------------------


def _keep_present(path: Path, kept: Path) -> None:
    """Another name for the file, so that it outlives its replacement; its log is folded into it, if that can be.

    A script may be in the middle of a write that it began before the state directory was taken. It is waited for, and what it
    has written is in what is kept; whoever comes later sees that the directory is taken.
    """
    _make_folder(kept)
    if path.exists():
        os.link(path, kept / path.name)
    log, copied = log_of(path), log_of(kept / path.name)
    if not log.exists():
        sync(kept)
        sync(kept.parent)
        return
    _copy_log(log, copied)  # before anybody opens the books: those that are damaged may lose it by that
    if not path.exists():
        return  # nothing to fold it into
    is_ours = False
    try:
        with closing(connect(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            is_ours = True
            _copy_log(log, copied)
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if not is_ours and _is_busy(error):
            copied.unlink()  # nothing was touched, and somebody goes on writing
            raise
        return  # that damaged are they, or somebody has them open: the log goes with them
    copied.unlink(missing_ok=True)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _copy_log(log: Path, copied: Path) -> None:
    partial = copied.with_name("log")
    shutil.copy2(log, partial)
    sync(partial)
    os.replace(partial, copied)
    sync(copied.parent)
    sync(copied.parent.parent)


def _swap(path: Path, proved: Path) -> None:
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    sync(path.parent)
    os.replace(proved, path)
    sync(path.parent)


def _finish_earlier(path: Path, work: Path, aside: Path) -> Path | None:
    """Books that were replaced are put aside, and where; those of a process that was killed before are whole again."""
    make_whole(path, work)
    old = work / "old"
    put = None
    if is_swapped(path, work) and old.exists() and any(old.iterdir()):
        put = free_path(aside)
        put.parent.mkdir(mode=0o700, exist_ok=True)
        os.rename(old, put)
        sync(put)
        sync(put.parent)
    if work.exists():
        shutil.rmtree(work)
    return put


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
