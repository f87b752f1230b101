"""What the tests of bootstrap share: books to read, and what the log says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests.unit.bootstrap.books import make_place
from tests.unit.storage import samples
from tradekeel.bootstrap.place import Place
from tradekeel.storage.store import Store


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty books, made once by the migrations."""
    made = tmp_path_factory.mktemp("empty") / "books.db"
    Store.open(made, now_ns=samples.START_NS).close()
    return made


@pytest.fixture
def place(tmp_path: Path, empty_books: Path) -> Place:
    """A state directory with an execution in its books."""
    return make_place(tmp_path / "state", empty_books)


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is said in the log."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]))
    yield lines
    logger.remove(sink)
