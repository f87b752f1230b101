"""The tools of `tradekeel db` on books that a PostgreSQL keeps."""

from __future__ import annotations

import pytest

from tests.unit.storage import samples
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.sizes import sizes
from tradekeel.storage.store import Store


def silent(step: str, done: int, total: int) -> None:
    assert 0 < done <= total, step


@pytest.fixture
def books(postgres_url: str) -> Postgres:
    """Books with an execution, one entry of which is filled."""
    made = Postgres(postgres_url)
    desk = samples.Desk()
    with Store.open(made, now_ns=samples.START_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.decision(), desk.filled(1)])
    return made


def test_rows_and_bytes_are_counted(books: Postgres) -> None:
    found = sizes(books, silent)
    counted = {table.table: (table.rows, table.bytes) for table in found.tables}
    assert counted["journal"][0] == 6
    assert counted["trades"][0] == 2
    assert all(size for _, size in counted.values())
    [journal] = found.journals
    assert (journal.records, journal.first_record, journal.last_record) == (6, 1, 6)
