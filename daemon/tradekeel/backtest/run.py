"""A run: a kernel over all of its ticks, with the states saved on the way that it can go on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tradekeel.backtest.account import Journal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.saving import save
from tradekeel.backtest.setup import Setup, begin, resume
from tradekeel.backtest.source import TickDataSource
from tradekeel.domain.rows import Checkpoint

CUT_TICKS = 200_000
"""Ticks between two saved states."""


class Keeper(Journal, Protocol):
    """A journal that also keeps states, and from which a run can go on."""

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """All that was appended, and these states as of its end, become durable together."""
        ...

    def last_cut(self) -> Sequence[Checkpoint]:
        """The states of the last cut; none where there was none. The journal ends there now."""
        ...


def run(
    setup: Setup,
    source: TickDataSource,
    journal: Keeper,
    *,
    cut_ticks: int = CUT_TICKS,
    heed: Callable[[int], object] = lambda position: None,
) -> Kernel:
    """Begin, or go on where the journal ends, and come to the end of the ticks.

    ``heed`` is told the position behind each window; what it raises ends the run there, and it can go on from its last cut.
    """
    saved = journal.last_cut()
    kernel = resume(setup, journal, saved) if saved else begin(setup, journal)
    last_cut = position = kernel.position
    for window in source.windows(position):
        kernel.conduct(window)
        position = window.last_position
        heed(position)
        if position - last_cut >= cut_ticks:
            kernel.rest()
            journal.cut(save(kernel))
            last_cut = position
    kernel.end()
    kernel.rest()
    journal.cut(save(kernel))
    return kernel
