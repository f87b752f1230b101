"""Books from a copy, into a database that has none (see :mod:`tradekeel.storage.postgres.dump`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tradekeel.errors import StoreTooNew, StoreUnavailable
from tradekeel.storage import migrating
from tradekeel.storage.postgres.dump import DumpHeader, load, opened
from tradekeel.storage.schema import REVISIONS

if TYPE_CHECKING:
    from tradekeel.storage.files import Progress
    from tradekeel.storage.postgres.backend import Postgres


def restore(source: Path, backend: Postgres, progress: Progress | None = None) -> DumpHeader:
    """Restore a copy into an empty database, whole or not at all. The schema is the copy's: a start brings it up to date.

    ``progress`` is called after each piece, in bytes; what it raises ends it, and nothing was restored. Raises StoreCorrupt,
    StoreTooNew, StoreUnavailable where there is something already, and what driver and system raise.
    """
    with opened(source) as (archive, header):
        if header.revision not in REVISIONS:
            raise StoreTooNew(
                f"{source} was made by a newer Tradekeel (schema {header.revision}, this one knows up to {REVISIONS[-1]}): "
                "restore it with that version."
            )

        with backend.migrating(lambda: None, lambda: None) as connection:
            there = backend.tables(connection.exec_driver_sql)
            if there:
                raise StoreUnavailable(
                    f"{backend} has {len(there)} tables already, and a copy is restored into an empty database only: make one "
                    "(CREATE DATABASE), or drop the schema trading there."
                )
            migrating.make(connection, header.revision)
            raw = connection.connection.driver_connection
            assert raw is not None
            load(raw, archive, header, source, progress)
            backend.after_migration(connection)
    return header
