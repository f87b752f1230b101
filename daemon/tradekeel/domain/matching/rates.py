"""Conversion into the account's currency from the quotes that the venue has seen, and how far it can move.

Exact rates come from :func:`~tradekeel.domain.positions.conversion_rate`. What is added here is the path: which pairs
a rate is made of. It lets the venue look at two quotes instead of all, and bound a rate when all it knows of the
quotes is their range.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tradekeel.domain.money import ONE, Rounding, round_to
from tradekeel.domain.positions import RATE_STEP, Quote, conversion_rate
from tradekeel.domain.ticks import Tick

Range = tuple[Decimal, Decimal, Decimal, Decimal]
"""Lowest and highest bid, lowest and highest ask."""


class Converter:
    """Rates from any currency into the account's."""

    def __init__(self, currency: str, fixed: Mapping[str, Decimal]) -> None:
        self.currency = currency
        self._fixed = {symbol: Quote(rate, rate) for symbol, rate in fixed.items()}
        self._symbols = set(self._fixed)
        self._paths: dict[str, tuple[str, ...] | None] = {currency: ()}

    def learn(self, symbol: str) -> None:
        """A pair is quoted from now on."""
        if symbol not in self._symbols:
            self._symbols.add(symbol)
            self._paths = {self.currency: ()}

    def path(self, currency: str) -> tuple[str, ...] | None:
        """The one or two pairs that a rate is made of, none for the account's own currency; None where no rate is known."""
        if currency not in self._paths:
            self._paths[currency] = self._find(currency)
        return self._paths[currency]

    def rate(self, currency: str, marks: Mapping[str, Tick]) -> Decimal | None:
        """Account-currency value of one unit of ``currency`` at mid prices, or None."""
        path = self.path(currency)
        if path is None:
            return None
        if not path:
            return ONE
        return conversion_rate(currency, self.currency, {symbol: self._quote(symbol, marks) for symbol in path})

    def rate_range(self, currency: str, ranges: Mapping[str, Range]) -> tuple[Decimal, Decimal]:
        """The lowest and highest rate while the pairs of its path stay in their ranges. The path must exist."""
        low = high = ONE
        have = currency
        for symbol in self.path(currency) or ():
            base, quote = symbol.split("_")
            towards = quote if have == base else base
            bounds = ranges.get(symbol)
            if bounds is None:
                fixed = self._fixed[symbol]
                bounds = (fixed.bid, fixed.bid, fixed.ask, fixed.ask)
            ends = [conversion_rate(have, towards, {symbol: Quote(bounds[i], bounds[i + 2])}) or ONE for i in (0, 1)]
            low *= min(ends)
            high *= max(ends)
            have = towards
        return (
            round_to(low, RATE_STEP, Rounding.CONVERSION),
            round_to(high, RATE_STEP, Rounding.CONVERSION),
        )

    def _quote(self, symbol: str, marks: Mapping[str, Tick]) -> Quote:
        mark = marks.get(symbol)
        return self._fixed[symbol] if mark is None else Quote(mark.bid, mark.ask, mark.ts_ns)

    def _find(self, currency: str) -> tuple[str, ...] | None:
        direct = self._pair(currency, self.currency)
        if direct is not None:
            return (direct,)
        for through in sorted({name for symbol in self._symbols for name in symbol.split("_")}):
            first, second = self._pair(currency, through), self._pair(through, self.currency)
            if first is not None and second is not None:
                return (first, second)
        return None

    def _pair(self, one: str, other: str) -> str | None:
        for symbol in (f"{one}_{other}", f"{other}_{one}"):
            if symbol in self._symbols:
                return symbol
        return None
