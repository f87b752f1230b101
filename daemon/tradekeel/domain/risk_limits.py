"""The limits of an account, as they stand under ``[accounts.NAME.risk]``. A limit that is not set does not apply."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradekeel.domain.money import ZERO
from tradekeel.domain.risk_signals import SignalFilter

AMOUNT_MOST = Decimal(10) ** 15
DAY_S = 86_400

BOUNDS: dict[str, Decimal] = {
    "quantity_max": AMOUNT_MOST,
    "notional_max": AMOUNT_MOST,
    "position_max": AMOUNT_MOST,
    "position_notional_max": AMOUNT_MOST,
    "exposure_max": AMOUNT_MOST,
    "price_collar_pips": Decimal(100_000),
    "orders_per_second": Decimal(10_000),
    "orders_per_minute": Decimal(60_000),
    "messages_per_second": Decimal(10_000),
    "open_orders_max": Decimal(100_000),
    "daily_loss_max": AMOUNT_MOST,
    "drawdown_max": AMOUNT_MOST,
    "drawdown_max_percent": Decimal(100),
    "price_age_max_s": Decimal(7 * DAY_S),
    "rate_age_max_s": Decimal(7 * DAY_S),
}
"""The most that each limit may be set to; each must be above zero."""


def _bounded(name: str) -> Meta:
    """The bounds of a limit for whoever reads it from a file: in ``extra``, since msgspec bounds its own numbers only."""
    return Meta(extra={"gt": 0, "le": BOUNDS[name]})


class RiskLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account may do. Amounts are in account currency, quantities in units of base."""

    instruments: tuple[str, ...] | None = None
    """Allow-list; absent: every instrument the account is configured for."""
    quantity_max: Annotated[Decimal, _bounded("quantity_max")] | None = None
    """Units per order."""
    notional_max: Annotated[Decimal, _bounded("notional_max")] | None = None
    """Value per order."""
    position_max: Annotated[Decimal, _bounded("position_max")] | None = None
    """Units per instrument and direction: the net, plus everything that may still fill on the order's side."""
    position_notional_max: Annotated[Decimal, _bounded("position_notional_max")] | None = None
    """The same, in value."""
    exposure_max: Annotated[Decimal, _bounded("exposure_max")] | None = None
    """Gross value of all instruments' worst-case positions."""
    price_collar_pips: Annotated[Decimal, _bounded("price_collar_pips")] | None = None
    """How far a limit, a stop, or the price the decision saw may be from the quote."""
    orders_per_second: Annotated[int, _bounded("orders_per_second")] | None = None
    """Orders in any second; exits count and are never denied for it."""
    orders_per_minute: Annotated[int, _bounded("orders_per_minute")] | None = None
    """Orders in any minute; exits count and are never denied for it."""
    messages_per_second: Annotated[int, _bounded("messages_per_second")] | None = None
    """Hard: orders, cancels and amends in any second; exits are held to it, too. Cancels and amends are never denied."""
    open_orders_max: Annotated[int, _bounded("open_orders_max")] | None = None
    """Orders that are not ended, as venues count them: attached exits are orders, those of the checked entry included."""
    daily_loss_max: Annotated[Decimal, _bounded("daily_loss_max")] | None = None
    """Loss of equity since the trading day began (17:00 New York)."""
    drawdown_max: Annotated[Decimal, _bounded("drawdown_max")] | None = None
    """Loss of equity since its peak."""
    drawdown_max_percent: Annotated[Decimal, _bounded("drawdown_max_percent")] | None = None
    """Loss of equity since its peak, in percent of the peak."""
    price_age_max_s: Annotated[Decimal, _bounded("price_age_max_s")] = Decimal(60)
    """An instrument's quote older than this is stale and denies entries."""
    rate_age_max_s: Annotated[Decimal, _bounded("rate_age_max_s")] = Decimal(3_600)
    """A conversion rate older than this is stale and denies entries that need it."""
    on_trip: Literal["reduce_only", "halt"] = "reduce_only"
    """What a tripped daily loss or drawdown does to the account."""
    signal_filter: SignalFilter = SignalFilter()
    """How sure and how rewarding a strategy's signals must be."""

    def __post_init__(self) -> None:
        problems = [problem for name, most in BOUNDS.items() if (problem := self._problem(name, most))]
        if self.instruments is not None and not self.instruments:
            problems.append("instruments is an empty list and would deny everything: name some, or leave it out")
        if problems:
            raise ValueError("; ".join(problems))

    def _problem(self, name: str, most: Decimal) -> str | None:
        value: Decimal | int | None = getattr(self, name)
        if value is None:
            return None
        number = Decimal(value)
        if number.is_finite() and ZERO < number <= most:
            return None
        return f"{name} must be above 0 and at most {most:f}, found {value}"

    @property
    def needs_equity(self) -> bool:
        """Whether any limit is measured on the account's equity."""
        return not (self.daily_loss_max is None and self.drawdown_max is None and self.drawdown_max_percent is None)

    @property
    def needs_value(self) -> bool:
        """Whether any limit is an amount of money, so that orders must be valued in account currency."""
        return any(x is not None for x in (self.notional_max, self.position_notional_max, self.exposure_max))
