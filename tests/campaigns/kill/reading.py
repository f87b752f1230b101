"""Rows as they are, of a SQLite file or a PostgreSQL database, by the databases' own drivers and nothing of the product.

Amounts and JSON come as the text that is stored, so that what is compared is the digits. The readable times that PostgreSQL makes
of the numbers, for people who look into its tables, are left out: a file has none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Cursor

Row = dict[str, Any]
Rows = Callable[..., list[Row]]
"""Asks a question, with ``?`` for each of the values behind it."""

SCHEMA = "trading"
TIMESTAMPTZ = 1184
"""The number of that type, which is the same on every server."""


@contextmanager
def reading(place: Path | str) -> Iterator[Rows]:
    """Ask a file, or the database at an address; everything is of one moment."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as db:
            db.row_factory = sqlite3.Row
            db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            yield lambda question, *values: [dict(row) for row in db.execute(question, values)]
        return
    import psycopg
    from psycopg.types.string import TextLoader

    with psycopg.connect(place, options=f"-c search_path={SCHEMA}", row_factory=_as_in_a_file) as server:
        for name in ("numeric", "json"):
            server.adapters.register_loader(name, TextLoader)
        server.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        server.read_only = True
        yield lambda question, *values: server.execute(question.replace("?", "%s"), values).fetchall()


def _as_in_a_file(cursor: Cursor[Row]) -> Callable[[Sequence[Any]], Row]:
    columns = [(column.name, column.type_code != TIMESTAMPTZ) for column in cursor.description or ()]
    return lambda values: {name: value for (name, kept), value in zip(columns, values, strict=True) if kept}


def has_tables(place: Path | str, table: str) -> bool:
    """Whether books or a ledger have got as far as having this table."""
    if isinstance(place, Path):
        if not place.exists() or not place.stat().st_size:
            return False
        with reading(place) as rows:
            return bool(rows("SELECT 1 FROM sqlite_master WHERE name = ?", table))
    with reading(place) as rows:
        return bool(rows("SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = ?", SCHEMA, table))
