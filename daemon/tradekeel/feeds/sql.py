"""The SQL feed: ticks from a table or a query, in a SQLite file or on a PostgreSQL server.

Rows are read some thousand at a time, in the order of their times, with a connection for each piece: nothing is held open on the
server between two. At the start everything is read once, and each piece hashed: that is the feed's fingerprint, and when a
piece is read again and is another, the feed says so instead of going on with other ticks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.errors import InputError, StoreAway
from tradekeel.feeds.candles import OHLC, CandlePath, CandleRows
from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.elsewhere import ReadAside
from tradekeel.feeds.file import below_root, gap_ns_of, instrument_of, judge_of, options_of
from tradekeel.feeds.files import FileHashes
from tradekeel.feeds.merge import merged
from tradekeel.feeds.pace import MAX, Speed
from tradekeel.feeds.replay import ReplayFeed
from tradekeel.feeds.rows import BadRows
from tradekeel.feeds.stream import PartStream
from tradekeel.feeds.zones import Instant, parse_instant, parse_zone

if TYPE_CHECKING:
    from tradekeel.feeds.sqlrows import Chunk, Source

Name = Annotated[str, Meta(min_length=1, max_length=200)]
_SQLITE, _POSTGRES = ("sqlite",), ("postgresql", "postgres")


def check_url(text: str) -> None:
    """The URL of a database, without a password in it. Raises :class:`InputError`."""
    allowed = "allowed: sqlite:///ticks.db (relative to the configuration), sqlite:////abs/ticks.db, postgresql://user@host:5432/name"
    try:
        parts = urlsplit(text)
        port, password = parts.port, parts.password
    except ValueError:
        raise InputError(f"{text!r} is no URL of a database; {allowed}") from None
    if password is not None or "password=" in parts.query:
        raise InputError("a password stands in the url; say where it is with password = { credential = … } instead")
    if parts.scheme in _SQLITE:
        fits = not parts.netloc and len(parts.path) > 1 and not parts.query
    else:
        fits = parts.scheme in _POSTGRES and len(parts.path) > 1 and (port is None or port > 0)
    if not fits:
        raise InputError(f"{text!r} is no URL of a database; {allowed}")


class SqlColumns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns that are read."""

    time: Name = "ts_ns"
    bid: Name = "bid"
    ask: Name = "ask"
    bid_size: Name | None = None
    ask_size: Name | None = None
    open: Name = "open"  # where rows are bars these four take the place of bid and ask
    high: Name = "high"
    low: Name = "low"
    close: Name = "close"
    instrument: Name | None = None  # of rows of several
    order: Name | None = None  # tells which of two rows at one time comes first


class SqlFeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for ``kind = "sql"``."""

    url: Annotated[str, Meta(max_length=1_000, extra={"check": check_url})]
    table: Name | None = None  # or schema.table
    query: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None
    instrument: str | None = None
    instruments: tuple[str, ...] = ()
    columns: SqlColumns = SqlColumns()
    bars: CandleRows | None = None  # what they are, where rows are bars
    time_format: Literal["iso", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"] = "iso"
    time_zone: Annotated[str, Meta(extra={"check": parse_zone})] = "UTC"
    floats: bool = False
    start: Instant | None = None
    end: Instant | None = None
    gap_s: Decimal | None = Decimal(600)
    gap_on_weekends: bool = False
    bad_rows: BadRows = BadRows()
    speed: Speed = MAX
    wait_max_s: Decimal | None = None
    deadline_s: Annotated[float, Meta(ge=0.5, le=600)] = 30.0  # for each question to a server

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise ValueError("give table or query")
        if bool(self.instruments) == (self.instrument is not None):
            raise ValueError("give instrument, or instruments for several")
        if self.instruments and self.columns.instrument is None:
            raise ValueError("give columns.instrument: several instruments are told apart by a column")
        for name in ("gap_s", "wait_max_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above zero")
        if self.start is not None and self.end is not None and parse_instant(self.start) >= parse_instant(self.end):
            raise ValueError(f"start {self.start} is not before end {self.end}")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The instruments, in order."""
        return self.instruments or (str(self.instrument),)

    @property
    def gap_ns(self) -> int | None:
        """From which silence on there is a gap: bars that follow each other are none, however long they last."""
        return gap_ns_of(self.gap_s, 0 if self.bars is None else self.bars.silent_ns)

    @property
    def hides_hours(self) -> bool:
        """Whether the hour of a tick says nothing of when it was traded at."""
        return self.bars is not None and self.bars.hides_hours


