"""What takes a start long: done in a thread, told in the log, and given up when it stands still.

Gigabytes of ticks are hashed, and large books are copied and migrated, before anything is traded. That takes the time it
takes, as long as it goes on; nobody else can tell a slow disk from one that hangs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from tradekeel.runtime.clock import Clock

STALLED_AFTER_S = 600.0
"""Without any sign for so long it is given up. A single step may take long: the commit of a migration, the end of a copy."""

TOLD_EVERY_S = 10.0


class Effort:
    """Work that goes on in one thread, seen from others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved_s: float | None = None  # None: nothing is under way
        self._told_s = 0.0
        self.doing = ""  # empty: nothing that is worth telling
        self.waiting = ""  # for what others have to do first; empty: it goes on by itself

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While the work is done."""
        self._moved_s = self._told_s = self._clock.monotonic()
        try:
            yield
        finally:
            self._moved_s, self.doing, self.waiting = None, "", ""

    def moved(self, what: str) -> None:
        """It goes on; the log says so now and then."""
        now_s = self._clock.monotonic()
        if self._moved_s is None:
            return
        self._moved_s, self.doing, self.waiting = now_s, what, ""
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            logger.info("{}", what)

    def waits(self, what: str) -> None:
        """It cannot go on by itself; for as long as that takes."""
        self.moved(what)
        self.waiting = what

    def stalled(self) -> str | None:
        """What has stood still for too long, or None."""
        moved_s = self._moved_s
        if moved_s is None or self._clock.monotonic() - moved_s < STALLED_AFTER_S:
            return None
        return f"{self.doing or 'the start'} has not moved for {STALLED_AFTER_S:g} s"
