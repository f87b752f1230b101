"""Positions: the net of all fills, kept as exact cost and never as an average.

A :class:`Position` holds a quantity and what it cost. Closing a part releases a part of the cost, rounded once by name
(:attr:`~tradekeel.domain.money.Rounding.RELEASED_COST`); the remainder stays in the position, so that after the last unit is
gone the sums of what was released and what was paid agree to the last digit. A netting account keeps one signed position an
instrument; a hedging account keeps one position an opening order.

Signs: a position's ``quantity`` is positive when long; ``cost`` is the signed money laid out (quantity times price), so
unrealised profit is ``quantity * mark - cost`` for both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.instruments import Instrument, ledger_step
from tradekeel.domain.messages import Fill
from tradekeel.domain.money import LEDGER, ONE, WORKING, ZERO, Rounding, divide, ledger, round_to
from tradekeel.domain.orders import Side
from tradekeel.errors import Defect

COST_STEP = Decimal("1e-12")
"""Grid of released cost, in quote currency: finer than any venue books, coarse enough to stay readable."""

RATE_STEP = Decimal("1e-14")
"""Grid of conversion rates: a yen in bitcoin (about 6e-8) still has seven digits."""

TWO = Decimal(2)

_CONVERSION = Rounding.CONVERSION  # looked up once: going through an enum's class costs more than the product it rounds


class Position(Struct, frozen=True, gc=False):
    """A signed quantity of one instrument and its exact signed cost in quote currency."""

    instrument: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    ref: str | None = None  # hedging accounts: the venue's id of this position

    @property
    def average_price(self) -> Decimal | None:
        """Average entry price for display only; None when flat."""
        if not self.quantity:
            return None
        return divide(self.cost, self.quantity, COST_STEP, Rounding.DISPLAY)

    def unrealised(self, bid: Decimal, ask: Decimal) -> Decimal:
        """Profit in quote currency if closed now: longs at the bid, shorts at the ask. Exact."""
        with ledger():
            return self.quantity * (bid if self.quantity > ZERO else ask) - self.cost

    def apply(self, side: Side, quantity: Decimal, price: Decimal) -> Booking:
        """Book one fill of ``quantity`` (> 0). A fill through zero closes the old side whole and opens the new one."""
        with ledger():
            held, cost, realised, closed = booked(self.quantity, self.cost, side.sign, quantity, price)
            return Booking(Position(self.instrument, held, cost, self.ref), realised, closed, quantity - closed)


def booked(
    held: Decimal, cost: Decimal, sign: int, quantity: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """What a fill of ``quantity`` (> 0) to one side (1 or -1) makes of a position.

    Quantity and cost after, the profit realised, and how much of the fill has closed. To be called within :func:`ledger`.
    """
    if quantity <= ZERO:
        raise Defect(f"a fill's quantity is above zero, found {quantity}")
    signed = quantity * sign
    if not held or (held > ZERO) == (signed > ZERO):
        return held + signed, cost + signed * price, ZERO, ZERO
    there = abs(held)
    if quantity < there:
        released = divide(cost * quantity, there, COST_STEP, Rounding.RELEASED_COST)
        return held + signed, cost - released, -signed * price - released, quantity
    rest = held + signed
    return rest, rest * price if rest else ZERO, held * price - cost, there


class Booking(Struct, frozen=True, gc=False):
    """What one fill did to a position: the position after, the profit realised in quote currency, and the split."""

    position: Position
    realised: Decimal
    closed: Decimal
    opened: Decimal


PositionKey = tuple[str, str | None]
"""What tells positions apart: the instrument, and on hedging accounts the venue's id of the position."""


def book_fill(held: dict[PositionKey, Position], fill: Fill) -> Position:
    """What a fill makes of what is held: positions are nothing but their fills folded by this. The position behind it."""
    before = held.get((fill.instrument, fill.position_ref)) or Position(fill.instrument, ref=fill.position_ref)
    after = before.apply(fill.side, fill.quantity, fill.price).position
    hold(held, after)
    return after


