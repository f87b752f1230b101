"""Supervisors: they start children in order, restart them by the rules of :mod:`~tradekeel.runtime.restart`,
stop them in reverse, and fail themselves when restarting does not help.

A supervisor does one thing at a time, in one loop: bury who has ended, do what it was asked, start who is
due. Where ours differs from OTP's, it is on purpose:

* A start that fails counts as a failure of a running child: it is tried again within the intensity (OTP fails
  the whole supervisor when it happens at first).
* Children may have a back-off. Under ``rest_for_one`` and ``one_for_all`` those that come after a child in
  back-off wait for it; under ``one_for_one`` nobody does. A supervisor is started once every child is, or
  waits for a back-off.
* A child that lives on after its cancellation cannot be replaced beside itself: :class:`StuckActor` goes
  straight to the top, through every supervisor, and ends the process. Nobody is stopped in order on that way;
  what was durable stays so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

import anyio

from tradekeel.runtime.cell import Cell, Waker
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.errors import (
    ActorDied,
    HopelessChild,
    RestartsExhausted,
    StartFailed,
    StartTimeout,
    StopFailed,
    StuckActor,
)
from tradekeel.runtime.fault import Action, Fault
from tradekeel.runtime.restart import (
    Ending,
    Intensity,
    RestartType,
    Strategy,
    admit_restart,
    affected,
    backoff_delay_s,
    failures_in_a_row,
    should_restart,
)

if TYPE_CHECKING:
    from tradekeel.runtime.system import ActorSystem

__all__ = ["ChildSpec", "RestartHook", "Supervisor"]

RestartHook = Callable[[str, int, BaseException | None], object]


class _State(Enum):
    PENDING = "pending"  # to be started, at once or when its back-off is over
    UP = "up"
    DONE = "done"  # ended for good, or removed


class _Slot:
    """One place in the start order and who is in it."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state = _State.PENDING
        self.cell: Cell | None = None
        self.not_before_s = 0.0
        self.failures = 0  # in a row, for the back-off


