"""The range of a price over a moving window of time, kept so that most ticks change nothing.

The window is ten slices, aligned to multiples of their length in UTC, so that two runs that begin at different moments
agree. A slice is its first, highest and lowest price; a tick that is no new extreme of the current slice and does not
begin the next one leaves the window as it is. The range is taken over the current slice and the nine before it: between
nine and ten tenths of the window.

Prices here are bid + ask, twice the mid, which needs no division; a ratio is the same for both. Everything is exact.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.domain.money import ZERO, Rounding, divide
from tradekeel.domain.times import NS_PER_S

SLICES = 10
HUNDRED = Decimal(100)
PERCENT_STEP = Decimal("0.0001")


class Slice(Struct, frozen=True, gc=False):
    """One tenth of the window: bid + ask at its first tick, its highest and its lowest."""

    start_ns: int
    first: Decimal
    high: Decimal
    low: Decimal


class Window(Struct, frozen=True, gc=False):
    """The current slice, spelled out for the hot path, and the ones before it, oldest first."""

    slice_end_ns: int = 0
    first: Decimal = ZERO
    high: Decimal = ZERO  # of the current slice
    low: Decimal = ZERO
    past: tuple[Slice, ...] = ()
    highest: Decimal = ZERO  # of the whole window
    lowest: Decimal = ZERO
    since_ns: int = 0  # start of the slice in which watching began without a gap longer than the window

    def reaches(self, percent: Decimal) -> bool:
        """Whether the range is at least ``percent`` of the lowest price."""
        return (self.highest - self.lowest) * HUNDRED >= percent * self.lowest

    def exceeds(self, percent: Decimal) -> bool:
        """Whether the range is more than ``percent`` of the lowest price."""
        return (self.highest - self.lowest) * HUNDRED > percent * self.lowest

    def percent(self) -> Decimal:
        """The range in percent of the lowest price, for display: always four digits."""
        percent = divide((self.highest - self.lowest) * HUNDRED, self.lowest, PERCENT_STEP, Rounding.DISPLAY)
        return percent.quantize(PERCENT_STEP)

    def oldest(self) -> Decimal:
        """bid + ask at the beginning of the window."""
        return self.past[0].first if self.past else self.first

    def is_full(self, window_s: int) -> bool:
        """Whether the whole window has been seen."""
        slice_ns = window_s * NS_PER_S // SLICES
        return self.slice_end_ns - self.since_ns >= SLICES * slice_ns > 0


def advance(window: Window, ts_ns: int, total: Decimal, window_s: int) -> Window:
    """The window after a tick with bid + ask = ``total``."""
    if ts_ns < window.slice_end_ns:
        return structs.replace(
            window,
            high=max(window.high, total),
            low=min(window.low, total),
            highest=max(window.highest, total),
            lowest=min(window.lowest, total),
        )
    slice_ns = window_s * NS_PER_S // SLICES
    start_ns = ts_ns - ts_ns % slice_ns
    oldest_ns = start_ns - (SLICES - 1) * slice_ns
    past = window.past
    if window.slice_end_ns:
        past = (*past, Slice(window.slice_end_ns - slice_ns, window.first, window.high, window.low))
    past = tuple(part for part in past if part.start_ns >= oldest_ns)
    return Window(
        slice_end_ns=start_ns + slice_ns,
        first=total,
        high=total,
        low=total,
        past=past,
        highest=max([total, *(part.high for part in past)]),
        lowest=min([total, *(part.low for part in past)]),
        since_ns=window.since_ns if past else start_ns,
    )
