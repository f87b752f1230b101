"""The file feed: recorded quotes from files, a folder or a pattern, of one instrument or several merged by time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.feeds.binance import BinanceFrames, BinanceRows
from tradekeel.feeds.candles import OHLC, CandleColumns, CandleLayout, CandlePath, CandleRows
from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.files import PARQUET_SUFFIXES, SUFFIXES, DataFile, FileHashes, check_path, fingerprint, locate
from tradekeel.feeds.layouts import Columns, Layout, MinuteLayout, QuoteLayout
from tradekeel.feeds.merge import merged
from tradekeel.feeds.pace import MAX, Speed
from tradekeel.feeds.replay import ReplayFeed
from tradekeel.feeds.rows import LOOKED_FOR_LATER, BadRows, Judge, Limits, Tally
from tradekeel.feeds.stream import PartReader, PartStream
from tradekeel.feeds.textrows import TextRows
from tradekeel.feeds.times import time_reader
from tradekeel.feeds.zones import Instant, parse_instant, parse_zone

ColumnNumber = Annotated[int, Meta(ge=1, le=1_000)]
DataPath = Annotated[str, Meta(extra={"check": check_path})]
TimeFormat = Annotated[str, Meta(extra={"check": lambda text: time_reader(text, UTC)})]
TimeZone = Annotated[str, Meta(extra={"check": parse_zone})]
ColumnName = Annotated[str, Meta(min_length=1)]


class CsvColumns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a CSV file keeps what: a name of its header, or a number that counts from 1. Other columns are ignored.

    Of a Parquet file, names alone.
    """

    time: ColumnNumber | ColumnName = "time"
    bid: ColumnNumber | ColumnName = "bid"
    ask: ColumnNumber | ColumnName = "ask"
    bid_size: ColumnNumber | ColumnName | None = None
    ask_size: ColumnNumber | ColumnName | None = None
    open: ColumnNumber | ColumnName = "open"  # where rows are bars these four take the place of bid and ask
    high: ColumnNumber | ColumnName = "high"
    low: ColumnNumber | ColumnName = "low"
    close: ColumnNumber | ColumnName = "close"
    date: ColumnNumber | ColumnName | None = None  # where it stands apart; it is joined with the time by a space
    instrument: ColumnName | None = None  # of a Parquet file that holds several


class FileFeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for ``kind = "file"``: ``path`` and ``instrument``, or ``instruments`` with a path each."""

    path: DataPath | None = None
    instrument: str | None = None
    instruments: dict[str, DataPath] = {}
    format: Literal["csv", "quote", "minute", "binance", "parquet"] = "csv"
    columns: CsvColumns = CsvColumns()
    frames: BinanceFrames = BinanceFrames()
    bars: CandleRows | None = None  # what they are, where rows are bars
    header: bool = True
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    decimal_mark: Literal[".", ","] = "."
    empty_prices: Literal["bad", "unchanged"] = "bad"  # unchanged: as in the row before it in the file
    time_format: TimeFormat = "iso"
    time_zone: TimeZone = "UTC"
    floats: bool = False  # whether a column of Parquet's floats is taken, each as its shortest number
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
        if self.frames.ticks == "trades" and self.bad_rows.zero_spread not in ("accept", "fix"):
            raise ValueError(
                'frames.ticks = "trades" makes quotes without a spread: set bad_rows.zero_spread to "accept", or to "fix" for a '
                "spread of two tick sizes"
            )
        if self.bars is not None and self.format not in ("csv", "parquet"):
            raise ValueError(f'bars are of format "csv" or "parquet": {self.format} files have rows of their own')
        if self.empty_prices == "unchanged" and (self.format != "csv" or self.bars is not None):
            raise ValueError('empty_prices = "unchanged" is of bid and ask in files of format "csv"')
        self._look_at_columns()

    def _look_at_columns(self) -> None:
        c = self.columns
        if self.format == "csv" and c.instrument is not None:
            raise ValueError("columns.instrument is of Parquet files: a CSV file holds one instrument")
        if self.format == "parquet":
            named = (c.time, c.bid, c.ask, c.bid_size, c.ask_size, c.open, c.high, c.low, c.close)
            if any(isinstance(name, int) for name in named):
                raise ValueError("the columns of a Parquet file have names: no numbers under columns")
            if c.date is not None:
                raise ValueError("a Parquet file has its date with the time: no columns.date")
            if self.time_format == "ms_since_midnight":
                raise ValueError("a Parquet file says the whole time: no ms_since_midnight")

    @property
    def paths(self) -> dict[str, str]:
        """The path of each instrument, in order."""
        return self.instruments or {str(self.instrument): str(self.path)}

    @property
    def gap_ns(self) -> int | None:
        """How long the market may be silent: bars that follow each other are no gap, however long they last."""
        return gap_ns_of(self.gap_s, 0 if self.bars is None else self.bars.silent_ns)

    @property
    def hides_hours(self) -> bool:
        """Whether the hour of a tick says nothing of when it was traded at."""
        return self.bars is not None and self.bars.hides_hours


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
            files = locate(below_root(around.root, path), around.base, suffixes_of(options.get("format")))
        except InputError as error:
            yield key, str(error)
            continue
        closed = (why for file in files if (why := around.why_closed(Path(file.path))) is not None)
        without_day = (_without_day(file) for file in files if file.day is None and _needs_day(options))
        yield from ((key, why) for why in [*islice(closed, 1), *islice(without_day, 1)])


def below_root(root: Path, path: str) -> str:
    """An absolute path as it is seen from here, where it is below another root."""
    return str(root / path.lstrip("/")) if path.startswith("/") and root != Path("/") else path


def suffixes_of(form: Any) -> Sequence[str]:
    """How the names of files of a format end."""
    return PARQUET_SUFFIXES if form == "parquet" else SUFFIXES


def _needs_day(options: Mapping[str, Any]) -> bool:
    form = options.get("format", "csv")
    return form in ("quote", "minute") or (form == "csv" and options.get("time_format") == "ms_since_midnight")


def _without_day(file: DataFile) -> str:
    return (
        f"{file.name}: times are milliseconds since midnight, so the file's name must hold the date, "
        'such as "20140508_quote.zip"'
    )


def file_feed(settings: FileFeedSettings, context: FeedContext) -> ReplayFeed:
    """Build the feed: find and fingerprint its files. Raises :class:`InputError` where the settings and the files do not fit."""
    suffixes = suffixes_of(settings.format)
    files = {symbol: locate(path, context.base, suffixes) for symbol, path in settings.paths.items()}
    streams = {
        symbol: _stream(settings, found, instrument_of(symbol, context.instruments)) for symbol, found in files.items()
    }
    fingerprint = _fingerprint(settings, files, streams, context.hashes or FileHashes())
    wait_max_s = None if settings.wait_max_s is None else float(settings.wait_max_s)
    return merged(streams, fingerprint, context, settings.speed, wait_max_s)


def _stream(settings: FileFeedSettings, files: list[DataFile], instrument: Instrument) -> PartStream[DataFile]:
    reader = reader_of(settings, instrument)
    if isinstance(reader, TextRows) and reader.layout.times.needs_date:
        for file in files:
            if file.day is None:
                raise InputError(_without_day(file))
    return PartStream(files, reader, judge_of(settings, instrument))


def gap_ns_of(gap_s: Decimal | None, silent_ns: int = 0) -> int | None:
    """From which silence on there is a gap, where ``silent_ns`` is usual; None: from none."""
    return None if gap_s is None else max(int(gap_s * NS_PER_S), silent_ns)


class Judged(Protocol):
    """What the settings of a feed say about how its rows are judged."""

    @property
    def start(self) -> str | None: ...
    @property
    def end(self) -> str | None: ...
    @property
    def gap_ns(self) -> int | None: ...
    @property
    def gap_on_weekends(self) -> bool: ...
    @property
    def bad_rows(self) -> BadRows: ...


def judge_of(settings: Judged, instrument: Instrument, *, of_several: bool = False) -> Judge:
    """Who judges the rows of an instrument; ``of_several``: they may be of several imports."""
    start_ns, end_ns = (None if text is None else parse_instant(text) for text in (settings.start, settings.end))
    limits = Limits(
        tick_size=instrument.tick_size,
        start_ns=start_ns,
        end_ns=end_ns,
        gap_ns=settings.gap_ns,
        gap_on_weekends=settings.gap_on_weekends,
        of_several=of_several,
    )
    return Judge(limits, Tally(settings.bad_rows))


def reader_of(settings: FileFeedSettings, instrument: Instrument) -> PartReader[DataFile]:
    """What reads the rows of the feed's files. Raises :class:`InputError` where a library for that is missing."""
    if settings.format == "binance":
        return BinanceRows(settings.frames, instrument.symbol)
    if settings.format == "parquet":
        return _parquet(settings, instrument)
    csv = settings.format == "csv"
    return TextRows(
        _layout(settings, instrument), delimiter=settings.delimiter if csv else ",", header=settings.header and csv
    )


