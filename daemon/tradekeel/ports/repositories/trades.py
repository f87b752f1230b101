"""Trades: round trips, from their entry to their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.trades import CloseReason, Trade, TradeStatus
from tradekeel.domain.tradestats import TradeStats
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed


@runtime_checkable
class TradeRepository(Protocol):
    """Trades. Prices in quote currency, quantities in base units, profit and fees in account currency, all exact.

    What is written is described in :mod:`tradekeel.ports.repositories`. Lists can be sorted by created_ns, updated_ns,
    entry_time_ns, exit_time_ns, symbol, strategy, status, quantity, pnl and trade_id; ``since_ns`` and ``until_ns`` are about
    the time that the list is sorted by, or where it is sorted by something else, ``created_ns``.
    """

    async def save_trade(self, trade: Trade, **call: Unpack[Timed]) -> Trade:
        """Add a trade. AlreadyExists for a known id, NotFound for an unknown execution, strategy or signal."""

    async def save_trades(self, trades: Sequence[Trade], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most; how many. Errors as :meth:`save_trade`."""

    async def get_trade_by_id(self, trade_id: str, **call: Unpack[Timed]) -> Trade | None:
        """One trade, None if there is none."""

    async def update_trade(
        self,
        trade_id: str,
        changes: Mapping[str, object],
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Change the named fields and nothing else; the trade after, whose version is one higher.

        NotFound; VersionConflict where the version is another than expected; InputError for an unknown or fixed field, a value
        that it cannot take, more exited than entered, or an exit before the entry; IllegalTransition for a status that cannot
        follow; DaemonsOwn.
        """

    async def mark_trade_closed(
        self,
        trade_id: str,
        exit_price: Decimal,
        exit_time_ns: int,
        reason: CloseReason | str,
        *,
        fee: Decimal = ...,
        pnl: Decimal | None = None,
        rate: Decimal | None = None,
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Close all that the trade still holds at one price; the trade after.

        ``fee`` (account currency, a cost is above zero) is that of the exit. The profit is computed at ``rate`` (quote to account
        currency; 1 where they are the same), unless ``pnl`` says what the whole trade came to, net of fees. Errors as
        :meth:`update_trade`.
        """

    async def get_recent_trades(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: TradeStatus | str | tuple[TradeStatus | str, ...] | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Trade]:
        """Trades by the decision that wanted them (``created_ns``), the newest first."""

    async def get_open_trades(
        self,
        symbol: str | None = None,
        strategy: str | None = None,
        *,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Trade]:
        """Trades that hold, or may still come to hold, anything: PENDING, OPEN or CLOSING. The newest first."""

    async def get_trades_by_session(self, session: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a session, by ``created_ns``, the newest first."""

    async def get_trades_by_pattern(self, pattern_type: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a pattern, by ``created_ns``, the newest first."""

    async def get_trades_by_strategy(self, strategy: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a strategy, by ``created_ns``, the newest first."""

    async def get_trades_by_instrument(self, symbol: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Entered trades of an instrument, by ``entry_time_ns``, the newest first."""

    async def get_trades_by_date_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Trade]:
        """Trades decided on in ``since_ns <= created_ns < until_ns``, the newest first.

        Sorted by ``entry_time_ns`` those that were entered then, and by ``exit_time_ns`` those that were closed then.
        """

    async def get_stats(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> TradeStats:
        """Figures of the closed trades, exactly; the times are about ``exit_time_ns``. Its deadline is 60 s unless said."""

    async def count_trades(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: TradeStatus | str | tuple[TradeStatus | str, ...] | None = None,
        session: str | None = None,
        pattern_type: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are; the times are about ``created_ns``."""
