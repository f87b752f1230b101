"""Whatever a strategy may ask for is decided: no number that passes the check of requests ends the executor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.executor_desk import EUR, ExecutorDesk, buy
from tests.unit.domain.world import NS
from tradekeel.domain.account import Equity
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Enter, Exit, MoveStop, Request
from tradekeel.domain.orders import OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.records import DecisionTaken
from tradekeel.domain.risk import DenialCode, RiskGate
from tradekeel.domain.risk_limits import AMOUNT_MOST, RiskLimits
from tradekeel.domain.risk_signals import SignalFilter
from tradekeel.errors import InputError
from tradekeel.strategies.requests import check_request

pytestmark = pytest.mark.untraced
"""The lines are those of the gate's and the executor's own tests."""

D = Decimal
GBP = "EUR_GBP"
SYMBOLS = {symbol: CATALOGUE[symbol] for symbol in (EUR, GBP, "GBP_USD")}
THIRD = "3" * 28


USUAL: dict[str, Any] = {
    "instrument": EUR,
    "side": Side.BUY,
    "quantity": D(100),
    "stop_loss": D("1.05"),
    "take_profit": D("1.25"),
    "confidence": D(1),
}
PRICES = ("price", "stop_price", "trailing_distance", "trailing_percent")


class Hostile:
    """Draws what is still a request, but for the digits that it has."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def digits(self, most: int) -> str:
        return "".join(self.chance.choices("0123456789", k=self.chance.randint(1, most)))

    def amount(self) -> Decimal:
        """Any that is above zero: up to eighty digits, from forty places behind the point to forty before it."""
        return D(f"{self.chance.randint(1, 9)}.{self.digits(79)}e{self.chance.randint(-40, 39)}")

    def price(self, beside: str = "1.10") -> Decimal:
        """Beside a price with more digits than anybody needs, in the size of some market, or anything."""
        near = D(beside + self.digits(38))
        return self.chance.choice([near, near, near, D(f"{self.digits(14)}.{self.digits(26)}"), self.amount()])

    def size(self) -> Decimal:
        whole = D(self.chance.randint(1, 3_000))
        return self.chance.choice([whole, whole, whole, D(f"{whole}.{self.digits(36)}"), self.amount()])

    def entry(self) -> Enter:
        """One that generous limits let pass, but for what is wild about it: so every limit is asked, not only the first."""
        fields = USUAL | {name: self.price() for name in self.chance.sample(PRICES, self.chance.randint(0, 3))}
        if self.chance.random() < 0.4:
            fields |= {"stop_loss": self.price("1.0"), "take_profit": self.price("1.2")}
        fields["type"] = (
            OrderType.LIMIT if "price" in fields else self.chance.choice([OrderType.MARKET, OrderType.STOP])
        )
        if self.chance.random() < 0.3:
            fields["quantity"] = self.size()
        if self.chance.random() < 0.1:
            fields["instrument"] = GBP
        if self.chance.random() < 0.1:
            fields["confidence"] = D(f"0.{self.digits(25)}")
        if self.chance.random() < 0.3:
            swapped = {"side": Side.SELL, "stop_loss": fields["take_profit"], "take_profit": fields["stop_loss"]}
            fields |= swapped
        return Enter(**fields)

    def request(self, held: str) -> Request:
        kind = self.chance.random()
        if kind < 0.15:
            return Exit(instrument=EUR, quantity=self.size())
        if kind < 0.3:
            return MoveStop(trade_id=held, stop_loss=self.price(), take_profit=self.price())
        return self.entry()


