"""The tables of an execution beside the rows that follow from its journal, compared while these come in.

Memory follows the open business, and not the history: a row that is the table's needs no more than a bit that says so. One
that is not waits until its next version comes (an order that is open in the journal's middle has ended in the table), and
what waits in the end is a difference.

What people removed later is asked for in the table as it is now: a row that was removed and is there all the same was either put
again, and comes again, or follows from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.domain.marks import Marks
from tradekeel.domain.messages import Fill
from tradekeel.domain.records import Removed
from tradekeel.domain.rows import MetricsCheckpoint
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.rows import Mapping, Values, mapping_of, mappings
from tradekeel.storage.tables import FILL_KEY

PAGE_ROWS = 2_000
"""Rows of a table that are looked up together: what changes often is looked up once for many versions."""

_COMPARED_BY: dict[type[Struct], tuple[str, ...]] = {
    Fill: FILL_KEY,
}

Key = tuple[Any, ...]
Removal = tuple[int, Removed]
"""Rows that were removed, and the number of the record that says so."""


class Findings(Protocol):
    """Where what is found goes."""

    rows: int

    def differs(self, table: str, key: Any, column: str, expected: Any, found: Any) -> None:
        """One column, or with "" the whole row: None on the side where there is none."""


def compared_by(mapping: Mapping[Any]) -> tuple[str, ...]:
    """The columns by which a row is found again; () where only the order of writing tells."""
    return _COMPARED_BY.get(mapping.row_type, mapping.key_columns)


class Tables:
    """All tables of one execution. ``removals`` are those of its whole journal, each with the number of its record."""

    def __init__(
        self,
        db: Connection,
        backend: Backend,
        execution: str,
        page_rows: int = PAGE_ROWS,
        removals: Sequence[Removal] = (),
    ) -> None:
        self._tables: dict[type[Struct], _Keyed | _Numbered] = {
            row_type: _Keyed(db, backend, execution, mapping, page_rows)
            if compared_by(mapping)
            else _Numbered(db, execution, mapping, [r for r in removals if r[1].table == mapping.table.name])
            for row_type, mapping in mappings().items()
            if row_type is not MetricsCheckpoint
        }
        self._by_name = {mapping_of(row_type).table.name: table for row_type, table in self._tables.items()}

    def take(self, row: Struct, sequence: int) -> None:
        """A row, or the newer version of one, that follows from the journal's record ``sequence``."""
        table = self._tables.get(type(row))
        if table is not None:
            table.take(row, sequence)

    def forget(self, removed: Removed) -> None:
        """Rows that somebody removed."""
        table = self._by_name.get(removed.table)
        if table is not None:
            table.forget(removed)

    def tell(self, findings: Findings) -> None:
        """All rows have come: say what differs."""
        for table in self._tables.values():
            table.tell(findings)


