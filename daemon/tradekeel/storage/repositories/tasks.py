"""Tasks and their executions in SQL. They follow from no journal, and stand in none."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from msgspec import structs
from sqlalchemy import ColumnElement, delete, func, insert, select, update

from tradekeel.domain.tasks import PROGRESS_MAX, TaskExecution, TaskRow, TaskStatus, TaskType, gone_on, refuse_status
from tradekeel.errors import AlreadyExists, InputError
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.repositories.base import Repository, timeout_of
from tradekeel.storage.repositories.change import Change, bare, checked, encoded
from tradekeel.storage.repositories.listing import Listing, matching, word_of
from tradekeel.storage.rows import mapping_of

_NOBODYS = "tasks"
"""Tasks are no account's; whoever writes them holds this word instead of one. No account of a daemon can be called so."""


class _Executions(Repository[TaskExecution]):
    """The numbered executions alone."""

    listing: ClassVar[Listing] = Listing(
        row_type=TaskExecution,
        time="updated_ns",
        key=("task_id", "number"),
        sorts=("updated_ns", "number", "status", "progress"),
    )


class SqlTaskRepository(Repository[TaskRow]):
    """See :class:`~tradekeel.ports.repositories.TaskRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=TaskRow, time="created_ns", key=("task_id",), sorts=("created_ns", "name", "type")
    )

    # --- tasks -----------------------------------------------------------------------------------------------------------

    async def create_task(self, task: TaskRow, **call: Unpack[Timed]) -> TaskRow:
        """Add a task."""

        async def work(change: Change) -> TaskRow:
            await change.hold(_NOBODYS)
            row = checked(structs.replace(task, created_ns=task.created_ns or change.now_ns))
            if await change.find(TaskRow, self.table.c.task_id == row.task_id):
                raise AlreadyExists(f"task {row.task_id} exists already")
            await _insert(change, row)
            return row

        return await self.database.write("create_task", work, timeout_of(call))

    async def get_task(self, task_id: str, **call: Unpack[Timed]) -> TaskRow | None:
        """One task."""
        return await self._first("reading a task", [self.table.c.task_id == task_id], call)

    async def list_tasks(
        self,
        *,
        type: TaskType | str | None = None,  # noqa: A002  # the field's name
        status: TaskStatus | str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[TaskRow]:
        """Tasks by their creation, the newest first."""
        return await self._page("listing tasks", self._where(type, status), paging)

    async def count_tasks(
        self,
        *,
        type: TaskType | str | None = None,  # noqa: A002
        status: TaskStatus | str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        return await self._count("counting tasks", self._where(type, status), span)

    def _where(self, kind: TaskType | str | None, status: TaskStatus | str | None) -> list[ColumnElement[bool]]:
        where = matching(self.table, type=kind)
        if status is not None:
            runs = tables.task_executions.alias("latest")
            latest = select(runs.c.status).where(runs.c.task_id == self.table.c.task_id).order_by(runs.c.number.desc())
            where.append(latest.limit(1).scalar_subquery() == word_of(TaskStatus, status, "status"))
        return where

    async def delete_task(self, task_id: str, **call: Unpack[Timed]) -> bool:
        """Remove a task with its executions."""

        async def work(change: Change) -> bool:
            await change.hold(_NOBODYS)
            await change.db.execute(delete(tables.task_executions).where(tables.task_executions.c.task_id == task_id))
            return bool((await change.db.execute(delete(self.table).where(self.table.c.task_id == task_id))).rowcount)

        return await self.database.write("delete_task", work, timeout_of(call))

    # --- executions ------------------------------------------------------------------------------------------------------

    async def start_execution(self, task_id: str, execution: str | None = None, **call: Unpack[Timed]) -> TaskExecution:
        """Begin the next numbered execution of a task."""
        runs = tables.task_executions.c

        async def work(change: Change) -> TaskExecution:
            await change.hold(_NOBODYS)
            await change.one(TaskRow, f"task {task_id}", self.table.c.task_id == task_id)
            last = (await change.db.execute(select(func.max(runs.number)).where(runs.task_id == task_id))).scalar() or 0
            row = TaskExecution(task_id=task_id, number=last + 1, execution=execution, updated_ns=change.now_ns)
            await _insert(change, checked(row))
            return row

        return await self.database.write("start_execution", work, timeout_of(call))

    async def update_execution(
        self,
        task_id: str,
        number: int,
        *,
        status: TaskStatus | str | None = None,
        progress: int | None = None,
        state: dict[str, Any] | None = None,
        execution: str | None = None,
        error: str | None = None,
        **call: Unpack[Timed],
    ) -> TaskExecution:
        """Say how far it is."""
        wanted = None if status is None else word_of(TaskStatus, status, "status")
        if progress is not None and not 0 <= progress <= PROGRESS_MAX:
            raise InputError(f"progress is {progress}: allowed is 0 to {PROGRESS_MAX} percent")
        said = {"status": wanted, "progress": progress, "state": state, "execution": execution, "error": error}
        here = matching(tables.task_executions, task_id=task_id, number=number)

        async def work(change: Change) -> TaskExecution:
            await change.hold(_NOBODYS)
            before = await change.one(TaskExecution, f"execution {number} of task {task_id}", *here)
            if before.status.is_over:
                raise InputError(f"execution {number} of task {task_id} is over: {before.status}")
            if wanted is not None:
                refuse_status(before.status, wanted)
            fields: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
            after = checked(gone_on(before, change.now_ns, **fields))
            mapping = mapping_of(TaskExecution)
            runs = bare(mapping)
            changing = update(runs).where(runs.c.task_id == task_id, runs.c.number == number)
            await change.db.execute(changing.values(encoded(mapping, after, "")))
            return after

        return await self.database.write("update_execution", work, timeout_of(call))

    async def get_execution(self, task_id: str, number: int, **call: Unpack[Timed]) -> TaskExecution | None:
        """One execution of a task."""
        where = matching(tables.task_executions, task_id=task_id, number=number)
        return await _Executions(self.database)._first("reading an execution", where, call)

    async def get_latest_execution(self, task_id: str, **call: Unpack[Timed]) -> TaskExecution | None:
        """The newest execution of a task."""
        runs = tables.task_executions.c
        return await _Executions(self.database)._first(
            "reading an execution", [runs.task_id == task_id], call, runs.number.desc()
        )

    async def list_executions(
        self, *, task_id: str | None = None, status: TaskStatus | str | None = None, **paging: Unpack[Paging]
    ) -> Page[TaskExecution]:
        """Executions by their last change, the newest first."""
        where = matching(tables.task_executions, task_id=task_id, status=status)
        return await _Executions(self.database)._page("listing executions", where, paging)


async def _insert(change: Change, row: TaskRow | TaskExecution) -> None:
    mapping: Any = mapping_of(type(row))
    await change.db.execute(insert(bare(mapping)).values(encoded(mapping, row, "")))
