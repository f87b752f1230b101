"""A look into books past the product, and changes to them that no part of it can make; on whatever backend they are."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

from tradekeel.storage.backend import Backend, Connection, backend_at

_BYTES = re.compile(r"\bx'([0-9a-f]*)'")
"""Bytes as SQLite writes them."""


def look(place: Backend | Path, question: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that a question finds. A path is a SQLite file."""
    with closing(backend_at(place).connect(read_only=True)) as db:
        return [tuple(row) for row in db.execute(question, values)]


def tamper(place: Backend | Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    """Change books as no part of the product can, each statement with its values, all of them or none."""
    backend = backend_at(place)
    with closing(backend.connect()) as db:
        if backend.name == "postgresql":
            db.execute("SET session_replication_role = replica")  # no trigger, no reference
        else:
            _drop_triggers(db)
        db.execute("BEGIN")
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            if backend.name == "postgresql":
                sql = _BYTES.sub(r"'\\x\1'::bytea", sql)
            db.execute(sql, values)
        db.execute("COMMIT")


def _drop_triggers(db: Connection) -> None:
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
