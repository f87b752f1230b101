"""An export read back into empty books: checked file by file, put in by one transaction, and proved before that is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tradekeel.errors import InputError, StoreCorrupt
from tradekeel.storage import schema
from tradekeel.storage.backend import Backend, Connection, Tool
from tradekeel.storage.batch import SENDER_ERRORS
from tradekeel.storage.store import Store
from tradekeel.storage.transfer.files import FORMATS, checksum_of, rows_of
from tradekeel.storage.transfer.manifest import FileWritten, Manifest, read_manifest
from tradekeel.storage.transfer.tables import FileTable, file_tables
from tradekeel.storage.verify import silent, verify_within

Progress = Callable[[str, int, int], None]

BATCH_ROWS = 2_000


class Imported(NamedTuple):
    """What was read."""

    rows: dict[str, int]  # by table
    executions: int
    records: int


def import_books(
    backend: Backend,
    folder: Path,
    now_ns: int,
    *,
    archives: Path | None = None,
    progress: Progress = silent,
    point: Callable[[str], object] = lambda name: None,
) -> Imported:
    """Fill empty books. InputError for books that are not empty and what is no whole export, StoreCorrupt for what is damaged."""
    manifest = _checked(folder, progress)
    Store.open(backend, now_ns=now_ns).close()
    try:
        with closing(backend.connect_for_long()) as db:
            backend.make_durable(db)
            db.execute(backend.begin_write)
            try:
                done = _fill(db, backend, folder, manifest, archives, progress)
                point("import.before_commit")
                db.execute("COMMIT")
                point("import.after_commit")
            except BaseException:
                db.rollback()
                raise
    except backend.errors as error:
        raise backend.in_our_words(error, f"importing {folder}") from error
    return done


def _checked(folder: Path, progress: Progress) -> Manifest:
    manifest = read_manifest(folder)
    if not manifest.importable:
        raise InputError(
            f"{folder} has only a part of some executions: what was narrowed by tables or times, or made for learning, cannot be "
            "proved, and so not imported"
        )
    if manifest.schema != schema.HEAD:
        raise InputError(
            f"{folder} was made from books with schema {manifest.schema}, and this version has {schema.HEAD}: import it with the "
            "version that made it, and let this one bring those books up to date"
        )
    if manifest.files_are not in FORMATS:
        raise InputError(f"{folder} has files of the kind {manifest.files_are}, which this version does not know")
    known = file_tables()
    for number, file in enumerate(manifest.files, start=1):
        table = known.get(file.table)
        if table is None or file.columns != table.columns or Path(file.file).name != file.file:
            raise InputError(f"{folder / file.file} is not what this version exports of {file.table}")
        try:
            found = checksum_of(folder / file.file)
        except OSError as error:
            raise InputError(f"{folder / file.file} cannot be read: {error}") from error
        if found != file.sha256:
            raise StoreCorrupt(
                f"{folder / file.file} was changed since it was made: its checksum is not that of the manifest"
            )
        progress("checking", number, len(manifest.files))
    return manifest


def _fill(
    db: Connection, backend: Backend, folder: Path, manifest: Manifest, archives: Path | None, progress: Progress
) -> Imported:
    refuse_full(db, backend)
    counts: dict[str, int] = {}
    by_table = {file.table: file for file in manifest.files}
    for name, table in file_tables().items():  # none before one that it refers to
        if name in by_table:
            counts[name] = _put(db, backend, table, folder, manifest, by_table[name], progress)
    accounts = [account for (account,) in db.execute("SELECT DISTINCT account FROM executions").fetchall()]
    backend.refuse_holders(db, accounts, Tool.REPLACES)
    verdict = verify_within(db, backend, progress, archives=archives)
    if not verdict.ok:
        raise StoreCorrupt(f"{folder} does not verify, and nothing was imported: {verdict.in_short()}")
    return Imported(counts, verdict.executions, verdict.records)


def refuse_full(db: Connection, backend: Backend) -> None:
    """InputError for books that are not empty."""
    for name in file_tables():
        if db.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None:  # noqa: S608  # our own names
            raise InputError(
                f"{backend} has rows in {name}: an import fills empty books only. Name another state directory or database"
            )


def _put(
    db: Connection,
    backend: Backend,
    table: FileTable,
    folder: Path,
    manifest: Manifest,
    file: FileWritten,
    progress: Progress,
) -> int:
    rows = rows_of(manifest.files_are, folder / file.file, table.columns)
    done = 0
    try:
        while batch := _next(rows):
            db.executemany(table.insert_sql, batch)
            done += len(batch)
            progress(table.name, done, file.rows)
    except SENDER_ERRORS + backend.sender_errors as error:
        raise StoreCorrupt(f"{folder / file.file} cannot be imported: {error}") from error
    if done != file.rows:
        raise StoreCorrupt(f"{folder / file.file} has {done} rows, and the manifest says {file.rows}")
    return done


def _next(rows: Iterator[Sequence[Any]]) -> list[Sequence[Any]]:
    return list(islice(rows, BATCH_ROWS))
