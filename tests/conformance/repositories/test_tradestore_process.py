"""There is one trade store in a process; a path, a URL or a client says where it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

import tradekeel.storage.tradestore as module
from tradekeel import scripting
from tradekeel.config.model import RESERVED
from tradekeel.errors import InputError, StoreAway
from tradekeel.storage import get_trade_store, reset_trade_store
from tradekeel.storage.tradestore import SCRIPTS, SqlTradeStore


@pytest.fixture
async def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A folder of its own, and no store before and after."""
    monkeypatch.chdir(tmp_path)
    await reset_trade_store()
    yield
    await reset_trade_store()


@pytest.mark.usefixtures("_fresh")
async def test_there_is_one_in_a_process_until_it_is_reset(tmp_path: Path) -> None:
    store = get_trade_store()
    assert get_trade_store() is store
    assert get_trade_store(module.DEFAULT_FILE) is store
    await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
    assert (tmp_path / "tradekeel-trades.db").exists()
    with pytest.raises(InputError, match="reset_trade_store"):
        get_trade_store("memory://")
    await reset_trade_store()
    other = get_trade_store("memory://")
    assert other is not store
    assert other.backend_name == "memory"
    assert not len(await other.get_open_trades())


@pytest.mark.usefixtures("_fresh")
async def test_a_url_says_where(tmp_path: Path) -> None:
    for url, name, place in (
        ("sqlite:///relative.db", "sqlite", "relative.db"),
        (f"sqlite:///{tmp_path}/absolute.db", "sqlite", f"{tmp_path}/absolute.db"),
        ("plain.db", "sqlite", "plain.db"),
        ("postgresql://anna:secret@example.org/books", "postgresql", "postgresql://anna@example.org/books"),
    ):
        store = get_trade_store(url)
        assert isinstance(store, SqlTradeStore)
        assert (store.backend_name, str(store.backend)) == (name, place)
        await reset_trade_store()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "sqlite:///", "postgresql://x"])
async def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="allowed"):
        get_trade_store(url)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("url", ["redis://x/ten", "redis://localhost:port", "redis://x?option=1", "unix://nowhere"])
async def test_a_url_of_redis_that_leads_nowhere_is_refused_at_once_and_never_quoted(url: str) -> None:
    with pytest.raises(InputError, match="Write redis://"):
        get_trade_store(url.replace("://", "://anna:secret@", 1))


@pytest.mark.usefixtures("_fresh")
async def test_a_url_or_a_client_leads_to_redis(redis_url: str) -> None:
    async with get_trade_store(redis_url) as store:
        assert store.backend_name == "redis"
        assert get_trade_store() is store is get_trade_store(redis_url)
        trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
    await reset_trade_store()
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        store = get_trade_store(redis_client=client)
        assert get_trade_store(redis_client=client) is store
        with pytest.raises(InputError, match="reset_trade_store"):
            get_trade_store(redis_url)
        assert await store.get_trade(trade.trade_id) == trade
        await reset_trade_store()
        assert await client.ping(), "a client that was given stays its owner's to close"
    with redis.Redis.from_url(redis_url) as client_without_await, pytest.raises(InputError, match=r"redis\.asyncio"):
        get_trade_store(redis_client=client_without_await)


@pytest.mark.usefixtures("_fresh")
async def test_a_server_that_is_not_there_is_said_when_the_store_is_opened(own_redis) -> None:
    server = own_redis()
    store = get_trade_store(server.url())
    server.stop()
    with pytest.raises(StoreAway, match=rf"Redis at 127\.0\.0\.1:{server.port.number}.*cannot be reached"):
        await store.__aenter__()
    server.restart()
    assert not len(await store.get_open_trades()), "and is found by the next call when it is"


def test_no_daemon_may_have_an_account_of_this_name():
    assert SCRIPTS in RESERVED


def test_the_script_of_the_documentation_runs_and_ends_even_where_it_forgets_to_close(tmp_path: Path) -> None:
    lines = (module.__doc__ or "").partition("\n\n")[2].partition("\n\nIn a database")[0].splitlines()
    script = "\n".join(line.removeprefix("    ") for line in lines)
    assert "asyncio.run(main())" in script
    forgetful = script.replace("async with get_trade_store() as store:", "if store := get_trade_store():")
    for number, text in enumerate((script, forgetful), start=1):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert Decimal(done.stdout) == number * 5


@pytest.mark.redis
def test_the_script_runs_on_redis_too_and_ends_even_where_it_forgets_to_close(redis_url: str) -> None:
    script = (module.__doc__ or "").partition("\n\n")[2].partition("\n\nIn a database")[0]
    lines = "\n".join(line.removeprefix("    ") for line in script.splitlines())
    on_redis = lines.replace("get_trade_store()", f"get_trade_store({redis_url!r})")
    forgetful = on_redis.replace(" as store:", "").replace("async with", "if store :=") + ""
    forgetful = forgetful.replace(f"get_trade_store({redis_url!r})", f"get_trade_store({redis_url!r}):", 1)
    for number, text in enumerate((on_redis, forgetful), start=1):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert Decimal(done.stdout) == number * 5


def test_importing_the_face_imports_nothing_heavy():
    for names in ("get_trade_store", "get_trade_store, reset_trade_store"):
        code = (
            f"import sys; from tradekeel.scripting import {names}; "
            "print([m for m in ('sqlalchemy', 'psycopg', 'redis', 'aiosqlite', 'alembic') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "[]"


def test_what_scripts_use_comes_from_one_place():
    for name in scripting.__all__:
        assert getattr(scripting, name).__name__ == name
    assert scripting.get_trade_store is get_trade_store
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scripting.nonsense
