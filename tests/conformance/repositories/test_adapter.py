"""One object holds all stores: by a daemon's own settings, and with half of them missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.servers.postgres import PostgresServer, connected, with_database, without_password
from tests.servers.valkey import ValkeyServer
from tradekeel.errors import (
    ConfigError,
    InputError,
    NotReady,
    StoreAway,
    StoreDenied,
    StoreRefused,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
)
from tradekeel.ports.adapter import BackendState, Health
from tradekeel.ports.adapter import DataAdapter as Port
from tradekeel.ports.registry import Service
from tradekeel.scripting import DataAdapter, Database, SqlTradeRepository
from tradekeel.storage.adapter import StoreAdapter
from tradekeel.storage.memory.books import Memory
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

UP, OFF, UNAVAILABLE, DENIED = BackendState.UP, BackendState.OFF, BackendState.UNAVAILABLE, BackendState.DENIED
SLACK_S = 3.0
TRADE: dict[str, Any] = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}


class Servers:
    """A database and a Redis of the test's own, and the file and the environment of a daemon that uses them."""

    def __init__(self, postgres: PostgresServer, redis: ValkeyServer, folder: Path) -> None:
        self.postgres, self.redis, self.folder = postgres, redis, folder
        self.url = postgres.new_database()
        Store.open(Postgres(self.url), now_ns=1).close()
        self.environ = {"BOOKS": postgres.password, "HOT": redis.password}
        self.replica_url = ""

    @property
    def file(self) -> Path:
        """What it needs not is left as it is: other sections of a daemon's file, and secrets that are not ours to read."""
        path = self.folder / "market.toml"
        replica = f"replica_url = '{without_password(self.replica_url)}'" if self.replica_url else ""
        path.write_text(
            f"""
            [storage]
            url = "{without_password(self.url)}"
            {replica}
            password = {{ env = "BOOKS" }}
            statement_timeout_s = 1.5
            connect_timeout_s = 2
            pool_size = 2
            pool_overflow = 1
            [redis]
            url = "{without_password(self.redis.url())}"
            password = {{ env = "HOT" }}
            deadline_s = 1.5
            [accounts.main]
            token = {{ file = "/nowhere/at/all" }}
            """
        )
        return path

    def adapter(self, **words: object) -> DataAdapter:
        return DataAdapter.from_settings(self.file, environ=self.environ, **words)  # type: ignore[arg-type]  # of from_settings


@pytest.fixture
def servers(
    own_postgres: Callable[..., PostgresServer], own_redis: Callable[..., ValkeyServer], tmp_path: Path
) -> Servers:
    return Servers(own_postgres(), own_redis(), tmp_path)


def states(health: Health) -> tuple[BackendState, BackendState, BackendState]:
    return health.books.state, health.replica.state, health.redis.state


async def test_it_holds_everything_and_says_how_it_stands(servers):
    async with servers.adapter() as data:
        port: Port = data
        assert isinstance(port, Port)
        health = await data.health_check()
        assert states(health) == (UP, OFF, UP)
        assert health.ok
        assert health.books.version.startswith("postgresql 1")
        assert health.redis.version.startswith(("valkey ", "redis "))
        for part in (health.books, health.redis):
            assert part.latency_s is not None
            assert 0 < part.latency_s < SLACK_S
            assert str(urlsplit(servers.url if part is health.books else servers.redis.url()).port) in part.where
        trade = await data.trade_store.save_new_trade(**TRADE)
        assert await data.trades.get_trade_by_id(trade.trade_id) == trade
        assert await data.executions.count_executions() == await data.strategies.count_strategies() + 1
        assert await data.orders.count_orders() == await data.signals.count_signals() == 0
        assert len(await data.fills.get_unique_symbols()) == await data.positions.count_positions() == 0
        await data.cache.set("k", "v")
        assert await data.cache.get("k") == b"v"
        assert await data.cache_in("other").get("k") is None
        assert await data.services.list() == ()
    assert verify(data.backend).ok