class Supervisor:
    """A supervisor; itself a child of another one, or the root of a system."""

    def __init__(
        self,
        name: str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        children: Sequence[ChildSpec] = (),
        intensity: Intensity | None = None,
        *,
        on_restart: RestartHook | None = None,
    ) -> None:
        names = [spec.name for spec in children]
        assert len(set(names)) == len(names), f"{name}: children need different names"
        self.name = name
        self.strategy = strategy
        self.intensity = intensity if intensity is not None else Intensity()
        self._slots = [_Slot(spec) for spec in children]
        self._on_restart = on_restart
        self._restarts_s: tuple[float, ...] = ()
        self._stopping = False
        self._live = False
        self._used = False
        self._commands: deque[tuple[Callable[[], Awaitable[None]], asyncio.Future[None]]] = deque()

    # --- what others call
    # ----------------------------------------------------------------------------------------

    async def restart_child(self, name: str) -> None:
        """Stop a child in order and start it again, outside of the intensity; it alone, whatever the
        strategy.

        Raises StartFailed if it does not start; it is then treated like any child that failed. Raises LookupError if there is
        none of this name.
        """
        await self._ask(partial(self._restart, name))

    @property
    def children(self) -> tuple[str, ...]:
        """The names of the children, in start order."""
        return tuple(slot.spec.name for slot in self._slots)

    # --- what the runtime calls
    # ----------------------------------------------------------------------------------

    async def run_in(self, cell: Cell) -> None:
        assert not self._used, f"{self.name}: a factory makes a new supervisor each time"
        self._used = True
        self._system: ActorSystem = cell.system
        self._clock = cell.system.clock
        self._waker = Waker(self._clock)
        self._system.supervisors[self.name] = self
        self._live = True
        try:
            await self._supervise(cell)
        except StuckActor:
            raise
        except BaseException:
            await self._kill()
            raise
        finally:
            self._live = False
            self._system.supervisors.pop(self.name, None)
            while self._commands:
                _settle(self._commands.popleft()[1], ActorDied(self.name))

    def request_stop(self) -> None:
        self._stopping = True
        if self._live:
            self._waker.poke()

    def before_cancel(self) -> None:
        """Nothing: the order in which children are cancelled is settled when the cancellation arrives."""

    def stop_budget_s(self, shutdown_s: float, grace_s: float) -> float:
        budgets_s = [
            slot.cell.stop_budget_s() + grace_s * self.levels() for slot in self._slots if slot.cell is not None
        ]
        return max(shutdown_s, sum(budgets_s) + grace_s)

    def levels(self) -> int:
        cells = [slot.cell.child for slot in self._slots if slot.cell is not None]
        return 1 + max((child.levels() for child in cells if child is not None), default=0)

    # --- the loop
    # ------------------------------------------------------------------------------------------------

    async def _supervise(self, cell: Cell) -> None:
        while not self._stopping and (self._next_to_start() is not None or self._someone_leaves()):
            await self._round()
        if not self._stopping:
            cell.mark_started()
        while not self._stopping:
            if await self._waker.until(self._has_work, self._next_start_in_s()) or self._next_to_start():
                await self._round()
        if failures := await self._stop_slots(self._slots, Action.STOP):
            raise StopFailed(self.name, failures)

    def _has_work(self) -> bool:
        return self._someone_leaves() or bool(self._commands) or self._stopping

    def _someone_leaves(self) -> bool:
        return any(slot.cell is not None and slot.cell.leaving for slot in self._slots)

    def _is_overtaken(self, slot: _Slot) -> bool:
        """Whether somebody it depends on fails while it is being started: it will be stopped, so nobody waits for it.

        It may well be waiting for the very one that failed.
        """
        if self.strategy is Strategy.ONE_FOR_ONE:
            return False
        before = self._slots[: self._slots.index(slot)]
        return any(o.cell is not None and o.cell.leaving and o.cell.error is not None for o in before)

    async def _round(self) -> None:
        """Bury who has ended, do what was asked, start who is due: one step of each, then look again."""
        for slot in list(self._slots):
            if slot.cell is not None and slot.cell.leaving and not self._stopping:
                await self._bury(slot)
        if self._commands and not self._stopping:
            await self._obey(*self._commands.popleft())
        if not self._stopping and (due := self._next_to_start()) is not None:
            started = await self._start(due)
            if not started and not self._stopping:
                await self._bury(due)

    def _next_to_start(self) -> _Slot | None:
        """The first child that is due; where the order binds, nobody passes one that waits or has just failed."""
        ordered = self.strategy is not Strategy.ONE_FOR_ONE
        now_s = self._clock.monotonic()
        for slot in self._slots:
            if slot.state is _State.PENDING and slot.not_before_s <= now_s:
                return slot
            failed = slot.cell is not None and slot.cell.leaving
            if ordered and (failed or slot.state is _State.PENDING):
                return None
        return None

    def _next_start_in_s(self) -> float | None:
        """How long until a back-off ends."""
        waits_s = [slot.not_before_s for slot in self._slots if slot.state is _State.PENDING]
        if not waits_s:
            return None
        next_s = min(waits_s) if self.strategy is Strategy.ONE_FOR_ONE else waits_s[0]
        return max(0.0, next_s - self._clock.monotonic())

    # --- one child
    # -----------------------------------------------------------------------------------------------

    async def _start(self, slot: _Slot) -> bool:
        """Start a child; False if it failed at that. What comes meanwhile and stops it ends the wait, not in failure."""
        spec = slot.spec
        cell = slot.cell = Cell(spec.name, spec.factory, self._system, self._waker, spec.shutdown_s)
        slot.state = _State.UP
        if await cell.start(spec.start_timeout_s, lambda: self._stopping or self._is_overtaken(slot)):
            return True
        if cell.leaving:
            return False
        if self._stopping or self._is_overtaken(slot):
            return True
        assert spec.start_timeout_s is not None
        cell.leave(StartTimeout(spec.name, spec.start_timeout_s))
        cell.cancel()
        await cell.expect_end()
        return False

    async def _bury(self, slot: _Slot) -> None:
        """A child failed or finished: see it out, then restart it with whom it concerns, forget it, or give up."""
        cell = await self._see_out(slot)
        ending = cell.ending()
        if not should_restart(slot.spec.restart, ending):
            self._forget(slot, cell, ending)
            return
        if cell.error is not None and self._system.is_hopeless(cell.error):
            self._report(cell, ending, Action.ESCALATE)
            await self._stop_slots(self._slots, Action.STOP)
            raise HopelessChild(self.name, slot.spec.name) from cell.error
        now_s = self._clock.monotonic()
        self._restarts_s, admitted = admit_restart(self._restarts_s, now_s, self.intensity)
        if not admitted:
            self._report(cell, ending, Action.ESCALATE)
            await self._stop_slots(self._slots, Action.STOP)
            limits = (self.intensity.restarts_max, self.intensity.period_s)
            raise RestartsExhausted(self.name, slot.spec.name, *limits) from cell.error
        delay_s = self._backoff_s(slot, cell, now_s)
        slot.not_before_s = now_s + delay_s
        self._report(cell, ending, Action.RESTART, delay_s)
        concerned = [self._slots[i] for i in affected(self.strategy, self._slots.index(slot), len(self._slots))]
        await self._stop_slots(concerned, Action.RESTART)
        for other in concerned:
            # OTP: a temporary child that goes down with a sibling stays down; whoever else was in the group
            # comes up.
            stays_down = other is not slot and other.spec.restart is RestartType.TEMPORARY
            other.state = _State.DONE if stays_down else _State.PENDING

    async def _see_out(self, slot: _Slot) -> Cell:
        """Wait until a child that is leaving is gone; who does not go in time goes to the top."""
        cell = slot.cell
        assert cell is not None
        if not cell.ended:
            await cell.finish()
        slot.cell = None
        if isinstance(cell.error, StuckActor):
            raise cell.error
        return cell

    def _forget(self, slot: _Slot, cell: Cell, ending: Ending) -> None:
        slot.state = _State.DONE
        if slot.spec.restart is RestartType.TEMPORARY:
            self._slots.remove(slot)
        self._report(cell, ending, Action.FORGET)

    def _backoff_s(self, slot: _Slot, cell: Cell, now_s: float) -> float:
        backoff = slot.spec.backoff
        if backoff is None:
            return 0.0
        lived_s = 0.0 if cell.ready_s is None else now_s - cell.ready_s
        slot.failures = failures_in_a_row(backoff, slot.failures, lived_s)
        return backoff_delay_s(backoff, slot.failures, self._system.random)

    async def _stop_slots(self, slots: Sequence[_Slot], action: Action) -> tuple[tuple[str, BaseException], ...]:
        """Stop children, the last started first; returns who failed at that, and with what."""
        failures: list[tuple[str, BaseException]] = []
        for slot in reversed(slots):
            if slot.cell is None:
                continue
            if not slot.cell.ended:
                await slot.cell.stop()
            cell = await self._see_out(slot)
            slot.state = _State.DONE
            if cell.error is not None:
                failures.append((slot.spec.name, cell.error))
                self._report(cell, Ending.ERROR, action)
            elif cell.cancelled and cell.started:
                self._report(cell, Ending.KILLED, action)
        return tuple(failures)

    async def _kill(self) -> None:
        """This supervisor was cancelled or failed: cancel every child, and wait as long as the grace allows."""
        cells = [slot.cell for slot in reversed(self._slots) if slot.cell is not None]
        with anyio.CancelScope(shield=True):
            for cell in cells:
                cell.cancel()
            for cell in cells:
                await cell.expect_end()

    def _report(self, cell: Cell, ending: Ending, action: Action, delay_s: float = 0.0) -> None:
        fault = Fault(self.name, cell.name, cell.incarnation, ending, cell.error, action, delay_s)
        self._system.on_fault(fault)
        if action is Action.RESTART and self._on_restart is not None:
            self._on_restart(cell.name, cell.incarnation, cell.error)

    # --- what it was asked
    # ---------------------------------------------------------------------------------------

    async def _ask(self, action: Callable[[], Awaitable[None]]) -> None:
        if not self._live or self._stopping:
            raise ActorDied(self.name)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commands.append((action, done))
        self._waker.poke()
        await done

    async def _obey(self, action: Callable[[], Awaitable[None]], done: asyncio.Future[None]) -> None:
        try:
            await action()
        except (StartFailed, LookupError) as error:
            _settle(done, error)
        except BaseException:
            _settle(done, ActorDied(self.name, "it failed"))
            raise
        else:
            _settle(done, None)

    async def _restart(self, name: str) -> None:
        slot = self._find(name)
        await self._stop_slots([slot], Action.STOP)
        if not await self._start(slot):
            error = slot.cell.error if slot.cell is not None else None
            await self._bury(slot)
            raise StartFailed(name, repr(error)) from error

    def _find(self, name: str) -> _Slot:
        for slot in self._slots:
            if slot.spec.name == name:
                return slot
        raise LookupError(f"{self.name} has no child named {name}")


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return  # whoever asked has gone
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
