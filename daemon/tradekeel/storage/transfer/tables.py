"""What of each table goes into a file: its columns with their kinds, and the order of its rows.

Numbers that a database gives its rows by itself (``id``) stay behind: the order of the file is that of the writing. Rows
without such a number come by their key, byte by byte, so that every database gives them in one order; orders come first by how
deep they are attached to others, so that none comes before its parent. Beside each time stands the same moment as text, for
people; it is not read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from tradekeel.errors import InputError
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend
from tradekeel.storage.columns import Flag, Json, Money, Texts

LEFT_OUT = frozenset({"leases", "migration_history"})
"""What is about this database and not about what it holds."""

TIMES = ("ts_ns", "created_ns", "generated_at_ns", "started_ns", "updated_ns")
"""The first of these that a table has is the time that rows are narrowed by."""


_DEPTH = (
    "CASE WHEN parent_id IS NULL THEN 0 "
    "WHEN (SELECT upper.parent_id FROM orders AS upper WHERE upper.client_order_id = orders.parent_id) IS NULL THEN 1 "
    "ELSE (WITH RECURSIVE above(id) AS (SELECT orders.parent_id UNION SELECT upper.parent_id FROM orders AS upper "
    "JOIN above ON upper.client_order_id = above.id WHERE upper.parent_id IS NOT NULL) SELECT count(*) FROM above) END"
)
"""How many orders stand above an order, each attached to the next.

The usual depths are told without recursion, which costs much more. UNION, so that it ends on books that have a circle.
"""


class Kind(StrEnum):
    """What a column holds, and so how it is written."""

    TEXT = "text"
    INTEGER = "integer"  # 64 bits
    DECIMAL = "decimal"  # exact, as text
    JSON = "json"
    BYTES = "bytes"  # base64, where a file is text
    TIME = "time"  # for people: beside the nanoseconds that it is made from


class FileColumn(Struct, frozen=True):
    """One column of a file."""

    name: str
    kind: Kind
    null: bool = True
    made_from: str | None = None


class FileTable(Struct, frozen=True):
    """One table as a file has it."""

    name: str
    columns: tuple[FileColumn, ...]
    order: tuple[str, ...]  # SQL, but for what each database adds to compare texts byte by byte
    texts: frozenset[str]  # of the order, the columns that are text

    @property
    def stored(self) -> list[FileColumn]:
        """The columns that the table has itself."""
        return [column for column in self.columns if column.made_from is None]

    @property
    def time(self) -> str | None:
        """The column that a span of time narrows, None where there is none."""
        names = {column.name for column in self.columns}
        return next((name for name in TIMES if name in names), None)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return any(column.name == name for column in self.columns)

    @property
    def select_sql(self) -> str:
        """The question without a WHERE."""
        listed = ", ".join(f'"{column.name}"' for column in self.stored)
        return f'SELECT {listed} FROM "{self.name}"'  # noqa: S608  # names of our own tables

    def order_sql(self, backend: Backend) -> str:
        """Its ORDER BY."""
        bytewise = "" if backend.bytewise is None else f' COLLATE "{backend.bytewise}"'
        return ", ".join(f"{part}{bytewise if part in self.texts else ''}" for part in self.order)

    @property
    def insert_sql(self) -> str:
        """The statement that puts a row back."""
        listed = ", ".join(f'"{column.name}"' for column in self.stored)
        marks = ", ".join("?" * len(self.stored))
        return f'INSERT INTO "{self.name}" ({listed}) VALUES ({marks})'  # noqa: S608  # names of our own tables


@cache
def file_tables() -> dict[str, FileTable]:
    """All tables that are exported, none before one that it refers to."""
    found = (table for table in tables.metadata.sorted_tables if table.name not in LEFT_OUT)
    return {table.name: table for table in map(_described, found)}


def chosen_tables(names: Sequence[str] | None) -> list[FileTable]:
    """Those of these names, or all. InputError for one that there is not."""
    known = file_tables()
    for name in names or ():
        if name not in known:
            raise InputError(f"there is no table {name}; there are {', '.join(known)}")
    return [table for name, table in known.items() if names is None or name in names]


def _described(table: Table) -> FileTable:
    numbered = "id" in table.c
    columns: list[FileColumn] = []
    for column in table.columns:
        name = str.__str__(column.name)  # SQLAlchemy has a subclass
        if name == "id" and numbered:
            continue
        columns.append(FileColumn(name, _kind(column), bool(column.nullable)))
        if name.endswith("_ns"):
            shown = "time" if name == "ts_ns" else name.removesuffix("_ns")
            columns.append(FileColumn(shown, Kind.TIME, bool(column.nullable), name))
    key = [str.__str__(column.name) for column in table.primary_key]
    texts = frozenset(column.name for column in columns if column.kind is Kind.TEXT)
    if numbered:
        return FileTable(str.__str__(table.name), tuple(columns), ("id",), frozenset())
    parents_first = [_DEPTH] if "parent_id" in table.c else []
    return FileTable(str.__str__(table.name), tuple(columns), (*parents_first, *key), texts)


def _kind(column: Column[Any]) -> Kind:
    for types, kind in (
        ((Money,), Kind.DECIMAL),
        ((Json, Texts), Kind.JSON),
        ((LargeBinary,), Kind.BYTES),
        ((BigInteger, Integer, Flag), Kind.INTEGER),
    ):
        if isinstance(column.type, types):
            return kind
    return Kind.TEXT
