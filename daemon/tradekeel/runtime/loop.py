"""The event loop: how it is started and left, who watches that it turns, and the one way to a thread.

With the clock this is the only module that starts bare tasks and threads; everybody else uses task groups,
actors and :class:`BlockingWorker`. Two things need more than a task group gives:

* A task group waits for its tasks for ever. A supervisor must be able to say that a child is lost and leave,
  so children are tasks of their own (:func:`spawn`), and :func:`run` looks for whatever is left at the end:
  nothing leaks silently.
* A thread's work cannot be cancelled. A worker therefore finishes each call before it lets its caller go, unless nobody
  needs to know what became of it: a drawing on a terminal that is stopped, for one.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, Protocol, Self, TypeVar, TypeVarTuple

import anyio

from tradekeel.runtime.errors import LeakedTasks, WorkerClosed

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

#: The exit code of a process that ends itself because it cannot be trusted any more (sysexits: software
#: error).
EXIT_DEFECT = 70

#: How long the last words of a process may take.
END_WITHIN_S = 2.0

#: Tasks that nothing can end are kept here until the process is gone, so that they are not half destroyed
#: before.
_abandoned: list[asyncio.Task[Any]] = []


def run(main: Callable[[*Ts], Awaitable[T]], *args: *Ts, use_uvloop: bool = True, leak_grace_s: float = 1.0) -> T:
    """Run ``main`` on a fresh event loop and return its result.

    Tasks that are left when ``main`` is done are cancelled and get ``leak_grace_s`` to end. If ``main``
    returned, they raise :class:`LeakedTasks`; if it raised, its exception tells about them in a note. Tasks
    that survive even that are abandoned: the loop is closed without them, and the caller should end the
    process.
    """

    async def guarded() -> T:
        try:
            result = await main(*args)
        except BaseException as error:
            left, survivors = await _reap(leak_grace_s)
            if survivors:
                error.add_note(str(LeakedTasks(left, survivors)))
            raise
        left, survivors = await _reap(leak_grace_s)
        if left:
            raise LeakedTasks(left, survivors)
        return result

    return anyio.run(guarded, backend="asyncio", backend_options={"use_uvloop": use_uvloop})


class Stepper:
    """An event loop that is stepped from outside, one coroutine after the other: for programs without one of their own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Let go of the loop."""
        self._runner.close()


def spawn(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task that belongs to no task group. For supervision only: its owner watches how it ends."""
    return asyncio.get_running_loop().create_task(coroutine, name=name)


