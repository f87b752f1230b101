"""A copy put in the place of the books on a server, in one transaction: proved before it is committed, what was there kept.

The schema that is there gets another name, and the copy's is made beside it and brought up to date. Nobody sees anything of that
before it is committed; whatever fails, or a process that is killed, leaves the books as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from tradekeel.errors import InputError, StoreCorrupt
from tradekeel.storage import migrating
from tradekeel.storage.backend import Restored, Restoring, Tool
from tradekeel.storage.naming import free_name
from tradekeel.storage.postgres.connection import PostgresConnection
from tradekeel.storage.postgres.dump import load, opened
from tradekeel.storage.postgres.rights import SCHEMA
from tradekeel.storage.schema import refuse_newer
from tradekeel.storage.verify import verify_within

if TYPE_CHECKING:
    from tradekeel.storage.postgres.backend import Postgres


class _Unhurried(PostgresConnection):
    """A connection whose statements take as long as they take."""

    @contextmanager
    def patient(self, patience_s: float) -> Iterator[None]:
        """They may anyway."""
        yield


def put_back(backend: Postgres, copy: Path, doing: Restoring) -> Restored:
    """See the module. Raises InputError, AlreadyRunning, StoreError: nothing was changed then, but for a StoreUnavailable whose
    connection was lost with the answer to the COMMIT: then it may have been done, and doing it again does no harm.
    """
    if not copy.is_file():
        raise InputError(f"{copy} is no file: name a copy that `tradekeel db backup` has made")
    try:
        return _put_back(backend, copy, doing)
    except backend.errors as error:
        raise backend.in_our_words(error, f"putting {copy} in its place") from error


def _put_back(backend: Postgres, copy: Path, doing: Restoring) -> Restored:
    aside = None
    with opened(copy) as (archive, header):
        refuse_newer(header.revision, backend)
        with backend.migrating(lambda: None, lambda: None) as connection:
            raw: Any = connection.connection.driver_connection
            db = _Unhurried(raw)
            if backend.tables(connection.exec_driver_sql):
                backend.refuse_all_but_owner(db)
                accounts = [account for (account,) in db.execute("SELECT account FROM leases").fetchall()]
                backend.refuse_holders(db, accounts, Tool.REPLACES)
                wanted = f"{SCHEMA}_{doing.aside.name}".replace("-", "_").lower()
                taken = {name for (name,) in db.execute("SELECT nspname FROM pg_namespace").fetchall()}
                aside = free_name(wanted, taken.__contains__, "_")
                owner = _owner(db)
                db.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {aside}")
                raw.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(SCHEMA), owner))
                raw.execute(sql.SQL("SET LOCAL ROLE {}").format(owner))  # an administrator puts it back for the owner
            migrating.make(connection, header.revision)
            load(raw, archive, header, copy, lambda done, total: doing.progress("copying", done, total))
            _bring_up(connection, doing.now_ns)
            backend.after_migration(connection)
            verdict = verify_within(db, backend, doing.progress)
            if not verdict.ok:
                raise StoreCorrupt(
                    f"{copy} is damaged, and nothing was changed: {verdict.in_short()}. Put another copy back."
                )
            doing.point("restore.proved")
    doing.point("restore.swapped")
    replaced = None if aside is None else f"schema {aside}"
    return Restored(header.revision, verdict.executions, verdict.records, replaced)


def _owner(db: PostgresConnection) -> sql.Identifier:
    [(name,)] = db.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = ?", (SCHEMA,)).fetchall()
    return sql.Identifier(name)


def _bring_up(connection: Any, now_ns: int) -> None:
    """The revisions that the copy does not have yet, within the same transaction."""
    config = migrating.alembic_config(None)
    config.attributes.update(now_ns=now_ns, backup=None, checksums=migrating.known_in(), connection=connection, ran=[])
    migrating.run_revisions(config, None)
