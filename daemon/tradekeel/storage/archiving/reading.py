"""An execution's archives, read by whoever looks at all of it: its records one after the other, and the rows that were moved.

A file that is not where it should be, or is not what it was, is left out and named: the books go on without any of them. What
was removed from the tables behind an archive is no row of it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from tradekeel.domain.counting import counted
from tradekeel.domain.records import Administered, Removed, decode_record, record_type_of
from tradekeel.errors import StoreCorrupt
from tradekeel.storage.archives import ArchiveRow, archives_of
from tradekeel.storage.archiving.file import JOURNAL
from tradekeel.storage.archiving.proving import path_of, refuse_changed, rows_in
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.journal import JournalRow
from tradekeel.storage.rows import mapping_of

RowT = TypeVar("RowT", bound=Struct)

ADMINISTERED = record_type_of(Administered)


class Unread(Struct, frozen=True):
    """A file that could not be read."""

    row: ArchiveRow
    why: str


class Archived:
    """What the archives of an execution hold of some kinds of rows, as far as they can be read."""

    def __init__(self, kinds: Collection[type[Struct]]) -> None:
        self._rows: dict[type[Struct], list[Any]] = {kind: [] for kind in kinds}
        self.unread: list[Unread] = []
        self.lost: Counter[str] = Counter()
        """Rows by table in those that could not be read."""

    def of(self, kind: type[RowT]) -> list[RowT]:
        """The rows of a kind, in the order of the files."""
        return self._rows[kind]

    @property
    def lacking(self) -> str:
        """Which files could not be read, and why the first of them; an empty text where all could."""
        if not self.unread:
            return ""
        others = len(self.unread) - 1
        return f"The archive {self.unread[0].why}" + (
            f", and {counted(others, 'other')} cannot be read" if others else ""
        )

    def add(self, rows: Iterable[Any]) -> None:
        """Rows that were moved into the next file."""
        for row in rows:
            self._rows[type(row)].append(row)

    def lack(self, unread: Unread) -> None:
        """The next file cannot be read."""
        self.unread.append(unread)
        self.lost.update(unread.row.counts)

    def remove(self, removed: Iterable[Removed]) -> None:
        """What somebody has removed from the tables since."""
        for each in removed:
            if not each.where:
                self.lost[each.table] = 0
            for kind, rows in self._rows.items():
                if mapping_of(kind).table.name == each.table:
                    rows[:] = [row for row in rows if not each.takes(row)]


def read_archives(
    db: Connection,
    books: Backend,
    execution: str,
    folder: Path,
    kinds: Collection[type[Struct]],
    take: Callable[[JournalRow], object] = lambda entry: None,
) -> Archived:
    """The rows of these kinds that were moved, from files that lie in the folder unless the books say otherwise.

    ``take`` gets the records of the files, in order, as they stand in the journal. Raises StoreCorrupt for what the books
    themselves say of their archives.
    """
    found = Archived(kinds)
    for row in archives_of(db, books, execution):
        try:
            entries, rows = _content(row, folder, kinds)
        except StoreCorrupt as error:
            found.lack(Unread(row, str(error)))
            continue
        except OSError as error:
            found.lack(Unread(row, f"{row.name} cannot be read: {error.strerror or error}"))
            continue
        for entry in entries:
            take(entry)
        found.remove(_removed(entry[4] for entry in entries if entry[1] == ADMINISTERED))
        found.add(rows)
    later = db.execute("SELECT payload FROM journal WHERE execution = ? AND type = ?", (execution, ADMINISTERED))
    if found.unread or any(found.of(kind) for kind in kinds):
        found.remove(_removed(payload for (payload,) in later.fetchall()))
    return found


def _removed(payloads: Iterable[bytes]) -> list[Removed]:
    records = map(decode_record, payloads)
    return [removed for record in records if isinstance(record, Administered) for removed in record.removed]


def _content(row: ArchiveRow, folder: Path, kinds: Collection[type[Struct]]) -> tuple[list[JournalRow], list[Any]]:
    """The records of a file, and its rows of these kinds. Raises StoreCorrupt, OSError."""
    path = path_of(row, folder)
    assert path is not None
    if not path.exists():
        raise StoreCorrupt(f"{path} is not there")
    refuse_changed(row, path)
    mappings = {str(mapping_of(kind).table.name): mapping_of(kind) for kind in kinds}
    entries: list[JournalRow] = []
    rows = []
    for table, values in rows_in(path):
        try:
            if table == JOURNAL:
                entries.append(tuple(values[name] for name in _COLUMNS))
            elif table in mappings:
                mapping = mappings[table]
                rows.append(mapping.decode([values[name] for name in mapping.columns]))
        except (KeyError, ArithmeticError, ValueError) as error:
            raise StoreCorrupt(f"{path}: a row of {table} is not what this version reads ({error})") from error
    return entries, rows


_COLUMNS = ("sequence", "type", "ts_ns", "correlation_id", "payload", "crc")
