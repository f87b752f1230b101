"""Lists of trades on a Redis server: how its indexes are written and read, and the pages that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Protocol

import msgspec

from tradekeel.domain.money import ledger
from tradekeel.domain.trades import Trade
from tradekeel.ports.repositories.paging import Page
from tradekeel.storage.repositories import traderules as rules
from tradekeel.storage.repositories.listing import (
    NS_MAX,
    Listing,
    Position,
    Query,
    cursor_of,
    no_cursor,
    position_in,
    sort_of,
)

Figures = tuple[Decimal, str, str | None, str | None, int | None]
"""What statistics need of a closed trade: pnl, symbol, strategy, session, exit_time_ns."""

_END = b"\0"  # behind an id, which holds none

_LISTING = Listing(row_type=Trade, time="created_ns", key=("trade_id",), sorts=rules.SORTS, times=rules.TIMES)
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_FIGURES: msgspec.json.Decoder[Figures] = msgspec.json.Decoder(Figures)


class Rows(Protocol):
    """Asks the server for a part of an index: from one bound to another (``[x``, ``(x``, ``-`` or ``+``)."""

    async def __call__(self, least: bytes, most: bytes, *, backwards: bool, offset: int, limit: int) -> list[Trade]: ...


def time_key(ts_ns: int) -> bytes:
    """A time as text that is ordered as times are, also before 1970."""
    return b"%016x" % (min(max(ts_ns, -NS_MAX - 1), NS_MAX) + NS_MAX + 1)


def bounds(since_ns: int | None, until_ns: int | None) -> tuple[bytes, bytes]:
    """``since_ns <= time < until_ns`` as the bounds of an index."""
    least = b"-" if since_ns is None else b"[" + time_key(since_ns)
    most = b"+" if until_ns is None or until_ns > NS_MAX else b"(" + time_key(until_ns)
    return least, most


def open_entry(created_ns: int, trade_id: str) -> bytes:
    """The member of an open trade."""
    return time_key(created_ns) + b":" + trade_id.encode()


def closed_entry(trade: Trade) -> bytes:
    """The member of a closed trade, with what statistics need of it."""
    assert trade.exit_time_ns is not None
    figures: Figures = (_pnl(trade), trade.symbol, trade.strategy, trade.session, trade.exit_time_ns)
    return time_key(trade.exit_time_ns) + b":" + trade.trade_id.encode() + _END + _ENCODER.encode(figures)


def figures_in(entry: bytes) -> Figures:
    """What the member of a closed trade says. Raises msgspec.MsgspecError for what is none."""
    return _FIGURES.decode(entry.partition(_END)[2])


# --- pages -----------------------------------------------------------------------------------------------------------


async def page_by_time(query: Query, rows: Rows) -> Page[Trade]:
    """A page in the order of ``created_ns``: no more is read than is shown."""
    least, most = bounds(query.since_ns, query.until_ns)
    if query.cursor is not None:
        created_ns, trade_id = position_in(query, ("created_ns", "trade_id")).values
        if not isinstance(created_ns, int) or not isinstance(trade_id, str):
            raise no_cursor()
        behind = b"(" + open_entry(created_ns, trade_id)
        least, most = (least, behind) if query.descending else (behind, most)
    found = await rows(least, most, backwards=query.descending, offset=query.offset, limit=query.limit + 1)
    return _page(query, "created_ns", found)


def page_sorted(query: Query, every: Sequence[Trade]) -> Page[Trade]:
    """A page of trades that are all there, in any order. InputError for a column that they cannot be sorted by."""
    sort = sort_of(_LISTING, query)
    about = sort if sort in rules.TIMES else "created_ns"
    found = [trade for trade in every if _is_within(getattr(trade, about), query) and _value(trade, sort) is not None]
    found.sort(key=lambda trade: _key(trade, sort), reverse=query.descending)
    if query.cursor is not None:
        behind = _place(query, sort)
        found = [trade for trade in found if _is_behind(_key(trade, sort), behind, query.descending)]
    return _page(query, sort, found[query.offset : query.offset + query.limit + 1])


def _page(query: Query, sort: str, found: Sequence[Trade]) -> Page[Trade]:
    rows = tuple(found[: query.limit])
    if len(found) <= query.limit:
        return Page(rows)
    value, trade_id = _key(rows[-1], sort)
    values = (trade_id,) if sort == "trade_id" else (str(value) if isinstance(value, Decimal) else value, trade_id)
    return Page(rows, cursor_of(Position(sort, query.descending, values)))


def _is_within(ts_ns: int | None, query: Query) -> bool:
    if ts_ns is None:
        return query.since_ns is None and query.until_ns is None
    return (query.since_ns is None or ts_ns >= query.since_ns) and (query.until_ns is None or ts_ns < query.until_ns)


def _key(trade: Trade, sort: str) -> tuple[Any, str]:
    return _value(trade, sort), trade.trade_id


def _value(trade: Trade, sort: str) -> Any:
    if sort == "pnl":
        return _pnl(trade)
    value = getattr(trade, sort)
    return value.value if isinstance(value, Enum) else value


def _pnl(trade: Trade) -> Decimal:
    with ledger():  # with all its digits, whatever context the caller has
        return trade.pnl


def _is_behind(key: tuple[Any, str], place: tuple[Any, str], descending: bool) -> bool:
    return key < place if descending else key > place


def _place(query: Query, sort: str) -> tuple[Any, str]:
    """Where the page before ended, as :func:`_key` says it."""
    names = ("trade_id",) if sort == "trade_id" else (sort, "trade_id")
    values = position_in(query, names).values
    value, trade_id = values[0], values[-1]
    if not isinstance(trade_id, str) or isinstance(value, int) is not (sort.endswith("_ns")):
        raise no_cursor()
    if sort in ("quantity", "pnl"):
        try:
            return Decimal(value), trade_id
        except InvalidOperation:
            raise no_cursor() from None
    return value, trade_id
