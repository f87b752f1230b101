"""Whether every row has what it refers to.

The server sees to that itself, unless somebody with all rights told it not to (a restore does), or its disk is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator

from tradekeel.storage.backend import Connection
from tradekeel.storage.postgres.connection import PostgresConnection

PATIENCE_S = 600.0
"""How long one reference of all rows of a table may take."""

_REFERENCES = """
SELECT conname, conrelid::regclass::text, confrelid::regclass::text, convalidated,
    ARRAY(SELECT quote_ident(attname) FROM unnest(conkey) WITH ORDINALITY AS k (n, place)
        JOIN pg_catalog.pg_attribute ON attrelid = conrelid AND attnum = k.n ORDER BY k.place),
    ARRAY(SELECT quote_ident(attname) FROM unnest(confkey) WITH ORDINALITY AS k (n, place)
        JOIN pg_catalog.pg_attribute ON attrelid = confrelid AND attnum = k.n ORDER BY k.place)
FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_namespace n ON n.oid = connamespace
WHERE n.nspname = 'trading' AND contype = 'f' ORDER BY conrelid::regclass::text, conname
"""


def broken_references(db: Connection) -> Iterator[str]:
    """Rows that refer to something that does not exist, a sentence each, and references that rows were never held to."""
    assert isinstance(db, PostgresConnection)
    with db.patient(PATIENCE_S):
        for name, table, parent, validated, columns, keys in db.execute(_REFERENCES).fetchall():
            if not validated:
                yield f"{table}: the rows were never held to {name}"
            there = " AND ".join(f"p.{key} = c.{column}" for column, key in zip(columns, keys, strict=True))
            meant = " AND ".join(f"c.{column} IS NOT NULL" for column in columns)
            lost = f"NOT EXISTS (SELECT 1 FROM {parent} p WHERE {there})"  # noqa: S608  # names that the server has quoted
            rows = f"FROM {table} c WHERE {meant} AND {lost}"
            # As a rule there are none: a count is one exchange with the server, and a stream takes four.
            if db.execute(f"SELECT count(*) {rows}").fetchone() == (0,):
                continue
            for (row,) in db.stream(f"SELECT c.ctid::text {rows}"):
                yield f"{table}, row {row}: what it refers to in {parent} does not exist"
