"""Whether a strategy's warm-up is long enough: entries behind a tick, with more and with less of the past before it.

An average that is carried on from price to price never quite forgets; what a strategy asks for is the same all the same once its
past is long enough. So data is begun later and later, and the entries behind one tick are compared with those of the whole data.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from tradekeel.backtest.analysing.asked import Run
from tradekeel.backtest.analysing.comparing import EntryChanges, entry_changes, held_before
from tradekeel.domain.messages import Stamp

MULTIPLES = (1, 2, 4, 8, 16)
"""Of the declared warm-up: how much past there is before the tick."""

PARTS = 64
"""Where nothing is declared, the past is measured in such parts of the data."""


class Verdict(StrEnum):
    """What the comparison says of a warm-up."""

    ENOUGH = "enough"
    TOO_SHORT = "too short"
    FOLLOWS = (
        "follows what it holds"  # what it entered before decides what it enters now: there is nothing to be judged
    )
    NO_ENTRIES = "no entries"
    NEVER_WARM = "never warm"
    TOO_LITTLE = "too little data"


class Lead(Struct, frozen=True, kw_only=True):
    """One length of the past."""

    ticks: int  # before the tick from which on entries are compared
    multiple: int | None  # of the declared warm-up; None: nothing is declared
    changes: EntryChanges | None  # None: it did not become warm again


class WarmUp(Struct, frozen=True, kw_only=True):
    """What is known of one strategy's warm-up."""

    strategy: str
    verdict: Verdict
    declared: (
        int | None
    )  # ticks from the begin of the whole data until it said that it is warm; None: it never did. 0: at once
    compared_behind: int | None = None
    held_nothing: bool = False  # there, with the whole past
    enough: int | None = None  # ticks of the past with which, and with more, all entries are the same
    leads: tuple[Lead, ...] = ()

    @property
    def is_enough(self) -> bool:
        """Nothing that was entered depends on what came before it."""
        return self.verdict is Verdict.ENOUGH

    @property
    def is_too_short(self) -> bool:
        """Entries depend on more of the past than the strategy waits for."""
        return self.verdict is Verdict.TOO_SHORT


def compared_behind(whole: Run, strategy: str) -> int | None:
    """The tick behind which entries are compared. None: there is none.

    Half of the data, or all that the warm-up leaves, has passed by then. The strategy holds nothing there, if that comes to pass
    before three quarters: whoever begins later holds nothing either, and what is entered next does not follow from that.
    """
    warm_at = whole.warm_at.get(strategy)
    if warm_at is None or warm_at >= whole.ticks:
        return None
    earliest = max(whole.ticks // 2, warm_at)
    latest = max(earliest, whole.ticks * 3 // 4)
    if holds_nothing(whole, strategy, earliest):
        return earliest
    flat = (Stamp.position(held.stamp) for held in whole.held[strategy] if not held.trades)
    return next((position for position in flat if earliest < position <= latest), earliest)


def holds_nothing(whole: Run, strategy: str, position: int) -> bool:
    """Whether it has no trade when a tick is over."""
    return not held_before(whole, strategy, Stamp.after(position) + 1)


def leads_of(whole: Run, strategy: str) -> list[tuple[int, int | None]]:
    """The lengths of the past to try, in ticks, with the multiple of the declared warm-up."""
    behind = compared_behind(whole, strategy)
    if behind is None:
        return []
    warm_at = whole.warm_at[strategy]
    if warm_at > 1:
        return [(warm_at * times, times) for times in MULTIPLES if warm_at * times < behind]
    part = max(2, whole.ticks // PARTS)
    lengths = [1, *(part * times for times in MULTIPLES)]
    return [(ticks, None) for ticks in lengths if ticks < behind]


def warm_up(whole: Run, strategy: str, runs: Sequence[tuple[int, int | None, Run]]) -> WarmUp:
    """Judge one strategy by runs that had so many ticks (and that multiple) before the tick."""
    warm_at, behind = whole.warm_at.get(strategy), compared_behind(whole, strategy)
    declared = None if warm_at is None else 0 if warm_at == 1 else warm_at
    if behind is None or not runs:
        verdict = Verdict.NEVER_WARM if warm_at is None else Verdict.TOO_LITTLE
        return WarmUp(strategy=strategy, verdict=verdict, declared=declared)
    leads = tuple(
        Lead(ticks=ticks, multiple=multiple, changes=_changes(whole, strategy, run, behind, ticks))
        for ticks, multiple, run in runs
    )
    enough = None
    for lead in reversed(leads):
        if lead.changes is None or lead.changes.differing:
            break
        enough = lead.ticks
    held_nothing = holds_nothing(whole, strategy, behind)
    return WarmUp(
        strategy=strategy,
        verdict=_verdict(leads, enough, held_nothing=held_nothing),
        declared=declared,
        compared_behind=behind,
        held_nothing=held_nothing,
        enough=enough,
        leads=leads,
    )


def _changes(whole: Run, strategy: str, run: Run, behind: int, ticks: int) -> EntryChanges | None:
    """From where both are warm: how many ticks that takes may be another number at another time of the day."""
    warm_at = run.warm_at.get(strategy)
    if warm_at is None:
        return None
    shift = behind - ticks
    return entry_changes(strategy, whole, run, shift, max(behind, shift + warm_at))


def _verdict(leads: Sequence[Lead], enough: int | None, *, held_nothing: bool) -> Verdict:
    """Where the first entry that differs comes while it holds something else, that may be all there is to it.

    Where no past is long enough, the longest one says so: the warm-up has the least to do with that. Where one is, and both began
    with different trades, nobody knows, and the longer warm-up is the safe one.
    """
    seen = [lead.changes for lead in leads if lead.changes is not None]
    if not seen:
        return Verdict.TOO_LITTLE
    if not any(changes.entries or changes.differing for changes in seen):
        return Verdict.NO_ENTRIES
    if enough == leads[0].ticks:
        return Verdict.ENOUGH
    if enough is None:
        return Verdict.FOLLOWS if seen[-1].first_holding else Verdict.TOO_SHORT
    holds_else = all(changes.first_holding for changes in seen if changes.differing)
    return Verdict.FOLLOWS if holds_else and held_nothing else Verdict.TOO_SHORT
