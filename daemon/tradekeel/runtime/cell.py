"""A cell: one incarnation of one child, actor or supervisor, and everything its supervisor knows about it.

Its life is four facts that only ever become true: *started* (ready for work), *leaving* (on its way out: it
finished or failed), *ended* (its task is gone), and the *error* it left with. Whenever one of them changes,
the supervisor is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import anyio

from tradekeel.runtime.clock import Clock, move_on_after
from tradekeel.runtime.errors import ChildCancelled, StuckActor
from tradekeel.runtime.loop import spawn
from tradekeel.runtime.restart import Ending

if TYPE_CHECKING:
    from tradekeel.runtime.system import ActorSystem


class Child(Protocol):
    """What a cell runs: an actor or a supervisor."""

    async def run_in(self, cell: Cell) -> None:
        """Live; returns when the child has ended in order, raises when it failed."""
        ...

    def request_stop(self) -> None:
        """Begin to end in order."""
        ...

    def before_cancel(self) -> None:
        """The cell is about to be cancelled: cancel own tasks first where their order matters."""
        ...

    def stop_budget_s(self, shutdown_s: float, grace_s: float) -> float:
        """How long an orderly stop may take, given what its spec says."""
        ...

    def levels(self) -> int:
        """How many levels of supervision stand on this child: each needs its own grace after a cancellation."""
        ...


class Waker:
    """Lets one task wait for conditions that change under it, with deadlines on the injected clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._poked = asyncio.Event()

    def poke(self) -> None:
        self._poked.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until ``condition`` holds; False if it does not by the deadline."""
        if condition():
            return True
        with move_on_after(self._clock, timeout_s):
            while not condition():
                self._poked.clear()
                await self._poked.wait()
        return condition()


class Cell:
    """One incarnation of one child."""

    def __init__(
        self,
        name: str,
        factory: Callable[[], Child],
        system: ActorSystem,
        waker: Waker,
        shutdown_s: float,
    ) -> None:
        self.name = name
        self.shutdown_s = shutdown_s
        self.system = system
        self.child: Child | None = None
        self.incarnation = 0
        self.started = False
        self.leaving = False
        self.ended = False
        self.stop_requested = False
        self.cancelled = False
        self.error: BaseException | None = None
        self.ready_s: float | None = None
        self._factory = factory
        self._waker = waker
        self._scope = anyio.CancelScope()

    def launch(self) -> None:
        spawn(self._live(), self.name)

    def mark_started(self) -> None:
        self.started = True
        self.ready_s = self.system.clock.monotonic()
        self._waker.poke()

    def leave(self, error: BaseException | None = None) -> None:
        """The child is on its way out; the first error is the one that counts."""
        self.leaving = True
        if self.error is None and error is not None:
            self.error = unwrapped(error)
        self._waker.poke()

    def cancel(self) -> None:
        if not self.cancelled and self.child is not None:
            self.child.before_cancel()
        self.cancelled = True
        self._scope.cancel()

    async def start(self, timeout_s: float | None, interrupted: Callable[[], bool]) -> bool:
        """Launch and wait until the child is ready; False if it failed, took too long or somebody interrupted."""
        self.launch()
        await self._waker.until(lambda: self.child is not None or self.leaving)
        if self.child is not None and self.child.levels():
            timeout_s = None  # a supervisor's start is bounded by the limits of its children
        await self._waker.until(lambda: self.started or self.leaving or interrupted(), timeout_s)
        return self.started

    def request_stop(self) -> None:
        self.stop_requested = True
        if self.child is None:
            self.cancel()
        else:
            self.child.request_stop()

    async def stop(self) -> None:
        """Stop in order within the deadline, then by cancellation; :class:`StuckActor` if even that does not help."""
        self.request_stop()
        await self.finish()

    async def finish(self) -> None:
        """Wait for the end of a child that is on its way out; cancel it at its deadline."""
        budget_s = self.stop_budget_s()
        if not await self._waker.until(lambda: self.ended, budget_s):
            self.cancel()
            await self.expect_end(budget_s)

    async def expect_end(self, waited_s: float = 0.0) -> None:
        """Wait for the end of a child that was cancelled."""
        levels = 0 if self.child is None else self.child.levels()
        grace_s = self.system.grace_s * (levels + 1)
        if not await self._waker.until(lambda: self.ended, grace_s):
            raise StuckActor(self.name, waited_s + grace_s)

    def stop_budget_s(self) -> float:
        if self.child is None:
            return self.shutdown_s
        return self.child.stop_budget_s(self.shutdown_s, self.system.grace_s)

    def ending(self) -> Ending:
        """How it ended, in the words of the restart rules."""
        assert self.ended
        if self.stop_requested:
            return Ending.STOPPED
        if not self.started:
            return Ending.START_FAILED
        if self.error is not None and not isinstance(self.error, ChildCancelled):
            return Ending.ERROR
        return Ending.KILLED if self.cancelled or self.error is not None else Ending.NORMAL

    async def _live(self) -> None:
        try:
            with self._scope:
                if not self.cancelled:
                    self.child = self._factory()
                    self._waker.poke()
                    await self.child.run_in(self)
        except asyncio.CancelledError:
            self.leave(ChildCancelled(self.name))
        except Exception as error:  # noqa: BLE001 - not swallowed: the supervisor decides what happens now
            self.leave(error)
        except BaseException as error:
            self.leave(error)
            raise
        finally:
            self.ended = True
            self.leave()


def unwrapped(error: BaseException) -> BaseException:
    """The one error inside groups of one: task groups wrap whatever passes through them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
