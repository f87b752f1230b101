"""Rows of a database, a piece at a time: which rows a piece has, and how they are read.

A piece begins at a time, and behind so many rows of that time (``WHERE time >= … ORDER BY … LIMIT … OFFSET …``), so that
nothing but the rows themselves says where it is. Rows of one time are ordered by ``columns.order``, or by everything else that
is read: then two that could change places are the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import quoted_name

from tradekeel.errors import DataError, InputError, StoreAway, StoreDenied
from tradekeel.feeds.candles import OHLC, CandlePath
from tradekeel.feeds.rows import BadRow, Quotes, Row
from tradekeel.feeds.stream import Block, Piece
from tradekeel.feeds.typed import Amounts, Moments, moments_of, typed_row, typed_time
from tradekeel.feeds.zones import BadTime, parse_zone

if TYPE_CHECKING:
    from tradekeel.feeds.sql import SqlFeedSettings

CHUNK_ROWS = 20_000
PIECE_CANDLES = 1_000
"""Of bars so many rows become quotes at a time: each is a hundred of them."""
Values = tuple[Any, ...]


class Chunk(Struct, frozen=True):
    """Some consecutive rows, as they were when everything was read once."""

    name: str
    size_bytes: int  # rows: all parts of a stream have one unit
    first: int  # the number of its first row, from 1
    since: Any  # the time that it begins at; None: the beginning
    behind: int  # so many rows of that time are before it
    digest: bytes  # of all rows up to its end
    before: bytes  # of all rows up to its beginning


class Source:
    """The database, and the questions to it."""

    def __init__(
        self, settings: SqlFeedSettings, base: Path, password: str | None, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        self.settings = settings
        self._chunk_rows = chunk_rows
        columns = settings.columns
        self.where = settings.table if settings.table is not None else "the query"
        self._engine = _engine(settings, base, password)
        prices = (columns.bid, columns.ask) if settings.bars is None else tuple(getattr(columns, name) for name in OHLC)
        wanted = (columns.time, *prices, columns.bid_size, columns.ask_size)
        names = dict.fromkeys(name for name in (*wanted, columns.instrument, columns.order) if name is not None)
        self._rows = _selectable(settings, list(names))
        self._time = self._rows.c[columns.time]
        nothing = sa.null()
        self._read = [nothing if name is None else self._rows.c[name] for name in wanted]
        tie = [self._rows.c[columns.order]] if columns.order is not None else self._read[1:]
        self._order = [self._time, *(part for part in tie if part is not nothing)]

    def chunks(self, symbol: str, reading: Callable[[str, int, int], object] | None = None) -> list[Chunk]:
        """Every piece there is of an instrument, each read once. Raises DataError, StoreAway, StoreDenied."""
        self._refuse_timeless(symbol)
        total = self._count(symbol) if reading is not None else 0
        found: list[Chunk] = []
        since, behind, first, digest = None, 0, 1, b""
        while rows := self.rows(symbol, since, behind, self._chunk_rows):
            before, digest = digest, hashed(rows, digest)
            found.append(Chunk(self.where, len(rows), first, since, behind, digest, before))
            first += len(rows)
            last = rows[-1][0]
            at_last = sum(1 for _ in takewhile(lambda row: row[0] == last, reversed(rows)))  # noqa: B023  # at once
            behind = behind + at_last if at_last == len(rows) and last == since else at_last
            since = last
            if reading is not None:
                reading(self.where, first - 1, max(total, first - 1))
            if len(rows) < self._chunk_rows:
                break
        return found

    def rows(self, symbol: str, since: Any, behind: int, count: int) -> list[Values]:
        """Some rows in order."""
        question = sa.select(*self._read).order_by(*self._order).limit(count).offset(behind)
        if since is not None:
            question = question.where(self._time >= since)
        return [tuple(row) for row in self._ask(self._of(symbol, question))]

    def _refuse_timeless(self, symbol: str) -> None:
        question = sa.select(sa.func.count()).select_from(self._rows).where(self._time.is_(None))
        count = self._ask(self._of(symbol, question))[0][0]
        if count:
            raise DataError(
                f"{self.where}: {count:,} rows have no time (NULL in {self.settings.columns.time}), and have no place among the "
                "others: leave them out with a query"
            )

    def _count(self, symbol: str) -> int:
        question = self._of(symbol, sa.select(sa.func.count()).select_from(self._rows))
        return int(self._ask(question)[0][0])

    def _of(self, symbol: str, question: sa.Select[Any]) -> sa.Select[Any]:
        column = self.settings.columns.instrument
        return question if column is None else question.where(self._rows.c[column].in_(spellings(symbol)))

    def _ask(self, question: sa.Select[Any]) -> Sequence[Any]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(question).all()
        except DBAPIError as error:
            raise self._explained(error) from None
        except (SQLAlchemyError, UnicodeDecodeError) as error:
            raise DataError(f"{self.where} cannot be read: {error}") from None

    def _explained(self, error: DBAPIError) -> Exception:
        first = " ".join(str(error.orig).strip().partition("\n")[0].split())
        said = f"{self.settings.url}: {first}"
        if self._engine.dialect.name == "sqlite" or not isinstance(error, OperationalError):
            return DataError(f"{self.where} cannot be read from {said}. Look at table, query and columns")
        if "FATAL" in first and not _PASSES.search(first):
            return StoreDenied(f"the database of a feed does not let us in: {said}. Look at its url and its password")
        return StoreAway(f"the database of a feed does not answer: {said}")


_PASSES = re.compile(
    "starting up|shutting down|not ((yet|currently) )?accepting connections|in recovery mode|too many|slots"
)
"""What a server says that does not serve for now."""


def spellings(symbol: str) -> list[str]:
    """How people write an instrument: EUR_USD, EURUSD, EUR/USD, in capitals or not."""
    written = [symbol, symbol.replace("_", ""), symbol.replace("_", "/"), symbol.replace("_", "-")]
    return list(dict.fromkeys([*written, *(text.lower() for text in written)]))


def hashed(rows: Sequence[Values], before: bytes) -> bytes:
    """A hash of rows, and of the hash of those before."""
    digest = hashlib.blake2b(before, digest_size=32)
    digest.update(b"".join(map(_encode, rows)))
    return digest.digest()


_encode = msgspec.msgpack.Encoder(decimal_format="string", enc_hook=repr).encode


class SqlRows:
    """Reads pieces of a database. A :class:`~tradekeel.feeds.stream.PartReader`."""

    unit = "row"
    advice = "Look at columns, time_format and floats"
    share_read = 1.0  # a piece is read at once

    def __init__(self, source: Source, symbol: str, candles: CandlePath | None = None) -> None:
        self._source = source
        self._symbol = symbol
        self.candles = candles  # the rows are bars, and played back so
        self.amounts = Amounts(floats=source.settings.floats)

    def span(self, part: Chunk) -> tuple[int, int] | None:
        """Rows say their own time."""
        return None

    def pieces(self, part: Chunk) -> Iterator[Piece]:
        """The rows of a piece, if they are still what they were. Raises StoreAway, and may be asked again."""
        try:
            rows = self._source.rows(self._symbol, part.since, part.behind, part.size_bytes)
        except StoreDenied as error:
            raise DataError(str(error)) from None
        if hashed(rows, part.before) != part.digest:
            last = part.first + part.size_bytes - 1
            raise DataError(
                f"{part.name}: rows {part.first:,} to {last:,} have been changed since the feed was opened, or others have come "
                "in between: a feed's data must stay as it is while it is traded on"
            )
        size = len(rows) if self.candles is None else PIECE_CANDLES
        for start in range(0, len(rows), size):
            yield RowPiece(self, self._source, rows[start : start + size], part.first + start)

    def finish(self, counts: Mapping[str, int]) -> None:
        """An empty table is one."""


class RowPiece:
    """Some rows as the driver has given them."""

    def __init__(self, reader: SqlRows, source: Source, rows: Sequence[Values], first: int) -> None:
        self._reader = reader
        self._source = source
        self._rows = rows
        self._first = first

    def _moments(self) -> Moments:
        settings = self._source.settings
        sample = self._rows[0][0]
        name, zone = settings.columns.time, parse_zone(settings.time_zone)
        return moments_of(sample, settings.time_format, zone, name, self._source.where)

    def at_once(self) -> Block | None:
        """All rows by column, or None if one needs a closer look."""
        if self._reader.candles is not None:
            return None
        times, bids, asks, bid_sizes, ask_sizes = zip(*self._rows, strict=True)
        amounts = self._reader.amounts
        try:
            quotes = Quotes(
                self._moments().column(times),
                list(map(amounts.price, bids)),
                list(map(amounts.price, asks)),
                None if set(bid_sizes) == {None} else list(map(amounts.size, bid_sizes)),
                None if set(ask_sizes) == {None} else list(map(amounts.size, ask_sizes)),
            )
        except (BadRow, BadTime, ValueError, TypeError):
            return None
        first, count = self._first, len(self._rows)
        return Block(quotes, count, lambda: range(first, first + count))

    def rows(self) -> Iterator[tuple[int, tuple[Moments, Values]]]:
        """Its rows."""
        moments = self._moments()
        return ((number, (moments, row)) for number, row in enumerate(self._rows, start=self._first))

    def row(self, row: tuple[Moments, Values], last_ns: int) -> tuple[list[Row], BadRow | None] | str:
        """The quote of a row, or those of a bar."""
        moments, values = row
        amounts, candles = self._reader.amounts, self._reader.candles
        if candles is None:
            return [typed_row(moments, amounts, values, last_ns)], None
        time, *prices, _, _ = values
        return candles.row(typed_time(moments, time, last_ns), *map(amounts.price, prices))

    def before(self, number: int) -> RowPiece | None:
        """The rows before one."""
        count = number - self._first
        return RowPiece(self._reader, self._source, self._rows[:count], self._first) if count else None


def _selectable(settings: SqlFeedSettings, names: Sequence[str]) -> Any:
    """The table, or the query as one."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(_quoted(name)) for name in names]
    if settings.query is not None:
        query = settings.query.strip().rstrip(";").replace(":", "\\:")  # nothing in it is a parameter of ours
        return sa.text(query).columns(*columns).subquery("rows_of_the_feed")
    assert settings.table is not None, "one of the two is there"
    schema, _, table = settings.table.rpartition(".")
    return sa.table(_quoted(table), *columns, schema=_quoted(schema) if schema else None)


