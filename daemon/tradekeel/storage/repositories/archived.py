"""What repositories know of the rows that are in an archive and no longer in the tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.messages import Fill
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.storage import tables
from tradekeel.storage.archives import COLUMNS, ArchiveRow, archive_row
from tradekeel.storage.backend import Backend

FillKey = tuple[str, ...]


def fill_key(fill: Fill) -> FillKey:
    """What tells a fill from all others of its execution."""
    return tuple(getattr(fill, name) for name in tables.FILL_KEY)


async def newest_archive(db: AsyncConnection, backend: Backend, execution: str) -> ArchiveRow | None:
    """An execution's last archive. StoreCorrupt for a row that is damaged."""
    archives = tables.journal_archives.c
    columns: list[ColumnElement[Any]] = [literal_column(name) for name in COLUMNS.split(", ")]
    statement = select(*columns).select_from(tables.journal_archives).where(archives.execution == execution)
    row = (await db.execute(statement.order_by(archives.first.desc()).limit(1))).first()
    return None if row is None else archive_row(tuple(row), backend)


def counted_in(archive: ArchiveRow) -> frozenset[FillKey]:
    """The fills that stayed in the tables and are in the positions behind an archive."""
    return frozenset(map(fill_key, archive.rows_kept().fills)) - frozenset(archive.figures.removed)


class Archived:
    """Which fills may be in an archive: what is there is there once and for all, and is not appended again."""

    def __init__(self, archive: ArchiveRow) -> None:
        self._counted = counted_in(archive)
        self._last_ns = {(one.venue, one.instrument, one.position_ref): one.last_ns for one in archive.figures.turnover}

    def refuse(self, fill: Fill) -> None:
        """Raises InputError for a fill that is not in the tables, and that the archive has, or may have."""
        last_ns = self._last_ns.get((fill.venue, fill.instrument, fill.position_ref or ""))
        if fill_key(fill) in self._counted or (last_ns is not None and fill.ts_ns <= last_ns):
            until = "" if last_ns is None else f" up to {iso(last_ns)}"
            raise InputError(
                f"fill {fill.fill_id}: what was filled of {fill.instrument} at {fill.venue}{until} is in an archive, so that it "
                "cannot be told from here whether this one is, and positions have counted what is there: append later ones only "
                "(tradekeel db archive --read FILE --table fills shows the others)"
            )
