"""The file's version: told cheaply at every start, and raised with Alembic when it is behind.

Comparing versions is one SELECT; Alembic, which costs memory and time, is imported only when something is to be done.
A file that exists is copied before it is changed, all missing revisions are applied in one transaction, and each is
written into ``schema_migrations`` by the same transaction. There is no way down in the product: going back means
restoring the backup.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tradekeel.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage.files import RESTORE, connect, copy_database

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001",)
"""Every revision this version knows, oldest first; a test holds them to the files in ``migrations/versions``."""

HEAD = REVISIONS[-1]
BACKUPS_KEPT = 5
"""Copies made before migrations that stay in the backups folder."""

STEPS_BETWEEN_SIGNS = 1_000_000
"""Instructions of SQLite's machine between two signs that a migration goes on: some hundredths of a second."""

Doing = Callable[[str], object]
"""Called again and again, with what is being done, while it goes on."""

Heed = Callable[[], object]
"""Looks whether it should go on at all, and raises where it should not."""

MIGRATIONS = Path(__file__).parent / "migrations"


class MigrationApplied(Struct, frozen=True):
    """One entry of the schema's own log."""

    revision: str
    from_revision: str | None  # None: the file was new
    description: str
    applied_ns: int
    backup: str | None  # the copy made before it


def version_of(execute: Callable[[str], Any], path: Path) -> str | None:
    """The revision a file is at, None for an empty one. StoreCorrupt if it is a database, but not one of ours.

    ``execute`` runs a statement on whatever connection there is and gives its rows.
    """
    tables = {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if "alembic_version" not in tables or "journal" not in tables:
        raise StoreCorrupt(
            f"{path} is a SQLite database, but not a Tradekeel store (no journal in it). Name another file in the "
            "config, or move this one away."
        )
    row = execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise StoreCorrupt(f"{path} does not say which version it has. {RESTORE}")
    return str(row[0])


def refuse_newer(version: str | None, path: Path, known: Sequence[str] = REVISIONS) -> None:
    """StoreTooNew for a revision this program does not know."""
    if version is not None and version not in known:
        raise StoreTooNew(
            f"{path} was written by a newer Tradekeel (schema {version}, this one knows up to {known[-1]}). "
            "Install that version again, or restore a backup made before the upgrade."
        )


def refuse_other(version: str | None, path: Path) -> None:
    """For whoever only reads: StoreTooNew, or StoreUnavailable where a migration is still to come."""
    refuse_newer(version, path)
    if version != HEAD:
        raise StoreUnavailable(
            f"{path} has schema {version}, this version needs {HEAD}: start the daemon, or run `tradekeel db upgrade`"
        )


def backup_name(path: Path, version: str, now_ns: int) -> Path:
    """Where the copy before a migration goes: ``backups/NAME-VERSION-TIME.db`` beside the file.

    If an attempt of the same second was killed behind its copy, that one stays and this one is numbered: ``…-2.db``.
    """
    when = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    first = path.parent / "backups" / f"{path.stem}-{version}-{when}.db"
    names = chain([first], (first.with_stem(f"{first.stem}-{number}") for number in count(2)))
    return next(name for name in names if not name.exists())


def forget_old_backups(path: Path, kept: int, *, newest: str = "", good: str = "") -> None:
    """Delete all but the newest ``kept`` copies made before migrations, and the half-made ones of attempts that were killed.

    ``newest`` is the name of the one just made, whatever its time says (clocks are set back), and ``good`` that of one which
    stays in any case. Other files of the folder are not ours.
    """
    folder = path.parent / "backups"
    if not folder.exists():
        return
    made = re.compile(re.escape(path.stem) + r"-.+-(\d{8}T\d{6}Z)(?:-(\d+))?\.db(\.partial)?")
    named = [(found, file) for file in folder.iterdir() if (found := made.fullmatch(file.name))]
    whole = sorted(
        ((file.name == newest, found[1], int(found[2] or 1), file) for found, file in named if not found[3]),
        reverse=True,
    )
    half_made = [file for found, file in named if found[3]]
    for file in (*half_made, *(file for *_, file in whole[max(kept, 1) :] if file.name != good)):
        file.unlink()


def upgrade(
    path: Path,
    version: str | None,
    now_ns: int,
    *,
    backups_kept: int = BACKUPS_KEPT,
    progress: Doing | None = None,
    heed: Heed = lambda: None,
    versions: Path | None = None,
    target: str = "head",
) -> list[MigrationApplied]:
    """Bring the file from ``version`` to the newest revision, after a backup; returns what was applied, oldest first.

    ``heed`` is called again and again as long as nothing has been changed: what it raises ends it there, and no half-made copy
    is left. ``versions`` is a folder of revisions instead of the built-in one (tests). On any error the file stays as it was.
    """
    doing: Doing = progress if progress is not None else lambda what: None

    def goes_on() -> int:
        doing(f"migrating {path} from schema {version}")
        return 0  # anything else would interrupt the statement

    heed()
    backup = None if version is None else _back_up(path, version, now_ns, backups_kept, doing, heed)
    heed()
    config = _config(versions)
    config.attributes.update(now_ns=now_ns, backup=backup)
    with closing(connect(path)) as db:
        db.set_progress_handler(goes_on, STEPS_BETWEEN_SIGNS)
        # A rebuilt table would take its referring rows with it; references are checked before the commit instead.
        db.execute("PRAGMA foreign_keys = OFF")
        last = _last_logged(db)
        _run(config, db, lambda script, revision: script._upgrade_revs(target, revision))
        applied = _logged_after(db, last)
    if backup is not None:
        forget_old_backups(path, backups_kept, newest=backup)
    return applied


def _back_up(path: Path, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
    """The name of a copy made now. Each try makes one, and trims: tries that fail must not fill the disk.

    The copy of the last migration that succeeded stays until this one has: what fails may have damaged books to copy.
    """
    with closing(connect(path)) as source:
        logged = _logged_after(source, 0) if _last_logged(source) else []
        good = next((migration.backup for migration in reversed(logged) if migration.backup is not None), "")
        forget_old_backups(path, kept, good=good)
        backup = backup_name(path, version, now_ns)
        copying = f"copying {path} to {backup} before it is migrated"

        def goes_on(done: int, total: int) -> None:
            doing(f"{copying}: {done * 100 // max(total, 1)} %")
            heed()

        copy_database(source, backup, goes_on)
    forget_old_backups(path, kept, newest=backup.name, good=good)
    return backup.name


def downgrade(path: Path, target: str, *, versions: Path | None = None) -> None:
    """Go back to ``target``. For tests of revisions; the product restores the backup instead."""
    with closing(connect(path)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        _run(_config(versions), db, lambda script, revision: script._downgrade_revs(target, revision))


def history(path: Path) -> list[MigrationApplied]:
    """The schema's log, oldest first."""
    with closing(connect(path, read_only=True)) as db:
        return _logged_after(db, 0)


def _config(versions: Path | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions or MIGRATIONS / "versions").replace("%", "%%"))
    return config


def _run(config: Config, db: sqlite3.Connection, steps: Callable[[Any, Any], Any]) -> None:
    """Run revisions on a connection of ours, in one transaction that we begin."""
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import StaticPool

    script = ScriptDirectory.from_config(config)
    engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with _as_the_driver_says(), engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        with EnvironmentContext(config, script, fn=lambda revision, _: steps(script, revision)):
            script.run_env()
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreCorrupt(f"the migration would leave rows without what they refer to: {tuple(broken)}")


@contextmanager
def _as_the_driver_says() -> Iterator[None]:
    """SQLAlchemy wraps what SQLite says of the disk; whoever opens the file wants to hear it plainly. Our bugs stay bugs."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(error.orig, sqlite3.Error) and code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT):
            raise error.orig from error
        raise


def _last_logged(db: sqlite3.Connection) -> int:
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone() is None:
        return 0
    return int(db.execute("SELECT coalesce(max(id), 0) FROM schema_migrations").fetchone()[0])


def _logged_after(db: sqlite3.Connection, last: int) -> list[MigrationApplied]:
    rows = db.execute(
        "SELECT revision, from_revision, description, applied_ns, backup FROM schema_migrations WHERE id > ? ORDER BY id",
        (last,),
    )
    return [MigrationApplied(*row) for row in rows]
