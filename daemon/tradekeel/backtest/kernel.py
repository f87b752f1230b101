"""One sequence of ticks, conducted through an account in the daemon's order of events.

*Venue match → fills → monitor → strategists in config order → gate → commit → venue accept → next tick*, as told in
docs/architecture.md. It asks everybody how far it is quiet, lets the strategists run that far in one go, and goes tick by tick
where something happens: the same way as :mod:`tradekeel.actors.feed.conducting`, without its waiting and its way back after a
kill. An order meets the venue's next look at the market, never the tick that it was decided on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import structs

from tradekeel.backtest.account import Account
from tradekeel.backtest.snapshots import Snapshots
from tradekeel.domain.messages import Decision, Emit, Stamp
from tradekeel.domain.monitor import MonitorCore, last_quotes
from tradekeel.domain.records import next_sample, sampled
from tradekeel.domain.rows import FEED_HAS_ENDED
from tradekeel.domain.ticks import NEVER_NS, Bar, Tick, TickWindow
from tradekeel.errors import Defect, InputError, TradekeelError, named
from tradekeel.strategies.core import StrategistCore

DECISIONS_MAX = 1_000
"""Decisions of one strategy at one tick that ask for something: beyond this it answers its own orders for ever."""

ROUNDS_MAX = 100_000

position_of = attrgetter("position")

T = TypeVar("T")


class Kernel:
    """See the module. The cores are the daemon's; they follow ``account``'s journal."""

    def __init__(
        self,
        account: Account,
        monitor: MonitorCore,
        strategists: Sequence[StrategistCore],
        *,
        exits_at_venue: bool,
        needs_equity: bool,
        snapshots: Snapshots | None = None,
        snapshot_due_ns: int = 0,
        begins_ns: int = 0,
        sample_ticks_every: int = 0,
    ) -> None:
        """A saved state says when the next of the ``snapshots`` is due; at the beginning that follows from the first tick that
        counts, which is not before ``begins_ns``.
        """
        self.account = account
        self.monitor = monitor
        self.strategists = tuple(strategists)
        self._matcher = account.exchange.matcher
        self._exits_at_venue = exits_at_venue
        self._needs_equity = needs_equity
        self._snapshots = snapshots
        self._begins_ns = begins_ns
        self._sample_every = sample_ticks_every
        self.snapshot_due_ns = NEVER_NS if snapshots is None else max(snapshot_due_ns, begins_ns)
        self._told_to = account.book.sequence  # the journal's end when all strategies were asked what they want
        self._decisions: dict[str, tuple[int, int]] = {}  # by strategy: the tick, and how many decisions there

    @property
    def position(self) -> int:
        """The last tick that was conducted."""
        return self._matcher.position

    @property
    def counts(self) -> int:
        """How many of the ticks up to there were no warm-up."""
        return self.monitor.tracker.state.ticks

    @property
    def is_over(self) -> bool:
        """Whether the execution is closed: nothing follows any more."""
        row = self.account.book.execution
        return row is not None and row.closed_ns is not None

    def start(self) -> None:
        """Every strategy's ``on_start``, and all that follows from it."""
        self.account.equity_seen(self.monitor.seen())
        for strategist in self.strategists:
            _own(strategist, strategist.start, self.account.last_ns)
        self._catch_up(None, Stamp.after(0))

    def conduct(self, window: TickWindow) -> None:
        """The next ticks."""
        ticks = window.ticks
        count = len(ticks)
        index = 0
        while index < count:
            if ticks[index].ts_ns >= self.snapshot_due_ns:
                self._take_snapshot(ticks[index].ts_ns)
            acts = min(count, self._matcher.quiet_until(window, index))
            calm = self.monitor.quiet_until(window, index, acts)
            if calm > index and ticks[calm - 1].ts_ns >= self.snapshot_due_ns:
                calm = next(at for at in range(index, calm) if ticks[at].ts_ns >= self.snapshot_due_ns)
            calm = self._until_sampled(window, index, calm)
            if calm > index:
                done = self._quiet_ticks(window, index, calm)
            else:
                self._loud_tick(window, index, venue_acts=acts == index)
                done = index + 1
            if done > index:
                self._sample(ticks[done - 1])
            index = done

    def _until_sampled(self, window: TickWindow, index: int, calm: int) -> int:
        """Nobody goes on ahead of a tick that becomes a record: how much of the journal was there at the next decision would
        follow from how many ticks are conducted at a time.
        """
        every = self._sample_every
        if not every:
            return calm
        first = window.first_position
        return min(calm, next_sample(first + index, every) - first + 1)

    def _sample(self, tick: Tick) -> None:
        """One tick in so many becomes a record, behind all that happened at it."""
        every = self._sample_every
        if every and next_sample(tick.position, every) == tick.position:
            self.account.core.at(Stamp.after(tick.position))
            self.account.sample((sampled(tick),))

    def rest(self) -> None:
        """Have everybody take over all that has happened: between two windows nothing is under way then."""
        stamp = Stamp.after(self._matcher.position)
        self.account.settle(stamp)
        self._catch_up(None, stamp)
        self.monitor.follow(stamp)
        self._matcher.take_changes()  # nobody writes them into a ledger, and they are not to pile up

    def end(self, reason: str = FEED_HAS_ENDED, last_bars: Sequence[Bar] = ()) -> None:
        """The ticks are over: every strategy's ``on_stop``, behind the bars of the last one, and the execution is closed."""
        self.rest()  # all have heard of the same, whether or not a state was saved here
        self.account.core.stopping = True
        for strategist in self.strategists:
            now_ns, told_to = self.account.last_ns, self._told_to
            last = _own(strategist, strategist.stop, now_ns, reason, True, told_to, last_bars)
            self._take(last)
        self.account.settle(Stamp.after(self.position))
        self._take_snapshot(self.account.last_ns)
        self.account.expire(reason)
        self.rest()  # what strategies answer to that comes to nothing, and before the end
        self.account.close(reason)

    def _take_snapshot(self, now_ns: int) -> None:
        """The account's figures, and the last tick of each instrument, before anything happens at ``now_ns``: what curves are
        drawn from. It follows from the ticks' times alone, and nobody is told.
        """
        account, snapshots = self.account, self._snapshots
        if snapshots is None:
            return
        if self.snapshot_due_ns > self._begins_ns:
            stamp = Stamp.after(self.position)
            self.monitor.follow(stamp)
            account.core.at(stamp)
            row = account.book.execution
            assert row is not None
            at_ns = min(self.snapshot_due_ns, now_ns)
            taken = self.monitor.snapshot(
                row.execution, at_ns, account.core.terms.parameter_mode, with_metrics=snapshots.with_metrics
            )
            account.note(structs.replace(taken, stamp=stamp))
            account.sample(sampled(tick) for tick in sorted(self._matcher.marks.values(), key=position_of))
        first_ns = self.monitor.tracker.state.curve.first_ns
        self.snapshot_due_ns = snapshots.after(now_ns, now_ns if first_ns is None else first_ns)

    # --- one tick at a time, many ticks at once ---------------------------------------------------------------------------

    def _quiet_ticks(self, window: TickWindow, index: int, calm: int) -> int:
        until = Stamp.after(window.ticks[calm - 1].position)
        target, decided = self._run_all(window, until)
        done = min(calm, max(index, (target - 1) // 2 - window.first_position + 1))
        if done > index:
            self._pass(window, index, done)
        if decided or target < until:
            self._confirm(window, target)
            self._catch_up(window, target)
        return done

    def _loud_tick(self, window: TickWindow, index: int, *, venue_acts: bool) -> None:
        tick = window.ticks[index]
        before, after = Stamp.before(tick.position), Stamp.after(tick.position)
        # Also with no trade open: the range of a trade begins with the tick at which it is entered.
        quotes, covered = last_quotes(window, index, index + 1), window.extremes(index, index + 1)
        self.account.see(window, index, index + 1, before, quotes, covered)
        if venue_acts:
            self.account.match(window, index)
        else:
            self._matcher.advance(window, index + 1)
        if self._watch(window, index):
            self.account.settle(before)
        self._catch_up(window, before)
        self._catch_up(window, after)

    def _watch(self, window: TickWindow, index: int) -> bool:
        """What the monitor makes of a tick; whether it asks for anything."""
        account, core, tick = self.account, self.account.core, window.ticks[index]
        seen = self.monitor.at(tick)
        core.at(Stamp.before(tick.position))
        account.last_ns = now_ns = max(account.last_ns, tick.ts_ns)
        for move in seen.moves:
            account.take(core.move_stop(move.trade_id, move.stop, move.best, None, now_ns))
        if seen.trip is not None:
            account.take(core.latch(seen.trip.latch, seen.trip.sentence, "risk", now_ns))
        if seen.exits:
            wishes = tuple((exit_.trade_id, exit_.reason.value) for exit_ in seen.exits)
            account.take(core.exit_trades(wishes, "monitor", now_ns))
        account.equity_seen(self.monitor.seen())
        return bool(seen)

    def _catch_up(self, window: TickWindow | None, until: int) -> None:
        """Bring all strategists to ``until``, with all that their decisions on the way lead to."""
        goals = [until]
        for _ in range(ROUNDS_MAX):
            target, decided = self._run_all(window, goals[-1])
            if decided or target < goals[-1]:
                self._confirm(window, target)
                if target < goals[-1]:
                    goals.append(target)  # first everybody handles there what was decided there
            else:
                goals.pop()
                if not goals:
                    return
        raise Defect(f"no end to the decisions at tick {Stamp.position(until)}")

    def _run_all(self, window: TickWindow | None, until: int) -> tuple[int, bool]:
        """How far all strategists can go together, and whether any of them decides there."""
        target, decided = until, False
        self._told_to = self.account.book.sequence
        for strategist in self.strategists:
            reached = _own(strategist, strategist.run, window, target)
            more = strategist.has_more(reached)
            if reached < target:
                target, decided = reached, more
            elif reached == target and more:
                decided = True
        return target, decided

    def _confirm(self, window: TickWindow | None, target: int) -> None:
        """Decisions go out in config order, and everything settles; see Conducting._confirm for when."""
        for strategist in self.strategists:
            asks = self._take(_own(strategist, strategist.confirm, window, target, self._told_to))
            if asks:
                self._count_decision(strategist, Stamp.position(target))
                if self._exits_at_venue:
                    self.account.settle(target)
        self.account.settle(target)

    def _take(self, decision: Decision | None) -> bool:
        """Hand a decision on; whether it asks for anything that brings news."""
        if decision is None:
            return False
        self.account.decide(decision)
        return not all(isinstance(request, Emit) for request in decision.requests)

    def _count_decision(self, strategist: StrategistCore, position: int) -> None:
        name = strategist.settings.name
        at, count = self._decisions.get(name, (position, 0))
        count = count + 1 if at == position else 1
        self._decisions[name] = (position, count)
        if count >= DECISIONS_MAX:
            raise InputError(
                f"strategy {name}: it took {count} decisions at tick {position}, and each brought news for the next: "
                "there is no end to that"
            )

    def _pass(self, window: TickWindow, start: int, stop: int) -> None:
        """The ticks of ``[start, stop)`` were quiet. What range they covered matters to trades, and to limits on losses."""
        account = self.account
        quotes = last_quotes(window, start, stop)
        covered = window.extremes(start, stop) if self._needs_equity or account.book.trades else {}
        seen = self.monitor.passed(window, start, stop, quotes, covered)
        if self._needs_equity:
            account.equity_seen(seen)
        self._matcher.advance(window, stop)
        account.see(window, start, stop, Stamp.after(window.ticks[stop - 1].position), quotes, covered)


def _own(strategist: StrategistCore, step: Callable[..., T], *args: Any) -> T:
    """Run a step of a strategy's. What its code throws ends the run: nothing of it would be what the strategy was meant to do."""
    try:
        return step(*args)
    except TradekeelError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"strategy {strategist.settings.name} threw at tick {strategist.position:,}: {named(error)} "
            f"({where.filename}:{where.lineno})"
        ) from error
