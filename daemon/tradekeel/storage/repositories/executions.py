"""Executions in SQL."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Unpack

from msgspec import structs
from sqlalchemy import func, select

from tradekeel.domain.ids import derived_id
from tradekeel.domain.money import ZERO
from tradekeel.domain.records import ExecutionClosed, ExecutionStarted
from tradekeel.domain.rows import ExecutionRow, Mode
from tradekeel.errors import AlreadyExists, InputError
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.repositories.base import Repository, timeout_of
from tradekeel.storage.repositories.change import Change, checked
from tradekeel.storage.repositories.listing import Listing, matching

MANUAL_VENUE = "manual"
"""The venue of an execution for which nobody has named one: what a script writes down there may be of several."""

Modes = Mode | str | tuple[Mode | str, ...] | None


async def begin_manual(
    change: Change, account: str, execution: str | None, venue: str, currency: str, opening_balance: Decimal
) -> ExecutionRow:
    """Begin an execution that a script keeps."""
    if not account:
        raise InputError("an account has a name")
    await change.hold(account)
    number = await _next_number(change, account)
    row = checked(
        ExecutionRow(
            execution=derived_id("ex", account, number) if execution is None else execution,
            account=account,
            number=number,
            mode=Mode.MANUAL,
            venue=venue,
            currency=currency,
            status="running",
            config_fingerprint="",
            data_fingerprint="",
            opening_balance=opening_balance,
            started_ns=change.now_ns,
        )
    )
    if await change.find(ExecutionRow, tables.executions.c.execution == row.execution):
        raise AlreadyExists(f"execution {row.execution} exists already")
    await change.tell(row.execution, ExecutionStarted(ts_ns=change.now_ns, row=row), [row])
    return row


async def _next_number(change: Change, account: str) -> int:
    of_daemons = [mode.value for mode in Mode if mode.is_a_daemons]
    executions = tables.executions
    known = select(func.max(executions.c.number)).where(executions.c.account == account)
    daemons = (await change.db.execute(known.where(executions.c.mode.in_(of_daemons)))).scalar()
    if daemons is not None:
        raise InputError(f"a daemon trades on account {account}: give what a script keeps an account of its own")
    return ((await change.db.execute(known)).scalar() or 0) + 1


class SqlExecutionRepository(Repository[ExecutionRow]):
    """See :class:`~tradekeel.ports.repositories.ExecutionRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=ExecutionRow,
        time="started_ns",
        key=("execution",),
        sorts=("started_ns", "closed_ns", "account", "number", "mode", "status"),
        times=("closed_ns",),
    )

    async def create_execution(
        self,
        account: str,
        *,
        execution: str | None = None,
        venue: str = MANUAL_VENUE,
        currency: str = "USD",
        opening_balance: Decimal = ZERO,
        **call: Unpack[Timed],
    ) -> ExecutionRow:
        """Begin an execution of mode ``manual``."""

        async def work(change: Change) -> ExecutionRow:
            return await begin_manual(change, account, execution, venue, currency, opening_balance)

        return await self.database.write("create_execution", work, timeout_of(call))

    async def close_execution(self, execution: str, reason: str, **call: Unpack[Timed]) -> ExecutionRow:
        """End a manual execution."""

        async def work(change: Change) -> ExecutionRow:
            before = await change.execution(execution, steers="its end")
            if before.status == "closed":
                raise InputError(f"execution {execution} has ended already: {before.close_reason}")
            after = checked(structs.replace(before, status="closed", closed_ns=change.now_ns, close_reason=reason))
            await change.tell(execution, ExecutionClosed(ts_ns=change.now_ns, reason=reason), [after])
            return after

        return await self.database.write("close_execution", work, timeout_of(call))

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def get_execution(self, execution: str, **call: Unpack[Timed]) -> ExecutionRow | None:
        """One execution."""
        return await self._first("reading an execution", [self.table.c.execution == execution], call)

    async def get_latest_execution(
        self, account: str, mode: Mode | str | None = None, **call: Unpack[Timed]
    ) -> ExecutionRow | None:
        """The account's execution with the highest number."""
        where = matching(self.table, account=account, mode=mode)
        return await self._first("reading an execution", where, call, self.table.c.number.desc())

    async def list_executions(
        self, *, account: str | None = None, mode: Modes = None, status: str | None = None, **paging: Unpack[Paging]
    ) -> Page[ExecutionRow]:
        """Executions by their start, the newest first."""
        return await self._page("listing executions", self._where(account, mode, status), paging)

    async def count_executions(
        self, *, account: str | None = None, mode: Modes = None, status: str | None = None, **span: Unpack[Span]
    ) -> int:
        """How many there are."""
        return await self._count("counting executions", self._where(account, mode, status), span)

    def _where(self, account: str | None, mode: Any, status: str | None) -> list[Any]:
        if status not in (None, "running", "closed"):
            raise InputError(f"status is {status!r}: allowed are running, closed")
        return matching(self.table, account=account, mode=mode, status=status)
