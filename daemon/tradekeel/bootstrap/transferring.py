"""`tradekeel db export` and `db import`: books as files for other programs, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.alone import alone_at, make_whole_again
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import moment_ns
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.faults import point
from tradekeel.storage.transfer.exporting import export as write_files
from tradekeel.storage.transfer.importing import import_books
from tradekeel.storage.transfer.manifest import Narrowed

Steps = Callable[[str, int, int], None]


class Wanted(Struct, frozen=True, kw_only=True):
    """What of the books, in the words of the command line."""

    tables: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    executions: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None
    learning: bool = False


def export(place: Place, folder: Path, kind: str, wanted: Wanted, progress: Steps) -> dict[str, Any]:
    """Write a folder of files beside a running daemon. Raises InputError, StoreError."""
    now_ns = SystemClock().now_ns()
    narrowed = Narrowed(
        tables=wanted.tables,
        accounts=wanted.accounts,
        executions=wanted.executions,
        since_ns=None if wanted.since is None else moment_ns(wanted.since, now_ns),
        until_ns=None if wanted.until is None else moment_ns(wanted.until, now_ns),
    )
    manifest = write_files(place.books(), folder, kind, narrowed, learning=wanted.learning, progress=progress)
    return {
        "books": str(place.where),
        "folder": str(folder.absolute()),
        "importable": manifest.importable,
        "files": [{"file": file.file, "rows": file.rows, "sha256": file.sha256} for file in manifest.files],
    }


def fill(place: Place, source: Path, environ: Mapping[str, str], progress: Steps) -> dict[str, Any]:
    """Read an export into empty books. Raises InputError, AlreadyRunning, StoreError: then they are as they were."""
    with alone_at(place, environ) as statedir:
        make_whole_again(statedir)
        books = place.where
        done = import_books(books, source, SystemClock().now_ns(), progress=progress, point=point)
    return {
        "books": str(books),
        "source": str(source.absolute()),
        "executions": done.executions,
        "records": done.records,
        "rows": done.rows,
    }
