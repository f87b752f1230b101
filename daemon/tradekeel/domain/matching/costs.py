"""What trading at the venue costs: slippage, latency, commission, and financing over night.

Every figure is a function of the settings, the order, the tick and the seed. Slippage is never a gain, lands on the
price grid and concerns market and stop orders only. Commission is rounded once an order, not once a fill, so that a
minimum is charged once and many small fills cost what one large one does.
"""

from __future__ import annotations

from decimal import Decimal

from tradekeel.domain.instruments import Instrument, ledger_step
from tradekeel.domain.matching.chance import pick
from tradekeel.domain.matching.terms import (
    Commission,
    FinancingRate,
    PaperSettings,
    Slippage,
)
from tradekeel.domain.messages import Liquidity
from tradekeel.domain.money import ONE, ZERO, Rounding, divide, round_to
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import COST_STEP, Position, convert
from tradekeel.domain.ticks import TWO, Tick
from tradekeel.domain.times import NS_PER_MS

MILLION = Decimal(1_000_000)
HUNDRED = Decimal(100)
# Looked up once: going through an enum's class costs as much as two sums.
_BUY, _MAKER, _FEE = Side.BUY, Liquidity.MAKER, Rounding.FEE
PERCENT_DAYS = Decimal(36_500)  # percent a year to a share a night


def taken_price(instrument: Instrument, settings: PaperSettings, tick: Tick, side: Side, quantity: Decimal) -> Decimal:
    """The price of taking ``quantity`` from the market at ``tick``: the quote, worse by the slippage."""
    model = settings.slippage
    distance = ZERO if model.model == "none" else slippage(instrument, model, settings.seed, tick, side, quantity)
    if side is _BUY:
        return tick.ask + distance
    # A price stays a price: slippage cannot push a sell to zero or below.
    return max(tick.bid - distance, instrument.tick_size)


def slippage(instrument: Instrument, model: Slippage, seed: int, tick: Tick, side: Side, quantity: Decimal) -> Decimal:
    """The adverse price distance, on the price grid, zero or more."""
    match model.model:
        case "none":
            return ZERO
        case "fixed":
            return instrument.from_pips(model.pips)
        case "spread":
            return instrument.price(max(tick.ask - tick.bid, ZERO) * model.share)
        case "impact":
            worse = divide(model.pips * quantity, model.quantity, COST_STEP, Rounding.PRICE_NEAREST)
            return instrument.from_pips(worse)
        case "random":
            steps = int(divide(model.pips * instrument.pip_size, instrument.tick_size, ONE, Rounding.PRICE_NEAREST))
            drawn = pick(steps + 1, seed, "slippage", instrument.symbol, tick.position, side.value, quantity)
            return instrument.tick_size * drawn


def latency_ns(settings: PaperSettings, instrument: str, position: int, side: Side, quantity: Decimal) -> int:
    """Event time from acceptance to the first tick that an order may meet."""
    jitter = settings.latency_jitter_ms
    if jitter:
        drawn = pick(jitter + 1, settings.seed, "latency", instrument, position, side.value, quantity)
        return (settings.latency_ms + drawn) * NS_PER_MS
    return settings.latency_ms * NS_PER_MS


def commission_raw(
    model: Commission, instrument: Instrument, quantity: Decimal, price: Decimal, rate: Decimal, liquidity: Liquidity
) -> Decimal:
    """The commission on one fill in account currency before minimum and rounding; ``rate`` converts from quote."""
    if model.model == "none":
        return ZERO
    maker = liquidity is _MAKER and model.maker is not None
    charge = model.maker if maker and model.maker is not None else model.taker
    if model.model == "per_unit":
        return quantity * charge
    if model.model == "per_lot":
        return divide(quantity * charge, model.lot or instrument.lot, COST_STEP, _FEE)
    notional = quantity * price * rate
    if model.model == "per_million":
        return divide(notional * charge, MILLION, COST_STEP, _FEE)
    return divide(notional * charge, HUNDRED, COST_STEP, _FEE)


def commission_due(model: Commission, raw: Decimal, currency: str) -> Decimal:
    """What an order with so much raw commission owes in all: at least the minimum, rounded up to what is booked."""
    if model.model == "none":
        return ZERO
    return round_to(max(raw, model.minimum), ledger_step(currency), _FEE)


def financing(
    rate: FinancingRate,
    instrument: Instrument,
    position: Position,
    mark: Tick,
    nights: int,
    conversion: Decimal,
    currency: str,
) -> Decimal:
    """What holding ``position`` over so many nights earns (above zero) or costs, in account currency."""
    held = abs(position.quantity)
    points = rate.long if position.quantity > ZERO else rate.short
    if rate.unit == "pips_per_day":
        return convert(held * instrument.pip_size * points * nights, conversion, currency)
    mid = (mark.bid + mark.ask) / TWO
    quote = divide(held * mid * points * nights, PERCENT_DAYS, COST_STEP, Rounding.CONVERSION)
    return convert(quote, conversion, currency)