GENEROUS: dict[str, Any] = {
    "instruments": tuple(SYMBOLS),
    "quantity_max": AMOUNT_MOST,
    "notional_max": AMOUNT_MOST,
    "position_max": AMOUNT_MOST,
    "position_notional_max": AMOUNT_MOST,
    "exposure_max": AMOUNT_MOST,
    "price_collar_pips": D(100_000),
    "orders_per_second": 100,
    "orders_per_minute": 100,
    "messages_per_second": 100,
    "open_orders_max": 100,
    "daily_loss_max": AMOUNT_MOST,
    "drawdown_max": AMOUNT_MOST,
    "drawdown_max_percent": D(f"33.{THIRD}"),
    "price_age_max_s": D(f"60.{THIRD}"),
    "rate_age_max_s": D(f"60.{THIRD}"),
    "signal_filter": SignalFilter(min_risk_reward=D(f"0.{THIRD}"), confidence_threshold=D(f"0.{THIRD}")),
}
TIGHT: dict[str, Any] = {
    "quantity_max": D(f"99.{THIRD}"),
    "notional_max": D(f"111.{THIRD}"),
    "position_max": D(f"1222.{THIRD}"),
    "position_notional_max": D(f"1333.{THIRD}"),
    "exposure_max": D(f"1333.{THIRD}"),
    "price_collar_pips": D(f"1.{THIRD}"),
    "orders_per_second": 2,
    "orders_per_minute": 2,
    "messages_per_second": 2,
    "open_orders_max": 5,
    "daily_loss_max": D(f"1.{THIRD}"),
    "drawdown_max": D(f"1.{THIRD}"),
    "drawdown_max_percent": D(f"0.01{THIRD}"),
    "price_age_max_s": D(f"0.{THIRD}"),
    "rate_age_max_s": D(f"0.{THIRD}"),
    "signal_filter": SignalFilter(min_risk_reward=D(f"3.{THIRD}")),
}


def account(limits: RiskLimits, *, at_venue: bool, hedging: bool) -> tuple[ExecutorDesk, str]:
    """An account that holds one trade, whose equity has fallen a little, and every limit is on."""
    desk = ExecutorDesk(symbols=tuple(SYMBOLS), at_venue=at_venue, hedging=hedging)
    held = desk.open(buy(stop_loss="1.00000", take_profit="1.20000"), ref="p1" if hedging else None)
    desk.core.gate = RiskGate(limits)
    desk.core.quotes[GBP] = Quote(D("0.85000"), D("0.85010"), desk.now_ns)
    desk.core.quotes["GBP_USD"] = Quote(D("1.29410"), D("1.29420"), desk.now_ns - NS // 2)
    desk.core.equity = Equity(D("9999.1234"), D("10001.4321"), D("10001.9876"))
    return desk, held.trade_id


def accepted(request: Request) -> Request | None:
    try:
        return check_request(request, "a", SYMBOLS)
    except InputError:
        return None


def decided(tight: str | None, seeds: Sequence[int], *, at_venue: bool, hedging: bool) -> DecisionTaken:
    """What becomes of one decision that asks for all of it."""
    limits = RiskLimits(**(GENEROUS | ({} if tight is None else {tight: TIGHT[tight]})))
    desk, held = account(limits, at_venue=at_venue, hedging=hedging)
    wishes = (Hostile(seed).request(held) for seed in seeds)
    requests = [known for wish in wishes if (known := accepted(wish)) is not None]

    effects = desk.decide(*requests)

    (taken,) = [entry.record for entry in effects.entries if isinstance(entry.record, DecisionTaken)]
    asked = [request.instrument for request in requests if isinstance(request, Enter)]
    assert [order.instrument for order in taken.orders if order.purpose is Purpose.ENTRY] == asked
    assert len(taken.signals) == len(asked)
    return taken


@pytest.mark.parametrize("tight", [None, *TIGHT])
@given(st.lists(st.integers(0, 2**32), min_size=6, max_size=12), st.booleans(), st.booleans())
def test_with_every_limit_on_each_request_is_denied_or_intended_and_none_raises(
    tight: str | None, seeds: Sequence[int], at_venue: bool, hedging: bool
) -> None:
    taken = decided(tight, seeds, at_venue=at_venue, hedging=hedging)

    assert {order.status for order in taken.orders} <= {OrderStatus.DENIED, OrderStatus.INTENDED}


def test_the_requests_are_wild_enough_to_mean_something() -> None:
    """Where every request is denied for its size, nothing is said of the limits behind it: each must have denied something."""
    codes: set[str] = set()
    for tight in (None, *TIGHT):
        for first in range(0, 200, 10):
            taken = decided(tight, range(first, first + 10), at_venue=first % 20 == 0, hedging=first % 30 == 0)
            codes |= {order.status_reason.partition(":")[0] for order in taken.orders}

    never = {
        "halted",
        "reduce_only",
        "paused",
        "not_ready",
        "stopping",
        "store_away",
        "instrument_unknown",
        "instrument_not_allowed",
        "rate_missing",
    }
    never |= {"price_missing", "price_invalid", "equity_missing", "nothing_to_close", "closable_size"}
    assert codes == {"", *DenialCode} - never
