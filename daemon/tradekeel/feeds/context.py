"""What every feed is given beside its own settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.feeds.files import FileHashes
from tradekeel.feeds.pace import Sleeper
from tradekeel.feeds.stream import Watch
from tradekeel.ports import Say
from tradekeel.ports.ticks import SharedTicks

T = TypeVar("T")


class Aside(Protocol):
    """A thread for what waits for others, so that nobody here does."""

    def call(self, function: Callable[[], T]) -> Awaitable[T]:
        """Run it there; its result, or what it raises. Whoever is cancelled meanwhile is not held: it is left to itself."""
        ...


class FeedContext(NamedTuple):
    """The world around one feed."""

    name: str  # as the config calls the feed
    sleeper: Sleeper  # the injected clock
    base: Path = Path()  # what relative paths are relative to
    instruments: Mapping[str, Instrument] = CATALOGUE  # those of the config; the catalogue is known anyway
    timeframes: Mapping[str, Sequence[str]] = {}  # the bars wanted of each instrument
    hashes: FileHashes | None = None  # of files that others have read already
    stream: Callable[[str], SharedTicks] | None = None  # what daemons share, by name, on the server that the feed has
    say: Say | None = None  # the log
    patience: Callable[[str], object] | None = None
    """Waits a moment for what is not there yet, and says for what; raises where nothing is waited for. None: nothing ever is."""
    watch: Watch | None = None  # looks on while rows are read
    password: Callable[[], str] | None = None  # of the feed's own server, where it is asked for one
    reading: Callable[[str, int, int], object] | None = None
    """Told how far a feed is that has to read all of its data first; what it raises ends the reading."""
    aside: Aside | None = None
    """Where rows of a server are read, and its being away is waited out. None: here, and a server that is away ends the feed."""


Keys = tuple[str, ...]
"""A key of a feed's table, and those inside of it."""

Problem = tuple[Keys, str]
"""Where in a feed's table something is wrong, and what."""


class FeedSurroundings(NamedTuple):
    """The world around a feed that is only looked at."""

    base: Path  # what relative paths are relative to
    known: Collection[str]  # instruments
    root: Path  # what absolute ones are below: / but for an image that is being made
    why_closed: Callable[[Path], str | None]  # why a file cannot be read by who is to read it, or None
