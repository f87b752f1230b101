"""A disk that fails under a script: it stops writing at the first time, and leaves what is there to whoever looks at it."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.unit.storage import samples as s
from tradekeel.errors import StoreUnanswered, StoreUnavailable
from tradekeel.ports.adapter import BackendState
from tradekeel.scripting import DataAdapter, Database, SqlTradeRepository
from tradekeel.storage.adapter import StoreAdapter
from tradekeel.storage.files import FileConnection
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.tradestore import SqlTradeStore
from tradekeel.storage.verify import verify

TRADE: dict[str, Any] = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}
REFUSED = "nothing is written there, because the disk failed before .*open them anew"


class FailingDisk(Sqlite):
    """Books on a disk that fails when the word of it is told: one commit's fsync, and the next ones "succeed"."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fails = False
        self.writers: list[FileConnection] = []

    def connect(self, *, read_only: bool = False) -> FileConnection:
        if read_only:
            return super().connect(read_only=True)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, factory=_connection_on(self))
        self.writers.append(db)
        return db


def _connection_on(disk: FailingDisk) -> type[FileConnection]:
    class OnThatDisk(FileConnection):
        def cursor(self, factory: Any = None) -> Any:
            return super().cursor(_cursor_on(disk))

    return OnThatDisk


def _cursor_on(disk: FailingDisk) -> type[sqlite3.Cursor]:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, values: Any = (), /) -> Any:
            if sql == "COMMIT" and disk.fails:
                disk.fails = False
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
                raise error
            return super().execute(sql, values)

    return Cursor


@pytest.fixture
def disk(tmp_path: Path) -> FailingDisk:
    return FailingDisk(tmp_path / "books.db")


def adapter(disk: Sqlite) -> StoreAdapter:
    return StoreAdapter(disk, now_ns=lambda: s.START_NS, monotonic=lambda: 0.0)


async def test_behind_a_failed_fsync_nothing_more_is_written_before_the_books_are_opened_anew(disk):
    async with adapter(disk) as data:
        saved = await data.trade_store.save_new_trade(**TRADE)
        disk.fails = True
        with pytest.raises(
            StoreUnanswered, match=r"the disk failed in the commit .*opened anew: look at the disk first"
        ):
            await data.trade_store.save_new_trade(**TRADE)
        for write in (
            lambda: data.trade_store.save_new_trade(**TRADE),
            lambda: SqlTradeRepository(data.books.fresh()).update_trade(saved.trade_id, {"tags": ("news",)}),
            lambda: data.cursors.set_cursor(saved.execution, "paper", 1),
        ):
            with pytest.raises(StoreUnavailable, match=REFUSED):
                await write()
        assert [trade.trade_id for trade in await data.trade_store.get_open_trades()] == [saved.trade_id]
        health = (await data.health_check()).books
        assert health.state is BackendState.UNAVAILABLE
        assert "disk I/O error" in health.detail
        await data.disconnect()
        await data.connect()
        await data.trade_store.save_new_trade(**TRADE)
        assert (await data.health_check()).books.is_up
        assert await data.trades.count_trades() == 2
    assert verify(disk).ok


async def test_the_connection_is_not_used_again_and_the_log_is_not_folded_into_the_file(disk):
    log = disk.path.with_name("books.db-wal")
    async with Database(disk, now_ns=lambda: s.START_NS) as books:
        store = SqlTradeStore(disk, lambda: s.START_NS, books)
        await store.save_new_trade(**TRADE)
        disk.fails = True
        before = disk.path.read_bytes(), log.read_bytes()
        with pytest.raises(StoreUnanswered):
            await store.save_new_trade(**TRADE)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            disk.writers[-1].execute("SELECT 1")
        with pytest.raises(StoreUnavailable, match=REFUSED):
            await store.save_new_trade(**TRADE)
    assert (disk.path.read_bytes(), log.read_bytes()) == before
    assert verify(disk).ok


async def test_who_waits_for_its_turn_when_the_disk_fails_writes_nothing_either(disk):
    said: list[BaseException] = []

    async def write(data: StoreAdapter) -> None:
        try:
            await data.trade_store.save_new_trade(**TRADE)
        except (StoreUnanswered, StoreUnavailable) as error:
            said.append(error)

    async with adapter(disk) as data:
        await data.trade_store.save_new_trade(**TRADE)
        disk.fails = True
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(write, data)
        assert sorted(type(error).__name__ for error in said) == ["StoreUnanswered", *["StoreUnavailable"] * 3]
        assert await data.trades.count_trades() == 1


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_the_system_refuses_ends_the_writing_too(tmp_path):
    environ = {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path)}
    async with DataAdapter.from_settings(environ=environ) as data:
        saved = await data.trade_store.save_new_trade(**TRADE)
        full = (tmp_path / "books.db-wal").stat().st_size + 4_096
        with no_file_grows_beyond(full), pytest.raises(StoreUnanswered, match="disk I/O error"):
            await data.trade_store.save_new_trade(**TRADE | {"metadata": {"note": "x" * 60_000}})
        with pytest.raises(StoreUnavailable, match=REFUSED):
            await data.trade_store.save_new_trade(**TRADE)
    async with DataAdapter.from_settings(environ=environ) as data:
        assert [trade.trade_id for trade in await data.trade_store.get_open_trades()] == [saved.trade_id]
        await data.trade_store.save_new_trade(**TRADE)
    with closing(sqlite3.connect(tmp_path / "books.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert verify(tmp_path / "books.db").ok
