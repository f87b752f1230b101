"""Performance snapshots, the history of parameters, and venue cursors in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

from sqlalchemy import ColumnElement

from tradekeel.domain.rows import ParameterChange, PerformanceSnapshot, VenueCursor
from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.storage.repositories.base import Repository, bounded, timeout_of
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.listing import Listing, matching, of_account


class SqlPerformanceRepository(Repository[PerformanceSnapshot]):
    """See :class:`~tradekeel.ports.repositories.PerformanceRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=PerformanceSnapshot,
        time="ts_ns",
        key=("id",),
        sorts=("ts_ns", "pnl", "equity", "win_rate", "sharpe", "max_drawdown"),
    )

    async def save_snapshot(self, snapshot: PerformanceSnapshot, **call: Unpack[Timed]) -> PerformanceSnapshot:
        """Add a snapshot."""
        [saved] = await self._add("save_snapshot", [snapshot], None, timeout_of(call))
        return saved

    async def save_snapshots(self, snapshots: Sequence[PerformanceSnapshot], **call: Unpack[Timed]) -> int:
        """Add many, all or none."""
        return len(await self._add("save_snapshots", bounded(snapshots, "snapshots"), None, timeout_of(call)))

    async def get_latest_snapshot(
        self, account: str | None = None, execution: str | None = None, **call: Unpack[Timed]
    ) -> PerformanceSnapshot | None:
        """The newest one."""
        newest = (self.table.c.ts_ns.desc(), self.table.c.id.desc())
        return await self._first("reading a snapshot", self._where(account, execution), call, *newest)

    async def list_snapshots(
        self,
        *,
        session: str | None = None,
        parameter_mode: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[PerformanceSnapshot]:
        """Snapshots by their time, the newest first."""
        where = self._where(account, execution, session=session, parameter_mode=parameter_mode)
        return await self._page("listing snapshots", where, paging)

    async def get_snapshots_by_session(self, session: str, **paging: Unpack[Paging]) -> Page[PerformanceSnapshot]:
        """Snapshots of a session."""
        return await self.list_snapshots(session=session, **paging)

    async def count_snapshots(
        self,
        *,
        session: str | None = None,
        parameter_mode: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        where = self._where(account, execution, session=session, parameter_mode=parameter_mode)
        return await self._count("counting snapshots", where, span)

    def _where(self, account: str | None, execution: str | None, **words: Any) -> list[ColumnElement[bool]]:
        return matching(self.table, execution=execution, **words) + of_account(self.table, account)


class SqlParameterHistoryRepository(Repository[ParameterChange]):
    """See :class:`~tradekeel.ports.repositories.ParameterHistoryRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=ParameterChange, time="ts_ns", key=("id",), sorts=("ts_ns", "name", "changed_by")
    )

    async def record_change(self, change: ParameterChange, **call: Unpack[Timed]) -> ParameterChange:
        """Add a change."""
        [saved] = await self._add("record_change", [change], None, timeout_of(call))
        return saved

    async def record_changes(self, changes: Sequence[ParameterChange], **call: Unpack[Timed]) -> int:
        """Add many, all or none."""
        return len(await self._add("record_changes", bounded(changes, "changes"), None, timeout_of(call)))

    async def get_latest_change(
        self, name: str, *, account: str | None = None, execution: str | None = None, **call: Unpack[Timed]
    ) -> ParameterChange | None:
        """The newest change of a parameter."""
        newest = (self.table.c.ts_ns.desc(), self.table.c.id.desc())
        return await self._first("reading a change", self._where(account, execution, name=name), call, *newest)

    async def list_changes(
        self,
        *,
        name: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        parameter_mode: str | None = None,
        changed_by: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[ParameterChange]:
        """Changes by their time, the newest first."""
        where = self._where(
            account,
            execution,
            name=name,
            strategy=strategy,
            session=session,
            parameter_mode=parameter_mode,
            changed_by=changed_by,
        )
        return await self._page("listing changes", where, paging)

    async def count_changes(
        self,
        *,
        name: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        parameter_mode: str | None = None,
        changed_by: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        where = self._where(
            account,
            execution,
            name=name,
            strategy=strategy,
            session=session,
            parameter_mode=parameter_mode,
            changed_by=changed_by,
        )
        return await self._count("counting changes", where, span)

    def _where(self, account: str | None, execution: str | None, **words: Any) -> list[ColumnElement[bool]]:
        return matching(self.table, execution=execution, **words) + of_account(self.table, account)


class SqlCursorRepository(Repository[VenueCursor]):
    """See :class:`~tradekeel.ports.repositories.CursorRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=VenueCursor,
        time="updated_ns",
        key=("execution", "venue"),
        sorts=("updated_ns", "venue", "sequence"),
    )

    async def get_cursor(self, execution: str, venue: str, **call: Unpack[Timed]) -> VenueCursor | None:
        """One cursor."""
        return await self._first("reading a cursor", matching(self.table, execution=execution, venue=venue), call)

    async def set_cursor(self, execution: str, venue: str, sequence: int, **call: Unpack[Timed]) -> VenueCursor:
        """The venue's record was read up to ``sequence``."""

        async def work(change: Change) -> VenueCursor:
            steers = "how far a venue was read"
            await change.execution(execution, steers=steers)
            found = await change.find(VenueCursor, *matching(self.table, execution=execution, venue=venue))
            if found and found[0].sequence > sequence:
                raise InputError(f"{venue} was read up to {found[0].sequence}, and {sequence} is before that")
            row = VenueCursor(execution=execution, venue=venue, sequence=sequence, updated_ns=change.now_ns)
            put = change.replace if found else change.add
            [saved] = await put(execution, [row], steers=steers)
            return saved

        return await self.database.write("set_cursor", work, timeout_of(call))

    async def list_cursors(
        self, *, execution: str | None = None, account: str | None = None, **paging: Unpack[Paging]
    ) -> Page[VenueCursor]:
        """Cursors by their last move, the newest first."""
        where = matching(self.table, execution=execution) + of_account(self.table, account)
        return await self._page("listing cursors", where, paging)
