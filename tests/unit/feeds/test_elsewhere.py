"""Rows of a server are read aside: the loop goes on, a server that is away is waited for, and no tick is lost or told twice."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.unit.feeds.reading import read
from tests.unit.feeds.test_patient import Pauses
from tests.unit.feeds.test_sql import change, database, rows_of
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.ticks import Tick
from tradekeel.errors import DataError, StoreAway
from tradekeel.feeds import FeedContext, sqlrows
from tradekeel.feeds.elsewhere import ReadAside
from tradekeel.feeds.file import judge_of
from tradekeel.feeds.merge import merged
from tradekeel.feeds.replay import ReplayFeed
from tradekeel.feeds.sql import SqlColumns, SqlFeedSettings, sql_feed
from tradekeel.feeds.stream import PartStream
from tradekeel.ports.log import Level
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.loop import BlockingWorker

ROWS = 100
PIECE = 12


class Server(sqlrows.Source):
    """A database that is away at some of its questions: ``fault`` is asked before each."""

    fault: Callable[[], object] = staticmethod(lambda: None)

    def rows(self, symbol: str, since: Any, behind: int, count: int) -> list[sqlrows.Values]:
        self.fault()
        return super().rows(symbol, since, behind, count)


def away_at(*questions: int) -> Callable[[], None]:
    """Away at these questions, counted from 1."""
    asked: Iterator[int] = iter(range(1, 1_000_000))

    def fault() -> None:
        if next(asked) in questions:
            raise StoreAway("it is away")

    return fault


def feed_of(
    path: Path,
    worker: BlockingWorker | None,
    *,
    symbols: Sequence[str] = ("EUR_USD",),
    clock: Any = None,
    said: list[str] | None = None,
) -> tuple[ReplayFeed, Server]:
    """A feed of a database, and the database."""
    settings = SqlFeedSettings(
        url=f"sqlite:///{path}",
        table="ticks",
        columns=SqlColumns(instrument="symbol"),
        instruments=tuple(symbols),
        gap_s=None,
    )
    server = Server(settings, Path(), None, chunk_rows=PIECE)
    streams = {
        symbol: PartStream(
            server.chunks(symbol), sqlrows.SqlRows(server, symbol), judge_of(settings, CATALOGUE[symbol])
        )
        for symbol in symbols
    }

    def say(level: Level, text: str, **fields: str) -> None:
        if said is not None:
            said.append(f"{level} {text}")

    context = FeedContext("test", clock or Pauses(), say=say, aside=worker)
    aside = None if worker is None else ReadAside(context, worker, "the database")
    return merged(streams, "", context, "max", None, aside), server


@pytest.fixture
async def worker() -> AsyncIterator[BlockingWorker]:
    async with BlockingWorker("feed", may_be_left=True) as worker:
        yield worker


async def wanted(path: Path, **more: Any) -> Any:
    return await read(feed_of(path, None, **more)[0], ticks_max=7)


async def test_the_same_ticks_come_as_without_a_thread(tmp_path: Path, worker: BlockingWorker) -> None:
    path = database(tmp_path, rows_of(ROWS))
    feed, _ = feed_of(path, worker)
    assert await read(feed, ticks_max=7) == await wanted(path)
    assert await read(feed, after=40, ticks_max=7) == await read(feed_of(path, None)[0], after=40, ticks_max=7)


@pytest.mark.parametrize("symbols", [("EUR_USD",), ("EUR_USD", "USD_JPY")])
@pytest.mark.parametrize("after", [0, 5, 50])
async def test_a_server_that_was_away_gives_what_it_would_have_given(
    tmp_path: Path, worker: BlockingWorker, symbols: tuple[str, ...], after: int
) -> None:
    path = database(tmp_path, rows_of(ROWS))
    if len(symbols) > 1:
        change(path, "UPDATE ticks SET symbol = 'USD_JPY' WHERE id % 2")
    reference, _ = feed_of(path, None, symbols=symbols)
    expected = await read(reference, after=after, ticks_max=7)

    said: list[str] = []
    feed, server = feed_of(path, worker, symbols=symbols, said=said)
    server.fault = away_at(1, 2, 3, 6, 8)
    assert await read(feed, after=after, ticks_max=7) == expected
    assert feed.quality() == reference.quality()
    assert feed.waits() is None
    assert said == ["WARNING feed test waits: it is away", "INFO feed test: the database is back"] * 3


async def test_while_it_is_away_the_feed_says_why_nothing_comes(tmp_path: Path, worker: BlockingWorker) -> None:
    clock = Pauses()
    feed, server = feed_of(database(tmp_path, rows_of(ROWS)), worker, clock=clock)
    server.fault = away_at(*range(1, 9))
    await feed.open(0)
    assert feed.waits() is None
    seen = set[str | None]()

    async with anyio.create_task_group() as tasks:

        async def look_on() -> None:
            while not clock.pauses:
                await anyio.lowlevel.checkpoint()
            seen.add(feed.waits())

        tasks.start_soon(look_on)
        await feed.next_window(5)
    assert seen == {"it is away"}
    assert clock.pauses == sorted(clock.pauses)
    assert len(clock.pauses) == 8


async def test_without_a_thread_a_server_that_is_away_ends_the_feed_behind_what_was_read(tmp_path: Path) -> None:
    feed, server = feed_of(database(tmp_path, rows_of(ROWS)), None)
    server.fault = away_at(3)
    assert feed.waits() is None
    await feed.open(0)
    windows = [await feed.next_window(PIECE) for _ in range(2)]
    assert [len(window.ticks) for window in windows if window is not None] == [PIECE, PIECE]
    with pytest.raises(DataError, match="it is away"):
        await feed.next_window(PIECE)


async def test_the_loop_turns_while_the_server_takes_its_time(tmp_path: Path, worker: BlockingWorker) -> None:
    feed, server = feed_of(database(tmp_path, rows_of(ROWS)), worker)
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(20), "the loop did not turn"

    server.fault = slow
    await feed.open(0)
    async with anyio.create_task_group() as tasks:

        async def meanwhile() -> None:
            while not asked.is_set():
                await anyio.lowlevel.checkpoint()
            answer.set()

        tasks.start_soon(meanwhile)
        window = await feed.next_window(5)
    assert window is not None


async def given_up(feed: ReplayFeed, server: Server) -> None:
    """Ask for a window, and be cancelled while the server is at the question."""
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(20)

    server.fault = slow
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.next_window, PIECE)
        while not asked.is_set():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    server.fault = lambda: None
    answer.set()


async def test_whoever_gives_up_waiting_takes_no_tick_with_them(tmp_path: Path, worker: BlockingWorker) -> None:
    path = database(tmp_path, rows_of(ROWS))
    expected, _ = await wanted(path)
    feed, server = feed_of(path, worker)
    await feed.open(0)
    found: list[Tick] = []
    for _ in range(4):
        await given_up(feed, server)
        window = await feed.next_window(PIECE)
        assert window is not None
        found += window.ticks
    await given_up(feed, server)
    await feed.open(len(found))  # whoever goes back need not wait for it either
    while (window := await feed.next_window(PIECE)) is not None:
        found += window.ticks
    assert found == expected


async def test_data_that_was_changed_is_refused_whoever_had_asked(tmp_path: Path, worker: BlockingWorker) -> None:
    path = database(tmp_path, rows_of(ROWS))
    feed, server = feed_of(path, worker)
    await feed.open(0)
    change(path, "UPDATE ticks SET bid = '0.5' WHERE id = 1")
    await given_up(feed, server)
    with pytest.raises(DataError, match="have been changed since the feed was opened"):
        await feed.next_window(PIECE)


async def test_a_real_server_that_lets_nobody_in_for_a_while(postgres_url: str, worker: BlockingWorker) -> None:
    url = make_url(postgres_url)
    admin = psycopg.connect(
        url.set(drivername="postgresql", database="postgres").render_as_string(False), autocommit=True
    )
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(False), autocommit=True) as db:
        db.execute(
            "CREATE TABLE quoted AS "
            "SELECT 1399507200000000000 + n AS ts_ns, 1.1 AS bid, 1.2 AS ask FROM generate_series(1, 30000) AS n"
        )
    password = url.password
    settings = SqlFeedSettings(
        url=url.set(password=None, drivername="postgresql").render_as_string(), table="quoted", instrument="EUR_USD"
    )
    said, is_said = list[str](), anyio.Event()

    def say(level: Level, text: str, **fields: str) -> None:
        said.append(text)
        is_said.set()

    context = FeedContext(
        "test",
        SystemClock(),
        say=say,
        password=None if password is None else lambda: str(password),
        aside=worker,
    )
    feed = sql_feed(settings, context)
    await feed.open(0)
    assert await feed.next_window(20_000 - 1) is not None
    name = f'"{url.database}"'
    with admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            async with anyio.create_task_group() as tasks:

                async def let_in() -> None:
                    await is_said.wait()
                    admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

                tasks.start_soon(let_in)
                window = await feed.next_window(20_000)
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert window is not None
    assert "not currently accepting connections" in said[0]
    assert "is back" in said[-1]
    await feed.close()
