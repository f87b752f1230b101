"""A look at the books as they are at one moment, whatever a daemon writes meanwhile.

What an answer says of trades, positions and balance must fit together, so all of it is read in one transaction. While that
lasts, the write-ahead log of a busy daemon cannot be cut back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tradekeel.errors import StoreCorrupt, named
from tradekeel.storage import schema
from tradekeel.storage.files import RESTORE, connect, in_our_words


@contextmanager
def one_moment(path: Path, doing: str = "reading it") -> Iterator[sqlite3.Connection]:
    """A connection that only reads, and sees nothing that comes later. Raises StoreError, also for what is done with it."""
    try:
        with closing(connect(path, read_only=True)) as db:
            db.execute("BEGIN")
            schema.refuse_other(schema.version_of(db.execute, path), path)
            yield db
    except (sqlite3.Error, OSError) as error:
        raise in_our_words(error, path, doing) from error
    except (ArithmeticError, UnicodeDecodeError) as error:  # amounts that are none, or the driver's own words
        raise StoreCorrupt(f"{path} is damaged ({doing}: {named(error)}). {RESTORE}") from error
