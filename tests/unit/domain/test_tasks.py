"""When an execution of a task began and was over, by a clock that somebody may set."""

from __future__ import annotations

import pytest

from tradekeel.domain.tasks import TaskExecution, TaskStatus, gone_on

NEW = TaskExecution(task_id="task", number=1)


def test_it_begins_when_it_runs_for_the_first_time_and_is_over_at_its_end() -> None:
    running = gone_on(NEW, 7, status=TaskStatus.RUNNING)
    paused = gone_on(running, 8, status=TaskStatus.PAUSED, progress=40)
    again = gone_on(paused, 9, status=TaskStatus.RUNNING)
    over = gone_on(again, 10, status=TaskStatus.COMPLETED, progress=100)
    assert (running.started_ns, paused.progress, again.started_ns, again.completed_ns) == (7, 40, 7, None)
    assert (over.started_ns, over.completed_ns, over.updated_ns) == (7, 10, 10)


@pytest.mark.parametrize("end", [status for status in TaskStatus if status.is_over])
def test_where_the_clock_is_set_back_nothing_is_earlier_than_its_begin(end: TaskStatus) -> None:
    over = gone_on(gone_on(NEW, 7, status=TaskStatus.RUNNING), 3, status=end)
    assert (over.started_ns, over.completed_ns, over.updated_ns) == (7, 7, 7)
    assert gone_on(NEW, 3, status=TaskStatus.STOPPED).completed_ns == 3
