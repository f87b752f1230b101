"""How many of something there are, in words for people."""

from __future__ import annotations

from collections.abc import Mapping


def counted(count: int, one: str, many: str = "") -> str:
    """``1 trade``, ``2,500 trades``; ``many`` where that is more than an s behind ``one``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def each_counted(counts: Mapping[str, int]) -> str:
    """``4 crossed dropped, 1 gap accepted``, by name, of ``{"crossed_dropped": 4, "gap_accepted": 1}``; what is 0 is left out."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(counts.items()) if count)
