"""`tradekeel db`: the schema of the books, brought up to date and told about."""

from __future__ import annotations

import sqlite3
from typing import Any

from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import plain_row
from tradekeel.runtime.clock import SystemClock
from tradekeel.storage import schema
from tradekeel.storage.files import in_our_words
from tradekeel.storage.store import Store


def upgrade(place: Place) -> list[dict[str, Any]]:
    """Apply what is missing; what was applied. Takes the state directory for the time: AlreadyRunning beside a daemon."""
    if not place.has_books:
        place.books()  # says so; a file that an interrupted start left without a schema gets one
    statedir = place.statedir
    statedir.lock()
    try:
        with Store.open(statedir.books, now_ns=SystemClock().now_ns()) as store:
            return [plain_row(migration) for migration in store.migrations]
    finally:
        statedir.release()


def history(place: Place) -> list[dict[str, Any]]:
    """The schema's own log, oldest first."""
    path = place.books()
    try:
        return [plain_row(migration) for migration in schema.history(path)]
    except sqlite3.Error as error:
        raise in_our_words(error, path, "reading it") from error