def hold(held: dict[PositionKey, Position], position: Position) -> None:
    """This is the position now. One that is flat is none."""
    if position.quantity:
        held[position.instrument, position.ref] = position
    else:
        held.pop((position.instrument, position.ref), None)


class Quote(Struct, frozen=True, gc=False):
    """The latest bid and ask of an instrument and when it was seen."""

    bid: Decimal
    ask: Decimal
    ts_ns: int = 0


class Rate(Struct, frozen=True, gc=False):
    """Account-currency value of one unit of a currency, and when its oldest quote was seen."""

    value: Decimal
    ts_ns: int = 0


class Leg(Struct, frozen=True, gc=False):
    """One pair on the way from a currency to another; ``inverse`` if it is quoted the other way round."""

    symbol: str
    inverse: bool


def conversion_path(currency: str, account_currency: str, symbols: Iterable[str]) -> tuple[Leg, ...] | None:
    """The pairs that lead from ``currency`` to the account's, or None. The same for the same symbols in any order.

    Direct pairs, inverse pairs, and one step through a third currency are used, in that order; of several third currencies
    the alphabetically first.
    """
    known = set(symbols)
    if currency == account_currency:
        return ()
    direct = _leg(currency, account_currency, known)
    if direct is not None:
        return (direct,)
    for through in sorted({c for symbol in known for c in symbol.split("_")}):
        first, second = _leg(currency, through, known), _leg(through, account_currency, known)
        if first is not None and second is not None:
            return (first, second)
    return None


def _leg(base: str, quote: str, symbols: set[str]) -> Leg | None:
    if f"{base}_{quote}" in symbols:
        return Leg(f"{base}_{quote}", inverse=False)
    if f"{quote}_{base}" in symbols:
        return Leg(f"{quote}_{base}", inverse=True)
    return None


def rate_along(path: tuple[Leg, ...], quotes: Mapping[str, Quote]) -> Rate | None:
    """The rate along ``path`` at mid prices, each leg and their product on the grid of rates; None if a quote is missing."""
    value: Decimal | None = None
    oldest: int | None = None
    for leg in path:
        quote = quotes.get(leg.symbol)
        if quote is None:
            return None
        both = WORKING.add(quote.bid, quote.ask)
        step = (
            divide(TWO, both, RATE_STEP, Rounding.CONVERSION)
            if leg.inverse
            else divide(both, TWO, RATE_STEP, Rounding.CONVERSION)
        )
        value = step if value is None else round_to(WORKING.multiply(value, step), RATE_STEP, Rounding.CONVERSION)
        oldest = quote.ts_ns if oldest is None else min(oldest, quote.ts_ns)
    if value is None or oldest is None:
        return Rate(ONE)  # the same currency: no quote is needed
    return Rate(value, oldest)


def conversion_rate(currency: str, account_currency: str, quotes: Mapping[str, Quote]) -> Decimal | None:
    """Account-currency value of one unit of ``currency`` at mid prices, or None where no known pair leads there."""
    path = conversion_path(currency, account_currency, quotes)
    if path is None:
        return None
    rate = rate_along(path, quotes)
    return None if rate is None else rate.value


def convert(amount: Decimal, rate: Decimal, account_currency: str) -> Decimal:
    """``amount`` at ``rate``, rounded to what is booked in the account's currency."""
    # ONE itself is the rate of a currency into itself: most accounts convert nothing else.
    converted = amount if rate is ONE else WORKING.multiply(amount, rate)
    return round_to(converted, ledger_step(account_currency), _CONVERSION)


def margin_required(instrument: Instrument, quantity: Decimal, price: Decimal, leverage: Decimal | None) -> Decimal:
    """Margin in quote currency that ``quantity`` (absolute) locks: notional times the margin rate.

    The account's ``leverage`` caps what the instrument offers: the rate used is the larger of the instrument's and 1/leverage.
    """
    rate = instrument.margin_rate
    if leverage is not None:
        rate = max(rate, divide(ONE, leverage, RATE_STEP, Rounding.FEE))
    return LEDGER.multiply(LEDGER.multiply(LEDGER.abs(quantity), price), rate)