def _parquet(settings: FileFeedSettings, instrument: Instrument) -> PartReader[DataFile]:
    try:
        from tradekeel.feeds.parquet import ParquetColumns, ParquetRows
    except ImportError as error:
        raise InputError(NO_PARQUET.format(error)) from None
    c = settings.columns
    candles = None if settings.bars is None else CandlePath(settings.bars, instrument, parse_zone(settings.time_zone))
    prices = (c.bid, c.ask) if candles is None else (c.open, c.high, c.low, c.close)
    wanted = (None if c.time == "time" else c.time, prices, c.bid_size, c.ask_size, c.instrument)
    return ParquetRows(
        ParquetColumns(*wanted),  # type: ignore[arg-type]  # numbers were refused with the settings
        instrument.symbol,
        candles,
        time_format=settings.time_format,
        zone=parse_zone(settings.time_zone),
        floats=settings.floats,
    )


NO_PARQUET = "Parquet files need a library that is not installed ({}): pip install 'tradekeel[parquet]'"


def _layout(settings: FileFeedSettings, instrument: Instrument) -> Layout:
    zone = parse_zone(settings.time_zone)
    since_midnight = time_reader("ms_since_midnight", zone)
    if settings.format == "minute":
        return MinuteLayout(since_midnight)
    if settings.format == "quote":
        return QuoteLayout(since_midnight, Columns(0, 1, 2), width=3)
    c, times, mark = settings.columns, time_reader(settings.time_format, zone), settings.decimal_mark
    if settings.bars is not None:
        of_bars = map(_from_zero, (c.time, c.open, c.high, c.low, c.close, c.date))
        path = CandlePath(settings.bars, instrument, zone)
        return CandleLayout(times, CandleColumns(*of_bars), path, mark)  # type: ignore[arg-type]  # as below
    wanted = (c.time, c.bid, c.ask, c.bid_size, c.ask_size, c.date)
    columns = Columns(*map(_from_zero, wanted))  # type: ignore[arg-type]  # None stays None, and only where it may
    fills = settings.empty_prices == "unchanged"
    return QuoteLayout(times, columns, width=None, decimal_mark=mark, fills=fills)


def _from_zero(column: int | str | None) -> int | str | None:
    return column - 1 if isinstance(column, int) else column


def instrument_of(symbol: str, known: Mapping[str, Instrument]) -> Instrument:
    """The instrument of this name, from the config or the catalogue. Raises :class:`InputError`."""
    instrument = known.get(symbol) or CATALOGUE.get(symbol)
    if instrument is None:
        raise InputError(
            f"instrument {symbol!r} is not known: define it under [instruments.{symbol}], or use one of the catalogue"
        )
    return instrument


_NOT_TICKS = {"path", "instrument", "instruments", "speed", "wait_max_s"}
_CAME_LATER = {"frames": BinanceFrames(), "floats": False, "bars": None, "empty_prices": "bad"}
"""Options that versions before did not have, with their defaults: with these, a fingerprint is what it was."""


def options_of(settings: Struct, not_ticks: Collection[str], came_later: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a feed that change its ticks, for its fingerprint."""
    left_out = {*not_ticks, *(name for name, default in came_later.items() if getattr(settings, name) == default)}
    options = {name: value for name, value in msgspec.to_builtins(settings).items() if name not in left_out}
    policies = options["bad_rows"].items()
    options["bad_rows"] = {kind: policy for kind, policy in policies if LOOKED_FOR_LATER.get(kind) != policy}
    return options


def _fingerprint(
    settings: FileFeedSettings,
    files: Mapping[str, list[DataFile]],
    streams: Mapping[str, PartStream[DataFile]],
    hashes: FileHashes,
) -> str:
    """A hash of all bytes and of every option that changes ticks; the files' place on the disk does not."""
    options = options_of(settings, _NOT_TICKS, _CAME_LATER)
    if settings.columns.instrument is None:
        del options["columns"]["instrument"]  # it came later, too
    if settings.bars is None:
        for name in OHLC:
            del options["columns"][name]  # and so did these
    sizes = {symbol: str(stream.judge.limits.tick_size) for symbol, stream in streams.items()}
    everything = [file for found in files.values() for file in found]
    counts = {symbol: len(found) for symbol, found in files.items()}
    return fingerprint(everything, msgspec.json.encode([options, sizes, counts], order="sorted"), hashes)
