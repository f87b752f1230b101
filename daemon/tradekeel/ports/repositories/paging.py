"""How every list is asked for, and how it is answered.

A list takes these words beside its own filters: ``limit`` and ``offset``, or ``limit`` and the ``cursor`` that the page before
it gave; the column to sort by; the time from which and until which. A cursor names the last row of its page by what the list is
sorted by, so that rows which come or go meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypedDict, TypeVar

from msgspec import Struct

T = TypeVar("T")

ROWS_DEFAULT = 100
ROWS_MAX = 10_000
"""Rows of one page, and of one bulk write."""

TIMEOUT_S = 5.0
"""The deadline of a call that names none."""


class Timed(TypedDict, total=False):
    """What every call takes."""

    timeout_s: float
    """Seconds until the call is given up with :class:`~tradekeel.errors.StoreTimeout`."""


class Span(Timed, total=False):
    """What every question about a stretch of time takes: ``since_ns <= t < until_ns``, nanoseconds UTC."""

    since_ns: int | None
    until_ns: int | None


class Listed(Timed, total=False):
    """What every list takes, beside the time."""

    limit: int
    """Rows at most, 1 to :data:`ROWS_MAX`; :data:`ROWS_DEFAULT` unless said."""

    offset: int
    """Rows to pass over; not together with a cursor."""

    cursor: str | None
    """:attr:`Page.next_cursor` of the page before, whose sort and filters must be the same; None begins."""

    sort: str
    """A column by name. Rows in which it is empty are left out."""

    descending: bool
    """Newest, or largest, first: so it is unless said."""


class Paging(Listed, Span, total=False):
    """What every list takes."""


class Page(Struct, Generic[T], frozen=True):
    """Some rows of a list, and where the next ones begin. It can be gone through, measured and indexed like a tuple."""

    rows: tuple[T, ...]
    next_cursor: str | None = None  # None: these were the last

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> T:
        return self.rows[index]