async def test_settings_of_the_file_are_those_of_the_daemon_and_hold_for_scripts(servers):
    async with servers.adapter() as data:
        engines = data.books._engines
        assert engines is not None
        assert (engines.reading.pool.size(), data.books.timeout_s) == (2, 1.5)
        assert data.redis is not None
        assert data.redis.deadline_s == 1.5


async def test_a_replica_is_read_from_and_looked_at(servers, own_postgres):
    replica = own_postgres(copy_of=servers.postgres)
    servers.replica_url = with_database(replica.admin_url, servers.url.rpartition("/")[2])
    async with servers.adapter() as data:
        assert states(await data.health_check()) == (UP, UP, UP)
        trade = await data.trade_store.save_new_trade(**TRADE)
        assert await data.trade_store.get_trade(trade.trade_id) == trade
        replica.kill()
        health = await data.health_check()
        assert states(health) == (UP, UNAVAILABLE, UP)
        assert not health.ok
        assert str(replica.port.number) in health.replica.detail
        assert await data.trade_store.get_trade(trade.trade_id) == trade


# --- half of it missing ----------------------------------------------------------------------------------------------


async def test_without_redis_the_books_go_on_and_it_is_used_again_when_it_is_back(servers):
    servers.redis.stop()
    async with servers.adapter() as data:
        health = await data.health_check()
        assert states(health) == (UP, OFF, UNAVAILABLE)
        assert not health.ok
        assert "Start it, or mend the network" in health.redis.detail
        assert health.redis.latency_s is None
        with pytest.raises(StoreAway, match=f":{servers.redis.port.number}, .*cannot be reached"):
            await data.cache.get("k")
        with pytest.raises(StoreAway):
            await data.services.list()
        assert (await data.trade_store.save_new_trade(**TRADE)).symbol == "EUR_USD"
        servers.redis.restart()
        assert await data.cache.increment("n") == 1
        assert (await data.health_check()).ok


async def test_without_the_database_redis_goes_on_and_it_is_opened_when_it_is_back(servers):
    servers.postgres.stop()
    async with servers.adapter() as data:
        health = await data.health_check()
        assert states(health) == (UNAVAILABLE, OFF, UP)
        assert servers.postgres.password not in repr(health)
        for call in (
            data.trades.get_stats(),
            data.trade_store.save_new_trade(**TRADE),
            data.books.fresh().read("x", None),
        ):
            with pytest.raises(StoreUnavailable, match=f":{servers.postgres.port.number}/.*Is the server running"):
                await call
        assert await data.cache.increment("n") == 1
        servers.postgres.restart()
        assert (await data.trade_store.save_new_trade(**TRADE)).symbol == "EUR_USD"
        assert await SqlTradeRepository(data.books.fresh()).count_trades() == 1
        servers.postgres.restart()
        assert await data.trades.count_trades() == 1
        assert (await data.health_check()).ok


@pytest.mark.parametrize("part", ["books", "redis"])
async def test_what_is_required_must_be_there(servers, part):
    (servers.postgres if part == "books" else servers.redis).kill()
    with pytest.raises((StoreUnavailable, StoreAway), match="cannot be reached"):
        await servers.adapter(require=[part]).connect()
    other = "redis" if part == "books" else "books"
    async with servers.adapter(require=[other]) as data:
        assert not (await data.health_check()).ok
    with pytest.raises(InputError, match="no replica is configured"):
        await servers.adapter(require=["replica", other]).connect()


async def test_servers_that_do_not_let_us_in_are_told_apart_from_those_that_are_away(servers):
    servers.environ = {"BOOKS": "not the password", "HOT": "nor this one"}
    async with servers.adapter() as data:
        assert states(await data.health_check()) == (DENIED, OFF, DENIED)
        with pytest.raises(StoreDenied):
            await data.orders.count_orders()
        with pytest.raises(StoreRefused):
            await data.cache.get("k")


