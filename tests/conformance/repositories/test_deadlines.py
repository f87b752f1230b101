"""Deadlines hold whatever the database does, and what was given up has happened whole or not at all."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import anyio
import pytest
from sqlalchemy import text

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import START_NS, Factory
from tests.servers.postgres import PostgresServer, connected
from tradekeel.errors import AlreadyExists, StoreError, StoreTimeout, StoreUnanswered, StoreUnavailable
from tradekeel.storage.backend import Backend
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlStrategyRepository,
    SqlTradeRepository,
)
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

LIMIT_S = 0.4
SLACK_S = 3.0
"""What a busy machine may add, and a commit's grace."""


@pytest.fixture
async def manual_of() -> Callable[[Database], object]:
    async def make(database: Database) -> Factory:
        row = await SqlExecutionRepository(database).create_execution("scripts")
        await SqlStrategyRepository(database).create_strategy(Factory(row.execution, "scripts").strategy("floor"))
        return Factory(row.execution, "scripts")

    return make


@pytest.fixture
async def server(own_postgres: Callable[..., PostgresServer]) -> PostgresServer:
    """A server of the test's own, with books on it."""
    return own_postgres()


@pytest.fixture
async def far(server: PostgresServer) -> AsyncIterator[Database]:
    """Books on that server."""
    url = server.new_database()
    async with Database(Postgres(url), now_ns=ManualClock()) as opened:
        yield opened
        server.heal()
        verdict = verify(opened.backend)
        assert verdict.ok, "\n".join(verdict.lines())


class Took:
    """How long a block took."""

    def __enter__(self) -> Self:
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._since


# --- a server that stands still --------------------------------------------------------------------------------------


async def test_a_paused_server_is_given_up_on_and_used_again_when_it_goes_on(far, server, manual_of):
    factory = await manual_of(far)
    trades = SqlTradeRepository(far)
    saved = await trades.save_trade(factory.trade())
    lost = factory.trade()
    server.pause()
    calls = (
        trades.get_trade_by_id(saved.trade_id, timeout_s=LIMIT_S),
        trades.save_trade(lost, timeout_s=LIMIT_S),
        trades.get_stats(timeout_s=LIMIT_S),
        trades.count_trades(timeout_s=LIMIT_S),
    )
    for call in calls:
        with Took() as took, pytest.raises(StoreTimeout, match=r"longer than 0\.4 s"):
            await call
        assert LIMIT_S <= took.seconds < LIMIT_S + SLACK_S
    server.resume()
    assert await trades.get_trade_by_id(saved.trade_id) == saved
    assert await trades.get_trade_by_id(lost.trade_id) is None
    assert await trades.save_trade(lost) == lost


async def test_nothing_is_left_running_on_a_server_that_is_merely_slow(far, server, manual_of):
    await manual_of(far)

    async def sleep(db):
        return (await db.execute(text("SELECT pg_sleep(30)"))).scalar()

    with Took() as took, pytest.raises(StoreTimeout):
        await far.read("sleeping", sleep, LIMIT_S)
    assert took.seconds < LIMIT_S + SLACK_S
    assert busy(far.backend) == []


async def test_a_call_that_is_cancelled_leaves_nothing_running_either(far, manual_of):
    factory = await manual_of(far)

    async def sleep(db):
        return (await db.execute(text("SELECT pg_sleep(30)"))).scalar()

    async def write_slowly(change):
        await change.add(factory.execution, [factory.trade()], steers="a trade")
        await change.db.execute(text("SELECT pg_sleep(30)"))

    for call in (far.read, far.write):
        with Took() as took, anyio.move_on_after(LIMIT_S) as scope:
            await call("sleeping", sleep if call == far.read else write_slowly)
        assert scope.cancelled_caught
        assert took.seconds < LIMIT_S + SLACK_S
    assert busy(far.backend) == []
    assert await SqlTradeRepository(far).count_trades() == 0


async def test_whoever_waits_for_a_lock_of_somebody_else_is_given_up_on(far, manual_of):
    factory = await manual_of(far)
    with closing(far.backend.connect()) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM executions FOR UPDATE").fetchall()
        with Took() as took, pytest.raises(StoreTimeout):
            await SqlTradeRepository(far).save_trade(factory.trade(), timeout_s=LIMIT_S)
        assert took.seconds < LIMIT_S + SLACK_S
        other.execute("ROLLBACK")
    assert await SqlTradeRepository(far).count_trades() == 0


def busy(backend: Backend) -> list[str]:
    """What runs on the server for us, once it has had a moment to stop."""
    assert isinstance(backend, Postgres)
    running = (
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND state <> 'idle'"
    )
    found: list[str] = []
    with connected(backend._url.render_as_string(hide_password=False)) as connection:
        for _ in range(40):
            found = [str(query) for (query,) in connection.execute(running)]
            if not found:
                break
            connection.execute("SELECT pg_sleep(0.05)")
    return found


# --- a server that goes away -----------------------------------------------------------------------------------------


