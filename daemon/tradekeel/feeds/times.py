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
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Protocol

from tradekeel.domain.times import NS_PER_MS, NS_PER_S
from tradekeel.errors import InputError
from tradekeel.feeds.zones import BadTime, WallClock, midnight_wall_ns

_POWERS = tuple(int(f"1{'0' * digits}") for digits in range(10))
NS_MAX = 7_258_118_400 * NS_PER_S  # the year 2200; a time beyond it was read in the wrong unit
CACHE_MAX = 50_000

_NUMBER = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,18}))?", re.ASCII)
UNITS_NS = {"epoch_s": NS_PER_S, "epoch_ms": NS_PER_MS, "epoch_us": 1_000, "epoch_ns": 1}
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

TIME_FORMATS = ("iso", *UNITS_NS, "ms_since_midnight")


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
    if time_format in UNITS_NS:
        return _Epoch(UNITS_NS[time_format])
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
        point, fraction = texts[0].partition(".")[1:]
        digits = len(fraction)
        if not point:
            unit_ns, counts = self._unit_ns, texts
        else:
            split = [text.rpartition(".") for text in texts]
            alike = {len(part[2]) for part in split} == {digits} and all(part[0] for part in split)
            if not alike or not 1 <= digits <= 9 or self._unit_ns % _POWERS[digits]:
                raise BadTime("fractions of different lengths, or finer than a nanosecond")
            unit_ns = self._unit_ns // _POWERS[digits]
            counts = [part[0] + part[2] for part in split]
        if not "".join(counts).isdigit():
            raise BadTime("not all are numbers")
        return _checked_column([count * unit_ns for count in map(int, counts)])

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
        return self._clock.earliest_ns(midnight_ns), self._clock.latest_ns(last_ns)

    def column(self, texts: Sequence[str]) -> list[int]:
        if not "".join(texts).isdigit():
            raise BadTime("not all are numbers")
        counts = list(map(int, texts))
        if max(counts) >= 86_400_000:
            raise BadTime("not within a day")
        midnight_ns = self._midnight_ns
        return self._clock.utc_column([midnight_ns + count * NS_PER_MS for count in counts])

    def one(self, text: str, last_ns: int) -> int:
        since_ns = _count_ns(text, NS_PER_MS)
        if since_ns >= 86_400 * NS_PER_S:
            raise BadTime(f"{text!r} milliseconds are more than a day")
        return self._clock.utc_ns(self._midnight_ns + since_ns, last_ns)


class _Minutes(dict[str, int]):
    """What stands before the seconds of a text, as nanoseconds. Each is matched once, as part of a whole text."""

    def __init__(self, whole_ns: Callable[[str], int]) -> None:
        super().__init__()
        self._whole_ns = whole_ns

    def __missing__(self, before: str) -> int:
        if len(self) >= CACHE_MAX:
            self.clear()
        value = self[before] = self._whole_ns(before)
        return value


class _Shape:
    """Texts of one length, with seconds and fraction in one place and the same behind them, read by slices.

    A pattern sees digits, letters and signs, not which digit it is. So a text with other digits in the same places means
    the same parts, and only the part before the seconds has to be matched, once a minute.
    """

    def __init__(self, reader: _Text, sample: str) -> None:
        match = reader.pattern.fullmatch(sample)
        if match is None or match.groupdict().get("S") is None:
            raise BadTime("there are no seconds to read by themselves")
        self.length = len(sample)
        self._seconds = match.span("S")
        has_fraction = match.groupdict().get("f") is not None
        self._fraction = match.span("f") if has_fraction else (self._seconds[1], self._seconds[1])
        if self._fraction[0] < self._seconds[1]:
            raise BadTime("the fraction stands before the seconds")
        self._between = sample[self._seconds[1] : self._fraction[0]]
        self._behind = sample[self._fraction[1] :]
        digits = self._fraction[1] - self._fraction[0]
        self._unit_ns = _POWERS[9 - digits]
        self._limit = 60 * _POWERS[digits]
        self._zeros = "0" * (self._seconds[1] - self._seconds[0]) + self._between + "0" * digits + self._behind
        self.absolute = reader.match(sample)[1]
        self._minutes = _Minutes(lambda before: self._before_ns(reader, before))

    def _before_ns(self, reader: _Text, before: str) -> int:
        """What stands before the seconds, by itself; it must leave the seconds where they are."""
        text = before + self._zeros
        match = reader.pattern.fullmatch(text)
        if match is None or match.span("S") != self._seconds:
            raise BadTime(f"{text!r} has another shape")
        ns, absolute = reader.match(text)
        if absolute != self.absolute:
            raise BadTime("some times have a zone and some have none")
        return ns

    def column(self, texts: Sequence[str]) -> list[int]:
        """Nanoseconds of many texts. Raises :class:`BadTime` if one has another shape."""
        (start, stop), (first, last) = self._seconds, self._fraction
        between, behind = self._between, self._behind
        parts = [text[start:stop] + text[first:last] for text in texts]
        if (
            {len(text) for text in texts} != {self.length}
            or (between and {text[stop:first] for text in texts} != {between})
            or (behind and {text[last:] for text in texts} != {behind})
            or not "".join(parts).isdigit()
        ):
            raise BadTime("texts of different shapes")
        counts = list(map(int, parts))
        if max(counts) >= self._limit:
            raise BadTime("no time of day")
        unit_ns, minutes = self._unit_ns, self._minutes
        return [minutes[text[:start]] + count * unit_ns for text, count in zip(texts, counts, strict=True)]


class _Text(_Dated):
    """Dates and times in words and digits."""

    def __init__(self, pattern: re.Pattern[str], clock: WallClock) -> None:
        self.pattern = pattern
        self._clock = clock
        self._shape: _Shape | None = None

    def column(self, texts: Sequence[str]) -> list[int]:
        shape = self._shape
        if shape is None or shape.length != len(texts[0]):
            shape = self._shape = _Shape(self, texts[0])
        try:
            times = shape.column(texts)
        except BadTime:
            self._shape = None
            raise
        return _checked_column(times if shape.absolute else self._clock.utc_column(times))

    def one(self, text: str, last_ns: int) -> int:
        ns, absolute = self.match(text.strip())
        return _checked(ns if absolute else self._clock.utc_ns(ns, last_ns), text)

    def match(self, text: str) -> tuple[int, bool]:
        """Nanoseconds, and whether they are UTC already or on the wall clock. Raises :class:`BadTime`."""
        match = self.pattern.fullmatch(text)
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
