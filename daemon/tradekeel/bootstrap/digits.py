"""Amounts and prices for the eye: in a currency's or an instrument's digits, from the exact text of the books.

The log's lines are written with the same functions, so a number looks the same wherever it is shown. `--json` is exact.
"""

from __future__ import annotations

from decimal import Decimal

from tradekeel.domain.instruments import shown_amount, shown_price


def price(value: str | None, symbol: str) -> str | None:
    """A price, or an average of prices, of an instrument."""
    return None if value is None else shown_price(Decimal(value), symbol)


def amount(value: str | None, currency: str) -> str | None:
    """An amount of money."""
    return None if value is None else shown_amount(Decimal(value), currency)
