"""The monitor: the shell around :class:`~tradekeel.domain.monitor.MonitorCore`.

It answers the conductor's question how far it is quiet, and sends what it wants closed, and the equity that the gate's
loss limits are measured on, to the executor before it answers that a tick is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tradekeel.domain.messages import Stamp
from tradekeel.domain.monitor import MonitorCore
from tradekeel.domain.protocol import (
    Attach,
    Attached,
    EquitySeen,
    ExitTrades,
    MissTicks,
    Note,
    QuietUntil,
    ReadEntries,
    Save,
    Stand,
    TakeSnapshot,
    TicksPassed,
    TrailStop,
    TripRisk,
    WatchTick,
    Where,
)
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.clock import FOREVER_S
from tradekeel.runtime.faults import point

ATTACH_TIMEOUT_S = FOREVER_S  # a venue that is down is waited for
ASK_TIMEOUT_S = 60.0


class Monitor(Actor):
    """See the module."""

    def __init__(
        self,
        make_core: Callable[[Attached], MonitorCore],
        executor: ActorRef,
        parameter_mode: str | None,
        live: bool,
    ) -> None:
        self._make_core = make_core
        self._executor = executor
        self._parameter_mode = parameter_mode
        self._live = live
        self._core: MonitorCore | None = None
        self._told: EquitySeen | None = None  # what the executor has; None: not known
        self._early: list[tuple[Any, Reply | None]] = []

    async def on_start(self) -> None:
        # The answer may take as long as the venue is away; a stop does not wait for it (see settled).
        self.request(self._executor, Attach(None), lambda answer: answer, timeout_s=ATTACH_TIMEOUT_S)

    def settled(self) -> bool:
        return True

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Attached):
            await self._attached(message)
        elif self._core is None:
            if not isinstance(message, TakeSnapshot):  # the schedule comes again; an account may never get so far
                self._early.append((message, reply))  # the conductor asks one question at a time, so these are few
        else:
            await self._handle(self._core, message, reply)

    async def _attached(self, attached: Attached) -> None:
        self._execution = attached.execution
        self._last_ns, self._frontier, self._turn = attached.ts_ns, attached.frontier, attached.turn
        self._core = self._make_core(attached)
        self._core.deliver(attached.entries)
        await self._tell_equity(self._core)  # a decision may come before the next tick
        point("monitor.attached")
        early, self._early = self._early, []
        for message, reply in early:
            await self._handle(self._core, message, reply)

    async def _handle(self, core: MonitorCore, message: Any, reply: Reply | None) -> None:
        match message:
            case QuietUntil(window, start, stop, journal_to):
                assert reply is not None
                await self._read(core, journal_to)
                reply.send(core.quiet_until(window, start, stop))
            case TicksPassed(window, start, stop, quotes, extremes):
                self._last_ns = max(self._last_ns, window.ticks[stop - 1].ts_ns)
                seen = core.passed(window, start, stop, quotes, extremes)
                self._told = None  # the conductor passes it on, if it lives
                if reply is not None:
                    reply.send(seen)
            case WatchTick():
                assert reply is not None
                await self._read(core, message.journal_to)
                reply.send(await self._watch(core, message))
            case Save(journal_to, stamp):
                assert reply is not None
                await self._read(core, journal_to)
                core.follow(stamp)
                reply.send(core.save())
            case Where():
                assert reply is not None
                reply.send(Stand(core.position, self._frontier, self._turn, self._last_ns))
            case MissTicks(position):
                assert reply is not None
                core.skip(position)
                reply.send(True)
            case TakeSnapshot():
                ts_ns = self.clock.now_ns() if self._live else self._last_ns
                await self._executor.send(Note(core.snapshot(self._execution, ts_ns, self._parameter_mode)))
            case _:
                raise TypeError(f"the monitor does not know {type(message).__name__}")

    async def _read(self, core: MonitorCore, journal_to: int) -> None:
        known = core.news[-1].sequence if core.news else core.view.inbox
        if known < journal_to:
            core.deliver(await self._executor.ask(ReadEntries(known), timeout_s=ASK_TIMEOUT_S))

    async def _watch(self, core: MonitorCore, message: WatchTick) -> bool:
        tick = message.window.ticks[message.index]
        self._last_ns = max(self._last_ns, tick.ts_ns)
        stamp = Stamp.before(tick.position)
        seen = core.at(tick)
        for move in seen.moves:
            await self._executor.send(TrailStop(move.trade_id, move.stop, move.best, tick.ts_ns, stamp))
        if seen.trip is not None:
            await self._executor.send(TripRisk(seen.trip.latch, seen.trip.sentence, tick.ts_ns, stamp))
        if seen.exits:
            wishes = tuple((exit_.trade_id, exit_.reason.value) for exit_ in seen.exits)
            await self._executor.send(ExitTrades(wishes, "monitor", tick.ts_ns, stamp))
        await self._tell_equity(core)
        return bool(seen)

    async def _tell_equity(self, core: MonitorCore) -> None:
        """Before anybody decides at this tick. It follows from what the monitor has seen, so it is the same after a restart."""
        seen = core.seen()
        if seen is not None and seen != self._told:
            self._told = seen
            await self._executor.send(seen)