def sql_symbols(options: Mapping[str, Any]) -> dict[str, Keys]:
    """Each instrument that a table names, and the key where it does."""
    several, one = options.get("instruments"), options.get("instrument")
    if isinstance(several, list) and several:
        return {symbol: ("instruments",) for symbol in several if isinstance(symbol, str)}
    return {one: ("instrument",)} if isinstance(one, str) else {}


def look_at_database(options: Mapping[str, Any], around: FeedSurroundings) -> Iterator[Problem]:
    """Whether a file is there. A server shows when it is asked."""
    url = options.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in _SQLITE:
        return
    written = url.partition(":///")[2]
    file = around.base / below_root(around.root, written)
    why = around.why_closed(file) if file.is_file() else f"there is no file {file}"
    if why is not None:
        yield ("url",), why


def sql_feed(settings: SqlFeedSettings, context: FeedContext) -> ReplayFeed:
    """Build the feed: read everything once a process, to know it again. Raises :class:`InputError`, StoreAway."""
    from tradekeel.feeds.sqlrows import Source, SqlRows

    symbols = {symbol: instrument_of(symbol, context.instruments) for symbol in settings.symbols}
    source = Source(settings, context.base, None if context.password is None else context.password())
    key = msgspec.json.encode([settings, str(context.base)])
    chunks = (context.hashes or FileHashes()).once(key, lambda: _read_once(settings, source, context))
    streams: dict[str, PartStream[Chunk]] = {}
    for symbol, instrument in symbols.items():
        judge = judge_of(settings, instrument, of_several=True)
        path = None if settings.bars is None else CandlePath(settings.bars, instrument, parse_zone(settings.time_zone))
        streams[symbol] = PartStream(chunks[symbol], SqlRows(source, symbol, path), judge)
    fingerprint = _fingerprint(settings, chunks, symbols)
    wait_max_s = None if settings.wait_max_s is None else float(settings.wait_max_s)
    elsewhere = None if context.aside is None else ReadAside(context, context.aside, f"the database of {settings.url}")
    return merged(streams, fingerprint, context, settings.speed, wait_max_s, elsewhere)


def _read_once(settings: SqlFeedSettings, source: Source, context: FeedContext) -> dict[str, list[Chunk]]:
    """All rows of each instrument, as pieces with their hashes. Where waiting is allowed, a server that is away is waited for."""
    while True:
        try:
            return {symbol: source.chunks(symbol, context.reading) for symbol in settings.symbols}
        except StoreAway as error:
            if context.patience is None:
                raise
            context.patience(str(error))


_NOT_TICKS = {"url", "table", "query", "speed", "wait_max_s", "deadline_s"}


def _fingerprint(
    settings: SqlFeedSettings, chunks: Mapping[str, list[Chunk]], instruments: Mapping[str, Instrument]
) -> str:
    """A hash of all rows, and of every option that changes ticks; from which database they come does not matter."""
    sizes = {symbol: str(instrument.tick_size) for symbol, instrument in instruments.items()}
    options = options_of(settings, _NOT_TICKS, {"bars": None})
    if settings.bars is None:
        for name in OHLC:
            del options["columns"][name]  # they came later: without bars a fingerprint is what it was
    digest = hashlib.blake2b(msgspec.json.encode([options, sizes], order="sorted"), digest_size=16)
    for symbol, found in chunks.items():
        digest.update(f"\n{symbol}\n{sum(chunk.size_bytes for chunk in found)}\n".encode())
        digest.update(found[-1].digest if found else b"")
    return digest.hexdigest()


__all__ = ["SqlColumns", "SqlFeedSettings", "check_url", "look_at_database", "sql_feed", "sql_symbols"]
