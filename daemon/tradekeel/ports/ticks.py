"""Ticks that one daemon shares with others: a numbered sequence on a server, which one writes and many read.

The sequence is of one *run*: the same position means the same tick as long as the run is the same. What the writer could not
write is missing, and stays missing, so a gap in the numbers is a gap in the ticks; what is old is taken away from the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tradekeel.domain.ticks import Tick


class StreamHead(Struct, frozen=True, kw_only=True):
    """What a shared sequence says of itself."""

    run: str  # which sequence it is; another one begun in its place has another
    instruments: tuple[str, ...]
    live: bool  # its ticks were of their moment when they were written; else they are a recording
    last: int  # the last position that was written, or behind which writing began


class Leap(Struct, frozen=True):
    """Where the writer of a live market was begun anew: behind ``behind`` it goes on at ``first``, and nothing has the others."""

    behind: int
    first: int


class SharedTick(Struct, frozen=True):
    """A tick of a sequence, and what somebody who begins to read at it needs to build the same bars.

    ``count`` is which of its instrument's ticks it is, from 1, counted anew behind each gap. ``latest_ns`` is the latest time of
    that instrument so far, its own included. ``leap`` is there with the first one that a writer shared after it was begun anew.
    """

    tick: Tick
    count: int
    latest_ns: int
    leap: Leap | None = None


class Piece(Struct, frozen=True, kw_only=True):
    """Some consecutive entries, as they stood at one moment together with the rest."""

    last: int  # as of StreamHead
    first: int  # the oldest position that is still there; 0: none is
    ticks: Sequence[SharedTick]
    ended: bool  # the writer's feed has ended behind the position asked for or the last of these ticks: nothing follows


class Counts(Struct, frozen=True):
    """What the writer has counted of each instrument since the last gap."""

    count: int
    latest_ns: int


class Begun(Struct, frozen=True, kw_only=True):
    """Where a writer goes on."""

    run: str
    last: int
    counts: Mapping[str, Counts]
    is_new: bool  # there was none, or one of something else, which is gone


class Writing(Struct, frozen=True, kw_only=True):
    """How somebody writes."""

    run: str
    writer: str  # as it began; of a live market there is one, and who begins takes it over
    ticks_max: int  # of the oldest about so many more go
    ended: bool  # the feed has, behind these ticks


class StreamReplaced(Exception):
    """There is a sequence of another run in the place of ours, or another writer of it."""

    def __init__(self, by: str) -> None:
        super().__init__(f"by {by}")
        self.by = by


class StreamGone(Exception):
    """There is no such sequence."""


class SharedTicks(Protocol):
    """One sequence, by its name. Each call has a deadline.

    Each raises StoreAway, StoreUnanswered (asking again is harmless: nothing here counts) and StoreRefused beside what it says.
    """

    @property
    def described(self) -> str:
        """Its name and its server, for messages."""

    def look(self) -> StreamHead:
        """What it says of itself, now and without an event loop. Raises StreamGone."""

    async def read(self, run: str, after: int, count: int) -> Piece:
        """The oldest entries behind ``after``, at most so many. Raises StreamGone or StreamReplaced."""

    async def read_back(self, run: str, before: int, count: int) -> Piece:
        """The newest entries before ``before``, at most so many, oldest first. Raises as :meth:`read`."""

    async def wait(self, after: int, wait_s: float) -> None:
        """Until something is there behind ``after``, at most so long."""

    async def begin(self, head: StreamHead, data: str, writer: str) -> Begun:
        """Go on writing the sequence if it is of the same ``data``, instruments and kind; otherwise begin anew, as ``head`` says.

        ``writer`` is its writer from now on.
        """

    async def append(self, writing: Writing, ticks: Sequence[SharedTick], counts: Mapping[str, Counts]) -> None:
        """Write what is not there yet. ``counts`` are those behind the last of them. Raises StreamGone or StreamReplaced."""

    async def close(self) -> None:
        """Let go of the server."""
