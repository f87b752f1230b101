"""Where the books of a daemon are."""

from __future__ import annotations

from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.sqlite import Sqlite


def books_in(statedir: StateDir) -> Backend:
    """The file in the state directory."""
    return Sqlite(statedir.books)
