"""An execution's archives, read by whoever looks at all of it: its records one after the other, and the rows that were moved.

A file that is not where it should be, or is not what it was, is left out and named: the books go on without any of them. So is
a row that this version cannot read, and those behind it are read all the same. Files are gone through row by row: only the rows
that are asked for are in memory. What was removed from the tables behind an archive is no row of it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tradekeel.domain.counting import counted
from tradekeel.domain.records import Administered, Removed, decode_record, record_type_of
from tradekeel.errors import StoreCorrupt
from tradekeel.storage.archives import ArchiveRow, archives_of
from tradekeel.storage.archiving.file import JOURNAL
from tradekeel.storage.archiving.proving import TOLD_EVERY, path_of, refuse_changed, rows_in
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.journal import JournalRow
from tradekeel.storage.rows import mapping_of

RowT = TypeVar("RowT", bound=Struct)

ADMINISTERED = record_type_of(Administered)

PUT_BACK = "Put an intact copy of the file there (a backup has it), and ask again."
OTHER_VERSION = "The version of Tradekeel that wrote it reads it; `tradekeel verify` says more."

Tell = Callable[[int, int], object]
"""Called now and then with the records and rows that were gone through, and how many there are in all."""


class Unread(Struct, frozen=True):
    """A file that could not be read, or not all of it."""

    row: ArchiveRow
    why: str
    lost: Counter[str]  # rows by table that are lacking
    remedy: str = PUT_BACK


class Archived:
    """What the archives of an execution hold of some kinds of rows, as far as they can be read."""

    def __init__(self, kinds: Collection[type[Struct]]) -> None:
        self._rows: dict[type[Struct], list[Any]] = {kind: [] for kind in kinds}
        self.unread: list[Unread] = []
        self.lost: Counter[str] = Counter()
        """Rows by table that could not be read."""

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

    def add(self, row: Any) -> None:
        """A row that was moved into the next file."""
        self._rows[type(row)].append(row)

    def lack(self, unread: Unread) -> None:
        """Of the next file something cannot be read."""
        self.unread.append(unread)
        self.lost.update(unread.lost)

    def remove(self, removed: Removed) -> None:
        """What somebody has removed from the tables since."""
        if not removed.where:
            for lost in (self.lost, *(each.lost for each in self.unread)):
                lost[removed.table] = 0
        for kind, rows in self._rows.items():
            if mapping_of(kind).table.name == removed.table:
                rows[:] = [row for row in rows if not removed.takes(row)]


def read_archives(
    db: Connection,
    books: Backend,
    execution: str,
    folder: Path,
    kinds: Collection[type[Struct]],
    take: Callable[[JournalRow], object] = lambda entry: None,
    *,
    wanted: Callable[[Any], bool] = lambda row: True,
    tell: Tell = lambda done, total: None,
) -> Archived:
    """The rows of these kinds that were moved, if they are ``wanted``, from files that lie in the folder unless the books say
    otherwise.

    ``take`` gets the records of the files, in order, as they stand in the journal. Raises StoreCorrupt for what the books
    themselves say of their archives.
    """
    reading = _Reading(kinds, take, wanted, tell)
    rows = archives_of(db, books, execution)
    reading.total = sum(sum(row.counts.values()) for row in rows)
    for row in rows:
        reading.read(row, folder)
    found = reading.found
    later = db.execute("SELECT payload FROM journal WHERE execution = ? AND type = ?", (execution, ADMINISTERED))
    if found.unread or any(found.of(kind) for kind in kinds):
        for (payload,) in later.fetchall():
            _remove(found, payload)
    return found


def _remove(found: Archived, payload: bytes) -> None:
    record = decode_record(payload)
    if isinstance(record, Administered):
        for removed in record.removed:
            found.remove(removed)


class _Reading:
    """One file after the other."""

    def __init__(
        self,
        kinds: Collection[type[Struct]],
        take: Callable[[JournalRow], object],
        wanted: Callable[[Any], bool],
        tell: Tell,
    ) -> None:
        self.found = Archived(kinds)
        self.total = 0
        self._mappings = {str(mapping_of(kind).table.name): mapping_of(kind) for kind in kinds}
        self._take, self._wanted, self._tell = take, wanted, tell
        self._done = 0  # records and rows of the files that were gone through

    def read(self, row: ArchiveRow, folder: Path) -> None:
        """Take what can be read, and say what cannot."""
        read: Counter[str] = Counter()
        strange: list[str] = []
        why, remedy = "", PUT_BACK
        try:
            self._go_through(_sound(row, folder), read, strange)
        except StoreCorrupt as error:
            why = str(error)
        except OSError as error:
            why = f"{row.name} cannot be read: {error.strerror or error}"
        if strange and not why:
            others = f", and {counted(len(strange) - 1, 'other')}" if len(strange) > 1 else ""
            why, remedy = f"{row.name} has a row that this version cannot read: {strange[0]}{others}", OTHER_VERSION
        if why:
            self.found.lack(Unread(row, why, Counter(row.counts) - read, remedy))
        self._done += sum(row.counts.values())
        self._tell(self._done, self.total)

    def _go_through(self, path: Path, read: Counter[str], strange: list[str]) -> None:
        """Count what was read by table, and note each row that is ``strange``. Raises StoreCorrupt."""
        for number, (table, values) in enumerate(rows_in(path)):
            if number % TOLD_EVERY == 0:
                self._tell(self._done + number, self.total)
            try:
                self._one(table, values)
            except (StoreCorrupt, KeyError, ArithmeticError, ValueError, msgspec.MsgspecError) as error:
                strange.append(f"{table} ({error.__cause__ or error})")  # not what to do about books that are damaged
            else:
                read[table] += 1

    def _one(self, table: str, values: dict[str, Any]) -> None:
        if table == JOURNAL:
            entry: JournalRow = tuple(values[name] for name in _COLUMNS)
            if values["type"] == ADMINISTERED:
                _remove(self.found, values["payload"])
            self._take(entry)
        elif table in self._mappings:
            mapping = self._mappings[table]
            row = mapping.decode([values[name] for name in mapping.columns])
            if self._wanted(row):
                self.found.add(row)


def _sound(row: ArchiveRow, folder: Path) -> Path:
    """Where a file is that is as it was made. Raises StoreCorrupt, OSError."""
    path = path_of(row, folder)
    assert path is not None
    if not path.exists():
        raise StoreCorrupt(f"{path} is not there")
    refuse_changed(row, path)
    return path


_COLUMNS = ("sequence", "type", "ts_ns", "correlation_id", "payload", "crc")
