"""`tradekeel db upgrade`, `downgrade`, `history`, `current`: the schema of the books, changed and told about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from tradekeel.bootstrap.alone import alone_at, alone_with_books, make_whole_again
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import plain_row
from tradekeel.errors import AlreadyRunning, InputError, StoreHeld
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import StateDir
from tradekeel.storage import migrating, schema
from tradekeel.storage.backend import Backend
from tradekeel.storage.migrating import Migrated
from tradekeel.storage.planning import plan
from tradekeel.storage.store import Store

Tell = Callable[[str], object]
"""Told again and again what is being done."""


def upgrade(place: Place, tell: Tell, *, backup: bool = True) -> dict[str, Any]:
    """Apply what is missing; what was applied. Takes the state directory for the time: AlreadyRunning beside a daemon."""
    if not place.has_books:
        place.books()  # says so; a file that an interrupted start left without a schema gets one
    with alone_at(place, place.environ) as statedir:
        make_whole_again(statedir)
        books, now_ns = place.where, SystemClock().now_ns()
        with (
            _explained(books),
            Store.open(books, now_ns=now_ns, progress=tell, backup=backup) as store,
        ):
            migrated = Migrated(store.migrations, store.notes)
        if not migrated.applied:
            with _explained(
                books
            ):  # what belongs to the schema beside the tables, the rights on a server, is put right
                migrated = migrating.upgrade(books, now_ns, progress=tell, backup=backup)
        return _said(migrated, statedir)


def downgrade(place: Place, target: str, tell: Tell, *, backup: bool = True) -> dict[str, Any]:
    """Take back the revisions above ``target``; what was taken back. InputError for a schema that there is no way back to."""
    with alone_with_books(place, place.environ) as (books, statedir), _explained(books):
        return _said(migrating.downgrade(books, target, SystemClock().now_ns(), progress=tell, backup=backup), statedir)


def planned(place: Place, target: str | None, *, backup: bool = True, sql: bool = False) -> dict[str, Any]:
    """What an upgrade, or with a ``target`` a downgrade, would do. Nothing is changed, and a daemon may run."""
    if not place.has_books:
        place.books()
    books = place.where
    with _explained(books):
        found = plan(books, target, backup=backup, sql=sql)
    return {
        "books": str(books),
        "version": found.version,
        "would": [{"revision": step.revision, "description": step.description} for step in found.steps],
        "backup": found.backup if found.steps else None,
        "problem": found.problem,
        "sql": found.sql,
    }


def current(place: Place) -> dict[str, Any]:
    """At which revision the books are, and which this program knows."""
    books = place.books()
    with _explained(books), closing(books.look()) as db:
        standing = schema.standing_of(db.execute, books)
    schema.refuse_unknown(standing, books)
    missing = [name for name in schema.REVISIONS if standing.version is None or name > standing.version]
    return {"books": str(books), "version": standing.version, "newest": schema.HEAD, "missing": missing}


def history(place: Place) -> list[dict[str, Any]]:
    """The schema's own log, oldest first."""
    books = place.books()
    with _explained(books):
        return [plain_row(migration) for migration in migrating.history(books)]


def _said(migrated: Migrated, statedir: StateDir) -> dict[str, Any]:
    copy = next((row.backup for row in migrated.applied if row.backup), None)
    return {
        "applied": [plain_row(row) for row in migrated.applied],
        "notes": list(migrated.notes),
        "copy": None if copy is None else str(statedir.backups / copy),
    }


@contextmanager
def _explained(books: Backend) -> Iterator[None]:
    """The driver's and the system's complaints in our words."""
    try:
        yield
    except InputError:
        raise
    except StoreHeld as error:  # as beside a daemon of this machine
        raise AlreadyRunning(str(error)) from error
    except books.errors as error:
        raise books.in_our_words(error, "looking after its schema") from error
