"""Time columns: every way a file may write a time, read exactly to the nanosecond.

``iso``               2014-05-08T07:30:00.123456789Z; with or without a zone, "T" or a space, seconds or not
``epoch_s`` … ``_ns`` a number since 1970 in seconds, milliseconds, microseconds or nanoseconds; fractions are read too
``ms_since_midnight`` milliseconds of the day that the file's name gives
a pattern             in strptime's letters, such as "%d.%m.%Y %H:%M:%S.%f" (here %f takes one to nine digits)

Times without a zone of their own are wall clock times of the feed's time zone. A reader turns a whole column at once, fast, and
raises :class:`BadTime` if anything in it needs a closer look; then the rows are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import tzinfo
from typing import Protocol

from tradekeel.errors import InputError
from tradekeel.feeds.zones import BadTime, WallClock, midnight_wall_ns

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_MAX = 7_258_118_400 * NS_PER_S  # the year 2200; a time beyond it was read in the wrong unit
CACHE_MAX = 100_000

_NUMBER = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,18}))?", re.ASCII)
_UNITS_NS = {"epoch_s": NS_PER_S, "epoch_ms": NS_PER_MS, "epoch_us": 1_000, "epoch_ns": 1}
_MONTHS = {
    name: number + 1
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
}
_DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "p": r"(?P<p>[AaPp][Mm])",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": r"(?P<f>[0-9]{1,9})",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
_ISO = re.compile(
    r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"
    r"(?:[T ](?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
    r" ?(?P<z>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)

TIME_FORMATS = ("iso", *_UNITS_NS, "ms_since_midnight")


class TimeReader(Protocol):
    """Reads one time column of one instrument's files."""

    needs_date: bool  # whether a file's name must give the day

    def new_file(self, day: tuple[int, int, int] | None) -> None:
        """A new file begins; ``day`` is the date in its name, if there is one."""

    def day_span(self, day: tuple[int, int, int]) -> tuple[int, int]:
        """The first and the last nanosecond of a date, where files hold one day each."""
        ...

    def column(self, texts: Sequence[str]) -> list[int]:
        """UTC nanoseconds of many times. Raises :class:`BadTime` or ValueError if any needs a closer look."""
        ...

    def one(self, text: str, last_ns: int) -> int:
        """UTC nanoseconds of one time; ``last_ns`` is that of the row before. Raises :class:`BadTime`."""
        ...


def time_reader(time_format: str, zone: tzinfo) -> TimeReader:
    """The reader for a ``time_format`` of the settings. Raises :class:`InputError` that says what is allowed."""
    clock = WallClock(zone)
    if time_format in _UNITS_NS:
        return _Epoch(_UNITS_NS[time_format])
    if time_format == "ms_since_midnight":
        return _SinceMidnight(clock)
    if time_format == "iso":
        return _Text(_ISO, clock)
    if "%" in time_format:
        return _Text(_compile(time_format), clock)
    raise InputError(
        f"time_format {time_format!r}: allowed are {', '.join(TIME_FORMATS)}, and strptime patterns such as "
        '"%d.%m.%Y %H:%M:%S.%f"'
    )


def _checked(utc_ns: int, text: str) -> int:
    if 0 <= utc_ns < NS_MAX:
        return utc_ns
    raise BadTime(f"{text!r} is not between 1970 and 2200: is time_format the right unit?")


def _checked_column(column_ns: list[int]) -> list[int]:
    if min(column_ns) < 0 or max(column_ns) >= NS_MAX:
        raise BadTime("outside 1970 to 2200")
    return column_ns


