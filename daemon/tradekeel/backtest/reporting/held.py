"""What an execution still held where its figures end: those of closed trades say nothing of it, and it may be the larger part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.positions import Quote, conversion_rate, convert
from tradekeel.domain.trades import Trade


class OpenTrades(Struct, frozen=True, kw_only=True):
    """Trades that hold something, and what each would win or lose if it were closed at the last quotes.

    In account currency, before what the exits would cost. With what these trades have booked already and the results of closed
    ones it comes to the account's profit, whatever netting has booked of it: on an account that nets, its equity less its
    balance is another number, since an exit there realises the average price of the whole position. Only where a long and a
    short of one instrument are held against each other there, the account has more, by their spread: it would not pay that.
    """

    trades: int
    unrealised: Decimal | None  # the sum; None where a price or a rate is missing
    booked: Decimal
    """What their partial exits and their financing have brought by then, less the fees that they have paid."""
    by_trade: Mapping[str, Decimal | None]  # unrealised


def open_trades(trades: Iterable[Trade], quotes: Mapping[str, Quote], currency: str) -> OpenTrades:
    """Of ``trades`` those that are open, as of the moment of the latest ``quotes``."""
    held = [trade for trade in trades if trade.holds and trade.open_quantity]
    with ledger():
        by_trade = {trade.trade_id: _unrealised(trade, quotes, currency) for trade in held}
        booked = sum((trade.pnl for trade in held), ZERO)
    return OpenTrades(trades=len(held), unrealised=total_of(held, by_trade), booked=booked, by_trade=by_trade)


def _unrealised(trade: Trade, quotes: Mapping[str, Quote], currency: str) -> Decimal | None:
    """``(price - entry) * open quantity`` in the trade's direction: a long is closed at the bid, a short at the ask."""
    quote = quotes.get(trade.symbol)
    rate = conversion_rate(trade.symbol.rpartition("_")[2], currency, quotes)
    if quote is None or rate is None:
        return None
    price = quote.bid if trade.side.sign > 0 else quote.ask
    return convert((price * trade.open_quantity - trade.open_cost) * trade.side.sign, rate, currency)


def newest(trades: Sequence[Trade], count: int) -> list[Trade]:
    """The last ``count``, and of those before them the ones that are open, as many at most: they are the news of a run's end."""
    first = max(0, len(trades) - count)
    return [*[trade for trade in trades[:first] if trade.holds][-count:], *trades[first:]]


def total_of(trades: Iterable[Trade], by_trade: Mapping[str, Decimal | None]) -> Decimal | None:
    """The sum over those of the trades that are open; None where one of them is not known."""
    held = [by_trade.get(trade.trade_id) for trade in trades if trade.holds]
    known = [value for value in held if value is not None]
    if len(known) < len(held):
        return None
    with ledger():
        return sum(known, ZERO)
