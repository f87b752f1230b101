"""Instruments: what is traded, on which price and size grid, and in which currencies.

``pip_size`` is the trade's own unit of price distance (0.0001 for most pairs, 0.01 for yen pairs); ``tick_size`` is the
smallest step a price can take (0.00001 at most brokers), ``lot_step`` the smallest step of a quantity. ``lot`` is what the
market calls one lot, in units: 100,000 of the base currency in FX. Quantities are units everywhere; a commission may be by lot.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from msgspec import Struct

from tradekeel.domain.money import ONE, WORKING, ZERO, Rounding, divide, on_grid, plain, round_to
from tradekeel.domain.sessions import EVERY_DAY_A_YEAR, THURSDAY, TRADING_DAYS_A_YEAR, WEDNESDAY
from tradekeel.errors import InputError

PIPS_STEP = Decimal("0.001")
STANDARD_LOT = Decimal(100_000)

NEXT_DAY_WITH_USD = frozenset(("CAD", "TRY", "RUB", "PHP"))
"""Currencies that settle against the dollar in one business day; their crosses, like everything else, in two
(https://www.londonfx.co.uk/valdates.html, https://en.wikipedia.org/wiki/Foreign_exchange_spot)."""


class Instrument(Struct, frozen=True, kw_only=True):
    """One tradable instrument. Prices are in ``quote`` per unit of ``base``; quantities in units of ``base``."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    pip_size: Decimal
    lot: Decimal = STANDARD_LOT
    lot_step: Decimal = ONE
    quantity_min: Decimal = ONE
    quantity_max: Decimal = Decimal(100_000_000)
    margin_rate: Decimal = Decimal("0.0333")  # share of notional that one unit of exposure locks, 1/30 as a rule
    days_a_year: int = TRADING_DAYS_A_YEAR  # on which its market trades: what figures are annualised with

    def __post_init__(self) -> None:
        for name in ("tick_size", "pip_size", "lot", "lot_step", "quantity_min", "quantity_max", "margin_rate"):
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and value > ZERO):
                raise InputError(f"instrument {self.symbol}: {name} must be above zero, found {value}")
        if not on_grid(self.pip_size, self.tick_size):
            raise InputError(f"instrument {self.symbol}: pip_size must be a multiple of tick_size")
        if self.days_a_year < 1:
            raise InputError(f"instrument {self.symbol}: days_a_year must be 1 or more, found {self.days_a_year}")
        if self.quantity_min > self.quantity_max:
            raise InputError(f"instrument {self.symbol}: quantity_min is above quantity_max")

    @property
    def triple_weekday(self) -> int:
        """The weekday (Monday is 0) over whose rollover a position is financed for the weekend as well."""
        next_day = "USD" in (self.base, self.quote) and not NEXT_DAY_WITH_USD.isdisjoint((self.base, self.quote))
        return THURSDAY if next_day else WEDNESDAY

    @property
    def price_digits(self) -> int:
        """Decimal places of a price, for display."""
        return max(0, -int(self.tick_size.normalize().as_tuple().exponent))

    def pips(self, distance: Decimal) -> Decimal:
        """A price distance in pips, exact to a thousandth of a pip (display and strategy decisions)."""
        return divide(distance, self.pip_size, PIPS_STEP, Rounding.DISPLAY)

    def from_pips(self, pips: Decimal) -> Decimal:
        """The price distance of so many pips, on the price grid."""
        return round_to(WORKING.multiply(pips, self.pip_size), self.tick_size, Rounding.PRICE_NEAREST)

    def price(self, value: Decimal, rounding: Rounding = Rounding.PRICE_NEAREST) -> Decimal:
        """``value`` on the price grid."""
        return round_to(value, self.tick_size, rounding)

    def quantity(self, value: Decimal) -> Decimal:
        """``value`` on the size grid, rounded down."""
        return round_to(value, self.lot_step, Rounding.SIZE)


def days_a_year_of(instruments: Iterable[Instrument]) -> int:
    """On how many days of a year an account trades that holds these: as many as the market of them that rests least."""
    return max((instrument.days_a_year for instrument in instruments), default=TRADING_DAYS_A_YEAR)


CURRENCY_DIGITS = {"JPY": 0, "KRW": 0, "HUF": 0, "BTC": 8, "ETH": 8, "USDT": 8, "USDC": 8}
CURRENCIES_MAX = 512  # of which the step is remembered: it is asked for with every amount that is booked
LEDGER_EXTRA_DIGITS = 2  # brokers book amounts finer than a coin (OANDA prints four decimals of a dollar)


@lru_cache(maxsize=CURRENCIES_MAX)
def ledger_step(currency: str) -> Decimal:
    """The smallest amount that is booked in ``currency``: 0.0001 for dollars and euros, 0.01 for yen."""
    digits = CURRENCY_DIGITS.get(currency, 2)
    return Decimal(1).scaleb(-(digits if digits >= 8 else digits + LEDGER_EXTRA_DIGITS))


def _pair(symbol: str) -> Instrument:
    base, quote = symbol.split("_")
    yen = quote in ("JPY", "HUF")
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=Decimal("0.001") if yen else Decimal("0.00001"),
        pip_size=Decimal("0.01") if yen else Decimal("0.0001"),
    )


_PAIRS = (
    "EUR_USD GBP_USD AUD_USD NZD_USD USD_CAD USD_CHF USD_JPY EUR_GBP EUR_JPY EUR_CHF EUR_AUD EUR_CAD EUR_NZD "
    "GBP_JPY GBP_CHF GBP_AUD GBP_CAD GBP_NZD AUD_JPY AUD_NZD AUD_CAD AUD_CHF NZD_JPY NZD_CAD NZD_CHF CAD_JPY "
    "CAD_CHF CHF_JPY USD_SEK USD_NOK USD_DKK USD_SGD USD_HKD USD_MXN USD_ZAR USD_PLN USD_CZK USD_HUF USD_TRY"
)
_CRYPTO = {
    "BTC_USDT": ("0.01", "0.00001", "0.00001"),
    "ETH_USDT": ("0.01", "0.0001", "0.0001"),
}
CATALOGUE: dict[str, Instrument] = {symbol: _pair(symbol) for symbol in _PAIRS.split()} | {
    symbol: Instrument(
        symbol=symbol,
        base=symbol.split("_")[0],
        quote=symbol.split("_")[1],
        tick_size=Decimal(tick),
        pip_size=Decimal(tick),
        lot=ONE,
        lot_step=Decimal(step),
        quantity_min=Decimal(least),
        margin_rate=ONE,
        days_a_year=EVERY_DAY_A_YEAR,
    )
    for symbol, (tick, step, least) in _CRYPTO.items()
}
"""Instruments known without configuration: the usual FX pairs as brokers quote them, and two crypto pairs."""


# --- numbers for people

UNKNOWN_PRICE_STEP = Decimal("0.00000001")
"""Of an instrument that is not in the catalogue: what its grid is stands in a configuration, which the books do not have."""


def shown_price(value: Decimal, symbol: str) -> str:
    """A price as people read it: to the instrument's digits and one more, since an average lies between the steps of its grid."""
    known = CATALOGUE.get(symbol)
    step = UNKNOWN_PRICE_STEP if known is None else known.tick_size.scaleb(-1)
    return _short(value, step)


def shown_amount(value: Decimal, currency: str) -> str:
    """An amount of money as people read it: to the smallest step that is booked in its currency."""
    return _short(value, ledger_step(currency))


def _short(value: Decimal, step: Decimal) -> str:
    """To the nearest step, without the zeros at the end."""
    return plain(round_to(value, step, Rounding.DISPLAY).normalize())
