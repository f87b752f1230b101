"""Reads go to a replica, a real one that follows by streaming, as long as it answers, and never behind one's own writes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.conformance.repositories.factories import START_NS, Factory
from tests.servers.postgres import PostgresServer, connected, with_database
from tradekeel.errors import InputError, StoreTimeout, StoreUnavailable, VersionConflict
from tradekeel.storage.postgres import Limits, Postgres
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlTradeRepository
from tradekeel.storage.repositories.replicas import REST_NS
from tradekeel.storage.store import Store

PATIENCE_S = 20.0
LIMIT_S = 1.0
SLACK_S = 3.0


class Clock:
    """The time is what the test says."""

    now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


class House:
    """A primary, a replica of it, books on both, and whoever reads and writes them."""

    def __init__(self, primary: PostgresServer, replica: PostgresServer, url: str) -> None:
        self.primary, self.replica, self.url = primary, replica, url
        self.clock = Clock()
        self.replica_url = with_database(replica.admin_url, url.rpartition("/")[2])

    def books(self) -> Database:
        backend = Postgres(self.url, Limits(connect_timeout_s=2.0), replica_url=self.replica_url)
        return Database(backend, now_ns=self.clock)

    def hold_back(self) -> None:
        """The replica gets what is written, and does not show it."""
        with connected(self.replica.admin_url) as db:
            db.execute("SELECT pg_wal_replay_pause()")
            self._until(lambda: db.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",))

    def let_go(self) -> None:
        with connected(self.primary.admin_url) as db:
            wanted = db.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        with connected(self.replica.admin_url) as db:
            db.execute("SELECT pg_wal_replay_resume()")
            question = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            self._until(lambda: db.execute(question, wanted).fetchone() == (True,))

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "what was waited for never came"
            time.sleep(0.01)


@pytest.fixture
def house(own_postgres: Callable[..., PostgresServer]) -> House:
    primary = own_postgres()
    url = primary.new_database()
    Store.open(Postgres(url), now_ns=START_NS).close()
    return House(primary, own_postgres(copy_of=primary), url)


@pytest.fixture
async def books(house: House) -> AsyncIterator[Database]:
    async with house.books() as opened:
        yield opened


async def is_standby(db: AsyncConnection) -> bool:
    return bool((await db.execute(text("SELECT pg_is_in_recovery()"))).scalar_one())


async def at_replica(books: Database) -> bool:
    return await books.read("asking who answers", is_standby, 5.0)


async def made(books: Database) -> Factory:
    row = await SqlExecutionRepository(books).create_execution("scripts")
    return Factory(row.execution, "scripts")


async def test_reads_go_to_the_replica_and_writes_to_the_primary(house, books):
    assert await at_replica(books)
    trades = SqlTradeRepository(books)
    trade = await trades.save_trade((await made(books)).trade(None))
    house.let_go()
    assert await trades.get_trade_by_id(trade.trade_id) == trade
    assert list(await trades.get_open_trades()) == [trade]
    assert (await trades.get_stats()).count == 0
    assert await at_replica(books)
    assert not await books.fresh().read("asking who answers", is_standby)
    assert books.replica_said is None


async def test_what_one_has_written_oneself_is_read_however_far_behind_the_replica_is(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    house.let_go()
    async with house.books() as others:
        house.hold_back()
        trade = await trades.save_trade(factory.trade(None))
        assert await trades.get_trade_by_id(trade.trade_id) == trade
        assert not await at_replica(books)
        elsewhere = SqlTradeRepository(others)
        assert await elsewhere.get_trade_by_id(trade.trade_id) is None, "what others write comes when it comes"
        assert await SqlTradeRepository(others.fresh()).get_trade_by_id(trade.trade_id) == trade
        assert await at_replica(others)
        house.let_go()
        assert await elsewhere.get_trade_by_id(trade.trade_id) == trade
    assert await at_replica(books), "and to the replica again when it has caught up"
    assert books.replica_said is None, "being behind is no fault"


async def test_a_change_is_made_of_what_the_primary_has_and_a_version_is_compared_with_it(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    trade = await trades.save_trade(factory.trade(None))
    house.let_go()
    async with house.books() as others:
        house.hold_back()
        await trades.update_trade(trade.trade_id, {"model": "a"})
        elsewhere = SqlTradeRepository(others)
        seen = await elsewhere.get_trade_by_id(trade.trade_id)
        assert seen == trade, "the replica's old one"
        with pytest.raises(VersionConflict) as conflict:
            await elsewhere.update_trade(trade.trade_id, {"regime": "b"}, seen.version)
        assert (conflict.value.expected, conflict.value.found) == (0, 1)
        both = await elsewhere.update_trade(trade.trade_id, {"regime": "b"})
        assert (both.model, both.regime, both.version) == ("a", "b", 2)
        house.let_go()


async def test_a_replica_that_is_gone_costs_nobody_an_answer_and_is_asked_again_later(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    trade = await trades.save_trade(factory.trade(None))
    house.let_go()
    assert await at_replica(books)
    house.replica.kill()
    for _ in range(3):
        assert await trades.get_trade_by_id(trade.trade_id) == trade
    assert not await at_replica(books)
    said = books.replica_said or ""
    assert f":{house.replica.port.number}/" in said
    assert house.replica.password not in said
    house.replica.restart()
    assert not await at_replica(books), "it rests"
    house.clock.now_ns += REST_NS
    assert await at_replica(books)
    assert books.replica_said is None
    house.replica.kill()
    assert not await at_replica(books)
    house.replica.restart()
    house.clock.now_ns -= 1
    assert await at_replica(books), "a clock that is set back makes it rest no longer"


async def test_a_replica_that_is_frozen_costs_one_read_at_most_and_no_deadline(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    trade = await trades.save_trade(factory.trade(None))
    house.let_go()
    assert await at_replica(books)
    house.replica.pause()
    began = time.monotonic()
    with pytest.raises(StoreTimeout, match=rf":{house.replica.port.number}/.*longer than 1 s"):
        await trades.get_trade_by_id(trade.trade_id, timeout_s=LIMIT_S)
    assert time.monotonic() - began < LIMIT_S + SLACK_S
    assert await trades.get_trade_by_id(trade.trade_id, timeout_s=LIMIT_S) == trade
    async with (
        house.books() as others
    ):  # which have no connection to it yet: they give it up in time to ask the primary
        began = time.monotonic()
        found = await SqlTradeRepository(others).get_trade_by_id(trade.trade_id, timeout_s=LIMIT_S)
        assert found == trade
        assert time.monotonic() - began < LIMIT_S + SLACK_S
    house.replica.resume()


async def test_many_reads_while_the_replica_dies_and_comes_back_all_get_their_answer(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    trade = await trades.save_trade(factory.trade(None))
    house.let_go()
    stopped, answers = anyio.Event(), []

    async def read() -> None:
        while not stopped.is_set():
            answers.append(await trades.get_trade_by_id(trade.trade_id) == trade)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(read)
        for _ in range(3):
            await anyio.sleep(0.1)
            house.replica.kill()
            await anyio.sleep(0.1)
            await anyio.to_thread.run_sync(house.replica.restart)
            house.clock.now_ns += REST_NS
        stopped.set()
    assert len(answers) > 20
    assert all(answers)


async def test_reads_go_on_at_the_replica_while_the_primary_is_away(house, books):
    trades, factory = SqlTradeRepository(books), await made(books)
    trade = await trades.save_trade(factory.trade(None))
    house.let_go()
    assert await trades.get_trade_by_id(trade.trade_id) == trade
    house.primary.kill()
    assert await trades.get_trade_by_id(trade.trade_id) == trade
    with pytest.raises(StoreUnavailable, match=rf":{house.primary.port.number}/"):
        await trades.update_trade(trade.trade_id, {"model": "x"})
    with pytest.raises(StoreUnavailable):
        await SqlTradeRepository(books.fresh()).get_trade_by_id(trade.trade_id)


async def test_a_replica_that_has_not_got_the_tables_yet_is_passed_over(own_postgres, house):
    other = own_postgres()  # some other server, with no books in it
    empty = other.new_database()
    async with Database(Postgres(house.url, replica_url=empty), now_ns=house.clock) as books:
        assert (await SqlTradeRepository(books).get_stats()).count == 0
        assert books.replica_said is not None


def test_a_replica_is_named_by_a_url_like_the_primary():
    with pytest.raises(InputError, match="allowed"):
        Postgres("postgresql://a@b/c", replica_url="mysql://a@b/c")


async def test_a_call_may_take_longer_than_the_statements_of_a_daemon(postgres_books):
    """Whoever gives a call more time gets it: storage.statement_timeout_s is what calls have that say nothing."""
    with postgres_books.lent() as url:
        limits = Limits(statement_timeout_s=0.5, pool_size=1, pool_overflow=0)
        async with Database(Postgres(url, limits), now_ns=Clock(), timeout_s=0.5) as books:

            async def slowly(db: AsyncConnection) -> object:
                return (await db.execute(text("SELECT pg_sleep(1)"))).scalar_one()

            with pytest.raises(StoreTimeout):
                await books.read("sleeping", slowly)
            await books.read("sleeping", slowly, 5.0)
