"""The feed: conducts one sequence of ticks through an account, until it ends or is told to stop.

What happens at a tick, and in which order, is in :mod:`tradekeel.actors.feed.conducting`; here is the way from the first
tick to the end.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tradekeel.actors.feed.conducting import Conducting, ConductorSettings, StrategistGone
from tradekeel.domain.counting import counted
from tradekeel.domain.messages import Stamp
from tradekeel.domain.protocol import (
    AccountStatus,
    Alert,
    CloseExecution,
    Describe,
    EndWorking,
    FeedEnded,
    JournalReached,
    MissTicks,
    StopFeed,
    StopStrategy,
    TakeNoMore,
)
from tradekeel.domain.rows import FEED_HAS_ENDED, Latch
from tradekeel.domain.ticks import TickWindow
from tradekeel.ports import last_bars_of, waits_of
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.clock import FOREVER_S, move_on_after
from tradekeel.runtime.faults import point

__all__ = ["ConductorSettings", "Feed"]

FLATTEN_TICKS_MAX = 100_000
"""Ticks that a stop conducts while it flattens: many, since ticks of what is not held count, too; time is what ends it."""
FLATTEN_ASKS_MAX = 100
"""A venue that rejects every exit is not asked for ever: in a replay a second holds thousands of ticks."""
FLATTEN_WINDOW_TICKS = 16
UNTIL_STOPPED_S = FOREVER_S


class Flattening(Struct):
    """How far the flattening of a stop has come; it goes on after a strategist's death."""

    until_s: float
    has_paused: bool  # the stop itself: what a person had paused stays so
    asks: int = 0  # how often exits were asked for again


