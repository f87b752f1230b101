"""How ticks are conducted through an account, as described in docs/architecture.md.

The conductor is the only part that knows the order of events at a tick: *venue match → fills → monitor → strategists
in config order → gate → commit → venue accept → next tick*. It asks everybody how far it is quiet, lets the
strategists run that far in one go, and where something happens goes tick by tick. With a venue that does not match
our ticks it does the same without waiting for the venue's answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from tradekeel.domain.messages import Stamp
from tradekeel.domain.monitor import last_quotes
from tradekeel.domain.protocol import (
    NOWHERE,
    Alert,
    AskSession,
    CaughtUp,
    Confirm,
    Cut,
    EquitySeen,
    FeedProgress,
    GiveUp,
    JournalSamples,
    MatchTick,
    QuietUntil,
    Reached,
    Run,
    Save,
    See,
    SessionState,
    Settle,
    Stand,
    StopFeed,
    Taken,
    TicksPassed,
    VenuePassed,
    WatchTick,
    Where,
)
from tradekeel.domain.records import Turn, samples
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import Defect
from tradekeel.ports import Feed as Source
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.clock import FOREVER_S, move_on_after
from tradekeel.runtime.errors import ActorError
from tradekeel.runtime.faults import point
from tradekeel.runtime.interrupt import Interruptible
from tradekeel.runtime.reference import ask_each

ASK_TIMEOUT_S = 120.0
ATTACH_TIMEOUT_S = FOREVER_S  # a venue that is down is waited for
DECISIONS_MAX = 1_000
"""Decisions of one strategy at one tick that ask for something, and so bring news to decide on: beyond this it is a loop. A grid
of a hundred layers that is swept at one tick takes a few hundred."""
ROUNDS_MAX = 100_000
"""All strategies together; each is given up long before, so that this many are a defect of ours."""
CUT_ATTEMPTS_MAX = 10
"""A record that arrives from outside (a snapshot, a command) while a cut is being made makes it begin again."""
ASKED_AT_ONCE_TICKS_MAX = 16
"""Windows up to this long come as they happen: then it is the way of one tick that should be short. In longer ones the
monitor need not look further than the venue."""
TELL_EVERY_S = 1.0
STOP_OPENING_S = 1.0
"""What a stop gives a source that is being opened: one that reads files is done then, one that waits for a server may not be."""
RESTART_WAIT_S = 0.01
RESTART_WAITS_MAX = 3_000


class ConductorSettings(Struct, frozen=True, kw_only=True):
    """How an account's ticks are conducted."""

    account: str
    lockstep: bool  # the venue matches our ticks, and time waits for us
    window_ticks_max: int = 512
    cut_every_s: float = 5.0
    cut_entries_max: int = 4_000
    sample_ticks_every: int = 0  # 0: none
    needs_equity: bool = False
    exits_at_venue: bool = False
    stop_at_end: bool = True
    strategies: tuple[str, ...] = ()  # their names, in config order