class _Keyed:
    """A table whose rows are found by a key."""

    def __init__(self, db: Connection, backend: Backend, execution: str, mapping: Mapping[Any], page_rows: int) -> None:
        self._db, self._backend, self._execution = db, backend, execution
        self._mapping, self._page_rows = mapping, page_rows
        self._names = names = compared_by(mapping)
        of_row = attrgetter(*names)
        self._key_of = of_row if len(names) > 1 else lambda row: (of_row(row),)
        self._places = [1 + mapping.columns.index(name) for name in names]  # of the key, behind the row's number
        self._numbered = f"SELECT {backend.row_number}, "
        self._select = mapping.select_sql.replace("SELECT ", self._numbered, 1)
        self._page: dict[Key, Any] = {}
        self._waiting: dict[Key, Any] = {}  # the newest versions, which are not the table's
        self._seen = Marks()

    def take(self, row: Any, sequence: int) -> None:
        self._page[self._key_of(row)] = row
        if len(self._page) >= self._page_rows:
            self._look_up()

    def _look_up(self) -> None:
        page, self._page = self._page, {}
        there = self._find(list(page))
        for key, row in page.items():
            found = there.get(key)
            if found is not None and tuple(self._mapping.encode(row, self._execution)) == found[1:]:
                self._waiting.pop(key, None)
            else:
                self._waiting[key] = row
            if found is not None:
                self._seen.add(found[0])

    def forget(self, removed: Removed) -> None:
        """The rows are neither waited for any more nor taken for the journal's, unless they come again."""
        self._look_up()
        # A row that does not wait is as it is in the table: there it can be asked for.
        for number, *key_found in self._all(removed.where):
            if tuple(key_found) not in self._waiting:
                self._seen.discard(number)
        gone = [key for key, row in self._waiting.items() if self._is_removed(row, removed)]
        for key in gone:
            del self._waiting[key]
        for number, *_ in self._find(gone).values():
            self._seen.discard(number)

    def _is_removed(self, row: Any, removed: Removed) -> bool:
        if not removed.where:
            return True
        values = dict(zip(self._mapping.columns, self._mapping.encode(row, self._execution), strict=True))
        return all(removed.holds(values[name], word) for name, word in removed.where.items())

    def _find(self, keys: Sequence[Key]) -> dict[Key, tuple[Any, ...]]:
        rows = self._backend.find(self._db, self._select, self._names, self._execution, keys)
        return {tuple(row[place] for place in self._places): tuple(row) for row in rows}

    def tell(self, findings: Findings) -> None:
        self._look_up()
        table, missing = self._mapping.table.name, []
        for keys in _pages(list(self._waiting), self._page_rows):
            there = self._find(keys)
            for key in keys:
                found = there.get(key)
                if found is None:
                    missing.append(key)
                else:
                    should = self._mapping.encode(self._waiting[key], self._execution)
                    _tell_columns(self._mapping, key, should, found[1:], findings)
        for number, *key_found in self._all():
            findings.rows += 1
            if number not in self._seen:
                findings.differs(table, tuple(key_found), "", None, "")
        for key in missing:
            findings.differs(table, key, "", "", None)

    def _all(self, where: dict[str, str] | None = None) -> Iterator[tuple[Any, ...]]:
        select = f'{self._numbered}{", ".join(self._names)} FROM "{self._mapping.table.name}" WHERE execution = ?'
        wanted = "".join(f' AND "{self._mapping.table.c[name].name}" = ?' for name in where or ())
        return self._db.stream(select + wanted, (self._execution, *(where or {}).values()))


class _Numbered:
    """A table whose rows are written once, and told apart by the order of that: what was removed later is left out of it."""

    def __init__(self, db: Connection, execution: str, mapping: Mapping[Any], removals: Sequence[Removal]) -> None:
        self._execution, self._mapping, self._removals = execution, mapping, removals
        self._rows: Iterator[Values] = db.stream(f"{mapping.select_sql} WHERE execution = ? ORDER BY id", (execution,))
        self._found = self._expected = 0
        self._differing: list[tuple[int, Values, Values]] = []

    def forget(self, removed: Removed) -> None:
        """They never counted."""

    def take(self, row: Any, sequence: int) -> None:
        """The next row, unless it was removed later."""
        if any(at > sequence and removed.takes(row) for at, removed in self._removals):
            return
        self._expected += 1
        found = next(self._rows, None)
        if found is None:
            return
        self._found += 1
        expected = tuple(self._mapping.encode(row, self._execution))
        if expected != found:
            self._differing.append((self._expected, expected, found))

    def tell(self, findings: Findings) -> None:
        table = self._mapping.table.name
        for number, expected, found in self._differing:
            _tell_columns(self._mapping, (number,), expected, found, findings)
        findings.rows += self._found
        for number, _ in enumerate(self._rows, start=self._found + 1):
            findings.rows += 1
            findings.differs(table, (number,), "", None, "")
        for number in range(self._found + 1, self._expected + 1):
            findings.differs(table, (number,), "", "", None)


def _pages(keys: Sequence[Key], page_rows: int) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), page_rows):
        yield keys[start : start + page_rows]


def _tell_columns(mapping: Mapping[Any], key: Key, expected: Values, found: Values, findings: Findings) -> None:
    for column, should, is_ in zip(mapping.columns, expected, found, strict=True):
        if should != is_:
            findings.differs(mapping.table.name, key, column, should, is_)
