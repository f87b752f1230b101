"""`tradekeel db backup`: a copy of the books."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.alone import alone_at, alone_with_books, free_name, when
from tradekeel.bootstrap.place import Place
from tradekeel.errors import InputError, StoreError
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.faults import point
from tradekeel.storage.backend import Restoring
from tradekeel.storage.files import Progress
from tradekeel.storage.wiping import wipe as storage_wipe

Steps = Callable[[str, int, int], None]
"""Called with the name of a step, what is done of it, and what there is in all."""


def backup(place: Place, copy: Path, progress: Progress) -> dict[str, Any]:
    """Copy the books beside a running daemon; what was copied where. InputError where the copy cannot be put."""
    books = place.books()
    if os.path.lexists(copy):
        raise InputError(f"{copy} exists already, and a backup is never overwritten: choose another name")
    there = next(folder for folder in copy.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} is no folder in which this user (uid {os.geteuid()}) may make {copy}")
    books.copy(copy, progress)
    return {"books": str(books), "copy": str(copy.absolute()), "bytes": copy.stat().st_size}


def restore(place: Place, copy: Path, environ: Mapping[str, str], progress: Steps) -> dict[str, Any]:
    """Put a copy in the place of the books, which are put aside. Raises InputError, AlreadyRunning, StoreError."""
    now_ns = SystemClock().now_ns()
    with alone_at(place, environ) as statedir:
        books = place.where
        doing = Restoring(now_ns, statedir.restoring, statedir.backups / f"replaced-{when(now_ns)}", progress, point)
        restored = books.restore(copy, doing)
    return {
        "books": str(books),
        "copy": str(copy.absolute()),
        "schema": restored.version,
        "executions": restored.executions,
        "records": restored.records,
        "replaced": restored.replaced,
    }


def wipe(place: Place, accounts: Collection[str] | None, environ: Mapping[str, str], progress: Steps) -> dict[str, Any]:
    """Delete everything that follows from the journal, after a backup. Raises InputError, AlreadyRunning, StoreError."""
    now_ns = SystemClock().now_ns()
    with alone_with_books(place, environ) as (books, statedir):
        # Named so that no migration takes it for one of its own copies, of which only the last few stay.
        copy = free_name(statedir.backups / f"before-wipe-{when(now_ns)}{books.copy_suffix}")
        try:
            books.copy(copy, partial(progress, "copying"))
        except (InputError, StoreError) as error:
            raise type(error)(f"nothing was deleted, because no backup could be made: {error}") from error
        point("wipe.backed_up")
        done = storage_wipe(books, now_ns, by=_user(), accounts=accounts, progress=progress, point=point)
    return {
        "books": str(books),
        "backup": str(copy),
        "executions": done.executions,
        "closed": list(done.closed),
        "deleted": done.deleted,
    }


def _user() -> str:
    try:
        return f"tradekeel db wipe ({getpass.getuser()})"
    except (KeyError, OSError):  # a user that has no name here
        return f"tradekeel db wipe (uid {os.geteuid()})"
