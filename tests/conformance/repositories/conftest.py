"""Every test of this folder runs on each backend: SQLite, PostgreSQL, and memory.

`database` is an open one on fresh books, `manual` a factory for an execution in it that a script keeps. After each test the
books are verified: whatever a test wrote, tables and journal agree.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conformance.repositories.factories import START_NS, Factory
from tests.servers.prepared import Prepared
from tradekeel.storage.backend import Backend
from tradekeel.storage.memory.books import Memory
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlStrategyRepository
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

ACCOUNT = "scripts"
BACKENDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory")


class ManualClock:
    """The time is what the test says, and one nanosecond later each time that somebody asks."""

    def __init__(self) -> None:
        self._ticks = itertools.count(START_NS)

    def __call__(self) -> int:
        return next(self._ticks)


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty books in a file, made once."""
    made = tmp_path_factory.mktemp("empty") / "books.db"
    Store.open(made, now_ns=START_NS).close()
    return made


@contextmanager
def fresh_books(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Where fresh books of a kind are."""
    if kind == "sqlite":
        path = tmp_path / "books.db"
        shutil.copy(request.getfixturevalue("empty_sqlite"), path)
        yield Sqlite(path)
    elif kind == "memory":
        memory = Memory()
        made = request.getfixturevalue("empty_sqlite")
        with closing(sqlite3.connect(made)) as source, closing(memory.connect()) as copy:
            source.backup(copy)
        yield memory
        memory.close()
    else:
        from tradekeel.storage.postgres import Postgres

        prepared: Prepared = request.getfixturevalue("postgres_books")
        with prepared.lent() as url:
            yield Postgres(url)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Where fresh books are."""
    with fresh_books(request.param, request, tmp_path) as books:
        yield books


@pytest.fixture
async def database(backend: Backend) -> AsyncIterator[Database]:
    """Open books; verified in the end."""
    async with Database(backend, now_ns=ManualClock(), by="test") as opened:
        yield opened
        verdict = verify(backend)
        assert verdict.ok, "\n".join(verdict.lines())


@pytest.fixture
async def manual(database: Database, seed: int) -> Factory:
    """A factory for an execution of mode manual, which has two strategies."""
    row = await SqlExecutionRepository(database).create_execution(ACCOUNT)
    factory = Factory(row.execution, ACCOUNT, seed)
    strategies = SqlStrategyRepository(database)
    for name in ("floor", "trend"):
        await strategies.create_strategy(factory.strategy(name))
    return factory
