"""The strategist's core: runs one strategy over news and ticks in their one order, and stops at every decision.

The order is that of stamps (:class:`~tradekeel.domain.messages.Stamp`): news that belongs before tick p, the tick p
itself, news that belongs after it. Live, news arrives as it happens; after a restart it is queued and delivered
between the same two ticks as the first time, so the strategy takes the same way through its past.

A run goes ahead only as far as it is sure of: it ends at the first decision, or where queued news is due. The
conductor may then say that somebody else decided earlier (:meth:`StrategistCore.confirm`); the core puts itself back
to where the run began and runs again up to there.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.domain import records as r
from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import Cancel, Decision, Emit, Enter, Exit, MoveStop, Request, SetTimer, Stamp
from tradekeel.domain.rows import CHECKPOINT_BYTES_MAX
from tradekeel.domain.ticks import NEVER_NS, Bar, Tick, TickWindow
from tradekeel.domain.view import View
from tradekeel.errors import Defect, InputError
from tradekeel.strategies.arithmetic import arithmetic
from tradekeel.strategies.base import (
    HANDLERS,
    AnyStrategy,
    FillEvent,
    OrderUpdate,
    Started,
    Stopped,
    StrategyContext,
    TimerFired,
    overrides,
)
from tradekeel.strategies.contexts import Contexts, StrategySettings
from tradekeel.strategies.news import Outcome, happenings, instrument_of, told_from
from tradekeel.strategies.requests import check_requests, without_entries
from tradekeel.strategies.saving import ExecutionState, StateCodec

_ASKED: dict[type, str] = {Enter: "signals", Exit: "exits", Cancel: "cancels", MoveStop: "moves", Emit: "emits"}
_REFUSED = ("denied", "rejected")

_time_of = attrgetter("ts_ns")


class _Base(Struct):
    """Where a run began, to go back to."""

    stamp: int
    position: int
    state: Any
    timers: dict[str, int]
    ticks: int
    last_tick_ns: int
    warm: bool


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


class StrategistCore:
    """See the module. One instance per incarnation of a strategist."""

    def __init__(
        self, strategy: AnyStrategy, settings: StrategySettings, view: View, saved: ExecutionState | None
    ) -> None:
        self.strategy = strategy
        self.settings = settings
        self.view = view
        self._contexts = Contexts(settings, view)
        with arithmetic():
            self._timeframes = frozenset(strategy.timeframes())
        self._hears = frozenset(handler for handler in HANDLERS if overrides(strategy, handler))
        self._wants_ticks = "on_tick" in self._hears
        self._codec = StateCodec(settings.name, strategy.State)
        self.news: deque[Entry] = deque()
        self.held: Decision | None = None
        self._restore(saved)
        self._base: _Base | None = None  # where the last run began, if it has taken any ticks

    def _restore(self, saved: ExecutionState | None) -> None:
        self.decisions = self.view.decisions
        if saved is None:
            with arithmetic():
                self.state: Any = self.strategy.initial_state()
            self.stamp = self.position = self.ticks_processed = self.last_tick_ns = 0
            self.timers: dict[str, int] = {}
            self.started, self.over, self.warm = False, False, False
            self.metrics: dict[str, int] = {}
            return
        if saved.state_version != self.strategy.state_version:
            raise InputError(
                f"strategy {self.settings.name}: its saved state has version {saved.state_version}, "
                f"the code has {self.strategy.state_version}"
            )
        self.state = self._codec.read(saved.strategy_state)
        self.stamp, self.position = saved.stamp, saved.position
        self.decisions = saved.decisions
        self.timers = dict(saved.timers)
        self.started, self.over, self.warm = saved.started, saved.over, saved.warm
        self.ticks_processed, self.last_tick_ns = saved.ticks_processed, saved.last_tick_ns
        self.metrics = dict(saved.metrics)

    @property
    def read_to(self) -> int:
        """Journal sequence up to which entries were delivered."""
        return self.news[-1].sequence if self.news else self.view.inbox

    @property
    def state_version(self) -> int:
        """Version of the strategy's State."""
        return self.strategy.state_version

    # --- running -------------------------------------------------------------------------------------------------------

    def start(self, ts_ns: int, gap_ns: int = 0) -> bool:
        """``on_start``; True if it decided something (held until confirmed). After a gap it has to warm up again."""
        event = Started(ts_ns=ts_ns, resumed=self.started, gap_ns=gap_ns)
        self.started = True
        if gap_ns > 0:
            self.warm = False
        return self._handle(self._call(self.strategy.on_start, event, None), ts_ns, self.stamp)

    def skip(self, position: int) -> None:
        """The ticks up to ``position`` are gone: a live feed does not come back to them, and no news waits for them."""
        self.position = max(self.position, position)

    def miss(self, ts_ns: int) -> bool:
        """Ticks went unseen between the last one and ``ts_ns``, in the middle of the way: it has to warm up again.

        What it decided on and what is not confirmed yet stays, with what it now says beside it.
        """
        self.stamp = max(self.stamp, Stamp.after(self.position))
        self.warm = False
        gap_ns = max(1, ts_ns - self.last_tick_ns) if self.last_tick_ns else 1
        event = Started(ts_ns=ts_ns, resumed=True, gap_ns=gap_ns)
        decided = self._handle(self._call(self.strategy.on_start, event, None), ts_ns, self.stamp, more=True)
        self._base = None  # nobody goes back behind it
        return decided

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Queue journal entries, in order; they are handled when their stamp is due."""
        last = self.read_to
        for entry in entries:
            if entry.sequence <= last:
                continue
            if entry.sequence != last + 1:
                raise Defect(f"strategist {self.settings.name}: journal entry {entry.sequence} follows {last}")
            self.news.append(entry)
            last = entry.sequence

    def run(self, window: TickWindow | None, until: int, told_to: int | None = None) -> int:
        """Go ahead to stamp ``until`` at the most; returns the stamp reached. A decision, if any, is in :attr:`held`.

        It stops earlier at a decision, and after the tick that queued news is due behind: then everybody is brought there first.
        With ``told_to`` it takes no news that is later in the journal (see :class:`~tradekeel.domain.records.Turn`).
        """
        if self.held is not None:
            return self.stamp
        if told_from(self.news, self.view, is_over=self.over) < NEVER_NS:
            due = min(until, Stamp.before(self.position + 1))
            self._take_news(due, sys.maxsize if told_to is None else told_to)
        self._base = None
        next_news = told_from(self.news, self.view, is_over=self.over)
        if window is not None and self._undecided:
            self._take_ticks(window, min(until, next_news))
        if next_news > until > self.stamp and self._undecided:
            self.stamp = until
        return self.stamp

    def has_more(self, until: int) -> bool:
        """Whether a decision is held, or news is due by ``until`` that must be taken before anything else happens."""
        return self.held is not None or told_from(self.news, self.view, is_over=self.over) <= until

    @property
    def _undecided(self) -> bool:
        """Asked again behind each step: whatever it runs may decide."""
        return self.held is None

    def _take_news(self, due: int, told_to: int) -> None:
        news, view, name = self.news, self.view, self.settings.name
        while news and news[0].record.stamp <= due and news[0].sequence <= told_to:
            entry = news.popleft()
            record, paused = entry.record, view.paused
            view.follow(entry)
            self._contexts.follow(entry)
            if record.stamp > self.stamp:
                self.stamp = record.stamp
            for handler, event in happenings(entry, name, view.renewed, paused_before=paused):
                self._count_news(event)
                if handler in self._hears:
                    outcome = self._call(getattr(self.strategy, handler), event, instrument_of(event))
                    self._handle(outcome, record.ts_ns, self.stamp, more=True)
            if isinstance(record, r.OrderChanged):
                view.renewed.discard(record.client_order_id)  # its end was the news that this was kept for
            if self.held is not None:
                return

    def _count_news(self, event: Any) -> None:
        if isinstance(event, FillEvent):
            self._count("fills")
        elif isinstance(event, OrderUpdate) and event.event in _REFUSED:
            self._count(event.event)

    def _count(self, what: str) -> None:
        self.metrics[what] = self.metrics.get(what, 0) + 1

    def _take_ticks(self, window: TickWindow, until: int) -> None:
        """Ticks whose own stamp is not beyond ``until``: tick p for ``after(p)``, tick p - 1 for ``before(p)``."""
        ticks = window.ticks
        first, last = ticks[0].position, ticks[-1].position
        start = max(self.position + 1, first) - first
        stop = min(last, (until - 1) // 2) - first + 1
        if start >= stop:
            return
        self._base = self._snapshot()
        with arithmetic():
            index = self._tick_loop(window, start, stop)
        self.position = first + index - 1
        self.stamp = Stamp.after(self.position)

    def _tick_loop(self, window: TickWindow, start: int, stop: int) -> int:
        """Run ticks until the first decision; returns the index after the last one consumed.

        Where nothing but ticks of one instrument can come, nothing else is asked for on the way.
        """
        index, bars = start, window.bars if self._timeframes else {}
        while index < stop:
            if not self.warm and self.settings.begins_ns:
                self._warms_up(self.state, window.ticks[index].ts_ns)  # it may have been, but for the time
            plain = self._plain_until(window, index, stop, bars)
            if plain > index:
                index = self._run_plain(window, index, plain)
            if self.held is None and index < stop and index >= plain:
                index = self._run_mixed(window, index, self._warming_until(window, index, stop), bars)
            if self.held is not None:
                return index
        return stop

    def _plain_until(self, window: TickWindow, start: int, stop: int, bars: Mapping[int, Sequence[Bar]]) -> int:
        """The index behind the ticks from ``start`` on of which each is its instrument's, and nothing else is due with them."""
        if len(window.instruments) != 1 or self.timers or not self.warm:
            return start
        if window.instruments[0] not in self.settings.instruments:
            return start
        return min((index for index in bars if start <= index < stop), default=stop) if bars else stop

    def _warming_until(self, window: TickWindow, start: int, stop: int) -> int:
        """``stop``, or the first tick before it at which the run begins, if it has not yet."""
        begins_ns, ticks = self.settings.begins_ns, window.ticks
        if ticks[start].ts_ns >= begins_ns or ticks[stop - 1].ts_ns < begins_ns:
            return stop
        return bisect_left(ticks, begins_ns, start, stop, key=_time_of)

    def _run_plain(self, window: TickWindow, start: int, stop: int) -> int:
        context = self._contexts.all(self.warm)[window.instruments[0]]
        state, ticks = self.state, window.ticks
        if not self._wants_ticks:
            self._account_ticks(stop - start, ticks, stop)
            return stop
        on_tick = self.strategy.on_tick
        run = ticks if start == 0 and stop == len(ticks) else ticks[start:stop]
        requests: Sequence[Request] = ()
        tick = ticks[start]
        try:
            for tick in run:
                state, requests = on_tick(tick, state, context)
                if requests:
                    break
        except BaseException:
            self.position = tick.position  # whoever handles this may ask where it was
            raise
        self.state = state
        index = tick.position - window.first_position + 1
        self._account_ticks(index - start, ticks, index)
        if requests:
            self.position = tick.position
            self._handle((state, requests), tick.ts_ns, Stamp.after(tick.position))
        return index

    def _run_mixed(self, window: TickWindow, start: int, stop: int, bars: Mapping[int, Sequence[Bar]]) -> int:
        """As far as a decision, or to where plain ticks may follow."""
        contexts = self._contexts.all(self.warm)
        on_tick, state, ticks = self.strategy.on_tick, self.state, window.ticks
        due = min(self.timers.values(), default=NEVER_NS)
        cold, seen = not self.warm, 0
        index = start
        try:
            for index in range(start, stop):
                tick = ticks[index]
                context = contexts.get(tick.instrument)
                if tick.ts_ns >= due or index in bars:
                    self.state = state
                    self._account_ticks(seen, ticks, index)
                    self._step_slowly(tick, bars.get(index, ()), context)
                    return index + 1
                if context is None:
                    continue
                seen += 1
                state, requests = on_tick(tick, state, context)
                if cold and not requests and self._warms_up(state, tick.ts_ns):
                    cold, contexts = False, self._contexts.all(self.warm)
                if requests:
                    self.state = state
                    self._account_ticks(seen, ticks, index + 1)
                    self.position = tick.position
                    self._handle((state, requests), tick.ts_ns, Stamp.after(tick.position))
                    return index + 1
        except BaseException:
            self.position = ticks[index].position  # whoever handles this may ask where it was
            raise
        self.state = state
        self._account_ticks(seen, ticks, stop)
        return stop

    def _account_ticks(self, seen: int, ticks: Sequence[Tick], stop: int) -> None:
        """So many of the ticks before ``stop`` were its own; the last of them is found from the end."""
        if not seen:
            return
        self.ticks_processed += seen
        instruments, index = self.settings.instruments, stop - 1
        while ticks[index].instrument not in instruments:
            index -= 1
        self.last_tick_ns = ticks[index].ts_ns

    def _warms_up(self, state: Any, now_ns: int) -> bool:
        """Ask a strategy that is not warm; once it says yes, it is asked no more."""
        if now_ns < self.settings.begins_ns:
            return False
        with arithmetic():
            self.warm = self.strategy.is_warm(state)
        return self.warm

    def _step_slowly(self, tick: Tick, bars: Sequence[Bar], context: StrategyContext | None) -> None:
        """One tick with everything that may come with it: timers first, then bars, then the tick, as one decision."""
        self.position = tick.position
        stamp = Stamp.after(tick.position)
        for at_ns, name in sorted((at_ns, name) for name, at_ns in self.timers.items() if at_ns <= tick.ts_ns):
            if self.timers.get(name) != at_ns:
                continue  # a timer that fired before it has set it anew
            fired = TimerFired(name=name, ts_ns=self.timers.pop(name))
            self._handle(self._call(self.strategy.on_timer, fired, None), tick.ts_ns, stamp, more=True)
        for bar in filter(self._wants, bars):
            outcome = self._call(self.strategy.on_bar, bar, bar.instrument)
            self._handle(outcome, tick.ts_ns, stamp, more=True)
        if context is not None:
            self._account_ticks(1, (tick,), 1)
            if self._wants_ticks:
                outcome = self._call(self.strategy.on_tick, tick, tick.instrument)
                self._handle(outcome, tick.ts_ns, stamp, more=True)

    def _wants(self, bar: Bar) -> bool:
        return bar.instrument in self.settings.instruments and bar.timeframe in self._timeframes

    def _call(self, handle: Callable[..., Outcome], event: Any, symbol: str | None) -> Outcome:
        """What a handler answers to an event that is about an instrument, or about none."""
        context = self._contexts.about(symbol, self.warm)
        with arithmetic():
            return handle(event, self.state, context)

    def _handle(self, outcome: Outcome, ts_ns: int, stamp: int, *, more: bool = False) -> bool:
        """Take over a handler's outcome; requests become (or, with ``more``, join) the held decision."""
        self.state, requests = outcome
        if not self.warm:
            self._warms_up(self.state, ts_ns)
        if not requests:
            return False
        kept = []
        for request in check_requests(requests, self.settings.name, self.settings.instruments, self._holds):
            if isinstance(request, SetTimer):
                self.timers[request.name] = request.at_ns
            else:
                kept.append(request)
        if not kept:
            return False
        if self.held is None:
            self.decisions += 1
            before: tuple[Request, ...] = ()
        elif more:
            before = self.held.requests
        else:
            raise Defect(f"strategist {self.settings.name} decided again before its decision was confirmed")
        self.stamp = max(self.stamp, stamp)
        self.held = Decision(
            strategy=self.settings.name,
            number=self.decisions,
            position=self.position,
            inbox=self.view.inbox,
            stamp=self.stamp,
            ts_ns=ts_ns,
            requests=(*before, *kept),
            state=b"",
            state_version=self.strategy.state_version,
            warm=self.warm,
        )
        return True

    def _holds(self, symbol: str) -> bool:
        return any(trade.symbol == symbol for trade in self.view.trades.values())

    # --- agreeing with the others ----------------------------------------------------------------------------------------

    def confirm(self, window: TickWindow | None, stamp: int, told_to: int = 0) -> Decision | None:
        """Everybody stands at ``stamp``: come back to it if this strategy ran further; returns its decision there, if any."""
        base = self._base
        if base is not None and self.stamp > stamp and base.stamp <= stamp:
            self._rewind(base, window, stamp)
        decision = self.held
        if decision is None or decision.stamp > stamp:
            return None
        self.held = self._base = None
        return self._decided(decision, told_to)

    def _decided(self, decision: Decision, told_to: int) -> Decision:
        """A decision that is taken, with the state to be saved with it. Only now does it count: a held one may be undone.

        It goes on from what was saved, as it would behind a restart.
        """
        for request in decision.requests:
            self._count(_ASKED[type(request)])
        written, self.state = self._codec.written(self.state)
        saved = self._saved(written) if self.settings.saves_decisions else b""
        return msgspec.structs.replace(decision, state=saved, told_to=told_to)

    def _rewind(self, base: _Base, window: TickWindow | None, stamp: int) -> None:
        if self.held is not None:
            self.held = None
            self.decisions -= 1
        self.stamp, self.position, self.state = base.stamp, base.position, base.state
        self.timers, self.ticks_processed, self.last_tick_ns = dict(base.timers), base.ticks, base.last_tick_ns
        self.warm = base.warm
        if window is not None:
            self._take_ticks(window, stamp)
            self._base = base
        if self.held is not None:
            raise InputError(f"strategy {self.settings.name} decided differently when it was run again: it is not pure")
        self.stamp = max(self.stamp, stamp)

    def _snapshot(self) -> _Base:
        timers = dict(self.timers)
        return _Base(self.stamp, self.position, self.state, timers, self.ticks_processed, self.last_tick_ns, self.warm)

    def stop(
        self, ts_ns: int, reason: str, for_good: bool = False, told_to: int = 0, bars: Sequence[Bar] = ()
    ) -> Decision | None:
        """``on_stop``, behind the ``bars`` of the very last tick; returns a last decision, if the strategy takes one. Entries are
        left out of it, and said to be. ``for_good``: the run is over; a start that comes back to its end does not do it again.
        """
        if self.over:
            return None
        self.over = for_good
        steps: list[tuple[Callable[..., Outcome], Any, str | None]]
        steps = [(self.strategy.on_bar, bar, bar.instrument) for bar in filter(self._wants, bars)]
        for handler, event, symbol in (*steps, (self.strategy.on_stop, Stopped(ts_ns=ts_ns, reason=reason), None)):
            state, requests = self._call(handler, event, symbol)
            self._handle((state, without_entries(requests, reason)), ts_ns, self.stamp, more=True)
        decision, self.held = self.held, None
        return None if decision is None else self._decided(decision, told_to)

    def save(self) -> bytes:
        """The state as it is now (:class:`ExecutionState`, msgpack). Refuses one that is larger than a checkpoint may be, or
        that would not come back as it is.
        """
        return self._saved(self._codec.written(self.state)[0])

    def _saved(self, written: bytes) -> bytes:
        data = _ENCODER.encode(
            ExecutionState(
                strategy_state=written,
                state_version=self.strategy.state_version,
                stamp=self.stamp,
                position=self.position,
                inbox=self.view.inbox,
                decisions=self.decisions,
                timers=self.timers,
                started=self.started,
                over=self.over,
                warm=self.warm,
                ticks_processed=self.ticks_processed,
                last_tick_ns=self.last_tick_ns,
                current_balance=self.view.balance,
                open_positions={symbol: p.quantity for symbol, p in self.view.net_positions().items()},
                metrics=self.metrics,
            )
        )
        if len(data) > CHECKPOINT_BYTES_MAX:
            raise InputError(
                f"strategy {self.settings.name}: its state takes {len(data)} bytes, at most {CHECKPOINT_BYTES_MAX} "
                "are allowed; keep less history in State"
            )
        return data
