"""What scenarios share: a folder for daemons, and the stores that their books may be in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaigns.kill.stores import BooksStore, Databases, Files
from tests.campaigns.workplace import workplace

STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory: what disks do is done to it on purpose."""
    with workplace() as work:
        yield work


@pytest.fixture
def databases(postgres_admin: Callable[[], str]) -> Iterator[Databases]:
    """Databases on the shared server for the books of homes; they are dropped afterwards."""
    with closing(Databases(postgres_admin())) as made:
        yield made


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> BooksStore:
    """The store that the books of this test are in: each test of it runs once in each."""
    if request.param == "sqlite":
        return Files()
    made: Databases = request.getfixturevalue("databases")
    return made
