"""A strategist: the shell around one strategy's core.

A strategy that throws crashes its actor once; the supervisor starts it again from its last saved state. If it throws at
the same position again, or too often at different ones, it is marked FAILED for good: from then on this actor only keeps
step, so the others trade on, and the exits of its trades go on with whoever keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import Decision, Emit, Stamp
from tradekeel.domain.protocol import (
    NOWHERE,
    Attach,
    Attached,
    Confirm,
    Decide,
    FailStrategy,
    GiveUp,
    MissTicks,
    Reached,
    ReadEntries,
    Run,
    Save,
    Stand,
    StopStrategy,
    Taken,
    Where,
)
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import Bar, TickWindow
from tradekeel.domain.view import View
from tradekeel.errors import ErrorAction, TradekeelError, action_of, named, text_of
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.clock import FOREVER_S
from tradekeel.runtime.faults import point

ATTACH_TIMEOUT_S = FOREVER_S  # a venue that is down is waited for
ASK_TIMEOUT_S = 60.0
UNSEEN_NS = 1
"""The gap that is told to a strategy that comes to a run under way: some, nobody knows how long."""
THROWS_MAX = 20
"""A strategy that throws here and there would keep the others going back with it: so often, and it is FAILED."""

T = TypeVar("T")


class Core(Protocol):
    """What the shell needs of :class:`tradekeel.strategies.core.StrategistCore`."""

    view: View
    stamp: int
    position: int
    last_tick_ns: int
    held: Decision | None

    @property
    def read_to(self) -> int:
        """Journal sequence up to which entries were delivered."""

    @property
    def state_version(self) -> int:
        """Version of the strategy's State."""

    def start(self, ts_ns: int, gap_ns: int = 0) -> bool:
        """``on_start``."""

    def skip(self, position: int) -> None:
        """Ticks that a live feed does not come back to."""

    def miss(self, ts_ns: int) -> bool:
        """``on_start`` once more: ticks went unseen, up to where it was made to skip."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Queue journal entries."""

    def run(self, window: TickWindow | None, until: int, told_to: int | None = None) -> int:
        """Go ahead to a stamp, with the news up to a journal sequence."""

    def has_more(self, until: int) -> bool:
        """Whether a decision is held, or news is due by ``until``."""

    def confirm(self, window: TickWindow | None, stamp: int, told_to: int = 0) -> Decision | None:
        """Agree on a stamp."""

    def stop(
        self, ts_ns: int, reason: str, for_good: bool = False, told_to: int = 0, bars: Sequence[Bar] = ()
    ) -> Decision | None:
        """``on_stop``, behind the bars of the very last tick."""

    def save(self) -> bytes:
        """The state for a checkpoint."""


