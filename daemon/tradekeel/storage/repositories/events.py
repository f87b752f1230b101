"""Strategy events and the journal in SQL."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.rows import StrategyEvent
from tradekeel.errors import InputError, StoreCorrupt
from tradekeel.ports.repositories.events import JournalRecord
from tradekeel.ports.repositories.paging import ROWS_DEFAULT, Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.backend import RESTORE
from tradekeel.storage.journal import decoded as record_of
from tradekeel.storage.journal import fault_of
from tradekeel.storage.repositories.base import Repository, timeout_of
from tradekeel.storage.repositories.listing import Listing, asked, decoded, in_span, matching, of_account, selected
from tradekeel.storage.rows import mapping_of


class SqlEventRepository(Repository[StrategyEvent]):
    """See :class:`~tradekeel.ports.repositories.EventRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=StrategyEvent,
        time="ts_ns",
        key=("execution", "strategy", "sequence"),
        sorts=("ts_ns", "sequence", "type"),
    )

    async def append_event(self, event: StrategyEvent, **call: Unpack[Timed]) -> StrategyEvent:
        """Add an event of a strategy."""
        [added] = await self._add("append_event", [event], "an event", timeout_of(call))
        return added

    async def list_events(
        self,
        *,
        strategy: str | None = None,
        type: str | None = None,  # noqa: A002  # the field's name
        execution: str | None = None,
        account: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[StrategyEvent]:
        """Events by their time, the newest first."""
        return await self._page("listing events", self._where(strategy, type, execution, account), paging)

    async def get_events_since(
        self, execution: str, strategy: str, after: int, limit: int = ROWS_DEFAULT, **span: Unpack[Span]
    ) -> list[StrategyEvent]:
        """A strategy's events behind number ``after``, in order."""
        query, mapping = asked({"limit": limit, **span}), mapping_of(StrategyEvent)
        events = self.table.c
        statement = selected(mapping).where(
            events.execution == execution,
            events.strategy == strategy,
            events.sequence > after,
            *in_span(events.ts_ns, query.since_ns, query.until_ns),
        )

        async def ask(db: AsyncConnection) -> list[StrategyEvent]:
            found = await db.execute(statement.order_by(events.sequence).limit(query.limit))
            return [decoded(mapping, row) for row in found]

        return await self.database.read("reading events", ask, query.timeout_s)

    async def get_journal_since(
        self,
        execution: str,
        after: int = 0,
        limit: int = ROWS_DEFAULT,
        *,
        type: str | None = None,  # noqa: A002
        **span: Unpack[Span],
    ) -> list[JournalRecord]:
        """Records behind number ``after`` in order, checked one by one."""
        query, journal = asked({"limit": limit, **span}), tables.journal.c
        statement = select(tables.journal).where(
            journal.execution == execution,
            journal.sequence > after,
            *in_span(journal.ts_ns, query.since_ns, query.until_ns),
        )
        if type is not None:
            statement = statement.where(journal.type == type)

        async def ask(db: AsyncConnection) -> list[Any]:
            archives = tables.journal_archives.c
            archived = (
                await db.execute(select(func.max(archives.last)).where(archives.execution == execution))
            ).scalar()
            if archived is not None and after < archived:
                raise InputError(
                    f"the journal of execution {execution} is archived up to record {archived}: ask for those behind it, and "
                    "read those before it with `tradekeel db archive --read FILE`"
                )
            return list((await db.execute(statement.order_by(journal.sequence).limit(query.limit))).all())

        rows = await self.database.read("reading the journal", ask, query.timeout_s)
        return [self._checked(tuple(row)) for row in rows]

    def _checked(self, row: tuple[Any, ...]) -> JournalRecord:
        execution, sequence, type_, ts_ns, correlation_id, _, _ = row
        record = record_of(execution, row[1:])
        fault = fault_of(execution, sequence, row[1:]) or (record if isinstance(record, str) else None)
        if fault is not None or isinstance(record, str):
            raise StoreCorrupt(f"{self.database.backend}: {fault}. {RESTORE}")
        return JournalRecord(execution, sequence, type_, ts_ns, correlation_id, record)

    async def count_events(
        self,
        *,
        strategy: str | None = None,
        type: str | None = None,  # noqa: A002
        execution: str | None = None,
        account: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many events of strategies there are."""
        return await self._count("counting events", self._where(strategy, type, execution, account), span)

    def _where(
        self, strategy: str | None, kind: str | None, execution: str | None, account: str | None
    ) -> list[ColumnElement[bool]]:
        words = matching(self.table, strategy=strategy, type=kind, execution=execution)
        return words + of_account(self.table, account)
