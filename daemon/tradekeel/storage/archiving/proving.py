"""An archive proved: its records follow from those before them, and its rows from its records.

The files of an execution are read one after the other, each with what came out of the one before. Behind the last there is the
book, and the rows that should have stayed in the tables. Where a file is missing, what the books saved of them is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import UNSET, structs

from tradekeel.domain.book import Book
from tradekeel.domain.records import Record
from tradekeel.errors import StoreCorrupt
from tradekeel.storage.archives import ArchiveRow, Figures, Kept
from tradekeel.storage.archiving.file import JOURNAL, ArchiveReader, columns_of, file_checksum
from tradekeel.storage.archiving.segments import LISTED, MOVED, Rows, Versions
from tradekeel.storage.archiving.sums import Began, figures_with
from tradekeel.storage.backend import Backend
from tradekeel.storage.journal import FOLD_ERRORS, decoded, fault_of
from tradekeel.storage.rows import mapping_of


class Findings(Protocol):
    """Where what is found goes."""

    records: int
    rows: int

    def problem(self, text: str) -> None:
        """Something is wrong."""

    def note(self, text: str) -> None:
        """Something that a person should know, and that is not wrong."""


Progress = Callable[[str, int, int], None]

TOLD_EVERY = 10_000


class Behind:
    """What there is behind the last record that was archived."""

    def __init__(self) -> None:
        self.book = Book()
        self.kept = Kept()
        self.last = 0


def path_of(row: ArchiveRow, folder: Path | None) -> Path | None:
    """Where a file should be; None where nobody has said in which folder."""
    named = Path(row.name)
    if named.is_absolute() and named.exists():
        return named
    return None if folder is None else folder / named.name


def prove(rows: Sequence[ArchiveRow], folder: Path | None, findings: Findings, progress: Progress) -> Behind | None:
    """Prove an execution's archives, oldest first; None where they are damaged."""
    behind = Behind()
    if not rows:
        return behind
    newest = rows[-1]
    behind.last = newest.last
    paths = [path_of(row, folder) for row in rows]
    missing = [row for row, path in zip(rows, paths, strict=True) if path is None or not path.exists()]
    try:
        saved_book, behind.kept = newest.book_behind(), newest.rows_kept()
        if missing:
            for row, path in zip(rows, paths, strict=True):
                if path is not None and row not in missing:
                    refuse_changed(row, path)
            _tell_missing(missing, rows, findings)
            behind.book = saved_book
            return behind
        kept = Kept()
        for row, path, before in zip(rows, paths, (None, *rows), strict=False):
            assert path is not None
            kept = _prove_one(row, path, behind.book, before, kept, findings, progress)
    except (StoreCorrupt, *FOLD_ERRORS) as error:
        findings.problem(f"the archive of execution {newest.execution}: {error}")
        return None
    if behind.book.save() != saved_book.save():  # not the bytes: a book may have got a field since they were written
        findings.problem(
            f"the archive of execution {newest.execution} leads to another book than the one saved behind it"
        )
        return None
    if _encoded(kept) != _encoded(behind.kept):
        findings.problem(
            f"the archive of execution {newest.execution} leaves other rows in the tables than were saved behind it"
        )
        return None
    return behind


def _tell_missing(missing: Sequence[ArchiveRow], rows: Sequence[ArchiveRow], findings: Findings) -> None:
    count = sum(sum(row.counts.values()) for row in rows)
    names = ", ".join(row.name for row in missing[:3]) + (" …" if len(missing) > 3 else "")
    findings.note(
        f"execution {rows[0].execution}: {len(missing)} of its {len(rows)} archives are not here ({names}), so that {count} "
        f"records and rows up to record {rows[-1].last} were not compared; what was saved behind them is believed"
    )


def refuse_changed(row: ArchiveRow, path: Path) -> None:
    if file_checksum(path) != row.sha256:
        raise StoreCorrupt(f"{path} is not the file that was made: its checksum is another")


