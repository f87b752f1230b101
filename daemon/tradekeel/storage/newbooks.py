"""New books: the tables as they are today, made at once, with the history of the revisions that would have made them.

Where there is nothing yet, running one revision after the other only makes tables that the next one changes, and Alembic costs
memory and time. What is made here is what the revisions make, and tests hold both databases to that: the same tables, rules,
indexes and triggers, and in ``alembic_version`` and ``migration_history`` the same rows. So nobody who meets the books later,
and no way back to an earlier schema, has to know how they were made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradekeel.storage.schema import CHECKSUMS, HEAD, NAMES, REVISIONS
from tradekeel.storage.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from tradekeel.storage.backend import Backend

_VERSION_TABLE = """
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""  # noqa: W291  # Alembic's own words: SQLite keeps them as they are

_LOGGED = (
    "INSERT INTO migration_history (version, name, applied_ns, checksum, from_version, backup) "
    "VALUES (:revision, :description, :applied_ns, :checksum, :from_revision, :backup)"
)


def make_new(connection: Connection, backend: Backend, now_ns: int) -> list[dict[str, Any]]:
    """Make everything where there is nothing, within a connection's transaction; what the history says of it, oldest first."""
    from sqlalchemy import text

    connection.exec_driver_sql(_VERSION_TABLE.strip())  # first, because a function on PostgreSQL reads it
    metadata.create_all(connection, checkfirst=False)
    for statement in backend.beyond_tables(metadata):
        connection.exec_driver_sql(statement)
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})
    history = _history(now_ns)
    for row in history:
        connection.execute(text(_LOGGED), row)
    return history


def _history(now_ns: int) -> list[dict[str, Any]]:
    """What each revision would have written down."""
    return [
        {
            "revision": revision,
            "from_revision": below,
            "description": NAMES[revision],
            "applied_ns": now_ns,
            "backup": None,  # there was nothing to copy
            "checksum": CHECKSUMS[revision],
        }
        for below, revision in zip((None, *REVISIONS), REVISIONS, strict=False)
    ]
