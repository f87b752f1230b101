"""What a paper account and its venue are like: the settings that the matching core and the venue around it obey.

These Structs decode straight from a TOML table; amounts are decimals, best written as text in the file. Bounds stand
in the annotations for whoever decodes and explains them, and are checked once more on construction: a wrong value
raises :class:`~tradekeel.errors.InputError`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradekeel.domain.money import ONE, ZERO
from tradekeel.errors import InputError

LATENCY_MS_MAX = 60_000
OPEN_ORDERS_MAX = 100_000

Milliseconds = Annotated[int, Meta(ge=0, le=LATENCY_MS_MAX)]
NotNegative = Annotated[Decimal, Meta(extra={"ge": 0})]
Positive = Annotated[Decimal, Meta(extra={"gt": 0})]
Share = Annotated[Decimal, Meta(extra={"ge": 0, "le": 1})]


def _amount(owner: Struct, name: str) -> Decimal | None:
    """The field of a Struct that a program may have made, which nobody has looked at. InputError for what is not exact."""
    value = getattr(owner, name)
    if value is not None and not isinstance(value, Decimal):
        raise InputError(f'{name} is {value!r}: amounts are exact, write Decimal("{value}")')
    return value


def _not_negative(owner: Struct, *names: str) -> None:
    for name in names:
        value = _amount(owner, name)
        if value is not None and not (value.is_finite() and value >= ZERO):
            raise InputError(f"{name} must be zero or more, found {value}")


def _positive(owner: Struct, *names: str) -> None:
    for name in names:
        value = _amount(owner, name)
        if value is not None and not (value.is_finite() and value > ZERO):
            raise InputError(f"{name} must be above zero, found {value}")


def _share(owner: Struct, *names: str) -> None:
    for name in names:
        value = _amount(owner, name)
        if value is None or not (value.is_finite() and ZERO <= value <= ONE):
            raise InputError(f"{name} must be from 0 to 1, found {value}")


class _Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Slippage(_Terms, frozen=True, kw_only=True):
    """How much worse than the quote market and stop orders fill. Limit orders have none.

    ``none``: at the quote. ``fixed``: ``pips`` worse. ``spread``: worse by ``share`` of the tick's spread.
    ``random``: from nothing to ``pips`` worse, evenly spread and drawn by hash. ``impact``: ``pips`` for each
    ``quantity`` units of the fill.
    """

    model: Literal["none", "fixed", "spread", "random", "impact"] = "none"
    pips: NotNegative = ZERO
    share: NotNegative = ZERO
    quantity: Positive = Decimal(100_000)

    def __post_init__(self) -> None:
        _not_negative(self, "pips", "share")
        _positive(self, "quantity")
        if self.model in ("fixed", "random", "impact") and not self.pips:
            raise InputError(f"slippage of the model {self.model} needs pips")
        if self.model == "spread" and not self.share:
            raise InputError("slippage of the model spread needs share")


class Commission(_Terms, frozen=True, kw_only=True):
    """What the venue charges. ``maker`` applies to limit orders that rested, ``taker`` to everything else.

    ``per_unit``: account currency for each unit of base. ``per_lot``: for each ``lot`` units, the instrument's own lot
    unless it is given here. ``per_million``: for each million of account-currency notional. ``percent``: percent of
    notional. ``minimum`` is charged once an order, in account currency.
    """

    model: Literal["none", "per_unit", "per_lot", "per_million", "percent"] = "none"
    taker: NotNegative = ZERO
    maker: NotNegative | None = None  # None: the same as taker
    lot: Positive | None = None  # None: the instrument's
    minimum: NotNegative = ZERO

    def __post_init__(self) -> None:
        _not_negative(self, "taker", "maker", "minimum")
        _positive(self, "lot")
        if self.model == "none" and (self.taker or self.maker or self.minimum):
            raise InputError("commission has amounts but no model: say per_unit, per_lot, per_million or percent")


class FinancingRate(_Terms, frozen=True, kw_only=True):
    """What holding a position over 17:00 New York earns (above zero) or costs (below), for each night it is held.

    ``percent_per_year``: of the notional at the mark, a year having 365 days. ``pips_per_day``: so many pips on each
    unit.
    """

    unit: Literal["percent_per_year", "pips_per_day"] = "percent_per_year"
    long: Decimal
    short: Decimal

    def __post_init__(self) -> None:
        if not (self.long.is_finite() and self.short.is_finite()):
            raise InputError("long and short must be finite numbers")


class PaperSettings(_Terms, frozen=True, kw_only=True):
    """How the paper venue behaves. The defaults are a perfect venue: no latency, no slippage, no fees, no faults."""

    slippage: Slippage = Slippage()
    latency_ms: Milliseconds = 0  # event time between acceptance and the first tick that an order may meet
    latency_jitter_ms: Milliseconds = 0  # up to so much more, drawn by hash
    commission: Commission = Commission()
    margin_call_level: NotNegative | None = Decimal("0.5")  # equity / margin used; None: never
    financing: dict[str, FinancingRate] = {}  # by instrument
    conversion_rates: dict[str, Positive] = {}  # "USD_JPY" = "151.30": used until that pair is seen in the feed
    open_orders_max: Annotated[int, Meta(ge=1, le=OPEN_ORDERS_MAX)] = OPEN_ORDERS_MAX
    reject_rate: Share = ZERO  # share of orders refused with SIMULATED_REJECT
    timeout_rate: Share = ZERO  # share of orders taken, of which the sender is not told
    drop_rate: Share = ZERO  # share of orders lost on the way
    seed: int = 0

    def __post_init__(self) -> None:
        _not_negative(self, "margin_call_level")
        _share(self, "reject_rate", "timeout_rate", "drop_rate")
        for pair, rate in self.conversion_rates.items():
            if len(pair.split("_")) != 2 or not all(pair.split("_")):
                raise InputError(f"conversion_rates: {pair!r} is not a pair like USD_JPY")
            if not (rate.is_finite() and rate > ZERO):
                raise InputError(f"conversion_rates: the rate of {pair} must be above zero, found {rate}")


class PaperAccount(_Terms, frozen=True, kw_only=True):
    """The account at the venue. ``leverage`` caps what the instruments' own margin rates offer."""

    account: str
    currency: str
    deposit: Positive
    leverage: Positive | None = None
    hedging: bool = False  # each entry opens a position of its own
    venue: str = "paper"

    def __post_init__(self) -> None:
        _positive(self, "deposit", "leverage")
