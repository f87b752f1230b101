"""A look at the books as they are at one moment, whatever a daemon writes meanwhile.

What an answer says of trades, positions and balance must fit together, so all of it is read in one transaction. While that
lasts, the write-ahead log of a busy daemon cannot be cut back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tradekeel.errors import StoreCorrupt, named
from tradekeel.storage import schema
from tradekeel.storage.backend import RESTORE, Backend, Connection, backend_at


@contextmanager
def one_moment(place: Backend | Path, doing: str = "reading it") -> Iterator[Connection]:
    """A connection that only reads, and sees nothing that comes later. Raises StoreError, also for what is done with it."""
    backend = backend_at(place)
    try:
        with closing(backend.connect(read_only=True)) as db:
            db.execute(backend.begin_read)
            schema.refuse_other(schema.standing_of(db.execute, backend), backend)
            yield db
            backend.refuse_replaced(db, doing)
    except backend.errors as error:
        raise backend.in_our_words(error, doing) from error
    except (ArithmeticError, UnicodeDecodeError) as error:  # amounts that are none, or the driver's own words
        raise StoreCorrupt(f"{backend} is damaged ({doing}: {named(error)}). {RESTORE}") from error
