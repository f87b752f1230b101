"""An actor: one owner of some state, one mailbox, one message at a time.

Subclasses answer messages in :meth:`Actor.handle` and never await I/O there: what waits for the outside world
is a child task (:meth:`Actor.spawn`) or a request (:meth:`Actor.request`) whose outcome comes back as a
message. An exception that leaves a handler or a child task crashes the actor; its supervisor decides what
happens then.

The life of an incarnation: ``on_start`` → mail → (told to stop, or :meth:`Actor.finish`) → the mailbox is
sealed, what it holds is drained → ``on_stop`` → child tasks are cancelled → resources are closed. A crash or
a cancellation skips the drain and ``on_stop``, never the rest. A new incarnation is a new object with a new,
empty mailbox; mail that the old one left, and requests it did not answer, are dead letters and fail at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVarTuple

import anyio
import anyio.abc

from tradekeel.runtime import faults
from tradekeel.runtime.clock import Clock, move_on_after
from tradekeel.runtime.deadletters import DeadLetter, DeadLetters
from tradekeel.runtime.errors import ChildCancelled, MailboxFull
from tradekeel.runtime.mailbox import Envelope, Lane, Mailbox, MailboxLimits
from tradekeel.runtime.metrics import ActorMetrics, ActorState
from tradekeel.runtime.reference import ActorRef, Request
from tradekeel.runtime.reply import Reply

if TYPE_CHECKING:
    from tradekeel.runtime.cell import Cell
    from tradekeel.runtime.system import ActorSystem

__all__ = ["Actor", "ActorRef", "DeadLetter", "DeadLetters", "Envelope", "Lane", "MailboxLimits", "Reply"]

Ts = TypeVarTuple("Ts")


class Actor:
    """Base of all actors. Messages are Any here: each actor names its own vocabulary in its signatures.

    The attributes are bound before ``on_start``; an ``__init__`` of a subclass takes what the actor needs
    from outside and must not send mail.
    """

    mailbox_limits: MailboxLimits = MailboxLimits()
    batch_max: int = 256

    name: str
    system: ActorSystem
    clock: Clock
    incarnation: int
    ref: ActorRef
    resources: AsyncExitStack  # what to close at the end, however it comes

    _cell: Cell
    _box: Mailbox
    _metrics: ActorMetrics
    _tasks: anyio.abc.TaskGroup
    _gone = False
    _position: int | None = None  # how many messages of a batch were begun; None where handle_batch is overridden
    _drain_until_s: float
    _requests: set[Request]
    _child_scopes: dict[int, anyio.CancelScope]
    _spawned = 0

    # --- what subclasses write
    # -----------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Get ready; mail that comes meanwhile waits. The actor counts as started when this returns.

        Whoever starts after this actor waits for it: what may take long, like a connection, is a child task.
        """

    async def handle(self, message: Any, reply: Reply | None) -> None:
        """Handle one message; ``reply`` is there when it is a request, and is answered now or later, once."""
        raise NotImplementedError

    async def handle_batch(self, envelopes: list[Envelope]) -> None:
        """Handle a batch. This one handles message after message and serves control mail in between.

        Overridden where a batch is cheaper than its messages; control mail then waits for the end of the
        batch.
        """
        self._position = 0
        for message, reply in envelopes:
            while self._box.control_waits:
                urgent = self._box.pop_control()
                await self.handle(urgent.message, urgent.reply)
                self._metrics.handled += 1
            self._position += 1
            await self.handle(message, reply)

    async def on_stop(self) -> None:
        """End in order: everything that was in the mailbox is handled; child tasks still run."""

    @property
    def works(self) -> bool:
        """Whether a piece of work that it gave to a thread or to the network is under way.

        The watchdog then expects progress as if a handler were running.
        """
        return False

    def settled(self) -> bool:
        """Whether nothing is in flight whose outcome must come back before ``on_stop``.

        A stopping actor waits for it, for at most half of its shutdown deadline. By default open requests
        count.
        """
        return not self._requests

    # --- what subclasses call
    # ------------------------------------------------------------------------------------

    def spawn(self, function: Callable[[*Ts], Awaitable[Any]], *args: *Ts, name: str | None = None) -> None:
        """Start a child task; it is cancelled when the actor ends, and its exception crashes the actor."""
        label = f"{self.name}/{name or getattr(function, '__name__', 'task')}"
        self._tasks.start_soon(partial(self._guard, function, args, label), name=label)

    def post(self, message: Any) -> None:
        """Put what a child task found out into this actor's own mailbox; never waits, also accepted while stopping."""
        if self._gone:
            self.system.dead_letters.add(self.name, message, "the actor has ended")
        else:
            self._box.put_result(message)

    def request(
        self,
        to: ActorRef,
        message: Any,
        into: Callable[[Any], Any],
        *,
        timeout_s: float,
        lane: Lane = Lane.RELIABLE,
    ) -> None:
        """Ask another actor without a task and without waiting: the answer comes back as the message
        ``into(answer)``.

        ``into`` gets the answer, or the exception where there is none (ActorDied, RequestTimeout, or what the
        other actor failed it with). A place in this mailbox is reserved for each; MailboxFull when all are
        taken.
        """
        limit = self.mailbox_limits.results_max
        if len(self._requests) + self._box.results_waiting >= limit:
            raise MailboxFull(Lane.RESULTS.value, limit)
        try:
            asked = to.begin(message, timeout_s=timeout_s, lane=lane)
        except Exception as error:  # noqa: BLE001 - not swallowed: it is the answer
            self.post(into(error))
            return
        self._requests.add(asked)
        asked.future.add_done_callback(partial(self._answered, asked, into))

    def finish(self) -> None:
        """End in order, by itself: the mailbox is drained, ``on_stop`` runs, and the ending counts as normal."""
        self._seal()
        self._cell.leave()

    def waiting(self, reason: str, until_s: float) -> None:
        """Tell the watchdog why this actor makes no progress, and until which monotonic time that is all right."""
        self._metrics.waiting_reason = reason
        self._metrics.waiting_until_s = until_s

    # --- what the runtime calls
    # ----------------------------------------------------------------------------------

    async def run_in(self, cell: Cell) -> None:
        self._cell = cell
        self.resources = AsyncExitStack()
        self._requests = set()
        self._child_scopes = {}
        cell.system.register(self, cell)
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    await self._run()
                except BaseException as error:
                    self._leave(error)
                    raise
                self._leave(None)
                self._tasks.cancel_scope.cancel()
        finally:
            await self._close_resources()

    def request_stop(self) -> None:
        if self._metrics.state is ActorState.STARTING:
            self._cell.cancel()  # a stop before the start is done saves nothing
        else:
            self._seal()

    def before_cancel(self) -> None:
        """Child tasks are cancelled in the order they were started, so that a run on a manual clock repeats itself.

        A task group would cancel them in the order of their addresses.
        """
        for scope in list(self._child_scopes.values()):
            scope.cancel()

    def stop_budget_s(self, shutdown_s: float, grace_s: float) -> float:
        return shutdown_s

    def levels(self) -> int:
        return 0

    @property
    def figures(self) -> ActorMetrics:
        return self._metrics

    @property
    def mail_depth(self) -> int:
        return self._box.depth

    @property
    def progress(self) -> int:
        """A number that changes whenever something was handled."""
        return self._metrics.handled + (self._position or 0)

    # --- inside
    # --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self.on_start()
        if self._metrics.state is ActorState.STARTING:
            self._metrics.state = ActorState.RUNNING
        self._cell.mark_started()
        while batch := await self._next_batch():
            await self._handle_timed(batch)
        await self.on_stop()

    async def _next_batch(self) -> list[Envelope]:
        """The next batch; none left means that it is time for ``on_stop``."""
        box = self._box
        while True:
            if batch := await box.receive(self.batch_max):
                return batch
            if box.sealed:
                break
        # Drained. What is still in flight may come back until the drain's deadline.
        while not self.settled() and (left_s := self._drain_until_s - self.clock.monotonic()) > 0:
            with move_on_after(self.clock, left_s):
                if batch := await box.receive(self.batch_max, linger=True):
                    return batch
        return []

    async def _handle_timed(self, batch: list[Envelope]) -> None:
        metrics, box, monotonic = self._metrics, self._box, self.clock.monotonic
        since_s = box.waiting_since_s
        box.waiting_since_s = None
        if since_s is None:
            since_s = metrics.last_progress_s
        metrics.busy_since_s = monotonic()
        try:
            if faults.is_armed():
                for envelope in batch:
                    faults.point(f"{self.name}:{type(envelope.message).__name__}")
            await self.handle_batch(batch)
        except BaseException:
            self._bury_rest(batch)
            raise
        now_s = monotonic()
        self._position = None
        metrics.handled += len(batch)
        metrics.batches += 1
        metrics.busy_since_s = metrics.waiting_reason = None
        metrics.last_progress_s = now_s
        metrics.latency.add(now_s - since_s)

    def _bury_rest(self, batch: list[Envelope]) -> None:
        """What an unfinished batch leaves; all of it where the actor handles whole batches, which hide how far."""
        for envelope in batch[self._position or 0 :]:
            self.system.dead_letters.add(self.name, envelope.message, "the actor ended in the middle of a batch")

    def _seal(self) -> None:
        if self._box.sealed:
            return
        self._drain_until_s = self.clock.monotonic() + self._cell.shutdown_s / 2
        self._metrics.state = ActorState.STOPPING
        for envelope in self._box.seal():
            self.system.dead_letters.add(self.name, envelope.message, "the actor is stopping")

    def _leave(self, error: BaseException | None) -> None:
        """From here on nobody can reach this incarnation, however long its tasks take to end."""
        if not self._gone:
            self._gone = True
            self.system.unregister(self)
            for asked in list(self._requests):
                asked.close()  # nobody is here any more to hear the answer
            self.before_cancel()
            cancelled = isinstance(error, asyncio.CancelledError)
            self._cell.leave(None if cancelled else error)

    async def _guard(self, function: Callable[[*Ts], Awaitable[Any]], args: tuple[*Ts], label: str) -> None:
        self._spawned = number = self._spawned + 1
        try:
            with anyio.CancelScope() as self._child_scopes[number]:
                await function(*args)
        except asyncio.CancelledError as error:
            if self._gone or self._cell.cancelled:
                raise
            # Cancelled by somebody else: a task that just vanished would be missed by nobody.
            self._leave(failure := ChildCancelled(label))
            raise failure from error
        except Exception as error:
            self._leave(error)
            raise
        finally:
            self._child_scopes.pop(number, None)

    def _answered(self, asked: Request, into: Callable[[Any], Any], future: asyncio.Future[Any]) -> None:
        asked.close()
        self._requests.discard(asked)
        if future.cancelled() or self._gone:
            return  # nobody is here any more to hear the answer
        error = future.exception()
        try:
            self._box.put_answer(into(future.result() if error is None else error))
        except Exception as failure:  # noqa: BLE001 - not swallowed: nobody awaits a callback, so the actor fails here
            self._leave(failure)
            self._cell.cancel()

    async def _close_resources(self) -> None:
        """Bounded: a resource that cannot be closed is given up, and what held it ends with the process."""
        with anyio.CancelScope(shield=True), move_on_after(self.clock, self.system.grace_s / 2):
            await self.resources.aclose()
