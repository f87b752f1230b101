"""The orders of a strategy that are not terminal, in the order in which they were decided.

A strategy that is told of the ends of thousands of its orders sees, at each of them, those that are left. They are kept in
their order as they come and go: sorting them anew each time held up the event loop for longer than anything else did.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from tradekeel.domain.orders import Order, in_order_of_decision


class WorkingOrders:
    """See the module."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._orders = sorted(orders, key=in_order_of_decision)

    def take(self, order: Order) -> None:
        """The latest version of an order, which may be its end."""
        at, known = self._place_of(order)
        self._orders[at : at + known] = [] if order.is_terminal else [order]

    def all(self) -> tuple[Order, ...]:
        """Those that there are now."""
        return tuple(self._orders)

    def _place_of(self, order: Order) -> tuple[int, bool]:
        """Where it stands, or belongs: behind others that were decided in the same breath."""
        turn = in_order_of_decision(order)
        at = bisect_left(self._orders, turn, key=in_order_of_decision)
        while at < len(self._orders) and in_order_of_decision(self._orders[at]) == turn:
            if self._orders[at].client_order_id == order.client_order_id:
                return at, True
            at += 1
        return at, False
