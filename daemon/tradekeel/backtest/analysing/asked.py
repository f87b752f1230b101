"""What strategies ask for in a run: each decision as it was taken, before the gate and the account have a word in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.saving import save
from tradekeel.backtest.setup import Setup, begin, resume
from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import Decision, Request, Stamp
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import TickWindow
from tradekeel.domain.trades import Trade
from tradekeel.errors import DataError


class Asked(Struct, frozen=True):
    """One decision: where, by whom, what."""

    strategy: str
    stamp: int  # see messages.Stamp
    ts_ns: int
    warm: bool  # while it is not, entries are denied
    requests: tuple[Request, ...]

    @property
    def position(self) -> int:
        """The tick at which it was taken."""
        return Stamp.position(self.stamp)


class Held(Struct, frozen=True):
    """What a strategy has from a moment on: of each trade, those on their way in included, instrument, side, units and cost."""

    stamp: int
    trades: tuple[str, ...]


class Run(Struct, frozen=True, kw_only=True):
    """What a run has come to."""

    asked: tuple[Asked, ...]
    held: dict[str, list[Held]]  # by strategy, each change
    ticks: int  # the last one's position
    first_ns: int
    last_ns: int
    warm_at: dict[str, int]  # by strategy: the tick at which it was warm; not there: it never was
    marks: tuple[tuple[int, int], ...] = ()  # ticks here and there with their times
    saved: tuple[Checkpoint, ...] = ()  # everybody's state at the end


class _Holdings(MemoryJournal):
    """Of all records what they have changed about the trades, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, list[Held]] = {}
        self._open: dict[str, dict[str, str]] = {}

    def append(self, entries: Sequence[Entry]) -> None:
        """Follow the trades."""
        for entry in entries:
            for row in entry.rows:
                if isinstance(row, Trade) and row.strategy is not None:
                    self._follow(row, row.strategy, entry.record.stamp)

    def _follow(self, trade: Trade, strategy: str, stamp: int) -> None:
        held = self._open.setdefault(strategy, {})
        if trade.is_open:
            units = trade.quantity - trade.exited_quantity
            held[trade.trade_id] = f"{trade.symbol} {trade.side.value} {units:f} for {trade.entry_value:f}"
        else:
            held.pop(trade.trade_id, None)
        self.held.setdefault(strategy, []).append(Held(stamp, tuple(sorted(held.values()))))


WHOLE_TICKS = 2_048
"""Ticks that are handed out at a time."""

FINE_SHARE = 1_000
"""While a strategy is not warm, ticks are handed out one at a time, and later one in so many of those that were: the moment at
which it is warm is known as exactly as that."""


MARK_EVERY = 64
MARKS_MAX = 2_000
"""One tick in so many is kept with its time, off the ends of windows; of more than so many, every second is left out."""


class Portions:
    """How many ticks are handed out at a time: one by one as long as it matters when a strategy becomes warm."""

    def __init__(self, ticks: int = WHOLE_TICKS, *, fine: bool = False) -> None:
        self._ticks, self.fine, self.position = ticks, fine, 0

    def size(self) -> int:
        """Of the next portion."""
        return min(self._ticks, max(1, self.position // FINE_SHARE)) if self.fine else self._ticks


def conduct(
    setup: Setup,
    windows: Iterable[TickWindow],
    *,
    portions: Portions | None = None,
    saved: Sequence[Checkpoint] = (),
    saves: bool = False,
    tell: Callable[[int], object] = lambda position: None,
) -> Run:
    """Run over all windows, from the beginning or from what was saved, and keep what was asked for.

    It ends behind the last tick: nobody is told that there are no more, so that a run over a part of the data has no other end
    than the whole one has there. Raises what a strategy raises, and DataError where there is no tick.
    """
    asked: list[Asked] = []
    warm_at: dict[str, int] = {}
    marks: list[tuple[int, int]] = []
    first_ns = last_ns = 0

    def hears(decision: Decision) -> None:
        asked.append(Asked(decision.strategy, decision.stamp, decision.ts_ns, decision.warm, decision.requests))

    journal, kernel = _Holdings(), None
    if saved:
        kernel = resume(setup, journal, saved, hears)
    for window in windows:
        if kernel is None:
            kernel = begin(setup, journal, window.ticks[0].ts_ns, hears)
        first_ns = first_ns or window.ticks[0].ts_ns
        last_ns = window.ticks[-1].ts_ns
        _mark(window, marks)
        kernel.conduct(window)
        _note_warm(kernel, warm_at)
        if portions is not None:
            portions.position = kernel.position
            portions.fine = portions.fine and len(warm_at) < len(kernel.strategists)
        tell(kernel.position)
    if kernel is None:
        raise DataError("there are no ticks: nothing can be analysed")
    kernel.rest()
    return Run(
        asked=tuple(asked),
        held=journal.held,
        ticks=kernel.position,
        first_ns=first_ns,
        last_ns=last_ns,
        warm_at=warm_at,
        marks=tuple(marks),
        saved=save(kernel) if saves else (),
    )


def _mark(window: TickWindow, marks: list[tuple[int, int]]) -> None:
    marks.extend((tick.position, tick.ts_ns) for tick in window.ticks[MARK_EVERY // 2 :: MARK_EVERY])
    while len(marks) > MARKS_MAX:
        del marks[::2]


def _note_warm(kernel: Kernel, warm_at: dict[str, int]) -> None:
    for strategist in kernel.strategists:
        if strategist.warm and strategist.settings.name not in warm_at:
            warm_at[strategist.settings.name] = kernel.position
