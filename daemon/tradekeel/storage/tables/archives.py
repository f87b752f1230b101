"""What was moved out of the books: the files, and what is needed to go on behind them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, Text

from tradekeel.storage.columns import Blob, Count, Json, Nanoseconds, from_one, not_empty
from tradekeel.storage.tables.base import metadata

# Records ``first`` to ``last`` of an execution, and the rows that were finished by then, are in the file ``name``. The newest of
# an execution has the book as of ``last`` and the rows up to there that stayed; in older ones both are empty.
journal_archives = Table(
    "journal_archives",
    metadata,
    Column("execution", Text, ForeignKey("executions.execution"), primary_key=True),
    Column("first", Count, primary_key=True, autoincrement=False),
    Column("last", Count, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", Count, nullable=False),
    Column("archived_ns", Nanoseconds, nullable=False),
    Column("counts", Json, nullable=False),
    Column("figures", Json, nullable=False),
    Column("book", Blob, nullable=False),
    Column("kept", Blob, nullable=False),
    Column("crc", Count, nullable=False),
    from_one("first"),
    CheckConstraint("last >= first", name="first_before_last"),
    not_empty("name"),
    not_empty("sha256"),
)
