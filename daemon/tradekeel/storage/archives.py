"""What the books know of their archives: which records and rows were moved into which file, and how to go on behind them.

A journal whose first records were moved begins with another number than 1. Whoever folds it begins with the book as it was behind
the last record that was moved, and with the rows up to there that stayed in their tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from tradekeel.domain.book import Book
from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Order
from tradekeel.domain.positions import Position
from tradekeel.domain.rows import ExecutionRow, ParameterChange, PerformanceSnapshot, StrategyRow, VenueCursor
from tradekeel.domain.trades import Trade
from tradekeel.errors import StoreCorrupt
from tradekeel.storage.backend import RESTORE, Connection


class Turnover(Struct, frozen=True):
    """Sums over the fills that were moved of one position; values are quantity times price, in quote currency."""

    venue: str
    instrument: str
    position_ref: str  # "" where the account nets
    bought: Decimal = ZERO
    bought_value: Decimal = ZERO
    sold: Decimal = ZERO
    sold_value: Decimal = ZERO
    realised: Decimal = ZERO
    fee: Decimal = ZERO
    fills: int = 0
    first_ns: int = 0
    last_ns: int = 0


class Figures(Struct, frozen=True, kw_only=True):
    """Sums over all rows of an execution that were moved, for whoever tells what it came to; in account currency."""

    gross: Decimal = ZERO  # of trades, before fees and financing
    fees: Decimal = ZERO
    financing: Decimal = ZERO
    realised: Decimal = ZERO  # of fills
    opened: int = 0  # trades that were open at the end of an execution that is over
    closed: int = 0
    won: int = 0
    orders: int = 0
    rejected: int = 0
    denied: Mapping[str, int] = {}
    rejections: Mapping[str, int] | UnsetType = UNSET  # by the venue's reason; unset: none, or none were kept
    opening: Decimal = ZERO  # what the execution began with, the deposit that opened the account included
    positions: tuple[Position, ...] = ()  # what it held behind the last record: its opening and all fills up to there
    strategies: Mapping[
        str, tuple[Position, ...]
    ] = {}  # of the same fills, and of the executions before: what came of each's
    turnover: tuple[Turnover, ...] = ()
    removed: tuple[tuple[str, ...], ...] = ()
    """Fills, by their keys, that were there behind the last record and had been removed when it was archived: in no position."""


class Kept(Struct, frozen=True, kw_only=True):
    """The rows that were there behind the last record that was moved, and stayed: their versions as of then."""

    executions: tuple[ExecutionRow, ...] = ()
    strategies: tuple[StrategyRow, ...] = ()
    signals: tuple[Signal, ...] = ()
    trades: tuple[Trade, ...] = ()
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    snapshots: tuple[PerformanceSnapshot, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    cursors: tuple[VenueCursor, ...] = ()

    def rows(self) -> Iterator[Any]:
        """All of them, none before one that it refers to."""
        for name in self.__struct_fields__:
            yield from getattr(self, name)


KEPT_FIELDS: dict[type[Struct], str] = {
    ExecutionRow: "executions",
    StrategyRow: "strategies",
    Signal: "signals",
    Trade: "trades",
    Order: "orders",
    Fill: "fills",
    PerformanceSnapshot: "snapshots",
    ParameterChange: "parameters",
    VenueCursor: "cursors",
}


class ArchiveRow(Struct, frozen=True, kw_only=True):
    """One file."""

    execution: str
    first: int
    last: int
    name: str  # in the folder of archives, or the whole path of a file that is elsewhere
    sha256: str
    size: int  # of the file, in bytes
    archived_ns: int
    counts: Mapping[str, int]  # rows by table, the journal among them
    figures: Figures
    book: bytes = b""
    kept: bytes = b""

    def crc(self) -> int:
        """The checksum of all columns."""
        head = f"{self.execution}\0{self.first}\0{self.last}\0{self.name}\0{self.sha256}\0{self.size}\0{self.archived_ns}\0"
        texts = f"{_json(self.counts)}\0{_json(self.figures)}\0"
        return crc32(self.kept, crc32(self.book, crc32((head + texts).encode("utf-8", "surrogateescape"))))

    def values(self) -> tuple[Any, ...]:
        """As it stands in the table."""
        return (
            *(self.execution, self.first, self.last, self.name, self.sha256, self.size, self.archived_ns),
            *(_json(self.counts), _json(self.figures), self.book, self.kept, self.crc()),
        )

    def emptied(self) -> ArchiveRow:
        """Of an older one nobody needs the book any more."""
        return structs.replace(self, book=b"", kept=b"")

    def book_behind(self) -> Book:
        """The book as it was behind the last record. Raises msgspec's errors."""
        return Book.load(self.book)

    def rows_kept(self) -> Kept:
        """The rows that stayed. Raises msgspec's errors."""
        return _KEPT_DECODER.decode(self.kept)


