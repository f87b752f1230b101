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

from tradekeel.domain.matching.working import Trigger, When

NEVER_NS = 1 << 63
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


_WHENS = tuple(When)  # walking an enum costs more than walking a tuple
_FALLS = (When.BID_FALLS, When.ASK_FALLS)
_Entry = tuple[Decimal | int, str]  # falling keys are negated: the highest comes first


class TriggerBook:
    """The working orders of one instrument by what touches them."""

    def __init__(self) -> None:
        self._heaps: tuple[list[_Entry], ...] = tuple([] for _ in _WHENS)
        self._current: dict[str, tuple[Trigger, ...]] = {}
        self._levels: Levels | None = None

    def __len__(self) -> int:
        return len(self._current)

    def put(self, venue_order_id: str, triggers: tuple[Trigger, ...]) -> None:
        """Watch for an order; replaces what was watched for before."""
        self._current[venue_order_id] = triggers
        self._levels = None
        for when, key in triggers:
            heap = self._heaps[when]
            heappush(heap, (_sorted_key(when, key), venue_order_id))
            if len(heap) > 2 * len(self._current) + GARBAGE_MIN:
                self._compact(when)

    def drop(self, venue_order_id: str) -> None:
        """Stop watching for an order; one that is not watched for changes nothing."""
        if self._current.pop(venue_order_id, None) is not None:
            self._levels = None

    def take_touched(self, bid: Decimal, ask: Decimal, ts_ns: int) -> set[str]:
        """The orders that a tick touches; they are not watched for any more until they are put back."""
        found: set[str] = set()
        low_bid, low_ask = bid.copy_negate(), ask.copy_negate()
        # In the order of When; of falling keys the negated are compared: -key <= -bid is key >= bid.
        reaches: tuple[Decimal | int, ...] = (low_bid, bid, low_ask, ask, ts_ns)
        for when, reach in zip(_WHENS, reaches, strict=True):
            heap = self._heaps[when]
            while heap and heap[0][0] <= reach:
                key, order = heappop(heap)
                if self._is_current(when, key, order):
                    found.add(order)
        for order in found:
            self.drop(order)
        return found

    @property
    def levels(self) -> Levels:
        """The nearest prices and time at which any order is touched."""
        if self._levels is None:
            bid_low, bid_high, ask_low, ask_high, due_ns = (self._top(when) for when in _WHENS)
            self._levels = Levels(
                LOWEST if bid_low is None else Decimal(_negated(bid_low)),
                HIGHEST if bid_high is None else Decimal(bid_high),
                LOWEST if ask_low is None else Decimal(_negated(ask_low)),
                HIGHEST if ask_high is None else Decimal(ask_high),
                NEVER_NS if due_ns is None else int(due_ns),
            )
        return self._levels

    def _top(self, when: When) -> Decimal | int | None:
        heap = self._heaps[when]
        while heap:
            key, order = heap[0]
            if self._is_current(when, key, order):
                return key
            heappop(heap)
        return None

    def _is_current(self, when: When, key: Decimal | int, order: str) -> bool:
        return (when, _negated(key) if when in _FALLS else key) in self._current.get(order, ())

    def _compact(self, when: When) -> None:
        heap = self._heaps[when]
        live = {(key, order) for key, order in heap if self._is_current(when, key, order)}
        heap[:] = live
        heapify(heap)


def _sorted_key(when: When, key: Decimal | int) -> Decimal | int:
    return _negated(key) if when in _FALLS else key


def _negated(key: Decimal | int) -> Decimal | int:
    return key.copy_negate() if isinstance(key, Decimal) else -key
