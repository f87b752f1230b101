"""Conversion into the account's currency from the quotes that the venue has seen, and how far a rate can move.

The rates themselves are those of :mod:`~tradekeel.domain.positions`. What is added here is that paths are kept, and
that a rate can be bounded when all that is known of the quotes is their range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tradekeel.domain.money import ONE, Rounding, round_to
from tradekeel.domain.positions import RATE_STEP, Leg, Quote, conversion_path, rate_along
from tradekeel.domain.ticks import Tick
from tradekeel.errors import Defect

Range = tuple[Decimal, Decimal, Decimal, Decimal]
"""Lowest and highest bid, lowest and highest ask."""


class Converter:
    """Rates from any currency into the account's. A fixed rate holds until its pair is seen in the feed."""

    def __init__(self, currency: str, fixed: Mapping[str, Decimal]) -> None:
        self.currency = currency
        self._fixed = {symbol: Quote(rate, rate) for symbol, rate in fixed.items()}
        self._symbols = set(self._fixed)
        self._paths: dict[str, tuple[Leg, ...] | None] = {}
        self._rates: dict[str, tuple[list[Tick | None], Decimal]] = {}  # by currency: of which quotes, and the rate

    def learn(self, symbol: str) -> None:
        """A pair is quoted from now on."""
        if symbol not in self._symbols:
            self._symbols.add(symbol)
            self._paths.clear()
            self._rates.clear()

    def forget(self, kept: Iterable[str]) -> None:
        """Only the pairs in ``kept``, and the fixed rates, are quoted any more."""
        self._symbols = set(self._fixed) | set(kept)
        self._paths.clear()
        self._rates.clear()

    def path(self, currency: str) -> tuple[Leg, ...] | None:
        """The pairs that lead from ``currency`` to the account's, or None."""
        if currency not in self._paths:
            self._paths[currency] = conversion_path(currency, self.currency, self._symbols)
        return self._paths[currency]

    def rate(self, currency: str, marks: Mapping[str, Tick]) -> Decimal | None:
        """Account-currency value of one unit of ``currency`` at mid prices, or None."""
        path = self.path(currency)
        if not path:
            return None if path is None else ONE
        # An order asks several times a tick: as long as the quotes are the same, so is the rate.
        quoted = [marks.get(leg.symbol) for leg in path]
        known = self._rates.get(currency)
        if known is not None and known[0] == quoted:
            return known[1]
        found = rate_along(path, {leg.symbol: self._quote(leg.symbol, marks) for leg in path})
        if found is None:
            return None
        self._rates[currency] = (quoted, found.value)
        return found.value

    def rate_range(self, currency: str, ranges: Mapping[str, Range]) -> tuple[Decimal, Decimal]:
        """The lowest and highest rate while the pairs of its path, which must exist, stay in their ranges.

        A pair without a range stands at its fixed rate.
        """
        path = self.path(currency)
        low = high = ONE
        if not path:
            return low, high
        for leg in path:
            bounds = ranges.get(leg.symbol)
            if bounds is None:
                ends = [_along(leg, self._fixed[leg.symbol])]
            else:
                bid_low, bid_high, ask_low, ask_high = bounds
                ends = [_along(leg, Quote(bid_low, ask_low)), _along(leg, Quote(bid_high, ask_high))]
            low *= min(ends)
            high *= max(ends)
        return (
            round_to(low, RATE_STEP, Rounding.CONVERSION),
            round_to(high, RATE_STEP, Rounding.CONVERSION),
        )

    def _quote(self, symbol: str, marks: Mapping[str, Tick]) -> Quote:
        mark = marks.get(symbol)
        return self._fixed[symbol] if mark is None else Quote(mark.bid, mark.ask, mark.ts_ns)


def _along(leg: Leg, quote: Quote) -> Decimal:
    found = rate_along((leg,), {leg.symbol: quote})
    if found is None:
        raise Defect(f"no rate along {leg.symbol}, which is quoted")
    return found.value
