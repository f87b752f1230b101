"""Tasks: asked for once, run as often as somebody wants, each time with a number of its own."""

from __future__ import annotations

import anyio
import pytest
from msgspec import structs

from tests.conformance.repositories.factories import EXTREME_TEXTS, START_NS
from tradekeel.domain.tasks import TaskRow, TaskStatus, TaskType
from tradekeel.errors import AlreadyExists, IllegalTransition, InputError, NotFound
from tradekeel.ports.repositories import TaskRepository
from tradekeel.storage.repositories import Database, SqlTaskRepository


@pytest.fixture
def tasks(database: Database) -> TaskRepository:
    return SqlTaskRepository(database)


def task(number: int, **changes: object) -> TaskRow:
    row = TaskRow(
        task_id=f"task-{number}",
        type=TaskType.BACKTEST,
        name=f"Nr. {number} €",
        instruments=("EUR_USD", EXTREME_TEXTS[4]),
        since_ns=START_NS,
        until_ns=START_NS + 1,
        config={"strategy": "floor", "nested": {"list": [1, None, "x"]}},
        created_ns=START_NS + number,
    )
    return structs.replace(row, **changes)


async def test_tasks_come_back_whole_and_newest_first(tasks):
    made = [task(n, type=list(TaskType)[n % 4], since_ns=None if n % 2 else 0) for n in range(1, 9)]
    for one in made:
        assert await tasks.create_task(one) == one
    assert await tasks.get_task("task-3") == made[2]
    assert await tasks.get_task("nobody") is None
    assert list(await tasks.list_tasks()) == made[::-1]
    assert list(await tasks.list_tasks(type="live")) == [t for t in made[::-1] if t.type is TaskType.LIVE]
    page = await tasks.list_tasks(sort="name", descending=False, limit=5)
    assert [*page, *await tasks.list_tasks(sort="name", descending=False, cursor=page.next_cursor)] == made


async def test_what_cannot_be_is_refused(tasks):
    await tasks.create_task(task(1))
    with pytest.raises(AlreadyExists):
        await tasks.create_task(task(1))
    for changes in (
        {"name": ""},
        {"type": "nap"},
        {"until_ns": 0},
        {"task_id": ""},
        {"config": {1: 2}},
        {"name": "\0"},
    ):
        with pytest.raises(InputError):
            await tasks.create_task(task(2, **changes))
    assert len(await tasks.list_tasks()) == 1


async def test_each_execution_has_the_next_number_and_says_how_far_it_is(tasks, manual):
    await tasks.create_task(task(1))
    assert await tasks.get_latest_execution("task-1") is None
    first = await tasks.start_execution("task-1", manual.execution)
    second = await tasks.start_execution("task-1")
    assert [(e.number, e.status, e.progress, e.started_ns) for e in (first, second)] == [
        (1, TaskStatus.CREATED, 0, None),
        (2, TaskStatus.CREATED, 0, None),
    ]
    running = await tasks.update_execution("task-1", 1, status="running", progress=5, state={"ticks": 7})
    assert running.started_ns == running.updated_ns
    further = await tasks.update_execution("task-1", 1, status="running", progress=50)
    assert (further.started_ns, further.progress, further.state) == (running.started_ns, 50, {"ticks": 7})
    done = await tasks.update_execution("task-1", 1, status=TaskStatus.COMPLETED, progress=100)
    assert (done.completed_ns, done.execution) == (done.updated_ns, manual.execution)
    assert await tasks.get_execution("task-1", 1) == done
    assert await tasks.get_latest_execution("task-1") == second
    assert list(await tasks.list_executions(task_id="task-1")) == [done, second]
    assert list(await tasks.list_executions(status="created")) == [second]
    with pytest.raises(InputError, match="over"):
        await tasks.update_execution("task-1", 1, progress=7)
    for words in ({"progress": 101}, {"progress": -1}, {"status": "asleep"}, {"execution": "nowhere"}):
        with pytest.raises(InputError):
            await tasks.update_execution("task-1", 2, **words)
    for call in (tasks.start_execution("nobody"), tasks.update_execution("task-1", 9, progress=1)):
        with pytest.raises(NotFound):
            await call
    assert await tasks.delete_task("task-1")
    assert not await tasks.delete_task("task-1")
    assert await tasks.get_execution("task-1", 2) is None


