"""An account kept dumbly: dicts, loops, and the arithmetic written out once more. It knows nothing of the product.

It is told quotes, fills, deposits and nights, and says what is held, what it cost, what was earned, and what all of it is worth.
Of a fill it takes only what the market decides (instrument, side, quantity, price, maker or taker): profit, fee and rate are its
own. Amounts are exact but for the roundings that are written out in :func:`nearest` and :func:`up`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, localcontext

ZERO = Decimal(0)
COST, RATE = Decimal("1e-12"), Decimal("1e-14")
EXACT = Context(prec=100)


def nearest(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def up(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_UP) * step


class DumbAccount:
    """``paths``: by quote currency the pairs that lead to the account's, "-" before one that is quoted the other way round."""

    def __init__(self, paths: dict[str, list[str]], step: str, taker: str, maker: str, minimum: str) -> None:
        self.paths, self.step = paths, Decimal(step)
        self.per_million = {"taker": Decimal(taker), "maker": Decimal(maker)}
        self.minimum = Decimal(minimum)
        self.deposits = self.realised = self.financing = self.fees = ZERO
        self.quotes: dict[str, tuple[Decimal, Decimal]] = {}
        self.held: dict[tuple[str, str | None], list[Decimal]] = {}  # quantity and cost, both signed
        self.charged: dict[str, list[Decimal]] = {}  # by order: commission before and after minimum and rounding

    def rate(self, symbol: str) -> Decimal:
        rate = Decimal(1)
        for leg in self.paths[symbol.split("_")[1]]:
            bid, ask = self.quotes[leg.removeprefix("-")]
            step = nearest(2 / (bid + ask) if leg.startswith("-") else (bid + ask) / 2, RATE)
            rate = nearest(rate * step, RATE)
        return rate

    def fill(self, symbol: str, ref: str | None, sign: int, quantity: Decimal, price: Decimal) -> Decimal:
        """What it earns."""
        with localcontext(EXACT):
            held, cost = self.held.get((symbol, ref), [ZERO, ZERO])
            earned = ZERO
            if held * sign < 0:
                closed = min(quantity, abs(held))
                released = cost if closed == abs(held) else nearest(cost * closed / abs(held), COST)
                earned = nearest((-sign * closed * price - released) * self.rate(symbol), self.step)
                held, cost, quantity = held + sign * closed, cost - released, quantity - closed
            self.held[symbol, ref] = [held + sign * quantity, cost + sign * quantity * price]
            if not self.held[symbol, ref][0]:
                del self.held[symbol, ref]
            self.realised += earned
            return earned

    def charge(self, order: str, symbol: str, quantity: Decimal, price: Decimal, liquidity: str) -> Decimal:
        """What a fill of an order costs."""
        with localcontext(EXACT):
            raw, before = self.charged.get(order, [ZERO, ZERO])
            raw += up(quantity * price * self.rate(symbol) * self.per_million[liquidity] / 1_000_000, COST)
            due = up(max(raw, self.minimum), self.step)
            self.charged[order] = [raw, due]
            self.fees += due - before
            return due - before

    @property
    def balance(self) -> Decimal:
        return self.deposits + self.realised + self.financing - self.fees

    def equity(self) -> Decimal:
        """Longs are worth the bid, shorts the ask; an instrument's profit is converted in one."""
        with localcontext(EXACT):
            profits: dict[str, Decimal] = {}
            for (symbol, _), (quantity, cost) in self.held.items():
                bid, ask = self.quotes[symbol]
                worth = quantity * (bid if quantity > 0 else ask)
                profits[symbol] = profits.get(symbol, ZERO) + worth - cost
            return self.balance + sum(
                nearest(profit * self.rate(symbol), self.step) for symbol, profit in profits.items()
            )
