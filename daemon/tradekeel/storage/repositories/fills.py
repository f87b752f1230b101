"""Fills in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.messages import Fill
from tradekeel.errors import AlreadyExists, InputError
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.repositories.archived import Archived, fill_key, newest_archive
from tradekeel.storage.repositories.base import Repository, bounded, fields_changed, timeout_of
from tradekeel.storage.repositories.change import KEYS_AT_ONCE, Change, checked
from tradekeel.storage.repositories.listing import Listing, matching

_STEERS = "a fill"

_PAIRS = text(
    """WITH RECURSIVE venues(venue) AS (
    SELECT min(venue) FROM fills
    UNION ALL
    SELECT (SELECT min(f.venue) FROM fills f WHERE f.venue > v.venue) FROM venues v WHERE v.venue IS NOT NULL
), pairs(venue, instrument) AS (
    SELECT v.venue, (SELECT min(f.instrument) FROM fills f WHERE f.venue = v.venue) FROM venues v WHERE v.venue IS NOT NULL
    UNION ALL
    SELECT p.venue, (SELECT min(f.instrument) FROM fills f WHERE f.venue = p.venue AND f.instrument > p.instrument)
    FROM pairs p WHERE p.instrument IS NOT NULL
)
SELECT venue, instrument FROM pairs WHERE instrument IS NOT NULL"""
)
"""From each pair to the next one in their index: a DISTINCT would read all fills."""


async def add_fills(change: Change, execution: str, fills: Sequence[Fill]) -> int:
    """Add those that are not known yet; how many those were.

    AlreadyExists for another fill under a known id, InputError for one that may be in an archive.
    """
    row = await change.execution(execution, steers=_STEERS)
    wanted: dict[tuple[str, ...], Fill] = {}
    for fill in map(checked, fills):
        if fill.account != row.account:
            raise InputError(
                f"fill {fill.fill_id} is of account {fill.account}, its execution {execution} of {row.account}"
            )
        _refuse_other(wanted.setdefault(fill_key(fill), fill), fill)
    table, orders = tables.fills, list(dict.fromkeys(fill.venue_order_id for fill in wanted.values()))
    for at in range(0, len(orders), KEYS_AT_ONCE):
        some = table.c.venue_order_id.in_(orders[at : at + KEYS_AT_ONCE])
        for known in await change.find(Fill, table.c.execution == execution, some):
            fill = wanted.pop(fill_key(known), known)
            _refuse_other(known, fill)
    archive = await newest_archive(change.db, change.backend, execution) if wanted else None
    if archive is not None:
        archived = Archived(archive)
        for fill in wanted.values():
            archived.refuse(fill)
    await change.add(execution, list(wanted.values()), steers=_STEERS)
    return len(wanted)


def _refuse_other(known: Fill, fill: Fill) -> None:
    if known != fill:
        differing = ", ".join(sorted(fields_changed(known, fill)))
        raise AlreadyExists(
            f"another fill {fill.fill_id} of {fill.instrument}, venue order {fill.venue_order_id}, is known: its "
            f"{differing} differ"
        )


class SqlFillRepository(Repository[Fill]):
    """See :class:`~tradekeel.ports.repositories.FillRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=Fill,
        time="ts_ns",
        key=("id",),
        sorts=("ts_ns", "instrument", "venue", "quantity", "price", "realised"),
    )

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def append_fill(self, execution: str, fill: Fill, **call: Unpack[Timed]) -> bool:
        """Add a fill; False where it is known."""
        return await self._append("append_fill", execution, [fill], timeout_of(call)) == 1

    async def append_fills(self, execution: str, fills: Sequence[Fill], **call: Unpack[Timed]) -> int:
        """Add many, all or none; how many were not known."""
        return await self._append("append_fills", execution, bounded(fills, "fills"), timeout_of(call))

    async def _append(self, action: str, execution: str, fills: Sequence[Fill], timeout_s: float | None) -> int:
        async def work(change: Change) -> int:
            return await add_fills(change, execution, fills)

        return await self.database.write(action, work, timeout_s)

    async def delete_fills(self, venue: str, symbol: str, execution: str | None = None, **call: Unpack[Timed]) -> int:
        """Remove the fills of an instrument at a venue."""
        return await self._delete("delete_fills", execution, {"venue": venue, "instrument": symbol}, timeout_of(call))

    async def delete_all_fills(self, execution: str | None = None, **call: Unpack[Timed]) -> int:
        """Remove all fills."""
        return await self._delete("delete_all_fills", execution, {}, timeout_of(call))

    async def _delete(self, action: str, execution: str | None, where: dict[str, str], timeout_s: float | None) -> int:
        found = select(self.table.c.execution).where(*matching(self.table, execution=execution, **where)).distinct()

        async def work(change: Change) -> int:
            count, names = 0, [name for (name,) in await change.db.execute(found)]
            await change.lock(names)
            for name in sorted(names):
                count += await change.remove(name, Fill, where, steers=_STEERS)
            return count

        return await self.database.write(action, work, timeout_s)

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def list_fills(
        self,
        *,
        venue: str | None = None,
        symbol: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Fill]:
        """Fills by the venue's time, the newest first."""
        return await self._page("listing fills", self._where(venue, symbol, account, execution), paging)

    async def get_fills_by_order(self, client_order_id: str, **paging: Unpack[Paging]) -> Page[Fill]:
        """Fills of an order of ours."""
        return await self._page("listing fills", [self.table.c.client_order_id == client_order_id], paging)

    async def get_fills_by_venue_and_symbol(self, venue: str, symbol: str, **paging: Unpack[Paging]) -> Page[Fill]:
        """Fills of an instrument at a venue."""
        return await self.list_fills(venue=venue, symbol=symbol, **paging)

    async def get_fills_by_time_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Fill]:
        """Fills of a stretch of time."""
        within: Paging = {**paging, "since_ns": since_ns, "until_ns": until_ns}
        return await self.list_fills(**within)

    async def get_unique_venue_symbol_pairs(self, **call: Unpack[Timed]) -> list[tuple[str, str]]:
        """Venue and instrument of all fills, each pair once."""

        async def ask(db: AsyncConnection) -> list[tuple[str, str]]:
            return sorted((venue, symbol) for venue, symbol in await db.execute(_PAIRS))

        return await self.database.read("listing symbols", ask, timeout_of(call))

    async def get_unique_symbols(self, **call: Unpack[Timed]) -> list[str]:
        """The instruments of all fills."""
        return sorted({symbol for _, symbol in await self.get_unique_venue_symbol_pairs(**call)})

    async def get_symbols_of_venue(self, venue: str, **call: Unpack[Timed]) -> list[str]:
        """The instruments of a venue's fills."""
        pairs = await self.get_unique_venue_symbol_pairs(**call)
        return [symbol for of, symbol in pairs if of == venue]

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
        return await self._count("counting fills", self._where(venue, symbol, account, execution), span)

    def _where(
        self, venue: str | None, symbol: str | None, account: str | None, execution: str | None
    ) -> list[ColumnElement[bool]]:
        return matching(self.table, venue=venue, instrument=symbol, account=account, execution=execution)