def _prove_one(
    row: ArchiveRow,
    path: Path,
    book: Book,
    before: ArchiveRow | None,
    kept: Kept,
    findings: Findings,
    progress: Progress,
) -> Kept:
    """Fold one file behind the one ``before`` and the rows that it left; those that this one leaves in the tables.

    Raises StoreCorrupt, and what a fold raises.
    """
    refuse_changed(row, path)
    reader = ArchiveReader(path)
    if (reader.header.execution, reader.header.first, reader.header.last) != (row.execution, row.first, row.last):
        raise StoreCorrupt(f"{path} holds another piece of another journal")
    versions = Versions(kept)
    moved: Rows = {}
    first = Figures(opening=row.figures.opening)
    began = Began(first, before.figures if before is not None else None, has_reported=book.cursor > 0)
    expected = row.first - 1
    by_name = {str(mapping_of(kind).table.name): kind for kind in MOVED}
    for table, values in reader:
        if table == JOURNAL:
            expected += 1
            record = record_of(path, row.execution, expected, values)
            versions.fold(book, record, expected)
            began.look(record)
            findings.records += 1
            if expected % TOLD_EVERY == 0 or expected == row.last:
                progress(f"archive of {row.execution}", expected - row.first + 1, row.last - row.first + 1)
        else:
            if expected != row.last:
                raise StoreCorrupt(f"{path} has records up to {expected}, and should have them up to {row.last}")
            kind = by_name[table]
            moved.setdefault(kind, []).append(_matched(path, kind, versions, row.execution, values, moved))
            findings.rows += 1
    found = figures_with(began.figures, kept, versions, moved, row.figures.removed)
    # What strategies brought from executions before this one is in the books alone, and an earlier version kept no reasons.
    found = structs.replace(found, strategies=row.figures.strategies)
    if row.figures.rejections is UNSET:
        found = structs.replace(found, rejections=UNSET)
    if found != row.figures:
        raise StoreCorrupt(f"{path}: its rows come to other figures than were saved behind it")
    return versions.without(moved)


def record_of(path: Path, execution: str, expected: int, values: Sequence[Any]) -> Record:
    """The record of a line. Raises StoreCorrupt."""
    _, sequence, type_, ts_ns, correlation_id, payload, crc = values
    entry = (sequence, type_, ts_ns, correlation_id, payload, crc)
    fault = fault_of(execution, expected, entry)
    if fault is not None:
        raise StoreCorrupt(f"{path}: {fault}")
    record = decoded(execution, entry)
    if isinstance(record, str):
        raise StoreCorrupt(f"{path}: {record}")
    return record


def _matched(path: Path, kind: Any, versions: Versions, execution: str, values: list[Any], moved: Rows) -> Any:
    """The row of the journal that a line must be. StoreCorrupt where it is another."""
    mapping = mapping_of(kind)
    table = str(mapping.table.name)
    found = dict(zip((column.name for column in columns_of(table)), values, strict=True))
    read = mapping.decode([found[name] for name in mapping.columns])
    if kind in LISTED:
        rest = list(versions.of(kind))[len(moved.get(kind, ())) :]
        row = rest[0] if rest else None
    else:
        row = versions.keyed(kind).get(versions.key(read))
    if row is None or dict(zip(mapping.columns, mapping.encode(row, execution), strict=True)) != found:
        raise StoreCorrupt(f"{path}: a row of {table} is not what the journal says ({values[0]})")
    return row


def _encoded(kept: Kept) -> dict[str, list[Any]]:
    """For a comparison: rows as tables have them."""
    return {
        field: sorted((tuple(mapping_of(type(row)).encode(row, "")) for row in getattr(kept, field)), key=repr)
        for field in Kept.__struct_fields__
    }


def rows_in(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a file by its columns, each with its table; for whoever reads it back. Raises StoreCorrupt."""
    reader = ArchiveReader(path)
    names = {table: [name for name, _ in columns] for table, columns in reader.header.tables.items()}
    for table, values in reader:
        yield table, dict(zip(names[table], values, strict=True))


def archived_tables(path: Path) -> list[str]:
    """The tables that a file may have rows of. Raises StoreCorrupt."""
    return list(ArchiveReader(path).header.tables)


def default_folder(backend: Backend) -> Path | None:
    """Where the archives of a file's books are looked for, unless it is said."""
    from tradekeel.storage.sqlite import Sqlite

    return backend.path.parent / "archives" if isinstance(backend, Sqlite) else None
