"""Layouts: what the columns of a file mean, and how rows become quotes.

A layout reads rows in two ways with one meaning: :meth:`Layout.quotes` takes the columns of many rows at once and gives
up (:class:`BadRow`, :class:`BadTime` or ValueError) if anything is odd, and :meth:`Layout.row` takes one row and says what
is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from operator import ge, le
from typing import NamedTuple, Protocol, TypeVar

from tradekeel.domain.money import parse_amount
from tradekeel.errors import DataError, InputError
from tradekeel.feeds.rows import BadRow, Quotes, Row, RowKind
from tradekeel.feeds.times import TimeReader
from tradekeel.feeds.zones import BadTime

T = TypeVar("T")

PRICES_MAX = 50_000  # distinct texts remembered, some 15 MB at most; the prices of a day are some thousand


class Numbers(dict[str, Decimal]):
    """Decimals by their text: prices repeat, and looking one up is ten times cheaper than reading it."""

    def __init__(self, decimal_mark: str = ".") -> None:
        super().__init__()
        self._mark = decimal_mark

    def __missing__(self, text: str) -> Decimal:
        plain = text.strip()
        if self._mark != ".":
            plain = plain.replace(".", "?").replace(self._mark, ".")  # a point is then no decimal mark
        if not plain.isascii() or "_" in plain:
            raise BadRow(RowKind.NON_NUMERIC, f"{text!r} is not a number")
        try:
            value = parse_amount(plain)
        except InputError as error:
            raise BadRow(RowKind.NON_NUMERIC, str(error)) from None
        if value.as_tuple().exponent > 0:  # type: ignore[operator] # finite, so the exponent is a number
            value = Decimal(f"{value:f}")  # 1e5 is 100000
        if len(self) >= PRICES_MAX:
            self.clear()
        self[text] = value
        return value


class Sizes(Numbers):
    """Sizes: an empty cell and, where zero means that nobody noted it, zero are unknown (None)."""

    def known(self, text: str) -> Decimal | None:
        """The size written as ``text``, or None if there is none."""
        return self[text] if text.strip() else None


class Layout(Protocol):
    """What the columns of a file mean."""

    times: TimeReader
    width: int | None  # columns of a row; None: as many as the header or most rows have
    quotes_per_row: int  # 0: it differs, so rows are read one by one

    def bind(self, header: Sequence[str] | None, file: str) -> int:
        """Find the columns by the file's header, if it has one; how many columns a row must have at least."""
        ...

    def quotes(self, cells: Sequence[str], stride: int) -> Quotes:
        """The quotes of many rows, whose k-th column is ``cells[k::stride]``."""
        ...

    def row(self, cells: Sequence[str], last_ns: int) -> tuple[list[Row], BadRow | None]:
        """The quotes of one row, and a complaint that a policy may overrule. Raises :class:`BadRow`."""
        ...


class Columns(NamedTuple):
    """Where things are: a column's number from 0, or its name in the header."""

    time: int | str
    bid: int | str
    ask: int | str
    bid_size: int | str | None = None
    ask_size: int | str | None = None
    date: int | str | None = None  # joined with the time by a space


class QuoteLayout:
    """One quote a row: time, bid, ask, and sizes if there are any."""

    quotes_per_row = 1

    def __init__(
        self, times: TimeReader, columns: Columns, width: int | None, decimal_mark: str = ".", *, fills: bool = False
    ) -> None:
        """``fills``: an empty price is that of the row before (:meth:`filled`)."""
        self.times = times
        self.fills = fills
        self.width = width
        self._wanted = columns
        self._prices = Numbers(decimal_mark)
        self._sizes = Sizes(decimal_mark)
        self._at = _Places(0, 1, 2, None, None, None)

    @property
    def prices_at(self) -> tuple[int, int]:
        """The columns of bid and ask, from 0, once they are bound."""
        return self._at.bid, self._at.ask

    def filled(self, cells: list[str], before: Sequence[str]) -> tuple[bool, tuple[str, str]]:
        """Put the bid and ask of before where they are empty; whether any was, and what they are now, as texts."""
        is_filled, now = False, list(before)
        for side, place in enumerate(self.prices_at):
            if cells[place].strip():
                now[side] = cells[place]
            elif before[side]:
                cells[place], is_filled = before[side], True
        return is_filled, (now[0], now[1])

    def bind(self, header: Sequence[str] | None, file: str) -> int:
        self._at = _Places(*places(self._wanted, header, file))  # type: ignore[arg-type]  # None stays None, and only where it may
        return max(place for place in self._at if place is not None) + 1

    def quotes(self, cells: Sequence[str], stride: int) -> Quotes:
        at = self._at
        price = self._prices.__getitem__
        return Quotes(
            self.times.column(texts_of(cells, at.time, at.date, stride)),
            list(map(price, cells[at.bid :: stride])),
            list(map(price, cells[at.ask :: stride])),
            self._size_column(cells, at.bid_size, stride),
            self._size_column(cells, at.ask_size, stride),
        )

    def _size_column(self, cells: Sequence[str], place: int | None, stride: int) -> list[Decimal | None] | None:
        return None if place is None else list(map(self._sizes.known, cells[place::stride]))

    def row(self, cells: Sequence[str], last_ns: int) -> tuple[list[Row], BadRow | None]:
        at = self._at
        ts_ns = time_of(self.times, texts_of(cells, at.time, at.date, len(cells))[0], last_ns)
        bid, ask = self._prices[cells[at.bid]], self._prices[cells[at.ask]]
        bid_size = None if at.bid_size is None else self._sizes.known(cells[at.bid_size])
        ask_size = None if at.ask_size is None else self._sizes.known(cells[at.ask_size])
        return [(ts_ns, bid, ask, bid_size, ask_size)], None