COLUMNS = "execution, first, last, name, sha256, bytes, archived_ns, counts, figures, book, kept, crc"
_SELECT = f"SELECT {COLUMNS} FROM journal_archives WHERE execution = ? ORDER BY first"  # noqa: S608  # constants
LAST_ARCHIVED = "SELECT max(last) FROM journal_archives WHERE execution = ?"
INSERT = f"INSERT INTO journal_archives ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
REPLACE = "UPDATE journal_archives SET book = ?, kept = ?, crc = ? WHERE execution = ? AND first = ?"

_KEPT_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_KEPT_DECODER = msgspec.msgpack.Decoder(Kept)
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError)


def encode_kept(kept: Kept) -> bytes:
    """As it stands in the table."""
    return _KEPT_ENCODER.encode(kept)


def archives_of(db: Connection, place: object, execution: str) -> list[ArchiveRow]:
    """An execution's archives, oldest first. StoreCorrupt, naming the ``place``, for a row that is damaged, or a gap."""
    found: list[ArchiveRow] = []
    for values in db.execute(_SELECT, (execution,)).fetchall():
        row = archive_row(values, place)
        if row.first != (found[-1].last + 1 if found else 1):
            raise StoreCorrupt(f"{_about(values, place)} does not follow the one before it. {RESTORE}")
        found.append(row)
    return found


def archive_row(values: Sequence[Any], place: object) -> ArchiveRow:
    """A row of the table, with its ``COLUMNS`` as the driver gives them. StoreCorrupt for one that is damaged."""
    try:
        row = ArchiveRow(
            execution=values[0],
            first=values[1],
            last=values[2],
            name=values[3],
            sha256=values[4],
            size=values[5],
            archived_ns=values[6],
            counts=msgspec.json.decode(values[7], type=dict[str, int]),
            figures=msgspec.json.decode(values[8], type=Figures),
            book=values[9],
            kept=values[10],
        )
        is_sound = row.crc() == values[11]
    except _UNREADABLE as error:
        raise StoreCorrupt(f"{_about(values, place)} cannot be read ({error}). {RESTORE}") from error
    if not is_sound:
        raise StoreCorrupt(f"{_about(values, place)} is damaged (its checksum is off). {RESTORE}")
    return row


def _about(values: Sequence[Any], place: object) -> str:
    return f"{place}: what is known of the archive of execution {values[0]} from record {values[1]} on"


def archive_names(db: Connection) -> list[str]:
    """The files that hold what was moved out of the books: a name in the folder of archives, or a whole path."""
    return [name for (name,) in db.execute("SELECT DISTINCT name FROM journal_archives ORDER BY name").fetchall()]


def archived_rows(
    db: Connection, accounts: Collection[str] | None, executions: Collection[str] | None
) -> dict[str, int]:
    """Rows by table that are in archives and no longer in the books; of some accounts or executions, or of all."""
    found: Counter[str] = Counter()
    sql = (
        "SELECT e.account, e.execution, a.counts FROM journal_archives a JOIN executions e ON e.execution = a.execution"
    )
    for account, execution, counts in db.execute(sql).fetchall():
        if (accounts is None or account in accounts) and (executions is None or execution in executions):
            found.update(msgspec.json.decode(counts, type=dict[str, int]))
    return dict(found)


def last_archived(db: Connection, execution: str) -> int:
    """The number of the last record that is in an archive, 0 where there is none."""
    row = db.execute(LAST_ARCHIVED, (execution,)).fetchone()
    return row[0] or 0


def newest_archive(db: Connection, place: object, execution: str) -> ArchiveRow | None:
    """Behind which the journal in the books goes on, None where it is whole. Raises as :func:`archives_of`."""
    rows = archives_of(db, place, execution)
    return rows[-1] if rows else None


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