class StrategistGone(Exception):
    """A strategist died while it was asked: it comes back further behind."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Conducting(Actor):
    """Ticks, from the lowest position that anybody needs, and the cuts in between."""

    _source: Source  # opened when the actor starts
    _waits: Callable[[], str | None]  # why it has nothing, where another process brings its ticks

    def __init__(
        self,
        settings: ConductorSettings,
        make_source: Callable[[], Awaitable[Source]],
        *,
        session: ActorRef,
        executor: ActorRef,
        monitor: ActorRef,
        strategists: Sequence[ActorRef],
        control: ActorRef,
    ) -> None:
        self.settings = settings
        self._make_source = make_source
        self._session, self._executor, self._monitor, self._control = session, executor, monitor, control
        self._strategists = tuple(strategists)
        self._journal_to = 0
        self._decisions: dict[str, tuple[int, int]] = {}  # by strategist: the tick, and how many decisions there
        self._last_cut_s = 0.0
        self._last_cut_sequence = 0
        self._frontier = 0  # a stamp
        self._turn: Turn | None = None  # the last decision, where a restart cut its round short
        self._window: TickWindow | None = None  # the one that is being conducted
        self._venue_at = 0  # the last tick that the venue, if ticks drive it, had durably met when this feed began
        self._arrived = False
        self._recovered = False  # it has arrived once, at least
        self._furthest = 0  # the last tick that anybody had seen when the feed began, or went back
        self._nobody_saw = False  # nobody had seen any
        self._have_stopped: set[str] = set()  # strategists that have taken their on_stop
        self._at = 0
        self._last_ns = 0
        self._stopping: tuple[StopFeed, Reply | None] | None = None
        self._over = False  # it has ended, or stopped: nobody is conducted any more
        self._waiting = Interruptible()
        # The rows that were last told of, and what it waits for.
        self._told: tuple[dict[str, int], str | None] = ({}, None)

    async def _go_to_lowest_position(self) -> None:
        stands = [await self._where(ref) for ref in (self._monitor, *self._strategists)]
        positions = [stand.position for stand in stands if stand.position != NOWHERE]
        seen = min(positions)
        self._frontier = max(stand.frontier for stand in stands)
        self._nobody_saw = not max(positions) and not Stamp.position(self._frontier)
        self._turn = self._interrupted_turn(stands)
        if self.settings.lockstep:
            state = await self._executor_side(self._session, AskSession())
            assert isinstance(state, SessionState)
            positions.append(state.position)
            self._venue_at = state.position
        # What a live feed has missed is gone: its positions go on behind everything that anybody has seen.
        lowest = min(positions) if self._source.info.replayable else max(*positions, Stamp.position(self._frontier))
        self._journal_to = await self._executor_side(self._executor, Settle(0))
        self._last_cut_s, self._last_cut_sequence = self.clock.monotonic(), self._journal_to
        self._at, self._window, self._furthest = lowest, None, max(positions)
        # There may be no tick any more from which it could be told what time it is.
        self._last_ns = max(self._last_ns, *(stand.ts_ns for stand in stands))
        point("feed.open")
        self._arrived = False
        if not await self._open(lowest, max(seen, lowest)):
            return
        if lowest >= Stamp.position(self._frontier):
            await self._arrive()
            await self._catch_up(None, max(Stamp.after(lowest), self._frontier))

    async def _open(self, after: int, seen: int) -> bool:
        """Open the source there; False: a stop came, and a server that the source reads from does not answer in time."""
        opened = bool(await self._waiting.wait(self._opened, after, seen))
        if not opened and self._stops_here():
            with move_on_after(self.clock, STOP_OPENING_S):
                opened = await self._opened(after, seen)
        elif not opened:
            opened = await self._opened(after, seen)
        return opened

    async def _opened(self, after: int, seen: int) -> bool:
        await self._source.open(after, seen)
        return True

    def _interrupted_turn(self, stands: Sequence[Stand]) -> Turn | None:
        """The last decision, if the journal ends with what followed from it: the others of its round come first then."""
        turns = [stand.turn for stand in stands if stand.turn is not None]
        last = max(turns, key=lambda turn: turn.sequence, default=None)
        replays = self._source.info.replayable
        return last if replays and last is not None and last.stamp == self._frontier else None

    async def _where(self, ref: ActorRef) -> Stand:
        for _ in range(RESTART_WAITS_MAX):
            try:
                stand = await ref.ask(Where(), timeout_s=ATTACH_TIMEOUT_S)
            except ActorError:
                await self.clock.sleep(RESTART_WAIT_S)  # between two incarnations
                continue
            assert isinstance(stand, Stand)
            return stand
        raise Defect(f"{ref.name} did not come back")

    def _stands_behind(self, window: TickWindow, index: int) -> None:
        self._at, self._last_ns = window.first_position + index - 1, window.ticks[index - 1].ts_ns

    def _stops_here(self) -> bool:
        """Behind a strategist's death a stop waits until everybody is back: before that there is nobody to take it.

        A feed that has never been where the journal ends stops at once, and does nothing: nothing new has happened; unless the
        one before it was there, and died of its stop.
        """
        if self._stopping is None:
            return False
        is_new = not self._recovered and not self._stopping[0].again
        return is_new or (self._arrived and self._at >= self._furthest)

    def _told_to_stop(self) -> bool:
        return self._stopping is not None

    # --- one window ------------------------------------------------------------------------------------------------------

    async def _conduct_window(self, window: TickWindow, index: int, end: int | None = None) -> int:
        """Conduct ticks from ``index`` on, to ``end`` or to one behind which a stop or a cut is due; the index behind it.

        Where much happens a window takes its time, and neither a stop nor the length of a recovery should depend on it.
        """
        count = len(window.ticks) if end is None else end
        while index < count:
            if not self._arrived:
                point("feed.rewinding")
            stop = min(count, self._stop_before_frontier(window, index))
            if stop == index:
                # The journal ends at this tick: this is where a restart adds to the past. What was asked for there goes out
                # before the strategies hear of it, or one of them would answer news that the rest of it should precede.
                # Not all that is recorded there is news of the venue's: it may not have met this tick yet.
                unmet = window.first_position + index > self._venue_at
                await self._loud_tick(window, index, venue_acts=self.settings.lockstep and unmet)
                index += 1
                continue
            acts, calm = await self._quiet_until(window, index, stop)
            if calm > index:
                index = await self._quiet_ticks(window, index, calm)
            else:
                await self._loud_tick(window, index, venue_acts=acts == index and self.settings.lockstep)
                index += 1
                if self._arrived and (self._told_to_stop() or self._cut_is_due()):
                    break
        return index

    async def _quiet_until(self, window: TickWindow, index: int, stop: int) -> tuple[int, int]:
        """Where the venue acts next, and up to where neither it nor the monitor does anything."""
        quiet = QuietUntil(window, index, stop, self._journal_to)
        if not self.settings.lockstep:
            return stop, await self._executor_side(self._monitor, quiet)
        if stop - index <= ASKED_AT_ONCE_TICKS_MAX:
            both = ((self._session, quiet), (self._monitor, quiet))
            acts, calm = await ask_each(both, timeout_s=ASK_TIMEOUT_S)
            return acts, min(acts, calm)
        acts = await self._executor_side(self._session, quiet)
        return acts, await self._executor_side(self._monitor, QuietUntil(window, index, acts, self._journal_to))

    def _stop_before_frontier(self, window: TickWindow, index: int) -> int:
        """Index behind the ticks that may pass in one go; ``index`` itself if the next tick is the frontier's own."""
        count = len(window.ticks)
        if self._arrived:
            return count
        at = Stamp.position(self._frontier) - window.first_position
        return max(index, min(count, at))

    async def _arrive(self) -> None:
        """Everybody is back where the journal ends: what waits to be sent may go out, and the run goes on."""
        self._arrived = self._recovered = True
        point("feed.arrived")
        self._heard(await self._executor_side(self._executor, CaughtUp()))

    async def _quiet_ticks(self, window: TickWindow, index: int, calm: int) -> int:
        until = Stamp.after(window.ticks[calm - 1].position)
        target, decided = await self._run_all(window, until)
        done = min(calm, max(index, (target - 1) // 2 - window.first_position + 1))
        if done > index:
            await self._pass(window, index, done)
        if decided or target < until:
            await self._agree(window, target)
        return done

    async def _loud_tick(self, window: TickWindow, index: int, *, venue_acts: bool) -> None:
        tick = window.ticks[index]
        before, after = Stamp.before(tick.position), Stamp.after(tick.position)
        extremes = window.extremes(index, index + 1)
        quotes, sampled = (
            last_quotes(window, index, index + 1),
            samples(window, index, index + 1, self.settings.sample_ticks_every),
        )
        await self._executor.send(See(tick.position, before, quotes, extremes, None, sampled))
        if venue_acts:
            self._heard(await self._executor_side(self._executor, MatchTick(window, index)))
        elif self.settings.lockstep:
            await self._session.send(VenuePassed(window, index + 1))
        if not self._arrived and tick.position >= Stamp.position(self._frontier):
            await self._arrive()
        asked = await self._executor_side(self._monitor, WatchTick(window, index, self._journal_to))
        if asked:
            await self._settle(before)
        await self._catch_up(window, before)
        await self._catch_up(window, after)

    async def _catch_up(self, window: TickWindow | None, until: int) -> None:
        """Bring all strategists to ``until``, with all that their decisions on the way lead to."""
        if self._turn is not None and self._turn.stamp <= until:
            turn, self._turn = self._turn, None
            await self._finish_round(window, turn)
        goals = [until]
        for _ in range(ROUNDS_MAX):
            target, decided = await self._run_all(window, goals[-1])
            if decided or target < goals[-1]:
                await self._confirm(window, target)
                if target < goals[-1]:
                    goals.append(target)  # first everybody handles there what was decided there
            else:
                goals.pop()
                if not goals:
                    return
        raise Defect(f"no end to the decisions at tick {Stamp.position(until)}")

    async def _finish_round(self, window: TickWindow | None, turn: Turn) -> None:
        """The strategists behind the one that decided last have their turn, as they would have had it without the restart."""
        names = list(self.settings.strategies)
        if turn.strategy not in names:
            return  # it is not configured any more, and nobody knows where it stood
        behind = self._strategists[names.index(turn.strategy) + 1 :]
        for ref in behind:
            await self._strategist(ref, Run(window, turn.stamp, self._journal_to, turn.told_to))
        await self._confirm(window, turn.stamp, behind)

    async def _agree(self, window: TickWindow | None, target: int) -> None:
        """All strategists stand at ``target``: what they decide there, and all that it leads to."""
        await self._confirm(window, target)
        await self._catch_up(window, target)

    async def _confirm(self, window: TickWindow | None, target: int, among: Sequence[ActorRef] | None = None) -> None:
        """Decisions go out in config order, and everything settles.

        Where the venue keeps exits, an order may have to wait for the end of others. There, what one decision leads to comes
        before the next decision: a restart between the two could not know how far the first had come by then. Elsewhere
        nothing follows that could come between, and they share their commits.
        """
        unsettled = False
        for ref in self._strategists if among is None else among:
            taken = await self._strategist(ref, Confirm(window, target))
            unsettled = unsettled or taken is not Taken.NOTHING
            if taken is Taken.ASKS:
                await self._count_decision(ref, Stamp.position(target))
                if self.settings.exits_at_venue:
                    await self._settle(target)
                    unsettled = False
        if unsettled:
            await self._settle(target)

    async def _count_decision(self, ref: ActorRef, position: int) -> None:
        """Time stands still while decisions are made: a strategy that answers its own orders for ever would stop it for good."""
        at, count = self._decisions.get(ref.name, (position, 0))
        count = count + 1 if at == position else 1
        self._decisions[ref.name] = (position, count)
        if count >= DECISIONS_MAX:
            why = f"it took {count} decisions at tick {position}, and each brought news for the next: there is no end to that"
            await self._strategist(ref, GiveUp(why))

    async def _run_all(self, window: TickWindow | None, until: int) -> tuple[int, bool]:
        """How far all strategists can go together, and whether any of them decides there."""
        target, decided = until, False
        for ref in self._strategists:
            reached = await self._strategist(ref, Run(window, target, self._journal_to))
            assert isinstance(reached, Reached)
            if reached.stamp < target:
                target, decided = reached.stamp, reached.decided
            elif reached.stamp == target and reached.decided:
                decided = True
        return target, decided

    async def _pass(self, window: TickWindow, start: int, stop: int) -> None:
        quotes, extremes = last_quotes(window, start, stop), window.extremes(start, stop)
        passed = TicksPassed(window, start, stop, quotes, extremes)
        equity: EquitySeen | None = None
        if self.settings.needs_equity:
            equity = await self._executor_side(self._monitor, passed)
        else:
            await self._monitor.send(passed)
        last = window.ticks[stop - 1].position
        if self.settings.lockstep:
            await self._session.send(VenuePassed(window, stop))
        sampled = samples(window, start, stop, self.settings.sample_ticks_every)
        await self._executor.send(See(last, Stamp.after(last), quotes, extremes, equity, sampled))

    async def _settle(self, stamp: int) -> None:
        if self.settings.lockstep:
            self._heard(await self._executor_side(self._executor, Settle(stamp)))

    def _heard(self, sequence: int) -> None:
        self._journal_to = max(self._journal_to, sequence)

    async def _strategist(self, ref: ActorRef, message: Any) -> Any:
        try:
            return await ref.ask(message, timeout_s=ASK_TIMEOUT_S)
        except ActorError as error:
            raise StrategistGone(ref.name) from error

    async def _executor_side(self, ref: ActorRef, message: Any) -> Any:
        """Session, executor and monitor restart the feed with them, so a failure here is this incarnation's end."""
        return await ref.ask(message, timeout_s=ASK_TIMEOUT_S)

    # --- in between ------------------------------------------------------------------------------------------------------

    def _tell_progress(self) -> None:
        source = self._source
        quality, waits = self._told = (source.quality(), self._waits())
        progress = FeedProgress(
            self.settings.account,
            self._at,
            source.info.total,
            source.progress(),
            self._last_ns,
            quality,
            waits or "",
            may_go_silent=source.info.live or waits is not None,
        )
        self._control.latest(("feed", self.settings.account), progress)

    async def _keep_telling(self) -> None:
        """Each window is told of; a long way to one is seen, too: millions of rows may stand before `start`."""
        while not self._over:
            await self.clock.sleep(TELL_EVERY_S)
            if (self._source.quality(), self._waits()) != self._told:
                self._tell_progress()

    def _cut_is_due(self) -> bool:
        if not self._arrived:
            return False  # the past is in the journal already; a cut is of one moment, and the books are at a later one
        many = self._journal_to - self._last_cut_sequence >= self.settings.cut_entries_max
        return many or self.clock.monotonic() - self._last_cut_s >= self.settings.cut_every_s

    async def _cut(self) -> None:
        """A consistent cut: everybody's state at one stamp and one journal sequence, in one transaction."""
        stamp = Stamp.after(self._at)
        if self.settings.sample_ticks_every:
            self._heard(await self._executor_side(self._executor, JournalSamples()))
        for _ in range(CUT_ATTEMPTS_MAX):
            await self._settle(stamp)
            # Of this moment and no later one: a record that arrives while everybody catches up makes the cut begin again.
            sequence = self._journal_to
            await self._catch_up(None, stamp)
            save = Save(sequence, stamp)
            states = [await self._strategist(ref, save) for ref in self._strategists]
            monitor = await self._executor_side(self._monitor, save)
            saved = tuple(state for state in states if isinstance(state, Checkpoint))
            point("feed.before_cut")
            cut = Cut(sequence, self._at, self._last_ns, saved, monitor)
            if await self._executor_side(self._executor, cut):
                point("feed.after_cut")
                break
        else:
            text = f"no state was saved at tick {self._at}: something came in between {CUT_ATTEMPTS_MAX} times; it is tried again"
            self._control.latest(("alert", self.settings.account, "cut"), Alert(self.settings.account, "warning", text))
        self._last_cut_s, self._last_cut_sequence = self.clock.monotonic(), self._journal_to
