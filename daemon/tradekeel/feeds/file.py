"""The file feed: recorded quotes from files, a folder or a pattern, of one instrument or several merged by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.files import DataFile, FileHashes, check_path, fingerprint, locate
from tradekeel.feeds.layouts import Columns, Layout, MinuteLayout, QuoteLayout
from tradekeel.feeds.merge import MergedFiles
from tradekeel.feeds.pace import MAX, Pacer, Speed, parse_speed
from tradekeel.feeds.replay import ReplayFeed
from tradekeel.feeds.rows import BadRows, Judge, Limits, Tally
from tradekeel.feeds.stream import FileStream
from tradekeel.feeds.times import time_reader
from tradekeel.feeds.zones import Instant, parse_instant, parse_zone
from tradekeel.ports import FeedInfo

ColumnNumber = Annotated[int, Meta(ge=1, le=1_000)]
DataPath = Annotated[str, Meta(extra={"check": check_path})]
TimeFormat = Annotated[str, Meta(extra={"check": lambda text: time_reader(text, UTC)})]
TimeZone = Annotated[str, Meta(extra={"check": parse_zone})]
ColumnName = Annotated[str, Meta(min_length=1)]


class CsvColumns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a CSV file keeps what: a name of its header, or a number that counts from 1. Other columns are ignored."""

    time: ColumnNumber | ColumnName = "time"
    bid: ColumnNumber | ColumnName = "bid"
    ask: ColumnNumber | ColumnName = "ask"
    bid_size: ColumnNumber | ColumnName | None = None
    ask_size: ColumnNumber | ColumnName | None = None
    date: ColumnNumber | ColumnName | None = None  # where it stands apart; it is joined with the time by a space


class FileFeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for ``kind = "file"``: ``path`` and ``instrument``, or ``instruments`` with a path each."""

    path: DataPath | None = None
    instrument: str | None = None
    instruments: dict[str, DataPath] = {}
    format: Literal["csv", "quote", "minute"] = "csv"
    columns: CsvColumns = CsvColumns()
    header: bool = True
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    decimal_mark: Literal[".", ","] = "."
    time_format: TimeFormat = "iso"
    time_zone: TimeZone = "UTC"
    start: Instant | None = None
    end: Instant | None = None
    gap_s: Decimal | None = Decimal(600)
    gap_on_weekends: bool = False
    bad_rows: BadRows = BadRows()
    speed: Speed = MAX
    wait_max_s: Decimal | None = None

    def __post_init__(self) -> None:
        if bool(self.instruments) == (self.path is not None or self.instrument is not None):
            raise ValueError("give path and instrument, or the table instruments with a path for each")
        if not self.instruments and (not self.path or not self.instrument):
            raise ValueError("path and instrument are both needed")
        if self.gap_s is not None and self.gap_s <= 0:
            raise ValueError("gap_s must be above zero; leave it out for the default")
        if self.wait_max_s is not None and self.wait_max_s <= 0:
            raise ValueError("wait_max_s must be above zero")
        if self.start is not None and self.end is not None and parse_instant(self.start) >= parse_instant(self.end):
            raise ValueError(f"start {self.start} is not before end {self.end}")
        if self.delimiter in {'"', "\n", "\r", "_"}:
            raise ValueError('delimiter cannot be a quote, an underscore or a line end; write "\\t" for a tab')
        if self.format == "csv" and self.delimiter == self.decimal_mark:
            raise ValueError("delimiter and decimal_mark cannot be the same")

    @property
    def paths(self) -> dict[str, str]:
        """The path of each instrument, in order."""
        return self.instruments or {str(self.instrument): str(self.path)}


def file_symbols(options: Mapping[str, Any]) -> dict[str, Keys]:
    """Each instrument that a table names, and the key where it does."""
    several, one = options.get("instruments"), options.get("instrument")
    if isinstance(several, dict) and several:
        return {symbol: ("instruments", symbol) for symbol in several}
    return {one: ("instrument",)} if isinstance(one, str) else {}


def look_at_files(options: Mapping[str, Any], around: FeedSurroundings) -> Iterator[Problem]:
    """What is wrong with the files that a table names, before one is opened."""
    several = options.get("instruments")
    paths: dict[Keys, Any] = {("path",): options.get("path")}
    if isinstance(several, dict):
        paths |= {("instruments", symbol): path for symbol, path in several.items()}
    for key, path in paths.items():
        if not isinstance(path, str):
            continue
        try:
            files = locate(_below(around.root, path), around.base)
        except InputError as error:
            yield key, str(error)
            continue
        closed = (why for file in files if (why := around.why_closed(Path(file.path))) is not None)
        without_day = (_without_day(file) for file in files if file.day is None and _needs_day(options))
        yield from ((key, why) for why in [*islice(closed, 1), *islice(without_day, 1)])


def _below(root: Path, path: str) -> str:
    return str(root / path.lstrip("/")) if path.startswith("/") and root != Path("/") else path


def _needs_day(options: Mapping[str, Any]) -> bool:
    return options.get("format") in ("quote", "minute") or options.get("time_format") == "ms_since_midnight"


def _without_day(file: DataFile) -> str:
    return (
        f"{file.name}: times are milliseconds since midnight, so the file's name must hold the date, "
        'such as "20140508_quote.zip"'
    )


def file_feed(settings: FileFeedSettings, context: FeedContext) -> ReplayFeed:
    """Build the feed: find and fingerprint its files. Raises :class:`InputError` where the settings and the files do not fit."""
    files = {symbol: locate(path, context.base) for symbol, path in settings.paths.items()}
    streams = {
        symbol: _stream(settings, found, _instrument(symbol, context.instruments)) for symbol, found in files.items()
    }
    speed = parse_speed(settings.speed)
    wait_max_s = None if settings.wait_max_s is None else float(settings.wait_max_s)
    info = FeedInfo(
        name=context.name,
        instruments=tuple(streams),
        replayable=True,
        fingerprint=_fingerprint(settings, files, streams, context.hashes or FileHashes()),
        total_bytes=sum(stream.bytes_total for stream in streams.values()),
    )
    return ReplayFeed(
        info,
        MergedFiles(streams),
        timeframes=context.timeframes,
        sleeper=context.sleeper,
        pacer=None if speed is None else Pacer(speed, context.sleeper, wait_max_s),
    )


def _stream(settings: FileFeedSettings, files: list[DataFile], instrument: Instrument) -> FileStream:
    start_ns, end_ns = (None if text is None else parse_instant(text) for text in (settings.start, settings.end))
    limits = Limits(
        tick_size=instrument.tick_size,
        start_ns=start_ns,
        end_ns=end_ns,
        gap_ns=None if settings.gap_s is None else int(settings.gap_s * NS_PER_S),
        gap_on_weekends=settings.gap_on_weekends,
    )
    csv = settings.format == "csv"
    layout = _layout(settings)
    if layout.times.needs_date:
        for file in files:
            if file.day is None:
                raise InputError(_without_day(file))
    return FileStream(
        files,
        layout,
        Judge(limits, Tally(settings.bad_rows)),
        delimiter=settings.delimiter if csv else ",",
        header=settings.header and csv,
    )


def _layout(settings: FileFeedSettings) -> Layout:
    zone = parse_zone(settings.time_zone)
    since_midnight = time_reader("ms_since_midnight", zone)
    if settings.format == "minute":
        return MinuteLayout(since_midnight)
    if settings.format == "quote":
        return QuoteLayout(since_midnight, Columns(0, 1, 2), width=3)
    c = settings.columns
    wanted = (c.time, c.bid, c.ask, c.bid_size, c.ask_size, c.date)
    columns = Columns(*map(_from_zero, wanted))  # type: ignore[arg-type]  # None stays None, and only where it may
    return QuoteLayout(time_reader(settings.time_format, zone), columns, width=None, decimal_mark=settings.decimal_mark)


def _from_zero(column: int | str | None) -> int | str | None:
    return column - 1 if isinstance(column, int) else column


def _instrument(symbol: str, known: Mapping[str, Instrument]) -> Instrument:
    instrument = known.get(symbol) or CATALOGUE.get(symbol)
    if instrument is None:
        raise InputError(
            f"instrument {symbol!r} is not known: define it under [instruments.{symbol}], or use one of the catalogue"
        )
    return instrument


_NOT_TICKS = {"path", "instrument", "instruments", "speed", "wait_max_s"}


def _fingerprint(
    settings: FileFeedSettings,
    files: Mapping[str, list[DataFile]],
    streams: Mapping[str, FileStream],
    hashes: FileHashes,
) -> str:
    """A hash of all bytes and of every option that changes ticks; the files' place on the disk does not."""
    options = {name: value for name, value in msgspec.to_builtins(settings).items() if name not in _NOT_TICKS}
    sizes = {symbol: str(stream.judge.limits.tick_size) for symbol, stream in streams.items()}
    everything = [file for found in files.values() for file in found]
    counts = {symbol: len(found) for symbol, found in files.items()}
    return fingerprint(everything, msgspec.json.encode([options, sizes, counts], order="sorted"), hashes)
