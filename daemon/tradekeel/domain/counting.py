"""How many of something there are, in words for people."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """``1 trade``, ``2,500 trades``; ``many`` where that is more than an s behind ``one``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
