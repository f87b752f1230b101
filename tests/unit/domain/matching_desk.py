"""A desk at the matching core for tests: short words for orders and ticks, and the record as lines that read like a story."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import Matcher, MatcherState, PaperAccount, PaperSettings
from tradekeel.domain.messages import OrderRequest, TransactionKind, VenueTransaction
from tradekeel.domain.orders import AttachedExit, OrderType, Side, TimeInForce
from tradekeel.domain.ticks import Tick

D = Decimal
NS = 1_000_000_000
START_S = 1_400_000_000  # Tuesday 2014-05-13 16:53:20 UTC
EUR = "EUR_USD"


def request(client_order_id: str, side: str, quantity: object, type_: str = "market", **fields: Any) -> OrderRequest:
    """An order; prices and quantities as text."""
    for name in ("price", "stop_price"):
        if fields.get(name) is not None:
            fields[name] = D(str(fields[name]))
    if "tif" in fields:
        fields["time_in_force"] = TimeInForce(fields.pop("tif"))
    return OrderRequest(
        client_order_id=client_order_id,
        instrument=fields.pop("instrument", EUR),
        side=Side(side),
        type=OrderType(type_),
        quantity=D(str(quantity)),
        **fields,
    )


def stop(client_order_id: str, price: str) -> AttachedExit:
    """An attached stop-loss."""
    return AttachedExit(client_order_id=client_order_id, type=OrderType.STOP, stop_price=D(price))


def target(client_order_id: str, price: str) -> AttachedExit:
    """An attached take-profit."""
    return AttachedExit(client_order_id=client_order_id, type=OrderType.LIMIT, price=D(price))


def trailing(client_order_id: str, distance: str, start: str | None = None) -> AttachedExit:
    """An attached trailing stop."""
    return AttachedExit(
        client_order_id=client_order_id,
        type=OrderType.TRAILING_STOP,
        trail_distance=D(distance),
        stop_price=None if start is None else D(start),
    )


class Desk:
    """An open account with a first tick seen (EUR_USD 1.10000/1.10010 unless ``quote`` says otherwise)."""

    def __init__(
        self,
        deposit: str = "10000",
        currency: str = "USD",
        quote: str | None = "1.10000/1.10010",
        leverage: str | None = None,
        hedging: bool = False,
        state: MatcherState | None = None,
        **settings: Any,
    ) -> None:
        self.terms = PaperAccount(
            account="desk",
            currency=currency,
            deposit=D(deposit),
            leverage=None if leverage is None else D(leverage),
            hedging=hedging,
        )
        self.settings = PaperSettings(**settings)
        self.matcher = Matcher(self.terms, CATALOGUE, self.settings, state)
        self.record: list[VenueTransaction] = []
        self.now_s = float(START_S)
        if state is None:
            self.record += self.matcher.open(START_S * NS)
            if quote is not None:
                self.tick(quote)

    def next_tick(
        self, quote: str, symbol: str = EUR, after_s: float = 1, bid_size: object = None, ask_size: object = None
    ) -> Tick:
        """The tick that follows: ``quote`` is "bid/ask"."""
        self.now_s += after_s
        bid, ask = quote.split("/")
        return Tick(
            symbol,
            round(self.now_s * NS),
            D(bid),
            D(ask),
            self.matcher.position + 1,
            None if bid_size is None else D(str(bid_size)),
            None if ask_size is None else D(str(ask_size)),
        )

    def tick(self, quote: str, symbol: str = EUR, **more: Any) -> list[str]:
        """One tick happens; returns what it did."""
        return self._told(self.matcher.on_tick(self.next_tick(quote, symbol, **more)))

    def place(
        self, client_order_id: str, side: str, quantity: object, type_: str = "market", **fields: Any
    ) -> list[str]:
        """Place an order; returns what the venue answered."""
        return self._told(self.matcher.place(request(client_order_id, side, quantity, type_, **fields)))

    def cancel(self, client_order_id: str) -> list[str]:
        """Cancel an order; returns what the venue answered."""
        return self._told(self.matcher.cancel(client_order_id))

    def amend(self, client_order_id: str, price: str) -> list[str]:
        """Move an order; returns what the venue answered."""
        return self._told(self.matcher.amend(client_order_id, D(price)))

    def held(self, symbol: str = EUR) -> D:
        """The net position."""
        return sum((p.quantity for p in self.matcher.positions() if p.instrument == symbol), D(0))

    def _told(self, entries: list[VenueTransaction]) -> list[str]:
        self.record += entries
        return [tell(entry) for entry in entries]


def tell(entry: VenueTransaction) -> str:
    """One entry of the record as a line: who, what, and why."""
    name = entry.client_order_id or "-"
    why = f" ({entry.reason})" if entry.reason else ""
    match entry.kind:
        case TransactionKind.ORDER_ACCEPTED:
            at = f" at {entry.price}" if entry.price is not None else ""
            return f"{name} accepted {entry.quantity}{at}{why}"
        case TransactionKind.ORDER_REJECTED:
            return f"{name} rejected{why}"
        case TransactionKind.ORDER_FILLED:
            fill = entry.fill
            assert fill is not None
            return f"{name} {fill.side.value} {fill.quantity} at {fill.price} {fill.liquidity.value}{why}"
        case TransactionKind.ORDER_CANCELED | TransactionKind.ORDER_EXPIRED:
            verb = "canceled" if entry.kind is TransactionKind.ORDER_CANCELED else "expired"
            return f"{name} {verb} {entry.quantity}{why}"
        case TransactionKind.ORDER_AMENDED:
            at = f" to {entry.price}" if entry.price is not None else ""
            size = f" now {entry.quantity}" if entry.quantity is not None else ""
            return f"{name} amended{at}{size}{why}"
        case TransactionKind.CANCEL_REFUSED:
            return f"{name} change refused{why}"
        case TransactionKind.FINANCED:
            return f"{entry.instrument} financed {entry.amount}{why}"
        case _:
            return f"{entry.kind.value} {entry.amount}{why}"
