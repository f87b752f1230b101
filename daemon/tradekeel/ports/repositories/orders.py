"""Orders: instructions to a venue, and their life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.messages import Fill
from tradekeel.domain.orders import Order, OrderStatus, OrderType, Purpose, Side
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed

OrderStatuses = OrderStatus | str | tuple[OrderStatus | str, ...] | None


@runtime_checkable
class OrderRepository(Protocol):
    """Orders, known by the client order id that we gave them. Prices in quote currency, quantities in base units, exact.

    What is written is described in :mod:`tradekeel.ports.repositories`. All of it steers: in a daemon's unfinished execution
    nothing of an order can be changed from outside. Lists have the newest first by ``created_ns``, which ``since_ns`` and
    ``until_ns`` are about; they can be sorted by created_ns, updated_ns, submitted_ns, instrument, strategy, status, quantity
    and client_order_id.
    """

    async def create_order(self, order: Order, **call: Unpack[Timed]) -> Order:
        """Add an order. AlreadyExists for a known id, NotFound for an unknown execution, InputError for what it refers to.

        It may name the order that it is attached to (``parent_id``), which is there already, is not itself, and stays the same.
        """

    async def create_orders(self, orders: Sequence[Order], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most, parents before what is attached to them; how many."""

    async def get_order(self, client_order_id: str, **call: Unpack[Timed]) -> Order | None:
        """One order by its id, None if there is none."""

    async def get_order_by_client_id(self, client_order_id: str, **call: Unpack[Timed]) -> Order | None:
        """The same: an order's id is the client order id that the venue was told."""

    async def get_order_by_venue_order_id(
        self, venue_order_id: str, account: str | None = None, **call: Unpack[Timed]
    ) -> Order | None:
        """The newest order that a venue gave this id, None if there is none."""

    async def update_order(self, client_order_id: str, changes: Mapping[str, object], **call: Unpack[Timed]) -> Order:
        """Change the named fields and nothing else; the order after. NotFound, InputError.

        Not for the status, nor for what is summed up from its fills (filled_quantity, filled_value, fee: :meth:`record_fill`). A
        new quantity is at least what is filled, and of an order that is filled just that.
        """

    async def update_orders(self, changes: Mapping[str, Mapping[str, object]], **call: Unpack[Timed]) -> int:
        """:meth:`update_order` for many ids, all or none, ROWS_MAX at most; how many."""

    async def update_order_status(
        self,
        client_order_id: str,
        status: OrderStatus | str,
        reason: str = "",
        *,
        ts_ns: int | None = None,
        **call: Unpack[Timed],
    ) -> Order:
        """Change the status as the life of an order allows; the order after.

        NotFound; IllegalTransition for a status that cannot follow; InputError for one that only fills lead to
        (:meth:`record_fill`). ``ts_ns`` is when it happened, now unless said.
        """

    async def record_fill(self, fill: Fill, **call: Unpack[Timed]) -> Order:
        """Book a fill, in part or whole, on the order that it names; the order after. A fill that is known changes nothing.

        NotFound for an order that there is not; AlreadyExists for another fill under a known id; InputError for a fill of another
        instrument, side, venue (where the execution has one) or venue order id (where the order has one). As in the daemon's own
        books, a late fill is booked, and so is one of more than is left: the venue has done it.
        """

    async def cancel_order(
        self, client_order_id: str, reason: str, *, ts_ns: int | None = None, **call: Unpack[Timed]
    ) -> Order:
        """The order ended before it was filled; the order after. NotFound; IllegalTransition for one that has ended otherwise."""

    async def list_orders(
        self,
        *,
        status: OrderStatuses = None,
        strategy: str | None = None,
        instrument: str | None = None,
        side: Side | str | None = None,
        type: OrderType | str | None = None,  # noqa: A002  # the field's name
        purpose: Purpose | str | None = None,
        trade_id: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Order]:
        """Orders by their creation, the newest first."""

    async def get_open_orders(
        self,
        instrument: str | None = None,
        strategy: str | None = None,
        *,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Order]:
        """Orders that may still fill."""

    async def get_orders_by_strategy(self, strategy: str, **paging: Unpack[Paging]) -> Page[Order]:
        """Orders of a strategy."""

    async def get_orders_by_instrument(self, instrument: str, **paging: Unpack[Paging]) -> Page[Order]:
        """Orders in an instrument."""

    async def get_orders_by_time_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Order]:
        """Orders that were created in a stretch of time."""

    async def count_orders(
        self,
        *,
        status: OrderStatuses = None,
        strategy: str | None = None,
        instrument: str | None = None,
        side: Side | str | None = None,
        type: OrderType | str | None = None,  # noqa: A002
        purpose: Purpose | str | None = None,
        trade_id: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
