"""What kind of data a file holds, told from how it looks: for tools that are given a file and no settings.

Nothing here is used by a daemon, whose settings say it. What is found is said to the person who asked, and what cannot be told
for certain (whether 03/04 is in March) is asked for instead of guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any

from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.money import parse_amount
from tradekeel.errors import InputError
from tradekeel.feeds.files import PARQUET_SUFFIXES, SUFFIXES, DataFile, TextReader, locate
from tradekeel.feeds.layouts import MINUTE_COLUMNS
from tradekeel.feeds.times import time_reader
from tradekeel.feeds.typed import bare_symbol
from tradekeel.feeds.zones import BadTime

LINES = 50
DELIMITERS = (",", ";", "\t", "|")
_FRAME = re.compile(r"[0-9]{16,19} \{")
_EPOCH = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us", 19: "epoch_ns"}
_PATTERNS = (
    "iso",
    "%d.%m.%Y %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S",
    "%Y.%m.%d %H:%M:%S.%f",
    "%Y.%m.%d %H:%M:%S",
    "%Y%m%d %H:%M:%S.%f",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d %H%M%S%f",
)
_SPANS = ("1m", "2m", "3m", "5m", "10m", "15m", "20m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")
OHLC = ("open", "high", "low", "close")
_NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "ts_ns", "ts", "datetime", "date_time", "gmt time", "utc time", "time (utc)", "date"),
    "bid": ("bid", "bid price", "bid_price", "bidprice", "sell"),
    "ask": ("ask", "ask price", "ask_price", "askprice", "offer", "buy"),
    "bid_size": ("bid_size", "bidsize", "bid size", "bidvolume", "bid volume", "bid_volume", "bid_qty"),
    **{part: (part, f"<{part}>", f"{part} price", f"{part}_price") for part in OHLC},
    "ask_size": ("ask_size", "asksize", "ask size", "askvolume", "ask volume", "ask_volume", "ask_qty"),
}
SAY = "say what it is: --format, --time-format, and the rest with --set (docs/feeds.md)"


def recognise(path: str, base: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file feed for what ``path`` means; ``given`` is known already. Raises :class:`InputError`."""
    form = given.get("format")
    suffixes = (*SUFFIXES, *PARQUET_SUFFIXES) if form is None else PARQUET_SUFFIXES if form == "parquet" else SUFFIXES
    first = locate(path, base, suffixes)[0]
    if form is not None and form != "csv":
        return {}
    if first.path.lower().endswith(PARQUET_SUFFIXES):
        return {"format": "parquet"}
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
    body = table[1:] if header else table
    if not body:
        return {"format": "csv", "delimiter": delimiter, "header": header}
    if not header and "format" not in given and "time_format" not in given and file.day is not None:
        since_midnight = all(row[0].isdigit() and int(row[0]) < 86_400_000 for row in body)
        if since_midnight and {len(row) for row in body} == {3}:
            return {"format": "quote"}
        if since_midnight and {len(row) for row in body} == {MINUTE_COLUMNS}:
            return {"format": "minute"}
    columns: dict[str, Any] = dict(given.get("columns", {}))
    bars = "bars" in given or (header and _has_bars(table[0]))
    needed = ("time", *OHLC) if bars else ("time", "bid", "ask")
    if header:
        columns = _named(file, table[0], needed, columns) | columns
        places = {what: table[0].index(name) for what, name in columns.items() if name in table[0]}
    else:
        columns = {what: place for place, what in enumerate(needed, start=1)} | columns
        places = {what: int(place) - 1 for what, place in columns.items()}
    found: dict[str, Any] = {"format": "csv", "delimiter": delimiter, "header": header, "columns": columns}
    if "decimal_mark" not in given and delimiter != "," and needed[1] in places and "," in body[0][places[needed[1]]]:
        found["decimal_mark"] = ","
    if "time_format" not in given and "time" in places:
        found["time_format"] = _time_format(file, [row[places["time"]] for row in body])
    if bars and "time" in places and "span" not in given.get("bars", {}):
        form = found.get("time_format", given.get("time_format", "iso"))
        found["bars"] = _bars(file, given.get("bars", {}), form, [row[places["time"]] for row in body])
    return found


def _has_bars(header: Sequence[str]) -> bool:
    """Whether a file has the prices of bars, and no bid and ask."""
    names = {name.lower() for name in header}
    return all(names.intersection(_NAMES[part]) for part in OHLC) and not names.intersection(_NAMES["bid"])


def _bars(file: DataFile, given: Mapping[str, Any], time_format: str, texts: Sequence[str]) -> dict[str, Any]:
    """How long bars last, by the smallest step between their times. What their spread is, nobody can see."""
    if "spread_pips" not in given:
        raise InputError(
            f"{file.name} has bars, which do not say how far bid and ask were apart: --set bars.spread_pips=…"
        )
    read = time_reader(time_format, UTC).one
    try:
        times_ns = [read(text, -1) for text in texts]
    except BadTime:
        times_ns = []  # whoever reads it all says what is wrong
    steps_ns = [after - before for before, after in pairwise(times_ns) if after > before]
    span = next((text for text in _SPANS if min(steps_ns, default=0) == parse_timeframe(text).span_ns), None)
    if span is None:
        raise InputError(f"{file.name} has bars: how long does one last? --set bars.span=1h")
    return {"span": span}


def _named(file: DataFile, header: Sequence[str], needed: Sequence[str], given: Mapping[str, Any]) -> dict[str, str]:
    by_name = {name.lower(): name for name in header}
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


def _time_format(file: DataFile, texts: Sequence[str]) -> str:
    sample = texts[0]
    whole, _, fraction = sample.partition(".")
    if whole.isdigit() and (fraction.isdigit() or not fraction) and len(whole) in _EPOCH:
        return _EPOCH[len(whole)]
    for pattern in _PATTERNS:
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
