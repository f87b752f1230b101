"""Indexes for as long as rows are deleted that others may refer to.

Whether anything refers to a row that goes is looked up in the tables that might; without an index of those columns each row
would cost a walk through a whole table. For everyday work they are not worth what they cost an order's intent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tradekeel.storage.backend import Connection

_REFERENCES = (("trades", "signal_id"), ("orders", "trade_id"), ("orders", "signal_id"), ("orders", "parent_id"))
"""In the order in which a batch writes the tables: an index waits for who writes there, and two would wait for each other."""


@contextmanager
def indexed_references(db: Connection) -> Iterator[None]:
    """Within a transaction; when it ends they are gone again."""
    for table, column in _REFERENCES:
        db.execute(f"CREATE INDEX deleting_{table}_{column} ON {table} ({column})")
    yield
    for table, column in _REFERENCES:
        db.execute(f"DROP INDEX deleting_{table}_{column}")
