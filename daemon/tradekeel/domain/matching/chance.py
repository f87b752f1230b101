"""Chance without a random number generator: every draw is a hash of the seed and of what is being drawn for.

Two runs over the same ticks draw the same numbers, whatever happened in between: a draw depends on the instrument,
the tick, the side and the size, never on ids or on how many draws came before. A renewed order therefore meets the
same luck.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b

DRAW_BITS = 64
DRAW_RANGE = 1 << DRAW_BITS


def draw(seed: int, *parts: str | int | Decimal) -> int:
    """A number from 0 to 2**64 - 1, evenly spread over whatever ``parts`` may be."""
    text = "|".join(_text(part) for part in (seed, *parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=DRAW_BITS // 8).digest())


def happens(rate: Decimal, seed: int, *parts: str | int | Decimal) -> bool:
    """Whether something with probability ``rate`` (0 to 1) happens for ``parts``."""
    return bool(rate) and Decimal(draw(seed, *parts)) < rate * DRAW_RANGE


def pick(count: int, seed: int, *parts: str | int | Decimal) -> int:
    """A whole number from 0 to ``count`` - 1."""
    return draw(seed, *parts) * count >> DRAW_BITS


def _text(part: str | int | Decimal) -> str:
    # 1000 and 1E+3 and 1000.0 are one size: they must draw the same.
    return f"{part.normalize():f}" if isinstance(part, Decimal) else str(part)
