"""Signals: caught from the first moment of the process, delivered once there is somebody to act on them.

A signal that comes while modules are still being imported must neither kill the process in the middle of something
nor get lost. So the handlers are installed before anything heavy is imported, signals that nobody takes yet are kept,
and the second request to stop ends the process at once wherever it is: everything that matters is on the disk.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
KEPT_MAX = 64


class SignalInbox:
    """Install it first; :meth:`attach` it later."""

    def __init__(self, others: Iterable[signal.Signals]) -> None:
        self._others = tuple(others)
        self._kept: list[signal.Signals] = []
        self._deliver: Callable[[signal.Signals], object] | None = None
        self.stops = 0

    def install(self) -> None:
        """Take over the handlers. Main thread only."""
        for number in (*STOP_SIGNALS, *self._others):
            signal.signal(number, self._handle)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody asked for a stop before anybody could act on it."""
        return self.stops > 0

    def attach(self, deliver: Callable[[signal.Signals], object]) -> None:
        """From now on ``deliver`` gets every signal, those kept so far first. It must be safe to call from a handler."""
        self._deliver = deliver
        kept, self._kept = self._kept, []
        for number in kept:
            deliver(number)

    def detach(self) -> None:
        """Keep signals again."""
        self._deliver = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        caught = signal.Signals(number)
        if caught in STOP_SIGNALS:
            self.stops += 1
            if self.stops > 1:
                os._exit(128 + number)
        if self._deliver is not None:
            self._deliver(caught)
        elif len(self._kept) < KEPT_MAX:
            self._kept.append(caught)
