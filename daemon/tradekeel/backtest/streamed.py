"""What daemons have shared through a Redis stream, as data for a backtest: all that is there when it is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from tradekeel.backtest.source import WINDOW_TICKS
from tradekeel.domain.bars import BarSet
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.errors import DataError, InputError
from tradekeel.ports import FeedInfo
from tradekeel.ports.ticks import Piece, SharedTicks, StreamGone, StreamReplaced

T = TypeVar("T")


class Steps(Protocol):
    """Runs one coroutine after the other, each to its end; it may wait for a server."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it comes to."""
        ...

    def close(self) -> None:
        """Nothing is run any more."""
        ...


class RedisTickDataSource:
    """The ticks that a stream holds, from the oldest to the newest at the time of the look. A :class:`TickDataSource`.

    Positions count from 1 with the oldest that is there. Ticks that the writer left out are gaps: they are counted, and bars
    begin anew behind them. Where the clock of a live market's writer was set back between two of its lives, ticks have the time
    of the latest before them, and are counted, too. Closing it closes the stream and the steps, and nothing is read behind that
    (InputError). Raises DataError where there is
    no such stream, or it is another one by now.
    """

    def __init__(
        self,
        stream: SharedTicks,
        step: Steps,
        *,
        timeframes: Mapping[str, Sequence[str]] | None = None,
        window_ticks: int = WINDOW_TICKS,
    ) -> None:
        self._stream, self._step = stream, step
        self.build_bars(timeframes or {})
        self._window_ticks = window_ticks
        self._is_closed = False
        try:
            head = stream.look()
        except StreamGone:
            raise DataError(f"there is not {stream.described}: start the daemon that shares it") from None
        self._run, self._last = head.run, head.last
        first = self._read(0, 1)
        if not first.ticks:
            raise DataError(f"{stream.described} has no ticks: nothing can be tested on it")
        self._first = first.ticks[0].tick.position
        self._delivered = self._gaps = self._late = 0
        told = repr((self._run, self._first, self._last))
        self.info = FeedInfo(
            name=stream.described,
            instruments=head.instruments,
            replayable=True,
            fingerprint=hashlib.blake2b(told.encode(), digest_size=16).hexdigest(),
        )

    def build_bars(self, timeframes: Mapping[str, Sequence[str]]) -> None:
        """Have windows these bars."""
        self._timeframes = dict(timeframes)
        self._bars = BarSet({})

    def last_bars(self) -> tuple[Bar, ...]:
        """Those that were complete with the very last tick."""
        return self._bars.finish()

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        """All windows behind a position."""
        bars = self._bars = BarSet(self._timeframes)
        self._delivered = self._gaps = self._late = 0
        behind, position, latest_ns = self._first - 1, 0, 0
        while behind < self._last:
            piece = self._read(behind, self._window_ticks)
            shared = [each.tick for each in piece.ticks if each.tick.position <= self._last]
            if not shared:
                self._refuse_lost(behind, self._last + 1, piece.first or self._last + 1)
                return
            self._refuse_lost(behind, shared[0].position, piece.first)
            for run in _consecutive(shared):
                if run[0].position != behind + 1:
                    self._gaps += 1
                    bars = self._bars = BarSet(self._timeframes)
                behind = run[-1].position
                ticks = list(_ours(run, position, latest_ns))
                self._late += sum(ours.ts_ns != theirs.ts_ns for ours, theirs in zip(ticks, run, strict=True))
                built = bars.fill(ticks) if bars else {}
                position, latest_ns = ticks[-1].position, ticks[-1].ts_ns
                self._delivered = position
                rest = TickWindow(ticks, built, instruments=self.info.instruments).behind(after)
                if rest is not None:
                    yield rest

    def quality(self) -> Mapping[str, int]:
        """Ticks delivered, the gaps among them, and those whose time stepped back."""
        told = {"gaps": self._gaps, "out_of_order_fixed": self._late}
        found = {what: count for what, count in told.items() if count}
        return {"rows": self._delivered, "ticks": self._delivered, **found}

    def progress(self) -> float | None:
        """Share of the stream that was delivered, missing ticks counted in."""
        return min(1.0, self._delivered / (self._last - self._first + 1))

    def close(self) -> None:
        """Let go of the server."""
        if not self._is_closed:
            self._is_closed = True
            self._step(self._stream.close())
            self._step.close()

    def _read(self, after: int, count: int) -> Piece:
        if self._is_closed:
            raise InputError(f"{self._stream.described}: this source was closed, make another one")
        try:
            return self._step(self._stream.read(self._run, after, count))
        except (StreamGone, StreamReplaced):
            raise DataError(
                f"{self._stream.described} is another one by now: what was read of it is no data any more. Begin anew"
            ) from None

    def _refuse_lost(self, behind: int, first: int, oldest: int) -> None:
        """A stream forgets its oldest ticks while it is written: what was there at the look has to be read in time."""
        if first != behind + 1 and oldest > behind + 1:
            raise DataError(
                f"{self._stream.described} has forgotten ticks {behind + 1:,} to {oldest - 1:,} while they were read: choose a "
                "larger share_ticks_max where it is written"
            )


def _consecutive(ticks: Sequence[Tick]) -> Iterator[list[Tick]]:
    """Runs of ticks without a gap in their positions."""
    run: list[Tick] = []
    for tick in ticks:
        if run and tick.position != run[-1].position + 1:
            yield run
            run = []
        run.append(tick)
    yield run


def _ours(ticks: Sequence[Tick], position: int, latest_ns: int) -> Iterator[Tick]:
    """Ticks behind a position and a time: they count on from the one, and never step back behind the other."""
    for number, tick in enumerate(ticks, start=position + 1):
        latest_ns = max(latest_ns, tick.ts_ns)
        yield Tick(tick.instrument, latest_ns, tick.bid, tick.ask, number, tick.bid_size, tick.ask_size)