async def test_a_server_that_was_started_again_is_used_without_an_error(far, server, manual_of):
    factory = await manual_of(far)
    trades = SqlTradeRepository(far)
    one = await trades.save_trade(factory.trade())
    server.stop()
    with Took() as took, pytest.raises(StoreError, match="cannot be reached"):
        await trades.get_trade_by_id(one.trade_id)
    assert took.seconds < SLACK_S
    server.start()
    assert await trades.get_trade_by_id(one.trade_id) == one
    server.kill()
    server.start()
    await trades.save_trade(factory.trade(), timeout_s=20)
    assert await trades.count_trades() == 2


async def test_a_server_killed_in_the_middle_of_writes_has_each_whole_or_not_at_all(far, server, manual_of, seed):
    factory, chance = await manual_of(far), random.Random(seed)
    trades = SqlTradeRepository(far)
    acknowledged, in_doubt, refused = set[str](), set[str](), set[str]()
    for _ in range(5):
        made = [factory.trade() for _ in range(30)]
        enough, reached = len(acknowledged) + chance.randrange(1, 20), anyio.Event()

        async def save(trade, enough=enough, reached=reached):
            try:
                await trades.save_trade(trade)
                acknowledged.add(trade.trade_id)
                if len(acknowledged) >= enough:
                    reached.set()
            except StoreUnanswered:
                in_doubt.add(trade.trade_id)
            except StoreError:
                refused.add(trade.trade_id)

        async with anyio.create_task_group() as tasks:
            for trade in made:
                tasks.start_soon(save, trade)
            await reached.wait()
            server.kill()
        server.start()
        there = {trade.trade_id for trade in await trades.get_recent_trades(limit=1_000, timeout_s=20)}
        assert acknowledged <= there <= acknowledged | in_doubt
    assert in_doubt | refused


async def test_a_server_that_is_not_there_is_told_apart_from_one_that_refuses(tmp_path: Path, server) -> None:
    url = server.new_database()
    server.stop()
    with pytest.raises(StoreError, match="cannot be reached"):
        async with Database(Postgres(url), now_ns=ManualClock()):
            pass


# --- a file that somebody else writes to -----------------------------------------------------------------------------


async def test_whoever_waits_for_a_file_is_given_up_on_and_reads_meanwhile(tmp_path: Path, manual_of) -> None:
    Store.open(tmp_path / "books.db", now_ns=START_NS).close()
    backend = Sqlite(tmp_path / "books.db")
    async with Database(backend, now_ns=ManualClock()) as database:
        factory = await manual_of(database)
        trades = SqlTradeRepository(database)
        trade = await trades.save_trade(factory.trade())
        with closing(backend.connect()) as other:
            other.execute("BEGIN IMMEDIATE")
            with Took() as took, pytest.raises(StoreTimeout):
                await trades.save_trade(factory.trade(), timeout_s=LIMIT_S)
            assert took.seconds < LIMIT_S + SLACK_S
            assert await trades.get_trade_by_id(trade.trade_id) == trade
            with Took() as took, anyio.move_on_after(LIMIT_S) as scope:
                await trades.save_trade(factory.trade())
            assert scope.cancelled_caught
            assert took.seconds < LIMIT_S + SLACK_S
            other.execute("ROLLBACK")
        assert await trades.count_trades() == 1
        await trades.save_trade(factory.trade())
    assert verify(backend).ok


async def test_a_long_question_to_a_file_is_interrupted(database, backend):
    if backend.name == "postgresql":
        return  # asked above
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    async def ask(db):
        return (await db.execute(text(endless))).scalar()

    with Took() as took, pytest.raises(StoreTimeout):
        await database.read("counting for ever", ask, LIMIT_S)
    assert took.seconds < LIMIT_S + SLACK_S
    assert await SqlTradeRepository(database).count_trades() == 0


async def test_whoever_waits_behind_others_for_a_connection_is_given_up_on(database, manual, backend):
    started = anyio.Event()

    async def hold(change):
        started.set()
        await anyio.sleep(1.0)

    if backend.name == "postgresql":
        return  # it has more connections than this test has patience
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.write, "holding", hold)
        await started.wait()
        with Took() as took, pytest.raises(StoreTimeout):
            await SqlTradeRepository(database).save_trade(manual.trade(), timeout_s=0.1)
        assert took.seconds < 0.9
    assert await SqlTradeRepository(database).count_trades() == 0


async def test_writes_cancelled_at_any_moment_have_happened_whole_or_not_at_all(database, manual, seed):
    chance, trades = random.Random(seed), SqlTradeRepository(database)
    for _ in range(30):
        trade = manual.trade()
        with anyio.move_on_after(chance.uniform(0, 0.02)):
            await trades.save_trade(trade)
        found = await trades.get_trade_by_id(trade.trade_id)
        assert found in (None, trade)
        if found is not None:
            with pytest.raises(AlreadyExists):
                await trades.save_trade(trade)


async def test_a_path_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "books.db").mkdir()
    with pytest.raises(StoreUnavailable):
        async with Database(tmp_path / "books.db", now_ns=ManualClock()):
            pass
