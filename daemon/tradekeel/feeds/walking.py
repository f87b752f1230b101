"""How far back a shared stream must be read so that bars are, where the feed goes on, what they have always been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tradekeel.domain.bars import Origin, enough_history
from tradekeel.ports.ticks import Piece, SharedTick


class BackReader(Protocol):
    """Reads backwards."""

    async def read_back(self, before: int, count: int) -> Piece:
        """The newest entries before ``before``, oldest first."""


class Way(Struct, frozen=True):
    """Where bars begin to be built."""

    first: int  # with this tick
    origins: dict[str, Origin]  # what came before it
    whole: bool  # bars are right by then: nothing that belongs to one that is open is missing
    is_oldest: bool  # there is nothing before it in the stream; otherwise, where bars begin later than asked, a gap is


async def walk_back(
    reader: BackReader, timeframes: Mapping[str, Sequence[str]], behind: int, seen: int, piece_ticks: int
) -> Way:
    """From tick ``seen`` back to ``behind`` at least, and further until bars are right at ``seen``, or there is no more.

    Behind a gap bars have begun anew, so nobody has to go further back than that.
    """
    earliest: dict[str, SharedTick] = {}
    latest: dict[str, SharedTick] = {}
    first = seen + 1
    while True:
        piece = await reader.read_back(first, piece_ticks)
        ticks = _unbroken(piece.ticks, first)
        for shared in ticks:
            latest.setdefault(shared.tick.instrument, shared)
            earliest[shared.tick.instrument] = shared
        first -= len(ticks)
        origins = {symbol: _origin(shared) for symbol, shared in earliest.items()}
        enough = all(
            symbol in origins and enough_history(texts, origins[symbol], _reached(latest[symbol]))
            for symbol, texts in timeframes.items()
        )
        if enough and first <= behind + 1:
            return Way(first, origins, whole=True, is_oldest=False)
        if len(ticks) < len(piece.ticks):  # a gap: whoever has no tick behind it has no bar either
            known = all(origin.ticks == 0 for origin in origins.values())
            return Way(first, origins, whole=known, is_oldest=False)
        if not ticks:
            return Way(first, origins, whole=enough or first == 1, is_oldest=True)


def _unbroken(ticks: Sequence[SharedTick], before: int) -> list[SharedTick]:
    """Those that lead up to ``before`` without a gap, newest first."""
    found = []
    for shared in reversed(ticks):
        if shared.tick.position != before - 1:
            break
        before -= 1
        found.append(shared)
    return found


def _origin(shared: SharedTick) -> Origin:
    """What came before a tick, of its instrument. The latest time then is not known, and its own does as well."""
    return Origin(shared.count - 1, shared.latest_ns) if shared.count > 1 else Origin()


def _reached(shared: SharedTick) -> Origin:
    return Origin(shared.count, shared.latest_ns)
