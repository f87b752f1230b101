"""The prices at which anything would happen, sorted: ten thousand orders cost a quiet tick as much as one.

Each instrument has five heaps, one for each way of being reached (:class:`~tradekeel.domain.matching.working.When`).
Their tops are the instrument's :class:`Levels`: a tick between them touches nothing. Entries that are out of date
stay in the heap until they come to the top or until they are the majority; what an order's current entries are is
kept beside the heaps.
"""

from __future__ import annotations

from decimal import Decimal
from heapq import heapify, heappop, heappush

from msgspec import Struct

from tradekeel.domain.matching.rates import Range
from tradekeel.domain.matching.working import Trigger
from tradekeel.domain.ticks import NEVER_NS

LOWEST = Decimal("-Infinity")
HIGHEST = Decimal("Infinity")
GARBAGE_MIN = 64


class Levels(Struct, gc=False):
    """A tick acts if its bid is at or below ``bid_low``, at or above ``bid_high``, and so on, or from ``due_ns`` on."""

    bid_low: Decimal = LOWEST
    bid_high: Decimal = HIGHEST
    ask_low: Decimal = LOWEST
    ask_high: Decimal = HIGHEST
    due_ns: int = NEVER_NS

    def touched(self, bid: Decimal, ask: Decimal, ts_ns: int) -> bool:
        """Whether a tick must be looked at."""
        return (
            bid <= self.bid_low
            or bid >= self.bid_high
            or ask <= self.ask_low
            or ask >= self.ask_high
            or ts_ns >= self.due_ns
        )

    def within(self, bounds: Range) -> Levels:
        """These, or the bounds where they are nearer."""
        bid_low, bid_high, ask_low, ask_high = bounds
        return Levels(
            max(self.bid_low, bid_low),
            min(self.bid_high, bid_high),
            max(self.ask_low, ask_low),
            min(self.ask_high, ask_high),
            self.due_ns,
        )


NOTHING = Levels()  # of a book without orders
_FALLS = (True, False, True, False, False)  # by When: whether the highest key is reached first
_Entry = tuple[Decimal | int, str, int]
"""Key, venue's id and When. Falling keys are negated, so that in every heap the one that is reached first is the least."""


class TriggerBook:
    """The working orders of one instrument by what touches them."""

    def __init__(self) -> None:
        self._heaps: tuple[list[_Entry], ...] = tuple([] for _ in _FALLS)
        self._current: dict[str, list[_Entry]] = {}
        self._levels: Levels | None = NOTHING

    def __len__(self) -> int:
        return len(self._current)

    def put(self, venue_order_id: str, triggers: tuple[Trigger, ...]) -> None:
        """Watch for an order; replaces what was watched for before."""
        current = self._current[venue_order_id] = []
        self._levels = None
        for when, key in triggers:
            entry = (_negated(key) if _FALLS[when] else key, venue_order_id, when)
            current.append(entry)
            heap = self._heaps[when]
            heappush(heap, entry)
            if len(heap) > 2 * len(self._current) + GARBAGE_MIN:
                self._compact(heap)

    def drop(self, venue_order_id: str) -> None:
        """Stop watching for an order; one that is not watched for changes nothing."""
        if self._current.pop(venue_order_id, None) is not None:
            self._levels = None

    def take_touched(self, bid: Decimal, ask: Decimal, ts_ns: int) -> set[str]:
        """The orders that a tick touches; they are not watched for any more until they are put back."""
        found: set[str] = set()
        bid_falls, bid_rises, ask_falls, ask_rises, due = self._heaps
        if due:
            self._take(due, ts_ns, found)
        # Of falling keys the negated are compared: -key <= -bid is key >= bid.
        if bid_falls:
            self._take(bid_falls, bid.copy_negate(), found)
        if bid_rises:
            self._take(bid_rises, bid, found)
        if ask_falls:
            self._take(ask_falls, ask.copy_negate(), found)
        if ask_rises:
            self._take(ask_rises, ask, found)
        for order in found:
            self.drop(order)
        return found

    @property
    def levels(self) -> Levels:
        """The nearest prices and time at which any order is touched."""
        if self._levels is None:
            bid_low, bid_high, ask_low, ask_high, due_ns = [self._top(heap) if heap else None for heap in self._heaps]
            self._levels = Levels(
                LOWEST if bid_low is None else Decimal(_negated(bid_low)),
                HIGHEST if bid_high is None else Decimal(bid_high),
                LOWEST if ask_low is None else Decimal(_negated(ask_low)),
                HIGHEST if ask_high is None else Decimal(ask_high),
                NEVER_NS if due_ns is None else int(due_ns),
            )
        return self._levels

    def _take(self, heap: list[_Entry], reach: Decimal | int, found: set[str]) -> None:
        while heap and heap[0][0] <= reach:
            entry = heappop(heap)
            if self._is_current(entry):
                found.add(entry[1])

    def _top(self, heap: list[_Entry]) -> Decimal | int | None:
        while heap:
            if self._is_current(heap[0]):
                return heap[0][0]
            heappop(heap)
        return None

    def _is_current(self, entry: _Entry) -> bool:
        return entry in self._current.get(entry[1], ())

    def _compact(self, heap: list[_Entry]) -> None:
        heap[:] = {entry for entry in heap if self._is_current(entry)}
        heapify(heap)


def _negated(key: Decimal | int) -> Decimal | int:
    return key.copy_negate() if isinstance(key, Decimal) else -key
