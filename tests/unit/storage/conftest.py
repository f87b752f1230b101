"""What the storage tests share: a store in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage import samples
from tradekeel.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the books are; a name that no URI would survive unquoted."""
    return tmp_path / "the books #1?.db"


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty books, made once: copying them is faster than making them."""
    made = tmp_path_factory.mktemp("empty") / "books.db"
    Store.open(made, now_ns=samples.START_NS).close()
    return made


@pytest.fixture
def store(path: Path, empty_books: Path) -> Iterator[Store]:
    """An open, empty store."""
    shutil.copy(empty_books, path)
    with Store.open(path, now_ns=samples.START_NS) as opened:
        yield opened


@pytest.fixture
def desk(store: Store) -> samples.Desk:
    """An execution that has begun, as the daemon begins it."""
    begun = samples.Desk()
    store.commit([begun.opening()])
    return begun
