"""What a moment is made of, and moments as text, for people and for files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SPANS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds of the units in which spans are written: 90s, 15m, 2h, 3d, 1w."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_the_second(ns: int) -> str:
    """A moment in UTC, for people: ``2024-01-05 00:00:00``. What lies within the second is left out."""
    return f"{_EPOCH + timedelta(seconds=ns // NS_PER_S):%Y-%m-%d %H:%M:%S}"


def iso(ns: int) -> str:
    """A moment as ISO 8601 in UTC, exact to the nanosecond."""
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
