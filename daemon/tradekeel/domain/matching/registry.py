"""The open orders, found in every way that the venue needs: by id, client, price, expiry, and position to reduce.

Ended orders leave at once; that they changed is remembered until the changes are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching.account import PositionKey
from tradekeel.domain.matching.triggers import TriggerBook
from tradekeel.domain.matching.working import OrderState, WorkingOrder, triggers
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import NEVER_NS

_WORKING = OrderState.WORKING


class Registry:
    """All open orders of the account. Whoever changes an order tells :meth:`touch`."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self.orders: dict[str, WorkingOrder] = {}
        self.books: dict[str, TriggerBook] = {}
        self.rank = 0
        self._by_client: dict[str, str] = {}
        self._reducers: dict[tuple[PositionKey, Side], set[str]] = {}
        self.expiries: list[tuple[int, int, str]] = []  # a heap of times, ranks and venue ids; some have ended
        self._changed: dict[str, WorkingOrder] = {}

    def __len__(self) -> int:
        return len(self.orders)

    def next_rank(self) -> int:
        """The next place in time priority."""
        self.rank += 1
        return self.rank

    def get(self, venue_order_id: str | None) -> WorkingOrder | None:
        """An open order by the venue's id."""
        return None if venue_order_id is None else self.orders.get(venue_order_id)

    def find(self, client_order_id: str) -> WorkingOrder | None:
        """An open order by the client's id."""
        venue_order_id = self._by_client.get(client_order_id)
        return None if venue_order_id is None else self.orders[venue_order_id]

    def is_open(self, client_order_id: str) -> bool:
        """Whether the client's id is that of an open order."""
        return client_order_id in self._by_client

    def in_priority(self) -> list[WorkingOrder]:
        """All open orders, the first in time first."""
        return sorted(self.orders.values(), key=_priority)

    # --- changing
    # ------------------------------------------------------------------------------------------------------

    def add(self, order: WorkingOrder, ts_ns: int) -> None:
        """A new open order, or one that is read back."""
        self.orders[order.venue_order_id] = order
        self._by_client[order.client_order_id] = order.venue_order_id
        if order.expire_at_ns is not None:
            heappush(self.expiries, (order.expire_at_ns, order.rank, order.venue_order_id))
        if order.state is _WORKING:
            self.watch(order, ts_ns)
        self._changed[order.venue_order_id] = order

    def watch(self, order: WorkingOrder, ts_ns: int) -> None:
        """Look for what touches a working order from now on (event time ``ts_ns``)."""
        book = self.books.get(order.instrument)
        if book is None:
            book = self.books[order.instrument] = TriggerBook()
        book.put(order.venue_order_id, triggers(order, self._instruments[order.instrument], ts_ns))
        if order.reduce_only:
            self._reducers.setdefault(_reduces(order), set()).add(order.venue_order_id)

    def touch(self, order: WorkingOrder) -> None:
        """An order changed, or was refused, and must be saved."""
        self._changed[order.venue_order_id] = order

    def remove(self, order: WorkingOrder) -> None:
        """An order has ended."""
        self._changed[order.venue_order_id] = order
        del self.orders[order.venue_order_id]
        del self._by_client[order.client_order_id]
        book = self.books.get(order.instrument)
        if book is not None:
            book.drop(order.venue_order_id)  # a book that is empty stays: the next order of its instrument comes soon
        if order.reduce_only:
            same = self._reducers.get(_reduces(order))
            if same is not None:
                same.discard(order.venue_order_id)
                if not same:
                    del self._reducers[_reduces(order)]

    # --- asking
    # --------------------------------------------------------------------------------------------------------

    def ordered(self, ids: Iterable[str]) -> list[WorkingOrder]:
        """The open ones of ``ids`` by time priority."""
        orders = self.orders
        found = [orders[i] for i in ids if i in orders]
        if len(found) > 1:
            found.sort(key=_priority)
        return found

    @property
    def has_reducers(self) -> bool:
        """Whether any working order is reduce-only."""
        return bool(self._reducers)

    def reducers(self, key: PositionKey, side: Side) -> list[WorkingOrder]:
        """Working reduce-only orders on a position and side, by time priority."""
        ids = self._reducers.get((key, side))
        return self.ordered(ids) if ids else []

    def take_expired(self, ts_ns: int) -> list[WorkingOrder]:
        """Orders whose time is over, by time priority."""
        if not self.expiries or self.expiries[0][0] > ts_ns:
            return []
        found = set()
        while self.expiries and self.expiries[0][0] <= ts_ns:
            found.add(heappop(self.expiries)[2])
        return self.ordered(found)

    @property
    def next_expiry_ns(self) -> int:
        """When the next order expires."""
        while self.expiries and self.expiries[0][2] not in self.orders:
            heappop(self.expiries)
        return self.expiries[0][0] if self.expiries else NEVER_NS

    @property
    def has_changed(self) -> bool:
        """Whether any order changed since changes were last taken."""
        return bool(self._changed)

    def take_changed(self) -> tuple[WorkingOrder, ...]:
        """Orders that changed since this was last called, in the order in which they first did."""
        changed = tuple(self._changed.values())
        self._changed.clear()
        return changed


def _priority(order: WorkingOrder) -> int:
    return order.rank


def _reduces(order: WorkingOrder) -> tuple[PositionKey, Side]:
    return (order.instrument, order.position_ref), order.side
