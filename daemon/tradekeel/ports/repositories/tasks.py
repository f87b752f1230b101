"""Tasks: what somebody asked to be run, and each time that it was."""

from __future__ import annotations

from typing import Any, Protocol, Unpack, runtime_checkable

from tradekeel.domain.tasks import TaskExecution, TaskRow, TaskStatus, TaskType
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed


@runtime_checkable
class TaskRepository(Protocol):
    """Tasks and their numbered executions. They are job control: no part of the books, and in no journal.

    Beside a daemon that holds the file they can only be read (AlreadyRunning).
    """

    async def create_task(self, task: TaskRow, **call: Unpack[Timed]) -> TaskRow:
        """Add a task; created now unless it says when. AlreadyExists, InputError."""

    async def get_task(self, task_id: str, **call: Unpack[Timed]) -> TaskRow | None:
        """One task, None if there is none."""

    async def list_tasks(
        self,
        *,
        type: TaskType | str | None = None,  # noqa: A002  # the field's name
        status: TaskStatus | str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[TaskRow]:
        """Tasks by their creation, the newest first; sorted by created_ns, name or type.

        ``status`` is that of the latest execution: a task that was never run has none.
        """

    async def count_tasks(
        self,
        *,
        type: TaskType | str | None = None,  # noqa: A002
        status: TaskStatus | str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are; the times are about ``created_ns``."""

    async def delete_task(self, task_id: str, **call: Unpack[Timed]) -> bool:
        """Remove a task with its executions; False if there was none."""

    async def start_execution(self, task_id: str, execution: str | None = None, **call: Unpack[Timed]) -> TaskExecution:
        """Begin the next numbered execution of a task, created and not yet running. NotFound for a task that there is not."""

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
        """Say how far it is; the row after. It has started when it is first running, and completed when it goes on no more.

        ``progress`` is in percent. NotFound; InputError for a word or a number that cannot be, and for one that is over;
        IllegalTransition for a status that cannot follow (:data:`~tradekeel.domain.tasks.TRANSITIONS`).
        """

    async def get_execution(self, task_id: str, number: int, **call: Unpack[Timed]) -> TaskExecution | None:
        """One execution of a task, None if there is none."""

    async def get_latest_execution(self, task_id: str, **call: Unpack[Timed]) -> TaskExecution | None:
        """The newest execution of a task, None if it was never run."""

    async def list_executions(
        self, *, task_id: str | None = None, status: TaskStatus | str | None = None, **paging: Unpack[Paging]
    ) -> Page[TaskExecution]:
        """Executions by their last change, the newest first; sorted by updated_ns, number, status or progress."""
