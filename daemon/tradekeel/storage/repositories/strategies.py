"""Strategies in SQL."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from msgspec import structs
from sqlalchemy import ColumnElement, Text, exists, func, select

from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.repositories.base import Repository, changed, timeout_of
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.listing import Listing, matching, of_account, word_of

_FIXED = frozenset({"execution", "strategy", "decisions", "updated_ns"})
_STEERS = "a strategy"


class SqlStrategyRepository(Repository[StrategyRow]):
    """See :class:`~tradekeel.ports.repositories.StrategyRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=StrategyRow,
        time="updated_ns",
        key=("strategy", "execution"),
        sorts=("updated_ns", "strategy", "kind", "status", "decisions"),
    )

    async def create_strategy(self, strategy: StrategyRow, **call: Unpack[Timed]) -> StrategyRow:
        """Add a strategy to its execution."""

        async def work(change: Change) -> StrategyRow:
            [row] = await change.add(strategy.execution, [strategy], steers=_STEERS)
            return row

        return await self.database.write("create_strategy", work, timeout_of(call))

    async def get_strategy_by_id(self, execution: str, strategy: str, **call: Unpack[Timed]) -> StrategyRow | None:
        """One strategy of one execution."""
        return await self._first("reading a strategy", self._is(execution, strategy), call)

    async def get_strategy_by_name(
        self, strategy: str, account: str | None = None, **call: Unpack[Timed]
    ) -> StrategyRow | None:
        """The strategy of this name as it was last."""
        runs = tables.executions
        started = select(runs.c.started_ns).where(runs.c.execution == self.table.c.execution).scalar_subquery()
        where = [self.table.c.strategy == strategy, *of_account(self.table, account)]
        return await self._first("reading a strategy", where, call, started.desc(), self.table.c.execution.desc())

    async def update_strategy(
        self, execution: str, strategy: str, changes: dict[str, object], **call: Unpack[Timed]
    ) -> StrategyRow:
        """Change the named fields."""

        async def work(change: Change) -> StrategyRow:
            before = await change.one(
                StrategyRow, f"strategy {strategy} of execution {execution}", *self._is(execution, strategy)
            )
            after = structs.replace(changed(before, changes, _FIXED), updated_ns=change.now_ns)
            [row] = await change.replace(execution, [after], steers=_STEERS)
            return row

        return await self.database.write("update_strategy", work, timeout_of(call))

    async def update_strategy_status(
        self, execution: str, strategy: str, status: StrategyStatus | str, reason: str = "", **call: Unpack[Timed]
    ) -> StrategyRow:
        """Change the status, and say why."""
        word = word_of(StrategyStatus, status, "status")
        return await self.update_strategy(execution, strategy, {"status": word, "status_reason": reason}, **call)

    async def delete_strategy(self, execution: str, strategy: str, **call: Unpack[Timed]) -> bool:
        """Remove it."""

        async def work(change: Change) -> bool:
            for table in (tables.signals, tables.trades, tables.orders, tables.strategy_events):
                used = select(table.c.execution).where(table.c.execution == execution, table.c.strategy == strategy)
                if (await change.db.execute(used.limit(1))).first() is not None:
                    raise InputError(
                        f"strategy {strategy} of execution {execution} cannot be removed while {table.name} refer to it"
                    )
            count = await change.remove(execution, StrategyRow, {"strategy": strategy}, steers=_STEERS)
            return count > 0

        return await self.database.write("delete_strategy", work, timeout_of(call))

    async def list_strategies(
        self,
        *,
        status: StrategyStatus | str | None = None,
        type: str | None = None,  # noqa: A002  # the word that people use
        instrument: str | None = None,
        execution: str | None = None,
        account: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[StrategyRow]:
        """Strategies by their last change, the newest first."""
        where = self._where(status, type, instrument, execution, account)
        return await self._page("listing strategies", where, paging)

    async def get_strategies_by_status(
        self, status: StrategyStatus | str, **paging: Unpack[Paging]
    ) -> Page[StrategyRow]:
        """Those of one status."""
        return await self.list_strategies(status=status, **paging)

    async def get_strategies_by_type(
        self,
        type: str,  # noqa: A002
        **paging: Unpack[Paging],
    ) -> Page[StrategyRow]:
        """Those of one kind."""
        return await self.list_strategies(type=type, **paging)

    async def count_strategies(
        self,
        *,
        status: StrategyStatus | str | None = None,
        type: str | None = None,  # noqa: A002
        instrument: str | None = None,
        execution: str | None = None,
        account: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        return await self._count("counting strategies", self._where(status, type, instrument, execution, account), span)

    def _is(self, execution: str, strategy: str) -> list[ColumnElement[bool]]:
        return [self.table.c.execution == execution, self.table.c.strategy == strategy]

    def _where(
        self, status: Any, kind: str | None, instrument: str | None, execution: str | None, account: str | None
    ) -> list[ColumnElement[bool]]:
        where = matching(self.table, status=status, kind=kind, execution=execution) + of_account(self.table, account)
        if instrument is not None:
            where.append(self._trades(instrument))
        return where

    def _trades(self, instrument: str) -> ColumnElement[bool]:
        """Whether the list of instruments, which is JSON, names this one."""
        each = func.json_array_elements_text if self.database.backend.dialect.name == "postgresql" else func.json_each
        listed = each(self.table.c.instruments).table_valued("value").alias("listed")
        return exists(select(1).select_from(listed).where(listed.c.value.cast(Text) == instrument))