class Failures:
    """Where a strategy threw before, and how often; outlives the actor's incarnations, not the process."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.times = 0


class StrategyLeft(Exception):
    """A strategy raised what is meant for whoever runs the process: an exit, an interruption, a cancellation."""


def _own(step: Callable[..., T], *args: Any) -> T:
    """Run a step of the strategy's; nothing in it waits, so a cancellation in it is the strategy's own as well."""
    try:
        return step(*args)
    except Exception:
        raise
    except BaseException as error:
        raise StrategyLeft(f"it raised {type(error).__name__}") from error


class Strategist(Actor):
    """See the module."""

    def __init__(
        self,
        strategy: str,
        make_core: Callable[[Attached], Core],
        executor: ActorRef,
        failures: Failures,
        *,
        replayable: bool,
    ) -> None:
        self._strategy = strategy
        self._make_core = make_core
        self._executor = executor
        self._failures = failures
        self._replayable = replayable
        self._core: Core | None = None
        self._inert = False
        self._told_to = 0
        self._early: list[tuple[Any, Reply | None]] = []

    async def on_start(self) -> None:
        # The answer may take as long as the venue is away; a stop does not wait for it (see settled).
        self.request(self._executor, Attach(self._strategy), lambda answer: answer, timeout_s=ATTACH_TIMEOUT_S)

    def settled(self) -> bool:
        return True

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Attached):
            await self._attached(message)
        elif self._core is None and not self._inert:
            self._early.append((message, reply))  # the conductor asks one question at a time, so these are few
        else:
            await self._guarded(message, reply)

    async def _attached(self, attached: Attached) -> None:
        self._execution = attached.execution
        self._frontier, self._turn = attached.frontier, attached.turn
        if attached.failed:
            self._inert = True
        else:
            try:
                self._core = core = _own(self._make_core, attached)
                core.deliver(attached.entries)
                if attached.joins or not self._replayable:
                    core.skip(Stamp.position(attached.frontier))
                point("strategist.attached")
                _own(core.start, *self._now(attached, core.last_tick_ns))
            except Exception as error:  # noqa: BLE001 - not swallowed: it is judged, and raised unless the strategy is given up
                await self._judge(error, attached.position)
        early, self._early = self._early, []
        for message, reply in early:
            await self._guarded(message, reply)

    def _now(self, attached: Attached, last_tick_ns: int) -> tuple[int, int]:
        """Event time, and how long a live feed went unseen: since the last tick that is in the state it goes on from."""
        if attached.joins:
            return attached.ts_ns, UNSEEN_NS
        if self._replayable:
            return attached.ts_ns, 0
        now_ns = self.clock.now_ns()
        return now_ns, max(0, now_ns - last_tick_ns) if last_tick_ns else 0

    async def _guarded(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        core = self._core
        if self._inert or core is None:
            reply.send(self._keeping_step(message))
            return
        try:
            answer = await self._handle(core, message)
        except Exception as error:  # noqa: BLE001 - not swallowed: it is judged, and raised unless the strategy is given up
            await self._judge(error, core.position)
            answer = self._keeping_step(message)
        reply.send(answer)

    async def _handle(self, core: Core, message: Any) -> Any:
        match message:
            case Run(window, until, journal_to, told_to):
                self._told_to = journal_to if told_to is None else told_to
                if core.read_to < journal_to:
                    core.deliver(await self._executor.ask(ReadEntries(core.read_to), timeout_s=ASK_TIMEOUT_S))
                stamp = _own(core.run, window, until, told_to)
                return Reached(stamp, core.has_more(stamp))
            case Confirm(window, stamp):
                return await self._decide(_own(core.confirm, window, stamp, self._told_to))
            case Save():
                return self._checkpoint(core)
            case Where():
                return Stand(core.position, self._frontier, self._turn)
            case MissTicks(position, ts_ns, gap):
                return self._miss(core, position, ts_ns, gap=gap)
            case StopStrategy(ts_ns, reason, for_good, bars):
                return await self._decide(_own(core.stop, ts_ns, reason, for_good, self._told_to, bars))
            case GiveUp(reason):
                await self._fail(reason)
                return Taken.NOTHING
            case _:
                raise TypeError(f"a strategist does not know {type(message).__name__}")

    def _miss(self, core: Core, position: int, ts_ns: int, *, gap: bool) -> Taken:
        if core.position <= position:
            core.skip(position)
            if gap:
                _own(core.miss, ts_ns)
        return Taken.NOTHING

    async def _decide(self, decision: Decision | None) -> Taken:
        if decision is None:
            return Taken.NOTHING
        point("strategist.before_decide")
        await self._executor.ask(Decide(decision), timeout_s=ASK_TIMEOUT_S)
        return Taken.NOTES if all(isinstance(request, Emit) for request in decision.requests) else Taken.ASKS

    def _checkpoint(self, core: Core) -> Checkpoint:
        return Checkpoint(
            execution=self._execution,
            owner=self._strategy,
            position=core.position,
            inbox=core.view.inbox,
            ts_ns=core.last_tick_ns,
            version=core.state_version,
            state=core.save(),
        )

    async def _judge(self, error: Exception, position: int) -> None:
        """Give the strategy up for what it will never get right; whatever else went wrong is raised."""
        if not isinstance(error, TradekeelError):
            await self._threw(error, position)
        elif action_of(error) is ErrorAction.REJECT:
            await self._fail(text_of(error))
        else:
            raise error  # ours, not the strategy's

    async def _threw(self, error: Exception, position: int) -> None:
        """First time: crash, and start again from what is saved. The same position again: it will never get past it."""
        failures = self._failures
        failures.times += 1
        if failures.position == position or failures.times >= THROWS_MAX:
            often = "twice" if failures.position == position else f"{failures.times} times, the last time"
            await self._fail(f"it threw {often} at tick {position}: {named(error)}")
            return
        failures.position = position
        raise error

    async def _fail(self, reason: str) -> None:
        self._inert, self._core = True, None
        message = FailStrategy(self._strategy, reason)
        await self._executor.ask(message, timeout_s=ASK_TIMEOUT_S)

    def _keeping_step(self, message: Any) -> Any:
        """The answers of a strategist that does nothing any more."""
        match message:
            case Run(until=until):
                return Reached(until, decided=False)
            case Save():
                return None
            case Where():
                return Stand(NOWHERE, self._frontier, self._turn)
            case _:
                return Taken.NOTHING
