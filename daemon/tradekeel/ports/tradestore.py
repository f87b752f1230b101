"""The small face of the books that people script against."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol, Self, Unpack, runtime_checkable

from tradekeel.domain.trades import CloseReason, Trade
from tradekeel.domain.tradestats import TradeStats
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed

Number = Decimal | int | str
"""An exact amount. Floats are refused: they are not what was written."""


@runtime_checkable
class TradeStore(Protocol):
    """Trades that a script keeps, in an execution of its own on the account ``scripts``.

    Prices in quote currency, quantities in base units, profit and fees in account currency. Every call has a deadline; errors
    are those of :class:`~tradekeel.ports.repositories.TradeRepository`.
    """

    @property
    def backend_name(self) -> str:
        """Where the trades are: sqlite, postgresql, redis or memory."""

    async def save_new_trade(
        self,
        trade: Trade | None = None,
        *,
        symbol: str = "",
        side: str = "",
        quantity: Number | None = None,
        entry_price: Number | None = None,
        timeout_s: float | None = None,
        **fields: object,
    ) -> Trade:
        """Add a trade; as it was stored, with its id.

        With an ``entry_price`` it is open, entered now and with its whole quantity unless ``entry_time_ns`` and
        ``entered_quantity`` say otherwise; without one it is pending. ``entry_value`` and ``open_cost`` follow from the price:
        InputError for one of them beside it.
        ``side`` is LONG or SHORT. Any other field of a trade may be named. A strategy that is not known is made known. A whole
        ``trade`` may be given instead; its execution and account become the store's.
        """

    async def update_trade(
        self,
        trade_id: str,
        changes: Mapping[str, object] | None = None,
        *,
        expected_version: int | None = None,
        timeout_s: float | None = None,
        **fields: object,
    ) -> Trade:
        """Change the named fields and nothing else; the trade after."""

    async def mark_trade_closed(
        self,
        trade_id: str,
        exit_price: Number,
        reason: CloseReason | str = CloseReason.MANUAL,
        *,
        exit_time_ns: int | None = None,
        fee: Number = 0,
        pnl: Number | None = None,
        rate: Number | None = None,
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Close all that the trade still holds, now unless said; the trade after."""

    async def get_trade(self, trade_id: str, **call: Unpack[Timed]) -> Trade | None:
        """One trade, None if there is none."""

    async def get_open_trades(self, symbol: str | None = None, **paging: Unpack[Paging]) -> Page[Trade]:
        """The trades that are open or pending, the newest first."""

    async def get_stats(self, **span: Unpack[Span]) -> TradeStats:
        """Figures of the closed trades."""

    async def __aenter__(self) -> Self:
        """Open it now."""

    async def __aexit__(self, *error: object) -> None:
        """Close it."""

    async def close(self) -> None:
        """Let go of the connections; the next call opens them again."""
