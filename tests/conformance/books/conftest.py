"""The books of every backend: what the tests of this folder run on, each of them once on each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.prepared import Prepared
from tests.unit.storage import samples
from tradekeel.storage.backend import Backend
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store

BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty books, made once by the migrations: copying them is faster than making them."""
    made = tmp_path_factory.mktemp("empty") / "books.db"
    Store.open(made, now_ns=samples.START_NS).close()
    return made


@pytest.fixture(params=BACKENDS)
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Where the books are, which are empty."""
    if request.param == "sqlite":
        empty: Path = request.getfixturevalue("empty_file")
        yield Sqlite(
            Path(shutil.copy(empty, tmp_path / "the books #1?.db"))
        )  # a name that no URI would survive unquoted
        return
    from tradekeel.storage.postgres import Postgres

    prepared: Prepared = request.getfixturevalue("postgres_books")
    with prepared.lent() as url:
        yield Postgres(url)


@pytest.fixture
def store(at: Backend) -> Iterator[Store]:
    """An open, empty store."""
    with Store.open(at, now_ns=samples.START_NS) as opened:
        yield opened


@pytest.fixture
def desk(store: Store) -> samples.Desk:
    """An execution that has begun, as the daemon begins it."""
    begun = samples.Desk()
    store.commit([begun.opening()])
    return begun