async def test_frozen_servers_hold_up_nobody(servers):
    async with servers.adapter() as data:
        servers.postgres.pause()
        servers.redis.pause()
        began = time.monotonic()
        assert states(await data.health_check(timeout_s=0.5)) == (UNAVAILABLE, OFF, UNAVAILABLE)
        assert time.monotonic() - began < 0.5 + SLACK_S
        began = time.monotonic()
        async with servers.adapter() as other:
            assert not (await other.health_check(timeout_s=0.5)).ok
        assert time.monotonic() - began < 1.5 + 0.5 + 2 * SLACK_S
        servers.postgres.resume()
        servers.redis.resume()
        assert (await data.health_check()).ok


@pytest.mark.parametrize(("version", "error"), [("9999", StoreTooNew), ("0003", StoreTooOld)])
async def test_books_that_cannot_be_used_as_they_are_say_so(tmp_path, version, error):
    environ = {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path)}
    async with DataAdapter.from_settings(environ=environ) as data:
        await data.trade_store.save_new_trade(**TRADE)
        assert states(await data.health_check()) == (UP, OFF, OFF)
        db = data.backend.connect()
        db.execute("UPDATE alembic_version SET version_num = ?", (version,))
        db.close()
    async with DataAdapter.from_settings(environ=environ) as data:
        health = await data.health_check()
        assert states(health) == (BackendState.UNUSABLE, OFF, OFF)
        with pytest.raises(error):
            await data.trades.count_trades()


# --- settings --------------------------------------------------------------------------------------------------------


async def test_the_environment_alone_is_enough_and_goes_over_a_file(servers, tmp_path):
    environ = {
        "TRADEKEEL__STORAGE__URL": without_password(servers.url),
        "TRADEKEEL__STORAGE__PASSWORD": '{ env = "BOOKS" }',
        "TRADEKEEL__REDIS__URL": without_password(servers.redis.url()),
        "TRADEKEEL__REDIS__PASSWORD": '{ env = "HOT" }',
        "TRADEKEEL__ACCOUNTS__MAIN__BALANCE": "5",  # of a daemon that runs in the same environment
    } | servers.environ
    async with DataAdapter.from_settings(environ=environ) as data:
        assert states(await data.health_check()) == (UP, OFF, UP)
    over = servers.environ | {"TRADEKEEL__STORAGE__STATEMENT_TIMEOUT_S": "7", "TRADEKEEL_CONFIG": str(servers.file)}
    adapter = DataAdapter.from_settings(environ=over)
    assert adapter.books.timeout_s == 7
    assert adapter.redis is not None


async def test_a_file_of_a_daemon_on_a_file_leads_to_its_books(tmp_path):
    (tmp_path / "market.toml").write_text('[daemon]\nstate_dir = "state"\n')
    (tmp_path / "state").mkdir()
    async with DataAdapter.from_settings(tmp_path / "market.toml", environ={}) as data:
        trade = await data.trade_store.save_new_trade(**TRADE)
    async with Database(tmp_path / "state" / "books.db", now_ns=time.time_ns) as books:
        assert await SqlTradeRepository(books).get_trade_by_id(trade.trade_id) == trade


