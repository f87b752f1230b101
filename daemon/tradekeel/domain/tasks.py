"""Tasks: what somebody asked to be run, and each time that it was run. Job control, and no part of the books.

An execution of a task is ``CREATED`` before anything of it is there, ``STARTING`` while it comes up, and ``RUNNING``; it may
pause and go on. ``STOPPING`` is that somebody wants its end, ``STOPPED`` that he got it, ``COMPLETED`` that it came to its own,
and ``FAILED`` that it can go on no more. None of these three is ever left: who runs the task again begins the next execution.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct, structs

from tradekeel.errors import IllegalTransition

PROGRESS_MAX = 100
"""Percent: progress counts from 0 to this."""


class TaskType(StrEnum):
    """What a task runs."""

    LIVE = "live"
    PAPER = "paper"
    BACKTEST = "backtest"
    OPTIMISE = "optimise"


class TaskStatus(StrEnum):
    """How far one execution of a task is."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether it goes on no more."""
        return self in (TaskStatus.STOPPED, TaskStatus.COMPLETED, TaskStatus.FAILED)


S = TaskStatus

TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    S.CREATED: frozenset({S.STARTING, S.RUNNING, S.STOPPED, S.FAILED}),
    S.STARTING: frozenset({S.RUNNING, S.STOPPING, S.FAILED}),
    S.RUNNING: frozenset({S.PAUSED, S.STOPPING, S.COMPLETED, S.FAILED}),
    S.PAUSED: frozenset({S.RUNNING, S.STOPPING, S.FAILED}),
    S.STOPPING: frozenset({S.STOPPED, S.COMPLETED, S.FAILED}),
    S.STOPPED: frozenset(),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
}
"""What may follow a status. What takes no time to come up is running at once; what has not begun is stopped at once."""


def refuse_status(before: TaskStatus, wanted: TaskStatus) -> None:
    """:class:`~tradekeel.errors.IllegalTransition` for a status that cannot follow; the same one again changes nothing."""
    if wanted is not before and wanted not in TRANSITIONS[before]:
        raise IllegalTransition("execution of a task", before, wanted)


DOUBTS = "doubts"
"""In the state of a backtest's execution: sentences, what makes one doubt what it came to."""


class TaskRow(Struct, frozen=True, kw_only=True):
    """What somebody asked to be run, over which stretch of time (nanoseconds UTC, the end excluded), with which settings."""

    task_id: str
    type: TaskType
    name: str
    instruments: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    config: dict[str, Any] = {}
    created_ns: int = 0


class TaskExecution(Struct, frozen=True, kw_only=True):
    """One time that a task was run, numbered from 1; ``state`` is the latest that is known of it."""

    task_id: str
    number: int
    execution: str | None = None
    status: TaskStatus = TaskStatus.CREATED
    progress: int = 0  # percent
    started_ns: int | None = None
    completed_ns: int | None = None
    state: dict[str, Any] | None = None
    error: str = ""
    updated_ns: int = 0


def gone_on(before: TaskExecution, now_ns: int, **said: Any) -> TaskExecution:
    """An execution behind what is ``said`` of it at a time (nanoseconds UTC, by the wall's clock), with when it began and ended.

    That clock may have been set back meanwhile: nothing of an execution is told as earlier than its begin.
    """
    now_ns = max(now_ns, before.started_ns or 0)
    status: TaskStatus = said.get("status", before.status)
    if status is TaskStatus.RUNNING and before.started_ns is None:
        said["started_ns"] = now_ns
    if status.is_over:
        said["completed_ns"] = now_ns
    return structs.replace(before, updated_ns=now_ns, **said)
