"""The clock, and the only place where the product reads one or draws a random number.

Whatever decides something gets its time from a :class:`Clock` that is handed in: :class:`SystemClock` in the
daemon, :class:`ManualClock` in tests and in the simulator. Deadlines hang on the injected clock too
(:func:`fail_after`, :func:`move_on_after`), so a test moves them by :meth:`ManualClock.advance` and never
sleeps.

Two times, never mixed: ``now_ns`` is UTC and may step in both directions, ``monotonic`` only ever grows and
is what durations and deadlines are made of.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio

NS_PER_S = 1_000_000_000

#: Ten years: a deadline for what somebody else watches, or takes as long as it takes.
FOREVER_S = 10 * 365 * 86_400.0

#: How many turns of the event loop a manual clock waits at most for everybody to come to rest. A task that
#: swallows its cancellation is cancelled again in every turn, so "nothing left to do" may never come.
SETTLE_TURNS_MAX = 2_000

#: Turns without anything to do before a manual clock believes that everybody waits (loops that hide their
#: queue).
_QUIET_TURNS = 6


class Timer(Protocol):
    """A callback that will be called; it can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where time comes from."""

    def now_ns(self) -> int:
        """UTC in nanoseconds; it may step, also backwards."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; the origin means nothing."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def sleep_until(self, monotonic: float) -> None: ...

    def call_at(self, monotonic: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` on the event loop once the monotonic time is reached."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))

    async def sleep_until(self, monotonic: float) -> None:
        await self.sleep(monotonic - time.monotonic())

    def call_at(self, monotonic: float, callback: Callable[[], object]) -> Timer:
        delay_s = max(0.0, monotonic - time.monotonic())
        return asyncio.get_running_loop().call_later(delay_s, callback)


class _ManualTimer:
    """A timer of a manual clock; ordered by deadline, then by the order in which it was set."""

    __slots__ = ("callback", "deadline_ns", "deadline_s", "order")

    def __init__(self, deadline_s: float, order: int, callback: Callable[[], object]) -> None:
        self.deadline_s = deadline_s
        self.deadline_ns = round(deadline_s * NS_PER_S)
        self.order = order
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: _ManualTimer) -> bool:
        return (self.deadline_ns, self.order) < (other.deadline_ns, other.order)


class ManualClock:
    """A clock that stands still until it is told to move.

    Timers fire in the order of their deadlines, ties in the order they were set, one at a time; between two
    of them every task runs until it waits again. So a run on a manual clock is the same run every time. Tasks
    that wait for a thread or a socket count as waiting: give a manual world an ``InlineWorker``.
    """

    def __init__(self, start_ns: int = 0) -> None:
        # Time is kept in whole nanoseconds. A float deadline may lie a hair above its nanosecond: once its
        # timer has fired, monotonic() must not read below it, or "wait until it is past" would wait for ever.
        self._monotonic_ns = 0
        self._reached_s = 0.0
        self._wall_offset_ns = start_ns
        self._timers: list[_ManualTimer] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        return self._wall_offset_ns + self._monotonic_ns

    def monotonic(self) -> float:
        return max(self._monotonic_ns / NS_PER_S, self._reached_s)

    def set_wall(self, ns: int) -> None:
        """Step UTC to ``ns``, as an administrator or NTP would; monotonic time does not notice."""
        self._wall_offset_ns = ns - self._monotonic_ns

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.monotonic() + seconds)

    async def sleep_until(self, monotonic: float) -> None:
        woken = asyncio.Event()
        timer = self.call_at(monotonic, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    def call_at(self, monotonic: float, callback: Callable[[], object]) -> Timer:
        timer = _ManualTimer(monotonic, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        if timer.deadline_ns <= self._monotonic_ns:
            asyncio.get_running_loop().call_soon(self._fire_due)
        return timer

    @property
    def next_deadline_s(self) -> float | None:
        """The monotonic time of the next timer, or None when nobody waits for time to pass."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0].deadline_ns / NS_PER_S if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: wake whoever waited for a moment on the way, in order, and let them all run."""
        assert seconds >= 0, "monotonic time never goes back"
        target_ns = self._monotonic_ns + round(seconds * NS_PER_S)
        await self.settle()
        while self.next_deadline_s is not None and self._timers[0].deadline_ns <= target_ns:
            await self._fire_next()
        self._monotonic_ns = target_ns
        await self.settle()

    async def advance_to_next(self) -> bool:
        """Jump to the next timer and fire it; False when there is none. This is how virtual time runs fast."""
        await self.settle()
        if self.next_deadline_s is None:
            return False
        await self._fire_next()
        return True

    async def settle(self) -> None:
        """Let every other task run until it waits for time, for a message or for the outside world."""
        loop = asyncio.get_running_loop()
        # The queue of asyncio's own loop says exactly whether anything is left; other loops hide theirs.
        ready = getattr(loop, "_ready", None)
        if ready is None:
            await _settle_blindly()
            return
        for _ in range(SETTLE_TURNS_MAX):
            await asyncio.sleep(0)
            if not ready:
                return

    async def _fire_next(self) -> None:
        self._monotonic_ns = max(self._monotonic_ns, self._timers[0].deadline_ns)
        self._pop_and_call()
        await self.settle()

    def _fire_due(self) -> None:
        """Call what is due now: a deadline that had passed when it was set needs no advance."""
        while self._timers and self._timers[0].deadline_ns <= self._monotonic_ns:
            self._pop_and_call()

    def _pop_and_call(self) -> None:
        timer = heapq.heappop(self._timers)
        if timer.callback is not None:
            self._reached_s = max(self._reached_s, timer.deadline_s)
            timer.callback()


async def _settle_blindly() -> None:
    """Believe that everybody waits when nobody has stirred for some turns of the loop.

    To ask all tasks costs more than a turn does. Whoever has run waits for another future than before, so it is enough to ask at
    the first and at the last of these turns.
    """
    turns = 0
    while turns < SETTLE_TURNS_MAX:
        await asyncio.sleep(0)
        turns += 1
        before = _waited_for()
        if before is None:
            continue
        for _ in range(_QUIET_TURNS - 1):
            await asyncio.sleep(0)
        turns += _QUIET_TURNS - 1
        if _waited_for() == before:
            return


def _waited_for() -> dict[asyncio.Task[object], object] | None:
    """What each other task waits for; None if one of them does not wait."""
    this_task = asyncio.current_task()
    found = {}
    for task in asyncio.all_tasks():
        if task is this_task:
            continue
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return None
        found[task] = waiter
    return found


@contextmanager
def move_on_after(clock: Clock, seconds: float | None) -> Iterator[anyio.CancelScope]:
    """Cancel the block after ``seconds`` of the clock's time and go on behind it; None means no deadline."""
    with anyio.CancelScope() as scope:
        timer = None if seconds is None else clock.call_at(clock.monotonic() + seconds, scope.cancel)
        try:
            yield scope
        finally:
            if timer is not None:
                timer.cancel()


@contextmanager
def fail_after(clock: Clock, seconds: float | None) -> Iterator[anyio.CancelScope]:
    """Cancel the block after ``seconds`` of the clock's time and raise TimeoutError; None means no deadline."""
    with move_on_after(clock, seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TimeoutError(f"not done within {seconds:g} s")


def pause(seconds: float) -> None:
    """Let time pass, in a thread that has nothing else to do; never on an event loop."""
    time.sleep(seconds)


def new_id(source: random.Random | None = None) -> str:
    """A random 128-bit id: 26 characters of lower-case base32. ``source`` makes it repeatable (simulator, tests)."""
    raw = secrets.token_bytes(16) if source is None else source.randbytes(16)
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def make_random(seed: int | None = None) -> random.Random:
    """A random source of its own: repeatable from a seed, or seeded by the operating system."""
    return random.Random(seed)
