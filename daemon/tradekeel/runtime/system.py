"""The actor system: who lives under which name, and what a tree of supervisors needs from the world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import anyio

from tradekeel.runtime.actor import Actor
from tradekeel.runtime.cell import Cell, Waker
from tradekeel.runtime.clock import Clock, SystemClock, make_random
from tradekeel.runtime.deadletters import DeadLetter, DeadLetters
from tradekeel.runtime.errors import ActorDied, ActorError
from tradekeel.runtime.fault import Fault
from tradekeel.runtime.mailbox import Mailbox
from tradekeel.runtime.metrics import ActorMetrics, ActorSnapshot, ActorState
from tradekeel.runtime.reference import ActorRef, Directory
from tradekeel.runtime.supervisor import Supervisor


class ActorSystem:
    """One tree of supervisors with its directory of names, dead letters and figures.

    ``on_fault`` hears of every child that ended otherwise than by being stopped in order. An error that ``is_hopeless`` is not
    met with a restart: its supervisor gives up at once. ``grace_s`` is how
    long a cancelled child may take to end before the process has to end instead.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        random: Random | None = None,
        grace_s: float = 1.0,
        dead_letters_kept: int = 100,
        on_dead_letter: Callable[[DeadLetter], object] | None = None,
        on_fault: Callable[[Fault], object] | None = None,
        is_hopeless: Callable[[BaseException], bool] | None = None,
    ) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random = random if random is not None else make_random()
        self.grace_s = grace_s
        self.dead_letters = DeadLetters(dead_letters_kept, on_dead_letter)
        self.on_fault: Callable[[Fault], object] = on_fault if on_fault is not None else lambda fault: None
        self.is_hopeless: Callable[[BaseException], bool] = is_hopeless or (lambda error: False)
        self.actors: dict[str, Actor] = {}
        self.metrics: dict[str, ActorMetrics] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self._directory = Directory(self.clock, self.dead_letters)
        self._root: Cell | None = None
        self._over = asyncio.Event()

    # --- the tree
    # ------------------------------------------------------------------------------------------------

    async def run(self, root: Supervisor, on_started: Callable[[], object] | None = None) -> None:
        """Run the tree until it is stopped; raises what its root fails with (RestartsExhausted, StuckActor, ...).

        ``on_started`` is called when every child was started, or gave up its first try.
        """
        assert self._root is None, "a system runs once"
        waker = Waker(self.clock)
        cell = self._root = Cell(root.name, lambda: root, self, waker, self.grace_s)
        try:
            if await cell.start(None, lambda: False) and on_started is not None:
                on_started()
            await waker.until(lambda: cell.ended)
        except BaseException:
            with anyio.CancelScope(shield=True):
                cell.cancel()
                await cell.expect_end()
            raise
        finally:
            self._over.set()
        if cell.error is not None:
            raise cell.error

    def request_stop(self) -> None:
        """Begin to stop the tree in order. Actors call this one: waiting for one's own end never ends."""
        if self._root is not None and not self._root.stop_requested:
            self._root.request_stop()

    async def stop(self) -> None:
        """Stop the tree in order, children last started first, and wait until it is over."""
        self.request_stop()
        if self._root is not None:
            await self._over.wait()

    # --- names
    # ---------------------------------------------------------------------------------------------------

    def ref(self, name: str) -> ActorRef:
        """The address of the actor of this name, whether it lives yet or not."""
        return ActorRef(self._directory, name)

    def supervisor(self, name: str) -> Supervisor:
        """The live supervisor of this name; ActorDied if there is none."""
        try:
            return self.supervisors[name]
        except KeyError:
            raise ActorDied(name) from None

    def register(self, actor: Actor, cell: Cell) -> None:
        """Bind a new incarnation to its name, its new mailbox and its figures."""
        name = cell.name
        if name in self.actors:
            raise ActorError(f"an actor named {name} lives already")
        metrics = self.metrics.setdefault(name, ActorMetrics(name))
        metrics.incarnation += 1
        metrics.restarts = metrics.incarnation - 1
        metrics.state = ActorState.STARTING
        metrics.last_progress_s = self.clock.monotonic()
        metrics.busy_since_s = metrics.waiting_reason = None
        actor.name = name
        actor.system = self
        actor.clock = self.clock
        actor.ref = self.ref(name)
        actor.incarnation = cell.incarnation = metrics.incarnation
        actor._metrics = metrics
        actor._box = Mailbox(actor.mailbox_limits, self.clock.monotonic)
        self._directory.boxes[name] = actor._box
        self.actors[name] = actor

    def unregister(self, actor: Actor) -> None:
        """Close a mailbox for good: its mail becomes dead letters, its unanswered requests fail."""
        box, metrics = actor._box, actor._metrics
        del self.actors[actor.name]
        del self._directory.boxes[actor.name]
        metrics.state = ActorState.DOWN
        metrics.busy_since_s = None
        metrics.replaced += box.replaced
        metrics.high_water = max(metrics.high_water, box.high_water)
        for envelope in box.close():
            self.dead_letters.add(actor.name, envelope.message, "it was left in the mailbox of a dead actor")
        for reply in list(box.unanswered):
            reply.revoke(ActorDied(actor.name, "it died before it answered"))

    # --- figures
    # -------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, ActorSnapshot]:
        """The figures of every actor that ever lived here, by name."""
        return {name: self._snapshot(metrics) for name, metrics in sorted(self.metrics.items())}

    def _snapshot(self, metrics: ActorMetrics) -> ActorSnapshot:
        actor = self.actors.get(metrics.name)
        box = None if actor is None else actor._box
        latency = metrics.latency
        return ActorSnapshot(
            name=metrics.name,
            state=metrics.state,
            incarnation=metrics.incarnation,
            restarts=metrics.restarts,
            mail_depth=0 if box is None else box.depth,
            mail_high_water=metrics.high_water if box is None else max(metrics.high_water, box.high_water),
            senders_waiting=0 if box is None else box.senders_waiting,
            handled=metrics.handled,
            batches=metrics.batches,
            replaced=metrics.replaced + (0 if box is None else box.replaced),
            latency_p50_s=latency.percentile_s(0.50),
            latency_p99_s=latency.percentile_s(0.99),
            latency_max_s=latency.max_s,
            idle_s=self.clock.monotonic() - metrics.last_progress_s,
            waiting_reason=metrics.waiting_reason,
            unanswered=0 if box is None else len(box.unanswered),
        )
