"""Orders, trades and quotes for tests: everything that a test does not care about has a default."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tradekeel.domain.orders import Order, OrderType, Purpose, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.trades import Trade, TradeSide

SECOND_NS = 1_000_000_000
NOON_NS = 1_399_550_400 * SECOND_NS  # 2014-05-08 12:00 UTC, a Thursday in May


def dec(value: str | int) -> Decimal:
    """A decimal, short enough to read in a table."""
    return Decimal(value)


def order(**fields: Any) -> Order:
    """An INTENDED market entry: 1000 EUR_USD bought."""
    known: dict[str, Any] = {
        "client_order_id": "tk1",
        "execution": "e1",
        "account": "paper-1",
        "strategy": "floor",
        "instrument": "EUR_USD",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "purpose": Purpose.ENTRY,
        "quantity": dec(1000),
    }
    return Order(**(known | fields))


def trade(**fields: Any) -> Trade:
    """A PENDING long trade of 1000 EUR_USD."""
    known: dict[str, Any] = {
        "trade_id": "t1",
        "signal_id": "s1",
        "execution": "e1",
        "account": "paper-1",
        "strategy": "floor",
        "venue": "paper",
        "symbol": "EUR_USD",
        "side": TradeSide.LONG,
        "quantity": dec(1000),
        "entry_order_id": "tk1",
    }
    return Trade(**(known | fields))


def quote(bid: str, ask: str, ts_ns: int = NOON_NS) -> Quote:
    """A quote, fresh at noon unless told otherwise."""
    return Quote(dec(bid), dec(ask), ts_ns)
