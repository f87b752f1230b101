"""Prices that leap: a point in the wrong place, a row of another instrument, a split. Whatever is traded there means nothing.

No bad row shows it, since each price may be right by itself: it is seen between a tick and the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tradekeel.backtest.around import CountingSource
from tradekeel.backtest.source import TickDataSource
from tradekeel.domain.money import WORKING
from tradekeel.domain.ticks import TickWindow

LEAPS = "leaps"
"""What they are counted as: bids that are more than a fifth above, or a sixth below, that of the tick before."""

FAR = Decimal("1.2")
"""The greater bid over the smaller one, of two that follow each other. Hardly a market does that between two ticks."""


class LeapsSource(CountingSource):
    """Another source, and how often its prices leap."""

    def __init__(self, source: TickDataSource) -> None:
        super().__init__(source)
        self._last: dict[str, Decimal] = {}  # bid of the latest tick, by instrument
        self._leaps = 0

    def _begin(self) -> None:
        self._last, self._leaps = {}, 0

    def _look_at(self, window: TickWindow) -> None:
        """The range of a window says of nearly every one that no price leaps in it."""
        seen = _bids(window)
        last = self._last
        if any(
            is_far(max(high, last.get(symbol, high)), min(low, last.get(symbol, low)))
            for symbol, (low, high) in seen.items()
        ):
            for tick in window.ticks:
                before = last.get(tick.instrument, tick.bid)
                self._leaps += is_far(max(before, tick.bid), min(before, tick.bid))
                last[tick.instrument] = tick.bid
            return
        missing = set(seen)
        for tick in reversed(window.ticks):
            if tick.instrument in missing:
                last[tick.instrument] = tick.bid
                missing.discard(tick.instrument)
                if not missing:
                    return

    def quality(self) -> Mapping[str, int]:
        """Its counts, and ours where there is any."""
        counts = super().quality()
        return {**counts, LEAPS: self._leaps} if self._leaps else counts


def _bids(window: TickWindow) -> dict[str, tuple[Decimal, Decimal]]:
    """The lowest and the highest bid of each instrument. Of a single one there are few different ones."""
    if len(window.instruments) == 1:
        bids = {tick.bid for tick in window.ticks}
        return {window.instruments[0]: (min(bids), max(bids))}
    return {symbol: (each.bid_low, each.bid_high) for symbol, each in window.extremes().items()}


def is_far(high: Decimal, low: Decimal) -> bool:
    """Whether two bids are further apart than a market goes at once."""
    return high > WORKING.multiply(low, FAR)
