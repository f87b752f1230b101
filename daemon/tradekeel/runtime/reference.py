"""The address of an actor: its name, looked up at every send.

So a reference stays good when its actor is restarted, and what is sent while there is no such actor is a dead
letter, not an error of the sender's. Requests are different: whoever waits for an answer learns at once that
there will be none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tradekeel.runtime.clock import Clock, Timer
from tradekeel.runtime.deadletters import DeadLetters
from tradekeel.runtime.errors import ActorDied, RequestTimeout
from tradekeel.runtime.mailbox import Lane, Mailbox
from tradekeel.runtime.reply import Reply

NOT_RUNNING = "not running"
STOPPING = "stopping"


class Directory:
    """The mailboxes of the live actors by name, and what a sender needs beside them."""

    __slots__ = ("boxes", "clock", "dead_letters")

    def __init__(self, clock: Clock, dead_letters: DeadLetters) -> None:
        self.boxes: dict[str, Mailbox] = {}
        self.clock = clock
        self.dead_letters = dead_letters


class Request:
    """One question on its way: the future its asker waits for, and what to tidy up afterwards."""

    __slots__ = ("_box", "_reply", "_timer", "future")

    def __init__(self, future: asyncio.Future[Any], box: Mailbox, reply: Reply, timer: Timer) -> None:
        self.future = future
        self._box = box
        self._reply = reply
        self._timer = timer

    def close(self) -> bool:
        """The answer came, or nobody waits for it any more: then mail that nobody has taken is taken back, if it can be.

        True if it was: then nobody has heard of it, and nobody will.
        """
        self._timer.cancel()
        self.future.cancel()
        if self._reply not in self._box.unanswered:
            return False
        self._box.unanswered.discard(self._reply)
        return self._box.withdraw(reply=self._reply)


class ActorRef:
    """Where to send mail for the actor of this name, in whatever incarnation it lives. Messages are Any
    throughout: the runtime carries every vocabulary and knows none."""

    __slots__ = ("_directory", "name")

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self.name = name

    def __repr__(self) -> str:
        return f"ActorRef({self.name!r})"

    @property
    def alive(self) -> bool:
        """Whether an actor of this name takes mail at this moment."""
        box = self._directory.boxes.get(self.name)
        return box is not None and not box.sealed

    async def send(self, message: Any) -> bool:
        """Send on the reliable lane, waiting for room. False: it became a dead letter.

        A cancelled sender cannot know whether its message moved in at the last moment.
        """
        box = self._directory.boxes.get(self.name)
        if box is not None and box.put(message):
            return True
        return await self._send_slowly(box, message)

    def control(self, message: Any) -> bool:
        """Send on the control lane. Raises MailboxFull when it is full; False: it became a dead letter."""
        box = self._directory.boxes.get(self.name)
        if box is None or box.sealed:
            return self._bury(box, message)
        box.put_control(message)
        return True

    def latest(self, key: Hashable, message: Any, merge: Callable[[Any, Any], Any] | None = None) -> bool:
        """Put into the key's slot; a value that still waits there is replaced, or merged by ``merge(old,
        new)``.

        Raises MailboxFull when a new key finds no slot; False: it became a dead letter.
        """
        box = self._directory.boxes.get(self.name)
        if box is None or box.sealed:
            return self._bury(box, message)
        box.put_latest(key, message, merge)
        return True

    async def ask(self, message: Any, *, timeout_s: float, lane: Lane = Lane.RELIABLE) -> Any:
        """Send a request and wait for its answer; the deadline covers the wait for room, too.

        Raises ActorDied at once if there is no such live actor or as soon as it dies, RequestTimeout if no
        answer came in time, MailboxFull if the control lane is asked for and full, and whatever the actor
        failed the request with.
        """
        request = self.begin(message, timeout_s=timeout_s, lane=lane)
        try:
            return await request.future
        finally:
            request.close()

    def begin(self, message: Any, *, timeout_s: float, lane: Lane = Lane.RELIABLE) -> Request:
        """Send a request without waiting; ``future`` gets the answer, and ``close`` must be called in the end."""
        box = self._directory.boxes.get(self.name)
        if box is None or box.sealed:
            raise ActorDied(self.name, NOT_RUNNING if box is None else STOPPING)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply = Reply(future, box.unanswered)
        if lane is Lane.CONTROL:
            try:
                box.put_control(message, reply)
            except BaseException:
                box.unanswered.discard(reply)
                raise
        else:
            assert lane is Lane.RELIABLE, "requests travel on the reliable or the control lane"
            box.put_request(message, reply)

        def expire() -> None:
            if not future.done():
                future.set_exception(RequestTimeout(self.name, type(message).__name__, timeout_s))

        clock = self._directory.clock
        return Request(future, box, reply, clock.call_at(clock.monotonic() + timeout_s, expire))

    async def _send_slowly(self, box: Mailbox | None, message: Any) -> bool:
        if box is None or box.sealed:
            return self._bury(box, message)
        admitted = box.put_waiting(message)
        try:
            return await admitted
        except asyncio.CancelledError:
            box.withdraw(admitted=admitted)
            raise

    def _bury(self, box: Mailbox | None, message: Any) -> bool:
        why = NOT_RUNNING if box is None else STOPPING
        self._directory.dead_letters.add(self.name, message, why)
        return False


async def ask_each(asks: Sequence[tuple[ActorRef, Any]], *, timeout_s: float) -> list[Any]:
    """Send all requests, then wait for all answers, in the order of the requests. The first failure is raised, as by ``ask``."""
    begun: list[Request] = []
    try:
        for ref, message in asks:
            begun.append(ref.begin(message, timeout_s=timeout_s))
        return [await request.future for request in begun]
    finally:
        for request in begun:
            request.close()
