"""Speed: how a recorded or made-up market meets the clock on the wall.

``max`` hands ticks out as fast as they are taken. A multiple of real time (1 is real time, 60 a minute a second) hands out each
tick when it is due on the injected clock: a slow consumer finds all that are due in one window and so catches up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Protocol

from msgspec import Meta

from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError

MAX = "max"
SPEED_MIN, SPEED_MAX = 0.001, 1_000_000.0

_time_of = attrgetter("ts_ns")


class Sleeper(Protocol):
    """The part of a clock that feeds need: UTC, monotonic seconds, and waiting that can be cancelled."""

    def now_ns(self) -> int:
        """UTC in nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable. Zero lets others run."""
        ...


def parse_speed(speed: str | float) -> float | None:
    """A multiple of real time, or None for ``max``. Raises :class:`InputError` that says what is allowed."""
    if speed == MAX:
        return None
    try:
        value = float(speed)
    except ValueError:
        value = 0.0
    if not SPEED_MIN <= value <= SPEED_MAX:
        raise InputError(
            f'speed {speed!r}: allowed are "max" and multiples of real time from {SPEED_MIN:g} to {SPEED_MAX:,.0f} '
            "(1 is real time, 60 plays a minute in a second)"
        )
    return value


Speed = Annotated[str | int | float, Meta(extra={"check": parse_speed})]


class Pacer:
    """Says when ticks are due: the first at once, each other as long after it as the market waited, divided by ``speed``.

    ``wait_max_s`` cuts longer waits short (a weekend at real time takes two days); what follows is due that much earlier.
    """

    def __init__(self, speed: float, sleeper: Sleeper, wait_max_s: float | None = None) -> None:
        self._speed = speed
        self._sleeper = sleeper
        self._wait_max_s = wait_max_s
        self._anchor: tuple[int, float] | None = None  # a market time, and when it is due on the monotonic clock

    def reset(self) -> None:
        """Start anew: the next tick is due at once."""
        self._anchor = None

    async def due(self, ticks: Sequence[Tick], start: int, stop: int) -> int:
        """Wait until ``ticks[start]`` is due; the index behind the last of ``ticks[start:stop]`` that is due by then."""
        first_ns = ticks[start].ts_ns
        if self._anchor is None:
            self._anchor = (first_ns, self._sleeper.monotonic())
        wait_s = self._wait_s(first_ns)
        if self._wait_max_s is not None and wait_s > self._wait_max_s:
            wait_s = self._wait_max_s
            self._anchor = (first_ns, self._sleeper.monotonic() + wait_s)
        if wait_s > 0:
            await self._sleeper.sleep(wait_s)
        return max(start + 1, bisect_right(ticks, self.market_ns(), start, stop, key=_time_of))

    def market_ns(self) -> int:
        """The market's time at this moment: what came before it is due."""
        assert self._anchor is not None, "nothing was due yet"
        market_ns, due_s = self._anchor
        return market_ns + int((self._sleeper.monotonic() - due_s) * self._speed * NS_PER_S)

    def _wait_s(self, ts_ns: int) -> float:
        assert self._anchor is not None
        market_ns, due_s = self._anchor
        return due_s + (ts_ns - market_ns) / NS_PER_S / self._speed - self._sleeper.monotonic()
