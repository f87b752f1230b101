"""How much there is in the books: rows and bytes of each table, and how far each journal goes.

Everything is read as it is at one moment, beside a daemon. Counting reads a whole index of each table; the bytes of a file's
tables are those of its pages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Table

from tradekeel.domain.rows import ExecutionRow
from tradekeel.storage import schema, tables
from tradekeel.storage.backend import Backend, Connection, backend_at
from tradekeel.storage.journal import last_sequence
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of

Progress = Callable[[str, int, int], object]

TIMES = ("ts_ns", "created_ns", "generated_at_ns", "started_ns", "applied_ns", "updated_ns", "since_ns")
"""The first of these that a table has is when a row of it came about."""


class TableSize(Struct, frozen=True):
    """One table."""

    table: str
    rows: int
    bytes: int | None  # with its indexes; None where nobody can tell
    first_ns: int | None
    last_ns: int | None


class JournalSize(Struct, frozen=True):
    """One execution's journal."""

    execution: str
    account: str
    number: int
    mode: str
    status: str
    records: int
    first_record: int  # the number of the first that is there, 0 where there is none
    last_record: int
    first_ns: int | None
    last_ns: int | None


class Sizes(Struct, frozen=True):
    """All of it."""

    version: str
    tables: tuple[TableSize, ...]
    journals: tuple[JournalSize, ...]


def sizes(place: Backend | Path, progress: Progress) -> Sizes:
    """Count everything. Raises StoreError."""
    backend = backend_at(place)
    known = sorted(tables.metadata.tables.values(), key=lambda table: str(table.name))
    with one_moment(backend, "counting what is in it") as db:
        version = schema.version_of(db.execute, backend)
        taken = backend.table_bytes(db)
        counted = []
        for number, table in enumerate(known, start=1):
            counted.append(_size_of(db, table, taken.get(str(table.name))))
            progress("tables", number, len(known))
        mapping = mapping_of(ExecutionRow)
        runs = [mapping.decode(row) for row in db.execute(f"{mapping.select_sql} ORDER BY account, number")]
        journals = []
        for number, run in enumerate(runs, start=1):
            journals.append(_journal_of(db, run))
            progress("journals", number, len(runs))
    return Sizes(str(version), tuple(counted), tuple(journals))


def _size_of(db: Connection, table: Table, taken: int | None) -> TableSize:
    time = next((name for name in TIMES if name in table.c), None)
    # What was written before a feed had said what time it is has the time 0, which is none.
    span = "NULL, NULL" if time is None else f"min(nullif({time}, 0)), max(nullif({time}, 0))"
    rows, first_ns, last_ns = db.execute(f'SELECT count(*), {span} FROM "{table.name}"').fetchone()  # noqa: S608  # our own names
    return TableSize(str(table.name), rows, taken, first_ns, last_ns)


def _journal_of(db: Connection, run: ExecutionRow) -> JournalSize:
    """Of a journal without a gap the ends say everything."""
    ask = "SELECT sequence, ts_ns FROM journal WHERE execution = ? ORDER BY sequence LIMIT 1"
    first = db.execute(ask, (run.execution,)).fetchone()
    timed = ask.replace(" ORDER", " AND ts_ns <> 0 ORDER")
    oldest = db.execute(timed, (run.execution,)).fetchone()
    newest = db.execute(timed.replace(" LIMIT", " DESC LIMIT"), (run.execution,)).fetchone()
    last = last_sequence(db, run.execution)
    return JournalSize(
        run.execution,
        run.account,
        run.number,
        run.mode.value,
        run.status,
        records=0 if first is None else last - first[0] + 1,
        first_record=0 if first is None else first[0],
        last_record=last,
        first_ns=None if oldest is None else oldest[1],
        last_ns=None if newest is None else newest[1],
    )