class Feed(Conducting):
    """See the module. One an account."""

    _flattening: Flattening | None = None

    async def on_start(self) -> None:
        self._source = await self._make_source()
        self._waits = waits_of(self._source)
        self.resources.push_async_callback(self._source.close)
        self.spawn(self._conduct)
        self.spawn(self._keep_telling)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case JournalReached(sequence):
                self._journal_to = max(self._journal_to, sequence)
            case StopFeed() if self._over:
                if reply is not None:
                    reply.send(True)
            case StopFeed():
                self._stopping = (message, reply)
                self._waiting.interrupt()
            case _:
                raise TypeError(f"the feed does not know {type(message).__name__}")

    # --- the whole way ---------------------------------------------------------------------------------------------------

    async def _conduct(self) -> None:
        while not self._over:
            try:
                await self._go_to_lowest_position()
                at_end = await self._drive()
                if at_end and self.settings.stop_at_end:
                    await self._end()
                else:
                    if at_end:
                        await self._wait_at_the_end()
                    await self._stop()
            except StrategistGone as gone:  # it is back at its last saved position: the feed goes back there, too
                self._have_stopped.discard(gone.name)
            else:
                self._over = True
                self._answer_stop()

    async def _drive(self) -> bool:
        """Conduct windows until the feed ends (True) or has come to where it stops (False)."""
        while not self._stops_here():
            window = await self._next_window()
            if window is None:
                return not self._told_to_stop()
            if not await self._is_next(window):
                continue
            self._window, index = window, 0
            while index < len(window.ticks) and not self._stops_here():
                index = await self._conduct_window(window, index)
                self._stands_behind(window, index)
                self._tell_progress()
                if self._cut_is_due():
                    await self._cut()
        return False

    async def _next_window(self) -> TickWindow | None:
        """None: the feed has ended, or a stop has cut the wait short."""
        window, count = None, self.settings.window_ticks_max
        if not self._told_to_stop():
            window = await self._waiting.wait(self._source.next_window, count)
        if window is None and self._told_to_stop() and not self._stops_here():
            window = await self._source.next_window(count)  # on the way back: these ticks were there before
        return window

    async def _is_next(self, window: TickWindow) -> bool:
        """Whether this window is to be conducted; before one that begins behind missing ticks, everybody is told of them."""
        behind = window.first_position - 1
        if self._nobody_saw and behind:
            await self._begin_behind(behind, window.ticks[0].ts_ns)
        elif window.gap:
            return await self._pass_gap(window)
        self._nobody_saw = False
        return True

    async def _begin_behind(self, behind: int, ts_ns: int) -> None:
        """The first tick of all is a later one: what came before is before everybody's time. A restart begins there, too."""
        await self._miss(MissTicks(behind, ts_ns, gap=False))
        await self._catch_up(None, Stamp.after(behind))
        await self._cut()

    async def _pass_gap(self, window: TickWindow) -> bool:
        """Everybody goes on behind the ticks that are missing, as after a restart on a feed that cannot be replayed.

        On the way back nobody knows what was decided on them: then it goes on behind all that anybody has seen. A restart
        begins behind the gap, and does not meet it again.
        """
        behind, ts_ns = window.first_position - 1, window.ticks[0].ts_ns
        seen, at = self._at, behind
        if not self._arrived:
            at = max(behind, self._furthest, Stamp.position(self._frontier))
        if window.lost is not None and at == behind:
            lost = (
                f"{window.lost:,} ticks of what it had shared are"
                if window.lost
                else "nothing of what it had shared is"
            )
            told = (
                f"its feed goes on at tick {at + 1:,}, since whoever shares it was started anew: {lost} missing, and what the "
                "market told meanwhile nobody shared"
            )
        elif at > seen:
            told = f"ticks {seen + 1:,} to {at:,} of its feed are missing"
        else:
            told = f"what its bars were built of at tick {at:,} is missing"
        self._warn(f"{told}: strategies have been told, and no entry is taken before they are warm again")
        if at > behind:
            await self._source.open(at, at)
        await self._miss(MissTicks(at, ts_ns, gap=True))
        if not self._arrived:
            await self._arrive()
        await self._catch_up(None, max(Stamp.after(at), self._frontier))
        await self._cut()
        return at == behind

    async def _miss(self, missed: MissTicks) -> None:
        """Everybody stands behind them now."""
        if self.settings.lockstep:
            await self._executor_side(self._session, missed)
        await self._executor_side(self._monitor, missed)
        for ref in self._strategists:
            await self._strategist(ref, missed)
        self._at, self._last_ns, self._window = missed.position, max(self._last_ns, missed.ts_ns), None

    # --- the end ---------------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        assert self._stopping is not None
        message, _ = self._stopping
        if not self._arrived:  # nothing new has happened, and nothing is saved
            if message.on_stop != "keep":
                self._warn(f'the stop came before recovery was done: on_stop = "{message.on_stop}" is left undone')
            return
        await self._executor_side(self._executor, TakeNoMore())
        await self._stop_strategies(message.reason)
        if message.on_stop == "cancel_entries":
            await self._executor_side(self._executor, EndWorking("entries", message.reason, self._last_ns))
        elif message.on_stop == "flatten":
            await self._flatten(message)
        await self._cut()
        if message.on_stop == "flatten":
            self._tell_what_is_left(await self._describe())

    def _answer_stop(self) -> None:
        if self._stopping is not None and (reply := self._stopping[1]) is not None:
            reply.send(True)

    async def _flatten(self, message: StopFeed) -> None:
        """Close everything, and conduct on until the venue has done so: a market order needs a market.

        Entries are paused meanwhile. If the process dies in between, the account stays paused, which is the safe side.
        """
        status = await self._describe()
        if self._flattening is None:
            if status.latch is Latch.HALTED:
                return  # nothing would be sent: there is nothing to wait for
            self._flattening = Flattening(self.clock.monotonic() + message.within_s, not status.paused)
            await self._executor_side(self._executor, EndWorking("flatten", message.reason, self._last_ns))
            status = await self._describe()
        flattening = self._flattening
        for _ in range(FLATTEN_TICKS_MAX):
            left_s = flattening.until_s - self.clock.monotonic()
            if not status.trades or status.latch is Latch.HALTED or left_s <= 0 or not await self._conduct_on(left_s):
                break
            status = await self._close_again(flattening, message.reason)
        if flattening.has_paused:
            await self._executor_side(self._executor, EndWorking("resume", message.reason, self._last_ns))

    async def _close_again(self, flattening: Flattening, reason: str) -> AccountStatus:
        """Ask for the exits that the venue has rejected; where they are all under way this asks for nothing."""
        before = await self._describe()
        if not before.trades or flattening.asks >= FLATTEN_ASKS_MAX:
            return before
        reached = await self._executor_side(self._executor, EndWorking("close", reason, self._last_ns))
        if reached > before.sequence:
            flattening.asks += 1
        return await self._describe()

    async def _conduct_on(self, wait_s: float) -> bool:
        """Conduct the next tick; first of the rest of the window that the stop interrupted.

        False: there are no more ticks, or none came in time.
        """
        window = self._window
        if window is None or self._at >= window.last_position:
            window = None
            with move_on_after(self.clock, wait_s):
                window = await self._source.next_window(FLATTEN_WINDOW_TICKS)
            if window is None:
                return False
            self._window = window
        index = max(0, self._at + 1 - window.first_position)
        self._stands_behind(window, await self._conduct_window(window, index, index + 1))
        return True

    def _tell_what_is_left(self, status: AccountStatus) -> None:
        if not status.trades:
            return
        left = f'on_stop = "flatten" leaves {counted(status.trades, "trade")} open'
        if status.latch is Latch.HALTED:
            self._warn(f"{left}: the account is halted, and nothing is sent until it is released (tradekeel release)")
        else:
            self._warn(
                f"{left}: the venue keeps their exits, or the monitor does, which watches from the next start on again"
            )

    def _warn(self, text: str) -> None:
        account = self.settings.account
        self._control.latest(("alert", account, text), Alert(account, "warning", text))

    async def _describe(self) -> AccountStatus:
        status = await self._executor_side(self._executor, Describe())
        assert isinstance(status, AccountStatus)
        return status

    async def _stop_strategies(self, reason: str, *, for_good: bool = False) -> None:
        """Each is told once: while one comes back after its death, the others know already."""
        stamp = Stamp.after(self._at)
        bars = last_bars_of(self._source) if for_good else ()
        for ref in self._strategists:
            if ref.name not in self._have_stopped:
                await self._strategist(ref, StopStrategy(self._last_ns, reason, for_good, bars))
                self._have_stopped.add(ref.name)
        await self._settle(stamp)

    async def _end(self) -> None:
        """The feed has ended: drain, expire what works, close the execution."""
        await self._executor_side(self._executor, TakeNoMore())
        await self._stop_strategies(FEED_HAS_ENDED, for_good=True)
        point("feed.ending")
        await self._executor_side(self._executor, EndWorking("all", FEED_HAS_ENDED, self._last_ns))
        point("feed.ending.drained")
        await self._cut()
        await self._executor_side(self._executor, CloseExecution(FEED_HAS_ENDED, self._last_ns))
        point("feed.ending.closed")
        self._tell_end(closed=True)

    async def _wait_at_the_end(self) -> None:
        """The execution stays open, and so a stop is still to come that does what it says and saves everything."""
        self._tell_end(closed=False)
        while not self._told_to_stop():
            await self._waiting.wait(self.clock.sleep, UNTIL_STOPPED_S)

    def _tell_end(self, *, closed: bool) -> None:
        self._tell_progress()
        account = self.settings.account
        self._control.latest(("feed-ended", account), FeedEnded(account, FEED_HAS_ENDED, closed))
