"""The feed: conducts one sequence of ticks through an account, until it ends or is told to stop.

What happens at a tick, and in which order, is in :mod:`tradekeel.actors.feed.conducting`; here is the way from the first
tick to the end.
"""

from __future__ import annotations

from typing import Any

from tradekeel.actors.feed.conducting import Conducting, ConductorSettings, StrategistGone
from tradekeel.domain.messages import Stamp
from tradekeel.domain.protocol import (
    CloseExecution,
    Describe,
    EndWorking,
    FeedEnded,
    JournalReached,
    StopFeed,
    StopStrategy,
)
from tradekeel.domain.records import FEED_HAS_ENDED
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.clock import move_on_after
from tradekeel.runtime.faults import point

__all__ = ["ConductorSettings", "Feed"]

FLATTEN_STEPS_MAX = 10_000
FLATTEN_WINDOW_TICKS = 16


class Feed(Conducting):
    """See the module. One an account."""

    async def on_start(self) -> None:
        self._source = await self._make_source()
        self.resources.push_async_callback(self._source.close)
        self.spawn(self._conduct)

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
        while True:
            await self._go_to_lowest_position()
            try:
                ended = await self._drive()
                if ended:
                    await self._end()
                else:
                    await self._stop()
                self._over = True
                self._answer_stop()
                return
            except StrategistGone:
                continue  # it is back at its last saved position: the feed goes back there, too

    async def _drive(self) -> bool:
        """Conduct windows until the feed ends (True) or a stop is asked for (False)."""
        while not self._told_to_stop():
            window = await self._waiting.wait(self._source.next_window, self.settings.window_ticks_max)
            if window is None:
                return not self._told_to_stop()
            self._window, index = window, 0
            while index < len(window.ticks) and not self._told_to_stop():
                index = await self._conduct_window(window, index)
                self._stands_behind(window, index)
                self._tell_progress()
                if self._cut_is_due():
                    await self._cut()
        return False

    # --- the end ---------------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        assert self._stopping is not None
        message, _ = self._stopping
        if self._arrived:  # before that nothing new has happened, and nothing is saved
            await self._stop_strategies(message.reason)
            if message.on_stop == "cancel_entries":
                await self._executor_side(self._executor, EndWorking("entries", message.reason, self._last_ns))
            elif message.on_stop == "flatten":
                await self._flatten(message)
            await self._cut()

    def _answer_stop(self) -> None:
        if self._stopping is not None and (reply := self._stopping[1]) is not None:
            reply.send(True)

    async def _flatten(self, message: StopFeed) -> None:
        """Close everything, and conduct on until the venue has done so: a market order needs a market.

        Entries are paused meanwhile. If the process dies in between, the account stays paused, which is the safe side.
        """
        before = await self._executor_side(self._executor, Describe())
        await self._executor_side(self._executor, EndWorking("flatten", message.reason, self._last_ns))
        until_s = self.clock.monotonic() + message.within_s
        for _ in range(FLATTEN_STEPS_MAX):
            status = await self._executor_side(self._executor, Describe())
            left_s = until_s - self.clock.monotonic()
            if not status.trades or left_s <= 0 or not await self._conduct_on(left_s):
                break
        if not before.paused:
            await self._executor_side(self._executor, EndWorking("resume", message.reason, self._last_ns))

    async def _conduct_on(self, wait_s: float) -> bool:
        """To the next tick at which something happens; first through the rest of the window that the stop interrupted.

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
        index = await self._conduct_window(window, max(0, self._at + 1 - window.first_position))
        self._stands_behind(window, index)
        return True

    async def _stop_strategies(self, reason: str) -> None:
        stamp = Stamp.after(self._at)
        for ref in self._strategists:
            await self._strategist(ref, StopStrategy(self._last_ns, reason))
        await self._settle(stamp)

    async def _end(self) -> None:
        """The feed has ended: drain, expire what works, close the execution."""
        if self.settings.stop_at_end:
            await self._stop_strategies(FEED_HAS_ENDED)
            point("feed.ending")
            await self._executor_side(self._executor, EndWorking("all", FEED_HAS_ENDED, self._last_ns))
            point("feed.ending.drained")
            await self._cut()
            await self._executor_side(self._executor, CloseExecution(FEED_HAS_ENDED, self._last_ns))
            point("feed.ending.closed")
        self._tell_progress()
        self._control.latest(("feed-ended", self.settings.account), FeedEnded(self.settings.account, FEED_HAS_ENDED))