async def _reap(grace_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cancel every task but this one; returns the names of all that were left and of those that live on."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if not left:
        return (), ()
    for task in left:
        task.cancel()
    _, pending = await asyncio.wait(left, timeout=grace_s)
    for task in pending:
        # The loop's own shutdown would wait for them for ever. This is asyncio's documented extension
        # interface.
        asyncio._unregister_task(task)
        # It is pending when the interpreter drops it, and that has been reported already.
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 - typeshed does not know it
        _abandoned.append(task)
    return _names(left), _names(pending)


def _names(tasks: set[asyncio.Task[Any]]) -> tuple[str, ...]:
    return tuple(sorted(task.get_name() for task in tasks))


async def in_order(calls: Sequence[Callable[[], Awaitable[T]]], at_once_max: int) -> list[T]:
    """Begin calls in their order without waiting for answers in between; their results in the same order.

    Each runs up to its first wait before the next begins, and at most ``at_once_max`` are under way. If one
    raises, the others are cancelled and that error is raised, as if they had been awaited one by one.
    """
    results: list[T] = []
    for start in range(0, len(calls), at_once_max):
        some = calls[start : start + at_once_max]
        results.extend([await call() for call in some] if len(some) == 1 else await _together(some))
    return results


async def _together(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    found: dict[int, T] = {}

    async def one(number: int, call: Callable[[], Awaitable[T]]) -> None:
        found[number] = await call()

    try:
        async with anyio.create_task_group() as tasks:
            for number, call in enumerate(calls):
                tasks.start_soon(one, number, call)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    return [found[number] for number in range(len(calls))]


class Worker(Protocol):
    """Runs blocking calls, one after the other."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def close(self) -> None: ...


class InlineWorker:
    """A worker without a thread, for simulated worlds: each call runs at once, on the event loop."""

    def __init__(self, thread_init: Callable[[], object] | None = None) -> None:
        self._closed = False
        if thread_init is not None:
            thread_init()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise WorkerClosed("the worker is closed")
        return function(*args, **kwargs)

    async def close(self) -> None:
        self._closed = True


class _Job:
    """One call on its way through the worker."""

    __slots__ = ("done", "error", "result", "waiter", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = False
        self.result: Any = None  # whatever the call returns
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None

    def finish(self) -> None:
        """On the event loop: let the caller go on."""
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class BlockingWorker:
    """One thread for calls that block, in order, with one hop there and one back.

    At most ``jobs_max`` calls are on their way; further callers wait their turn. A call cannot be abandoned
    half-way: a cancelled caller is held until its call is done. Where it ``may_be_left`` it goes at once instead, and
    the end of the worker waits for nothing: for calls that may hang and leave nothing half done. ``thread_init`` runs
    once in the thread before the first call. The thread is a daemon thread: one that hangs in the kernel does not keep
    a process from ending.
    """

    def __init__(
        self,
        name: str,
        *,
        thread_init: Callable[[], object] | None = None,
        jobs_max: int = 64,
        may_be_left: bool = False,
    ) -> None:
        assert jobs_max >= 1
        self._may_be_left = may_be_left
        self._name = name
        self._thread_init = thread_init
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = jobs_max
        self._queued: deque[asyncio.Future[None]] = deque()
        self._thread: threading.Thread | None = None  # there from the first call on
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._may_be_left:
            self.abandon()
        else:
            await self.close()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in the thread and return its result, or raise its exception."""
        await self._take_room()
        try:
            if self._closed:
                raise WorkerClosed(f"{self._name} is closed")
            job = _Job(lambda: function(*args, **kwargs))
            await self._finish(job)
        finally:
            self._give_room()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # a job holds any result; the function types it

    async def close(self) -> None:
        """Finish what is queued and end the thread; waits for both, unless its calls may be left."""
        if self._closed:
            return
        if self._may_be_left:
            self.abandon()
            return
        self._closed = True
        if self._thread is not None:
            last = _Job(lambda: None)
            await self._finish(last)
            self._jobs.put(None)
            self._thread.join()  # the thread has nothing left to do: it ends at once

    def abandon(self) -> None:
        """End the thread after what it is at, without waiting: it may never come back from that."""
        self._closed = True
        self._jobs.put(None)

    async def _take_room(self) -> None:
        if self._room > 0:
            self._room -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queued.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_room()
            raise

    def _give_room(self) -> None:
        """Hand this caller's room to the next one that waits."""
        while self._queued:
            turn = self._queued.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._room += 1

    async def _finish(self, job: _Job) -> None:
        """Queue the job and wait until it is done, whoever cancels (unless it may be left)."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            thread = threading.Thread(target=self._work, args=(loop,), name=self._name, daemon=True)
            thread.start()  # RuntimeError where the system has no more threads: then the next call tries again
            self._thread = thread
        self._jobs.put(job)
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=not self._may_be_left):
            while not job.done:
                job.waiter = loop.create_future()
                try:
                    await job.waiter
                except asyncio.CancelledError as error:  # of one that may be left; or past the shield, by Task.cancel()
                    if self._may_be_left:
                        raise
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        init_error = self._initialise()
        while (job := self._jobs.get()) is not None:
            try:
                if init_error is not None:
                    raise init_error
                job.result = job.work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, and is raised there
                job.error = error
            try:
                loop.call_soon_threadsafe(job.finish)
            except RuntimeError:
                return  # the loop was closed around us: nobody waits any more

    def _initialise(self) -> BaseException | None:
        try:
            if self._thread_init is not None:
                self._thread_init()
        except BaseException as error:  # noqa: BLE001 - every call raises it, so its owner hears of it
            return error
        return None


def in_time(function: Callable[[], object], within_s: float) -> bool:
    """Call it in a thread of its own, and wait so long at most. False: it is at it still, and is left there.

    For what may hang and must keep nobody, where there need not be an event loop. What it raises in time is raised here.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - it is the caller's, and is raised there
            raised.append(error)

    thread = threading.Thread(target=work, name="in-time", daemon=True)
    thread.start()
    thread.join(within_s)
    if thread.is_alive():
        return False
    if raised:
        raise raised[0]
    return True


class Aside:
    """One call at a time in a thread of its own, which whoever asks for it looks in on: nobody waits for it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._job: _Job | None = None

    def look_in(self, function: Callable[[], T]) -> T | None:
        """Begin the call where none is under way; None while it goes on. Once: its result, or what it raised."""
        job = self._job
        if job is None:
            job = self._job = _Job(function)
            threading.Thread(target=self._work, args=(job,), name=self._name, daemon=True).start()
        if not job.done:
            return None
        self._job = None
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # a job holds any result; the function types it

    @staticmethod
    def _work(job: _Job) -> None:
        try:
            job.result = job.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody looks in
            job.error = error
        job.done = True


class LoopGuard:
    """Watches from a thread that the event loop turns.

    A task that computes or blocks without end stops every other task, supervisors and timers included; only a
    thread can see it. ``on_blocked(seconds)`` is called in that thread once the loop has not turned for
    ``limit_s``; by default it writes every stack to stderr and ends the process with :data:`EXIT_DEFECT`.
    Time in which the whole process stood still (stopped, swapped out, a sleeping machine) hardly counts: the
    thread stood still, too.
    """

    def __init__(self, limit_s: float, on_blocked: Callable[[float], object] | None = None) -> None:
        assert limit_s > 0
        self._limit_s = limit_s
        self._step_s = limit_s / 8
        self._on_blocked = on_blocked if on_blocked is not None else dump_stacks_and_exit
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-guard", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        self._timer = asyncio.get_running_loop().call_later(self._step_s, self._beat)

    def _watch(self) -> None:
        seen, blocked_s, before_s = self._beats, 0.0, time.monotonic()
        while not self._stopped.wait(self._step_s):
            now_s = time.monotonic()
            blocked_s += min(now_s - before_s, 2 * self._step_s)
            before_s = now_s
            if self._beats != seen:
                seen, blocked_s = self._beats, 0.0
            elif blocked_s >= self._limit_s:
                self._on_blocked(blocked_s)
                blocked_s = 0.0


def end_for_certain(code: int) -> None:
    """From here on the process ends with this code within :data:`END_WITHIN_S`, whatever the last words hang on.

    What they are written to may be a terminal that is stopped, or a pipe that nobody reads.
    """

    def end() -> None:
        time.sleep(END_WITHIN_S)
        os._exit(code)

    try:
        threading.Thread(target=end, name="end", daemon=True).start()
    except RuntimeError:  # no thread is to be had: then there are no last words
        os._exit(code)


def dump_stacks_and_exit(blocked_s: float) -> None:
    """For a :class:`LoopGuard`: the loop that would end the process in order does not turn."""
    end_process(f"the event loop has not turned for {blocked_s:.1f} s")


def end_process(why: str) -> None:
    """Say why and where every thread is, and end the process: something in it cannot be ended in order.

    The end is certain, and the words are not: what hangs may be the very stream that they are written to.
    """
    end_for_certain(EXIT_DEFECT)
    try:
        sys.stderr.write(f"{why}; the process ends\n{_stacks()}")
        sys.stderr.flush()
    finally:
        os._exit(EXIT_DEFECT)


def _stacks() -> str:
    """Where every thread is. Read through a pipe that never blocks: while it is written no other thread can do anything."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # what is more than it holds is left out
    with os.fdopen(reader, errors="replace") as stacks:
        faulthandler.dump_traceback(writer, all_threads=True)
        os.close(writer)
        return stacks.read()
