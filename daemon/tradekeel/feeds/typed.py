"""Values that have a type already: what databases and Parquet files hold, as exact prices and nanoseconds.

Prices and sizes are decimals, whole numbers or text. A float is no price: 1.1 stored in one is something near 1.1. Where the
settings say so, it is taken for the shortest decimal number that would be stored as the same float, which is the one
that was written as long as it had no more than fifteen digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Protocol

from tradekeel.errors import DataError
from tradekeel.feeds.layouts import Numbers
from tradekeel.feeds.rows import BadRow, Row, RowKind
from tradekeel.feeds.times import NS_MAX, UNITS_NS, TimeReader, time_reader
from tradekeel.feeds.zones import BadTime, WallClock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock times are naive by nature
_MICROSECOND = timedelta(microseconds=1)


class Amounts:
    """Reads prices and sizes."""

    def __init__(self, *, floats: bool) -> None:
        self._floats = floats
        self._known = Numbers()

    def price(self, value: Any) -> Decimal:
        """A price. Raises :class:`BadRow`."""
        if value is None:
            raise BadRow(RowKind.NON_NUMERIC, "there is no price")
        return self._known[value if type(value) is str else self._text(value)]

    def size(self, value: Any) -> Decimal | None:
        """A size, None where it is unknown. Raises :class:`BadRow`."""
        return None if value is None or value == "" else self.price(value)

    def _text(self, value: Any) -> str:
        if isinstance(value, float):
            if not self._floats:
                raise BadRow(
                    RowKind.NON_NUMERIC,
                    f"{value!r} is a float, which holds no price exactly: store text or decimals, or set floats = true to take "
                    "the shortest number for it",
                )
            return repr(value)
        if isinstance(value, Decimal):
            return f"{value:f}" if value.is_finite() else str(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise BadRow(RowKind.NON_NUMERIC, f"{value!r} is not a number")


class Moments(Protocol):
    """Reads times of one kind."""

    def column(self, values: Sequence[Any]) -> list[int]:
        """UTC nanoseconds of many. Raises BadTime, TypeError or ValueError if any needs a closer look."""
        ...

    def one(self, value: Any, last_ns: int) -> int:
        """UTC nanoseconds of one; ``last_ns`` is that of the row before. Raises :class:`BadTime`."""
        ...


class Counted:
    """Whole numbers since 1970, in some unit."""

    def __init__(self, unit_ns: int) -> None:
        self._unit_ns = unit_ns

    def column(self, values: Sequence[int]) -> list[int]:
        unit_ns = self._unit_ns
        times = list(values) if unit_ns == 1 else [value * unit_ns for value in values]
        if not times or min(times) < 0 or max(times) >= NS_MAX:
            raise BadTime("none, or outside 1970 to 2200")
        return times

    def one(self, value: int | None, last_ns: int) -> int:
        return _checked(_there(value) * self._unit_ns, value)


class OnTheWall:
    """Nanoseconds since 1970 on a wall clock."""

    def __init__(self, zone: tzinfo) -> None:
        self._clock = WallClock(zone)

    def column(self, values: Sequence[int]) -> list[int]:
        times = self._clock.utc_column(values)
        if not times or min(times) < 0 or max(times) >= NS_MAX:
            raise BadTime("none, or outside 1970 to 2200")
        return times

    def one(self, value: int | None, last_ns: int) -> int:
        return _checked(self._clock.utc_ns(_there(value), last_ns), value)


class Written:
    """Text, and numbers with a fraction."""

    def __init__(self, reader: TimeReader) -> None:
        self._reader = reader

    def column(self, values: Sequence[Any]) -> list[int]:
        return self._reader.column([value if type(value) is str else _number(value) for value in values])

    def one(self, value: Any, last_ns: int) -> int:
        return self._reader.one(value if type(value) is str else _number(_there(value)), last_ns)


def typed_time(moments: Moments, time: Any, last_ns: int) -> int:
    """The time of one row. Raises :class:`BadRow`."""
    try:
        return moments.one(time, last_ns)
    except BadTime as bad:
        raise BadRow(RowKind.TIME, str(bad)) from None


def typed_row(moments: Moments, amounts: Amounts, row: Sequence[Any], last_ns: int) -> Row:
    """Time, bid, ask and sizes of one row. Raises :class:`BadRow`."""
    time, bid, ask, bid_size, ask_size = row
    ts_ns = typed_time(moments, time, last_ns)
    return ts_ns, amounts.price(bid), amounts.price(ask), amounts.size(bid_size), amounts.size(ask_size)


def bare_symbol(text: str) -> str:
    """An instrument's name without what people write between base and quote."""
    return "".join(letter for letter in text.upper() if letter.isalnum())


def counted(time_format: str, name: str, where: str) -> Counted:
    """Whole numbers, in the unit of ``time_format`` or of their column's name. Raises :class:`DataError`."""
    unit_ns = 1 if name.endswith("_ns") else UNITS_NS.get(time_format)
    if unit_ns is None:
        raise DataError(
            f"{where}: the column {name!r} holds whole numbers: say in time_format what they count "
            f"({', '.join(UNITS_NS)}), not {time_format!r}"
        )
    return Counted(unit_ns)


def moments_of(sample: Any, time_format: str, zone: tzinfo, name: str, where: str) -> Moments:
    """What reads times like ``sample``. Raises :class:`DataError`."""
    if isinstance(sample, int) and not isinstance(sample, bool):
        return counted(time_format, name, where)
    if isinstance(sample, datetime):
        return _Datetimes(OnTheWall(zone))
    if isinstance(sample, str) or (isinstance(sample, float | Decimal) and time_format in UNITS_NS):
        return Written(time_reader(time_format, zone))
    raise DataError(f"{where}: the column {name!r} holds {type(sample).__name__}, such as {sample!r}, which is no time")


class _Datetimes:
    """What drivers make of a database's own times; those without a zone are on the wall clock."""

    def __init__(self, wall: OnTheWall) -> None:
        self._wall = wall

    def column(self, values: Sequence[datetime]) -> list[int]:
        aware = {value.tzinfo is not None for value in values}
        if len(aware) != 1:
            raise BadTime("some times have a zone and some have none")
        if aware == {True}:
            return [(value - _EPOCH) // _MICROSECOND * 1_000 for value in values]
        return self._wall.column([(value - _WALL_EPOCH) // _MICROSECOND * 1_000 for value in values])

    def one(self, value: Any, last_ns: int) -> int:
        if not isinstance(value, datetime):
            raise BadTime("there is no time" if value is None else f"{value!r} is no time")
        if value.tzinfo is not None:
            return _checked((value - _EPOCH) // _MICROSECOND * 1_000, value)
        return self._wall.one((value - _WALL_EPOCH) // _MICROSECOND * 1_000, last_ns)


def _there(value: Any) -> Any:
    if value is None:
        raise BadTime("there is no time")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise BadTime(f"{value!r} is no time")
    return value


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"  # without an exponent
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadTime(f"{value!r} is no time")


def _checked(ns: int, value: Any) -> int:
    if not 0 <= ns < NS_MAX:
        raise BadTime(f"{value} is not between 1970 and 2200: is time_format the right unit?")
    return ns
