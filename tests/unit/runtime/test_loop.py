"""The loop is entered and left in one place, nothing leaks silently, threads finish what they began, and a loop that does not
turn is seen."""

from __future__ import annotations

import asyncio
import decimal
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tradekeel.runtime import loop
from tradekeel.runtime.errors import LeakedTasks, WorkerClosed
from tradekeel.runtime.loop import EXIT_DEFECT, BlockingWorker, InlineWorker, LoopGuard, in_order, in_time, run, spawn

SOURCES = Path(loop.__file__).parents[2]


@pytest.mark.parametrize("use_uvloop", [True, False])
def test_it_returns_what_main_returns(use_uvloop):
    async def main(a: int, b: int) -> tuple[int, str]:
        return a + b, type(asyncio.get_running_loop()).__module__

    total, module = run(main, 1, 2, use_uvloop=use_uvloop)
    assert total == 3
    assert module.startswith("uvloop") is use_uvloop


def test_it_raises_what_main_raises():
    async def main() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(main)


def test_tasks_that_are_left_behind_are_named():
    ended = []

    async def forgotten() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async def main() -> None:
        spawn(forgotten(), "forgotten one")
        await asyncio.sleep(0)

    with pytest.raises(LeakedTasks, match="forgotten one") as caught:
        run(main)
    assert ended == [True]
    assert caught.value.survivors == ()


def test_a_task_that_swallows_its_cancellation_is_named_and_does_not_keep_the_loop():
    async def stubborn() -> None:
        while True:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        spawn(stubborn(), "stubborn one")
        await asyncio.sleep(0)

    with pytest.raises(LeakedTasks, match="still running after cancellation: stubborn one") as caught:
        run(main, leak_grace_s=0.01)
    assert caught.value.survivors == ("stubborn one",)


def test_what_main_raises_matters_more_than_what_it_leaves():
    async def main() -> None:
        spawn(anyio.sleep_forever(), "collateral")
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(main)


# --- the worker ----------------------------------------------------------------------------------------------------------


async def test_a_worker_runs_calls_in_its_thread_in_order_with_its_own_thread_state():
    def prepare() -> None:
        decimal.getcontext().prec = 50

    async with BlockingWorker("worker", thread_init=prepare) as worker:
        seen: list[int] = []
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(worker.call, seen.append, number)
        assert seen == list(range(20))
        assert await worker.call(lambda: threading.current_thread().name) == "worker"
        assert await worker.call(lambda: decimal.getcontext().prec) == 50
        assert await worker.call(divmod, 7, 2) == (3, 1)


async def test_what_a_call_raises_is_raised_where_it_was_made():
    async with BlockingWorker("worker") as worker:
        with pytest.raises(ZeroDivisionError):
            await worker.call(divmod, 1, 0)
        assert await worker.call(int, "7") == 7


async def test_a_thread_that_could_not_be_prepared_does_no_work():
    def prepare() -> None:
        raise OSError("no")

    worker = BlockingWorker("worker", thread_init=prepare)
    with pytest.raises(OSError, match="no"):
        await worker.call(int)
    with pytest.raises(OSError, match="no"):
        await worker.call(int)
    await worker.close()


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_a_call_cannot_be_abandoned_half_way(how):
    async with BlockingWorker("worker") as worker:
        go, finished = threading.Event(), []

        def work() -> None:
            go.wait()
            finished.append("work")

        async def caller() -> None:
            try:
                await worker.call(work)
                await anyio.lowlevel.checkpoint()
            except asyncio.CancelledError:
                finished.append("caller")
                raise

        async with anyio.create_task_group() as tasks:
            task = None
            if how == "scope":
                tasks.start_soon(caller)
            else:
                task = asyncio.get_running_loop().create_task(caller())
            for _ in range(3):
                await asyncio.sleep(0)
            if task is None:
                tasks.cancel_scope.cancel()
            else:
                task.cancel()
            asyncio.get_running_loop().call_soon(finished.append, "cancelled")
            asyncio.get_running_loop().call_soon(go.set)
            if task is not None:
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert finished == ["cancelled", "work", "caller"]


async def test_a_call_that_may_be_left_keeps_neither_its_caller_nor_the_end_of_the_worker():
    go, begun, here = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def work() -> None:
        here.call_soon_threadsafe(begun.set)
        go.wait(60)

    with anyio.CancelScope() as scope:
        async with BlockingWorker("worker", may_be_left=True) as worker, anyio.create_task_group() as tasks:
            tasks.start_soon(worker.call, work)
            await begun.wait()
            scope.cancel()
    assert scope.cancelled_caught
    thread = next(thread for thread in threading.enumerate() if thread.name == "worker")
    go.set()
    thread.join(60)
    assert not thread.is_alive(), "it ends after what it was at"


def test_what_may_hang_is_waited_for_and_left():
    said: list[str] = []
    assert in_time(lambda: said.append("done"), 60)
    assert said == ["done"]
    with pytest.raises(OSError, match="no terminal"):
        in_time(fail, 60)
    go = threading.Event()
    assert not in_time(lambda: go.wait(60), 0.01)
    go.set()


def fail() -> None:
    raise OSError("no terminal")


