"""The schema, changed: with Alembic, after a backup, in one transaction.

Books that exist are copied before they are changed, all missing revisions are applied in one transaction, and each is
written into ``migration_history`` by the same transaction. There is no way down in the product: going back means
restoring the backup.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tradekeel.storage.backend import Backend, backend_at
from tradekeel.storage.backups import BACKUPS_KEPT, Doing, Heed
from tradekeel.storage.revisions import checksums_in

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"

HISTORY = "migration_history"
FIRST_HISTORY = "schema_migrations"  # its name in schema 0001
_LOGGED = {
    HISTORY: "SELECT version, from_version, name, applied_ns, backup, checksum FROM migration_history ORDER BY id",
    FIRST_HISTORY: "SELECT revision, from_revision, description, applied_ns, backup, '' FROM schema_migrations ORDER BY id",
}


class MigrationApplied(Struct, frozen=True):
    """One entry of the schema's own log."""

    revision: str
    from_revision: str | None  # None: the books were new
    description: str
    applied_ns: int
    backup: str | None  # the copy made before it
    checksum: str  # of the revision that was run


def upgrade(
    place: Backend | Path,
    version: str | None,
    now_ns: int,
    *,
    backups_kept: int = BACKUPS_KEPT,
    progress: Doing | None = None,
    heed: Heed = lambda: None,
    versions: Path | None = None,
    target: str = "head",
) -> list[MigrationApplied]:
    """Bring the books from ``version`` to the newest revision, after a backup; returns what was applied, oldest first.

    ``heed`` is called again and again as long as nothing has been changed: what it raises ends it there, and no half-made copy
    is left. ``versions`` is a folder of revisions instead of the built-in one (tests). On any error the books stay as they were.
    """
    doing: Doing = progress if progress is not None else lambda what: None
    backend = backend_at(place)
    heed()
    backup = None if version is None else backend.back_up_before(version, now_ns, backups_kept, doing, heed)
    heed()
    config = _config(versions)
    config.attributes.update(now_ns=now_ns, backup=backup, checksums=checksums_in(versions or VERSIONS))
    with backend.migrating(lambda: doing(f"migrating {backend} from schema {version}")) as connection:
        known = len(_logged(backend, connection.exec_driver_sql))
        _run(config, connection, lambda script, revision: script._upgrade_revs(target, revision))
        applied = _logged(backend, connection.exec_driver_sql)[known:]
    if backup is not None:
        backend.forget_backups(backups_kept, newest=backup)
    return applied


def downgrade(place: Backend | Path, target: str, *, versions: Path | None = None) -> None:
    """Go back to ``target``. For tests of revisions; the product restores the backup instead."""
    with backend_at(place).migrating(lambda: None) as connection:
        _run(_config(versions), connection, lambda script, revision: script._downgrade_revs(target, revision))


def history(place: Backend | Path) -> list[MigrationApplied]:
    """The schema's log, oldest first. Raises what the driver raises."""
    from contextlib import closing

    backend = backend_at(place)
    with closing(backend.connect(read_only=True)) as db:
        return _logged(backend, db.execute)


def _logged(backend: Backend, execute: Callable[[str], Any]) -> list[MigrationApplied]:
    there = backend.tables(execute)
    name = next((name for name in _LOGGED if name in there), None)
    return [] if name is None else [MigrationApplied(*row) for row in execute(_LOGGED[name])]


def _config(versions: Path | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions or VERSIONS).replace("%", "%%"))
    return config


def _run(config: Config, connection: Connection, steps: Callable[[Any, Any], Any]) -> None:
    """Run revisions within the transaction of a connection."""
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(config)
    config.attributes["connection"] = connection
    with EnvironmentContext(config, script, fn=lambda revision, _: steps(script, revision)):
        script.run_env()
