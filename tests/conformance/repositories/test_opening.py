"""How a script comes to its books: beside its event loop, within a deadline, and made only where something is to be written."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import START_NS
from tests.servers.postgres import without_password
from tradekeel.bootstrap.books import in_memory
from tradekeel.errors import AlreadyRunning, StoreUnanswered, StoreUnavailable
from tradekeel.ports.adapter import BackendState
from tradekeel.scripting import DataAdapter, Database, SqlTradeRepository
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.memory.books import Memory
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.repositories.making import MAKING_TIMEOUT_S, make_books
from tradekeel.storage.schema import HEAD, version_of
from tradekeel.storage.sqlite import InMemory, Sqlite
from tradekeel.storage.tradestore import SqlTradeStore
from tradekeel.storage.verify import verify

TRADE: dict[str, Any] = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}
PATIENCE_S = 30.0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A place where no books are yet."""
    if request.param == "postgres":
        yield Postgres(request.getfixturevalue("postgres_url"))
    elif request.param == "sqlite":
        yield Sqlite(tmp_path / "new.db")
    else:
        yield (memory := Memory())
        memory.close()


def version(backend: Backend) -> str | None:
    if not backend.exists():
        return None
    with closing(backend.connect(read_only=True)) as db:
        return version_of(db.execute, backend)


class Gate:
    """A clock that whoever makes books must wait for."""

    def __init__(self) -> None:
        self.asked, self.opened = Event(), Event()

    def __call__(self) -> int:
        self.asked.set()
        assert self.opened.wait(PATIENCE_S), "nobody else came to run"
        return START_NS


async def is_asked(gate: Gate) -> None:
    while not gate.asked.is_set():  # noqa: ASYNC110  # it is set in a thread
        await anyio.sleep(0.001)


# --- making ----------------------------------------------------------------------------------------------------------


async def test_while_books_are_made_everybody_else_goes_on(empty):
    gate = Gate()

    async def let_through() -> None:
        await is_asked(gate)
        gate.opened.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_through)
        async with Database(empty, now_ns=gate) as books:
            assert await SqlTradeRepository(books).count_trades() == 0
    assert version(empty) == HEAD


async def test_who_is_cancelled_before_anything_was_changed_leaves_nothing_behind(empty):
    gate = Gate()
    if not empty.outlives_us:
        return  # nothing of it is left behind in any case
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Database(empty, now_ns=gate).open)
        await is_asked(gate)
        tasks.cancel_scope.cancel()
    assert version(empty) is None
    gate.opened.set()
    async with Database(empty, now_ns=ManualClock()) as books:
        assert await SqlTradeRepository(books).count_trades() == 0
    assert verify(empty).ok


async def test_cancelled_at_any_moment_there_are_whole_books_or_none(empty, seed):
    chance = random.Random(seed)
    for _ in range(6):
        with anyio.move_on_after(chance.uniform(0, 0.3)):
            async with Database(empty, now_ns=ManualClock()):
                pass
        assert version(empty) in (None, HEAD)
    async with Database(empty, now_ns=ManualClock()) as books:
        assert await SqlTradeRepository(books).count_trades() == 0
    assert verify(empty).ok


async def test_making_books_has_a_deadline_of_its_own(empty):
    gate = Gate()
    if not empty.outlives_us:
        return  # memory waits for nobody
    began = time.monotonic()
    with pytest.raises(StoreUnanswered, match=r"longer than 0\.1 s.*whole, or not there: try again"):
        await make_books(empty, gate, "opening it", 0.1)
    gate.opened.set()
    assert time.monotonic() - began < PATIENCE_S
    assert MAKING_TIMEOUT_S == 60.0


# --- not making ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Of a daemon that has never run."""
    environ = {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path)}
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        environ |= {
            "TRADEKEEL__STORAGE__URL": without_password(url),
            "TRADEKEEL__STORAGE__PASSWORD": '{ env = "BOOKS" }',
        }
        environ["BOOKS"] = url.rpartition("@")[0].rpartition(":")[2]
    return environ


