"""A mailbox: bounded lanes, each with a named overflow policy, read in batches by one receiver.

============  =============================  =============================================================
lane          when it is full                what it is for
============  =============================  =============================================================
``control``   raises to the sender           commands that must not wait behind work; always served first
``results``   raises to the sender           what the actor's own requests and child tasks bring back
``reliable``  the sender waits               work; nothing is dropped, the order is kept
``latest``    newer replaces older, counted  values of which only the newest matters, one slot a key
============  =============================  =============================================================

Within a lane mail is first in, first out (a replaced value keeps its place in the queue). A batch holds
control mail first, then results, then reliable mail, then the latest values; while both of the last two wait,
a quarter of the batch is kept for the latest values, so that a flood of work cannot starve them.

Everything happens on one event loop. The fast path touches a deque and, only when the receiver sleeps, one
future: no lock and no asyncio primitive per message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from tradekeel.runtime.errors import MailboxFull
from tradekeel.runtime.reply import Reply


class Lane(Enum):
    """The lanes of a mailbox."""

    CONTROL = "control"
    RESULTS = "results"
    RELIABLE = "reliable"
    LATEST = "latest"


class Envelope(NamedTuple):
    """A message and, for a request, where its answer goes. Any: the runtime carries every vocabulary and knows none."""

    message: Any
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class MailboxLimits:
    """The bounds of a mailbox, one a lane."""

    control_max: int = 64
    results_max: int = 4_096
    reliable_max: int = 1_024
    latest_keys_max: int = 1_024

    def __post_init__(self) -> None:
        bounds = (self.control_max, self.results_max, self.reliable_max, self.latest_keys_max)
        assert min(bounds) >= 1, "every lane holds at least one message"


class _Waiting(NamedTuple):
    """Mail whose lane is full: it moves in by itself when there is room, and then its sender goes on."""

    envelope: Envelope
    admitted: asyncio.Future[bool] | None


class Mailbox:
    """Bounded lanes with one receiver. ``monotonic`` times how long mail waited, once a wake-up."""

    __slots__ = (
        "_control",
        "_high_water",
        "_latest",
        "_limits",
        "_monotonic",
        "_receiver",
        "_reliable",
        "_reliable_max",
        "_results",
        "_sealed",
        "_senders",
        "replaced",
        "unanswered",
        "waiting_since_s",
    )

    def __init__(self, limits: MailboxLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._reliable_max = limits.reliable_max
        self._monotonic = monotonic
        self._control: deque[Envelope] = deque()
        self._results: deque[Envelope] = deque()
        self._reliable: deque[Envelope] = deque()
        self._latest: dict[Hashable, Envelope] = {}
        self._senders: deque[_Waiting] = deque()
        self._receiver: asyncio.Future[None] | None = None
        self._sealed = False
        self._high_water = 0
        self.replaced = 0
        #: The requests that came through this mailbox and have no answer yet.
        self.unanswered: set[Reply] = set()
        #: When the oldest mail that woke the receiver came; None while nobody was woken.
        self.waiting_since_s: float | None = None

    # --- what senders call
    # ---------------------------------------------------------------------------------------

    def put(self, message: Any, reply: Reply | None = None) -> bool:
        """Queue on the reliable lane if there is room; False means that the caller has to wait for it."""
        # Senders only ever wait behind a full lane, and move in when something leaves it: so nobody passes them.
        if self._sealed or len(self._reliable) >= self._reliable_max:
            return False
        self._reliable.append(Envelope(message, reply))
        if self._receiver is not None:
            self._wake(self._receiver)
        return True

    def put_waiting(self, message: Any, reply: Reply | None = None) -> asyncio.Future[bool]:
        """Queue behind the full reliable lane. The future says True once the mail moved in, False if it never will."""
        admitted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._senders.append(_Waiting(Envelope(message, reply), admitted))
        return admitted

    def put_request(self, message: Any, reply: Reply) -> None:
        """Queue a request, if need be behind the full lane: the requester waits for the answer and nothing else."""
        if not self.put(message, reply):
            self._senders.append(_Waiting(Envelope(message, reply), None))

    def withdraw(self, *, admitted: asyncio.Future[bool] | None = None, reply: Reply | None = None) -> bool:
        """Take back mail whose sender gave up: what still waits for room, and a control request that nobody has taken yet.

        Other mail that moved in stays. True if there was any to take back.
        """
        before = len(self._senders) + len(self._control)
        if self._senders:
            self._senders = deque(
                waiting
                for waiting in self._senders
                if (admitted is None or waiting.admitted is not admitted)
                and (reply is None or waiting.envelope.reply is not reply)
            )
        if reply is not None and self._control:
            # It would be done behind the asker's back; and while nobody takes mail, such requests would use up the lane.
            self._control = deque(envelope for envelope in self._control if envelope.reply is not reply)
        return len(self._senders) + len(self._control) < before

    def put_control(self, message: Any, reply: Reply | None = None) -> None:
        """Queue on the control lane; raises :class:`MailboxFull` when it is full."""
        self._put_bounded(self._control, Envelope(message, reply), Lane.CONTROL, self._limits.control_max)

    def put_result(self, message: Any) -> None:
        """Queue what the owner's own request or child task brought back; accepted until the mailbox is closed."""
        self._put_bounded(self._results, Envelope(message), Lane.RESULTS, self._limits.results_max)

    def put_answer(self, message: Any) -> None:
        """Queue the answer to a request of the owner's: its place was reserved when the request was made."""
        self._results.append(Envelope(message))
        self.wake()

    def put_latest(self, key: Hashable, message: Any, merge: Callable[[Any, Any], Any] | None = None) -> None:
        """Put into the key's slot. A value that still waits there is replaced, or merged by ``merge(old, new)``."""
        waiting = self._latest.get(key)
        if waiting is not None:
            self.replaced += 1
            self._latest[key] = Envelope(message if merge is None else merge(waiting.message, message))
            return
        if len(self._latest) >= self._limits.latest_keys_max:
            raise MailboxFull(Lane.LATEST.value, self._limits.latest_keys_max)
        self._latest[key] = Envelope(message)
        if self._receiver is not None:
            self._wake(self._receiver)

    # --- what the owner calls
    # ------------------------------------------------------------------------------------

    async def receive(self, batch_max: int, *, linger: bool = False) -> list[Envelope]:
        """The next batch; empty when the mailbox is sealed and nothing is left, unless told to ``linger`` for
        results.

        Gives the event loop a turn each time, also under a flood: an actor that always has mail must not
        starve others.
        """
        if self.depth:
            await asyncio.sleep(0)
        elif linger or not self._sealed:
            await self._wait()
        return self.take(batch_max)

    def take(self, batch_max: int) -> list[Envelope]:
        """What waits now, up to ``batch_max``, without waiting for more."""
        self._high_water = max(self._high_water, self.depth)
        batch: list[Envelope] = []
        _move(self._control, batch, batch_max)
        _move(self._results, batch, batch_max - len(batch))
        room = batch_max - len(batch)
        latest_share = min(len(self._latest), max(1, room // 4)) if room > 1 else 0
        _move(self._reliable, batch, room - latest_share)
        if self._latest:
            batch.extend([self._latest.pop(key) for key in list(self._latest)[: batch_max - len(batch)]])
        if self._senders:
            self._admit(self._reliable_max)
        return batch

    def pop_control(self) -> Envelope:
        """The first control mail that waits: an actor in the middle of a long batch serves it in between."""
        return self._control.popleft()

    def wake(self) -> None:
        """Let a waiting :meth:`receive` return at once, with whatever there is."""
        if self._receiver is not None:
            self._wake(self._receiver)

    def seal(self) -> list[Envelope]:
        """Accept nothing more except results; returns the latest values, which are not drained.

        Mail whose senders wait for room moves in: it was on its way before, and there are never more than
        senders.
        """
        self._sealed = True
        self._admit(len(self._reliable) + len(self._senders))
        dropped = list(self._latest.values())
        self._latest.clear()
        self.wake()
        return dropped

    def close(self) -> list[Envelope]:
        """Accept nothing more and return everything that waits; waiting senders are told that it was not delivered."""
        self._sealed = True
        left = [*self._control, *self._results, *self._reliable, *self._latest.values()]
        for waiting in self._senders:
            left.append(waiting.envelope)
            if waiting.admitted is not None and not waiting.admitted.done():
                waiting.admitted.set_result(False)
        for lane in (self._control, self._results, self._reliable, self._senders):
            lane.clear()
        self._latest.clear()
        return left

    # --- figures
    # -------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How much mail waits in the lanes."""
        return len(self._reliable) + len(self._latest) + len(self._control) + len(self._results)

    @property
    def control_waits(self) -> bool:
        return bool(self._control)

    @property
    def results_waiting(self) -> int:
        return len(self._results)

    @property
    def sealed(self) -> bool:
        return self._sealed

    @property
    def senders_waiting(self) -> int:
        return len(self._senders)

    @property
    def high_water(self) -> int:
        """The deepest it has been. Mail only leaves in batches, so looking at each batch and now misses no peak."""
        self._high_water = max(self._high_water, self.depth)
        return self._high_water

    # --- inside
    # --------------------------------------------------------------------------------------------------

    def _put_bounded(self, lane: deque[Envelope], envelope: Envelope, name: Lane, limit: int) -> None:
        if len(lane) >= limit:
            raise MailboxFull(name.value, limit)
        lane.append(envelope)
        if self._receiver is not None:
            self._wake(self._receiver)

    def _wake(self, receiver: asyncio.Future[None]) -> None:
        self._receiver = None
        self.waiting_since_s = self._monotonic()
        if not receiver.done():
            receiver.set_result(None)

    async def _wait(self) -> None:
        assert self._receiver is None, "a mailbox has one receiver"
        self._receiver = asyncio.get_running_loop().create_future()
        try:
            await self._receiver
        finally:
            self._receiver = None

    def _admit(self, up_to: int) -> None:
        """Move waiting mail into the reliable lane while there is room, in the order its senders came."""
        while self._senders and len(self._reliable) < up_to:
            waiting = self._senders.popleft()
            if waiting.admitted is not None:
                if waiting.admitted.done():
                    continue  # its sender was cancelled
                waiting.admitted.set_result(True)
            self._reliable.append(waiting.envelope)


def _move(lane: deque[Envelope], batch: list[Envelope], room: int) -> None:
    if len(lane) <= room:
        batch.extend(lane)
        lane.clear()
    else:
        batch.extend([lane.popleft() for _ in range(room)])
