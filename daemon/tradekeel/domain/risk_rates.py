"""Rates: how many orders or messages left within a sliding window, as pure data.

A window remembers the times of the last ``limit`` events in a ring. There is room for one more exactly when the oldest of
them has left the window, so no stretch of ``window_ns`` ever holds more than ``limit`` events: unlike a bucket that
refills, which lets through up to twice as many around a boundary. Time is an argument: event time in a replay, UTC on
a live account.

A clock that steps backwards would leave events "in the future", which block until the clock is there again. They are
taken as having happened now instead: at most one window is lost, and never more events pass than allowed. Only events of
the window that ended with the newest one are: what is older had left it before the clock stepped back, and whether it is still
remembered must not matter, since a checkpoint does not keep it.
"""

from __future__ import annotations

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S

MINUTE_NS = 60 * NS_PER_S


class SlidingWindow(Struct):
    """At most ``limit`` events in any ``window_ns``. ``times`` is a ring; ``head`` is its oldest entry once it is full."""

    limit: int
    window_ns: int
    times: list[int] = []
    head: int = 0
    newest: int = 0

    def has_room(self, now_ns: int) -> bool:
        """Whether one more event may happen now."""
        if self.times and now_ns < self.newest:
            self._step_back(now_ns)
        return len(self.times) < self.limit or self.times[self.head] + self.window_ns <= now_ns

    def add(self, now_ns: int) -> None:
        """An event happens now, allowed or not; the oldest is forgotten."""
        if self.times and now_ns < self.newest:
            self._step_back(now_ns)
        self.newest = now_ns
        if len(self.times) < self.limit:
            self.times.append(now_ns)
        else:
            self.times[self.head] = now_ns
            self.head = (self.head + 1) % self.limit

    def count(self, now_ns: int) -> int:
        """Events within the window that ends now."""
        return sum(1 for at in self.times if now_ns - self.window_ns < at <= now_ns)

    def resized(self, limit: int) -> SlidingWindow:
        """The same events under another limit: the newest of them."""
        return self._with(self._ordered()[-limit:], limit)

    def pruned(self) -> SlidingWindow:
        """The same window without the events that had left it by the newest of them: what is worth saving, whenever that is."""
        return self._with(self._living(), self.limit)

    def _living(self) -> list[int]:
        return [at for at in self._ordered() if at + self.window_ns > self.newest]

    def _ordered(self) -> list[int]:
        return self.times[self.head :] + self.times[: self.head]

    def _with(self, times: list[int], limit: int) -> SlidingWindow:
        return SlidingWindow(limit, self.window_ns, times, 0, times[-1] if times else 0)

    def _step_back(self, now_ns: int) -> None:
        self.times, self.head = [min(at, now_ns) for at in self._living()], 0
        self.newest = now_ns


class RateState(Struct):
    """The gate's windows; a limit that is not set has none."""

    orders_second: SlidingWindow | None = None
    orders_minute: SlidingWindow | None = None
    messages_second: SlidingWindow | None = None

    @staticmethod
    def of(orders_second: int | None, orders_minute: int | None, messages_second: int | None) -> RateState:
        """Empty windows for the limits that are set."""
        return RateState(
            SlidingWindow(orders_second, NS_PER_S) if orders_second is not None else None,
            SlidingWindow(orders_minute, MINUTE_NS) if orders_minute is not None else None,
            SlidingWindow(messages_second, NS_PER_S) if messages_second is not None else None,
        )

    def note_message(self, now_ns: int) -> None:
        """A message (order, cancel or amend) goes out."""
        if self.messages_second is not None:
            self.messages_second.add(now_ns)

    def note_order(self, now_ns: int) -> None:
        """An order goes out; it is a message, too."""
        if self.orders_second is not None:
            self.orders_second.add(now_ns)
        if self.orders_minute is not None:
            self.orders_minute.add(now_ns)
        self.note_message(now_ns)

    def carried_to(self, fresh: RateState) -> RateState:
        """These events in the windows of ``fresh``: after a restart and after a reload, with whatever limits."""
        return RateState(
            _carried(self.orders_second, fresh.orders_second),
            _carried(self.orders_minute, fresh.orders_minute),
            _carried(self.messages_second, fresh.messages_second),
        )

    def pruned(self) -> RateState:
        """Without what has left its window, for a checkpoint."""
        windows = (self.orders_second, self.orders_minute, self.messages_second)
        return RateState(*(None if window is None else window.pruned() for window in windows))


def _carried(old: SlidingWindow | None, new: SlidingWindow | None) -> SlidingWindow | None:
    if old is None or new is None:
        return new
    return old.resized(new.limit)
