"""A copy put in the place of the books while a script has them open: what it writes then is in the books that there are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any

import anyio
import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.test_restoring import restore
from tradekeel.errors import AlreadyRunning, StoreUnavailable
from tradekeel.statedir import StateDir
from tradekeel.storage.files import FileConnection, back_up, connect, make_durable
from tradekeel.storage.repositories import Database
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.torn import log_of, make_whole
from tradekeel.storage.tradestore import SqlTradeStore
from tradekeel.storage.verify import verify

TRADE: dict[str, Any] = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}
SOON_S = 0.2
A_NOTE = "INSERT INTO position_notes VALUES ('scripts', 'EUR_USD', '', 'seen', '', '', 1)"


@pytest.fixture
def books(path: Path, empty_books: Path) -> Path:
    shutil.copy(empty_books, path)
    return path


@pytest.fixture
def writer(books: Path) -> Iterator[FileConnection]:
    """Somebody in the middle of a write."""
    with closing(connect(books)) as db:
        make_durable(db)
        db.execute("BEGIN IMMEDIATE")
        db.execute(A_NOTE)
        yield db


@pytest.fixture
def copy(books: Path) -> Path:
    made = books.with_name("copy.db")
    back_up(books, made)
    return made


def notes(path: Path) -> int:
    assert verify(path).ok
    with closing(connect(path, read_only=True)) as db:
        return int(db.execute("SELECT count(*) FROM position_notes").fetchone()[0])


def trades(path: Path) -> int:
    assert verify(path).ok
    with closing(connect(path, read_only=True)) as db:
        return int(db.execute("SELECT count(*) FROM trades").fetchone()[0])


async def test_a_script_that_has_the_books_open_goes_on_with_those_that_were_put_back(books: Path) -> None:
    copy = books.with_name("copy.db")
    async with Database(books, now_ns=lambda: s.START_NS) as database:
        store = SqlTradeStore(database.backend, lambda: s.START_NS, database)
        first = await store.save_new_trade(**TRADE)
        back_up(books, copy)
        second = await store.save_new_trade(**TRADE)
        restored = await anyio.to_thread.run_sync(restore, books, copy)
        assert await store.get_trade(first.trade_id) == first
        assert await store.get_trade(second.trade_id) is None, "it is of the books that were replaced"
        third = await store.save_new_trade(**TRADE)
        assert {trade.trade_id for trade in await store.get_open_trades()} == {first.trade_id, third.trade_id}
    assert trades(books) == 2
    assert trades(Path(str(restored.replaced)) / books.name) == 2


def test_a_write_that_is_under_way_is_waited_for_and_is_in_the_books_that_are_kept(
    books: Path, copy: Path, writer: FileConnection
) -> None:
    Timer(SOON_S, writer.execute, ["COMMIT"]).start()
    restored = restore(books, copy)
    assert notes(books) == 0
    assert notes(Path(str(restored.replaced)) / books.name) == 1


def test_a_write_that_does_not_end_keeps_the_copy_out_and_nothing_is_changed(
    books: Path, copy: Path, writer: FileConnection
) -> None:
    with pytest.raises(StoreUnavailable, match="in use by another program"):
        restore(books, copy)
    writer.execute("COMMIT")
    assert not make_whole(books, books.parent / "restoring")
    assert notes(books) == 1
    restored = restore(books, copy)
    assert notes(Path(str(restored.replaced)) / books.name) == 1


async def test_into_books_that_a_killed_restore_has_left_torn_nothing_is_written(books: Path) -> None:
    work = books.parent / "restoring"
    async with Database(books, now_ns=lambda: s.START_NS) as database:
        store = SqlTradeStore(database.backend, lambda: s.START_NS, database)
        first = await store.save_new_trade(**TRADE)
        (work / "old").mkdir(parents=True)
        (work / "old" / books.name).hardlink_to(books)
        shutil.copy(log_of(books), log_of(work / "old" / books.name))  # as a kill leaves it
        with pytest.raises(StoreUnavailable, match="was killed: run it again, or start the daemon"):
            await store.save_new_trade(**TRADE)
        assert await store.get_trade(first.trade_id) == first
    assert make_whole(books, work)
    assert trades(books) == 1
    async with SqlTradeStore(Sqlite(books), lambda: s.START_NS) as store:
        await store.save_new_trade(**TRADE)
    assert trades(books) == 2


async def test_who_comes_by_way_of_a_link_is_told_of_the_daemon_all_the_same(books: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "mine.db"
    link.parent.mkdir()
    link.symlink_to(books)
    statedir = StateDir(books.parent)
    async with SqlTradeStore(Sqlite(link), lambda: s.START_NS) as store:
        await store.save_new_trade(**TRADE)
        statedir.lock()
        try:
            with pytest.raises(AlreadyRunning, match="holds the books"):
                await store.save_new_trade(**TRADE)
        finally:
            statedir.release()
    assert trades(books) == 1
