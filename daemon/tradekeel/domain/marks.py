"""Numbers that were seen, a bit each: what ticks off millions of rows in the memory of a hundred thousand bytes."""

from __future__ import annotations

BITS_AT_ONCE = 1 << 15


class Marks:
    """A set of whole numbers from zero on, kept in pieces, so that one that is far off costs no more than another."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}

    def add(self, number: int) -> None:
        """This one was seen."""
        piece, bit = divmod(number, BITS_AT_ONCE)
        self._pieces.setdefault(piece, bytearray(BITS_AT_ONCE // 8))[bit >> 3] |= 1 << (bit & 7)

    def discard(self, number: int) -> None:
        """As if it had never been seen."""
        piece, bit = divmod(number, BITS_AT_ONCE)
        found = self._pieces.get(piece)
        if found is not None:
            found[bit >> 3] &= 0xFF ^ 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        piece, bit = divmod(number, BITS_AT_ONCE)
        found = self._pieces.get(piece)
        return found is not None and bool(found[bit >> 3] & 1 << (bit & 7))
