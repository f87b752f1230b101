"""Fills: what venues reported as executed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.messages import Fill
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed


@runtime_checkable
class FillRepository(Protocol):
    """Fills of executions. Within one a fill is known by account, instrument, the venue's order id and its fill id.

    Amounts in account currency, quantities in base units, exact. Fills are only added and removed. What is written is described
    in :mod:`tradekeel.ports.repositories`; all of it steers. Lists have the newest first by ``ts_ns``, the venue's time, which
    ``since_ns`` and ``until_ns`` are about; they can be sorted by ts_ns, instrument, venue, quantity, price and realised.
    """

    async def append_fill(self, execution: str, fill: Fill, **call: Unpack[Timed]) -> bool:
        """Add a fill; False where it is known, and nothing changes.

        NotFound for an unknown execution; AlreadyExists where another fill is known under its id; InputError for one that may be
        in an archive (`tradekeel db archive`), where nobody can tell from the books whether it is.
        """

    async def append_fills(self, execution: str, fills: Sequence[Fill], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most; how many were not known. Errors as :meth:`append_fill`."""

    async def get_fills_by_order(self, client_order_id: str, **paging: Unpack[Paging]) -> Page[Fill]:
        """Fills of an order of ours."""

    async def get_fills_by_venue_and_symbol(self, venue: str, symbol: str, **paging: Unpack[Paging]) -> Page[Fill]:
        """Fills of an instrument at a venue."""

    async def get_fills_by_time_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Fill]:
        """Fills of a stretch of time."""

    async def list_fills(
        self,
        *,
        venue: str | None = None,
        symbol: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Fill]:
        """Fills by the venue's time."""

    async def get_unique_venue_symbol_pairs(self, **call: Unpack[Timed]) -> list[tuple[str, str]]:
        """Venue and instrument of all fills, each pair once, in alphabetical order."""

    async def get_unique_symbols(self, **call: Unpack[Timed]) -> list[str]:
        """The instruments of all fills, in alphabetical order."""

    async def get_symbols_of_venue(self, venue: str, **call: Unpack[Timed]) -> list[str]:
        """The instruments of a venue's fills, in alphabetical order."""

    async def delete_fills(self, venue: str, symbol: str, execution: str | None = None, **call: Unpack[Timed]) -> int:
        """Remove the fills of an instrument at a venue, of one execution or of all; how many.

        DaemonsOwn, and nothing is removed, where one of these executions is one that a daemon goes on with.
        """

    async def delete_all_fills(self, execution: str | None = None, **call: Unpack[Timed]) -> int:
        """Remove all fills, of one execution or of all; how many. Errors as :meth:`delete_fills`."""

    async def count_fills(
        self,
        *,
        venue: str | None = None,
        symbol: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