MINUTE_COLUMNS = 11  # ms, bid open high low close size, ask open high low close size
MINUTE_STEPS_NS = (0, 20_000_000_000, 40_000_000_000, 59_999_000_000)


class MinuteLayout:
    """A minute's bid and ask bar a row, played back as four quotes.

    The open comes at the minute's start, the extremes 20 and 40 s into it, the close 1 ms before its end. Where the bid closes at
    or above its open the low comes before the high (O, L, H, C), and else after it (O, H, L, C): the shorter way.
    A size of 0 means unknown.
    """

    quotes_per_row = 4
    width: int | None = MINUTE_COLUMNS

    def __init__(self, times: TimeReader) -> None:
        self.times = times
        self._prices = Numbers()

    def bind(self, header: Sequence[str] | None, file: str) -> int:
        """The columns are where they are."""
        return MINUTE_COLUMNS

    def quotes(self, cells: Sequence[str], stride: int) -> Quotes:
        price = self._prices.__getitem__
        starts = self.times.column(cells[0::stride])
        bid_open, bid_high, bid_low, bid_close, bid_size = (
            list(map(price, cells[place::stride])) for place in range(1, 6)
        )
        ask_open, ask_high, ask_low, ask_close, ask_size = (
            list(map(price, cells[place::stride])) for place in range(6, 11)
        )
        for low, part, high in (
            (bid_low, bid_open, bid_high),
            (bid_low, bid_close, bid_high),
            (ask_low, ask_open, ask_high),
            (ask_low, ask_close, ask_high),
        ):
            if not all(map(le, low, part)) or not all(map(le, part, high)):
                raise BadRow(RowKind.BAR_RANGE, "a bar's open or close lies outside its low and high")
        up = list(map(ge, bid_close, bid_open))
        return Quotes(
            _four(*([start + step for start in starts] for step in MINUTE_STEPS_NS)),
            _four(bid_open, *_by_way(up, bid_low, bid_high), bid_close),
            _four(ask_open, *_by_way(up, ask_low, ask_high), ask_close),
            _four(*repeat(_sizes_of(bid_size), 4)),
            _four(*repeat(_sizes_of(ask_size), 4)),
        )

    def row(self, cells: Sequence[str], last_ns: int) -> tuple[list[Row], BadRow | None]:
        start_ns = time_of(self.times, cells[0], last_ns)
        bid = [self._prices[cell] for cell in cells[1:6]]
        ask = [self._prices[cell] for cell in cells[6:11]]
        way = (0, 2, 1, 3) if bid[3] >= bid[0] else (0, 1, 2, 3)
        sizes = bid[4] or None, ask[4] or None
        rows = [(start_ns + MINUTE_STEPS_NS[i], bid[k], ask[k], *sizes) for i, k in enumerate(way)]
        for side, bar in (("bid", bid), ("ask", ask)):
            opens, high, low, close, _ = bar
            if not (low <= opens <= high and low <= close <= high):
                found = f"{side} open {opens} or close {close} lies outside low {low} and high {high}"
                return rows, BadRow(RowKind.BAR_RANGE, found)
        return rows, None


class _Places(NamedTuple):
    time: int
    bid: int
    ask: int
    bid_size: int | None
    ask_size: int | None
    date: int | None


_SAY = "say under columns which it is, or look at delimiter"


def _place(wanted: int | str | None, names: dict[str, int] | None, file: str) -> int | None:
    if wanted is None or isinstance(wanted, int):
        return wanted
    if names is None:
        raise DataError(f"{file}: column {wanted!r} is named, but the file has no header: give its number, from 1")
    place = names.get(wanted.strip().lower())
    if place is None:
        raise DataError(f"{file}: no column {wanted!r} in the header, which has {', '.join(map(repr, names))}: {_SAY}")
    return place


def places(wanted: Sequence[int | str | None], header: Sequence[str] | None, file: str) -> list[int | None]:
    """The numbers of columns, from 0. Raises :class:`DataError` where the header has not exactly one of a name."""
    names: dict[str, int] | None = None
    if header is not None:
        known = [name.strip().lower() for name in header]
        names = {name: place for place, name in enumerate(known)}
        for column in wanted:
            if isinstance(column, str) and known.count(column.strip().lower()) > 1:
                raise DataError(
                    f"{file}: the header has the column {column!r} more than once: give its number, from 1, under columns"
                )
    return [_place(column, names, file) for column in wanted]


def texts_of(cells: Sequence[str], time: int, date: int | None, stride: int) -> Sequence[str]:
    """The times of rows whose k-th column is ``cells[k::stride]``, joined with their dates where these stand apart."""
    texts = cells[time::stride]
    if date is None:
        return texts
    return [f"{day} {text}" for day, text in zip(cells[date::stride], texts, strict=True)]


def time_of(times: TimeReader, text: str, last_ns: int) -> int:
    """The time of one row. Raises :class:`BadRow`."""
    try:
        return times.one(text, last_ns)
    except BadTime as bad:
        raise BadRow(RowKind.TIME, str(bad)) from None


def _four(*columns: Sequence[T]) -> list[T]:
    """Four columns woven into one: the first row's four, then the second's."""
    return [value for row in zip(*columns, strict=True) for value in row]


def _by_way(up: Sequence[bool], low: Sequence[T], high: Sequence[T]) -> tuple[list[T], list[T]]:
    """The second and the third price of each minute: low before high on the way up, and after it on the way down."""
    second = [a if rising else b for rising, a, b in zip(up, low, high, strict=True)]
    third = [b if rising else a for rising, a, b in zip(up, low, high, strict=True)]
    return second, third


def _sizes_of(sizes: Sequence[Decimal]) -> list[Decimal | None]:
    return [size or None for size in sizes]
