"""Time zones of recorded data: from the wall clock of a file to UTC, with nothing guessed.

A wall time can be ambiguous (the hour that autumn repeats) or not exist at all (the hour that spring skips). Rows come in
order, so an ambiguous time is the first of the two unless that would go back behind the row before; a time that does not
exist means that the zone is wrong, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from tradekeel.domain.times import NS_PER_S, instant_ns
from tradekeel.errors import InputError

QUARTER_NS = 900 * NS_PER_S  # offsets change on quarter hours, so one lookup serves all rows of a quarter
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock times are naive by nature
_FIXED = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-5][0-9]))?")
_YEARS = range(1970, 2200)


class BadTime(Exception):
    """A time that cannot be read; the message says why."""


class Ambiguous(BadTime):
    """The wall clock showed this time twice."""


def parse_zone(text: str) -> tzinfo:
    """The zone named ``text``: "UTC", a fixed offset ("UTC-05:00") or an IANA name. Raises :class:`InputError`."""
    if text in ("UTC", "GMT", "Z"):
        return UTC
    fixed = _FIXED.fullmatch(text)
    if fixed is not None and int(fixed[2]) <= 14:
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
        return timezone(-offset if fixed[1] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f'time zone {text!r} is not known: write "UTC", a fixed offset such as "UTC-05:00", or a name of the IANA '
            'database such as "America/New_York"'
        ) from None


def parse_instant(text: str) -> int:
    """An ISO date or date and time as UTC nanoseconds; without a zone it is UTC. Raises :class:`InputError`."""
    try:
        return instant_ns(text)
    except ValueError:
        raise InputError(
            f'{text!r} is not a time: write "2014-05-08", "2014-05-08T07:30:00" or "2014-05-08T07:30:00+02:00"'
        ) from None


Instant = Annotated[str, Meta(extra={"check": parse_instant})]


class Offsets(dict[int, tuple[int, int]]):
    """For each quarter hour of the wall clock, what to subtract to get UTC: the first reading and the second."""

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self._zone = zone

    def __missing__(self, quarter: int) -> tuple[int, int]:
        if len(self) > 10_000:
            self.clear()
        try:
            wall = _EPOCH + timedelta(seconds=quarter * 900)
            first, second = (wall.replace(tzinfo=self._zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
        except OverflowError:
            raise BadTime(f"{quarter * 900} s since 1970 is beyond the calendar") from None
        pair = (first // timedelta(seconds=1) * NS_PER_S, second // timedelta(seconds=1) * NS_PER_S)
        self[quarter] = pair
        return pair


class WallClock:
    """Reads wall clock times of one zone, given as nanoseconds since 1970-01-01 on that wall."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        constant = zone.utcoffset(None)
        self._constant_ns = None if constant is None else constant // timedelta(seconds=1) * NS_PER_S
        self._offsets = Offsets(zone)

    def utc_ns(self, wall_ns: int, last_ns: int) -> int:
        """UTC of one wall time; ``last_ns`` is UTC of the row before. Raises :class:`BadTime`."""
        if self._constant_ns is not None:
            return wall_ns - self._constant_ns
        first, second = self._offsets[wall_ns // QUARTER_NS]
        if first < second:
            raise BadTime(f"this wall clock time does not exist in {self.zone}: clocks were put forward")
        utc_ns = wall_ns - first
        return utc_ns if utc_ns >= last_ns else max(utc_ns, wall_ns - second)

    def behind_ns(self, utc_ns: int, span_ns: int) -> int:
        """The moment (UTC) at which the wall shows a time so much later, or earlier below zero, than at ``utc_ns``."""
        if self._constant_ns is not None:
            return utc_ns + span_ns
        moment = datetime.fromtimestamp(utc_ns // NS_PER_S, self.zone)
        offset_ns = (moment.utcoffset() or timedelta(0)) // timedelta(seconds=1) * NS_PER_S
        wall_ns = utc_ns + offset_ns + span_ns
        return wall_ns - self._offsets[wall_ns // QUARTER_NS][0]

    def earliest_ns(self, wall_ns: int) -> int:
        """The first moment of UTC of a wall time, also of one that the clock has left out. Raises :class:`BadTime`."""
        return wall_ns - max(self._offsets[wall_ns // QUARTER_NS])

    def latest_ns(self, wall_ns: int) -> int:
        """The last such moment. Raises :class:`BadTime`."""
        return wall_ns - min(self._offsets[wall_ns // QUARTER_NS])

    def utc_column(self, walls_ns: Sequence[int]) -> list[int]:
        """UTC of many wall times. Raises :class:`Ambiguous` where one needs its neighbours to be read."""
        constant_ns = self._constant_ns
        if constant_ns is not None:
            return [wall_ns - constant_ns for wall_ns in walls_ns] if constant_ns else list(walls_ns)
        quarters = {wall_ns // QUARTER_NS for wall_ns in walls_ns}
        shift = {}
        for quarter in quarters:
            first, second = self._offsets[quarter]
            if first != second:
                raise Ambiguous(f"clocks changed in {self.zone}")
            shift[quarter] = first
        return [wall_ns - shift[wall_ns // QUARTER_NS] for wall_ns in walls_ns]


def midnight_wall_ns(year: int, month: int, day: int) -> int:
    """Midnight of a date as nanoseconds on the wall clock. Raises :class:`BadTime` for a date that is none."""
    if year not in _YEARS:
        raise BadTime(f"the year {year} is not between {_YEARS[0]} and {_YEARS[-1]}")
    try:
        return (datetime(year, month, day) - _EPOCH).days * 86_400 * NS_PER_S  # noqa: DTZ001
    except ValueError as error:
        raise BadTime(f"{year}-{month}-{day}: {error}") from None