async def test_only_so_many_calls_are_on_their_way_and_the_others_wait_their_turn():
    async with BlockingWorker("worker", jobs_max=2) as worker:
        go, seen = threading.Event(), []

        def work(number: int) -> None:
            go.wait()
            seen.append(number)

        async def caller(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                await worker.call(work, number)

        scopes = [anyio.CancelScope() for _ in range(6)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(caller, number, scope)
            for _ in range(3):
                await asyncio.sleep(0)
            scopes[3].cancel()  # it never had its turn
            await asyncio.sleep(0)
            go.set()
        assert seen == [0, 1, 2, 4, 5]


async def test_a_closed_worker_takes_no_more_calls():
    worker = BlockingWorker("worker")
    await worker.call(int)
    await worker.close()
    await worker.close()
    with pytest.raises(WorkerClosed):
        await worker.call(int)
    assert "worker" not in {thread.name for thread in threading.enumerate()}
    unused = BlockingWorker("unused")
    await unused.close()


NO_THREADS = """
import threading
from tradekeel.runtime.loop import BlockingWorker, run
threading.stack_size(1 << 40)  # more than any machine has: no thread can be started
async def main():
    worker = BlockingWorker("worker")
    for _ in range(2):
        try:
            await worker.call(int)
        except RuntimeError as error:
            print(error)
    threading.stack_size(0)
    print(await worker.call(int))
    await worker.close()
run(main)
"""


def test_where_no_thread_can_be_started_each_call_says_so_until_one_can():
    done = subprocess.run(
        [sys.executable, "-c", NO_THREADS],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["can't start new thread", "can't start new thread", "0"], done.stderr


async def test_an_inline_worker_needs_no_thread():
    prepared = []
    worker = InlineWorker(lambda: prepared.append(True))
    assert await worker.call(divmod, 7, 2) == (3, 1)
    assert prepared == [True]
    await worker.close()
    with pytest.raises(WorkerClosed):
        await worker.call(int)


# --- the guard -----------------------------------------------------------------------------------------------------------


async def test_a_blocked_loop_is_seen_from_outside_of_it():
    seen, reported = threading.Event(), []

    def on_blocked(blocked_s: float) -> None:
        reported.append(blocked_s)
        seen.set()

    with LoopGuard(0.05, on_blocked):
        seen.wait(timeout=30)  # blocks the loop, until the guard notices
    assert reported[0] >= 0.05


async def test_a_loop_that_turns_is_left_alone():
    reported: list[float] = []
    with LoopGuard(5.0, reported.append) as guard:
        while guard._beats < 3:  # three heartbeats of 5/8 s would be long: drive it by its own timer
            guard._beat()
            await asyncio.sleep(0)
    assert reported == []


BLOCKED = """
import threading
from tradekeel.runtime.loop import LoopGuard, run
async def main():
    with LoopGuard(0.05):
        threading.Event().wait(60)
run(main)
"""


def test_by_default_a_blocked_loop_ends_the_process_and_says_where_it_was():
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == EXIT_DEFECT
    assert "the event loop has not turned for" in result.stderr
    assert "in main" in result.stderr


UNREAD = """
import fcntl, os, threading
from tradekeel.runtime.loop import LoopGuard, run
os.write(2, b"x" * (fcntl.fcntl(2, fcntl.F_GETPIPE_SZ) - {room}))
async def main():
    with LoopGuard(0.05):
        threading.Event().wait(60)
run(main)
"""


@pytest.mark.parametrize("room", [0, 200])
def test_a_process_that_cannot_say_why_it_ends_ends_all_the_same(room: int) -> None:
    """Nobody reads its stderr: there is no room for a word, or for why it ends and not for where its threads are."""
    words = [sys.executable, "-c", UNREAD.format(room=room)]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(SOURCES)}, stderr=subprocess.PIPE)
    try:
        assert process.wait(timeout=60) == EXIT_DEFECT
    finally:
        process.kill()
        process.communicate()


def test_a_worker_whose_loop_is_gone_ends_quietly():
    threads: list[Any] = []

    async def main() -> None:
        worker = BlockingWorker("orphan")
        await worker.call(int)
        threads.append(worker)

    run(main)
    worker = threads[0]
    worker._jobs.put(loop._Job(int))
    thread = worker._thread
    assert thread is not None
    thread.join(timeout=30)
    assert not thread.is_alive()


class Line:
    """Calls that say when they begin, and that end only when they are told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.go = anyio.Event()

    def call(self, name: str, fails: Exception | None = None) -> Callable[[], Awaitable[str]]:
        async def run_it() -> str:
            self.said.append(f"{name} begins")
            if fails is not None:
                raise fails
            await self.go.wait()
            self.said.append(f"{name} ends")
            return name

        return run_it


async def test_calls_begin_in_order_and_none_waits_for_the_answer_of_the_one_before():
    line = Line()
    results: list[str] = []

    async def all_of_them() -> None:
        results.extend(await in_order([line.call(name) for name in "abc"], at_once_max=8))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(all_of_them)
        await anyio.wait_all_tasks_blocked()
        assert line.said == ["a begins", "b begins", "c begins"]
        line.go.set()
    assert results == ["a", "b", "c"]


async def test_no_more_calls_are_under_way_than_are_allowed():
    line = Line()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_order, [line.call(name) for name in "abc"], 2)
        await anyio.wait_all_tasks_blocked()
        assert line.said == ["a begins", "b begins"]
        line.go.set()
    assert sorted(line.said[2:4]) == ["a ends", "b ends"]
    assert line.said[4:] == ["c begins", "c ends"]


@pytest.mark.parametrize("at_once_max", [1, 2, 8])
async def test_a_call_that_fails_fails_them_all_with_its_own_error(at_once_max: int):
    line = Line()
    line.go.set()
    calls = [line.call("a"), line.call("b", OSError("the wire is cut")), line.call("c")]
    with pytest.raises(OSError, match="the wire is cut"):
        await in_order(calls, at_once_max)
    assert "c ends" not in line.said


async def test_no_calls_have_no_results():
    assert await in_order([], at_once_max=4) == []
