"""Signals: caught from the first moment of the process, and kept until there is somebody to act on them.

A signal that comes while modules are still being imported must neither kill the process in the middle of something
nor get lost. So the handlers are installed before anything heavy is imported, and the second request to stop ends the
process at once wherever it is: everything that matters is on the disk.

A handler runs between any two instructions of whatever is going on. It therefore does next to nothing: it notes the
signal and wakes the event loop, on which :meth:`SignalInbox.take` hands the signals out. One of each kind is kept at
most, and one that comes again goes behind the others: what was asked for last is done last, and no flood is too long.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SignalInbox:
    """Install it first; :meth:`take` from it later."""

    def __init__(self, others: Iterable[signal.Signals]) -> None:
        self._others = tuple(others)
        self._kept: deque[int] = deque()  # numbers: each of its operations on them is one instruction, for handlers
        self._wake: Callable[[], object] | None = None  # there while somebody waits
        self._stops_already = False
        self.stops = 0

    def install(self) -> None:
        """Take over the handlers. Main thread only."""
        for number in (*STOP_SIGNALS, *self._others):
            signal.signal(number, self._handle)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody asked for a stop, be it before anybody could act on it."""
        return self.stops > 0 or self._stops_already

    def stops_already(self) -> None:
        """A stop was asked for in another way: a signal to stop is a second request now."""
        self._stops_already = True

    async def take(self) -> signal.Signals:
        """The signal that has waited longest, or the next one."""
        import asyncio  # too heavy for what is imported before the handlers are in place

        loop, came = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(came.set)
        try:
            while not self._kept:  # a handler that runs just behind this look has woken us all the same
                await came.wait()
                came.clear()
        finally:
            self._wake = None
        return signal.Signals(self._kept.popleft())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            if self.stops or self._stops_already:
                os._exit(128 + number)
            self.stops += 1
        if number in self._kept:
            self._kept.remove(number)
        self._kept.append(number)
        wake = self._wake
        if wake is not None:
            wake()