def _quoted(name: str) -> quoted_name:
    """A name as it is written, whatever words the database has for itself."""
    return quoted_name(name, True)


def _engine(settings: SqlFeedSettings, base: Path, password: str | None) -> Engine:
    """What connects, for each question anew, and can only read."""
    url = make_url(settings.url)
    if url.drivername == "sqlite":
        path = base / unquote(settings.url.partition(":///")[2])
        if not path.is_file():
            raise DataError(f"{path} does not exist: a feed's url names a database that is there")
        if password is not None:
            raise InputError("a SQLite file has no password: leave it out")
        readable = URL.create(
            "sqlite", database=f"file:{_escaped(path.absolute())}", query={"mode": "ro", "uri": "true"}
        )
        return sa.create_engine(readable, poolclass=NullPool, connect_args={"timeout": settings.deadline_s})
    server = url.set(drivername="postgresql+psycopg")
    if password is not None:
        server = server.set(password=password)
    limit_ms = int(settings.deadline_s * 1_000)
    options = f"-c statement_timeout={limit_ms} -c default_transaction_read_only=on -c TimeZone=UTC"
    try:
        return sa.create_engine(
            server,
            poolclass=NullPool,
            connect_args={"connect_timeout": max(2, int(settings.deadline_s)), "options": options},
        )
    except ImportError as error:
        raise InputError(
            f"PostgreSQL needs a driver that is not installed ({error}): pip install 'tradekeel[postgres]'"
        ) from None


def _escaped(path: Path) -> str:
    """A path in a URI: SQLite would take these for something else."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
