"""Books written into a folder of files: everything as it is at one moment, beside a daemon that goes on."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tradekeel.errors import InputError, StoreCorrupt
from tradekeel.storage import schema
from tradekeel.storage.backend import RESTORE, Backend, Connection
from tradekeel.storage.checksums import journal_crc
from tradekeel.storage.files import cannot_be_written, file_at, made_twice, sync
from tradekeel.storage.moment import one_moment
from tradekeel.storage.transfer.files import FORMATS, Sheet, checksum_of, sheet_of
from tradekeel.storage.transfer.learning import LEARNING, learning_sql
from tradekeel.storage.transfer.manifest import NAME, FileWritten, Manifest, Narrowed
from tradekeel.storage.transfer.tables import FileTable, chosen_tables

Progress = Callable[[str, int, int], object]

TOLD_EVERY = 5_000
"""Rows between two words about progress."""


class Question(NamedTuple):
    """What goes into one file."""

    table: FileTable
    sql: str  # without the order
    values: tuple[Any, ...]
    order: str


def export(
    backend: Backend,
    folder: Path,
    kind: str,
    narrowed: Narrowed,
    *,
    learning: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> Manifest:
    """Write the files; the folder must not exist. Raises InputError, StoreError: then there is none either."""
    if kind not in FORMATS:
        raise InputError(f"there are no files of the kind {kind}; there are {', '.join(FORMATS)}")
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists already, and an export never replaces anything: choose another name")
    tables = [] if learning and narrowed.tables is None else chosen_tables(narrowed.tables)
    partial = folder.with_name(folder.name + ".partial")
    try:
        with _alone_in(partial, folder):
            manifest = _write(backend, partial, folder, kind, narrowed, tables, learning, progress)
            (partial / NAME).write_bytes(manifest.encoded())
            for file in partial.iterdir():
                sync(file)
            sync(partial)
            partial.rename(folder)
            sync(folder.parent)
    except OSError as error:
        raise cannot_be_written(folder, error) from error
    return manifest


@contextmanager
def _alone_in(partial: Path, folder: Path) -> Iterator[None]:
    """An empty folder that nobody else writes into meanwhile; what an export that was killed has left there goes.

    StoreUnavailable where somebody does; raises OSError.
    """
    partial.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise made_twice(folder) from None
        except OSError:
            pass  # not every file system has locks
        if file_at(partial) != file_at(handle):
            raise made_twice(folder)  # it was whole a moment ago, and has its name by now
        for left in partial.iterdir():
            left.unlink()
        try:
            yield
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def _write(
    backend: Backend,
    folder: Path,
    target: Path,
    kind: str,
    narrowed: Narrowed,
    tables: Sequence[FileTable],
    learning: bool,
    progress: Progress,
) -> Manifest:
    with one_moment(backend, "exporting it") as db:
        runs = _runs(db, narrowed)
        questions = [_question(table, backend, narrowed, runs) for table in tables if _is_meant(table, runs)]
        if learning:
            questions.append(_learning(backend, narrowed, runs))
        files = [_write_file(db, folder, target, kind, question, progress) for question in questions]
    return Manifest(
        schema=schema.HEAD,
        files_are=kind,
        importable=narrowed.has_whole_executions and not learning,
        narrowed=narrowed,
        files=tuple(files),
    )


def _runs(db: Connection, narrowed: Narrowed) -> list[str] | None:
    """The executions that are meant, None for all. InputError for a word that the books do not know."""
    if narrowed.accounts is None and narrowed.executions is None:
        return None
    known = db.execute("SELECT execution, account FROM executions ORDER BY account, number").fetchall()
    for word, there, wanted in (
        ("execution", {run for run, _ in known}, narrowed.executions),
        ("account", {account for _, account in known}, narrowed.accounts),
    ):
        unknown = sorted(set(wanted or ()) - there)
        if unknown:
            raise InputError(
                f"the books know no {word} {', '.join(unknown)}; they know {', '.join(sorted(there)) or 'none'}"
            )
    return [
        run
        for run, account in known
        if (narrowed.executions is None or run in narrowed.executions)
        and (narrowed.accounts is None or account in narrowed.accounts)
    ]


def _is_meant(table: FileTable, runs: list[str] | None) -> bool:
    """What belongs to no execution goes along only with all of them."""
    return runs is None or (table.has("execution") and table.name != "task_executions")


def _question(table: FileTable, backend: Backend, narrowed: Narrowed, runs: list[str] | None) -> Question:
    conditions, values = _conditions(table.time, narrowed, runs)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return Question(table, table.select_sql + where, values, table.order_sql(backend))


def _learning(backend: Backend, narrowed: Narrowed, runs: list[str] | None) -> Question:
    conditions, values = _conditions(LEARNING.time, narrowed, runs)
    return Question(LEARNING, learning_sql(conditions), values, LEARNING.order_sql(backend))


def _conditions(time: str | None, narrowed: Narrowed, runs: list[str] | None) -> tuple[list[str], tuple[Any, ...]]:
    conditions: list[str] = []
    values: list[Any] = []
    if runs is not None:
        conditions.append(f"execution IN ({', '.join('?' * len(runs)) or 'NULL'})")
        values.extend(runs)
    for sign, bound in ((">=", narrowed.since_ns), ("<", narrowed.until_ns)):
        if bound is not None and time is not None:
            conditions.append(f"{time} {sign} ?")
            values.append(bound)
    return conditions, tuple(values)


def _write_file(
    db: Connection, folder: Path, target: Path, kind: str, question: Question, progress: Progress
) -> FileWritten:
    table = question.table
    total = int(db.execute(f"SELECT count(*) FROM ({question.sql}) AS counted", question.values).fetchone()[0])  # noqa: S608
    path = folder / f"{table.name}.{kind}"
    try:
        with sheet_of(kind, path, table.columns) as sheet:
            _write_rows(db, sheet, question, total, progress)
        return FileWritten(table.name, path.name, sheet.rows, checksum_of(path), table.columns)
    except OSError as error:  # of the file that is written: whoever reads the books raises the database's own
        raise cannot_be_written(target, error) from error


def _write_rows(db: Connection, sheet: Sheet, question: Question, total: int, progress: Progress) -> None:
    """All rows of one question, each looked at. Raises StoreCorrupt, OSError."""
    name = question.table.name
    for row in _rows(db, question):
        if name == "journal" and journal_crc(*row[:-1]) != row[-1]:
            raise StoreCorrupt(
                f"record {row[1]} of execution {row[0]} is damaged (its checksum is off): nothing was exported. {RESTORE}"
            )
        try:
            sheet.write(row)
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(f"row {sheet.rows + 1} of {name} is damaged, and cannot be written: {error}") from error
        if sheet.rows % TOLD_EVERY == 0:
            progress(name, sheet.rows, total)
    if sheet.rows != total:  # damage in a key ends the walk early
        raise StoreCorrupt(f"of {total} rows of {name} {sheet.rows} can be read: nothing was exported. {RESTORE}")
    progress(name, sheet.rows, total)


def _rows(db: Connection, question: Question) -> Iterator[Any]:
    return db.stream(f"{question.sql} ORDER BY {question.order}", question.values)