def _count_ns(text: str, unit_ns: int) -> int:
    """A count of units, with a fraction or not, as whole nanoseconds; digits below a nanosecond must be zero."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise BadTime(f"{text!r} is not a number")
    whole, fraction = int(match[1]) * unit_ns, match[2] or ""
    if not fraction:
        return whole
    scaled, rest = divmod(int(fraction) * unit_ns, int(f"1{'0' * len(fraction)}"))
    if rest:
        raise BadTime(f"{text!r} is finer than a nanosecond")
    return whole + scaled


class _Dated:
    """Times that hold their own date."""

    needs_date = False

    def new_file(self, day: tuple[int, int, int] | None) -> None:
        """The name says nothing that the rows do not."""

    def day_span(self, day: tuple[int, int, int]) -> tuple[int, int]:
        """A file may hold anything."""
        return 0, NS_MAX


class _Epoch(_Dated):
    def __init__(self, unit_ns: int) -> None:
        self._unit_ns = unit_ns

    def column(self, texts: Sequence[str]) -> list[int]:
        unit_ns = self._unit_ns
        return _checked_column([count * unit_ns for count in map(int, texts)])

    def one(self, text: str, last_ns: int) -> int:
        return _checked(_count_ns(text, self._unit_ns), text)


class _SinceMidnight:
    needs_date = True

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._midnight_ns = 0

    def new_file(self, day: tuple[int, int, int] | None) -> None:
        assert day is not None, "files without a date are refused before they are read"
        self._midnight_ns = midnight_wall_ns(*day)

    def day_span(self, day: tuple[int, int, int]) -> tuple[int, int]:
        midnight_ns = midnight_wall_ns(*day)
        last_ns = midnight_ns + 86_400 * NS_PER_S - 1
        return self._clock.utc_ns(midnight_ns, -1), self._clock.utc_ns(last_ns, NS_MAX)

    def column(self, texts: Sequence[str]) -> list[int]:
        counts = list(map(int, texts))
        if min(counts) < 0 or max(counts) >= 86_400_000:
            raise BadTime("not within a day")
        midnight_ns = self._midnight_ns
        return self._clock.utc_column([midnight_ns + count * NS_PER_MS for count in counts])

    def one(self, text: str, last_ns: int) -> int:
        since_ns = _count_ns(text, NS_PER_MS)
        if since_ns >= 86_400 * NS_PER_S:
            raise BadTime(f"{text!r} milliseconds are more than a day")
        return self._clock.utc_ns(self._midnight_ns + since_ns, last_ns)


class _Text(_Dated):
    """Dates and times in words and digits.

    Minutes repeat from row to row, and so do the seconds within a minute, so a column is read by two lookups a row where
    the pattern begins with the 16 characters of an ISO minute; any other text is matched by its pattern.
    """

    def __init__(self, pattern: re.Pattern[str], clock: WallClock) -> None:
        self._pattern = pattern
        self._clock = clock
        self._two_parts = pattern is _ISO
        self._known: dict[str, tuple[int, bool]] = {}

    def column(self, texts: Sequence[str]) -> list[int]:
        read = [self._read(text) for text in texts]
        absolute = {pair[1] for pair in read}
        times = [pair[0] for pair in read]
        if absolute == {True}:
            return _checked_column(times)
        if absolute == {False}:
            return _checked_column(self._clock.utc_column(times))
        raise BadTime("some times have a zone and some have none")

    def one(self, text: str, last_ns: int) -> int:
        ns, absolute = self._read(text)
        return _checked(ns if absolute else self._clock.utc_ns(ns, last_ns), text)

    def _read(self, text: str) -> tuple[int, bool]:
        """Nanoseconds, and whether they are UTC already or on the wall clock."""
        if not self._two_parts:
            return self._match(text)
        known = self._known
        minute = known.get(text[:16])
        rest = known.get(text[16:])
        if minute is not None and rest is not None:
            return minute[0] + rest[0], rest[1]
        whole = self._match(text)  # first: only parts of a text that is right as a whole are remembered
        if len(text) > 16 and text[16] == ":":
            if len(known) > CACHE_MAX:
                known.clear()
            minute = self._match(text[:16])
            known[text[:16]] = minute
            known[text[16:]] = (whole[0] - minute[0], whole[1])
        return whole

    def _match(self, text: str) -> tuple[int, bool]:
        match = self._pattern.fullmatch(text.strip())
        if match is None:
            raise BadTime(f"{text!r} does not look as time_format says")
        found = {name: part for name, part in match.groupdict().items() if part is not None}
        day_ns = midnight_wall_ns(_year(found), _month(found), int(found.get("d", 1)))
        hour, minute, second = _hour(found), int(found.get("M", 0)), int(found.get("S", 0))
        if hour > 23 or minute > 59 or second > 59:
            raise BadTime(f"{text!r} is not a time of day")
        nanos = int(found.get("f", "0").ljust(9, "0"))
        ns = day_ns + ((hour * 60 + minute) * 60 + second) * NS_PER_S + nanos
        zone = found.get("z")
        return (ns, False) if zone is None else (ns - _offset_ns(zone), True)


def _year(found: dict[str, str]) -> int:
    if "Y" in found:
        return int(found["Y"])
    short = int(found["y"])
    return short + (1900 if short > 68 else 2000)  # strptime's rule


def _month(found: dict[str, str]) -> int:
    if "b" not in found:
        return int(found.get("m", 1))
    month = _MONTHS.get(found["b"].lower())
    if month is None:
        raise BadTime(f"{found['b']!r} is not an English month")
    return month


def _hour(found: dict[str, str]) -> int:
    if "I" not in found:
        return int(found.get("H", 0))
    hour = int(found["I"])
    if not 1 <= hour <= 12:
        raise BadTime(f"hour {hour} is not one of 1 to 12")
    return hour % 12 + (12 if found["p"].lower() == "pm" else 0)


def _offset_ns(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-minutes if zone[0] == "-" else minutes) * 60 * NS_PER_S


def _compile(time_format: str) -> re.Pattern[str]:
    """A strptime pattern as a regular expression of ours. Raises :class:`InputError`."""
    parts: list[str] = []
    seen: set[str] = set()
    letters = iter(time_format)
    for letter in letters:
        if letter != "%":
            parts.append(re.escape(letter))
            continue
        directive = next(letters, "")
        if directive not in _DIRECTIVES or directive in seen:
            raise InputError(
                f"time_format {time_format!r}: %{directive} is unknown or there twice; known are "
                + " ".join(f"%{name}" for name in _DIRECTIVES)
            )
        if directive != "%":
            seen.add(directive)
        parts.append(_DIRECTIVES[directive])
    if not seen & {"Y", "y"} or not seen & {"m", "b"} or "d" not in seen or ("I" in seen) != ("p" in seen):
        raise InputError(f"time_format {time_format!r}: a date needs year, month and day, and %I needs %p")
    return re.compile("".join(parts))