def test_everything_that_is_wrong_with_the_settings_is_said_at_once(tmp_path):
    path = tmp_path / "market.toml"
    path.write_text("[storage]\nulr = 'x'\npool_size = 0\nreplica_url = 'mysql://x'\n[redis]\nurl = 5\n")
    with pytest.raises(ConfigError) as failed:
        DataAdapter.from_settings(path, environ={})
    assert len(failed.value.problems) == 4
    with pytest.raises(ConfigError, match="nothing says where the books are"):
        DataAdapter.from_settings(environ={})
    with pytest.raises(ConfigError, match="TRADEKEEL__STORAGE__POOL_SIZE"):
        DataAdapter.from_settings(
            environ={"TRADEKEEL__STORAGE__POOL_SIZE": "many", "TRADEKEEL__STORAGE__ENABLED": "false"}
        )
    with pytest.raises(ConfigError):
        DataAdapter.from_settings(tmp_path / "nothing.toml", environ={})
    with pytest.raises(InputError, match="allowed are books, replica, redis"):
        DataAdapter.from_settings(environ={"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path)}, require=["database"])  # type: ignore[list-item]  # wrong on purpose


# --- life ------------------------------------------------------------------------------------------------------------


async def test_what_is_not_configured_or_not_connected_says_so(tmp_path):
    adapter = StoreAdapter(Memory(), now_ns=time.time_ns, monotonic=time.monotonic)
    with pytest.raises(StoreUnavailable, match="not connected"):
        await adapter.trades.count_trades()
    async with adapter as data:
        assert await data.trades.count_trades() == 0
        for ask in (lambda: data.cache, lambda: data.services, lambda: data.cache_in("x")):
            with pytest.raises(InputError, match="TRADEKEEL__REDIS__URL"):
                ask()
        assert (await data.health_check()).books.version.startswith("memory 3.")
    with pytest.raises(StoreUnavailable, match="not connected"):
        await adapter.trades.count_trades()


async def test_a_cache_and_services_in_memory_are_had_by_saying_so_and_are_that_adapters_alone(tmp_path):
    (tmp_path / "market.toml").write_text(
        '[redis]\nurl = "redis://127.0.0.1:1/0"\nusername = "me"\npassword = { file = "/nowhere" }\n'
    )
    environ = {"TRADEKEEL__REDIS__URL": "memory://"}
    adapter = DataAdapter.from_settings(tmp_path / "market.toml", environ=environ, require=["redis"])
    service = Service(id="one", name="mine", host="here", pid=1, version="1")
    async with adapter as data:
        health = (await data.health_check()).redis
        assert (health.state, health.where) == (UP, "memory")
        assert health.detail == "in memory: gone with this adapter, and shared with nobody"
        await data.cache.set("k", "v", ttl_s=60)
        assert await data.cache_in("other").get("k") is None
        await data.services.register(service)
    assert (await adapter.health_check()).redis.state is UNAVAILABLE
    for ask in (lambda: adapter.cache, lambda: adapter.services):
        with pytest.raises(NotReady, match="connect"):
            ask()
    async with adapter as data, DataAdapter.from_settings(tmp_path / "market.toml", environ=environ) as other:
        assert await data.cache.get("k") == b"v"
        assert [found.id for found in await data.services.list()] == ["one"]
        assert await other.cache.get("k") is None
        assert await other.services.list() == ()
    with pytest.raises(InputError, match="trades in memory are for get_trade_store"):
        DataAdapter.from_settings(tmp_path / "market.toml", environ=environ, trades_in="redis")


async def test_the_health_of_what_is_not_connected_says_so(servers):
    adapter = servers.adapter()
    async with adapter:
        pass
    health = await adapter.health_check()
    assert states(health) == (UNAVAILABLE, OFF, UNAVAILABLE)
    for part in (health.books, health.redis):
        assert "not connected" in part.detail
        assert part.where != ""


async def test_trades_may_be_kept_on_redis_instead(servers):
    adapter = servers.adapter(trades_in="redis")
    with pytest.raises(NotReady):
        await adapter.trade_store.get_open_trades()
    async with adapter as data:
        trade = await data.trade_store.save_new_trade(**TRADE)
        assert data.trade_store.backend_name == "redis"
        assert list(await data.trade_store.get_open_trades()) == [trade]
        assert await data.trades.count_trades() == 0
        await data.trade_store.close()
        assert await data.cache.increment("n") == 1, "closing the store leaves the adapter's connections alone"


async def test_it_can_be_connected_again_and_leaves_no_connection_behind(servers):
    adapter = servers.adapter()
    for _ in range(2):
        async with adapter as data:
            await data.trades.count_trades()
            await data.cache.set("k", "v")
        await data.disconnect()
    with connected(servers.postgres.admin_url) as db:
        deadline = time.monotonic() + SLACK_S
        while db.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tradekeel'").fetchone() != (
            0,
        ):
            assert time.monotonic() < deadline
