"""What makes one doubt what a backtest has come to: its data, and what its strategies make of it.

It is said when a backtest ends, and kept with its execution, so that a report says it, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradekeel.backtest.around import MARKET_CLOSED
from tradekeel.backtest.leaps import LEAPS
from tradekeel.bootstrap.summary import bad_row_words
from tradekeel.domain.counting import counted
from tradekeel.feeds.rows import RowKind
from tradekeel.feeds.stream import FirstBad

OFF_GRID_ADVICE = "Is it the right instrument, and its tick_size? bad_rows.off_grid says what a feed makes of such rows"


def data_doubts(
    quality: Mapping[str, int], first_bad: Sequence[FirstBad], without_ticks: Sequence[str]
) -> tuple[str, ...]:
    """Sentences about the data, from a source's counts and its first bad rows, with what to look at."""
    return (
        *_bad(quality),
        *_off_grid(quality, first_bad),
        *_silent(without_ticks),
        *_leaps(quality),
        *_closed(quality),
    )


def _bad(quality: Mapping[str, int]) -> list[str]:
    bad = bad_row_words(quality)
    return [f"bad rows of the data: {bad}"] if bad else []


def _off_grid(quality: Mapping[str, int], first_bad: Sequence[FirstBad]) -> list[str]:
    strays = [bad for bad in first_bad if bad.kind is RowKind.OFF_GRID]
    if not strays:
        return []
    counts = (quality.get(f"{RowKind.OFF_GRID}_{done}", 0) for done in ("accepted", "dropped"))
    places = "; ".join(f"{bad.instrument} in {bad.where}: {bad.found}" for bad in strays)
    said = f"{counted(sum(counts), 'quote')} with a price off the instrument's step. The first of {places}"
    return [f"{said}. {OFF_GRID_ADVICE}"]


def _silent(without_ticks: Sequence[str]) -> list[str]:
    return [f"not one tick has come of {', '.join(without_ticks)}: it could not be traded"] if without_ticks else []


def _leaps(quality: Mapping[str, int]) -> list[str]:
    leaps = quality.get(LEAPS, 0)
    if not leaps:
        return []
    times = "once" if leaps == 1 else f"{leaps:,} times"
    said = f"the price leapt by more than a fifth from one tick to the next, {times}: `tradekeel data check` shows where (spikes)"
    return [f"{said}. Where that is a wrong row or a split, what was traded there means nothing"]


def _closed(quality: Mapping[str, int]) -> list[str]:
    closed = quality.get(MARKET_CLOSED, 0)
    if not closed:
        return []
    said = f"{counted(closed, 'tick')} while the market is closed, Friday to Sunday 17:00 in New York"
    return [f"{said}: is time_zone of the feed right?"]
