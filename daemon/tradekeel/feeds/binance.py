"""Raw frames of Binance's websocket as a recorder wrote them: a line each, ``LOCAL_NANOSECONDS {"stream":…,"data":{…}}``.

A quote is a ``bookTicker`` frame: best bid and ask with their sizes. Trades, changes of the depth and snapshots do not say what
bid and ask are; they are counted and passed over unread. Where trades are asked for instead, each is a quote without a spread.

On the futures markets every frame says when it happened (``E``, milliseconds of the exchange's clock). A ``bookTicker`` of the
spot market does not: it has the recorder's time, which may be put right by a constant.
(https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams,
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tradekeel.domain.times import NS_PER_MS
from tradekeel.errors import DataError
from tradekeel.feeds.files import DataFile, TextReader
from tradekeel.feeds.layouts import Numbers
from tradekeel.feeds.rows import BadRow, Row, RowKind, quotes_of
from tradekeel.feeds.stream import BLANK, Block, Piece
from tradekeel.feeds.textrows import lines_before
from tradekeel.feeds.times import NS_MAX

DAY_MS = 86_400_000
PASSED_OVER = ("quotes", "trades", "depth", "snapshots", "other_frames", "other_symbols")
"""What a frame is counted as that gives no tick."""

_STREAM = re.compile(r'"stream"\s*:\s*"[^"@]*@([A-Za-z]+)')
_KINDS = {
    "bookTicker": "quotes",
    "trade": "trades",
    "aggTrade": "trades",
    "depth": "depth",
    "depthUpdate": "depth",
}
SYMBOLS_SHOWN = 5


class BinanceFrames(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the frames is used."""

    ticks: Literal["quotes", "trades"] = "quotes"  # bookTicker, or trade and aggTrade with bid = ask = price
    clock: Literal["exchange", "recorder"] = "exchange"  # exchange: where a frame says its time
    recorder_behind_ms: Annotated[int, Meta(ge=-DAY_MS, le=DAY_MS)] = 0  # added to the recorder's time
    symbols: dict[str, str] = {}  # the exchange's name of an instrument, if it is not the instrument's without "_"


class _Told(Struct):
    """What of a frame is needed; one without a wrapper has it at the top."""

    s: str = ""
    e: str | None = None
    E: int | None = None
    b: Any = None  # a price, or the levels of a change of the depth
    a: Any = None
    B: Any = None
    A: Any = None
    p: str | None = None
    lastUpdateId: int | None = None  # noqa: N815  # the exchange's name


class _Wrapped(Struct):
    data: _Told


_bare = msgspec.json.Decoder(_Told).decode
_wrapped = msgspec.json.Decoder(_Wrapped).decode


