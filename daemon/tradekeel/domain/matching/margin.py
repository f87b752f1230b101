"""What the positions tie up and are worth: unrealised profit, margin used, and how far prices may run before a margin call.

Positions are added up per instrument and direction, so that the figures cost the same for one position or ten
thousand. For the look-ahead there is the *guard*: a range of prices around the last quotes inside which the margin
level certainly holds, whatever the quotes do. A tick inside it need not be checked; one outside is checked exactly
and, if all is well, becomes the middle of the next guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.instruments import Instrument, ledger_step
from tradekeel.domain.matching.rates import Converter, Range
from tradekeel.domain.money import ONE, WORKING, ZERO
from tradekeel.domain.positions import Position, convert, margin_required
from tradekeel.domain.ticks import TWO, Tick
from tradekeel.errors import Defect

GUARD_WIDTHS = tuple(Decimal(w) for w in ("0.2", "0.1", "0.05", "0.02", "0.01", "0.005", "0.002", "0.001", "0.0005"))
"""Shares of the price by which a guard reaches up and down, widest first. If none holds, every tick is checked."""


_quantize = WORKING.quantize  # to the nearest step, and of two the even one, as what is converted


class Exposure(Struct):
    """All positions of one instrument: units held long and short (as a positive number), and their signed costs."""

    share: Decimal  # of notional, that a unit locks
    is_at_home: bool  # quoted in the account's own currency: nothing is converted
    long: Decimal = ZERO
    long_cost: Decimal = ZERO
    short: Decimal = ZERO
    short_cost: Decimal = ZERO

    def add(self, quantity: Decimal, cost: Decimal) -> None:
        """Count a position in."""
        if quantity > ZERO:
            self.long += quantity
            self.long_cost += cost
        else:
            self.short -= quantity
            self.short_cost += cost

    def take_out(self, quantity: Decimal, cost: Decimal) -> None:
        """Count a position no more."""
        if quantity > ZERO:
            self.long -= quantity
            self.long_cost -= cost
        else:
            self.short += quantity
            self.short_cost -= cost

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return not self.long and not self.short

    def worth(self, bid: Decimal, ask: Decimal) -> Decimal:
        """Unrealised profit in quote currency: longs at the bid, shorts at the ask."""
        return self.long * bid - self.long_cost - self.short * ask - self.short_cost


class Margin:
    """The exposures of an account, and the figures that follow from them and the quotes."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        converter: Converter,
        leverage: Decimal | None,
        call_level: Decimal | None,
    ) -> None:
        self._instruments = instruments
        self._converter = converter
        self._leverage = leverage
        self._call_level = call_level
        self._shares: dict[str, Decimal] = {}
        self.exposures: dict[str, Exposure] = {}
        self._quotes: dict[str, str] = {symbol: instrument.quote for symbol, instrument in instruments.items()}
        self._symbols: frozenset[str] | None = None  # of the exposures there are

    @property
    def is_watched(self) -> bool:
        """Whether a margin call can come at all."""
        return self._call_level is not None and bool(self.exposures)

    def replace(self, before: Position | None, after: Position | None) -> None:
        """A position changed. Called inside the ledger's decimal context."""
        symbol = (before or after or _nothing()).instrument
        exposure = self.exposures.get(symbol)
        if exposure is None:
            exposure = self.exposures[symbol] = self._new_exposure(symbol)
            self._symbols = None
        if before is not None:
            exposure.take_out(before.quantity, before.cost)
        if after is not None and after.quantity:
            exposure.add(after.quantity, after.cost)
        elif exposure.is_flat:
            del self.exposures[symbol]
            self._symbols = None

    def figures(self, marks: Mapping[str, Tick]) -> tuple[Decimal, Decimal]:
        """Unrealised profit and margin used in account currency, at ``marks``."""
        unrealised = used = ZERO
        for symbol, exposure in self.exposures.items():
            mark = marks[symbol]
            rate = self.rate_of(symbol, marks)
            unrealised += convert(exposure.worth(mark.bid, mark.ask), rate, self._converter.currency)
            used += self.needed(symbol, exposure.long + exposure.short, mark, rate)
        return unrealised, used

    def spare(self, symbol: str, more: Decimal, marks: Mapping[str, Tick]) -> Decimal:
        """Unrealised profit less margin, at ``marks``, if ``more`` units of ``symbol`` were held (fewer below zero).

        The profit is that of what is held: what would come comes at the market. The same amounts as :meth:`figures`,
        each rounded alike, but without the care for how they look: they are compared, and told to nobody.
        """
        step, own = ledger_step(self._converter.currency), self.exposures.get(symbol)
        if own is None:
            own = self._new_exposure(symbol)
        mark, rate = marks[symbol], ONE if own.is_at_home else self.rate_of(symbol, marks)
        worth = own.worth(mark.bid, mark.ask)
        used = own.share * (own.long + own.short + more) * (mark.bid + mark.ask) / TWO
        if rate is not ONE:
            worth, used = WORKING.multiply(worth, rate), WORKING.multiply(used, rate)
        spare = _quantize(worth, step) - _quantize(used, step)
        for other, exposure in self.exposures.items():
            if other != symbol:
                mark, rate = marks[other], self.rate_of(other, marks)
                spare += convert(exposure.worth(mark.bid, mark.ask), rate, self._converter.currency)
                spare -= self.needed(other, exposure.long + exposure.short, mark, rate)
        return spare

    def needed(self, symbol: str, quantity: Decimal, mark: Tick, rate: Decimal) -> Decimal:
        """Margin in account currency for ``quantity`` at the middle of ``mark``."""
        if not quantity:
            return ZERO
        return convert(self._share(symbol) * quantity * (mark.bid + mark.ask) / TWO, rate, self._converter.currency)

    def rate_of(self, symbol: str, marks: Mapping[str, Tick]) -> Decimal:
        """The rate from an instrument's quote currency into the account's. Orders without one are not accepted."""
        quote = self._quotes[symbol]
        if quote == self._converter.currency:
            return ONE
        rate = self._converter.rate(quote, marks)
        if rate is None:
            raise Defect(f"no conversion for {symbol}, in which there is a position or an order")
        return rate

    def is_called(self, balance: Decimal, marks: Mapping[str, Tick]) -> bool:
        """Whether equity is at or below the call level of the margin used."""
        if self._call_level is None or not self.exposures:
            return False
        unrealised, used = self.figures(marks)
        return balance + unrealised <= self._call_level * used

    def symbols(self) -> frozenset[str]:
        """The pairs whose quotes the figures depend on. The same object as long as they are the same."""
        if self._symbols is None:
            symbols = set(self.exposures)
            for symbol in self.exposures:
                symbols.update(leg.symbol for leg in self._converter.path(self._quotes[symbol]) or ())
            self._symbols = frozenset(symbols)
        return self._symbols

    def learn(self, symbol: str) -> None:
        """A pair is quoted from now on: it may change how others are converted."""
        self._converter.learn(symbol)
        self._symbols = None

    def forget(self, kept: Iterable[str]) -> None:
        """Only the pairs in ``kept`` are quoted any more."""
        self._converter.forget(kept)
        self._symbols = None

    def guard(self, balance: Decimal, marks: Mapping[str, Tick]) -> dict[str, Range]:
        """Ranges of the quotes that matter inside which no margin call can come; a single price where there is no room."""
        if not self.is_watched:
            return {}
        quoted = {symbol: marks[symbol] for symbol in self.symbols() if symbol in marks}
        for width in GUARD_WIDTHS:
            ranges = {symbol: _around(mark, width) for symbol, mark in quoted.items()}
            if self.holds(balance, ranges):
                return ranges
        return {symbol: _around(mark, ZERO) for symbol, mark in quoted.items()}

    def holds(self, balance: Decimal, ranges: Mapping[str, Range]) -> bool:
        """Whether equity certainly stays above the call level for any quotes within ``ranges`` of all :meth:`symbols`."""
        assert self._call_level is not None
        currency = self._converter.currency
        # Where nothing is converted nothing is rounded either: the figures are, and a step each covers that.
        roundings = ledger_step(currency) * len(self.exposures)
        equity, used = balance - roundings, roundings
        for symbol, exposure in self.exposures.items():
            bid_low, bid_high, _, ask_high = ranges[symbol]
            worth = exposure.worth(bid_low, ask_high)
            needed = exposure.share * (exposure.long + exposure.short) * (bid_high + ask_high) / TWO
            if not exposure.is_at_home:
                rate_low, rate_high = self._converter.rate_range(self._quotes[symbol], ranges)
                worth = convert(worth, rate_high if worth < ZERO else rate_low, currency)
                needed = convert(needed, rate_high, currency)
            equity += worth
            used += needed
        return equity > self._call_level * used

    def _new_exposure(self, symbol: str) -> Exposure:
        return Exposure(self._share(symbol), self._quotes[symbol] == self._converter.currency)

    def _share(self, symbol: str) -> Decimal:
        """The share of notional that a unit locks."""
        share = self._shares.get(symbol)
        if share is None:
            share = self._shares[symbol] = margin_required(self._instruments[symbol], ONE, ONE, self._leverage)
        return share


def _around(mark: Tick, width: Decimal) -> Range:
    """The quotes from ``width`` below to ``width`` above."""
    bid, ask = mark.bid, mark.ask
    by_bid, by_ask = bid * width, ask * width
    return bid - by_bid, bid + by_bid, ask - by_ask, ask + by_ask


def _nothing() -> Position:
    raise Defect("neither a position before nor one after was given")
