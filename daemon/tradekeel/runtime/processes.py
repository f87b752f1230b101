"""Processes of our own that work beside this one, each at the end of a pipe.

They are begun anew (spawned) rather than forked: a fork would share locks, connections and signal handlers that are only half
there. One whose parent is gone finds its pipe closed, and ends; one that is gone closes its end of the pipe, and the others
work on. One that does not come back to its pipe, because others' code in it hangs, is killed: by its parent, and where
that is gone by a thread of its own. (That takes its turn between two steps of Python: not within one call that never ends.)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.resource_tracker import ensure_running
from types import TracebackType
from typing import Any, Self

from tradekeel.runtime.clock import pause
from tradekeel.runtime.loop import Aside

END_TIMEOUT_S = 20.0
"""How long processes that were told to end, or whose parent is gone, have for it before they are killed."""


class Gone(Exception):
    """A process ended without having been told to. Its exit code says how."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def _work_quietly(end_timeout_s: float, work: Callable[..., None], *args: Any) -> None:
    """Standard output is the parent's, who may be writing for a program there: what others' code prints in here goes nowhere."""
    Aside("parent").look_in(lambda: _end_behind_parent(end_timeout_s))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    work(*args)


def _end_behind_parent(timeout_s: float) -> None:
    """Wait until the parent is gone, and then as long as this process may take to end in order. Behind that it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    pause(timeout_s)
    os.kill(os.getpid(), signal.SIGKILL)


def _end(process: Any, timeout_s: float) -> bool:
    """Wait for the end of a process; whether it had to be killed."""
    process.join(timeout_s)
    if not process.is_alive():
        return False
    process.kill()
    process.join()
    return True


class Crew:
    """``count`` processes that each call ``work(pipe, number, *args)``; what goes through pipes is pickled.

    One that has closed its pipe, was told to end, or has lost its parent, and has not ended within ``end_timeout_s`` is killed.
    """

    def __init__(self, count: int, work: Callable[..., None], *args: Any, end_timeout_s: float = END_TIMEOUT_S) -> None:
        self._end_timeout_s = end_timeout_s
        context = multiprocessing.get_context("spawn")
        self._processes: dict[int, Any] = {}
        self._pipes: dict[int, Connection] = {}
        # Ctrl-C reaches them, too. Until they can say what they do then, they are not to hear of it: it stays blocked in them.
        ensure_running()  # Python's own helper, which would unblock it as it begins
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for number in range(count):
                ours, theirs = context.Pipe()
                words = (end_timeout_s, work, theirs, number, *args)
                process = context.Process(target=_work_quietly, args=words, daemon=True)
                process.start()
                theirs.close()
                self._processes[number], self._pipes[number] = process, ours
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def members(self) -> list[int]:
        """The numbers of those that are there."""
        return list(self._pipes)

    def send(self, number: int, message: Any) -> None:
        """A message for one of them. One that has gone is told of by :meth:`receive`."""
        with suppress(OSError):
            self._pipes[number].send(message)

    def terminate(self) -> None:
        """SIGTERM to all of them, which ends at once whoever has not said what else it is to do then."""
        for process in self._processes.values():
            process.terminate()

    def receive(self, timeout_s: float) -> Iterator[tuple[int, Any]]:
        """What has come by the end of the timeout, from whom; :class:`Gone` for a process that is no more there."""
        names = {id(pipe): number for number, pipe in self._pipes.items()}
        for pipe in wait(list(self._pipes.values()), timeout_s):
            assert isinstance(pipe, Connection)
            number = names[id(pipe)]
            try:
                yield number, pipe.recv()
            except (EOFError, OSError):
                yield number, Gone(self._leave(number))

    def _leave(self, number: int) -> int | None:
        self._pipes.pop(number).close()
        process = self._processes.pop(number)
        _end(process, self._end_timeout_s)
        code: int | None = process.exitcode
        return code

    def close(self) -> None:
        """Close the pipes, wait until the processes have ended, and kill those that do not."""
        for pipe in self._pipes.values():
            pipe.close()
        patience_s = self._end_timeout_s
        for process in self._processes.values():
            if _end(process, patience_s):
                patience_s = 0.0  # the others have had as long
        self._pipes.clear()
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