class BinanceRows:
    """Reads such files. A :class:`~tradekeel.feeds.stream.PartReader`."""

    unit = "line"
    advice = 'A line of a recording is LOCAL_NANOSECONDS {"stream":…,"data":{…}}. Look at format'

    def __init__(self, frames: BinanceFrames, instrument: str) -> None:
        self.symbol = frames.symbols.get(instrument) or instrument.replace("_", "")
        self.wanted = frames.ticks
        self._by_exchange = frames.clock == "exchange"
        self._behind_ns = frames.recorder_behind_ms * NS_PER_MS
        self._prices, self._sizes = Numbers(), Numbers()
        self._others: dict[str, None] = {}
        self._text: TextReader | None = None

    @property
    def share_read(self) -> float:
        """Of the file that is being read."""
        return 0.0 if self._text is None else self._text.share_read

    def span(self, part: DataFile) -> tuple[int, int] | None:
        """Frames say their own time."""
        return None

    def pieces(self, part: DataFile) -> Iterator[Piece]:
        """Some hundred frames at a time."""
        self._text = TextReader(part)
        for line, text in self._text.pieces():
            yield FramePiece(self, text, line)

    def finish(self, counts: Mapping[str, int]) -> None:
        """A recording without a single frame of the kind that is wanted is the wrong one."""
        rows = counts.get("rows", 0)
        passed = {kind: counts.get(kind, 0) for kind in PASSED_OVER if counts.get(kind, 0)}
        if not rows or sum(passed.values()) < rows:
            return
        found = ", ".join(f"{kind} {count:,}" for kind, count in passed.items())
        others = f" (of {', '.join(list(self._others)[:SYMBOLS_SHOWN])})" if self._others else ""
        frame = "bookTicker" if self.wanted == "quotes" else "trade"
        raise DataError(
            f"not one of {rows:,} frames is a {frame} of {self.symbol}: found {found}{others}. Record that stream, look at "
            "frames.ticks, or name the exchange's symbol in frames.symbols"
        )

    def row(self, line: str) -> Row | str:
        """The quote of a frame, or what else it is. Raises :class:`BadRow`."""
        local, _, text = line.partition(" ")
        told: _Told | None = None
        stream = _STREAM.search(text)
        if stream is not None:
            kind = _KINDS.get(stream[1], "other_frames")
            if kind != self.wanted:
                return kind
        else:
            told = _decoded(_bare, text)
            kind = _kind_of(told)
            if kind != self.wanted:
                return kind
        if told is None:
            told = _decoded(_wrapped, text).data
        if told.s.upper() != self.symbol.upper():
            if len(self._others) < SYMBOLS_SHOWN:
                self._others[told.s] = None
            return "other_symbols"
        ts_ns = self._time(local, told)
        if kind == "trades":
            price = self._price(told.p)
            return ts_ns, price, price, None, None
        sizes = self._sizes
        return ts_ns, self._price(told.b), self._price(told.a), sizes[_amount(told.B)], sizes[_amount(told.A)]

    def _price(self, text: Any) -> Any:
        return self._prices[_amount(text)]

    def _time(self, local: str, told: _Told) -> int:
        if told.E is not None and self._by_exchange:
            ns = told.E * NS_PER_MS
        elif local.isascii() and local.isdigit():
            ns = int(local) + self._behind_ns
        else:
            raise BadRow(RowKind.TIME, f"{local[:40]!r} is no time in nanoseconds")
        if not 0 <= ns < NS_MAX:
            raise BadRow(RowKind.TIME, f"{ns} ns is not between 1970 and 2200")
        return ns


class FramePiece:
    """Some whole lines."""

    def __init__(self, reader: BinanceRows, text: str, line: int) -> None:
        self._reader = reader
        self._text = text
        self._line = line

    @property
    def _lines(self) -> list[str]:
        return self._text.replace("\r\n", "\n").removesuffix("\n").split("\n")

    def at_once(self) -> Block | None:
        """All frames, or None if one is none."""
        lines, read = self._lines, self._reader.row
        try:
            found = [read(line) for line in lines]
        except BadRow:
            return None
        passed = Counter(kind for kind in found if isinstance(kind, str))
        rows = [row for row in found if not isinstance(row, str)]
        first = self._line

        def numbers() -> list[int]:
            return [number for number, row in enumerate(found, start=first) if not isinstance(row, str)]

        return Block(quotes_of(rows), len(lines), numbers, passed)

    def rows(self) -> Iterator[tuple[int, str]]:
        """Its lines."""
        return enumerate(self._lines, start=self._line)

    def row(self, row: str, last_ns: int) -> tuple[list[Row], BadRow | None] | str:
        """The quote of a line."""
        if not row.strip():
            return BLANK
        found = self._reader.row(row)
        return found if isinstance(found, str) else ([found], None)

    def before(self, number: int) -> FramePiece | None:
        """The lines before one."""
        good = lines_before(self._text, number - self._line)
        return FramePiece(self._reader, good, self._line) if good else None


def _kind_of(told: _Told) -> str:
    """What a frame is that does not say its stream."""
    if told.e is not None:
        return _KINDS.get(told.e, "other_frames")
    if told.lastUpdateId is not None:
        return "snapshots"
    is_quote = all(isinstance(part, str) for part in (told.b, told.a, told.B, told.A))
    return "quotes" if is_quote else "other_frames"


def _decoded(decode: Callable[[str], Any], text: str) -> Any:
    try:
        return decode(text)
    except msgspec.MsgspecError as error:
        raise BadRow(RowKind.COLUMNS, f"no frame of Binance's ({error}): {text[:80]!r}") from None


def _amount(value: Any) -> str:
    if not isinstance(value, str):
        raise BadRow(RowKind.NON_NUMERIC, f"{value!r} is not a number in quotes, as the exchange writes them")
    return value
