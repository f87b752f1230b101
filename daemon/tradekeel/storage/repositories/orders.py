"""Orders in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from msgspec import structs
from sqlalchemy import select

from tradekeel.domain import orders as order_rules
from tradekeel.domain.messages import Fill
from tradekeel.domain.orders import TERMINAL, Order, OrderEvent, OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import IllegalTransition, InputError, NotFound
from tradekeel.ports.repositories.orders import OrderStatuses
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed
from tradekeel.storage.repositories.base import Repository, bounded, changed, refuse_many, timeout_of
from tradekeel.storage.repositories.change import KEYS_AT_ONCE, Change
from tradekeel.storage.repositories.executions import MANUAL_VENUE
from tradekeel.storage.repositories.fills import add_fills
from tradekeel.storage.repositories.listing import Listing, matching, word_of

_FIXED = frozenset({"client_order_id", "execution", "account", "parent_id", "status", "created_ns", "updated_ns"})
_BY_FILLS = frozenset({"filled_quantity", "filled_value", "fee"})
"""What is summed up from the fills of an order, and changes with them alone."""

_OPEN = tuple(status for status in OrderStatus if status not in TERMINAL)
_STEERS = "an order"

_EVENTS = {
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
"""What leads to a status. Only fills lead to the others."""


class SqlOrderRepository(Repository[Order]):
    """See :class:`~tradekeel.ports.repositories.OrderRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=Order,
        time="created_ns",
        key=("client_order_id",),
        sorts=(
            *("created_ns", "updated_ns", "submitted_ns", "instrument", "strategy", "status", "quantity"),
            "client_order_id",
        ),
        times=("updated_ns", "submitted_ns"),
    )

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def create_order(self, order: Order, **call: Unpack[Timed]) -> Order:
        """Add an order."""
        _refuse_own_parents([order])
        [created] = await self._add("create_order", [order], _STEERS, timeout_of(call))
        return created

    async def create_orders(self, orders: Sequence[Order], **call: Unpack[Timed]) -> int:
        """Add many, all or none."""
        made = bounded(orders, "orders")
        _refuse_own_parents(made)
        return len(await self._add("create_orders", made, _STEERS, timeout_of(call)))

    async def update_order(self, client_order_id: str, changes: Mapping[str, object], **call: Unpack[Timed]) -> Order:
        """Change the named fields and nothing else."""

        async def work(change: Change) -> Order:
            return await self._update(change, client_order_id, changes)

        return await self.database.write("update_order", work, timeout_of(call))

    async def update_orders(self, changes: Mapping[str, Mapping[str, object]], **call: Unpack[Timed]) -> int:
        """Change many orders, all or none."""
        refuse_many(len(changes), "orders")

        async def work(change: Change) -> int:
            await change.lock(await self._executions(change, list(changes)))
            for client_order_id, fields in changes.items():
                await self._update(change, client_order_id, fields)
            return len(changes)

        return await self.database.write("update_orders", work, timeout_of(call))

    async def _executions(self, change: Change, client_order_ids: Sequence[str]) -> set[str]:
        """The executions of those orders that there are."""
        found: set[str] = set()
        for at in range(0, len(client_order_ids), KEYS_AT_ONCE):
            some = self.table.c.client_order_id.in_(client_order_ids[at : at + KEYS_AT_ONCE])
            rows = await change.db.execute(select(self.table.c.execution).where(some).distinct())
            found.update(execution for (execution,) in rows)
        return found

    async def _update(self, change: Change, client_order_id: str, changes: Mapping[str, object]) -> Order:
        if "status" in changes:
            raise InputError("the status of an order has a life of its own: use update_order_status or record_fill")
        for name in sorted(_BY_FILLS & changes.keys()):
            raise InputError(f"the {name} of an order is the sum of its fills: use record_fill")
        before = await self._locked(change, client_order_id)
        after = structs.replace(changed(before, changes, _FIXED), updated_ns=change.now_ns)
        if after.quantity != before.quantity:
            _refuse_quantity(after)
        [saved] = await change.replace(before.execution, [after], steers=_STEERS)
        return saved

    async def update_order_status(
        self,
        client_order_id: str,
        status: OrderStatus | str,
        reason: str = "",
        *,
        ts_ns: int | None = None,
        **call: Unpack[Timed],
    ) -> Order:
        """Change the status as the life of an order allows."""
        wanted = word_of(OrderStatus, status, "status")
        return await self._happened("update_order_status", client_order_id, wanted, reason, ts_ns, timeout_of(call))

    async def cancel_order(
        self, client_order_id: str, reason: str, *, ts_ns: int | None = None, **call: Unpack[Timed]
    ) -> Order:
        """The order ended before it was filled."""
        wanted = OrderStatus.CANCELED
        return await self._happened("cancel_order", client_order_id, wanted, reason, ts_ns, timeout_of(call))

    async def _happened(
        self,
        action: str,
        client_order_id: str,
        wanted: OrderStatus,
        reason: str,
        ts_ns: int | None,
        timeout_s: float | None,
    ) -> Order:
        event = _EVENTS.get(wanted)
        if event is None:
            raise InputError(f"only fills lead to {wanted}: use record_fill")

        async def work(change: Change) -> Order:
            before = await self._locked(change, client_order_id)
            at_ns = change.now_ns if ts_ns is None else ts_ns
            fields: dict[str, Any] = {"status_reason": reason} if reason else {}
            if event is OrderEvent.SUBMIT:
                fields["submitted_ns"] = at_ns
            after = order_rules.apply(before, event, at_ns, **fields)
            if after.status is not wanted:
                raise IllegalTransition("order", before.status, event)
            [saved] = await change.replace(before.execution, [after], steers=_STEERS)
            return saved

        return await self.database.write(action, work, timeout_s)

    async def record_fill(self, fill: Fill, **call: Unpack[Timed]) -> Order:
        """Book a fill on the order that it names."""
        client_order_id = fill.client_order_id
        if client_order_id is None:
            raise NotFound(f"fill {fill.fill_id} names no order")

        async def work(change: Change) -> Order:
            before = await self._locked(change, client_order_id)
            if not await add_fills(change, before.execution, [fill]):
                return before
            _refuse_other_order(before, fill, await change.execution(before.execution, steers=_STEERS))
            after = self.exactly(
                lambda: order_rules.fill(before, fill.quantity, fill.price, fill.fee, fill.ts_ns),
                f"order {client_order_id}",
            )
            if after.venue_order_id is None:
                after = structs.replace(after, venue_order_id=fill.venue_order_id)
            [saved] = await change.replace(before.execution, [after], steers=_STEERS)
            return saved

        return await self.database.write("record_fill", work, timeout_of(call))

    async def _locked(self, change: Change, client_order_id: str) -> Order:
        return await self._before(change, f"order {client_order_id}", self.table.c.client_order_id == client_order_id)

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def get_order(self, client_order_id: str, **call: Unpack[Timed]) -> Order | None:
        """One order by its id."""
        return await self._first("reading an order", [self.table.c.client_order_id == client_order_id], call)

    async def get_order_by_client_id(self, client_order_id: str, **call: Unpack[Timed]) -> Order | None:
        """The same."""
        return await self.get_order(client_order_id, **call)

    async def get_order_by_venue_order_id(
        self, venue_order_id: str, account: str | None = None, **call: Unpack[Timed]
    ) -> Order | None:
        """The newest order that a venue gave this id."""
        where = matching(self.table, venue_order_id=venue_order_id, account=account)
        newest = (self.table.c.created_ns.desc(), self.table.c.client_order_id.desc())
        return await self._first("reading an order", where, call, *newest)

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
        where = matching(
            self.table,
            status=status,
            strategy=strategy,
            instrument=instrument,
            side=side,
            type=type,
            purpose=purpose,
            trade_id=trade_id,
            account=account,
            execution=execution,
        )
        return await self._page("listing orders", where, paging)

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
        return await self.list_orders(
            status=_OPEN, instrument=instrument, strategy=strategy, account=account, execution=execution, **paging
        )

    async def get_orders_by_strategy(self, strategy: str, **paging: Unpack[Paging]) -> Page[Order]:
        """Orders of a strategy."""
        return await self.list_orders(strategy=strategy, **paging)

    async def get_orders_by_instrument(self, instrument: str, **paging: Unpack[Paging]) -> Page[Order]:
        """Orders in an instrument."""
        return await self.list_orders(instrument=instrument, **paging)

    async def get_orders_by_time_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Order]:
        """Orders that were created in a stretch of time."""
        within: Paging = {**paging, "since_ns": since_ns, "until_ns": until_ns}
        return await self.list_orders(**within)

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
        where = matching(
            self.table,
            status=status,
            strategy=strategy,
            instrument=instrument,
            side=side,
            type=type,
            purpose=purpose,
            trade_id=trade_id,
            account=account,
            execution=execution,
        )
        return await self._count("counting orders", where, span)


def _refuse_own_parents(orders: Sequence[Order]) -> None:
    """InputError for an order that is attached to itself. No longer circle can come about: a parent is there first, and stays."""
    for order in orders:
        if order.parent_id == order.client_order_id:
            raise InputError(f"order {order.client_order_id} is its own parent_id: an order is attached to another one")


def _refuse_quantity(order: Order) -> None:
    """InputError for a new quantity that does not go with what is filled. Only a fill goes beyond what was asked for."""
    filled = order.filled_quantity
    if order.quantity < filled or (order.status is OrderStatus.FILLED and order.quantity != filled):
        raise InputError(
            f"order {order.client_order_id} is {order.status}, {filled} of it filled: its quantity cannot be {order.quantity}"
        )


def _refuse_other_order(order: Order, fill: Fill, run: ExecutionRow) -> None:
    """InputError for a fill that is of another order than it says, naming what differs.

    An order has no venue of its own, it goes to that of its execution; one of a script's that is called ``manual`` has none.
    """
    told = {
        "instrument": (fill.instrument, order.instrument),
        "side": (fill.side, order.side),
        "venue": (fill.venue, fill.venue if run.venue == MANUAL_VENUE else run.venue),
        "venue_order_id": (fill.venue_order_id, order.venue_order_id or fill.venue_order_id),
    }
    for name, (of_fill, of_order) in told.items():
        if of_fill != of_order:
            raise InputError(
                f"fill {fill.fill_id} is not of order {order.client_order_id}: its {name} is {of_fill}, the order's {of_order}"
            )