@pytest.fixture
def settings_of_memory(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of a daemon that keeps nothing."""
    yield {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path), "TRADEKEEL__STORAGE__ENABLED": "false"}
    in_memory(StateDir(tmp_path)).remove()


async def test_neither_a_look_nor_a_question_makes_books_and_the_first_write_does(settings, tmp_path):
    async with DataAdapter.from_settings(environ=settings) as data:
        for _ in range(2):
            health = (await data.health_check()).books
            assert health.state is BackendState.UNAVAILABLE
            assert "there are no books yet" in health.detail
            assert "or write something" in health.detail
            for question in (
                data.trades.count_trades(),
                data.trade_store.get_open_trades(),
                data.positions.count_positions(),
            ):
                with pytest.raises(StoreUnavailable, match="there are no books yet"):
                    await question
        assert version(data.backend) is None
        assert list(tmp_path.iterdir()) == []
        await data.trade_store.save_new_trade(**TRADE)
        assert await data.trades.count_trades() == 1
        assert (await data.health_check()).books.is_up
    assert verify(data.backend).ok


async def test_without_storage_a_script_makes_its_books_in_memory_where_no_daemon_has(settings_of_memory, tmp_path):
    async with DataAdapter.from_settings(environ=settings_of_memory) as data:
        health = (await data.health_check()).books
        assert (health.state, health.where) == (BackendState.UNAVAILABLE, "memory (nothing is kept)")
        assert "or write something, which makes them" in health.detail
        assert isinstance(data.backend, InMemory)
        assert not data.backend.path.parent.exists()
        await data.trade_store.save_new_trade(**TRADE)
        assert (await data.health_check()).books.is_up
        assert data.backend.path.parent.stat().st_mode & 0o777 == 0o700
    async with DataAdapter.from_settings(environ=settings_of_memory) as data:
        assert await data.trades.count_trades() == 1
    assert verify(data.backend).ok
    assert list(tmp_path.iterdir()) == []


async def test_while_a_daemon_runs_it_alone_writes_into_its_books_in_memory(settings_of_memory, tmp_path):
    async with DataAdapter.from_settings(environ=settings_of_memory) as data:
        await data.trade_store.save_new_trade(**TRADE)
        daemon = StateDir(tmp_path)
        daemon.lock()
        with pytest.raises(AlreadyRunning):
            await data.trade_store.save_new_trade(**TRADE)
        daemon.release()
        await data.trade_store.save_new_trade(**TRADE)


async def test_what_is_required_and_not_there_is_not_made_either(settings):
    with pytest.raises(StoreUnavailable, match="there are no books yet"):
        await DataAdapter.from_settings(environ=settings, require=["books"]).connect()


async def test_where_a_start_may_migrate_nothing_no_write_makes_books_either(settings, tmp_path):
    refusing = settings | {"TRADEKEEL__STORAGE__MIGRATIONS": "refuse"}
    command = "tradekeel db upgrade" if "BOOKS" in settings else "tradekeel run"
    async with DataAdapter.from_settings(environ=refusing) as data:
        assert command in (await data.health_check()).books.detail
        for call in (data.trade_store.save_new_trade(**TRADE), data.trades.count_trades()):
            with pytest.raises(StoreUnavailable, match=f'storage.migrations = "refuse".*{command}'):
                await call
        assert version(data.backend) is None
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(StoreUnavailable, match=command):
            await Database(data.backend, now_ns=ManualClock(), migrate=False).open()
    async with DataAdapter.from_settings(environ=settings) as data:
        await data.trade_store.save_new_trade(**TRADE)
    async with DataAdapter.from_settings(environ=refusing) as data:
        assert (await data.health_check()).books.is_up
        await data.trade_store.save_new_trade(**TRADE)


async def test_two_first_calls_of_a_trade_store_open_its_books_once(empty):
    store = SqlTradeStore(empty, ManualClock())
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(store.get_open_trades)
    await store.close()
    assert version(empty) == HEAD


async def test_books_in_memory_are_made_whoever_asks(seed):
    async with Database(Memory(), now_ns=ManualClock(), migrate=False) as books:
        assert await SqlTradeRepository(books).count_trades() == 0
