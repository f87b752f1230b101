"""`tradekeel db export`, `db import` and `db archive`: books as files, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.alone import alone_at, alone_with_books, make_whole_again
from tradekeel.bootstrap.audit import ledgers_missing
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import Row, is_span, moment_ns, plain_value
from tradekeel.domain.records import decode_record
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.faults import point
from tradekeel.storage.archives import archive_names, archived_rows, newest_archive
from tradekeel.storage.archiving.file import is_compressed
from tradekeel.storage.archiving.moving import archive as move
from tradekeel.storage.archiving.proving import archived_tables, rows_in
from tradekeel.storage.backend import Backend
from tradekeel.storage.journal import newest_time_ns
from tradekeel.storage.moment import one_moment
from tradekeel.storage.transfer.exporting import export as write_files
from tradekeel.storage.transfer.importing import import_books
from tradekeel.storage.transfer.learning import LEARNING
from tradekeel.storage.transfer.manifest import Narrowed
from tradekeel.storage.whose import not_elsewhere

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
        since_ns=None if wanted.since is None else _stored(moment_ns(wanted.since, now_ns)),
        until_ns=None if wanted.until is None else _stored(moment_ns(wanted.until, now_ns)),
    )
    books = place.books()
    manifest = write_files(books, folder, kind, narrowed, learning=wanted.learning, progress=progress)
    with one_moment(books, "looking for its archives") as db:
        archived = archived_rows(db, wanted.accounts, wanted.executions)
        no_lesson = wanted.learning and not any(file.rows for file in manifest.files if file.table == LEARNING.name)
        closed = db.execute("SELECT count(*) FROM trades WHERE status = 'CLOSED'").fetchone()[0] if no_lesson else 0
    return {
        "books": str(place.where),
        "folder": str(folder.absolute()),
        "archived": sum(count for name, count in archived.items() if wanted.tables is None or name in wanted.tables),
        "importable": manifest.importable,
        "without_state": int(
            closed
        ),  # closed trades of the books, where an export for learning has found none with a state
        "files": [{"file": file.file, "rows": file.rows, "sha256": file.sha256} for file in manifest.files],
    }


def _stored(ns: int) -> int:
    """A time as far off as a column can have it."""
    return max(-(2**63), min(ns, 2**63 - 1))


def fill(place: Place, source: Path, environ: Mapping[str, str], progress: Steps) -> dict[str, Any]:
    """Read an export into empty books. Raises InputError, AlreadyRunning, StoreError: then they are as they were."""
    with alone_at(place, environ) as statedir:
        make_whole_again(statedir)
        books = place.where
        done = import_books(
            books, source, SystemClock().now_ns(), archives=statedir.archives, progress=progress, point=point
        )
        with one_moment(books, "looking for its archives") as db:
            files = [statedir.archives / name for name in archive_names(db)]
        archives = [path for path in files if not path.exists()]
        ledgers = ledgers_missing(place, books)
    return {
        "books": str(books),
        "source": str(source.absolute()),
        "executions": done.executions,
        "records": done.records,
        "rows": done.rows,
        "ledgers_missing": [str(path) for path in ledgers],
        "archives_missing": [str(path) for path in archives],
    }


def archive(
    place: Place,
    before: str,
    folder: Path | None,
    environ: Mapping[str, str],
    progress: Steps,
    tell: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Move what is older than a time into files; ``tell`` is told first which time that is.

    Raises InputError, AlreadyRunning, StoreError: what was moved before stays moved.
    """
    now_ns = SystemClock().now_ns()
    moment_ns(before, now_ns)  # before anything is locked: whether it is a time at all
    with alone_with_books(place, environ) as (books, statedir):
        newest_ns = _newest_ns(books) if is_span(before) else None
        before_ns = _stored(moment_ns(before, now_ns if newest_ns is None else newest_ns))
        since = ""
        if newest_ns is not None:
            since = f" ({before} before {iso(newest_ns)}, the newest time in the books)"
        elif is_span(before):
            since = f" ({before} before now: the books tell no time)"
        tell(f"moving what is older than {_shown(before_ns) or before}{since}")
        moved = move(
            books,
            before_ns,
            folder or statedir.archives,
            now_ns,
            is_default=folder is None,
            progress=progress,
            point=point,
        )
    return {
        "books": str(books),
        "before_ns": before_ns,
        "before": _shown(before_ns),
        "files": [
            {
                "account": piece.account,
                "execution": piece.row.execution,
                "first": piece.row.first,
                "last": piece.row.last,
                "file": str(piece.path),
                "bytes": piece.row.size,
                "sha256": piece.row.sha256,
                "rows": dict(piece.row.counts),
            }
            for piece in moved
        ],
    }


def _newest_ns(books: Backend) -> int | None:
    """The newest time in the books; of what was archived, that of the last fill."""
    with one_moment(books, "looking for its newest time") as db:
        found = newest_time_ns(db, books)
        times = [] if found is None else [found]
        where = f" WHERE {not_elsewhere(books)}" if books.daemon else ""
        for (execution,) in db.execute(f"SELECT execution FROM executions{where}").fetchall():  # noqa: S608  # our own words
            archive = newest_archive(db, books, execution)
            if archive is not None:
                times.extend(one.last_ns for one in archive.figures.turnover)
        return max(times, default=None)


def _shown(ns: int) -> str | None:
    """A time for people; None for one that is further off than a calendar goes."""
    try:
        return iso(ns)
    except OverflowError:
        return None


_NAME_ONE = "name an archive that `tradekeel db archive` has made"


def read_archive(path: Path, table: str | None) -> Iterator[Row]:
    """The rows of an archive, as JSON values; of the journal each record as it stands. Raises InputError, StoreCorrupt."""
    if not path.is_file():
        raise InputError(f"{path} is no file: {_NAME_ONE}")
    if not is_compressed(path):
        raise InputError(f"{path} is no archive: {_NAME_ONE} (in archives/ of the state directory, NAME.jsonl.gz)")
    known = archived_tables(path)
    if table is not None and table not in known:
        raise InputError(f"{path} has no table {table}; it has {', '.join(known)}")
    for name, row in rows_in(path):
        if table is None or name == table:
            record = {"record": plain_value(decode_record(row["payload"]))} if name == "journal" else {}
            yield {"table": name} | {key: value for key, value in row.items() if key != "payload"} | record
