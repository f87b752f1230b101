"""`tradekeel db backup`, `restore` and `wipe`: a copy of the books, one put in their place, and a clean sweep."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.alone import alone_at, alone_with_books, refuse_while_batches_wait, when
from tradekeel.bootstrap.place import Place
from tradekeel.errors import InputError, StoreError, StoreUnavailable
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.faults import point
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Restoring
from tradekeel.storage.files import Progress, sync
from tradekeel.storage.naming import free_path
from tradekeel.storage.sqlite import InMemory, Sqlite
from tradekeel.storage.wiping import look
from tradekeel.storage.wiping import wipe as storage_wipe

Steps = Callable[[str, int, int], None]
"""Called with the name of a step, what is done of it, and what there is in all."""


def backup(place: Place, copy: Path, progress: Progress) -> dict[str, Any]:
    """Copy the books beside a running daemon; what was copied where. InputError where the copy cannot be put."""
    books = place.books()
    if os.path.lexists(copy):
        raise InputError(f"{copy} exists already, and a backup is never overwritten: choose another name")
    there = copy.absolute().parent
    if (
        not there.exists()
    ):  # a name that is misspelt, or a disk that is not mounted: a copy beside the books would help nobody
        raise InputError(f"there is no folder {there}: make it, or mount what it is on, before a copy is put there")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} is no folder in which this user (uid {os.geteuid()}) may make {copy.name}")
    books.copy(copy, progress)
    return {"books": str(books), "copy": str(copy.absolute()), "bytes": copy.stat().st_size}


WAITING_ASIDE = "--set-waiting-aside"
_OTHERWISE = (
    f". Where these books are gone, {WAITING_ASIDE} puts the batches into the backups: they are acknowledged, and will be in no "
    "books"
)


def restore(
    place: Place, copy: Path, environ: Mapping[str, str], progress: Steps, *, set_waiting_aside: bool = False
) -> dict[str, Any]:
    """Put a copy in the place of the books, which are put aside. Raises InputError, AlreadyRunning, StoreError.

    Batches that wait for the books' server belong behind the books that are there: with some it is refused, or they are put
    aside, too, as soon as the copy is in its place. A process that is killed between the two leaves batches that the next start
    refuses where they do not follow, and the next try puts aside.
    """
    now_ns = SystemClock().now_ns()
    with alone_at(place, environ) as statedir:
        books = place.where
        if not set_waiting_aside:
            refuse_while_batches_wait(books, statedir, _OTHERWISE)
        doing = Restoring(now_ns, statedir.restoring, statedir.backups / f"replaced-{when(now_ns)}", progress, point)
        restored = books.restore(copy, doing)
        put_aside = set_waiting_aside and not isinstance(books, Sqlite)
        waiting = _put_waiting_aside(statedir, now_ns) if put_aside else None
    return {
        "books": str(books),
        "copy": str(copy.absolute()),
        "schema": restored.version,
        "executions": restored.executions,
        "records": restored.records,
        "replaced": restored.replaced,
        "waiting": waiting,
    }


def _put_waiting_aside(statedir: StateDir, now_ns: int) -> str | None:
    """Where the batches are now, None where there was nothing of that kind. StoreUnavailable."""
    if not statedir.spool.is_dir():
        return None
    aside = free_path(statedir.backups / f"waiting-{when(now_ns)}")
    try:
        statedir.spool.rename(aside)
        for folder in (statedir.backups, statedir.path):
            sync(folder)
    except OSError as error:
        raise StoreUnavailable(
            f"the copy is in its place, but what waits in {statedir.spool} cannot be put aside: {error}. Do it by hand before "
            "you start the daemon."
        ) from error
    return str(aside)


def wipe(place: Place, accounts: Collection[str] | None, environ: Mapping[str, str], progress: Steps) -> dict[str, Any]:
    """Delete everything that follows from the journal, if there is any, after a backup.

    Raises InputError, AlreadyRunning, StoreError.
    """
    now_ns = SystemClock().now_ns()
    with alone_with_books(place, environ) as (books, statedir):
        seen = look(books, accounts)
        if not seen:
            return {
                "books": str(books),
                "backup": None,
                "restorable": False,
                "executions": 0,
                "closed": [],
                "deleted": {},
            }
        # Named so that no migration takes it for one of its own copies, of which only the last few stay.
        copy = free_path(statedir.backups / f"before-wipe-{when(now_ns)}{books.copy_suffix}")
        try:
            books.copy(copy, partial(progress, "copying"))
        except (InputError, StoreError) as error:
            raise type(error)(f"nothing was deleted, because no backup could be made: {error}") from error
        point("wipe.backed_up")
        done = storage_wipe(books, now_ns, by=_user(), accounts=accounts, seen=seen, progress=progress, point=point)
    return {
        "books": str(books),
        "backup": str(copy),
        "restorable": not isinstance(books, InMemory),
        "executions": done.executions,
        "closed": list(done.closed),
        "deleted": done.deleted,
    }


def _user() -> str:
    try:
        return f"tradekeel db wipe ({getpass.getuser()})"
    except (KeyError, OSError):  # a user that has no name here
        return f"tradekeel db wipe (uid {os.geteuid()})"
