"""Scripts that write beside each other wait, and never for each other: whoever is in the way of another is done once more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import Factory
from tradekeel.errors import StoreUnavailable
from tradekeel.storage.backend import Backend
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlFillRepository, SqlOrderRepository
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.tradestore import SqlTradeStore
from tradekeel.storage.verify import verify

ROUNDS = 10


class Asked(ManualClock):
    """Each try of a write asks for the time once."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return super().__call__()


@pytest.fixture
def tries() -> Asked:
    return Asked()


@pytest.fixture
async def books(backend: Backend, tries: Asked) -> AsyncIterator[Database]:
    async with Database(backend, now_ns=tries, by="test", timeout_s=30) as opened:
        yield opened
    assert verify(backend).ok


async def factories(books: Database, *accounts: str) -> list[Factory]:
    runs = SqlExecutionRepository(books)
    return [Factory((await runs.create_execution(account)).execution, account, n) for n, account in enumerate(accounts)]


@pytest.mark.parametrize("accounts", [("one", "other"), ("one", "one")])
async def test_bulk_writes_in_any_order_do_not_wait_for_each_other(books, tries, accounts):
    orders, fills = SqlOrderRepository(books), SqlFillRepository(books)
    first, second = await factories(books, *accounts)
    made = [maker.order(strategy=None) for maker in (first, second)]
    await orders.create_orders(made)
    wanted = {order.client_order_id: {"status_reason": "seen"} for order in made}
    turned = dict(reversed(wanted.items()))
    before = tries.times
    for _ in range(ROUNDS):
        more = [maker.order(strategy=None) for maker in (second, first)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(orders.update_orders, wanted)
            tasks.start_soon(orders.update_orders, turned)
            tasks.start_soon(orders.create_orders, more)
            tasks.start_soon(orders.update_order, made[1].client_order_id, {"status_reason": "alone"})
            tasks.start_soon(fills.delete_all_fills)
    assert tries.times - before == 5 * ROUNDS, "nobody had to begin again"


async def test_a_trade_store_that_adds_does_not_stand_in_the_way_of_one_that_changes(books, backend, tries):
    store = SqlTradeStore(backend, tries, books)
    words: dict[str, Any] = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}

    async def add() -> None:
        await store.save_new_trade(**words)

    trade = await store.save_new_trade(**words)
    before = tries.times
    for number in range(ROUNDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.update_trade, trade.trade_id, {"tags": [str(number)]})
            tasks.start_soon(add)
            tasks.start_soon(add)
    assert tries.times - before == 3 * ROUNDS, "nobody had to begin again"


@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_what_the_server_took_back_is_done_once_more_and_no_more_than_once(books, backend, code):
    if backend.name != "postgresql":
        return  # the others let one write after the other
    runs, failures = 0, 1

    async def work(change: Change) -> int:
        nonlocal runs
        runs += 1
        if runs <= failures:
            await change.db.exec_driver_sql(
                f"DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}'; END $$"
            )
        return runs

    assert await books.write("trying", work) == 2
    runs, failures = 0, 9
    with pytest.raises(StoreUnavailable, match=r"in the way.*all of it was taken back: try again"):
        await books.write("trying", work)
    assert runs == 2
