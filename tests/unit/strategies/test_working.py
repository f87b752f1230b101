"""Working orders are kept in the order in which they were decided, whatever comes and goes."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.days import journal
from tests.unit.domain.make import order
from tradekeel.domain.book import Book
from tradekeel.domain.orders import Order, OrderStatus, in_order_of_decision
from tradekeel.domain.recovery import fold
from tradekeel.domain.view import View
from tradekeel.strategies.working import WorkingOrders


@given(st.integers(0, 15), st.sampled_from(["a", "b"]))
def test_at_every_entry_they_are_those_of_the_view_sorted(seed: int, strategy: str) -> None:
    view = View(strategy=strategy)
    working = WorkingOrders(())

    for entry in fold(Book(), journal(seed)).entries:
        view.follow(entry)
        for row in entry.rows:
            if isinstance(row, Order) and row.strategy == strategy:
                working.take(row)
        assert working.all() == tuple(sorted(view.orders.values(), key=in_order_of_decision))


def test_those_that_were_decided_in_the_same_breath_stand_as_they_came() -> None:
    first, second, third = (order(client_order_id=name) for name in ("tk1", "tk2", "tk3"))
    working = WorkingOrders((first, second))

    working.take(third)
    working.take(grown := order(client_order_id="tk2", quantity=Decimal(7)))
    working.take(order(client_order_id="tk1", status=OrderStatus.CANCELED))
    working.take(order(client_order_id="tk9", status=OrderStatus.DENIED))

    assert working.all() == (grown, third)
