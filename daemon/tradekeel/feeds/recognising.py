"""What kind of data a file holds, told from how it looks: for tools that are given a file and no settings.

Nothing here is used by a daemon, whose settings say it. What is found is said to the person who asked, and what cannot be told
for certain (whether 03/04 is in March) is asked for instead of guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any

from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.money import ZERO, parse_amount
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.feeds.candles import OHLC
from tradekeel.feeds.files import PARQUET_SUFFIXES, SUFFIXES, DataFile, TextReader, locate
from tradekeel.feeds.layouts import MINUTE_COLUMNS
from tradekeel.feeds.times import UNITS_NS, time_reader
from tradekeel.feeds.typed import bare_symbol
from tradekeel.feeds.zones import BadTime

LINES = 50
DELIMITERS = (",", ";", "\t", "|")
_FRAME = re.compile(r"[0-9]{16,19} \{")
_EPOCH = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us", 19: "epoch_ns"}
_DAYS = ("%Y.%m.%d", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d")
_CLOCKS = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M")
_RUN_TOGETHER = {"%Y%m%d": 8, "%Y%m%d %H%M": 13, "%Y%m%d %H%M%S": 15}
"""Patterns without a sign between hours and minutes, and how long such a time is: a shorter one could be read in several ways."""
_PATTERNS = (
    "iso",
    *(f"{day} {clock}" for day in _DAYS for clock in _CLOCKS),
    *_DAYS,
    *_RUN_TOGETHER,
    "%Y%m%d %H%M%S%f",
)
_DAY = re.compile(r"[0-9]{4}([-./]?)[0-9]{2}\1[0-9]{2}|[0-9]{1,2}([./])[0-9]{1,2}\2[0-9]{4}")
_OF_DAY = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?|[0-9]{4}|[0-9]{6}|[0-9]{9}")
_WHOLE_MINUTE = re.compile(r"[0-9]{1,2}:[0-9]{2}(:00([.,]0+)?)?|[0-9]{4}(00(000)?)?")
_ZONE = re.compile(r"(?<=:[0-9]{2})(Z|[+-][0-9]{2}:?[0-9]{2})$|Z$")
MINUTE_NS = 60 * NS_PER_S
_SPANS = ("1m", "2m", "3m", "5m", "10m", "15m", "20m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")
_NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "ts_ns", "ts", "datetime", "date_time", "gmt time", "utc time", "time (utc)", "date"),
    "bid": ("bid", "bid price", "bid_price", "bidprice", "sell"),
    "ask": ("ask", "ask price", "ask_price", "askprice", "offer", "buy"),
    "bid_size": ("bid_size", "bidsize", "bid size", "bidvolume", "bid volume", "bid_volume", "bid_qty"),
    **{part: (part, f"{part} price", f"{part}_price") for part in OHLC},
    "ask_size": ("ask_size", "asksize", "ask size", "askvolume", "ask volume", "ask_volume", "ask_qty"),
}
"""What headers call a column, in small letters and without the angle brackets that MetaTrader and others write."""
METATRADER_TICKS = {"<BID>", "<ASK>", "<FLAGS>"}
"""Columns of MetaTrader 5's ticks, which leave a price empty that is that of the row before."""

SAY = "say what it is: --format, --time-format, and the rest with --set (docs/feeds.md)"


