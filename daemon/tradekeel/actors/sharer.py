"""The sharer: brings the ticks of a feed to the stream that other daemons read, and never holds anybody up.

It works beside the account, under a supervisor of its own. While the server is away it says so once, asks again with back-off,
and the outbox keeps what it has room for. What is written twice is written once, so what was not answered is asked again.
A stream that somebody else writes ends the sharing: two writers of one name would take it from each other for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.domain.protocol import Alert
from tradekeel.errors import StoreError
from tradekeel.ports import FeedInfo
from tradekeel.ports.ticks import (
    Begun,
    Counts,
    SharedTick,
    SharedTicks,
    StreamGone,
    StreamHead,
    StreamReplaced,
    Writing,
)
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.clock import move_on_after
from tradekeel.runtime.faults import point
from tradekeel.runtime.interrupt import Interruptible
from tradekeel.runtime.restart import Backoff, backoff_delay_s

BATCH_TICKS_MAX = 1_000
"""Written in one step of the server, which takes some milliseconds."""

AGAIN = Backoff(initial_s=0.1, factor=2.0, max_s=5.0)
IDLE_S = 3_600.0
DRAIN_POLL_S = 0.01
DRAIN_S = 3.0
"""How long a stop waits for what is still to be brought, at most."""
LONG_AWAY = 20
"""So many failures in a row are one and a half minutes, and while it stops some seconds."""


class TicksWait(Struct, frozen=True):
    """There is something to bring."""


class Outbox(Protocol):
    """What the sharer needs of :class:`tradekeel.feeds.sharing.Outbox`."""

    info: FeedInfo
    is_taken: bool
    ended: bool
    run: str
    left_out: int

    def __len__(self) -> int: ...

    @property
    def last(self) -> int:
        """The position behind which writing goes on."""

    def begun(self, begun: Begun) -> None:
        """The stream is ready."""

    def take(self, ticks_max: int) -> tuple[list[SharedTick], Mapping[str, Counts]]:
        """The next ticks, and the counts behind them."""

    def brought(self, ticks: Sequence[SharedTick], counts: Mapping[str, Counts]) -> None:
        """They are there."""


class SharerSettings(Struct, frozen=True, kw_only=True):
    """What is shared, and how much of it is kept."""

    account: str
    run: str  # of a sequence that is begun here; and who writes
    data: str  # what it is of: nothing else is written to it
    ticks_max: int


class Sharer(Actor):
    """See the module."""

    def __init__(
        self, settings: SharerSettings, outbox: Outbox, make_stream: Callable[[], SharedTicks], control: ActorRef
    ) -> None:
        self.settings = settings
        self._outbox = outbox
        self._make_stream = make_stream
        self._control = control
        self._waiting = Interruptible()
        self._sequence = ""  # empty: not begun
        self._has_ended = False  # the end was written
        self._failures = 0
        self._left_out = 0  # ticks that had been left out when the server last took something
        self._gives_up = False
        self._stops = False
        self._pausing = Interruptible()

    async def on_start(self) -> None:
        self._outbox.is_taken = True
        self._stream = self._make_stream()
        self.resources.push_async_callback(self._stream.close)
        self.spawn(self._share)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if not isinstance(message, TicksWait):
            raise TypeError(f"the sharer does not know {type(message).__name__}")
        self._waiting.interrupt()

    async def on_stop(self) -> None:
        """What the server still takes within a moment is brought. One that has been away for long is not waited for."""
        self._stops = True
        self._waiting.interrupt()
        self._pausing.interrupt()
        with move_on_after(self.clock, DRAIN_S):
            while self._has_work and self._failures < LONG_AWAY and not self._gives_up:
                await self.clock.sleep(DRAIN_POLL_S)

    # --- bringing --------------------------------------------------------------------------------------------------------

    async def _share(self) -> None:
        try:
            while not self._gives_up:
                if self._failures:
                    failures = 1 if self._stops else self._failures
                    await self._pausing.wait(self.clock.sleep, backoff_delay_s(AGAIN, failures, self.system.random))
                elif not self._has_work:
                    await self._waiting.wait(self.clock.sleep, IDLE_S)
                    continue
                await self._bring()
        finally:
            self._outbox.is_taken = False

    @property
    def _has_work(self) -> bool:
        return bool(len(self._outbox)) or not self._sequence or (self._outbox.ended and not self._has_ended)

    async def _bring(self) -> None:
        """The next batch, or find out that it cannot be brought now."""
        try:
            if not self._sequence:
                await self._begin()
            await self._write()
        except StreamGone:
            self._sequence = ""  # emptied, or begun anew without its data: the sequence goes on, with a gap
        except StreamReplaced as error:
            self._give_up(f"somebody else writes {self._stream.described} ({error})")
        except StoreError as error:
            self._fail(str(error))
        else:
            self._succeed()

    async def _begin(self) -> None:
        info, outbox = self._outbox.info, self._outbox
        run = outbox.run or self.settings.run  # what was written goes on, also where its server has lost it
        head = StreamHead(run=run, instruments=info.instruments, live=info.live, last=outbox.last)
        begun = await self._stream.begin(head, self.settings.data, self.settings.run)
        outbox.begun(begun)
        self._sequence = begun.run
        point("sharer.begun")

    async def _write(self) -> None:
        outbox = self._outbox
        ticks, counts = outbox.take(BATCH_TICKS_MAX)
        ended = outbox.ended and len(ticks) == len(outbox)
        if not ticks and (not ended or self._has_ended):
            return
        point("sharer.writing")
        writing = Writing(run=self._sequence, writer=self.settings.run, ticks_max=self.settings.ticks_max, ended=ended)
        await self._stream.append(writing, ticks, counts)
        point("sharer.written")
        if ticks:
            outbox.brought(ticks, counts)
        self._has_ended = ended

    # --- how it goes -----------------------------------------------------------------------------------------------------

    def _succeed(self) -> None:
        if self._failures:
            missed = self._outbox.left_out - self._left_out
            gap = f"the {missed} that it missed are a gap to its readers" if missed else "it has missed none"
            self._tell("warning", f"{self._stream.described} takes ticks again; {gap}")
        self._failures, self._outbox.is_taken, self._left_out = 0, True, self._outbox.left_out

    def _fail(self, why: str) -> None:
        if not self._failures:
            self._tell("warning", f"ticks are not shared for now, and trading goes on: {why}")
        self._failures += 1
        self._outbox.is_taken = False

    def _give_up(self, why: str) -> None:
        self._gives_up, self._outbox.is_taken = True, False
        self._tell(
            "warning", f"ticks are not shared any more, and trading goes on: {why}. Give one of the two another name"
        )

    def _tell(self, level: str, text: str) -> None:
        account = self.settings.account
        self._control.latest(("alert", account, "sharer"), Alert(account, level, text))
