"""Orders: what is created comes back whole, its status follows the life of an order, and fills book on it exactly once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.conformance.cases import in_the_same_books
from tests.conformance.repositories.factories import EXTREME_AMOUNTS, LAST_NS, LONG_TEXTS, SECOND, START_NS, Factory
from tradekeel.domain.orders import TERMINAL, TRANSITIONS, Order, OrderEvent, OrderStatus, OrderType, Purpose, Side
from tradekeel.errors import AlreadyExists, IllegalTransition, InputError, NotFound
from tradekeel.ports.repositories import ROWS_MAX, OrderRepository
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlTradeRepository,
)

EVENT_TO = {
    OrderStatus.SUBMITTED: OrderEvent.SUBMIT,
    OrderStatus.ACCEPTED: OrderEvent.ACCEPT,
    OrderStatus.CANCEL_REQUESTED: OrderEvent.REQUEST_CANCEL,
    OrderStatus.CANCELED: OrderEvent.CANCEL,
    OrderStatus.EXPIRED: OrderEvent.EXPIRE,
    OrderStatus.DENIED: OrderEvent.DENY,
    OrderStatus.REJECTED: OrderEvent.REJECT,
    OrderStatus.NOT_SENT: OrderEvent.PROVE_NOT_SENT,
    OrderStatus.UNKNOWN: OrderEvent.LOSE,
}


@pytest.fixture
def orders(database: Database) -> OrderRepository:
    return SqlOrderRepository(database)


@pytest.fixture
async def many(orders: OrderRepository, manual: Factory) -> list[Order]:
    """Forty orders of every status, newest first."""
    statuses = list(OrderStatus)
    made = [manual.order(("floor", "trend", None)[n % 3], statuses[n % len(statuses)]) for n in range(40)]
    await orders.create_orders(made)
    return made[::-1]


def ids(rows: Any) -> list[str]:
    return [order.client_order_id for order in rows]


# --- round trips -----------------------------------------------------------------------------------------------------


@in_the_same_books("status", list(OrderStatus))
async def test_every_field_comes_back(orders, manual, status):
    order = manual.order(status=status)
    assert await orders.create_order(order) == order
    assert await orders.get_order(order.client_order_id) == order
    assert await orders.get_order_by_client_id(order.client_order_id) == order


@in_the_same_books("number", range(len(EXTREME_AMOUNTS)))
async def test_extremes_come_back_exactly(orders, manual, number):
    amounts, texts = EXTREME_AMOUNTS[number:] + EXTREME_AMOUNTS, LONG_TEXTS[number:] + LONG_TEXTS
    order = manual.order(
        quantity=abs(amounts[0]),
        price=amounts[1],
        stop_price=amounts[2],
        filled_value=amounts[3],
        fee=amounts[4],
        reference_price=None,
        oco_group=texts[0],
        after_cancel_of=texts,
        closes=texts,
        source=texts[1],
        status_reason=texts[2],
        deadline_ns=LAST_NS,
        expire_at_ns=-LAST_NS,
        stamp=LAST_NS,
    )
    await orders.create_order(order)
    assert await orders.get_order(order.client_order_id) == order


@in_the_same_books("field", [f.name for f in structs.fields(Order) if f.default is None])
async def test_every_field_that_may_be_empty_comes_back_empty(orders, manual, field):
    order = structs.replace(manual.order(), **{field: None})
    await orders.create_order(order)
    assert await orders.get_order(order.client_order_id) == order


async def test_an_order_is_found_by_the_venues_id(orders, manual):
    older, newer = manual.order(venue_order_id="v1"), manual.order(venue_order_id="v1")
    await orders.create_orders([older, newer])
    assert await orders.get_order_by_venue_order_id("v1") == newer
    assert await orders.get_order_by_venue_order_id("v1", account="nobody") is None
    assert await orders.get_order_by_venue_order_id("v2") is None


# --- what is refused -------------------------------------------------------------------------------------------------


@in_the_same_books(
    ("changes", "error"),
    [
        ({"execution": "nowhere"}, NotFound),
        ({"account": "other"}, InputError),
        ({"trade_id": "tr-unknown"}, InputError),
        ({"parent_id": "tk-unknown"}, InputError),
        ({"quantity": Decimal(-1)}, InputError),
        ({"quantity": 1.5}, InputError),
        ({"status": "lost"}, InputError),
        ({"type": "iceberg"}, InputError),
        ({"client_order_id": ""}, InputError),
        ({"close_reason": "bored"}, InputError),
        ({"status": OrderStatus.FILLED, "filled_quantity": Decimal(0)}, InputError),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(orders, manual, changes, error):
    with pytest.raises(error):
        await orders.create_orders([manual.order(), structs.replace(manual.order(), **changes)])
    assert await orders.count_orders() == 0


async def test_an_order_is_attached_to_one_that_is_there_and_never_to_itself_or_round_a_circle(orders, manual):
    one, two, three = manual.order(), manual.order(), manual.order()
    own = structs.replace(one, parent_id=one.client_order_id)
    for call in (orders.create_order(own), orders.create_orders([two, own])):
        with pytest.raises(InputError, match=f"order {one.client_order_id} is its own parent_id"):
            await call
    circle = [structs.replace(one, parent_id=two.client_order_id), structs.replace(two, parent_id=one.client_order_id)]
    with pytest.raises(InputError, match="refers to"):
        await orders.create_orders(circle)
    assert await orders.count_orders() == 0
    chain = [one, circle[1], structs.replace(three, parent_id=two.client_order_id)]
    assert await orders.create_orders(chain) == 3
    for order in chain:
        for parent in (one.client_order_id, three.client_order_id, None):
            with pytest.raises(InputError, match="the parent_id of an order stays as it is"):
                await orders.update_order(order.client_order_id, {"parent_id": parent})
        assert await orders.get_order(order.client_order_id) == order


async def test_an_id_twice_is_refused(orders, manual):
    order = await orders.create_order(manual.order())
    with pytest.raises(AlreadyExists, match=order.client_order_id):
        await orders.create_orders([manual.order(), order])
    assert await orders.count_orders() == 1
    with pytest.raises(InputError, match=str(ROWS_MAX)):
        await orders.create_orders([order] * (ROWS_MAX + 1))


async def test_an_update_changes_what_it_names_and_many_are_changed_all_or_none(orders, manual):
    one, two = await orders.create_order(manual.order()), await orders.create_order(manual.order())
    after = await orders.update_order(one.client_order_id, {"price": "1.5", "source": "operator"})
    assert after == structs.replace(one, price=Decimal("1.5"), source="operator", updated_ns=after.updated_ns)
    assert after == await orders.get_order(one.client_order_id)
    with pytest.raises(NotFound):
        await orders.update_orders({two.client_order_id: {"price": "9"}, "tk-nobody": {"price": "9"}})
    assert await orders.get_order(two.client_order_id) == two
    assert await orders.update_orders({o.client_order_id: {"price": "9"} for o in (one, two)}) == 2
    assert {o.price for o in await orders.list_orders()} == {Decimal(9)}


@pytest.mark.parametrize(
    "changes",
    [
        *({"nonsense": 1}, {"client_order_id": "x"}, {"status": "canceled"}, {"price": 1.5}, {"quantity": None}),
        *({"filled_quantity": "900"}, {"filled_quantity": "2000"}, {"filled_value": "1"}, {"fee": "0.1", "price": "2"}),
    ],
    ids=str,
)
async def test_an_update_that_makes_no_sense_is_refused(orders, manual, changes):
    order = await orders.create_order(manual.order())
    with pytest.raises(InputError):
        await orders.update_order(order.client_order_id, changes)
    assert await orders.get_order(order.client_order_id) == order


# --- the life of an order --------------------------------------------------------------------------------------------


@in_the_same_books("before", list(OrderStatus))
async def test_a_status_changes_only_as_the_table_of_the_domain_says(orders, manual, before):
    for wanted in OrderStatus:
        order = await orders.create_order(manual.order(status=before, venue_order_id=None))
        event = EVENT_TO.get(wanted)
        if event is None:
            with pytest.raises(InputError, match="record_fill"):
                await orders.update_order_status(order.client_order_id, wanted)
        elif TRANSITIONS[before].get(event) is wanted:
            try:
                after = await orders.update_order_status(order.client_order_id, wanted.value, "why", ts_ns=START_NS)
            except IllegalTransition:  # what has fills was seen at the venue, and says so
                assert before is OrderStatus.PARTIALLY_FILLED
                continue
            assert (after.status, after.status_reason, after.updated_ns) == (wanted, "why", START_NS)
            assert after == await orders.get_order(order.client_order_id)
        else:
            with pytest.raises(IllegalTransition):
                await orders.update_order_status(order.client_order_id, wanted)
            assert await orders.get_order(order.client_order_id) == order


async def test_fills_book_on_their_order_once_in_part_and_whole(orders, manual, database):
    order = await orders.create_order(
        manual.order(quantity=Decimal(10), status=OrderStatus.ACCEPTED, venue_order_id=None)
    )
    first = manual.fill_of(order, quantity=Decimal(4), price=Decimal("1.5"), fee=Decimal("0.1"))
    second = structs.replace(first, fill_id="f-2", quantity=Decimal(6), price=Decimal(2))
    part = await orders.record_fill(first)
    assert (part.status, part.filled_quantity, part.filled_value) == (
        OrderStatus.PARTIALLY_FILLED,
        Decimal(4),
        Decimal(6),
    )
    assert part.venue_order_id == first.venue_order_id
    assert await orders.record_fill(first) == part, "a fill that is told twice changes nothing"
    whole = await orders.record_fill(second)
    assert (whole.status, whole.filled_quantity, whole.filled_value) == (OrderStatus.FILLED, Decimal(10), Decimal(18))
    assert whole.fee == Decimal("0.2")
    assert await orders.get_order(order.client_order_id) == whole
    assert set(await SqlFillRepository(database).get_fills_by_order(order.client_order_id)) == {first, second}
    with pytest.raises(AlreadyExists, match="price"):
        await orders.record_fill(structs.replace(first, price=Decimal(9)))
    for nobody in ("tk-nobody", None):
        with pytest.raises(NotFound):
            await orders.record_fill(structs.replace(first, fill_id="f-3", client_order_id=nobody))
    assert await SqlFillRepository(database).count_fills() == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("instrument", "XAU_USD"), ("side", Side.BUY), ("venue", "elsewhere"), ("venue_order_id", "v-other")],
)
async def test_a_fill_of_another_order_is_refused_with_what_differs(orders, database, field, value):
    run = await SqlExecutionRepository(database).create_execution("at oanda", venue="oanda")
    make = Factory(run.execution, "at oanda")
    order = await orders.create_order(make.order(None, side=Side.SELL, instrument="EUR_USD", venue_order_id="v-1"))
    fill = make.fill_of(order, venue="oanda")
    both = {"instrument": "EUR_USD", "side": "sell", "venue": "oanda", "venue_order_id": "v-1"}
    with pytest.raises(InputError, match=f"its {field} is {value}, the order's {both[field]}"):
        await orders.record_fill(structs.replace(fill, **{field: value}))
    assert await orders.get_order(order.client_order_id) == order
    assert await SqlFillRepository(database).count_fills() == 0
    assert (await orders.record_fill(fill)).filled_quantity == fill.quantity


async def test_a_fill_of_more_than_is_left_is_booked(orders, manual):
    order = await orders.create_order(manual.order(quantity=Decimal(10)))
    after = await orders.record_fill(manual.fill_of(order, quantity=Decimal(12), price=Decimal(2)))
    assert (after.status, after.filled_quantity, after.filled_value) == (OrderStatus.FILLED, Decimal(12), Decimal(24))


async def test_a_quantity_is_never_less_than_what_is_filled_and_of_a_filled_order_just_that(orders, manual):
    part = await orders.create_order(manual.order(status=OrderStatus.PARTIALLY_FILLED))
    whole = await orders.create_order(manual.order(status=OrderStatus.FILLED))
    for order, quantity in ((part, "399"), (whole, "999"), (whole, "1001")):
        with pytest.raises(InputError, match=f"its quantity cannot be {quantity}"):
            await orders.update_order(order.client_order_id, {"quantity": quantity})
        assert await orders.get_order(order.client_order_id) == order
    assert (await orders.update_order(part.client_order_id, {"quantity": "700"})).open_quantity == Decimal(300)


async def test_a_cancel_has_its_time_and_its_reason_and_comes_too_late_for_what_has_ended(orders, manual):
    order = await orders.create_order(manual.order())
    after = await orders.cancel_order(order.client_order_id, "changed my mind", ts_ns=START_NS + 5)
    assert (after.status, after.status_reason, after.updated_ns) == (
        OrderStatus.CANCELED,
        "changed my mind",
        START_NS + 5,
    )
    filled = await orders.create_order(manual.order(status=OrderStatus.FILLED))
    with pytest.raises(IllegalTransition):
        await orders.cancel_order(filled.client_order_id, "too late")
    with pytest.raises(NotFound):
        await orders.cancel_order("tk-nobody", "nothing there")


async def test_of_many_fills_at_once_each_books_once(orders, manual):
    order = await orders.create_order(manual.order(quantity=Decimal(20)))
    fills = [manual.fill_of(order, quantity=Decimal(1), price=Decimal(1)) for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        for fill in fills + fills:
            tasks.start_soon(orders.record_fill, fill)
    after = await orders.get_order(order.client_order_id)
    assert (after.status, after.filled_quantity) == (OrderStatus.FILLED, Decimal(20))


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "keeps"),
    [
        ({}, lambda o: True),
        ({"status": "unknown"}, lambda o: o.status is OrderStatus.UNKNOWN),
        ({"status": ("filled", OrderStatus.DENIED)}, lambda o: o.status in (OrderStatus.FILLED, OrderStatus.DENIED)),
        ({"strategy": "trend"}, lambda o: o.strategy == "trend"),
        ({"instrument": "EUR_USD"}, lambda o: o.instrument == "EUR_USD"),
        ({"side": "buy"}, lambda o: o.side is Side.BUY),
        ({"type": OrderType.LIMIT, "purpose": Purpose.ENTRY}, lambda o: True),
        ({"trade_id": "tr-1"}, lambda o: False),
        ({"account": "nobody"}, lambda o: False),
        ({"since_ns": START_NS + 9 * SECOND, "until_ns": START_NS + 12 * SECOND}, lambda o: 9 <= o.decision < 12),
    ],
    ids=str,
)
async def test_filters_narrow_and_the_newest_comes_first(orders, many, words, keeps):
    wanted = [order for order in many if keeps(order)]
    assert list(await orders.list_orders(**words)) == wanted
    assert await orders.count_orders(**words) == len(wanted)


async def test_named_questions(orders, many):
    is_open = [o for o in many if o.status not in TERMINAL]
    assert list(await orders.get_open_orders()) == is_open
    assert ids(await orders.get_open_orders("EUR_USD", "floor")) == ids(
        o for o in is_open if o.instrument == "EUR_USD" and o.strategy == "floor"
    )
    assert ids(await orders.get_orders_by_strategy("floor")) == ids(o for o in many if o.strategy == "floor")
    assert ids(await orders.get_orders_by_instrument("USD_JPY")) == ids(o for o in many if o.instrument == "USD_JPY")
    since, until = START_NS + 3 * SECOND, START_NS + 7 * SECOND
    assert [o.decision for o in await orders.get_orders_by_time_range(since, until)] == [6, 5, 4, 3]


@pytest.mark.parametrize(
    "sort", ["created_ns", "updated_ns", "submitted_ns", "instrument", "strategy", "status", "quantity"]
)
async def test_pages_give_every_row_once_in_order(orders, many, sort):
    with_value = [o for o in many if getattr(o, sort) is not None]
    wanted = ids(sorted(with_value, key=lambda o: (getattr(o, sort), o.client_order_id), reverse=True))
    seen, page = [], await orders.list_orders(sort=sort, limit=9)
    while True:
        seen += ids(page)
        if page.next_cursor is None:
            break
        page = await orders.list_orders(sort=sort, limit=9, cursor=page.next_cursor)
    assert seen == wanted


async def test_orders_of_a_trade_are_found(orders, manual, database):
    trade = await SqlTradeRepository(database).save_trade(manual.trade())
    order = await orders.create_order(manual.order(trade_id=trade.trade_id))
    assert list(await orders.list_orders(trade_id=trade.trade_id)) == [order]
