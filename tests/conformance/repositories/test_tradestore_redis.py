"""Trades on a Redis server: what survives its end, what is whole whatever breaks, and what is said of each fault."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec import structs

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import LATER_NS, START_NS, Factory
from tests.conformance.repositories.test_trades import dumb, figures
from tests.servers.valkey import DURABLE, ValkeyServer
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import StoreAway, StoreCorrupt, StoreError, StoreRefused, StoreTimeout, StoreUnanswered
from tradekeel.storage.redis import trades as module
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.redis.tradelists import closed_entry, open_entry
from tradekeel.storage.redis.trades import RedisTradeStore

pytestmark = pytest.mark.redis

Own = Callable[..., ValkeyServer]
LIMIT_S = 0.4
SLACK_S = 3.0
"""What a busy machine may add."""

RECOVERED = 1_000
ROWS, OPEN, CLOSED, COUNTS = (f"trading:trades:scripts:{name}" for name in ("rows", "open", "closed", "counts"))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisTradeStore]:
    settings = RedisSettings(url=url, deadline_s=60.0)
    async with RedisTradeStore(lambda: RedisServer.open(settings), ManualClock()) as store:
        yield store


async def all_open(store: RedisTradeStore) -> dict[str, Trade]:
    return {trade.trade_id: trade for trade in await store.get_open_trades(limit=10_000)}


async def is_whole(url: str, store: RedisTradeStore) -> dict[str, Trade]:
    """Rows and indexes say the same of every trade; all trades."""
    async with RedisServer.open(RedisSettings(url=url)) as server:
        ids = [raw.decode() for raw in await server.ask("looking", "HKEYS", ROWS)]
        found = {trade_id: await store.get_trade(trade_id) for trade_id in ids}
        rows = {trade_id: trade for trade_id, trade in found.items() if trade is not None}
        for index, entries in (
            (OPEN, {open_entry(t.created_ns, t.trade_id) for t in rows.values() if t.is_open}),
            (CLOSED, {closed_entry(t) for t in rows.values() if t.status is TradeStatus.CLOSED}),
        ):
            assert set(await server.ask("looking", "ZRANGE", index, 0, -1)) == entries
    assert await all_open(store) == {trade_id: trade for trade_id, trade in rows.items() if trade.is_open}
    assert figures(await store.get_stats()) == dumb([t for t in rows.values() if t.status is TradeStatus.CLOSED])
    return rows


# --- a server that ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_a_thousand_open_trades_come_back_field_by_field_after_the_server_was_killed(
    own_redis: Own, seed: int, appendfsync: str
) -> None:
    server = own_redis(settings={**DURABLE, "appendfsync": appendfsync})
    factory = Factory("x", "y", seed)
    async with opened(server.url()) as store:
        saved = {}
        for number in range(RECOVERED):
            made = factory.extreme_trade(number) if number % 10 == 0 else factory.trade()
            kept = await store.save_new_trade(made)
            saved[kept.trade_id] = kept
        closed = await store.save_new_trade(factory.trade(None, TradeStatus.CLOSED))
        if appendfsync == "everysec":  # what is answered may be a second from the disk: ask until it is there
            async with RedisServer.open(RedisSettings(url=server.url())) as asked:
                assert (await asked.ask("waiting for the disk", "WAITAOF", 1, 0, 5_000))[0] == 1
        server.kill()
        with pytest.raises(StoreAway):
            await store.get_open_trades()
        server.restart()
        assert await all_open(store) == saved
        assert await store.get_trade(closed.trade_id) == closed
        await is_whole(server.url(), store)


async def test_a_server_that_keeps_nothing_forgets_and_gives_out_no_id_again(own_redis: Own) -> None:
    server = own_redis()  # appendonly no
    words = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1}
    async with opened(server.url()) as store:
        before = await store.save_new_trade(**words)  # type: ignore[arg-type]  # words of a trade
        server.kill()
        server.restart()
        assert await store.get_trade(before.trade_id) is None
        after = await store.save_new_trade(**words)  # type: ignore[arg-type]
        assert after.trade_id != before.trade_id
        assert after.execution != before.execution


async def test_whatever_breaks_in_the_middle_a_change_is_there_whole_or_not_at_all(own_redis: Own, seed: int) -> None:
    server, chance = own_redis(settings=DURABLE), random.Random(seed)
    known: dict[str, set[int]] = {}  # versions that were answered for
    unsure = 0

    async def write(store: RedisTradeStore, number: int, factory: Factory) -> None:
        nonlocal unsure
        while not stopped.is_set():
            try:
                trade = await store.save_new_trade(factory.trade(None))
                known.setdefault(trade.trade_id, set()).add(trade.version)
                if len(known) >= enough:
                    reached.set()
                trade = await store.update_trade(trade.trade_id, model=f"{number}")
                known[trade.trade_id].add(trade.version)
                if chance.random() < 0.5:
                    trade = await store.mark_trade_closed(trade.trade_id, "1", rate=1, exit_time_ns=LATER_NS)
                    known[trade.trade_id].add(trade.version)
            except StoreUnanswered:
                unsure += 1
            except StoreAway:
                await anyio.sleep(0.002)

    async with opened(server.url()) as store:
        for round_ in range(4):
            stopped, reached, enough = anyio.Event(), anyio.Event(), len(known) + chance.randint(13, 40)
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(write, store, number, Factory(f"{round_}-{number}", "y", seed + number))
                await reached.wait()
                await anyio.sleep(chance.uniform(0, 0.005))
                server.kill()
                stopped.set()
            server.restart()
            rows = await is_whole(server.url(), store)
            for trade_id, versions in known.items():
                assert rows[trade_id].version >= max(versions), "what was answered for is there"
    assert len(known) > 50


# --- answers that do not come ----------------------------------------------------------------------------------------


async def test_a_server_that_is_frozen_is_given_up_in_time_and_used_again(own_redis: Own) -> None:
    server = own_redis()
    async with opened(server.url()) as store:
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
        server.pause()
        for call in (
            store.update_trade(trade.trade_id, model="x", timeout_s=LIMIT_S),  # reads first, and gets no further
            store.get_open_trades(timeout_s=LIMIT_S),
            store.get_stats(timeout_s=LIMIT_S),
        ):
            began = time.monotonic()
            with pytest.raises(StoreTimeout, match=r"longer than 0\.4 s.*Nothing was written"):
                await call
            assert time.monotonic() - began < LIMIT_S + SLACK_S
        server.resume()
        assert await store.get_trade(trade.trade_id) == trade
        assert (await store.update_trade(trade.trade_id, model="x")).version == 1


async def test_a_write_that_was_asked_and_not_answered_is_not_asked_again(own_redis: Own) -> None:
    server = own_redis()
    async with opened(server.url()) as store, RedisServer.open(RedisSettings(url=server.url())) as other:
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
        outcomes: list[object] = []

        async def change() -> None:
            try:
                outcomes.append(await store.update_trade(trade.trade_id, model="x", timeout_s=LIMIT_S))
            except StoreError as error:
                outcomes.append(error)

        # Scripts wait, questions are answered: so the row is read, and the change is what nobody answers.
        await other.ask("holding scripts", "CLIENT", "PAUSE", 1_500, "WRITE")
        await change()
        assert isinstance(outcomes[0], StoreUnanswered)
        assert "read before you write it again" in str(outcomes[0])
        await other.ask("letting go", "CLIENT", "UNPAUSE")
        found = await store.get_trade(trade.trade_id)
        assert found is not None
        assert found.version in (0, 1)
        await is_whole(server.url(), store)


# --- what it refuses -------------------------------------------------------------------------------------------------


async def test_a_server_that_is_full_writes_nothing_and_says_so(own_redis: Own) -> None:
    server = own_redis()
    async with opened(server.url()) as store, RedisServer.open(RedisSettings(url=server.url())) as admin:
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
        await admin.ask("filling it", "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreRefused, match="it is full"):
            await store.mark_trade_closed(trade.trade_id, "2")
        with pytest.raises(StoreRefused, match="it is full"):
            await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
        assert await is_whole(server.url(), store) == {trade.trade_id: trade}


async def test_keys_that_were_pushed_out_or_overwritten_are_damage_and_not_fewer_trades(redis_url: str) -> None:
    async with opened(redis_url) as store, RedisServer.open(RedisSettings(url=redis_url)) as admin:
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
        await admin.ask("damaging a row", "HSET", ROWS, trade.trade_id, '{"trade_id": 5}')
        for call in (
            store.get_trade(trade.trade_id),
            store.get_open_trades(),
            store.update_trade(trade.trade_id, model="x"),
        ):
            with pytest.raises(StoreCorrupt, match="Somebody else writes below trading:trades:"):
                await call
        await admin.ask("losing the rows", "DEL", ROWS)
        with pytest.raises(StoreCorrupt, match="maxmemory-policy"):
            await store.get_open_trades()
        await admin.ask("damaging an index", "ZADD", CLOSED, 0, "nonsense")
        with pytest.raises(StoreCorrupt):
            await store.get_stats()
        await admin.ask("another kind of value", "SET", ROWS, "x")
        with pytest.raises(StoreRefused, match="of another kind"):
            await store.get_trade(trade.trade_id)


@pytest.mark.parametrize("lost", [(), ("counts",)])
async def test_an_index_that_was_pushed_out_is_damage_and_not_an_empty_one(
    redis_url: str, lost: tuple[str, ...]
) -> None:
    """Who is told that there are no open trades opens others beside them."""
    words = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}
    for index in ("open", "open:EUR_USD", "closed"):
        async with opened(redis_url) as store, RedisServer.open(RedisSettings(url=redis_url)) as admin:
            trade = await store.save_new_trade(**words)  # type: ignore[arg-type]  # words of a trade
            other = await store.save_new_trade(**words)  # type: ignore[arg-type]
            await store.mark_trade_closed(other.trade_id, "2")
            assert [found.trade_id for found in await store.get_open_trades("EUR_USD")] == [trade.trade_id]
            assert list(await store.get_open_trades("USD_JPY")) == []
            for name in (index, *lost):
                assert await admin.ask("pushing out", "DEL", f"trading:trades:scripts:{name}") == 1
            symbol = "EUR_USD" if index.endswith("EUR_USD") else None
            call: Awaitable[object] = store.get_stats() if index == "closed" else store.get_open_trades(symbol)
            with pytest.raises(StoreCorrupt, match=rf"the index trading:trades:scripts:{index} .*maxmemory-policy"):
                await call
            await admin.ask("beginning anew", "FLUSHDB")


async def test_a_store_that_has_only_a_failed_trade_has_no_open_ones(redis_url: str, seed: int) -> None:
    async with opened(redis_url) as store:
        await store.save_new_trade(Factory("x", "y", seed).trade(None, TradeStatus.FAILED))
        assert list(await store.get_open_trades()) == []
        assert (await store.get_stats()).count == 0


async def test_there_may_be_only_so_many_open_trades(redis_url: str) -> None:
    async with opened(redis_url) as store, RedisServer.open(RedisSettings(url=redis_url)) as admin:
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
        fill = f"for i = 2, {module.OPEN_MAX} do redis.call('ZADD', KEYS[1], 0, 'z' .. i) end"
        await admin.run("filling the index", fill, (OPEN,))
        with pytest.raises(StoreRefused, match=rf"{module.OPEN_MAX} open trades"):
            await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
        moved = await store.update_trade(trade.trade_id, model="one that is open already may change")
        assert (await store.mark_trade_closed(trade.trade_id, "2")).version == moved.version + 1
        await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)


# --- statistics beside writers ---------------------------------------------------------------------------------------


@pytest.mark.untraced
async def test_statistics_are_of_one_moment_whoever_writes_meanwhile(redis_url: str, seed: int) -> None:
    """Each trade comes in a pair that sums to nothing, changed in one step of one trade: a figure between is of no moment."""
    factory = Factory("x", "y", seed)
    async with opened(redis_url) as store:
        count = module.STATS_PAGE + 500  # so that one page is not enough
        template = factory.trade(None, TradeStatus.CLOSED, entry_time_ns=0)
        async with RedisServer.open(RedisSettings(url=redis_url)) as admin:
            words: list[bytes | int] = []
            for number in range(count):
                row = structs.replace(template, trade_id=f"old-{number}", exit_time_ns=START_NS + number)
                words += (0, closed_entry(row))
            await admin.ask("older ones", "ZADD", CLOSED, *words)
            await admin.ask("as many as there are", "HSET", COUNTS, CLOSED, count)
        moving = await store.save_new_trade(structs.replace(template, exit_time_ns=START_NS - 1))
        expected = (await store.get_stats()).count
        assert expected == count + 1
        stopped = anyio.Event()

        async def move() -> None:
            """From the front to the back: who reads pages of several moments meets it twice, or not at all."""
            while not stopped.is_set():
                for exit_time_ns in (START_NS + 2 * count, START_NS - 1):
                    await store.update_trade(moving.trade_id, exit_time_ns=exit_time_ns)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(move)
            for _ in range(30):
                assert (await store.get_stats()).count == expected
            stopped.set()
