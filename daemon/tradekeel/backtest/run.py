"""A run: a kernel over all of its ticks, with the states saved on the way that it can go on from.

Where the states are saved, and how often a run was interrupted or killed, changes nothing of what it comes to: its journal is the
same to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tradekeel.backtest.account import Journal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.proof import prove
from tradekeel.backtest.saving import save
from tradekeel.backtest.setup import Setup, begin, resume
from tradekeel.backtest.source import TickDataSource
from tradekeel.domain.counting import each_counted
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.times import iso
from tradekeel.errors import DataError, InputError
from tradekeel.ports import last_bars_of

CUT_TICKS = 200_000
"""Ticks between two saved states."""

CUT_RECORDS = 20_000
"""Records of the journal between two saved states, and those of one more window: what is not saved yet is held in memory, and
there are strategies that order at every tick.
"""


class Keeper(Journal, Protocol):
    """A journal that also keeps states, and from which a run can go on."""

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """All that was appended, and these states as of its end, become durable together."""
        ...

    def last_cut(self) -> Sequence[Checkpoint]:
        """The states of the last cut; none where there was none. The journal ends there now."""
        ...


class Ran:
    """What a run has come to."""

    def __init__(self, kernel: Kernel, *, completed: bool) -> None:
        self.kernel = kernel
        self.completed = completed  # otherwise it was interrupted, and goes on from its last state


def run(
    setup: Setup,
    source: TickDataSource,
    journal: Keeper,
    *,
    goes_on: Callable[[int], bool] = lambda position: True,
    look: Callable[[Kernel], bool] = lambda kernel: True,
    cut_ticks: int = CUT_TICKS,
    cut_records: int = CUT_RECORDS,
) -> Ran:
    """Begin, or go on where the journal ends, and come to the end of the ticks.

    ``goes_on`` is asked behind each window, with the position that was reached. Where it says no, the state is saved and the run
    interrupted. ``look`` is asked likewise behind each ``cut_ticks``, with the kernel at rest, and may read its figures.
    Raises what a strategy raises, InputError for the journal of another execution, DataError for data that is refused, what the
    journal raises, and Defect where the books and the venue's do not agree (:mod:`tradekeel.backtest.proof`).
    """
    saved = journal.last_cut() or ()
    _refuse_other(saved, setup)
    kernel = resume(setup, journal, saved) if saved else None
    position = last_look = 0 if kernel is None else kernel.position
    saved_to = 0 if kernel is None else kernel.account.book.sequence
    for window in source.windows(position):
        if kernel is None:
            kernel = begin(setup, journal, window.ticks[0].ts_ns)
        kernel.conduct(window)
        position = window.last_position
        if not goes_on(position):
            _cut(kernel, journal)
            return Ran(kernel, completed=False)
        looks = position - last_look >= cut_ticks
        if looks or kernel.account.book.sequence - saved_to >= cut_records:
            _cut(kernel, journal)
            saved_to = kernel.account.book.sequence
        if looks:
            last_look = position
            if not look(kernel):
                return Ran(kernel, completed=False)
    if kernel is None:
        raise DataError(f"feed {source.info.name} has no ticks{_why_none(source)}: nothing can be tested on it")
    if not kernel.counts:
        raise DataError(
            f"feed {source.info.name} ends before the start, {iso(setup.begins_ns)}: nothing can be tested on its "
            f"{position:,} ticks of warm-up"
        )
    if not kernel.is_over:  # a kill may have come behind the last cut, before anybody was told that it was the last
        kernel.end(last_bars=last_bars_of(source))
        _cut(kernel, journal)
    return Ran(kernel, completed=True)


def _refuse_other(saved: Sequence[Checkpoint], setup: Setup) -> None:
    """To go on from the states of another run would give that one's trades and balance, and nobody would be told."""
    others = {each.execution for each in saved} - {setup.execution}
    if others:
        raise InputError(
            f"the journal is that of another backtest ({', '.join(sorted(others))}), on other data or terms than this one "
            f"({setup.execution}): give each a journal of its own"
        )


def _why_none(source: TickDataSource) -> str:
    """What became of the rows, where they are counted."""
    counts = {kind: count for kind, count in source.quality().items() if kind != "ticks"}
    rows = counts.pop("rows", None)
    told = each_counted(counts)
    if rows is None:
        return ""
    return (
        f" (of {rows:,} rows in its data none is left{': ' if told else ''}{told})"
        if rows
        else " (its data has no rows)"
    )


def _cut(kernel: Kernel, journal: Keeper) -> None:
    kernel.rest()
    prove(kernel)  # before anything is kept: nobody shall go on from, or believe, what is wrong
    journal.cut(save(kernel))
