"""What a source of ticks must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from tradekeel.domain.ticks import Bar, TickWindow


class FeedInfo(Struct, frozen=True, kw_only=True):
    """What a feed says about itself."""

    name: str
    instruments: tuple[str, ...]
    replayable: bool  # the same ticks at the same positions every time, as long as they are there
    live: bool = False  # its ticks are of their moment, which passes while we work; otherwise time waits for us
    fingerprint: str  # of the data and all options that change it; "" when not replayable
    total: int | None = None  # ticks, if known beforehand (for the progress bar)
    total_bytes: int | None = None  # or bytes to read, for the same purpose


@runtime_checkable
class Feed(Protocol):
    """Where ticks come from. Positions count from 1 without a gap; unless it is live, time never steps back from tick to tick."""

    info: FeedInfo

    async def open(self, after: int, seen: int = 0) -> None:
        """Be ready to deliver from position ``after + 1``. May be called again to rewind a replayable feed.

        ``seen`` is up to where everybody who is told of gaps has seen it before; 0 with ``after`` 0: nobody has seen any of it,
        and it may begin where it likes. Where ticks behind ``seen`` are missing, the window says so (:class:`TickWindow`).
        """

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        """The next ticks, at least one; None when the feed has ended. Waits, cancellably, on a live or paced feed."""

    async def close(self) -> None:
        """Let go of everything."""

    def quality(self) -> dict[str, int]:
        """Counts of rows by kind: "rows", "ticks", and every kind of bad row with what was done about it."""

    def progress(self) -> float | None:
        """Share of the feed delivered, 0 to 1, if known."""


@runtime_checkable
class BuildsBars(Protocol):
    """A source of ticks that can be asked for bars."""

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """From here on windows have these bars, by instrument, and no others; to be asked before the first window.

        Raises :class:`~tradekeel.errors.InputError` where they cannot be built.
        """


@runtime_checkable
class TellsLastBars(Protocol):
    """A source of ticks that builds bars, and knows which were complete with its very last tick."""

    def last_bars(self) -> tuple[Bar, ...]:
        """Those bars, once there are no more ticks: no window begins behind them. To be asked once, then."""
        ...


def last_bars_of(source: object) -> tuple[Bar, ...]:
    """What a source says of them; one that cannot be asked has none."""
    return source.last_bars() if isinstance(source, TellsLastBars) else ()


@runtime_checkable
class FedByAnother(Protocol):
    """A feed whose ticks another process brings, which may go silent or be gone."""

    def waits(self) -> str | None:
        """Why nothing can come at the moment; empty: as far as is known something may. None: nobody else brings anything."""


def waits_of(feed: Feed) -> Callable[[], str | None]:
    """What asks a feed for :meth:`FedByAnother.waits`, whichever it is. Found once: it is asked at every window."""
    return feed.waits if isinstance(feed, FedByAnother) else lambda: None