WAYS: dict[str, tuple[str, ...]] = {
    "created": (),
    "starting": ("starting",),
    "running": ("starting", "running"),
    "paused": ("running", "paused"),
    "stopping": ("running", "stopping"),
}


@pytest.mark.parametrize("before", WAYS)
async def test_a_status_changes_only_as_the_life_of_an_execution_allows(tasks, before):
    legal = {
        "created": {"starting", "running", "stopped", "failed"},
        "starting": {"running", "stopping", "failed"},
        "running": {"paused", "stopping", "completed", "failed"},
        "paused": {"running", "stopping", "failed"},
        "stopping": {"stopped", "completed", "failed"},
    }
    await tasks.create_task(task(1))
    for wanted in TaskStatus:
        number = (await tasks.start_execution("task-1")).number
        for status in WAYS[before]:
            await tasks.update_execution("task-1", number, status=status)
        there = await tasks.get_execution("task-1", number)
        if wanted == before or wanted in legal[before]:
            assert (await tasks.update_execution("task-1", number, status=wanted)).status is wanted
        else:
            with pytest.raises(IllegalTransition, match=f"{wanted.name} is not allowed in state {before.upper()}"):
                await tasks.update_execution("task-1", number, status=wanted, progress=50)
            assert await tasks.get_execution("task-1", number) == there


@pytest.mark.parametrize("end", [status for status in TaskStatus if status.is_over])
async def test_what_is_over_is_left_for_no_other_status(tasks, end):
    await tasks.create_task(task(1))
    number = (await tasks.start_execution("task-1")).number
    for status in ("running", *(["stopping"] if end is TaskStatus.STOPPED else []), end):
        await tasks.update_execution("task-1", number, status=status)
    for status in TaskStatus:
        with pytest.raises(InputError, match="over"):
            await tasks.update_execution("task-1", number, status=status)
    assert (await tasks.start_execution("task-1")).number == number + 1


async def test_tasks_are_found_and_counted_by_the_status_of_their_latest_execution(tasks):
    made = [await tasks.create_task(task(n, type=list(TaskType)[n % 2])) for n in range(1, 6)]
    for number, statuses in enumerate((("failed", "running"), ("running", "completed"), ("running",), ("created",)), 1):
        for status in statuses:
            run = await tasks.start_execution(f"task-{number}")
            for step in (status,) if status in ("created", "running") else ("running", status):
                await tasks.update_execution(run.task_id, run.number, status=step)
    expected = {"running": [made[2], made[0]], "completed": [made[1]], "created": [made[3]], "failed": []}
    for status, found in expected.items():
        assert list(await tasks.list_tasks(status=status)) == found
        assert await tasks.count_tasks(status=TaskStatus(status)) == len(found)
    page = await tasks.list_tasks(status="running", limit=1)
    assert [*page, *await tasks.list_tasks(status="running", cursor=page.next_cursor)] == expected["running"]
    assert list(await tasks.list_tasks(status="running", type=made[0].type)) == [made[2], made[0]]
    assert await tasks.count_tasks(status="running", type=made[1].type) == 0
    assert await tasks.count_tasks(type=made[0].type) == 3
    for ask in (tasks.list_tasks, tasks.count_tasks):
        with pytest.raises(InputError, match="created, starting"):
            await ask(status="asleep")


async def test_tasks_and_executions_are_narrowed_by_time(tasks):
    made = [await tasks.create_task(task(n)) for n in range(1, 6)]
    since, until = made[1].created_ns, made[3].created_ns
    assert list(await tasks.list_tasks(since_ns=since, until_ns=until)) == [made[2], made[1]]
    assert await tasks.count_tasks(since_ns=since, until_ns=until) == 2
    assert await tasks.count_tasks(since_ns=since) == 4
    runs = [await tasks.start_execution("task-1") for _ in range(4)]
    found = await tasks.list_executions(since_ns=runs[1].updated_ns, until_ns=runs[3].updated_ns)
    assert list(found) == [runs[2], runs[1]]


async def test_executions_that_begin_at_once_have_numbers_of_their_own(tasks):
    await tasks.create_task(task(1))
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(tasks.start_execution, "task-1")
    assert sorted(e.number for e in await tasks.list_executions(task_id="task-1")) == list(range(1, 11))
