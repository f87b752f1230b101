"""A journal record as its followers are given it: with its number, and with what it has changed."""

from __future__ import annotations

from msgspec import Struct

from tradekeel.domain import records as r
from tradekeel.domain.positions import Position
from tradekeel.domain.rows import Row


class Entry(Struct, frozen=True):
    """One durable journal record, its number, the rows that it changed, and the position that a fill has moved."""

    sequence: int
    record: r.Record
    rows: tuple[Row, ...] = ()
    moved: Position | None = None  # as it is behind the record; flat ones, too
