"""Rows survive the database exactly: every digit, every character, every nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from tests.conformance.books.conftest import BACKENDS
from tests.servers.prepared import Prepared
from tests.unit.storage.anything import any_row
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.sqlite import Sqlite

Bare = tuple[Backend, Connection]


@pytest.fixture(scope="module", params=BACKENDS)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """The real columns, without checks and references: here only exactness counts."""
    if request.param == "sqlite":
        at = Sqlite(tmp_path_factory.mktemp("bare") / "books.db")
        with closing(at.connect()) as db:
            engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool)
            tables.metadata.create_all(engine)
            db.execute("PRAGMA ignore_check_constraints = ON")
            db.execute("DROP INDEX ix_executions_one_running")
            yield at, db
        return
    from tradekeel.storage.postgres import Postgres

    prepared: Prepared = request.getfixturevalue("postgres_books")
    with prepared.lent() as url, closing(Postgres(url).connect()) as other:
        for mapping in mappings().values():
            name = mapping.table.name
            # They come before the real ones, and have of all these only what a newer version of a row is found by.
            other.execute(
                f"CREATE TEMPORARY TABLE {name} (LIKE trading.{name} INCLUDING INDEXES INCLUDING IDENTITY INCLUDING DEFAULTS)"
            )
        other.execute("DROP INDEX pg_temp.executions_account_idx")
        yield Postgres(url), other


def stored(bare: Bare, row: Any) -> tuple[Any, ...]:
    """The row's values after a stay in the table."""
    at, db = bare
    mapping = mapping_of(type(row))
    db.execute("BEGIN")
    try:
        db.execute(mapping.insert_sql(at), mapping.encode(row, "any"))
        [values] = db.execute(mapping.select_sql).fetchall()
        return tuple(values)
    finally:
        db.execute("ROLLBACK")


def is_refused(bare: Bare, row: Any) -> bool:
    """PostgreSQL has one character less: a text with a NUL is refused, except in JSON, which spells it out."""
    at, _ = bare
    values = mapping_of(type(row)).encode(row, "any")
    if at.name != "postgresql" or not any(isinstance(value, str) and "\0" in value for value in values):
        return False
    with pytest.raises(at.sender_errors, match="NUL"):
        stored(bare, row)
    return True


@pytest.mark.untraced
@given(row=any_row)
def test_a_row_comes_back_as_it_went(bare: Bare, row: Any) -> None:
    if is_refused(bare, row):
        return
    back = mapping_of(type(row)).decode(stored(bare, row))
    assert back == row
    for name in row.__struct_fields__:
        value, again = getattr(row, name), getattr(back, name)
        assert type(again) is type(value)
        if isinstance(value, Decimal) and value.as_tuple().exponent <= 0 and value:  # type: ignore[operator]
            assert str(Decimal(again)) == str(value), "trailing zeros tell the precision and stay"


@pytest.mark.untraced
@given(row=any_row)
def test_what_is_stored_is_what_was_encoded(bare: Bare, row: Any) -> None:
    """Or verify would see a difference where the database only converted a type."""
    assert is_refused(bare, row) or list(stored(bare, row)) == mapping_of(type(row)).encode(row, "any")