def recognise(path: str, base: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file feed for what ``path`` means; ``given`` is known already. Raises :class:`InputError`."""
    form = given.get("format")
    suffixes = (*SUFFIXES, *PARQUET_SUFFIXES) if form is None else PARQUET_SUFFIXES if form == "parquet" else SUFFIXES
    first = locate(path, base, suffixes)[0]
    if form == "parquet":
        return _columns_of(first, given)
    if form is not None and form != "csv":
        return {}
    if first.path.lower().endswith(PARQUET_SUFFIXES):
        return {"format": "parquet", **_columns_of(first, given)}
    lines = _first_lines(first)
    if not lines:
        return {"format": "csv"}
    if form is None and _FRAME.match(lines[0]):
        return {"format": "binance", "gap_on_weekends": True}
    return _rows(first, lines, given)


def _first_lines(file: DataFile) -> list[str]:
    pieces = TextReader(file).pieces()
    try:
        _, text = next(pieces, (1, ""))
    finally:
        pieces.close()  # type: ignore[attr-defined] # it is a generator
    return [line.rstrip("\r") for line in text.split("\n", LINES)[:LINES] if line.strip()]


def _rows(file: DataFile, lines: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    delimiter = given.get("delimiter") or max(DELIMITERS, key=lambda sign: min(line.count(sign) for line in lines))
    table = [[cell.strip().strip('"') for cell in line.split(delimiter)] for line in lines]
    header = given.get("header", not any(map(_is_number, table[0])))
    body = _of_usual_width(table[1:] if header else table)
    if not body:
        return {"format": "csv", "delimiter": delimiter, "header": header}
    if not header and "format" not in given and "time_format" not in given and file.day is not None:
        since_midnight = all(row[0].isdigit() and int(row[0]) < 86_400_000 for row in body)
        if since_midnight and {len(row) for row in body} == {3}:
            return {"format": "quote"}
        if since_midnight and {len(row) for row in body} == {MINUTE_COLUMNS}:
            return {"format": "minute"}
    columns, bars = _places(file, table[0] if header else None, body, given)
    found: dict[str, Any] = {"format": "csv", "delimiter": delimiter, "header": header, "columns": columns}
    cells = _Cells(table[0] if header else None, body, columns)
    if "decimal_mark" not in given and delimiter != "," and "," in cells.first("open" if bars else "bid"):
        found["decimal_mark"] = ","
    if header and not bars and {*table[0]} >= METATRADER_TICKS:
        found["empty_prices"] = "unchanged"
    times = cells.times()
    if "time_format" not in given and times:
        found["time_format"] = _time_format(file, times)
    if bars and times and "span" not in given.get("bars", {}):
        form = found.get("time_format", given.get("time_format", "iso"))
        found["bars"] = _bars(file, given.get("bars", {}), _moments(form, times))
    return found


def _of_usual_width(rows: list[list[str]]) -> list[list[str]]:
    """Those that have as many cells as most: a line that is cut off says nothing of the rest."""
    widths = Counter(map(len, rows))
    return [row for row in rows if len(row) == max(widths, key=widths.__getitem__)]


class _Cells:
    """The cells of rows by what they are."""

    def __init__(self, header: Sequence[str] | None, body: Sequence[Sequence[str]], columns: Mapping[str, Any]) -> None:
        self._body = body
        self._at: dict[str, int] = {}
        for what, name in columns.items():
            if isinstance(name, int):
                self._at[what] = name - 1
            elif header is not None and name in header:
                self._at[what] = header.index(name)

    def first(self, what: str) -> str:
        """The first cell of a column, nothing where that is not known."""
        return self._of(self._body[0], what) if what in self._at else ""

    def times(self) -> list[str]:
        """As a feed reads them: behind their date where that stands apart. None where their column is not known."""
        if "time" not in self._at:
            return []
        days = [f"{self._of(row, 'date')} " if "date" in self._at else "" for row in self._body]
        return [day + self._of(row, "time") for day, row in zip(days, self._body, strict=True)]

    def _of(self, row: Sequence[str], what: str) -> str:
        place = self._at[what]
        return row[place] if place < len(row) else ""


def _places(
    file: DataFile, header: Sequence[str] | None, body: Sequence[Sequence[str]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Where a file keeps what, and whether its rows are bars."""
    said: dict[str, Any] = dict(given.get("columns", {}))
    apart = None if {"date", "time"} & {*said} else _date_and_time(header, body)
    before = 2 if apart is not None and header is None else 1
    bars = "bars" in given or (
        _has_bars(header) if header is not None else all(_looks_like_a_bar(row, before) for row in body)
    )
    needed = ("time", *OHLC) if bars else ("time", "bid", "ask")
    if header is None:
        columns = {what: place for place, what in enumerate(needed[1:], start=before + 1)}
        columns |= {"time": 1} if apart is None else {"date": 1, "time": 2}
        return columns | said, bars
    if apart is not None:
        said |= {what: header[place] for what, place in zip(("date", "time"), apart, strict=True)}
    return _named(file, header, needed, said) | said, bars


def _date_and_time(header: Sequence[str] | None, body: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """The columns of the day and of the time of day, where these stand apart."""
    if header is None:
        day, clock = 0, 1
    else:
        names = [_bare(name) for name in header]
        if "date" not in names or "time" not in names:
            return None
        day, clock = names.index("date"), names.index("time")
    is_apart = all(
        len(row) > max(day, clock) and _DAY.fullmatch(row[day]) and _OF_DAY.fullmatch(row[clock]) for row in body
    )
    return (day, clock) if is_apart else None


def _bare(name: str) -> str:
    return name.strip().strip("<>").strip().lower()


def _has_bars(header: Sequence[str]) -> bool:
    """Whether a file has the prices of bars, and no bid and ask."""
    names = {_bare(name) for name in header}
    return all(names.intersection(_NAMES[part]) for part in OHLC) and not names.intersection(_NAMES["bid"])


def _looks_like_a_bar(row: Sequence[str], start: int) -> bool:
    """Whether what stands behind the time can only be open, high, low and close: no sizes are so near to a price, and ticks do
    not come by the minute.
    """
    prices = row[start : start + len(OHLC)]
    if len(prices) < len(OHLC) or not all(map(_is_number, prices)) or not _is_whole_minute(row[start - 1]):
        return False
    opens, high, low, close = (parse_amount(cell.replace(",", ".")) for cell in prices)
    return ZERO < high / 2 < low <= min(opens, close) <= max(opens, close) <= high


def _is_whole_minute(text: str) -> bool:
    """Whether a time, or what it says of the day, is one."""
    if text.isdigit() and len(text) in _EPOCH:
        return int(text) * UNITS_NS[_EPOCH[len(text)]] % MINUTE_NS == 0
    clock = _ZONE.sub("", re.split("[ T]", text)[-1])
    return bool(_WHOLE_MINUTE.fullmatch(clock) or _DAY.fullmatch(clock))


def _bars(file: DataFile, given: Mapping[str, Any], times_ns: Sequence[int]) -> dict[str, Any]:
    """How long bars last, by the smallest step between their times. What their spread is, nobody can see."""
    if "spread_pips" not in given:
        raise InputError(
            f"{file.name} has bars, which do not say how far bid and ask were apart: --set bars.spread_pips=…"
        )
    steps_ns = [after - before for before, after in pairwise(times_ns) if after > before]
    span = next((text for text in _SPANS if min(steps_ns, default=0) == parse_timeframe(text).span_ns), None)
    if span is None:
        raise InputError(f"{file.name} has bars: how long does one last? --set bars.span=1h")
    return {"span": span}


def _moments(time_format: str, texts: Sequence[str]) -> list[int]:
    """Nanoseconds, as if they were UTC: for the steps between them. None where one is no time; whoever reads it all says so."""
    read = time_reader(time_format, UTC).one
    try:
        return [read(text, -1) for text in texts]
    except BadTime:
        return []


def _named(file: DataFile, header: Sequence[str], needed: Sequence[str], given: Mapping[str, Any]) -> dict[str, str]:
    by_name = {_bare(name): name for name in header}
    sought = {*needed, "bid_size", "ask_size"} if "bid" in needed else {*needed}
    found = {
        what: next((by_name[name] for name in names if name in by_name), None)
        for what, names in _NAMES.items()
        if what in sought
    }
    missing = [what for what in needed if found[what] is None and what not in given]
    if missing:
        raise InputError(
            f"{file.name}: which column is the {' and the '.join(missing)}? It has {', '.join(map(repr, header))}: say it with "
            f"--set columns.{missing[0]}=NAME"
        )
    return {what: name for what, name in found.items() if name is not None}


def _columns_of(file: DataFile, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of a Parquet file: what its columns are that have other names than ours, and what its times count."""
    try:
        from tradekeel.feeds.parquet import first_values, names_in
    except ImportError:  # whoever reads it says so
        return {}
    names, said = names_in(file.path), given.get("columns", {})
    bars = "bars" in given or _has_bars(names)
    columns = _named(file, names, ("time", *OHLC) if bars else ("time", "bid", "ask"), said) | said
    if "ts_ns" in names and "time" not in said:
        columns["time"] = "ts_ns"
    values = first_values(file.path, columns["time"], LINES)
    times_ns, found = values.times_ns, {}
    if times_ns is None:
        form = given.get("time_format", "iso")
        if "time_format" not in given and values.texts:
            form = _time_format(file, values.texts)
        times_ns = _moments(form, values.texts)
        found = {} if "time_format" in given or form == "iso" else {"time_format": form}
    others = {what: name for what, name in columns.items() if name not in (what, "ts_ns") and what not in said}
    found |= {"columns": others} if others else {}
    if bars and "span" not in given.get("bars", {}):
        found["bars"] = _bars(file, given.get("bars", {}), times_ns)
    return found


def _time_format(file: DataFile, texts: Sequence[str]) -> str:
    sample = texts[0]
    whole, _, fraction = sample.partition(".")
    if whole.isdigit() and (fraction.isdigit() or not fraction) and len(whole) in _EPOCH:
        return _EPOCH[len(whole)]
    for pattern in _PATTERNS:
        if any(len(text) != _RUN_TOGETHER.get(pattern, len(text)) for text in texts):
            continue
        read = time_reader(pattern, UTC).one
        if all(_reads(read, text) for text in texts):
            return pattern
    raise InputError(f"{file.name}: {sample!r} is a time of which kind? {SAY}")


def _reads(read: Callable[[str, int], int], text: str) -> bool:
    try:
        read(text, -1)
    except BadTime:
        return False
    return True


def _is_number(cell: str) -> bool:
    try:
        parse_amount(cell.replace(",", "."))
    except InputError:
        return False
    return True


def symbol_in(path: str, files: Sequence[str], known: Mapping[str, Any]) -> str:
    """The instrument that the names of files, or of their folders, say. Raises :class:`InputError` for none, or several."""
    parts = {bare_symbol(part) for file in files for part in Path(file).absolute().parts}
    found = [symbol for symbol in known if any(bare_symbol(symbol) in part for part in parts)]
    if len(found) != 1:
        why = f"its path names {', '.join(found)}" if found else "its path does not say"
        raise InputError(f"{path}: of which instrument is it? Say --instrument SYMBOL ({why})")
    return found[0]
