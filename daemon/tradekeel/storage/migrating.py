"""The schema, changed: with Alembic, after a backup, in one transaction. New books are made at once, without it.

Whoever changes books is alone with them from the first look to the commit: what was looked at is what is copied, and what is
copied is what is changed. All missing revisions are applied in one transaction, and each is written into
``migration_history`` by it. Going down is for whoever wants to install an earlier version; what that one has no place for
is only in the backup then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tradekeel.errors import InputError, StoreBlocked
from tradekeel.storage.backend import Backend, backend_at
from tradekeel.storage.backups import BACKUPS_KEPT, Doing, Heed
from tradekeel.storage.newbooks import make_new
from tradekeel.storage.revisions import checksums_in
from tradekeel.storage.schema import CHECKSUMS, HISTORY, Standing, refuse_unknown, standing_of

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"

FIRST_HISTORY = "schema_migrations"  # the name of the history in schema 0001
_LOGGED = {
    HISTORY: "SELECT version, from_version, name, applied_ns, backup, checksum FROM migration_history ORDER BY id",
    FIRST_HISTORY: "SELECT revision, from_revision, description, applied_ns, backup, '' FROM schema_migrations ORDER BY id",
}


class MigrationApplied(Struct, frozen=True):
    """One entry of the schema's own log."""

    revision: str  # that the books were at, behind it
    from_revision: str | None  # None: the books were new
    description: str
    applied_ns: int
    backup: str | None  # the copy made before it
    checksum: str  # of the revision that was run; "" where it was not written down yet


class Migrated(Struct, frozen=True):
    """What was done."""

    applied: tuple[
        MigrationApplied, ...
    ]  # oldest first; none where nothing was missing, or somebody else did it meanwhile
    notes: tuple[str, ...] = ()  # what a person should know of it


def upgrade(
    place: Backend | Path,
    now_ns: int,
    *,
    backups_kept: int = BACKUPS_KEPT,
    progress: Doing | None = None,
    heed: Heed = lambda: None,
    backup: bool = True,
    versions: Path | None = None,
) -> Migrated:
    """Bring the books to the newest revision, after a backup.

    ``heed`` is called again and again as long as nothing has been changed: what it raises ends it there, and no half-made copy
    is left. Without ``backup`` no copy is made first. ``versions`` is a folder of revisions that are run instead of the built-in
    ones, also where the books are new (tests). On any error the books stay as they were. Raises StoreError, and what the driver
    or the system raises.
    """
    return _migrate(place, now_ns, None, backups_kept, progress, heed, backup, versions)


def downgrade(
    place: Backend | Path,
    target: str,
    now_ns: int,
    *,
    backups_kept: int = BACKUPS_KEPT,
    progress: Doing | None = None,
    heed: Heed = lambda: None,
    backup: bool = True,
    versions: Path | None = None,
) -> Migrated:
    """Take back the revisions above ``target``, after a backup. InputError where that is none to go back to.

    What the earlier tables have no place for is gone from the books then, and only in the backup.
    """
    return _migrate(place, now_ns, target, backups_kept, progress, heed, backup, versions)


def _migrate(
    place: Backend | Path,
    now_ns: int,
    target: str | None,
    backups_kept: int,
    progress: Doing | None,
    heed: Heed,
    backup: bool,
    versions: Path | None,
) -> Migrated:
    doing: Doing = progress if progress is not None else lambda what: None
    backend = backend_at(place)
    version: str | None = None
    heed()

    def goes_on() -> None:
        doing(f"migrating {backend} from schema {version}" if version else f"beginning to migrate {backend}")

    with backend.migrating(goes_on, heed) as connection:
        execute = connection.exec_driver_sql
        standing = standing_of(execute, backend)
        version = standing.version
        is_new = version is None and target is None and versions is None
        known = CHECKSUMS if is_new else known_in(versions)
        if not missing(standing, target, backend, known):
            return Migrated((), backend.after_migration(connection))
        backend.check_migration(execute, standing, backup=backup)
        copy = None
        if backup and version is not None:
            copy = backend.back_up_before(version, now_ns, backups_kept, doing, heed)
        heed()
        if is_new:
            ran = make_new(connection, backend, now_ns)
        else:
            ran = []
            config = alembic_config(versions)
            config.attributes.update(now_ns=now_ns, backup=copy, checksums=known, connection=connection, ran=ran)
            run_revisions(config, target)
        notes = backend.after_migration(connection)
    if copy is not None:
        backend.forget_backups(backups_kept, newest=copy)
    return Migrated(tuple(MigrationApplied(**row) for row in ran), tuple(notes))


def make(connection: Connection, version: str) -> None:
    """Make the tables of a version where there are none, and write nothing into the history: it comes from a copy."""
    config = alembic_config(None)
    config.attributes["connection"] = connection
    run_revisions(config, None, to=version)


def known_in(versions: Path | None = None) -> dict[str, str]:
    """The revisions that there are, oldest first, and their checksums. StoreBlocked for a released one that was changed."""
    found = checksums_in(versions or VERSIONS)
    for version, checksum in found.items():
        if CHECKSUMS.get(version, checksum) != checksum:
            raise StoreBlocked(
                f"migration {version} is not what it was when it was released ({versions or VERSIONS}: its checksum is "
                f"{checksum[:12]}…, it was released with {CHECKSUMS[version][:12]}…): install this version of Tradekeel again. "
                "Nothing was changed."
            )
    return found


def missing(standing: Standing, target: str | None, backend: Backend, known: Mapping[str, str]) -> list[str]:
    """The revisions to apply, in order, or to take back. Raises as :func:`refuse_unknown`, and InputError for a wrong target."""
    refuse_unknown(standing, backend, known)
    names = list(known)
    if target is None:
        return names if standing.version is None else names[names.index(standing.version) + 1 :]
    if standing.version is None or target not in names or target > standing.version:
        below = ", ".join(name for name in names if standing.version is not None and name < standing.version)
        raise InputError(f"{target} is no schema that {backend} can go back to; allowed: {below or 'none'}")
    return [name for name in reversed(names) if target < name <= standing.version]


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


# --- Alembic ---------------------------------------------------------------------------------------------------------


def alembic_config(versions: Path | None = None) -> Config:
    """Where Alembic finds the revisions; what a run is given goes into its ``attributes``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions or VERSIONS).replace("%", "%%"))
    return config


def run_revisions(config: Config, target: str | None, *, to: str = "head", **options: Any) -> None:
    """Run revisions as the config's attributes say: within the transaction of a connection, or as text into a buffer.

    Without a ``target`` to go back to, up and ``to`` a revision.
    """
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _: Any) -> Any:
        if target is None:
            return script._upgrade_revs(to, revision)
        return script._downgrade_revs(target, revision)

    with EnvironmentContext(config, script, fn=steps, **options):
        script.run_env()
