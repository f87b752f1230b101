"""What a migration would do, without doing it: the revisions, the copy made first, what stands in the way, and the SQL."""

from __future__ import annotations

from contextlib import closing
from io import StringIO
from pathlib import Path

from msgspec import Struct

from tradekeel.errors import InputError, StoreError
from tradekeel.storage.backend import Backend, backend_at
from tradekeel.storage.migrating import alembic_config, known_in, missing, run_revisions
from tradekeel.storage.schema import Standing, standing_of


class Step(Struct, frozen=True):
    """One revision that would be applied or taken back."""

    revision: str
    description: str


class Plan(Struct, frozen=True):
    """What would be done, in order."""

    version: str | None  # that the books are at now; None: there are none yet
    steps: tuple[Step, ...]
    backup: str  # what would be copied where, in words
    problem: str | None  # why it would be refused
    sql: str | None = None  # where it was asked for


def plan(
    place: Backend | Path,
    target: str | None = None,
    *,
    backup: bool = True,
    sql: bool = False,
    versions: Path | None = None,
) -> Plan:
    """What ``upgrade`` (or with a ``target``, ``downgrade``) would do. Nothing is changed. Of new books that is told as one
    revision after the other: they are made at once, which comes to the same.

    Raises as these do where they would not even begin: StoreError and InputError, and what the driver raises.
    """
    backend = backend_at(place)
    known = known_in(versions)
    problem: str | None = None
    standing = Standing(None)
    if backend.exists():
        with closing(backend.look()) as db:
            standing = standing_of(db.execute, backend)
            todo = missing(standing, target, backend, known)
            if todo:
                try:
                    backend.check_migration(db.execute, standing, backup=backup)
                except StoreError as error:
                    problem = str(error)
    else:
        todo = missing(standing, target, backend, known)
    steps = tuple(_steps(todo, versions))
    copied = "none: the books are new" if standing.version is None else backend.backup_described
    text = _sql(backend, standing.version, target, versions) if sql and todo else None
    return Plan(standing.version, steps, copied if backup else "none: it was asked for without", problem, text)


def _steps(todo: list[str], versions: Path | None) -> list[Step]:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config(versions))
    return [Step(name, script.get_revision(name).doc) for name in todo]


def _sql(backend: Backend, version: str | None, target: str | None, versions: Path | None) -> str:
    """The statements as text. InputError for a revision whose statements depend on what is in the database."""
    from alembic.util import CommandError

    text = StringIO()
    config = alembic_config(versions)
    config.attributes.update(dialect=backend.dialect.name, buffer=text)
    try:
        run_revisions(config, target, as_sql=True, starting_rev=version)
    except CommandError as error:
        raise InputError(f"the SQL of this migration cannot be told beforehand: {error}") from error
    return text.getvalue()
