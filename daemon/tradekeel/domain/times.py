"""What a moment is made of, and moments as text, for people and for files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SPANS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds of the units in which spans are written: 90s, 15m, 2h, 3d, 1w."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND_US = re.compile(r"[.,][0-9]{6}([0-9]{1,3})(?![0-9])")
_BEYOND_NS = re.compile(r"[.,][0-9]{10}")


def to_the_second(ns: int) -> str:
    """A moment in UTC, for people: ``2024-01-05 00:00:00``. What lies within the second is left out."""
    return f"{_EPOCH + timedelta(seconds=ns // NS_PER_S):%Y-%m-%d %H:%M:%S}"


def iso(ns: int) -> str:
    """A moment as ISO 8601 in UTC, exact to the nanosecond."""
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def instant_ns(text: str) -> int:
    """An ISO 8601 date, or date and time, as UTC nanoseconds: what :func:`iso` writes is read to the last digit.

    Without a zone it is UTC. Raises ValueError, also for a time that is finer than a nanosecond.
    """
    if _BEYOND_NS.search(text):
        raise ValueError(f"{text!r} is finer than a nanosecond")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Python reads six digits, and leaves out the rest without a word.
    beyond = _BEYOND_US.search(text)
    rest_ns = int(beyond[1].ljust(3, "0")) if beyond is not None else 0
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000 + rest_ns
